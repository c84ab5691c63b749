# SPDX-License-Identifier: MIT
"""Fit event costs and validate them on held-out phases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from uffdlab import datasets
from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError
from uffdlab.sim.costs import Costs, with_factors
from uffdlab.sim.fitting import Fit, fit
from uffdlab.sim.ledger import events, faults, filled_kib, price, table_growth_kib
from uffdlab.sim.measured import Phase, phases
from uffdlab.stats import ratio_interval

UNIT = "ns"
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
        _text("part", "whether costs were fitted on it", ("fitted", "unseen")),
        _number("measured_ns", "median over processes, warm samples", "ns"),
        _number("predicted_ns", "ledger times costs", "ns"),
        {"name": "processes", "type": "integer", "description": "how many"},
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
    ],
    "fits": [
        _text("temperature", "which samples", ("warm", "cold")),
        _number("condition", "condition number of the fitted matrix, its columns scaled to length 1"),
        {"name": "phases", "type": "integer", "description": "phases that were fitted"},
    ],
}
_ALIKE = 0.2  # phases nearer than this have a ratio of 1, and its measurement is noise
_SAYS = {"faults": faults, "tables_kib": table_growth_kib, "filled_kib": filled_kib}


def calibrate(data: Dataset, out: Path, id_: str) -> Dataset:
    """Fit costs on a campaign and write them, with draws and both validations, as a dataset.

    Raises UffdlabError on a campaign that lacks phases to fit costs on or to validate them on.
    """
    datasets.check_out(out)
    found = phases(data)
    if {one.unseen for one in found if one.warm_ns and one.cold_ns} != {False, True}:
        raise UffdlabError(
            f"dataset {data.id!r} has no times to fit costs on and to validate them on: measure --suite full"
        )
    warm, cold = fit(found), fit(found, cold=True, draws=0)
    rows: dict[str, Rows] = {
        "costs": list(_cost_rows(warm, cold)),
        "draws": list(_draw_rows(warm)),
        "checks": list(_check_rows(found, warm)),
        "counts": list(_count_rows(found)),
        "ratios": [],
        "fits": [
            {"temperature": name, "condition": one.condition, "phases": one.phases}
            for name, one in (("warm", warm), ("cold", cold))
        ],
    }
    off = pd.DataFrame(rows["checks"])
    rows["ratios"] = list(_ratio_rows(found, _costs(id_, warm, off[off.part == "unseen"])))
    return datasets.write(
        out,
        id=id_,
        title=f"what events cost, calibrated on {data.id}",
        tables=[datasets.Table(name, _FIELDS[name], rows[name]) for name in _FIELDS],
        provenance=data.provenance,
        kind="calibrated",
        sources=[{"title": f"dataset {data.id}"}],
    )


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


def _check_rows(found: Sequence[Phase], warm: Fit) -> Iterator[dict[str, Any]]:
    for one in found:
        if one.warm_ns:
            part = "unseen" if one.unseen else "fitted"
            times = {"measured_ns": median(one.warm_ns), "predicted_ns": price(one.ledger, warm.costs)}
            yield {"phase": one.name, "part": part} | times | {"processes": len(one.warm_ns)}


def _costs(id_: str, warm: Fit, unseen: pd.DataFrame) -> Costs:
    p95 = float(with_factors(unseen).factor.quantile(0.95)) - 1
    return Costs(id_, UNIT, warm.costs, warm.draws, warm.status, p95_error=p95)


def _ratio_rows(found: Sequence[Phase], costs: Costs) -> Iterator[dict[str, Any]]:
    """Yield the ratio of each unseen phase to the one that shares most of its events, predicted and measured."""
    unseen = [one for one in found if one.unseen and one.warm_ns]
    for top in unseen:
        apart = {one.name: costs.apart(top.ledger, one.ledger) for one in unseen}
        others = [one for one in unseen if apart[one.name] > _ALIKE]
        if not others:
            continue
        bottom = min(others, key=lambda one: apart[one.name])
        ratio = costs.ratio(top.ledger, bottom.ledger)
        if ratio.low is not None and ratio.high is not None:
            names = {"top": top.name, "bottom": bottom.name}
            measured = ratio_interval(top.warm_ns, bottom.warm_ns)
            ends = {"measured": measured.value, "measured_low": measured.low, "measured_high": measured.high}
            yield names | ends | {"predicted": ratio.value, "low": ratio.low, "high": ratio.high}


def _count_rows(found: Sequence[Phase]) -> Iterator[dict[str, Any]]:
    for one in found:
        for what, value in one.counted.items():
            yield {"phase": one.name, "what": what, "counted": value, "predicted": _SAYS[what](one.ledger)}
