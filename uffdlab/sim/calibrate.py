# SPDX-License-Identifier: MIT
"""Fit event costs and validate them on held-out phases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from uffdlab import datasets
from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError
from uffdlab.sim.costs import ELSEWHERE, Costs, error_of_ratios, with_factors
from uffdlab.sim.fitting import Fit, fit
from uffdlab.sim.ledger import events, faults, filled_kib, table_growth_kib
from uffdlab.sim.measured import Phase, phases
from uffdlab.stats import ratio_interval

UNIT = "ns"
# Fitted on; held out; of a campaign that widens the intervals; of one that took no part at all.
PARTS = ("fitted", "unseen", ELSEWHERE, "trial")
Rows = list[dict[str, Any]]


def _text(name: str, description: str, known: Sequence[str] = ()) -> dict[str, Any]:
    constraints = {"required": True} | ({"enum": list(known)} if known else {})
    return {"name": name, "type": "string", "description": description, "constraints": constraints}


def _number(name: str, description: str, unit: str | None = None) -> dict[str, Any]:
    field = {"name": name, "type": "number", "description": description}
    return field | ({"unit": unit} if unit else {})


_FIELDS = {
    "costs": [
        _text("event", "what is counted"),
        _text("unit", "unit of the costs"),
        _number("warm", "cost once the process has used its memory"),
        _number("warm_low", "lower end of 95 % of the draws"),
        _number("warm_high", "upper end of 95 % of the draws"),
        _number("cold", "cost in the first sample of a process"),
        _text("status", "fitted, or why it has no cost of its own"),
    ],
    "draws": [
        {"name": "draw", "type": "integer", "description": "number of the bootstrap draw over child processes"},
        _text("event", "what is counted"),
        _number("warm", "cost in this draw"),
    ],
    "checks": [
        _text("phase", "what was timed"),
        _text("part", "whether costs were fitted on it, and in which campaign", PARTS),
        _number("measured_ns", "median over processes, warm samples", "ns"),
        _number("predicted_ns", "ledger times costs", "ns"),
        {"name": "processes", "type": "integer", "description": "how many"},
        _number("low", "lower end of the predicted interval", "ns"),
        _number("high", "upper end of the predicted interval", "ns"),
    ],
    "counts": [
        _text("phase", "what was counted"),
        _text("what", "what the kernel was seen to do", ("faults", "tables_kib", "filled_kib")),
        _number("counted", "by the kernel, the least of the warm samples: what else a process does only adds"),
        _number("predicted", "by the ledger"),
    ],
    "ratios": [
        _text("top", "a phase that no cost was fitted on"),
        _text("bottom", "the one of them whose events it shares most of, and not nearly all"),
        _number("measured", "median over processes, top over bottom"),
        _number("measured_low", "lower end of its 95 % interval"),
        _number("measured_high", "upper end of its 95 % interval"),
        _number("predicted", "ratio of the prices"),
        _number("low", "lower end of the predicted interval"),
        _number("high", "upper end of the predicted interval"),
        _text("part", "configurations of the campaign that costs were fitted on, or of which other", PARTS[1:]),
        _number("apart", "error of the ratio's logarithm per unit error of each price"),
        _number("draws_low", "lower end of the predicted interval by the draws alone"),
        _number("draws_high", "upper end of the predicted interval by the draws alone"),
    ],
    "fits": [
        _text("temperature", "which samples", ("warm", "cold")),
        _number("condition", "condition number of the fitted matrix, its columns scaled to length 1"),
        {"name": "phases", "type": "integer", "description": "phases that were fitted"},
    ],
}
_ALIKE = 0.2  # phases nearer than this have a ratio of 1, and its measurement is noise
_SAYS = {"faults": faults, "tables_kib": table_growth_kib, "filled_kib": filled_kib}


def calibrate(
    data: Dataset, out: Path, id_: str, elsewhere: Dataset | None = None, trial: Dataset | None = None
) -> Dataset:
    """Fit costs on a campaign and write them, with draws and validations, as a dataset.

    Intervals are widened until 95 % of what ``elsewhere`` measured lies within, a campaign that took no part in the
    fit; without it, of the configurations of ``data`` that were held out. ``trial`` took part in neither, and shows
    whether the intervals are what they are called.

    Raises UffdlabError on a campaign that lacks phases to fit costs on or to validate them on, and on one that is named
    twice.
    """
    datasets.check_out(out)
    campaigns = [one for one in (data, elsewhere, trial) if one is not None]
    if len({one.id for one in campaigns}) < len(campaigns):
        raise UffdlabError("costs are fitted, widened and tried on different campaigns: name each dataset once")
    found = phases(data)
    if {one.unseen for one in found if one.warm_ns and one.cold_ns} != {False, True}:
        raise UffdlabError(
            f"dataset {data.id!r} has no times to fit costs on and to validate them on: measure --suite full"
        )
    warm, cold = fit(found), fit(found, cold=True, draws=0)
    by_part = dict(_by_part(found, elsewhere, trial))
    costs = _widened(id_, warm, by_part, ELSEWHERE if elsewhere else "unseen")
    rows: dict[str, Rows] = {
        "costs": list(_cost_rows(warm, cold)),
        "draws": list(_draw_rows(warm)),
        "checks": [row for part, some in by_part.items() for row in _check_rows(some, part, costs)],
        "counts": list(_count_rows(found)),
        "ratios": [row for part, some in by_part.items() if part != "fitted" for row in _ratio_rows(some, part, costs)],
        "fits": [
            {"temperature": name, "condition": one.condition, "phases": one.phases}
            for name, one in (("warm", warm), ("cold", cold))
        ],
    }
    return datasets.write(
        out,
        id=id_,
        title=f"what events cost, calibrated on {data.id}",
        tables=[datasets.Table(name, _FIELDS[name], rows[name]) for name in _FIELDS],
        provenance=data.provenance,
        kind="calibrated",
        sources=[{"title": f"dataset {one.id}"} for one in campaigns],
    )


def _by_part(
    found: Sequence[Phase], elsewhere: Dataset | None, trial: Dataset | None
) -> Iterator[tuple[str, list[Phase]]]:
    """Yield the timed phases by the part that they play. Raises UffdlabError on a campaign without any."""
    for part, unseen in (("fitted", False), ("unseen", True)):
        yield part, [one for one in found if one.warm_ns and one.unseen is unseen]
    for part, data in ((ELSEWHERE, elsewhere), ("trial", trial)):
        if data is not None:
            timed = [one for one in phases(data) if one.warm_ns]
            if not timed:
                raise UffdlabError(f"dataset {data.id!r} has no times to try predictions on: measure --suite full")
            yield part, timed


def _widened(id_: str, warm: Fit, by_part: Mapping[str, Sequence[Phase]], basis: str) -> Costs:
    """Return costs whose intervals hold 95 % of the prices and of the ratios of the part ``basis``."""
    costs = Costs(id_, UNIT, warm.costs, warm.draws, warm.status)  # no error: intervals of the draws alone
    checks = with_factors(pd.DataFrame(_check_rows(by_part[basis], basis, costs)))
    costs = replace(costs, p95_error=float(checks.factor.quantile(0.95)) - 1)
    ratios = pd.DataFrame(_ratio_rows(by_part[basis], basis, costs))
    return replace(costs, ratio_p95_error=error_of_ratios(ratios, basis) if len(ratios) else None)


def _cost_rows(warm: Fit, cold: Fit) -> Iterator[dict[str, Any]]:
    for name in events():
        drawn = sorted(draw[name] for draw in warm.draws)
        ends = {"warm_low": drawn[int(0.025 * len(drawn))], "warm_high": drawn[int(0.975 * len(drawn))]}
        row: dict[str, Any] = {"event": name, "unit": UNIT, "warm": warm.costs[name], "cold": cold.costs[name]}
        yield row | ends | {"status": warm.status[name]}


def _draw_rows(warm: Fit) -> Iterator[dict[str, Any]]:
    fitted = [name for name, status in warm.status.items() if status == "fitted"]
    for number, draw in enumerate(warm.draws):
        for name in fitted:
            yield {"draw": number, "event": name, "warm": float(f"{draw[name]:.5g}")}


def _check_rows(some: Sequence[Phase], part: str, costs: Costs) -> Iterator[dict[str, Any]]:
    for one in some:
        predicted = costs.price(one.ledger)
        times = {"measured_ns": median(one.warm_ns), "predicted_ns": predicted.value}
        ends = {"low": predicted.low, "high": predicted.high}
        yield {"phase": one.name, "part": part} | times | {"processes": len(one.warm_ns)} | ends


def _ratio_rows(some: Sequence[Phase], part: str, costs: Costs) -> Iterator[dict[str, Any]]:
    """Yield the ratio of each phase to the one that shares most of its events, predicted and measured."""
    by_draws = replace(costs, p95_error=0.0, ratio_p95_error=0.0)
    for top in some:
        apart = {one.name: costs.apart(top.ledger, one.ledger) for one in some}
        others = [one for one in some if apart[one.name] > _ALIKE]
        if not others:
            continue
        bottom = min(others, key=lambda one: apart[one.name])
        ratio, drawn = (priced.ratio(top.ledger, bottom.ledger) for priced in (costs, by_draws))
        if ratio.low is not None and ratio.high is not None:
            names = {"top": top.name, "bottom": bottom.name, "part": part, "apart": apart[bottom.name]}
            measured = ratio_interval(top.warm_ns, bottom.warm_ns)
            ends = {"measured": measured.value, "measured_low": measured.low, "measured_high": measured.high}
            drawn_ends = {"draws_low": drawn.low, "draws_high": drawn.high}
            yield names | ends | {"predicted": ratio.value, "low": ratio.low, "high": ratio.high} | drawn_ends


def _count_rows(found: Sequence[Phase]) -> Iterator[dict[str, Any]]:
    for one in found:
        for what, value in one.counted.items():
            yield {"phase": one.name, "what": what, "counted": value, "predicted": _SAYS[what](one.ledger)}
