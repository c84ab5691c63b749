# SPDX-License-Identifier: MIT
"""Probe *published*: the protocol of the thread's table, as run by its program (uffd-wp-perf).

One process, four modes always in the same order, one sample each, nothing unmapped between them, and THP as set for
the whole system. Timed are the optional pre-fault and one UFFDIO_WRITEPROTECT over everything. The probe *protect*
measures the same without those flaws.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, Field, integer, one_of
from uffdlab.probes.spec import Spec, check_size, word
from uffdlab.probes.userfault import READ, counters, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, GIB, KIB, MIB
from uffdlab.vocabulary.designs import STOCK

MODES = {"DEFAULT": "unprotected", "PRE-READ": "preread", "MADVISE": "populate_read", "WP-UNPOPULATE": "pte_marker"}
THP_STATES = ("always", "madvise", "never")
_PLAIN = replace(BACKINGS["anon"], name="plain", map_kind="UL_MAP_PLAIN", short="anonymous")


@dataclass(frozen=True)
class PublishedSpec(Spec):
    """One run: length in bytes, and the value of ``transparent_hugepage/enabled`` meanwhile."""

    size_bytes: int = 10 * GIB
    thp: str = word("madvise", THP_STATES)

    def check(self) -> None:
        """Refuse an invalid combination of fields."""
        check_size(self.size_bytes, 2 * MIB, 1 << 44)

    def needs(self) -> Needs:
        """Return what it holds at its peak: three times the page tables, and the setting."""
        return Needs(3 * (self.size_bytes // (2 * MIB) * 4 + 64), settings={"thp_enabled": self.thp})


FIELDS: list[Field] = [
    BLOCK,
    one_of("thp", THP_STATES, "transparent_hugepage/enabled meanwhile"),
    one_of("mode", MODES, "as the program calls it"),
    integer("order", None, "place of the mode in the process, from 0"),
    integer("size_kib", "KiB", "length of the range"),
    integer("total_ns", "ns", "pre-fault, if the mode has one, and one UFFDIO_WRITEPROTECT"),
    integer("table_growth_kib", "KiB", "growth of VmPTE meanwhile"),
    integer("zeropages", None, "base pages mapping a (huge) zeropage afterwards", required=False),
    integer("huge_pages", None, "base pages that a huge entry maps afterwards", required=False),
]


def run(spec: PublishedSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``("published_runs", row)`` for each mode in turn."""
    with ExitStack() as nothing_unmapped:
        for order, (mode, name) in enumerate(MODES.items()):
            design = STOCK[name]
            memory = nothing_unmapped.enter_context(mapped(_PLAIN, spec.size_bytes))
            uffd = nothing_unmapped.enter_context(opened(design.features))
            uffd.register(memory, missing=False)
            before = counters()
            prepare_ns = 0
            if design.prepare != "nothing":
                prepare_ns = memory.touch(READ) if design.prepare == "read loop" else memory.populate_read()
            total_ns = prepare_ns + uffd.protect(memory)
            growth = counters().vm_pte_kib - before.vm_pte_kib
            key = {"thp": spec.thp, "mode": mode, "order": order, "size_kib": spec.size_bytes // KIB}
            pages = {"zeropages": memory.zeropages(), "huge_pages": memory.huge_pages()}
            yield "published_runs", key | {"total_ns": total_ns, "table_growth_kib": growth} | pages
