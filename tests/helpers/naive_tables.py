# SPDX-License-Identifier: MIT
"""Page tables the obvious way: a dictionary of entries, a set of tables, a loop over pages. Slow, and easily right.

What the simulator's core must agree with, event by event. Nothing of it is taken from there.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

SPAN = (1, 512, 512 * 512, 512**3)  # pages that an entry of a PTE, PMD, PUD table spans; a PUD table itself
LEVEL = {"pte": 0, "pmd": 1, "pud": 2}
NAME = ("pte", "pmd", "pud")
FILLED = ("filled_zero", "filled_huge_zero")
ZAPPED = {
    (0, 0, "zeropage"): "zapped_zero",
    (0, 1, "zeropage"): "zapped_huge_zero",
    (0, 0, "page"): "zapped_pages",
    (0, 1, "page"): "zapped_huge_pages",
    (1, 1, "page"): "zapped_pmd",
    (2, 2, "page"): "zapped_pud",
}
ZEROPAGE, PAGE = ("zeropages", "huge_zeropages"), ("pages", "huge_pages", "gigantic_pages")


class Naive:
    """A range from ``start`` on, ``pages`` long, under a design; ``ledger`` counts."""

    def __init__(self, design: Any, start: int, pages: int, other_cpus: int = 0) -> None:
        self.d, self.first, self.end, self.others = design, start, start + pages, other_cpus
        self.leaf, self.highest = LEVEL[design.leaf], LEVEL[design.level]
        self.entries: dict[tuple[int, int], tuple[str, bool]] = {}  # (level, number) → kind, protected
        self.tables: tuple[set[int], ...] = (set(), set(), {(self.end - 1) // SPAN[3]})  # by level of their entries
        self.kept = set(self.tables[2])
        self.owed: set[int] = set()
        self.armed = self.flushing = False
        self.ledger: Counter[str] = Counter()

    # --- finding and making ----------------------------------------------------------------------------------------

    def find(self, page: int) -> tuple[int, str, bool]:
        """Return level, kind and protection of the entry that a page is found by."""
        for level in (2, 1, 0):
            if (level, page // SPAN[level]) in self.entries:
                return level, *self.entries[level, page // SPAN[level]]
            if level == 0 or page // SPAN[level] not in self.tables[level - 1]:
                return level, "empty", False
        raise AssertionError

    def found_at(self, page: int) -> tuple[int, int]:
        """Return level and number of that entry."""
        level = self.find(page)[0]
        return level, page // SPAN[level]

    def make_table(self, level: int, page: int) -> bool:
        """Make the table whose entries are of a level, above a page."""
        number = page // SPAN[level + 1]
        if number in self.tables[level]:
            return False
        self.tables[level].add(number)
        self.ledger[f"tables_{NAME[level]}"] += 1
        self.ledger["lock_pmd" if level == 0 else "lock_page_table"] += 1
        return True

    def deposit(self, count: int = 1) -> None:
        if self.d.deposit and self.leaf == 0:
            self.ledger["deposits"] += count
            self.ledger["tables_pte"] += count
            self.ledger["lock_pmd"] += count

    def put(self, level: int, page: int, kind: str, protected: bool) -> None:
        self.entries[level, page // SPAN[level]] = (kind, protected)

    def lower(self, level: int, page: int) -> None:
        """Replace an entry by a table of entries one level lower, as the kernel would."""
        number = page // SPAN[level]
        first = number * SPAN[level]
        if (level, number) not in self.entries:
            if level == 2:
                self.make_table(2, page)
            self.make_table(level - 1, page)
            return
        kind, protected = self.entries.pop((level, number))
        to = level - 1
        if kind == "marker":
            self.ledger[f"spread_{NAME[level]}"] += 1
            to = 0 if self.d.spread == "last" else level - 1
            for table in range(level - 1, to - 1, -1):
                for at in range(first, first + SPAN[level], SPAN[table + 1]):
                    self.make_table(table, at)
            self.ledger[f"markers_{NAME[to]}"] += SPAN[level] // SPAN[to]
        else:
            self.ledger["split_zeropages" if kind == "zeropage" else "split_pages"] += 1
            self.flush()
            if self.d.deposit:
                self.tables[0].add(number)  # the deposit, counted when it was laid by
            else:
                self.make_table(0, page)
        for at in range(first, first + SPAN[level], SPAN[to]):
            self.put(to, at, kind, protected)

    def flush(self) -> None:
        self.ledger["flushes"] += 1
        self.ledger["ipis"] += self.others

    # --- touching ----------------------------------------------------------------------------------------------------

    def zeropage_at(self, level: int) -> bool:
        return self.leaf == 0 and self.d.zeropage and (level == 0 or self.d.huge_zeropage)

    def event(self, name: str, page: int) -> None:
        self.ledger[name] += 1
        if page not in self.owed:
            self.ledger["false_events"] += 1
        self.resolving_ioctl()

    def resolving_ioctl(self) -> None:
        self.ledger.update(resolves=1, lock_mmap=1, lock_pte=1)

    def trap(self) -> None:
        self.ledger.update(traps=1, lock_vma=1, lock_pte=1)

    def named(self, what: str, level: int, kind: str) -> str:
        return f"{what}_zero" if level == 0 and kind == "zeropage" else f"{what}_{NAME[level]}"

    def settled(self, level: int, page: int, owed: bool) -> None:
        """Note whether an entry is owed, as a whole."""
        first = page // SPAN[level] * SPAN[level]
        pages = range(first, first + SPAN[level])
        if owed:
            self.owed.update(pages)
        else:
            self.owed.difference_update(pages)

    def touch(self, page: int, write: bool) -> None:
        self.ledger["writes" if write else "reads"] += 1
        level, kind, protected = self.find(page)
        if kind in ("empty", "marker"):
            self.touch_absent(page, write, level, kind)
        elif write:
            self.write_present(page, level, kind, protected)

    def map_level(self, page: int, level: int, kind: str) -> int:
        block = page // 512 * 512
        fits = self.first <= block and block + 512 <= self.end
        huge = self.d.spread == "huge page" if kind == "marker" else self.d.thp and not self.d.missing
        return self.leaf or (1 if huge and fits and level >= 1 else 0)

    def touch_absent(self, page: int, write: bool, level: int, kind: str) -> None:
        to = self.map_level(page, level, kind)
        owed = page in self.owed
        self.trap()
        self.ledger[f"faults_{kind}"] += 1
        if level == 2 and to == 2:
            self.make_table(2, page)
        while (at := self.find(page)[0]) > to:
            self.lower(at, page)
        remembered = kind == "empty" and self.d.remembers and self.armed
        missing = kind == "empty" and self.d.missing
        if missing:
            self.ledger["events_missing"] += 1
            self.ledger["pages_copied"] += to == 0
            self.ledger.update(resolves=1, lock_vma=1, lock_pte=1)
        elif write and remembered:
            self.event("events_wp", page)
        elif write and kind == "empty" and owed:
            self.ledger["lost_writes"] += 1
        if not write and not missing and self.zeropage_at(to):
            self.ledger[ZEROPAGE[to]] += 1
            new = "zeropage"
        else:
            self.ledger[PAGE[to]] += 1
            new = "page"
        if to == 1:
            self.deposit()
        self.put(to, page, new, not write and (kind == "marker" or remembered or missing))
        if write and kind == "marker":
            self.trap()
            self.ledger["faults_protected"] += 1
            self.ledger[f"resolved_{NAME[to]}"] += 1
            if not self.d.asynchronous:
                self.event("events_wp", page)
        self.settled(to, page, owed and not write)

    def write_present(self, page: int, level: int, kind: str, protected: bool) -> None:
        if protected:
            self.trap()
            if level == 1 and self.leaf == 0 and (self.d.asynchronous or self.d.resolve == "pte"):
                self.lower(1, page)
                level = 0
            self.ledger["faults_protected"] += 1
            self.ledger[self.named("resolved", level, kind)] += 1
            if not self.d.asynchronous:
                self.event("events_wp", page)
        else:
            self.ledger["lost_writes"] += page in self.owed
            if kind == "zeropage":
                self.trap()
                self.ledger["faults_zeropage"] += 1
        if kind == "zeropage":
            self.ledger[PAGE[level]] += 1
            self.flush()
        self.put(level, page, "page", False)
        self.settled(level, page, False)

    def touch_all(self, first: int, count: int, write: bool) -> None:
        for page in range(self.first + first, self.first + first + count, SPAN[self.leaf]):
            self.touch(page, write)

    def prefault(self) -> None:
        if self.d.prefault == "nothing":
            return
        kept = Counter({name: self.ledger[name] for name in ("traps", "reads", "lock_vma")})
        self.touch_all(0, self.end - self.first, False)
        if self.d.prefault == "MADV_POPULATE_READ":
            leaves = range(self.first, self.end, SPAN[self.leaf])
            self.ledger["populated"] += len({self.found_at(page) for page in leaves})
            for name in ("traps", "reads", "lock_vma"):
                self.ledger[name] = kept[name]
            self.ledger.update(calls=1, lock_mmap=1)

    # --- parts -------------------------------------------------------------------------------------------------------

    def part(self, first: int, count: int, call: str) -> Any:
        """Yield ``(level, page)`` of the entries of a part, after what it cuts was lowered as ``call`` wants it."""
        page, end = self.first + first, self.first + first + count
        tables = set()
        while page < end:
            level, kind, protected = self.find(page)
            start, size = page // SPAN[level] * SPAN[level], SPAN[level]
            cut = start < page or start + size > end
            if cut and self.lowers(call, kind):
                self.lower(level, page)
                continue
            fills = call == "protect" and kind == "empty" and self.d.empty != "stays"
            passes = kind == "empty" and (level > 0 or call == "discard" or fills)
            zaps = call == "discard" and not (kind == "marker" and self.d.survives)
            self.ledger[f"visited_{NAME[level]}"] += not (passes or zaps)
            self.ledger["asked_pte"] += call == "protect" and kind == "empty" and level == 0
            if level == 0 and page // 512 not in tables:
                tables.add(page // 512)
                self.ledger["lock_pte"] += 1
            self.ledger["lock_pmd"] += level == 1 and kind in ("zeropage", "page")
            yield level, page, kind, protected, min(start + size, end)
            page = min(start + size, end)

    def lowers(self, call: str, kind: str) -> bool:
        """Whether a call that covers an entry in part needs it replaced by a table."""
        if call == "scan":
            return False
        if kind == "empty":
            return call == "protect" and self.d.empty != "stays"
        if kind == "marker":
            return call == "unprotect" or (call == "discard" and not self.d.survives)
        return True

    def ends(self) -> None:
        if self.flushing:
            self.flush()
        self.flushing = False

    def protect(self, first: int, count: int) -> None:
        self.armed = True
        self.ledger.update(protects=1, lock_mmap=1)
        for level, page, kind, protected, end in self.part(first, count, "protect"):
            if kind == "empty" and self.d.empty != "stays":
                self.fill(level, page)
            elif kind in ("zeropage", "page"):
                self.put(level, page, kind, True)
                self.ledger[self.named("protected", level, kind)] += 1
                self.flushing |= kind == "page" and not protected
            if kind != "marker" or end - page == SPAN[level]:
                self.owed.update(range(page, end))
        self.ends()

    def fill(self, level: int, page: int) -> None:
        """Put what the design has for it into an empty entry."""
        to = min(level, self.highest)
        if self.d.empty == "zeropage" and to != 1:
            to = 0
        if level == 2 == to:
            self.make_table(2, page)
        for at in range(page, page + SPAN[level], SPAN[to]):
            while self.find(at)[0] > to:
                self.lower(self.find(at)[0], at)
            self.put(to, at, self.d.empty, True)
            self.ledger[f"visited_{NAME[to]}"] += 1
            self.ledger["asked_pte"] += to == 0 < level
            self.ledger["lock_pte"] += to == 0 < level and at % 512 == 0
            self.ledger[f"markers_{NAME[to]}" if self.d.empty == "marker" else FILLED[to]] += 1
            if self.d.empty == "zeropage" and to == 1:
                self.deposit()

    def unprotect(self, first: int, count: int) -> None:
        self.armed &= not (first == 0 and count == self.end - self.first)
        self.ledger.update(resolves=1, lock_mmap=1)
        for level, page, kind, _, end in self.part(first, count, "unprotect"):
            if kind == "marker":
                del self.entries[level, page // SPAN[level]]
                self.ledger["markers_cleared"] += 1
            elif kind != "empty":
                self.put(level, page, kind, False)
                self.ledger[self.named("resolved", level, kind)] += 1
            self.owed.difference_update(range(page, end))
        self.ends()

    def discard(self, first: int, count: int) -> None:
        self.ledger.update(calls=1, lock_vma=1)
        for level, page, kind, protected, end in self.part(first, count, "discard"):
            if kind in ("zeropage", "page"):
                self.flushing = True
                self.ledger[ZAPPED[self.leaf, level, kind]] += 1
                self.ledger["pages_freed"] += SPAN[level] * (kind == "page")
                self.ledger["freed_pte"] += level == 1 and self.leaf == 0 and self.d.deposit
            if self.d.survives:
                if protected:
                    self.put(level, page, "marker", True)
                    self.ledger[f"markers_{NAME[level]}"] += kind != "marker"
                elif kind != "empty":
                    del self.entries[level, page // SPAN[level]]
                continue
            if kind != "empty":
                del self.entries[level, page // SPAN[level]]
            self.ledger["zapped_markers"] += kind == "marker"
            self.owed.difference_update(range(page, end))
        if self.d.pt_reclaim:
            self.reclaim(self.first + first, self.first + first + count)
        self.ends()

    def reclaim(self, first: int, end: int) -> None:
        for number in range(-(-first // 512), end // 512):
            left = any((0, page) in self.entries for page in range(number * 512, number * 512 + 512))
            if number in self.tables[0] and not left:
                self.tables[0].discard(number)
                self.ledger["freed_pte"] += 1

    # --- what came of it ---------------------------------------------------------------------------------------------

    def counted(self) -> dict[str, int]:
        return {name: count for name, count in self.ledger.items() if count}

    def save(self, first: int, count: int, skip_holes: bool, piece: int = 1) -> None:
        """Read what is still owed or protected, and resolve it piece by piece, by an ioctl for each that had any."""
        leaf, piece = SPAN[self.leaf], max(piece, SPAN[self.leaf])
        page, end = self.first + first, self.first + first + count
        while page < end:
            until, owed = min(end, (page // piece + 1) * piece), False
            for at in range(page, until, leaf):
                _, kind, protected = self.find(at)
                if (skip_holes and kind in ("empty", "marker")) or not (protected or at in self.owed):
                    continue
                owed = True
                self.touch(at, False)
            if owed:
                armed = self.armed
                self.unprotect(page - self.first, until - page)
                self.armed = armed
            page = until

    def scan(self, first: int, count: int) -> Counter[str]:
        self.ledger.update(calls=1, lock_mmap=1)
        found: Counter[str] = Counter()
        locks = {name: self.ledger[name] for name in ("lock_pte", "lock_pmd")}
        for _, page, kind, _, end in self.part(first, count, "scan"):
            found[kind] += end - page
        self.ledger.update({name: n - self.ledger[name] for name, n in locks.items()})
        return found
