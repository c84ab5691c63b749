# SPDX-License-Identifier: MIT
"""Probe *occupancy*: scan processes of known content, and this Python itself, as ``uffdlab scan`` does.

Each share follows from the workload, which checks the scan. Measured are the share of untouched memory at 4 KiB, 2 MiB
and 1 GiB when the same amount is written in different places, and the duration of a scan by each method.
``uffdlab.occupancy.scanning`` defines the shares.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from uffdlab import occupancy
from uffdlab.probes.occupancy_target import CLUSTER_BYTES, Content, held
from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, count, fraction, integer, one_of
from uffdlab.probes.spec import Spec, check_size, repeated, seeded, within, word
from uffdlab.vocabulary.backings import BACKINGS, GIB, KIB, MIB
from uffdlab.vocabulary.states import INTERPRETER, WORKLOADS

MOST_BYTES = 1 << 40
INTERPRETER_MIN_BYTES = 64 * KIB  # Python's own arenas are small


@dataclass(frozen=True)
class OccupancySpec(Spec):
    """One process to scan ``repeats`` times by each method; ``populated`` is the fraction written (0..1)."""

    workload: str = word("anon_uniform", WORKLOADS)
    size_bytes: int = 4 * GIB
    populated: float = within(0.1, 0, 1)
    repeats: int = repeated()
    seed: int = seeded()

    def check(self) -> None:
        """Refuse an invalid combination of fields."""
        check_size(self.size_bytes, CLUSTER_BYTES, MOST_BYTES)

    def content(self) -> Content:
        """Return the content of the process; clustered content is rounded to whole clusters."""
        workload = WORKLOADS[self.workload]
        page = BACKINGS[workload.backing].page_bytes
        unit = CLUSTER_BYTES if workload.clustered else page
        pages = round(self.size_bytes // unit * self.populated) * (unit // page)
        return Content(
            workload.backing, self.size_bytes, pages, self.seed, workload.clustered, workload.read, workload.marked
        )

    def needs(self) -> Needs:
        """Return the memory it holds at its peak."""
        if self.workload == INTERPRETER:
            return Needs()
        content = self.content()
        tables = self.size_bytes // (2 * MIB) * 4
        return Needs(memory_kib=content.pages * BACKINGS[content.backing].page_kib + tables)


_KINDS = ("anon", "shmem", "hugetlb")  # kinds that userfaultfd can register
SHARES = (*(state for state in occupancy.STATES if state != "file"), "mixed", "untouched_or_zeropage")

FIELDS: list[dict[str, Any]] = [
    BLOCK,
    integer("sample", None, "number of the look by this method within its block, from 0"),
    one_of("workload", WORKLOADS, "what the process held"),
    one_of("method", occupancy.METHODS, "how it was looked at"),
    count("mapping", "number of the mapping within the process, from 0"),
    one_of("kind", _KINDS, "kind of memory"),
    integer("size_kib", "KiB", "length of the mapping"),
    integer("granularity_kib", "KiB", "size of a unit"),
    count("units", "aligned units wholly inside the mapping"),
    *(fraction(name, f"share of units: {name.replace('_', ' ')}", required=False) for name in SHARES),
    integer("huge_kib", "KiB", "mapped by huge entries, without the huge zeropage", required=False),
    integer("scan_ns", "ns", "looking at the whole mapping, at all granularities together"),
    count("calls", "system calls of that look"),
    integer("vm_pte_kib", "KiB", "VmPTE of the process", required=False),
    integer("vm_rss_kib", "KiB", "VmRSS of the process", required=False),
]


def run(spec: OccupancySpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``("occupancy", row)`` for every mapping, granularity, method and scan."""
    if spec.workload == INTERPRETER:
        yield from _scans(spec, os.getpid(), INTERPRETER_MIN_BYTES)
        return
    with held(spec.content()) as pid:
        yield from _scans(spec, pid, spec.size_bytes)


def _scans(spec: OccupancySpec, pid: int, min_bytes: int) -> Iterator[tuple[str, dict[str, Any]]]:
    best = occupancy.scan(pid, min_bytes)
    for sample in range(spec.repeats):
        for method in dict.fromkeys((best.method, "pagemap")):
            scan = occupancy.scan(pid, min_bytes, method)
            key = {"sample": sample, "workload": spec.workload, "method": method}
            for row in _rows(scan):
                yield "occupancy", key | row


def _rows(scan: occupancy.Scan) -> Iterator[dict[str, Any]]:
    whole = {"vm_pte_kib": scan.after.vm_pte_kib, "vm_rss_kib": scan.after.vm_rss_kib}
    for number, seen in enumerate(seen for seen in scan.mappings if seen.mapping.kind in _KINDS):
        huge = None if seen.huge_bytes is None else seen.huge_bytes // KIB
        place = {"mapping": number, "kind": seen.mapping.kind, "size_kib": seen.mapping.length // KIB}
        cost = {"huge_kib": huge, "scan_ns": seen.scan_ns, "calls": seen.calls}
        for granularity in seen.granularities:
            units = {"granularity_kib": granularity.unit_bytes // KIB, "units": granularity.units}
            yield place | units | {name: granularity.share(name) for name in SHARES} | cost | whole
