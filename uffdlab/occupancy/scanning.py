# SPDX-License-Identifier: MIT
"""Count the pages of a process by state, without touching any of them.

A page is, in the page tables of *this* process, in one of eight states:

- ``untouched``: no entry. So is shared memory that only another process has accessed, and shmem that is swapped out.
- ``zeropage``: maps the shared zeropage, huge or not.
- ``file``: in a private mapping, maps a page of the file, which is not the process's own; the first write copies it
  (PM_FILE of pagemap, PAGE_IS_FILE).
- ``present``: maps a page of its own; in a shared mapping, the page of the memory that is shared.
- ``marked``: a userfaultfd write-protect marker and no page (pagemap bit 57 without present). On shmem the
  file may still have the page, as for ``untouched``.
- ``swapped``: its content is in swap.
- ``guard``: MADV_GUARD_INSTALL; an access is an error.
- ``special``: an entry that is none of these: poisoned by UFFDIO_POISON or by broken memory (an access is SIGBUS), or a
  page in the memory of a device. A page that is being moved to another place counts as present.

The swap type of an entry that is not present shows only to CAP_SYS_ADMIN (``pagemap_read()``). Without it, an entry of
memory that may be swapped counts as swapped, or as marked where it has the uffd-wp bit; where the process has nothing
in swap, and in shared memory, whose swapped pages have no entry, it counts as special. Guards show to every user since
6.15 (bit 58 of pagemap), and by their marker before. In hugetlb, poisoned pages show in PAGEMAP_SCAN, not in pagemap.

A *unit* of 2 MiB or 1 GiB is aligned to its size, as one entry of a higher table level would cover it, and lies wholly
inside the mapping: the rest at either end is counted in pages only. A unit is ``untouched`` when **every** page
in it is: none of it is populated, none maps the zeropage, is marked, swapped or a guard. Likewise for each other state.
Units whose pages differ are ``mixed``. ``untouched_or_zeropage`` counts the units whose pages are untouched, zeropages,
or some of each: nothing in them has content, though a table may exist. An untouched unit may also have a table: the
kernel keeps one after a discard, and this scan does not see it.

Two methods give the same result: PAGEMAP_SCAN (since 6.7) skips holes; where it is missing, /proc/PID/pagemap is read
entry by entry, and /proc/kpageflags shows which page is the zeropage. Only root may read that: without it, zeropages
count as present, and every ``zeropage`` is None.

The kinds of mappings are defined in ``uffdlab.occupancy.mappings``; ``uffdlab.occupancy.account`` checks the sums.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from uffdlab.errors import UffdlabError
from uffdlab.occupancy import account, mappings, notes, process, reading
from uffdlab.occupancy.account import Account, Held
from uffdlab.occupancy.reading import HUGE_BYTES, LARGE_BYTES, METHODS, Reader

__all__ = ["HUGE_BYTES", "LARGE_BYTES", "METHODS", "STATES", "Granularity", "Occupancy", "Progress", "Scan", "scan"]

STATES = ("untouched", "zeropage", "present", "marked", "swapped", "guard", "file", "special")
DEFAULT_MIN_BYTES = 2 << 20
_OWN = ("present", "swapped", "special")  # states in which a private mapping of a file holds memory
Progress = Callable[[int, int], None]  # bytes of address space read, and in all


@dataclass(frozen=True, slots=True)
class Granularity:
    """Units of one size: their number, those wholly in each of STATES, and mixed ones.

    An unknown count is None.
    """

    unit_bytes: int
    units: int
    counts: tuple[int | None, ...]
    mixed: int
    untouched_or_zeropage: int | None

    @property
    def whole(self) -> dict[str, int | None]:
        """Return how many units are wholly in each state."""
        return dict(zip(STATES, self.counts, strict=True))

    def share(self, state: str) -> float | None:
        """Return the share of a state, of ``mixed`` or of ``untouched_or_zeropage``: 0 to 1, None where unknown."""
        counts = self.whole | {"mixed": self.mixed, "untouched_or_zeropage": self.untouched_or_zeropage}
        count = counts[state]
        return None if count is None or not self.units else count / self.units


@dataclass(frozen=True, slots=True)
class Occupancy:
    """One mapping: its page states at each granularity, and how much of it huge entries map."""

    mapping: mappings.Mapping
    granularities: tuple[Granularity, ...]
    huge_bytes: int | None
    huge_zeropage_bytes: int | None
    scan_ns: int
    calls: int
    changed: bool = False
    runs: array[int] | None = field(default=None, repr=False, compare=False)

    @property
    def huge_mappings(self) -> int | None:
        """Return how many entries map its huge pages, without the huge zeropage."""
        page = self.mapping.page_bytes if self.mapping.kind == "hugetlb" else LARGE_BYTES
        return None if self.huge_bytes is None else self.huge_bytes // page

    def pages(self, *states: str) -> int:
        """Return how many pages are in one of the states; unknown counts are 0."""
        whole = self.granularities[0].whole
        return sum(whole[state] or 0 for state in states)


@dataclass(frozen=True)
class Scan:
    """The result of a scan. ``complete`` is False when the process ended before everything was read."""

    mappings: tuple[Occupancy, ...]
    method: str
    before: process.Counters
    after: process.Counters
    scan_ns: int
    min_bytes: int
    complete: bool
    notes: tuple[str, ...]
    account: Account


def scan(
    pid: int,
    min_bytes: int = DEFAULT_MIN_BYTES,
    method: str | None = None,
    *,
    keep_runs: bool = False,
    progress: Progress | None = None,
) -> Scan:
    """Scan all memory of a process; mappings of at least ``min_bytes`` are listed one by one.

    ``method`` is one of METHODS (default: PAGEMAP_SCAN, or pagemap where that fails). ``keep_runs`` keeps each page's
    state, as ``bitmap_of`` needs it. Raises UffdlabError where the process cannot be read.
    """
    if min_bytes < 1:
        raise UffdlabError(f"--min-size {min_bytes} B: write a size above 0, such as 2MiB")
    with process.opened(pid) as pagemap, reading.kpageflags() as flags:
        maps = process.read_maps(pid)
        before = process.counters(pid)
        listed = mappings.parse(maps, process.kinds(pid))
        reader = Reader(pid, pagemap, flags, method, keep_runs=keep_runs)
        scanner = _Scanner(reader, min_bytes, before.vm_swap_kib != 0, keep_runs, progress)
        complete = scanner.scan_all(listed)
        if not complete and not scanner.started:
            raise UffdlabError(process.without_memory(pid))
        return _finished(pid, scanner, before, listed, complete)


class _Scanner:
    """A scan in progress: the mappings scanned so far, and those left out."""

    def __init__(
        self, reader: Reader, min_bytes: int, may_swap: bool, keep_runs: bool, progress: Progress | None
    ) -> None:
        self.reader, self.min_bytes, self.may_swap, self.keep_runs = reader, min_bytes, may_swap, keep_runs
        self.seen: list[Occupancy] = []
        self.scanned, self.left_out = Held(), dict[str, Held]()
        self.poisoned = 0
        self._progress, self._done, self._all = progress, 0, 0
        self._page = os.sysconf("SC_PAGE_SIZE")

    @property
    def started(self) -> bool:
        """Return whether any memory was read."""
        return bool(self._done)

    def scan_all(self, listed: Sequence[mappings.Mapping]) -> bool:
        """Scan each mapping of memory; return whether the process lived until the end."""
        memory = [mapping for mapping in listed if mapping.kind in mappings.KINDS]
        self._all = sum(mapping.length for mapping in memory)
        for mapping in listed:
            if mapping.kind not in mappings.KINDS:
                reason = account.KERNELS if mapping.kind == "kernel" else account.OF_FILES
                self.left_out.setdefault(reason, Held()).add_unknown(mapping)
        try:
            for mapping in memory:
                self._scan_mapping(mapping)
        except ProcessLookupError:
            return False
        return True

    def _scan_mapping(self, mapping: mappings.Mapping) -> None:
        self.reader.read(mapping, may_swap=self.may_swap, advance=self._advance)
        pages = dict(zip(STATES, self.reader.raw.pages, strict=True))
        if mapping.kind == "private file" and not mapping.writable and not any(pages[state] for state in _OWN):
            self.left_out.setdefault(account.NO_OWN_PAGE, Held()).add(mapping, pages, self._page)
        elif mapping.length < self.min_bytes:
            self.left_out.setdefault(account.SMALL, Held()).add(mapping, pages, self._page)
        else:
            self.scanned.add(mapping, pages, self._page)
            self.poisoned += int(self.reader.raw.poisoned)
            self.seen.append(_occupancy(self.reader, mapping, self._page, self.keep_runs))

    def _advance(self, length: int) -> None:
        self._done += length
        if self._progress:
            self._progress(self._done, self._all)


def _occupancy(reader: Reader, mapping: mappings.Mapping, page: int, keep_runs: bool) -> Occupancy:
    raw = reader.raw
    # hugetlb has no zeropage, and every page of it is huge
    known = reader.method == METHODS[0] or mapping.kind == "hugetlb" or not raw.frames_hidden
    counts = _counts(raw.pages, known)
    pages = Granularity(page, mapping.length // page, counts, 0, raw.pages[0] + raw.pages[1] if known else None)
    return Occupancy(
        mapping,
        (pages, _granularity(raw.units[0], known), _granularity(raw.units[1], known)),
        raw.huge_bytes if known else None,
        raw.huge_zero_bytes if known else None,
        raw.ns,
        raw.calls,
        runs=reader.runs() if keep_runs else None,
    )


def _granularity(units: Any, known: bool) -> Granularity:
    whole = list(units.whole)
    blank = whole[0] + whole[1] + units.blank if known else None
    return Granularity(units.bytes, sum(whole) + units.mixed, _counts(whole, known), units.mixed, blank)


def _counts(counts: Iterable[int], known: bool) -> tuple[int | None, ...]:
    untouched, zeropage, *others = counts
    return (untouched, zeropage if known else None, *others)


def _finished(
    pid: int, scanner: _Scanner, before: process.Counters, listed: Sequence[mappings.Mapping], complete: bool
) -> Scan:
    """Return the scan, with notes on what the process did meanwhile."""
    after = process.counters(pid)
    reader, seen = scanner.reader, scanner.seen
    remarks = [*notes.of_method(reader), *notes.of_what_was_seen(reader, seen, scanner.min_bytes, scanner.may_swap)]
    remarks += notes.of_special(reader, seen, scanner.poisoned)
    if complete:
        now = mappings.parse(process.maps_or_nothing(pid), process.kinds(pid))
        if now:
            differ = mappings.changed([occupancy.mapping for occupancy in seen], now)
            seen = [replace(old, changed=True) if is_ else old for old, is_ in zip(seen, differ, strict=True)]
        remarks += notes.of_change(before, after, seen)
        remarks += notes.of_new(listed, now, scanner.min_bytes)
    else:
        remarks.append("the process ended or executed another program meanwhile: only what was read before is here")
    scan_ns = sum(occupancy.scan_ns for occupancy in seen)
    sums = Account(scanner.scanned, scanner.left_out)
    return Scan(tuple(seen), reader.method, before, after, scan_ns, scanner.min_bytes, complete, tuple(remarks), sums)
