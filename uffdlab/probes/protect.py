# SPDX-License-Identifier: MIT
"""Probe *protect*: cost of preparing, registering and write-protecting a range, in time and in memory.

One sample is one fresh mapping: map, write to the populated fraction, prepare as the design says, register, one
UFFDIO_WRITEPROTECT over everything, unmap. Times are of the operation alone (CLOCK_MONOTONIC, read in C). The first
sample of a child process is *cold*: its page tables and pages come from memory that this process has not used yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from uffdlab.errors import UffdlabError, check_word
from uffdlab.probes.histogram import EDGE_FIELDS, bin_rows
from uffdlab.probes.interleave import in_turns, samples
from uffdlab.probes.requirements import Needs, peak
from uffdlab.probes.schema import BLOCK, SAMPLE, boolean, fraction, integer, one_of
from uffdlab.probes.spec import Spec, check_size, repeated, seed_of, seeded, within, word
from uffdlab.probes.userfault import READ, Counters, Range, counters, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, GIB, KIB, MIB
from uffdlab.vocabulary.designs import STOCK, Stock

# One touch in 61 is timed on its own: beside a fault per touch the clock costs well under 1 %. Where a huge page serves
# 512 touches it would cost about a fifth, so there the loop runs untimed.
SAMPLE_EVERY = 61
ADDRESS_SPACE_BYTES = 1 << 46  # half of the 47-bit user half: leaves room for the slack that alignment needs


@dataclass(frozen=True)
class ProtectSpec(Spec):
    """One configuration: sizes in bytes, ``populated`` the fraction of pages written beforehand, in runs of
    ``cluster_pages``. ``beside`` names a second design to alternate with in the same process, if any: differences
    between processes exceed some ratios of designs.
    """

    backing: str = word("anon", BACKINGS)
    design: str = word("pte_marker", STOCK)
    size_bytes: int = GIB
    populated: float = within(0.0, 0, 1)
    cluster_pages: int = within(1, 1, ADDRESS_SPACE_BYTES // (4 * KIB))
    repeats: int = repeated()
    seed: int = seeded()
    beside: str = ""

    def check(self) -> None:
        """Refuse an invalid combination of fields."""
        if self.beside:
            check_word("design", self.beside, STOCK)
        if self.beside == self.design:
            raise UffdlabError(f"beside must name a design other than {self.beside!r}")
        check_size(self.size_bytes, BACKINGS[self.backing].alignment_bytes, ADDRESS_SPACE_BYTES, self.backing)
        if self.cluster_pages > self.pages:
            raise UffdlabError(f"cluster_pages: runs of {self.cluster_pages} pages do not fit a range of {self.pages}")

    @property
    def pages(self) -> int:
        """Return how many pages of the backing the range has."""
        return self.size_bytes // BACKINGS[self.backing].page_bytes

    @property
    def populated_pages(self) -> int:
        """Return how many of them are written before protecting."""
        runs = self.pages // self.cluster_pages
        return min(runs, round(self.pages * self.populated / self.cluster_pages)) * self.cluster_pages

    def needs(self) -> Needs:
        """Return the memory and huge pages one sample holds at its peak."""
        if self.beside:
            return peak(spec.needs() for spec in in_turns(self, "design", 0))
        backing, design = BACKINGS[self.backing], STOCK[self.design]
        prepares = design.prepare != "nothing"
        fills_real_pages = prepares and backing.name not in ("anon", "anon_thp")
        pages = self.pages if fills_real_pages else self.populated_pages
        if backing.pool_kib is not None:
            tables = self.size_bytes // (backing.page_bytes * 512) * 4
            return Needs(memory_kib=tables, hugepages={backing.pool_kib: pages})
        # Under THP a write fills 2 MiB: a run may fill one huge page more than it covers.
        if backing.name == "anon_thp":
            runs = pages // self.cluster_pages
            pages = min(self.pages, runs * (1 + (self.cluster_pages - 1) // 512 + (self.cluster_pages > 1)) * 512)
        # Anonymous memory that is neither prepared nor marked gets no page tables.
        fills_tables = prepares or pages or backing.name == "shmem" or "WP_UNPOPULATED" in design.features
        tables = self.size_bytes // (2 * MIB) * 4 if fills_tables else 0
        return Needs(pages * backing.page_bytes // KIB + tables, thp=backing.name == "anon_thp")


KEY_FIELDS: list[dict[str, Any]] = [
    BLOCK,
    SAMPLE,
    one_of("backing", BACKINGS, "kind of memory"),
    one_of("design", STOCK, "how the range was prepared and protected"),
    integer("size_kib", "KiB", "length of the range"),
]

FIELDS: list[dict[str, Any]] = [
    *KEY_FIELDS,
    fraction("populated", "fraction of pages written beforehand, in runs chosen uniformly by seed"),
    integer("cluster_pages", None, "pages in each of those runs"),
    boolean("cold", "first sample of its design in its child process"),
    integer("prepare_ns", "ns", "preparation: read loop or MADV_POPULATE_READ; 0 for designs without one"),
    integer("register_ns", "ns", "UFFDIO_REGISTER of the range"),
    integer("protect_ns", "ns", "one UFFDIO_WRITEPROTECT of the range"),
    integer("table_before_kib", "KiB", "VmPTE before preparing"),
    integer("table_growth_kib", "KiB", "growth of VmPTE until after protecting"),
    integer("rss_before_kib", "KiB", "VmRSS before preparing"),
    integer("rss_growth_kib", "KiB", "growth of VmRSS until after protecting (hugetlb pages are not in it)"),
    integer("hugetlb_growth_kib", "KiB", "growth of HugetlbPages until after protecting", required=False),
    integer("zeropages_before", None, "base pages mapping a (huge) zeropage before preparing", required=False),
    integer("zeropages", None, "base pages mapping a (huge) zeropage after protecting", required=False),
    integer("huge_pages", None, "base pages that a huge entry maps after protecting", required=False),
    integer("prepare_minor_faults", None, "minor faults while preparing"),
    integer("protect_minor_faults", None, "minor faults while registering and protecting"),
    integer("tlb_ipis", None, "TLB shootdown interrupts meanwhile, whole machine", required=False),
]

LATENCY_FIELDS: list[dict[str, Any]] = [
    *KEY_FIELDS,
    one_of("operation", ["first read"], "what was timed, one touch at a time"),
    *EDGE_FIELDS,
    integer("count", None, "touches in the bin (one touch in 61 was timed)"),
]


def run(spec: ProtectSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``(table, row)`` for every sample of the spec; tables are ``samples`` and ``latencies``."""
    for sample, index, turn in samples(spec, "design"):
        row, bins = _sample(turn, index)
        key = {"sample": sample, "backing": turn.backing, "design": turn.design, "size_kib": turn.size_bytes // KIB}
        written = {"populated": turn.populated_pages / turn.pages, "cluster_pages": turn.cluster_pages}
        yield "samples", key | written | {"cold": index == 0} | row
        for bin_ in bin_rows(bins):
            yield "latencies", key | {"operation": "first read"} | bin_


def _sample(spec: ProtectSpec, index: int) -> tuple[dict[str, Any], dict[int, int]]:
    design = STOCK[spec.design]
    with mapped(BACKINGS[spec.backing], spec.size_bytes) as memory, opened(design.features) as uffd:
        memory.write_some(spec.populated_pages, seed_of(spec, index), spec.cluster_pages)
        zeropages_before = memory.zeropages()
        before = counters()
        prepare_ns, bins = prepare(design, memory)
        prepared = counters()
        register_ns = uffd.register(memory, missing=design.missing)
        protect_ns = uffd.protect(memory)
        after = counters()
        times = {"prepare_ns": prepare_ns, "register_ns": register_ns, "protect_ns": protect_ns}
        pages = {"zeropages_before": zeropages_before, "zeropages": memory.zeropages()}
        return times | _growth(before, prepared, after) | pages | {"huge_pages": memory.huge_pages()}, bins


def prepare(design: Stock, memory: Range) -> tuple[int, dict[int, int]]:
    """Prepare a range for a design. Return ns, and the latencies of a read loop by bin."""
    if design.prepare == "read loop" and memory.backing.name == "anon_thp":
        return memory.touch(READ), {}
    if design.prepare == "read loop":
        return memory.touch_sampled(READ, SAMPLE_EVERY)
    if design.prepare == "MADV_POPULATE_READ":
        return memory.populate_read(), {}
    return 0, {}


def _growth(before: Counters, prepared: Counters, after: Counters) -> dict[str, Any]:
    grown = after.growth(before)
    return {
        "table_before_kib": before.vm_pte_kib,
        "table_growth_kib": grown["vm_pte_kib"],
        "rss_before_kib": before.vm_rss_kib,
        "rss_growth_kib": grown["vm_rss_kib"],
        "hugetlb_growth_kib": grown["hugetlb_kib"],
        "prepare_minor_faults": prepared.minor_faults - before.minor_faults,
        "protect_minor_faults": after.minor_faults - prepared.minor_faults,
        "tlb_ipis": grown["tlb_ipis"],
    }
