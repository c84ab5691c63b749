# SPDX-License-Identifier: MIT
"""Probe *tracking*: cost of finding the pages that were written, by PAGEMAP_SCAN and by events.

One sample is one fresh mapping, written beforehand or not, registered and write-protected as a whole. Then the dirty
pages are written once each, in ascending order, and the tracker collects them and protects them again:

* ``async_scan``: the kernel resolves the faults (WP_ASYNC); one PAGEMAP_SCAN reports what was written and protects it
  again in the same pass. A second scan, with no write in between, reports nothing.
* ``events``: a handler thread notes and resolves an event per page; then one UFFDIO_WRITEPROTECT of the whole range.
* ``events_each``: the same, but one UFFDIO_WRITEPROTECT for each page that raised an event.
* ``untracked``: the same writes to memory that is not registered: the difference is the cost of tracking.

The handler shares the writer's CPU, where an event is cheapest, so that the saving by a scan is not overstated.

Reported pages are compared with written ones page by page; differences are columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.probes.affinity import on_one_cpu
from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, COLD, SAMPLE, boolean, count, fraction, integer, one_of
from uffdlab.probes.spec import Spec, check_size, repeated, seed_of, seeded, within, word
from uffdlab.probes.userfault import WRITE, PageNotes, Range, check, counters, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, GIB, KIB, MIB

TRACKED_BACKINGS = ("anon", "anon_thp", "shmem")
METHODS = ("async_scan", "events", "events_each", "untracked")
RUN_PAGES = {"uniform": 1, "clustered": 64}  # pages written side by side
MOST_BYTES = 1 << 40
HANDLER_TIMEOUT_S = 100.0


@dataclass(frozen=True)
class TrackingSpec(Spec):
    """One configuration: ``dirty`` is the fraction of pages written between protecting and collecting (0..1)."""

    backing: str = word("anon", TRACKED_BACKINGS)
    method: str = word("async_scan", METHODS)
    size_bytes: int = GIB
    dirty: float = within(0.1, 0, 1)
    pattern: str = word("uniform", RUN_PAGES)
    populated: bool = False
    repeats: int = repeated()
    seed: int = seeded()

    def check(self) -> None:
        """Refuse an invalid combination of fields."""
        check_size(self.size_bytes, 2 * MIB, MOST_BYTES)

    @property
    def pages(self) -> int:
        """Return how many pages the range has."""
        return self.size_bytes // BACKINGS[self.backing].page_bytes

    @property
    def dirty_runs(self) -> int:
        """Return how many runs of neighbouring pages are written."""
        return round(self.pages * self.dirty / RUN_PAGES[self.pattern])

    @property
    def dirty_pages(self) -> int:
        """Return how many pages are written between protecting and collecting: whole runs."""
        return self.dirty_runs * RUN_PAGES[self.pattern]

    def needs(self) -> Needs:
        """Return the memory one sample holds at its peak."""
        filled = self.pages if self.populated else self.dirty_pages
        if self.backing == "anon_thp":  # a write may fill 2 MiB
            filled = min(self.pages, filled * 512)
        tables = self.size_bytes // (2 * MIB) * 4
        return Needs(memory_kib=filled * BACKINGS[self.backing].page_kib + tables)


FIELDS: list[dict[str, Any]] = [
    BLOCK,
    SAMPLE,
    one_of("backing", TRACKED_BACKINGS, "kind of memory"),
    one_of("method", METHODS, "how written pages were found out"),
    integer("size_kib", "KiB", "length of the range"),
    fraction("dirty", "fraction of pages written between protecting and collecting"),
    one_of("pattern", RUN_PAGES, "single pages chosen uniformly by seed, or runs of 64 neighbours"),
    boolean("populated", "whether every page was written before protecting"),
    COLD,
    count("dirty_pages", "pages written between protecting and collecting, once each"),
    integer("protect_ns", "ns", "the first UFFDIO_WRITEPROTECT of the whole range", required=False),
    integer("write_ns", "ns", "writing the dirty pages, with all faults and events"),
    integer("write_minor_faults", None, "minor faults meanwhile"),
    count("events", "write-protect events meanwhile; 0 where the kernel resolves them", required=False),
    integer("scan_ns", "ns", "PAGEMAP_SCAN that reports and protects again", required=False),
    count("scan_calls", "ioctls it took", required=False),
    count("regions", "regions it returned", required=False),
    integer("reprotect_ns", "ns", "protecting again after events", required=False),
    count("reported_pages", "pages reported as written, by scan or by event", required=False),
    count("missed_pages", "pages written and not reported", required=False),
    count("spurious_pages", "pages reported and not written", required=False),
    integer("again_ns", "ns", "a second scan, with no write since the first", required=False),
    count("again_pages", "pages that the second scan reported", required=False),
]


@dataclass(frozen=True)
class _Dirty:
    """The pages to write: offsets in ascending order, in C memory, and the same as a byte per page."""

    offsets: Any
    count: int
    by_page: bytes


def run(spec: TrackingSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``("tracking", row)`` for every sample of the spec."""
    collect = {"async_scan": _scanned, "untracked": _untracked}.get(spec.method, _handled)
    for index in range(spec.repeats):
        key = {"sample": index, "backing": spec.backing, "method": spec.method, "size_kib": spec.size_bytes // KIB}
        key |= {"dirty": spec.dirty, "pattern": spec.pattern, "populated": spec.populated, "cold": index == 0}
        dirty = choose(spec, seed_of(spec, index))
        with mapped(BACKINGS[spec.backing], spec.size_bytes) as memory:
            if spec.populated:
                memory.touch(WRITE)
            with on_one_cpu():
                row = collect(spec, memory, dirty)
        yield "tracking", key | {"dirty_pages": dirty.count} | row


def choose(spec: TrackingSpec, seed: int) -> _Dirty:
    """Return the pages to write: ``dirty_runs`` runs, each set of them equally likely."""
    ffi, lib = native.probe()
    page, run_pages = BACKINGS[spec.backing].page_bytes, RUN_PAGES[spec.pattern]
    offsets = ffi.new("uint64_t[]", spec.dirty_pages)
    runs, run_bytes = spec.pages // run_pages, run_pages * page
    lib.ul_choose_runs(runs, spec.dirty_runs, run_bytes, page, seed % 2**64, offsets)
    by_page = bytearray(spec.pages)
    for offset in offsets:
        by_page[offset // page] = 1
    return _Dirty(offsets, spec.dirty_pages, bytes(by_page))


def _write(memory: Range, dirty: _Dirty) -> dict[str, Any]:
    before = counters().minor_faults
    write_ns = memory.touch_at(dirty.offsets, WRITE)
    return {"write_ns": write_ns, "write_minor_faults": counters().minor_faults - before}


def _untracked(spec: TrackingSpec, memory: Range, dirty: _Dirty) -> dict[str, Any]:
    return _write(memory, dirty)


def _scanned(spec: TrackingSpec, memory: Range, dirty: _Dirty) -> dict[str, Any]:
    with opened(("WP_UNPOPULATED", "WP_ASYNC")) as uffd:
        uffd.register(memory, missing=False)
        row: dict[str, Any] = {"protect_ns": uffd.protect(memory), "events": 0}
        row |= _write(memory, dirty)
        first, written = scan_written(memory)
        again, _ = scan_written(memory)
    row |= {"scan_ns": int(first.ns), "scan_calls": int(first.calls), "regions": int(first.regions)}
    row |= {"again_ns": int(again.ns), "again_pages": int(again.pages)}
    return row | compare(dirty.by_page, written)


def scan_written(memory: Range) -> tuple[Any, bytes]:
    """Report written pages and protect them again, in one PAGEMAP_SCAN. Return its counts, and a byte per page."""
    ffi, lib = native.probe()
    result, written = ffi.new("struct ul_scan_result *"), PageNotes(memory)
    check("PAGEMAP_SCAN", lib.ul_scan_written(memory.address, memory.length, result, written.raw), memory.request)
    return result, written.values()


def _handled(spec: TrackingSpec, memory: Range, dirty: _Dirty) -> dict[str, Any]:
    page = memory.backing.page_bytes
    with opened(("WP_UNPOPULATED",)) as uffd:
        uffd.register(memory, missing=False)
        row: dict[str, Any] = {"protect_ns": uffd.protect(memory)}
        raised = PageNotes(memory)
        with uffd.handled(page, HANDLER_TIMEOUT_S, raised) as events:
            row |= _write(memory, dirty)
        if events.deadline_hit or events.failed:
            raise UffdlabError(events.why(memory, HANDLER_TIMEOUT_S))
        each = spec.method == "events_each"
        row["reprotect_ns"] = uffd.protect_each(memory, dirty.offsets) if each else uffd.protect(memory)
    row["events"] = events.wp
    return row | compare(dirty.by_page, raised.values())


def compare(written: bytes, reported: bytes) -> dict[str, int]:
    """Return how many pages were reported, missed and spurious, from a byte per page each."""
    pages = Counter(zip(written, reported, strict=True))
    return {
        "reported_pages": pages[1, 1] + pages[0, 1],
        "missed_pages": pages[1, 0],
        "spurious_pages": pages[0, 1],
    }
