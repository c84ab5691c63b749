# SPDX-License-Identifier: MIT
"""Figure of the time to protect an empty range by PTE, PMD and PUD markers, predicted for a guest."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.units import format_size
from uffdlab.vocabulary.backings import BACKINGS

_LEAST_GIB, _MOST_GIB = 1, 4096
_START_GIB = 1024  # beyond what was measured, so that a reader sees a prediction first


def plot_guest(data: Dataset, costs: Dataset, beside: Dataset | None = None, gib: float = _START_GIB) -> go.Figure:
    """Draw the time to protect an empty range against its size, and its prediction for a guest of ``gib`` of RAM."""
    figure = go.Figure()
    other = summaries.df_marker_times(beside) if beside and "samples" in beside.tables else None
    both = other is not None and len(other) > 0
    for backing, rows in summaries.df_marker_times(data).groupby("backing"):
        _add_marker_times(figure, rows, str(backing), data if both else None)
    if beside and other is not None:
        for number, (backing, rows) in enumerate(other.groupby("backing")):
            _add_times_beside(figure, rows, str(backing), beside.label, first=not number)
    times, sizes = style.reach(figure.data, "y"), style.reach(figure.data, "x")
    entry_costs = summaries.df_entry_costs(costs)
    for cost in summaries.records(entry_costs):
        _add_prediction(figure, cost, gib)
    caption = (
        "Filled: measured on empty ranges, median with 95 % interval. Hollow: predicted for the RAM that is "
        "set: between two measured sizes on the line between them, beyond the largest linear in the entries. Both axes "
        "logarithmic."
    )
    caption += style.whose_marks(data, beside, both, "samples of empty ranges")
    origins = [data.origin()] + ([f"costs: {costs.origin()}"] if costs.id != data.id else [])
    errors = summaries.df_prediction_check(costs).error.abs()
    if len(errors):
        error = f"off by {errors.median():.0%} (median) and {errors.max():.0%} (most)"
        origins += [f"a line through the sizes up to 64 GiB is, at each size that it is drawn without, {error}"]
    origins += style.origin_beside(beside)
    style.styled(figure, caption, origins, (540, 620), {"x": "GiB", "y": "ns"})
    ends = [_prediction(cost, end) for cost in summaries.records(entry_costs) for end in (_LEAST_GIB, _MOST_GIB)]
    times += [end["y"][0] + by for end in ends for by in (end["up"][0], -end["down"][0])]
    sizes += [_LEAST_GIB, _MOST_GIB] if ends else []
    figure.update_xaxes(**style.size_axis("size of the empty range"), range=style.log_range(sizes))
    figure.update_yaxes(**style.time_axis("one UFFDIO_WRITEPROTECT"), range=style.log_range(times))
    if not ends:
        style.annotate(figure, f"{costs.id} measured each backing at one size: nothing to predict from")
    return figure


def _add_marker_times(figure: go.Figure, rows: pd.DataFrame, backing: str, whose: Dataset | None) -> None:
    (colour, symbol, _), name = BACKINGS[backing].look, style.named(BACKINGS[backing].level, whose)
    look = {"mode": "lines+markers", "line": {"color": colour, "width": 1}, "marker": style.marker(colour, symbol)}
    _add_times(figure, rows, backing, look | {"name": name, "legendgroup": name, "showlegend": True})


def _add_times_beside(figure: go.Figure, rows: pd.DataFrame, backing: str, label: str, *, first: bool) -> None:
    marker = style.marker(style.BESIDE_COLOUR, style.BESIDE_SYMBOL, 9)
    look = {"mode": "markers", "marker": marker, "name": label, "legendgroup": label, "showlegend": first}
    _add_times(figure, rows, backing, look)


def _add_times(figure: go.Figure, rows: pd.DataFrame, backing: str, look: dict[str, Any]) -> None:
    name = BACKINGS[backing].level
    figure.add_scatter(
        x=(rows.size_kib / 1048576).tolist(),
        y=rows.protect_ns.tolist(),
        error_y=style.interval(rows, "protect_ns"),
        **look,
        customdata=[f"{name}, {format_size(kib * 1024)}" for kib in rows.size_kib],
        hovertext=style.times(rows, "protect_ns"),
        text=[_counted(row) for row in summaries.records(rows)],
        hovertemplate=style.HOVER,
    )


def _counted(row: Any) -> str:
    tables = "tables not measured" if math.isnan(row.table_kib) else f"tables {row.table_kib:g} KiB"
    return f"n = {row.n} of {row.children} processes, {tables}"


def _prediction(cost: Any, gib: float) -> dict[str, Any]:
    value, low, high = summaries.predict_protect_ns(cost, gib * 1048576)
    text = [style.time_in_words(value, low, high)]
    up, down = (0.0 if math.isnan(end) else end for end in (high - value, value - low))
    return {"x": [gib], "y": [value], "up": [up], "down": [down], "text": text}


def _add_prediction(figure: go.Figure, cost: Any, gib: float) -> None:
    (colour, symbol, _), name = BACKINGS[cost.backing].look, BACKINGS[cost.backing].level
    at = _prediction(cost, gib)
    bars = {"type": "data", "symmetric": False, "array": at["up"], "arrayminus": at["down"], "width": 9}
    figure.add_scatter(
        x=at["x"],
        y=at["y"],
        error_y=bars | {"color": colour, "thickness": 1},
        mode="markers",
        marker=style.marker(colour, f"{symbol}-open", 17),
        name=f"predicted: {name}",
        showlegend=False,
        customdata=[name],
        hovertext=at["text"],
        text=["predicted"],
        hovertemplate=style.HOVER,
    )
