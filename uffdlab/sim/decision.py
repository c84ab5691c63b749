# SPDX-License-Identifier: MIT
"""The cheapest design at each point of a plane of two parameters, with ties and undecided points.

The order in which designs are given changes nothing: where one of several equally cheap designs is named, it is the
first by name.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from uffdlab.errors import UffdlabError, check_word
from uffdlab.sim.core import core
from uffdlab.sim.costs import Costs
from uffdlab.sim.designs import SimDesign, record_of
from uffdlab.sim.engine import PAGE_BYTES
from uffdlab.sim.sweeps import GIB, Designs
from uffdlab.sim.workloads import Workload, check_expected

MIXED = ("stop time", "total work", "memory", "tail latency")
OBJECTIVES = (*MIXED, "mix")  # enum ul_objective
AXES = ("span_bytes", "populated", "cluster_pages", "reads", "writes")
BASE = Workload(16 * GIB, writes=2_000)
POPULATED = tuple(step / 8 for step in range(9))
CLUSTERS = tuple(1 << power for power in range(0, 19, 2))

Axis = tuple[str, Sequence[float]]


def df_decision(
    costs: Costs,
    objective: str = "total work",
    designs: Designs = ("populate_read", "pte_marker", "pmd_marker", "pud_marker"),
    base: Workload | None = None,
    x: Axis = ("populated", POPULATED),
    y: Axis = ("cluster_pages", CLUSTERS),
    weights: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Return the cheapest design at each point of a plane of two parameters of a workload. Points whose clusters are
    larger than the span are left out.

    ``objective``: *stop time*, *total work*, *memory* (KiB of tables and pages that come on top), *tail latency* (the
    slowest 1 % of the later writes that ask the kernel), or *mix*: their geometric mean with ``weights``, each over the
    least there is; a point at which that is 0 is left out. Columns besides the two: ``tie``
    (whether several are within 0.1 % of the least), ``ties`` (their names, in order), ``best`` (the first of them),
    ``second`` (the cheapest of the others, or where there is none another of the ties), their ``ratio`` (missing where
    the least is 0), and ``clear``: whether the whole interval of it lies above 1.
    """
    records = sorted((record_of(one) for one in designs), key=lambda design: design.name)
    if len(records) < 2:
        raise UffdlabError("a decision needs at least two designs")
    check_word("objective", objective, OBJECTIVES)
    for name, values in (x, y):
        if name not in AXES or not values:
            raise UffdlabError(f"axis {name!r}: expected one of {', '.join(AXES)}, with values")
    if x[0] == y[0]:
        raise UffdlabError(f"both axes are {x[0]}: choose another parameter for one of them")
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
            decided = _decided(records, replace(start, **changed), costs, objective, weighed)
            rows += [where | decided] if decided else []
    return pd.DataFrame(rows, columns=[x[0], y[0], *_COLUMNS]).astype({"ratio": "float64"})


_COLUMNS = ("best", "second", "ties", "tie", "cost", "ratio", "clear")
# struct ul_standing, struct ul_decision, struct ul_break_even
_STANDING, _DECISION, _BREAK_EVEN = (struct.Struct(form) for form in ("<5d2i", "<4d4i", "<3d2i"))


def _decided(
    designs: Sequence[SimDesign], work: Workload, costs: Costs, objective: str, weights: Mapping[str, float]
) -> dict[str, Any] | None:
    """Return the decision at one point, or None where a mix has no value."""
    for design in designs:
        check_expected(design, work)
    at = core()
    with (
        at.lent(b"".join(design.packed() for design in designs)) as packed,
        at.lent(work.packed()) as random,
        at.lent(struct.pack("<4d", *(weights[name] for name in MIXED))) as weighed,
        costs.lent(ratio=True) as given,
        at.lent(bytes(_STANDING.size * len(designs))) as standings,
        at.lent(bytes(_DECISION.size)) as decision,
    ):
        asked = (packed, len(designs), work.pages, random, OBJECTIVES.index(objective), weighed)
        if at.call("ul_decide", *asked, *given, standings, decision):
            raise UffdlabError(f"BUG: a decision about {work} was refused")
        tied = _tied(standings, len(designs))
        least, ratio, _, _, best, second, ties, clear = _DECISION.unpack(at.read(decision, _DECISION.size))
    if best < 0:
        return None
    return {
        "best": designs[best].name,
        "second": designs[second].name,
        "ties": ", ".join(designs[index].name for index in tied),
        "tie": ties > 1,
        "cost": least,
        "ratio": ratio,
        "clear": bool(clear),
    }


def break_even(
    costs: Costs, design: SimDesign | str, other: SimDesign | str, work: Workload
) -> tuple[float, bool] | None:
    """Return from how many later writes on a design takes more work than another, and whether the interval of what it
    takes more at most lies above 1; None where it never does. ``writes`` of the workload are left aside.
    """
    at, designs = core(), [record_of(one) for one in (design, other)]
    for one in designs:
        check_expected(one, work)
    with (
        at.lent(b"".join(one.packed() for one in designs)) as packed,
        at.lent(work.packed()) as random,
        costs.lent(ratio=True) as given,
        at.lent(bytes(_BREAK_EVEN.size)) as answer,
    ):
        if at.call("ul_break_even", packed, len(designs), 0, work.pages, random, *given, answer):
            raise UffdlabError(f"BUG: a break-even of {work} was refused")
        power, _, _, behind, decided = _BREAK_EVEN.unpack(at.read(answer, _BREAK_EVEN.size))
    return None if behind < 0 else (2**power if power else 0.0, bool(decided))


def cheapest(scores: Sequence[float], objective: str) -> tuple[list[int], int]:
    """Return the indices of the scores within 0.1 % of the least, and the index of the next (``second`` above)."""
    at, packed = core(), b"".join(_STANDING.pack(0, 0, 0, 0, score, 0, 0) for score in scores)
    with at.lent(packed) as standings, at.lent(bytes(_DECISION.size)) as decision:
        at.call("ul_choose", standings, len(scores), OBJECTIVES.index(objective), decision)
        return _tied(standings, len(scores)), _DECISION.unpack(at.read(decision, _DECISION.size))[5]


def _tied(standings: int, count: int) -> list[int]:
    rows = _STANDING.iter_unpack(core().read(standings, _STANDING.size * count))
    return [index for index, (*_, tied) in enumerate(rows) if tied]
