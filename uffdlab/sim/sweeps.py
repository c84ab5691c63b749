# SPDX-License-Identifier: MIT
"""Many workloads at once: frames of expected values for figures, priced with their intervals.

Every ``df_*`` takes a vector of costs and designs (records, or names of them); times are in its unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd

from uffdlab.errors import UffdlabError
from uffdlab.sim import ledger as ledgers
from uffdlab.sim.costs import Costs
from uffdlab.sim.designs import Design, record_of
from uffdlab.sim.engine import PAGE_BYTES, Range
from uffdlab.sim.latency import bars
from uffdlab.sim.workloads import Shape, Workload, expect, sweep

Designs = Sequence[Design | str]
ANONYMOUS = ("preread", "populate_read", "wp_zeropage", "pte_marker", "pmd_marker", "pud_marker")
GIB = 1 << 30
TIE = 1e-3
DECIDED = Workload(16 * GIB, writes=2_000)


def chosen(designs: Designs) -> list[Design]:
    """Return designs, those named by their names."""
    return [record_of(one) for one in designs]


def df_stop_time(
    costs: Costs, designs: Designs = ANONYMOUS, gib: Iterable[int] = (1, 4, 16, 64, 256, 1024), populated: float = 0.0
) -> pd.DataFrame:
    """Return the expected time to pre-fault and protect, by design and size: ``cost`` with ``_low`` and ``_high``."""
    rows = []
    for design in chosen(designs):
        for size in gib:
            result = expect(design, Workload(size * GIB, populated))
            tables = result.tables_kib[1] - result.tables_kib[0]
            rows.append({"design": design.name, "gib": size, "tables_kib": tables} | _priced(costs, result.protect))
    return pd.DataFrame(rows)


def df_touched(costs: Costs, designs: Designs = ANONYMOUS, blocks: int = 512, steps: int = 16) -> pd.DataFrame:
    """Return what writing one page in a share of all 2 MiB of an empty range costs in all, and its page tables.

    Columns: ``design``, ``touched`` (share), ``cost`` of protecting and of the writes, ``tables_kib``.
    """
    rows = []
    for design in chosen(designs):
        memory = Range(design, blocks * 512 * PAGE_BYTES, touches=blocks)
        memory.prefault()
        memory.protect()
        written = 0
        for step in range(steps + 1):
            while written < step * blocks // steps:
                memory.touch(written * 512, write=True)
                written += 1
            row = {"design": design.name, "touched": written / blocks, "tables_kib": memory.memory().tables_kib}
            rows.append(row | _priced(costs, memory.ledger()))
    return pd.DataFrame(rows)


def df_latency(costs: Costs, designs: Designs, workload: Workload) -> pd.DataFrame:
    """Return how many writes of a workload cost how much, by design: ``cost`` with its interval, ``share``, ``slower``.

    Writes that find their page ask nothing of the kernel, and are left out. ``slower`` is the share of the others that
    cost as much or more; ``found`` the level at which the entry was found.
    """
    rows = []
    for design in chosen(designs):
        found = bars(expect(design, workload), costs, _faulting)
        if not found:
            raise UffdlabError(f"no write of this workload asks the kernel anything under {design.name}: write more")
        everything, slower = sum(one.count for one in found), 1.0
        for one in found:
            share = one.count / everything
            cost = {"cost": one.cost.value, "cost_low": one.cost.low, "cost_high": one.cost.high}
            words = {"design": design.name, "found": one.shape.found, "kind": one.shape.kind}
            rows.append(words | cost | {"share": share, "slower": slower})
            slower -= share
    return pd.DataFrame(rows)


def _faulting(shape: Shape) -> bool:
    return shape.write and (shape.kind != "page" or shape.protected)


def df_waterfall(costs: Costs, designs: Designs, workload: Workload) -> pd.DataFrame:
    """Return of what the total work consists: one row per design and event that costs something."""
    rows = []
    for design in chosen(designs):
        result = expect(design, workload)
        for phase, ledger in (("protect", result.protect), ("touches", result.touches)):
            for event, count, cost in costs.dearest(ledger, most=len(ledger)):
                rows.append({"design": design.name, "phase": phase, "event": event, "count": count, "cost": cost})
    return pd.DataFrame(rows)


def df_decision(
    costs: Costs,
    objective: str = "total work",
    designs: Designs = ("populate_read", "pte_marker", "pmd_marker", "pud_marker"),
    base: Workload | None = None,
    steps: int = 9,
) -> pd.DataFrame:
    """Return the cheapest design by populated fraction and clustering.

    Columns: ``best``, its ``cost``, ``ties`` (those within 0.1 % of it, the first of which it is), the ``second`` (the
    cheapest of the others), the ``ratio`` of the two, and ``clear``: whether the whole interval of that ratio lies
    above 1. ``base`` has the span and the later touches.
    """
    base = base or DECIDED
    works = [
        replace(base, populated=step / (steps - 1), cluster_pages=1 << power)
        for power in range(0, 19, 2)
        if 1 << power <= base.pages
        for step in range(steps)
    ]
    if len(designs) < 2 or steps < 2:
        raise UffdlabError("a decision is between two designs or more, at two fractions or more")
    vectors = (costs.vector, *costs.draws)
    swept = {design.name: sweep(design, works, vectors) for design in chosen(designs)}
    rows = []
    for number, work in enumerate(works):
        judged = {name: _judged(found[number], objective) for name, found in swept.items()}
        least = min(value for value, *_ in judged.values())
        ties = [name for name in judged if judged[name][0] <= least * (1 + TIE)]
        others = sorted((name for name in judged if name not in ties), key=lambda name: judged[name][0])
        best, second = ties[0], (others or ties[1:])[0]
        row = {"populated": work.populated, "cluster_pages": work.cluster_pages, "best": best, "second": second}
        ratios = [a / b for a, b in zip(judged[second], judged[best], strict=True)]
        # Memory is counted, and counts are exact.
        clear = bool(others) and (objective == "memory" or costs.spread(ratios).above(1))
        rows.append(row | {"ties": ", ".join(ties), "cost": judged[best][0], "ratio": ratios[0], "clear": clear})
    return pd.DataFrame(rows)


def _judged(priced: Sequence[float], objective: str) -> list[float]:
    """Return what a design is judged by, once for each vector of costs."""
    tables, filled, *prices = priced
    if objective == "memory":
        return [max(tables + filled, 1.0)] * (len(prices) // 2)
    if objective not in ("stop time", "total work"):
        raise UffdlabError(f"unknown objective {objective!r}: choose one of stop time, total work, memory")
    return [
        stop + (touches if objective == "total work" else 0) for stop, touches in zip(*[iter(prices)] * 2, strict=True)
    ]


def _priced(costs: Costs, ledger: ledgers.Ledger) -> dict[str, float | None]:
    found = costs.price(ledger)
    return {"cost": found.value, "cost_low": found.low, "cost_high": found.high}
