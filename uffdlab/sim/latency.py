# SPDX-License-Identifier: MIT
"""How long single touches take: each shape of touch has a ledger, a ledger has a price."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from uffdlab.sim.costs import Costs
from uffdlab.sim.ledger import Ledger
from uffdlab.sim.workloads import Result, Shape, shape_ledger
from uffdlab.stats import Estimate

Wanted = Callable[[Shape], bool]


@dataclass(frozen=True)
class Bar:
    """Touches of one shape: how many, and what one of them costs."""

    shape: Shape
    count: float
    cost: Estimate
    ledger: Ledger


def bars(result: Result, costs: Costs, wanted: Wanted) -> list[Bar]:
    """Return the touches of a result by shape, cheapest first; only shapes that are wanted."""
    found = []
    for code, count in result.shapes.items():
        shape = Shape.of(code)
        if count > 0 and wanted(shape):
            ledger = shape_ledger(result.design, code, result.workload.other_cpus)
            found.append(Bar(shape, count, costs.price(ledger), ledger))
    return sorted(found, key=lambda bar: bar.cost.value)
