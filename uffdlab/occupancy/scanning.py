# SPDX-License-Identifier: MIT
"""Which share of a process's memory is untouched: every page counted, none of them touched.

A page is, in the page tables of *this* process, in one of six states:

- ``untouched``: no entry. Shared memory that another process filled reads so too, until this one looks at it, and so
  does shmem that is swapped out.
- ``zeropage``: maps the shared zeropage, huge or not.
- ``present``: maps a page of its own.
- ``marked``: a userfaultfd write-protect marker and no page (pagemap bit 57 without present).
- ``swapped``: its content is in swap (or on its way between two places).
- ``guard``: MADV_GUARD_INSTALL; an access is an error.

A *unit* of 2 MiB or 1 GiB is aligned to its size, as one entry of a higher table level would cover it, and lies wholly
inside the mapping: what sticks out at either end is counted in pages only. A unit is ``untouched`` when **every** page
in it is: none of it is populated, none maps the zeropage, is marked, swapped or a guard. Likewise for each other state.
Units whose pages differ are ``mixed``. ``untouched_or_zeropage`` counts the units whose pages are untouched, zeropages,
or some of each: nothing in them has content, though a table may exist. An untouched unit may also have a table: the
kernel keeps one after a discard, and this scan does not see it.

Two ways tell the same: PAGEMAP_SCAN (since 6.7) skips what is empty; where it is missing, /proc/PID/pagemap is read
entry by entry, and /proc/kpageflags says which page is the zeropage. Only root sees that: without it, zeropages count
as present, and every ``zeropage`` is None.
"""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from uffdlab import native
from uffdlab.errors import UffdlabError, check_word
from uffdlab.host import errnos
from uffdlab.occupancy import mappings, process

METHODS = ("PAGEMAP_SCAN", "pagemap")
STATES = ("untouched", "zeropage", "present", "marked", "swapped", "guard")
LARGE_BYTES, HUGE_BYTES = 2 << 20, 1 << 30
DEFAULT_MIN_BYTES = 2 << 20
_CHUNK_BYTES = 16 << 30  # between two chunks Ctrl-C is heard


@dataclass(frozen=True)
class Granularity:
    """Units of one size: how many there are, how many are wholly in each state, how many are neither.

    A count is None where it cannot be told.
    """

    unit_bytes: int
    units: int
    whole: dict[str, int | None]
    mixed: int
    untouched_or_zeropage: int | None

    def share(self, state: str) -> float | None:
        """Return the share of a state, of ``mixed`` or of ``untouched_or_zeropage``: 0 to 1, None where unknown."""
        counts = self.whole | {"mixed": self.mixed, "untouched_or_zeropage": self.untouched_or_zeropage}
        count = counts[state]
        return None if count is None or not self.units else count / self.units


@dataclass(frozen=True)
class Occupancy:
    """One mapping: what its pages are, at each granularity, and how much of it huge entries map."""

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


@dataclass(frozen=True)
class Scan:
    """What one look at a process found. ``complete`` is False when it ended before everything was read."""

    mappings: tuple[Occupancy, ...]
    method: str
    before: process.Counters
    after: process.Counters
    scan_ns: int
    min_bytes: int
    complete: bool
    notes: tuple[str, ...]


@dataclass
class _Walk:
    """The open process and how it is read."""

    pid: int
    pagemap: int
    kpageflags: int
    categories: int  # 0: read pagemap
    check_markers: bool
    keep_runs: bool

    @property
    def method(self) -> str:
        return METHODS[0] if self.categories else METHODS[1]


def scan(pid: int, min_bytes: int = DEFAULT_MIN_BYTES, method: str | None = None, *, keep_runs: bool = False) -> Scan:
    """Look at every anonymous, shmem and hugetlb mapping of at least ``min_bytes``.

    ``method`` is one of METHODS (default: PAGEMAP_SCAN where the kernel has it). ``keep_runs`` keeps each page's state,
    as ``bitmap_of`` needs it. Raises UffdlabError where the process is not to be had.
    """
    if min_bytes < 1:
        raise UffdlabError(f"--min-size {min_bytes} B: write a size above 0, such as 2MiB")
    with process.opened(pid) as pagemap, _kpageflags() as kpageflags:
        before = process.counters(pid)
        found = mappings.parse(process.read_maps(pid), mappings.read_devices(pid))
        walk = _Walk(pid, pagemap, kpageflags, 0, before.vm_swap_kib != 0, keep_runs)
        walk.categories = _categories(pid, pagemap, method)
        wanted = [one for one in found if one.length >= min_bytes]
        seen, complete = _look(walk, wanted)
        if wanted and not seen and not complete:
            raise UffdlabError(process.without_memory(pid))
        return _finished(walk, before, seen, found, min_bytes, complete)


@contextmanager
def _kpageflags() -> Iterator[int]:
    """Yield a descriptor, or -1 where only root may read it."""
    try:
        fd = os.open("/proc/kpageflags", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield -1
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _categories(pid: int, pagemap: int, method: str | None) -> int:
    _, lib = native.probe()
    if method is not None:
        check_word("method", method, METHODS)
    if method == METHODS[1]:
        return 0
    found = int(lib.ul_occupancy_categories(pagemap))
    if found == -errno.ESRCH:
        raise UffdlabError(process.without_memory(pid))
    if found < 0 and (method or found != -errno.ENOTTY):
        raise UffdlabError(errnos.explain("PAGEMAP_SCAN", -found))
    return max(found, 0)


def _look(walk: _Walk, wanted: Sequence[mappings.Mapping]) -> tuple[list[Occupancy], bool]:
    """Return what was read, and whether the process lived until the end of it."""
    seen: list[Occupancy] = []
    for one in wanted:
        try:
            seen.append(_occupancy(walk, one))
        except ProcessLookupError:
            return seen, False
    return seen, True


def _occupancy(walk: _Walk, one: mappings.Mapping) -> Occupancy:
    ffi, lib = native.probe()
    raw = lib.ul_occupancy_new(LARGE_BYTES, HUGE_BYTES)
    if raw == ffi.NULL:
        raise MemoryError
    try:
        raw.check_markers, raw.want_runs = int(walk.check_markers), int(walk.keep_runs)
        raw.hugetlb = int(one.kind == "hugetlb")
        for start in range(one.start, one.end, _CHUNK_BYTES):
            _feed(walk, raw, start, min(start + _CHUNK_BYTES, one.end))
        return _account(ffi, raw, one, walk)
    finally:
        lib.ul_occupancy_free(raw)


def _feed(walk: _Walk, raw: Any, start: int, end: int) -> None:
    _, lib = native.probe()
    if walk.categories:
        result = lib.ul_occupancy_scan(raw, walk.pagemap, walk.categories, start, end)
    else:
        result = lib.ul_occupancy_read(raw, walk.pagemap, walk.kpageflags, start, end)
    if result == -errno.ESRCH:
        raise ProcessLookupError
    if result == -errno.ENOMEM:
        raise MemoryError
    if result < 0:
        raise UffdlabError(errnos.explain(walk.method if walk.categories else "pagemap", -result))


def _account(ffi: Any, raw: Any, one: mappings.Mapping, walk: _Walk) -> Occupancy:
    hugetlb = one.kind == "hugetlb"  # it has no zeropage, and every page of it is huge
    known = bool(walk.categories) or hugetlb or not raw.frames_hidden
    pages = Granularity(
        os.sysconf("SC_PAGE_SIZE"),
        one.length // os.sysconf("SC_PAGE_SIZE"),
        _states(raw.pages, known),
        0,
        int(raw.pages[0] + raw.pages[1]) if known else None,
    )
    runs = None
    if walk.keep_runs:
        runs = array("Q")
        runs.frombytes(bytes(ffi.buffer(raw.runs, raw.run_count * 8)) if raw.run_count else b"")
    return Occupancy(
        one,
        (pages, *(_granularity(units, known) for units in raw.units)),
        int(raw.huge_bytes) if known else None,
        int(raw.huge_zero_bytes) if known else None,
        int(raw.ns),
        int(raw.calls),
        runs=runs,
    )


def _granularity(units: Any, known: bool) -> Granularity:
    whole = _states(units.whole, known)
    total = sum(int(count) for count in units.whole) + int(units.mixed)
    blank = int(units.whole[0] + units.whole[1] + units.blank) if known else None
    return Granularity(int(units.bytes), total, whole, int(units.mixed), blank)


def _states(counts: Any, known: bool) -> dict[str, int | None]:
    found: dict[str, int | None] = {state: int(counts[i]) for i, state in enumerate(STATES)}
    return found | ({} if known else {"zeropage": None})


def _finished(
    walk: _Walk,
    before: process.Counters,
    seen: list[Occupancy],
    found: list[mappings.Mapping],
    min_bytes: int,
    complete: bool,
) -> Scan:
    """Look at the process again, and say what became of it meanwhile."""
    after = process.counters(walk.pid)
    notes = list(_notes_of_what_was_seen(walk, seen, min_bytes))
    if complete:
        now = mappings.parse(process.maps_or_nothing(walk.pid), mappings.read_devices(walk.pid))
        seen = [replace(one, changed=bool(now) and not mappings.still_mapped(one.mapping, now)) for one in seen]
        notes += _notes_of_change(before, after, seen)
        notes += _notes_of_new(found, now, min_bytes)
    else:
        notes.append("the process ended or executed another program meanwhile: only what was read before is told")
    scan_ns = sum(one.scan_ns for one in seen)
    return Scan(tuple(seen), walk.method, before, after, scan_ns, min_bytes, complete, tuple(notes))


def _notes_of_what_was_seen(walk: _Walk, seen: Sequence[Occupancy], min_bytes: int) -> Iterator[str]:
    if not seen:
        yield f"no anonymous, shmem or hugetlb mapping of at least {min_bytes >> 10} KiB"
    reserved = sum(not one.mapping.accessible for one in seen)
    if reserved:
        yield f"{reserved} mapping(s) have no access (---): address space that is reserved, in the totals too"
    if any(one.mapping.kind == "shmem" for one in seen):
        yield "shmem counts what this process has mapped: another process may have filled more of it"
    if any(one.granularities[0].whole["zeropage"] is None for one in seen):
        yield "zeropages are not told apart and count as present: only root may see which page is the zeropage"
    if walk.check_markers and any(one.granularities[0].whole["marked"] for one in seen) and os.geteuid() != 0:
        yield "pages swapped while protected may count as marked: only root may see which is which"


def _notes_of_new(found: Sequence[mappings.Mapping], now: Sequence[mappings.Mapping], min_bytes: int) -> Iterator[str]:
    starts = {one.start for one in found}
    new = sum(one.start not in starts and one.length >= min_bytes for one in now)
    if new:
        yield f"{new} large mapping(s) came meanwhile and are not in this"
    if not now:
        yield "the process ended right after everything had been read"


def _notes_of_change(before: process.Counters, after: process.Counters, seen: Sequence[Occupancy]) -> Iterator[str]:
    changed = sum(one.changed for one in seen)
    if changed:
        yield f"{changed} mapping(s) were unmapped or mapped anew meanwhile: their shares mix two states (changed)"
    if before.children is not None and after.children is not None and after.children - before.children:
        born = len(after.children - before.children)
        yield f"the process started {born} other process(es) meanwhile: they are not in this"
    if before.minor_faults is not None and after.minor_faults is not None:
        faults = after.minor_faults - before.minor_faults
        if faults > 0:
            yield f"the process ran meanwhile ({faults} minor faults): each mapping is as it was when it was read"
