# SPDX-License-Identifier: MIT
"""Figures of trackers side by side: what each costs by the share written, measured and predicted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style, tails
from uffdlab.summaries.tracker_costs import MODELLED, PAGE_KIB
from uffdlab.units import format_ratio, format_share, format_size, with_interval
from uffdlab.vocabulary.tracking import COSTS, TRACKERS

TRACKER_COSTS = (*(name for name, _ in COSTS.values()), "throughput")
OBJECTIVES = ("pause", "work of an epoch", "p99 of a write")
SHARES_IN_WORDS = (0.001, 0.01, 0.1)
_COLUMNS = {name: column for column, (name, _) in COSTS.items()} | {"throughput": "writes_per_s"}
_SIZE_KIB = 256 << 10
_SIZE_TOLERANCE = 0.02  # a point is of the range that is set, where a slider does not meet it exactly
_SHARES = (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
_TICKS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1)
_X_RANGE = (-3.15, 0.15)


def plot_trackers(data: Dataset, beside: Dataset | None = None, cost: str = TRACKER_COSTS[0]) -> go.Figure:
    """Draw one of ``TRACKER_COSTS`` of every method by the share of 256 MiB of anonymous pages that is written."""
    rows = _anonymous(data, _SIZE_KIB, cost)
    other = _anonymous(beside, _SIZE_KIB, cost) if beside else rows[:0]
    figure = go.Figure()
    whose = data if len(other) else None
    for method, measured in _by_method(rows):
        name = style.named(TRACKERS[method][0], whose)
        _add_measured(figure, measured, method, cost, name, mode="lines+markers")
    for number, (method, measured) in enumerate(_by_method(other)):
        label = beside.label if beside else ""
        _add_measured(figure, measured, method, cost, label, mode="markers", beside=True, showlegend=not number)
    caption = (
        f"{_meaning(cost)} {format_size(_SIZE_KIB * 1024)} of anonymous pages of 4 KiB, written beforehand, single "
        "ones at random; warm samples, median over processes with 95 % interval. Both axes logarithmic."
    )
    caption += style.whose_marks(data, beside, len(other) > 0, "trackers side by side")
    origins = [data.origin(), *style.origin_beside(beside)]
    _lay_out(figure, caption, origins, cost)
    if all(trace.legendgroup == "beside" for trace in figure.data):
        style.annotate(figure, f"{data.id}: trackers were not measured side by side")
    return figure


def plot_tracker_costs(data: Dataset, size_bytes: float = _SIZE_KIB * 1024, cost: str = OBJECTIVES[0]) -> go.Figure:
    """Draw one of ``OBJECTIVES`` of every method for a range, predicted where it was not measured."""
    column, size_kib = _COLUMNS[cost], size_bytes / 1024
    figure = go.Figure()
    if column in MODELLED:
        for method, predicted in summaries.tracker_costs(data, column).items():
            pages = size_kib / PAGE_KIB
            costs = [(share, predicted.at(pages, share)) for share in _SHARES if predicted.works(pages, share)]
            if costs:
                _add_predicted(figure, pd.DataFrame([{"share": s} | _rounded(e) for s, e in costs]), method)
    # The tail of a write does not depend on the range: it is drawn of the range on which all shares were measured.
    rows = _anonymous(data, size_kib if column in MODELLED else _SIZE_KIB, cost)
    for method, measured in _by_method(rows):
        name, alone = f"{TRACKERS[method][0]} (measured)", all(trace.legendgroup != method for trace in figure.data)
        _add_measured(figure, measured, method, cost, name, mode="markers", showlegend=alone)
    size = format_size(round(size_bytes))
    if column in MODELLED:
        caption = (
            f"{_meaning(cost)} A range of {size}. Filled: measured on a range of that size. Hollow: predicted, so "
            "much for each page of the range and so much for each written one; the band is of processes drawn anew. "
        )
        caption += _cheapest_in_words(data, column, size_kib, size)
    else:
        measured_on = format_size(_SIZE_KIB * 1024)
        caption = f"{_meaning(cost)} It does not depend on the range: measured on {measured_on}, nothing is predicted."
    _lay_out(figure, caption, [data.origin(), *_errors(data, column)], cost)
    if not figure.data:
        style.annotate(figure, f"{data.id}: trackers were not measured side by side")
    return figure


def plot_tracker_latencies(data: Dataset, share: str = "10%") -> go.Figure:
    """Draw the share of single writes that took longer than a time, by method, at a share written."""
    figure = go.Figure()
    spread = summaries.df_tracker_latencies(data, _SIZE_KIB, _shares(data).get(share, -1.0))
    for method, rows in _by_method(spread):
        tails.add_tail(figure, rows, *TRACKERS[method], many="writes")
    caption = (
        f"Single writes to {format_size(_SIZE_KIB * 1024)} of anonymous pages, {share} of them written, in the first "
        "warm sample of each process."
    )
    tails.lay_out(figure, caption, data, one="write", many="writes")
    if not figure.data:
        style.annotate(figure, f"{data.id}: latencies of single tracked writes were not measured")
    return figure


def tracker_shares(data: Dataset) -> list[str]:
    """Return the shares written that :func:`plot_tracker_latencies` can draw; one where there is none."""
    return list(_shares(data)) or ["10%"]


def _shares(data: Dataset) -> dict[str, float]:
    known = summaries.df_trackers(data)
    known = known[(known.backing == "anon") & (known.pattern == "uniform") & (known.size_kib == _SIZE_KIB)]
    return {_share(share): float(share) for share in sorted(known.dirty.unique())}


def _share(share: float) -> str:
    return f"{share * 100:.4g}%"


def _anonymous(data: Dataset, size_kib: float, cost: str) -> pd.DataFrame:
    """Return what was measured on a range of that size, with the cost as column ``cost``."""
    rows = summaries.df_trackers(data)
    at = (rows.backing == "anon") & (rows.pattern == "uniform")
    rows = rows[at & ((rows.size_kib - size_kib).abs() <= _SIZE_TOLERANCE * size_kib)]
    column = _COLUMNS[cost]
    value, low, high = (rows[f"{column}{end}"].astype("float64") for end in ("", "_low", "_high"))
    rows = rows.assign(cost=value, cost_low=low, cost_high=high)
    return rows[rows.cost > 0]


def _by_method(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for method in TRACKERS:
        chosen = rows[rows.method == method]
        if len(chosen):
            yield method, chosen


def _add_measured(
    figure: go.Figure, rows: pd.DataFrame, method: str, cost: str, name: str, *, beside: bool = False, **more: Any
) -> None:
    title, (colour, symbol, dash) = TRACKERS[method]
    colour, symbol = (style.BESIDE_COLOUR, style.BESIDE_SYMBOL) if beside else (colour, symbol)
    said = _in_writes if cost == "throughput" else style.time_in_words
    ends = zip(rows.cost, rows.cost_low, rows.cost_high, strict=True)
    figure.add_scatter(
        x=rows.dirty.tolist(),
        y=rows.cost.tolist(),
        error_y=style.interval(rows, "cost") | {"color": colour},
        line={"color": colour, "width": 1.5, "dash": dash},
        marker=style.marker(colour, symbol, 9),
        name=name,
        legendgroup="beside" if beside else method,
        customdata=[f"{title}, {format_share(share, 1)} written" for share in rows.dirty],
        hovertext=[said(*one) for one in ends],
        text=[f"measured, n = {n} processes" for n in rows.n],
        hovertemplate=style.HOVER,
        **more,
    )


def _add_predicted(figure: go.Figure, rows: pd.DataFrame, method: str) -> None:
    name, (colour, symbol, dash) = TRACKERS[method]
    style.add_band(figure, rows, "share", colour, 0.2, legendgroup=method)
    figure.add_scatter(
        x=rows.share.tolist(),
        y=rows.cost.tolist(),
        mode="lines+markers",
        line={"color": colour, "width": 1.5, "dash": dash},
        marker=style.marker(colour, f"{symbol}-open", 11),
        name=f"{name} (predicted)",
        legendgroup=method,
        customdata=[f"{name}, {format_share(share, 1)} written" for share in rows.share],
        hovertext=style.times(rows, "cost"),
        text=["predicted"] * len(rows),
        hovertemplate=style.HOVER,
    )


def _rounded(cost: Any) -> dict[str, float]:
    """Return the columns of a cost with as many digits as a picture shows, which a page holds for each range."""
    ends = {"cost": cost.value, "cost_low": cost.low, "cost_high": cost.high}
    return {name: float(f"{value:.4g}") for name, value in ends.items()}


def _in_writes(value: float, low: float | None, high: float | None) -> str:
    return f"{with_interval(value, low, high, lambda one: format_ratio(round(one)))} writes a second"


def _meaning(cost: str) -> str:
    if cost == "throughput":
        return "Throughput: writes a second while they are tracked, without the pause."
    name, meaning = COSTS[_COLUMNS[cost]]
    return f"{name[0].upper()}{name[1:]}: {meaning}."


def _lay_out(figure: go.Figure, caption: str, origins: list[str], cost: str) -> None:
    throughput = cost == "throughput"
    style.styled(figure, caption, origins, (540, 640), {"x": "share", "y": "1/s" if throughput else "ns"})
    ticks = {"tickvals": list(_TICKS), "ticktext": [_share(tick).replace("%", " %") for tick in _TICKS]}
    figure.update_xaxes(type="log", title_text="pages written in an epoch", range=list(_X_RANGE), **ticks)
    reached = [value for value in style.reach((t for t in figure.data if t.fill is None), "y") if value > 0]
    if throughput:
        figure.update_yaxes(type="log", title_text="writes a second", range=style.log_range(reached), dtick=1)
    else:
        figure.update_yaxes(**style.time_axis(cost, values=reached))
    figure.update_layout(legend={"y": 1.04})


def _cheapest_in_words(data: Dataset, column: str, size_kib: float, size: str) -> str:
    rows = summaries.df_cheapest(data, column, size_kib, SHARES_IN_WORDS)
    parts = [f"{TRACKERS[row.method][0]} at {_share(row.share)}" for row in summaries.records(rows)]
    return f"Predicted to cost least of {size}: {', '.join(parts)}." if parts else ""


def _errors(data: Dataset, column: str) -> list[str]:
    if column not in MODELLED:
        return []
    error = summaries.df_tracker_check(data, column).error.abs()
    if error.empty:
        return []
    off = f"{error.median():.0%} (median) and {error.max():.0%} (most)"
    return [f"predicted: a measured point from all others is off by {off}"]
