# SPDX-License-Identifier: MIT
"""Which design is the cheapest, over a plane of two parameters, where several are, and where nothing is decided.

In which order designs are named changes nothing: of those that are equally cheap none is before another, and where one
of them has to stand for all it is the first by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log, log1p
from typing import Any

import pandas as pd

from uffdlab.errors import NotMeasuredError, UffdlabError, check_word
from uffdlab.sim.costs import Costs
from uffdlab.sim.designs import Design, record_of
from uffdlab.sim.engine import PAGE_BYTES
from uffdlab.sim.latency import Bar, bars
from uffdlab.sim.ledger import Ledger, price
from uffdlab.sim.sweeps import GIB, Designs, faulting
from uffdlab.sim.workloads import Workload, expect

MIXED = ("stop time", "total work", "memory", "tail latency")
OBJECTIVES = (*MIXED, "mix")
AXES = ("span_bytes", "populated", "cluster_pages", "reads", "writes")
TIE = 1e-3
TAIL = 0.01
BASE = Workload(16 * GIB, writes=2_000)
POPULATED = tuple(step / 8 for step in range(9))
CLUSTERS = tuple(1 << power for power in range(0, 19, 2))

Axis = tuple[str, Sequence[float]]


@dataclass(frozen=True)
class _Judged:
    """What a design makes of one point: ledgers, prices, KiB that came on top, and its slowest later writes."""

    design: Design
    protect: Ledger
    total: Ledger
    stop: float
    work: float
    added_kib: float
    tail: Bar | None

    def value(self, objective: str) -> float:
        values = {
            "stop time": self.stop,
            "total work": self.work,
            "memory": max(self.added_kib, 1.0),
            "tail latency": self.tail.cost.value if self.tail else 1.0,
        }
        return values[objective]


def df_decision(
    costs: Costs,
    objective: str = "total work",
    designs: Designs = ("populate_read", "pte_marker", "pmd_marker", "pud_marker"),
    base: Workload | None = None,
    x: Axis = ("populated", POPULATED),
    y: Axis = ("cluster_pages", CLUSTERS),
    weights: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Return the cheapest design over a plane of two parameters of a workload; points that contradict one another are
    left out.

    ``objective``: *stop time*, *total work*, *memory* (KiB of tables and pages that come on top), *tail latency* (the
    slowest 1 % of the later writes that ask the kernel), or *mix*: their geometric mean with ``weights``, each over the
    least there is; a point at which that is nothing has none, and is left out. Columns besides the two: ``tie``
    (whether several are within 0.1 % of the least), ``ties`` (their names, in order), ``best`` (the first of them),
    ``second`` (the cheapest of the others, or where there is none another of the ties), their ``ratio`` (missing where
    the least is nothing), and ``clear``: whether the whole interval of it lies above 1.
    """
    records = sorted((record_of(one) for one in designs), key=lambda design: design.name)
    if len(records) < 2:
        raise UffdlabError("a decision is between two designs or more")
    check_word("objective", objective, OBJECTIVES)
    for name, values in (x, y):
        if name not in AXES or not values:
            raise UffdlabError(f"{name!r} cannot span a decision: choose two of {', '.join(AXES)}, with values")
    if x[0] == y[0]:
        raise UffdlabError(f"{x[0]} spans both ways: choose another parameter for one of them")
    start = base or BASE
    weighed = dict(weights or dict.fromkeys(MIXED, 1 / len(MIXED)))
    rows = []
    for upwards in y[1]:
        for across in x[1]:
            where = {x[0]: across, y[0]: upwards}
            changed: dict[str, Any] = {
                name: value if name == "populated" else int(value) for name, value in where.items()
            }
            span, cluster = (changed.get(name, getattr(start, name)) for name in ("span_bytes", "cluster_pages"))
            if cluster * PAGE_BYTES > span:
                continue
            work = replace(start, **changed)
            judged = [_judge(design, work, costs, objective in ("tail latency", "mix")) for design in records]
            decided = _decide(judged, costs, objective, weighed)
            rows += [where | decided] if decided else []
    return pd.DataFrame(rows, columns=[x[0], y[0], *_COLUMNS]).astype({"ratio": "float64"})


_COLUMNS = ("best", "second", "ties", "tie", "cost", "ratio", "clear")


def _judge(design: Design, work: Workload, costs: Costs, with_tail: bool) -> _Judged:
    found = expect(design, work)
    slowest = tail(found.design, work, costs) if with_tail else None
    (t0, _, t1), (p0, _, p1) = found.tables_kib, found.pages_kib
    stop, worked = price(found.protect, costs.vector), price(found.total, costs.vector)
    return _Judged(design, found.protect, found.total, stop, worked, (t1 - t0) + (p1 - p0), slowest)


def tail(design: Design, work: Workload, costs: Costs) -> Bar | None:
    """Return the cheapest of the slowest 1 % of later writes; None where none asks the kernel."""
    found = bars(expect(design, work), costs, faulting)
    everything, slower = sum(one.count for one in found), 1.0
    slowest = None
    for one in found:
        if slower >= TAIL:
            slowest = one
        slower -= one.count / everything
    return slowest


def _decide(
    judged: Sequence[_Judged], costs: Costs, objective: str, weights: Mapping[str, float]
) -> dict[str, Any] | None:
    least = {name: min(one.value(name) for one in judged) for name in MIXED}
    if objective == "mix" and min(least.values()) <= 0:
        return None

    def score(one: _Judged) -> float:
        if objective != "mix":
            return one.value(objective)
        return sum(weights[name] * log(one.value(name) / least[name]) for name in MIXED)

    lowest = min(map(score, judged))
    reach = lowest + log1p(TIE) if objective == "mix" else lowest * (1 + TIE)
    ties = [one for one in judged if score(one) <= reach]
    others = sorted((one for one in judged if one not in ties), key=score)
    best, second = ties[0], (others or ties[1:])[0]
    ratio = exp(score(second) - lowest) if objective == "mix" else score(second) / lowest if lowest > 0 else None
    return {
        "best": best.design.name,
        "second": second.design.name,
        "ties": ", ".join(one.design.name for one in ties),
        "tie": len(ties) > 1,
        "cost": lowest,
        "ratio": ratio,
        "clear": bool(others) and _clear(best, second, costs, objective),
    }


def _clear(best: _Judged, second: _Judged, costs: Costs, objective: str) -> bool:
    """Whether one is cheaper with the whole interval. Memory is counted, and exact; a mix has no interval."""
    if objective == "memory":
        return True
    if objective == "mix":
        return False
    top, bottom = (_ledger(one, objective) for one in (second, best))
    try:
        return top is not None and bottom is not None and costs.ratio(top, bottom).above(1)
    except NotMeasuredError:  # the best is priced at nothing
        return False


def _ledger(one: _Judged, objective: str) -> Ledger | None:
    if objective == "tail latency":
        return one.tail.ledger if one.tail else None
    return one.protect if objective == "stop time" else one.total
