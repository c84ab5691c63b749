# SPDX-License-Identifier: MIT
"""How long single writes take: each shape of touch has a ledger, a ledger has a price."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shapes import Shape

from uffdlab.sim.core import core
from uffdlab.sim.costs import Costs
from uffdlab.sim.workloads import Result
from uffdlab.stats import Estimate

_MOST = 512  # UL_ASKING
_ROW = struct.Struct("<6d2I")  # struct ul_latency


@dataclass(frozen=True)
class Latency:
    """Writes of one shape: how many, their share, the share that take as long or longer, and what one of them costs."""

    shape: Shape
    count: float
    share: float
    slower: float
    cost: Estimate


def latencies(result: Result, costs: Costs) -> list[Latency]:
    """Return the writes of a result that ask something of the kernel, by shape, cheapest first."""
    at = core()
    counts = struct.pack("<1024d", *(result.shapes.get(code, 0.0) for code in range(1024)))
    with (
        at.lent(result.design.packed()) as design,
        at.lent(counts) as shapes,
        costs.lent() as given,
        at.lent(bytes(_ROW.size * _MOST)) as rows,
    ):
        found = at.call("ul_latencies", design, result.workload.other_cpus, shapes, *given, rows)
        return [
            Latency(Shape.of(code), count, share, slower, costs.estimate(*cost))
            for count, share, slower, *cost, code, _ in _ROW.iter_unpack(at.read(rows, _ROW.size * found))
        ]
