# SPDX-License-Identifier: MIT
"""Workloads: how much memory is populated before protecting, and the reads and writes after it.

>>> from uffdlab.sim import DESIGNS, Workload, run
>>> result = run(DESIGNS["pmd_marker"], Workload(span_bytes=1 << 30, writes=1000))
>>> result.protect["markers_pmd"], result.touches["events_wp"]
(512, 1000)
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from uffdlab.errors import UffdlabError, check_word
from uffdlab.sim import ledger as ledgers
from uffdlab.sim.core import Core, core
from uffdlab.sim.designs import SimDesign, record_of
from uffdlab.sim.engine import (
    MOST_TOUCHES,
    PAGE_BYTES,
    Range,
    Walk,
    check_fraction,
    check_other_cpus,
    check_span,
)
from uffdlab.sim.ledger import Ledger
from uffdlab.units import format_size

_RANDOM = struct.Struct("<dQddii")
_MOST_CLUSTER = 1 << 18  # pages: 1 GiB


@dataclass(frozen=True)
class Workload:
    """A range populated in clusters, protected as a whole, then read and written by drawn touches.

    ``populated``: each cluster of ``cluster_pages`` is written beforehand with this probability. ``reads``, then
    ``writes``: touches after protecting, in the order of ``walk``. ``other_cpus`` run the process as well.
    """

    span_bytes: int = 1 << 30
    populated: float = 0.0
    cluster_pages: int = 1
    reads: int = 0
    writes: int = 0
    walk: Walk = "uniform"
    walk_cluster: int = 1
    other_cpus: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        """Raise UffdlabError on values that cannot be run."""
        if self.span_bytes <= 0 or self.span_bytes % PAGE_BYTES:
            raise UffdlabError(f"span {self.span_bytes} B is not a positive multiple of 4 KiB")
        check_fraction("populated", self.populated)
        check_other_cpus(self.other_cpus)
        for name in ("reads", "writes"):
            count = getattr(self, name)
            if count != int(count) or not 0 <= count < 1 << 62:
                raise UffdlabError(f"{name} is {count}: expected a whole number from 0 to 2^62")
            object.__setattr__(self, name, int(count))  # 1e6 is a whole number too
        check_word("walk", self.walk, get_args(Walk))
        if not 1 <= self.cluster_pages <= self.pages or not 1 <= self.walk_cluster <= self.pages:
            raise UffdlabError(f"clusters of {self.cluster_pages} pages do not fit a range of {self.pages}")

    @property
    def pages(self) -> int:
        """Return the number of 4 KiB pages."""
        return self.span_bytes // PAGE_BYTES

    def packed(self) -> bytes:
        """Return the workload as ``struct ul_random``, for expected values."""
        return _RANDOM.pack(self.populated, self.cluster_pages, self.reads, self.writes, self.other_cpus, 0)


@dataclass(frozen=True)
class Result:
    """Ledgers and memory of one run: protecting (prefault included), and the touches after it.

    ``shapes``: touches by shape (``shape_code`` in ``sim_shape.c``). ``tables_kib`` and ``pages_kib``: before
    protecting, after it, and after the touches. ``exact`` is False for expected values.
    """

    design: SimDesign
    workload: Workload
    exact: bool
    protect: Ledger
    touches: Ledger
    shapes: dict[int, float] = field(repr=False)
    tables_kib: tuple[float, float, float] = (0, 0, 0)
    pages_kib: tuple[float, float, float] = (0, 0, 0)

    @property
    def total(self) -> Ledger:
        """Return the sum of both ledgers."""
        return ledgers.total([self.protect, self.touches])


def run(design: SimDesign | str, workload: Workload, engine: Core | None = None) -> Result:
    """Run a workload page by page. Raises UffdlabError where its state would need more memory than there is."""
    work, design = workload, record_of(design)
    if work.reads + work.writes > MOST_TOUCHES:
        touches = work.reads + work.writes
        raise UffdlabError(f"{touches:.3g} touches would take more than an hour: ask for expected values instead")
    memory = populated_range(design, work, work.reads + work.writes, engine)
    before = memory.memory()
    protect, middle = memory.counted(memory.prefault, memory.protect), memory.memory()
    memory.start_phase()
    for count, write in ((work.reads, False), (work.writes, True)):
        memory.touch_many(count, work.walk, write=write, cluster=work.walk_cluster, seed=work.seed + 1 + write)
    after = memory.memory()
    return Result(
        design,
        work,
        True,
        protect,
        memory.ledger(),
        memory.shapes(),
        (before.tables_kib, middle.tables_kib, after.tables_kib),
        (before.pages_kib, middle.pages_kib, after.pages_kib),
    )


def populated_range(design: SimDesign, work: Workload, touches: int, engine: Core | None = None) -> Range:
    """Return the populated range of a workload, with memory reserved for ``touches`` touches."""
    if 0 < work.populated < 1:
        clusters = work.populated * work.pages / work.cluster_pages
        touches += int(clusters + 8 * clusters**0.5 + 8)
    memory = Range(design, work.span_bytes, touches=touches, other_cpus=work.other_cpus, engine=engine)
    memory.populate(work.populated, work.cluster_pages, work.seed)
    return memory


def expect(design: SimDesign | str, workload: Workload, engine: Core | None = None) -> Result:
    """Return expected values in closed form. Raises UffdlabError unless they exist for the workload."""
    at, work, design = engine or core(), workload, record_of(design)
    check_expected(design, work)
    names = ledgers.events()
    count = at.call("ul_shapes")
    sizes = [8 * len(names), 8 * len(names), 8 * count, 48]
    with at.lent(design.packed()) as packed, at.lent(work.packed()) as random, at.lent(bytes(sum(sizes))) as answers:
        places = [answers + sum(sizes[:i]) for i in range(len(sizes))]
        if at.call("ul_expect", packed, work.pages, random, *places):
            raise UffdlabError(f"BUG: expected values of {work} were refused")
        protect, touches = (ledgers.unpack(at, place, exact=False) for place in places[:2])
        shapes = struct.unpack(f"<{count}d", at.read(places[2], sizes[2]))
        memory = [4 * one for one in struct.unpack("<6d", at.read(places[3], 48))]
    found = {code: n for code, n in enumerate(shapes) if n}
    return Result(
        design, work, False, protect, touches, found,
        (memory[0], memory[2], memory[4]), (memory[1], memory[3], memory[5]),
    )  # fmt: skip


def sweep(
    design: SimDesign, workloads: Sequence[Workload], vectors: Sequence[Mapping[str, float]], engine: Core | None = None
) -> list[tuple[float, ...]]:
    """Return for each workload of one span: KiB of tables and of pages added, then the prices of protecting and of the
    touches by each vector of costs. Ten thousand workloads take a fraction of a second.
    """
    if not workloads:
        return []
    at, pages = engine or core(), workloads[0].pages
    for work in workloads:
        if work.pages != pages:
            raise UffdlabError("a sweep needs workloads of one span: make one sweep for each span")
        check_expected(design, work)
    width = 2 + 2 * len(vectors)
    size = 8 * width * len(workloads)
    asked, costs = b"".join(work.packed() for work in workloads), b"".join(map(ledgers.pack, vectors))
    with (
        at.lent(design.packed()) as packed,
        at.lent(asked) as random,
        at.lent(costs) as priced,
        at.lent(bytes(size)) as out,
    ):
        if at.call("ul_sweep", packed, pages, random, len(workloads), priced, len(vectors), out):
            raise UffdlabError("BUG: a sweep of checked workloads was refused")
        found = struct.iter_unpack(f"<{width}d", at.read(out, size))
        return [(4 * tables, 4 * filled, *prices) for tables, filled, *prices in found]


def check_expected(design: SimDesign, work: Workload) -> None:
    """Raise UffdlabError unless expected values exist for the workload under a design."""
    check_span(work.span_bytes, design)
    if work.walk != "uniform":
        raise UffdlabError(f"expected values need uniform touches, not {work.walk} ones: run it instead")
    if work.pages % 512:
        raise UffdlabError(
            f"expected values need a multiple of 2 MiB, and {format_size(work.span_bytes)} is none: run it instead"
        )
    if work.cluster_pages & (work.cluster_pages - 1) or work.cluster_pages > _MOST_CLUSTER:
        raise UffdlabError(
            f"expected values need clusters of a power of two up to {_MOST_CLUSTER} pages, not {work.cluster_pages}"
        )
