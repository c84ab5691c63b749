# SPDX-License-Identifier: MIT
"""Probe *zeropages*: pages mapped by filling empty memory and after a resolve, with and without a huge zeropage.

One sample prepares and protects a fresh mapping and counts what it then holds; two more mappings, made the same way,
are resolved and written once per 2 MiB: by un-protecting 4 KiB, and by un-protecting 2 MiB. The huge zeropage is a
setting of the whole system (``use_zero_page``); a block that needs another value has it in its needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from uffdlab.probes.protect import prepare
from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, COLD, SAMPLE, Field, boolean, integer, one_of
from uffdlab.probes.spec import Spec, check_size, repeated, word
from uffdlab.probes.userfault import WRITE, Counters, Range, Userfault, counters, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, KIB, MIB, Backing
from uffdlab.vocabulary.designs import STOCK

HANDLER_TIMEOUT_S = 10.0
PMD = 2 * MIB
HUGE_ZEROPAGE = {"as found": {}, "on": {"thp_use_zero_page": "1"}, "off": {"thp_use_zero_page": "0"}}
FILLS = ("preread", "populate_read", "pte_marker")
STEPS = ("protected", "resolved 4 KiB, written", "resolved 2 MiB, written")


@dataclass(frozen=True)
class ZeropagesSpec(Spec):
    """One configuration: how a range of ``size_bytes`` is filled, and whether there is a huge zeropage."""

    backing: str = word("anon", BACKINGS)
    design: str = word("populate_read", FILLS)
    huge_zeropage: str = word("as found", HUGE_ZEROPAGE)
    size_bytes: int = 64 * MIB
    repeats: int = repeated()

    def check(self) -> None:
        """Refuse an invalid combination of fields."""
        check_size(self.size_bytes, max(PMD, BACKINGS[self.backing].page_bytes), 1 << 40)

    def needs(self) -> Needs:
        """Return what a sample holds at its peak: the whole range, where there is no zeropage to share."""
        backing = BACKINGS[self.backing]
        settings = dict(HUGE_ZEROPAGE[self.huge_zeropage])
        if backing.pool_kib is not None:
            return Needs(hugepages={backing.pool_kib: self.size_bytes // backing.page_bytes}, settings=settings)
        thp = self.backing == "anon_thp"
        return Needs(self.size_bytes // KIB + self.size_bytes // PMD * 4, thp=thp, settings=settings)


FIELDS: list[Field] = [
    BLOCK,
    SAMPLE,
    COLD,
    one_of("backing", BACKINGS, "kind of memory"),
    one_of("design", FILLS, "how the empty range was filled and protected"),
    one_of("huge_zeropage", HUGE_ZEROPAGE, "use_zero_page while it was measured"),
    one_of("step", STEPS, "when it was counted; resolves are one per 2 MiB (or per larger page)"),
    integer("size_kib", "KiB", "length of the range"),
    integer("prepare_ns", "ns", "read loop or MADV_POPULATE_READ; 0 for markers"),
    integer("protect_ns", "ns", "one UFFDIO_WRITEPROTECT of the range"),
    integer("resolves", None, "pages written after their resolve"),
    integer("zeropages", None, "base pages mapping a (huge) zeropage", required=False),
    integer("huge_pages", None, "base pages that a huge entry maps", required=False),
    integer("present_pages", None, "base pages present, zeropages included", required=False),
    integer("rss_growth_kib", "KiB", "growth of VmRSS since the range was mapped"),
    integer("hugetlb_growth_kib", "KiB", "growth of HugetlbPages since then", required=False),
    integer("table_growth_kib", "KiB", "growth of VmPTE since then"),
    integer("minor_faults", None, "minor faults since then"),
    boolean("reported", "whether a write to the last page of the range, after all that, raised an event"),
]


def run(spec: ZeropagesSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``("zeropages", row)`` for every step of every sample."""
    for index in range(spec.repeats):
        for step in STEPS:
            key = {"sample": index, "cold": index == 0, "backing": spec.backing, "design": spec.design}
            key |= {"huge_zeropage": spec.huge_zeropage, "step": step, "size_kib": spec.size_bytes // KIB}
            yield "zeropages", key | _observe(spec, step)


@dataclass(frozen=True)
class _Filled:
    memory: Range
    uffd: Userfault
    before: Counters
    prepare_ns: int
    protect_ns: int


@contextmanager
def _filled(spec: ZeropagesSpec) -> Iterator[_Filled]:
    design = STOCK[spec.design]
    with mapped(BACKINGS[spec.backing], spec.size_bytes) as memory, opened(design.features) as uffd:
        before = counters()
        prepare_ns, _ = prepare(design, memory)
        uffd.register(memory, missing=False)
        yield _Filled(memory, uffd, before, prepare_ns, uffd.protect(memory))


def _observe(spec: ZeropagesSpec, step: str) -> dict[str, Any]:
    backing = BACKINGS[spec.backing]
    with _filled(spec) as filled:
        resolves = 0 if step == "protected" else _resolve(filled, backing, 4 * KIB if "4 KiB" in step else PMD)
        row = _count(filled)
        with filled.uffd.handled(backing.page_bytes, HANDLER_TIMEOUT_S) as events:
            # The last page of the range: of a 2 MiB range resolved as a whole it is not protected any more.
            filled.memory.touch_at([spec.size_bytes - backing.page_bytes], WRITE)
    times = {"prepare_ns": filled.prepare_ns, "protect_ns": filled.protect_ns, "resolves": resolves}
    return times | row | {"reported": events.wp > 0}


def _resolve(filled: _Filled, backing: Backing, piece: int) -> int:
    """Un-protect ``piece`` bytes (at least a page) of every 2 MiB and write to its first page. Returns how many."""
    stride, piece = max(PMD, backing.page_bytes), max(piece, backing.page_bytes)
    filled.uffd.unprotect_pieces(filled.memory, stride, piece)
    filled.memory.touch(WRITE, stride)
    return filled.memory.length // stride


def _count(filled: _Filled) -> dict[str, Any]:
    memory, grown = filled.memory, counters().growth(filled.before)
    return {
        "zeropages": memory.zeropages(),
        "huge_pages": memory.huge_pages(),
        "present_pages": memory.present_pages(),
        "rss_growth_kib": grown["vm_rss_kib"],
        "hugetlb_growth_kib": grown["hugetlb_kib"],
        "table_growth_kib": grown["vm_pte_kib"],
        "minor_faults": grown["minor_faults"],
    }
