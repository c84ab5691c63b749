# SPDX-License-Identifier: MIT
"""Probe *trackers*: ways to find the pages that a program writes, side by side, and what they cost its writes.

One sample takes every method that the memory allows in turn, in an order drawn by seed, each on a fresh range that is
written once beforehand. The tracker is armed, the writer writes, and then it stands still until the tracker knows which
pages were written and is armed again. The writes are the same for all methods of a sample, and each is timed on its
own, the clock's own time included:

* ``nothing``: no tracker. The other methods' costs are differences to it.
* ``soft_dirty``: /proc/PID/clear_refs, and the soft-dirty bits of pagemap; left out where the kernel has none.
* ``mprotect``: mprotect(2); a SIGSEGV handler notes the page and makes it writable.
* ``events``: uffd-wp, with a handler thread on the writer's CPU, where an event is cheapest; the range is protected
  again by one ioctl.
* ``events_each``: the same, and each page that raised an event is protected again by an ioctl of its own.
* ``async_scan``: uffd-wp with WP_ASYNC; one PAGEMAP_SCAN reports and protects again. Never on hugetlb: kernels before
  June 2026 (e92d92bbafb2) deadlock there and cannot be killed.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.host import asking
from uffdlab.probes.affinity import on_one_cpu
from uffdlab.probes.histogram import EDGE_FIELDS, bin_rows
from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, COLD, SAMPLE, boolean, count, fraction, integer, one_of
from uffdlab.probes.spec import Spec, check_size, repeated, seed_of, seeded, within, word
from uffdlab.probes.tracking import HANDLER_TIMEOUT_S, compare, scan_written
from uffdlab.probes.userfault import WRITE, PageNotes, Range, check, counters, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, GIB, KIB, MIB

BACKINGS_TRACKED = ("anon", "anon_thp", "shmem", "hugetlb_2m_private")
PATTERNS = ("uniform", "zipf", "sequential")
METHODS = ("nothing", "soft_dirty", "mprotect", "events", "events_each", "async_scan")
_MOST_BYTES = 64 * GIB
_QUANTILES = {"p50_ns": 0.5, "p99_ns": 0.99, "p999_ns": 0.999}


@dataclass(frozen=True)
class TrackersSpec(Spec):
    """One kind of memory and of writing: ``dirty`` is the number of writes by that of pages (0..1)."""

    backing: str = word("anon", BACKINGS_TRACKED)
    size_bytes: int = 256 * MIB
    dirty: float = within(0.1, 0, 1)
    pattern: str = word("uniform", PATTERNS)
    repeats: int = repeated()
    seed: int = seeded()

    def check(self) -> None:
        """Refuse a size that is no whole number of huge pages, and one without a write."""
        check_size(self.size_bytes, 2 * MIB, _MOST_BYTES)
        if not self.writes:
            none = f"dirty {self.dirty:g} of {self.pages} pages is no write"
            raise UffdlabError(f"{none}: choose a larger fraction or size")

    @property
    def pages(self) -> int:
        """Return how many pages the range has."""
        return self.size_bytes // BACKINGS[self.backing].page_bytes

    @property
    def writes(self) -> int:
        """Return how many writes the writer makes."""
        return round(self.pages * self.dirty)

    @property
    def methods(self) -> tuple[str, ...]:
        """Return the methods that the memory allows."""
        return tuple(name for name in METHODS if name != "async_scan" or BACKINGS[self.backing].pool_kib is None)

    def needs(self) -> Needs:
        """Return the memory one sample holds at its peak."""
        backing = BACKINGS[self.backing]
        if backing.pool_kib is not None:
            return Needs(hugepages={backing.pool_kib: self.pages})
        notes = self.writes * 16 + 2 * self.pages
        return Needs(memory_kib=self.size_bytes // KIB * 513 // 512 + notes // KIB, thp=self.backing == "anon_thp")


FIELDS: list[dict[str, Any]] = [
    BLOCK,
    SAMPLE,
    one_of("backing", BACKINGS_TRACKED, "kind of memory, written once beforehand"),
    integer("size_kib", "KiB", "length of the range"),
    fraction("dirty", "number of writes by that of pages"),
    one_of("pattern", PATTERNS, "pages in random order, by Zipf's law with repetition, or one after the other"),
    one_of("method", METHODS, "how written pages were found out"),
    integer("turn", None, "place of the method in its sample, from 0"),
    COLD,
    count("writes", "writes between arming and collecting"),
    count("dirty_pages", "pages that these wrote to, each counted once"),
    integer("arm_ns", "ns", "protecting the range, or clearing its bits", required=False),
    integer("write_ns", "ns", "all writes, each with the time of the clock"),
    integer("p50_ns", "ns", "median of the writes"),
    integer("p99_ns", "ns", "the same, 99th percentile"),
    integer("p999_ns", "ns", "the same, 99.9th percentile"),
    integer("collect_ns", "ns", "learning which pages were written, while the writer stands", required=False),
    integer("rearm_ns", "ns", "protecting or clearing again, while the writer stands", required=False),
    integer("cpu_ns", "ns", "CPU time of writer and tracker, from arming to the end"),
    integer("handler_cpu_ns", "ns", "of it the thread that takes events; 0 where there is none", required=False),
    integer("minor_faults", None, "minor faults meanwhile"),
    integer("table_growth_kib", "KiB", "growth of page tables meanwhile", required=False),
    integer("mapping_growth", None, "mappings that the process had more, before it was armed again"),
    boolean("gave_up", "whether no more mappings were to be had, so that every page counts as written"),
    count("reported_pages", "pages reported as written", required=False),
    count("missed_pages", "pages written and not reported", required=False),
    count("spurious_pages", "pages reported and not written", required=False),
]
LATENCY_FIELDS: list[dict[str, Any]] = [
    BLOCK,
    SAMPLE,
    one_of("method", METHODS, "how written pages were found out"),
    *EDGE_FIELDS,
    count("count", "writes of the first warm sample in that bin"),
]


@dataclass(frozen=True)
class _Writes:
    """The writes of a sample: offsets in order, and a byte per page that is written."""

    offsets: list[int]
    by_page: bytes

    @property
    def pages(self) -> int:
        return self.by_page.count(1)


@dataclass
class _Epoch:
    """One method on one range: what it reports, and what is timed."""

    spec: TrackersSpec
    memory: Range
    writes: _Writes
    seen: PageNotes
    ns: list[int]
    mapping_growth: int = 0

    def write(self) -> dict[str, int]:
        """Let the writer write; return how long it took."""
        before = _mappings()
        self.ns = self.memory.write_timed(self.writes.offsets)
        self.mapping_growth = _mappings() - before
        return {"write_ns": sum(self.ns)}


def run(spec: TrackersSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``("trackers", row)`` for every method of every sample, and ``tracker_latencies`` of the first warm one."""
    for index in range(spec.repeats):
        key = {"sample": index, "backing": spec.backing, "size_kib": spec.size_bytes // KIB, "dirty": spec.dirty}
        key |= {"pattern": spec.pattern, "cold": index == 0}
        drawn = random.Random(seed_of(spec, index))
        writes = choose(spec, drawn)
        methods = [name for name in spec.methods if name != "soft_dirty" or has_soft_dirty()]
        drawn.shuffle(methods)
        for turn, method in enumerate(methods):
            row, ns = _epoch(spec, method, writes)
            yield "trackers", key | {"method": method, "turn": turn} | row
            if index == 1:  # one warm sample of each child shows the shape
                of = {"sample": index, "method": method}
                yield from (("tracker_latencies", of | bin_) for bin_ in bin_rows(_bins(ns)))


def has_soft_dirty() -> bool:
    """Return whether this kernel keeps soft-dirty bits (CONFIG_MEM_SOFT_DIRTY), as a child process finds out."""
    return bool(asking.ask("SOFT_DIRTY").result)


def choose(spec: TrackersSpec, drawn: random.Random) -> _Writes:
    """Return the writes of one sample."""
    ffi, lib = native.probe()
    page = BACKINGS[spec.backing].page_bytes
    if spec.pattern == "sequential":
        offsets = [number * page for number in range(spec.writes)]
    elif spec.pattern == "uniform":
        offsets = [number * page for number in drawn.sample(range(spec.pages), spec.writes)]
    else:
        raw = ffi.new("uint64_t[]", spec.writes)
        check("malloc", lib.ul_choose_zipf(spec.pages, spec.writes, page, drawn.getrandbits(63), raw))
        offsets = ffi.unpack(raw, spec.writes)
    by_page = bytearray(spec.pages)
    for offset in offsets:
        by_page[offset // page] = 1
    return _Writes(offsets, bytes(by_page))


def _epoch(spec: TrackersSpec, method: str, writes: _Writes) -> tuple[dict[str, Any], list[int]]:
    """Track one range by one method. Return its row, and the ns of each write."""
    with mapped(BACKINGS[spec.backing], spec.size_bytes) as memory:
        memory.touch(WRITE)
        epoch = _Epoch(spec, memory, writes, PageNotes(memory), [])
        with on_one_cpu():
            before, cpu_ns = counters(), time.process_time_ns()
            row = _TRACKING[method](epoch)
            row["cpu_ns"] = time.process_time_ns() - cpu_ns
            grown = counters().growth(before)
    row |= {"minor_faults": grown["minor_faults"], "table_growth_kib": grown["vm_pte_kib"]}
    row |= {"mapping_growth": epoch.mapping_growth, "writes": len(writes.offsets), "dirty_pages": writes.pages}
    row.setdefault("gave_up", False)
    row.setdefault("handler_cpu_ns", 0)
    row |= compare(writes.by_page, epoch.seen.values()) if method != "nothing" else _NOT_REPORTED
    return row | _quantiles(epoch.ns), epoch.ns


_NOT_REPORTED: dict[str, Any] = dict.fromkeys(
    ("arm_ns", "collect_ns", "rearm_ns", "reported_pages", "missed_pages", "spurious_pages")
)


def _quantiles(ns: list[int]) -> dict[str, int]:
    ranked = sorted(ns)
    return {name: ranked[min(len(ranked) - 1, int(share * len(ranked)))] for name, share in _QUANTILES.items()}


def _bins(ns: list[int]) -> dict[int, int]:
    _, lib = native.probe()
    bins: Counter[int] = Counter()
    for value, times in Counter(ns).items():
        bins[int(lib.ul_bin(value))] += times
    return dict(bins)


def _mappings() -> int:
    return Path("/proc/self/maps").read_bytes().count(b"\n")


def _timed(operation: str, call: Callable[..., int], *arguments: Any) -> int:
    """Call a native function that takes, last, where to put the ns it took; return those ns."""
    ffi, _ = native.probe()
    ns = ffi.new("uint64_t *")
    check(operation, call(*arguments, ns))
    return int(ns[0])


def _nothing(epoch: _Epoch) -> dict[str, Any]:
    return epoch.write()


def _soft_dirty(epoch: _Epoch) -> dict[str, Any]:
    _, lib = native.probe()
    memory = epoch.memory
    row: dict[str, Any] = {"arm_ns": _timed("clear_refs", lib.ul_soft_dirty_clear)}
    row |= epoch.write()
    where = (memory.address, memory.length, memory.backing.page_bytes, epoch.seen.raw)
    row["collect_ns"] = _timed("pagemap", lib.ul_soft_dirty_read, *where)
    return row | {"rearm_ns": _timed("clear_refs", lib.ul_soft_dirty_clear)}


def _mprotect(epoch: _Epoch) -> dict[str, Any]:
    ffi, lib = native.probe()
    memory, stats = epoch.memory, ffi.new("struct ul_watch_stats *")
    where = (memory.address, memory.length, memory.backing.page_bytes, epoch.seen.raw)
    row: dict[str, Any] = {"arm_ns": _timed("mprotect", lib.ul_watch_begin, *where)}
    try:
        row |= epoch.write()
        row["rearm_ns"] = _timed("mprotect", lib.ul_watch_again)
    finally:
        check("mprotect", lib.ul_watch_end(stats))
    return row | {"collect_ns": 0, "gave_up": bool(stats.gave_up)}  # the handler has noted each page


def _by_events(epoch: _Epoch, *, each: bool) -> dict[str, Any]:
    memory = epoch.memory
    with opened(("WP_UNPOPULATED",)) as uffd:
        uffd.register(memory, missing=False)
        row: dict[str, Any] = {"arm_ns": uffd.protect(memory)}
        with uffd.handled(memory.backing.page_bytes, HANDLER_TIMEOUT_S, epoch.seen) as events:
            row |= epoch.write()
        if events.deadline_hit or events.failed:
            raise UffdlabError(events.why(memory, HANDLER_TIMEOUT_S))
        raised = [number * memory.backing.page_bytes for number, seen in enumerate(epoch.seen.values()) if seen]
        row["rearm_ns"] = uffd.protect_each(memory, raised) if each else uffd.protect(memory)
    return row | {"collect_ns": 0, "handler_cpu_ns": events.cpu_ns}


def _async_scan(epoch: _Epoch) -> dict[str, Any]:
    with opened(("WP_UNPOPULATED", "WP_ASYNC")) as uffd:
        uffd.register(epoch.memory, missing=False)
        row: dict[str, Any] = {"arm_ns": uffd.protect(epoch.memory)}
        row |= epoch.write()
        result, written = scan_written(epoch.memory)
    native.probe()[0].memmove(epoch.seen.raw, written, len(written))
    return row | {"collect_ns": int(result.ns), "rearm_ns": 0}  # one pass does both


_TRACKING: dict[str, Callable[[_Epoch], dict[str, Any]]] = {
    "nothing": _nothing,
    "soft_dirty": _soft_dirty,
    "mprotect": _mprotect,
    "events": lambda epoch: _by_events(epoch, each=False),
    "events_each": lambda epoch: _by_events(epoch, each=True),
    "async_scan": _async_scan,
}
