# SPDX-License-Identifier: MIT
"""Probe *faults*: cost of the first and second read or write after each preparation of a range.

One sample is one fresh mapping, registered for write-protection whatever the preparation, so that only the page
table's entries differ. It is prepared, then touched once per stride in two or three *passes*; each pass is a row. The
touching threads are pinned, one per CPU; with one thread, the event handler runs on the same CPU, where a round trip is
cheapest. A pass *no touch* is the null arm of the pass before it: the same threads spin for as long and touch nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from uffdlab.errors import UffdlabError, check_word
from uffdlab.host import cpus
from uffdlab.probes.affinity import on_one_cpu
from uffdlab.probes.histogram import EDGE_FIELDS, bin_rows
from uffdlab.probes.interleave import in_turns, samples
from uffdlab.probes.requirements import Needs, peak
from uffdlab.probes.schema import BLOCK, SAMPLE, Field, boolean, count, integer, one_of
from uffdlab.probes.spec import Spec, repeated, within, word
from uffdlab.probes.userfault import READ, WRITE, Counters, Events, Range, Touched, Userfault, counters, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, GIB, KIB, MIB

HANDLER_TIMEOUT_S = 60.0
PAGE = 4 * KIB
STRIDES = (PAGE, 2 * MIB, GIB)
PIECE = MIB  # a discard that covers no whole PTE table
_COLD = ("fresh_cold", "tables_cold")
# Beside a fault per touch the clock costs well under 1 %; where touches are few, each is timed.
SAMPLE_EVERY = {PAGE: 61, 2 * MIB: 1, GIB: 1}
EVICTION_BYTES = 512 * MIB  # more than a last-level cache holds
DELIVERIES = ("plain", "async", "event")


@dataclass(frozen=True)
class Preparation:
    """The page table's entries before the first touch, and the possible deliveries of a fault."""

    name: str
    deliveries: tuple[str, ...]
    backings: tuple[str, ...] = ("anon", "shmem")


PREPARATIONS: dict[str, Preparation] = {
    preparation.name: preparation
    for preparation in (
        Preparation("fresh", ("plain",), ("anon", "anon_thp", "shmem")),
        Preparation("unregistered", ("plain",), ("anon", "anon_thp")),  # as fresh, but not registered
        Preparation("fresh_cold", ("plain",), ("anon",)),  # as fresh, after the processor's caches were replaced
        Preparation("tables", ("plain",)),  # page tables whose markers were cleared
        Preparation("tables_cold", ("plain",), ("anon",)),  # the same, after the caches were replaced
        Preparation("markers", ("async", "event"), ("anon", "anon_thp", "shmem")),
        Preparation("zeropage", DELIVERIES, ("anon",)),
        Preparation("huge_zeropage", DELIVERIES, ("anon_thp",)),
        Preparation("written", DELIVERIES),
        Preparation("missing_wp", ("event",)),  # empty, registered MISSING|WP
        Preparation("discarded_whole", ("plain",), ("anon",)),
        Preparation("discarded_pieces", ("plain",), ("anon",)),  # of 1 MiB: empty tables stay
    )
}
NO_TOUCH = "no touch"
# Passes after the preparation, in this order.
PASSES: dict[str, tuple[tuple[str, int], ...]] = {
    "read": (("first read", READ), ("second read", READ), ("write after reads", WRITE)),
    "write": (("first write", WRITE), ("second write", WRITE)),
    "wait": (("first write", WRITE), (NO_TOUCH, WRITE)),
}
TOUCHES = tuple(name for passes in PASSES.values() for name, _ in passes)


@dataclass(frozen=True)
class FaultsSpec(Spec):
    """One configuration: sizes in bytes; ``together`` lets several threads fault under the same PTE tables.

    ``beside`` names a second preparation to alternate with in the same process, if any.
    """

    backing: str = word("anon", ("anon", "anon_thp", "shmem"))
    preparation: str = word("fresh", PREPARATIONS)
    delivery: str = word("plain", DELIVERIES)
    access: str = word("write", PASSES)
    size_bytes: int = 64 * MIB
    stride_bytes: int = PAGE
    threads: int = within(1, 1, 16)
    together: bool = False
    repeats: int = repeated()
    beside: str = ""

    def check(self) -> None:
        """Refuse an invalid combination of fields."""
        if self.beside:
            check_word("preparation in beside", self.beside, PREPARATIONS)
        if self.beside == self.preparation:
            raise UffdlabError(f"beside must name a preparation other than {self.beside!r}")
        for preparation in (PREPARATIONS[name] for name in (self.preparation, self.beside) if name):
            if self.delivery not in preparation.deliveries:
                raise UffdlabError(f"delivery after {preparation.name} is {' or '.join(preparation.deliveries)} only")
            if self.backing not in preparation.backings:
                raise UffdlabError(f"{preparation.name} is possible on {' or '.join(preparation.backings)} only")
        if self.stride_bytes not in STRIDES:
            raise UffdlabError(f"stride {self.stride_bytes} B: choose 4KiB, 2MiB or 1GiB")
        if self.size_bytes <= 0 or self.size_bytes % (self.stride_bytes * self.threads):
            raise UffdlabError(f"size {self.size_bytes} B is not a multiple of stride times threads ({self.threads})")
        if self.size_bytes > 1 << 46:
            raise UffdlabError(f"size {self.size_bytes} B is beyond the user address space")

    @property
    def touches(self) -> int:
        """Return how many touches a pass makes."""
        return self.size_bytes // self.stride_bytes

    def needs(self) -> Needs:
        """Return the memory one sample holds at its peak, and the CPUs its threads are pinned to."""
        if self.beside:
            return peak(spec.needs() for spec in in_turns(self, "preparation", 0))
        page_kib = 2 * MIB // KIB if self.backing == "anon_thp" and self.stride_bytes > PAGE else PAGE // KIB
        everywhere = self.preparation in ("tables", "tables_cold", "markers") or self.delivery == "async"
        tables = self.size_bytes // (2 * MIB) if everywhere else min(self.touches, self.size_bytes // (2 * MIB))
        huge = self.preparation == "huge_zeropage"
        return Needs(
            memory_kib=self.touches * page_kib
            + tables * 4
            + 4
            + (EVICTION_BYTES // KIB if self.preparation in _COLD else 0),
            thp=self.backing == "anon_thp",
            cpus=self.threads,
            settings={"thp_use_zero_page": "1"} if huge else {},
        )


FIELDS: list[Field] = [
    BLOCK,
    SAMPLE,
    boolean("cold", "first sample of its preparation in its child process"),
    one_of("backing", ("anon", "anon_thp", "shmem"), "kind of memory"),
    one_of("preparation", PREPARATIONS, "what stood in the page table before the first touch"),
    one_of("delivery", DELIVERIES, "plain: not protected; async: resolved by the kernel; event: by a handler thread"),
    one_of("touch", TOUCHES, "which pass over the range"),
    integer("size_kib", "KiB", "length of the range"),
    integer("stride_kib", "KiB", "one touch per so much of it"),
    integer("threads", None, "pinned threads that touched"),
    boolean("together", "whether threads faulted under the same PTE tables instead of in a half each"),
    count("touches", "touches of all threads; of a pass without any, those of the pass before it"),
    integer("wall_ns", "ns", "from the first thread's start to the last one's end"),
    integer("busy_ns", "ns", "time from start to end, summed over threads"),
    integer("minor_faults", None, "minor faults of the process meanwhile"),
    integer("table_growth_kib", "KiB", "growth of VmPTE meanwhile"),
    integer("rss_growth_kib", "KiB", "growth of VmRSS meanwhile"),
    integer("tlb_ipis", None, "TLB shootdown interrupts meanwhile, whole machine", required=False),
    count("wp_events", "write-protect events delivered to the handler"),
    count("missing_events", "missing events delivered to the handler"),
    count("failed_events", "events the handler could not resolve"),
]

LATENCY_FIELDS: list[Field] = [
    BLOCK,
    integer("sample", None, "number of the sample within its block"),
    one_of("touch", TOUCHES, "which pass over the range"),
    *EDGE_FIELDS,
    integer("count", None, "touches in the bin (of 4 KiB strides one touch in 61 was timed)"),
]


def run(spec: FaultsSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``(table, row)``: one ``faults`` row per pass, and the ``fault_latencies`` of warm samples."""
    for sample, index, turn in samples(spec, "preparation"):
        for touch, row, bins in _sample(turn):
            yield "faults", {"sample": sample, "cold": index == 0} | _key(turn) | {"touch": touch} | row
            if index or spec.repeats == 1:
                key = {"sample": sample, "touch": touch}
                yield from (("fault_latencies", key | bin_) for bin_ in bin_rows(bins))


def _key(spec: FaultsSpec) -> dict[str, Any]:
    return {
        "backing": spec.backing,
        "preparation": spec.preparation,
        "delivery": spec.delivery,
        "size_kib": spec.size_bytes // KIB,
        "stride_kib": spec.stride_bytes // KIB,
        "threads": spec.threads,
        "together": spec.together,
    }


def _sample(spec: FaultsSpec) -> Iterator[tuple[str, dict[str, Any], dict[int, int]]]:
    with mapped(BACKINGS[spec.backing], spec.size_bytes) as memory, opened(_features(spec)) as uffd:
        if spec.preparation != "unregistered":
            uffd.register(memory, missing=spec.preparation == "missing_wp")
        _prepare(spec, memory, uffd)
        touched = Touched(0, 0, 0, {})
        for touch, how in PASSES[spec.access]:
            wait_ns = touched.wall_ns if touch == NO_TOUCH else 0
            before = counters()
            touched, events = _pass(spec, memory, uffd, touch, how, wait_ns)
            yield touch, _row(before, counters(), touched, events), touched.bins


def _features(spec: FaultsSpec) -> tuple[str, ...]:
    """Return the features to request: without WP_UNPOPULATED, protecting skips holes of anon."""
    if spec.delivery == "async":
        return ("WP_UNPOPULATED", "WP_ASYNC")
    return ("WP_UNPOPULATED",) if spec.preparation in ("tables", "tables_cold", "markers") else ()


def _prepare(spec: FaultsSpec, memory: Range, uffd: Userfault) -> None:
    if spec.preparation in ("zeropage", "huge_zeropage"):
        memory.touch(READ, spec.stride_bytes)
        _check_zeropages(spec, memory)
    elif spec.preparation in ("written", "discarded_whole", "discarded_pieces"):
        memory.touch(WRITE, spec.stride_bytes)
    if spec.preparation.startswith("discarded"):
        memory.discard(None if spec.preparation == "discarded_whole" else PIECE)
    if spec.preparation in ("tables", "tables_cold"):
        uffd.protect(memory)
        uffd.protect(memory, on=False)
    elif spec.delivery != "plain" and spec.preparation != "missing_wp":
        uffd.protect(memory)
    if spec.preparation in _COLD:
        _evict()


def _evict() -> None:
    """Replace what the processor's caches hold by writing every line of a larger buffer."""
    with mapped(BACKINGS["anon_thp"], EVICTION_BYTES) as buffer:
        buffer.touch(WRITE, 64)


def _check_zeropages(spec: FaultsSpec, memory: Range) -> None:
    """Raise UffdlabError unless reading mapped the zeropage everywhere."""
    wanted = spec.touches * (512 if spec.preparation == "huge_zeropage" and spec.stride_bytes > PAGE else 1)
    if memory.zeropages() not in (wanted, None):
        raise UffdlabError(f"reading mapped {memory.zeropages()} of {wanted} pages to a zeropage: free some memory")


def _pass(
    spec: FaultsSpec, memory: Range, uffd: Userfault, touch: str, how: int, wait_ns: int
) -> tuple[Touched, Events]:
    sample_every = SAMPLE_EVERY[spec.stride_bytes] if _faults_every_time(spec, touch) else 0

    def touched() -> Touched:
        places = cpus.allowed()[: spec.threads]
        return memory.touch_threads(
            how, spec.stride_bytes, places, together=spec.together, sample_every=sample_every, wait_ns=wait_ns
        )

    if spec.delivery != "event":
        return touched(), Events()
    with on_one_cpu() if spec.threads == 1 else nullcontext(), uffd.handled(PAGE, HANDLER_TIMEOUT_S) as events:
        result = touched()
    if events.deadline_hit:
        raise UffdlabError(events.why(memory, HANDLER_TIMEOUT_S))
    return result, events


def _faults_every_time(spec: FaultsSpec, touch: str) -> bool:
    """Return whether each touch of the pass faults, so that the cost of timing some is negligible."""
    if touch.startswith("second") or touch == NO_TOUCH:
        return False
    if spec.preparation in ("zeropage", "huge_zeropage", "written") and touch == "first read":
        return False
    if spec.preparation == "written" and spec.delivery == "plain":
        return False
    return spec.backing != "anon_thp" or spec.stride_bytes > PAGE


def _row(before: Counters, after: Counters, touched: Touched, events: Events) -> dict[str, Any]:
    grown = after.growth(before)
    return {
        "touches": touched.touches,
        "wall_ns": touched.wall_ns,
        "busy_ns": touched.busy_ns,
        "minor_faults": grown["minor_faults"],
        "table_growth_kib": grown["vm_pte_kib"],
        "rss_growth_kib": grown["vm_rss_kib"],
        "tlb_ipis": grown["tlb_ipis"],
        "wp_events": events.wp,
        "missing_events": events.missing,
        "failed_events": events.failed,
    }
