# SPDX-License-Identifier: MIT
"""Figure of the published times to prepare and protect, beside measured ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.units import format_ns
from uffdlab.vocabulary.designs import DESIGNS
from uffdlab.vocabulary.origins import AUTHORS, BESIDE, MEASURED, ORIGINS, PROTOCOL, PUBLISHED_SYMBOL

_MODE_DESIGNS = {
    "DEFAULT": "unprotected",
    "PRE-READ": "preread",
    "MADVISE": "populate_read",
    "WP-UNPOPULATE": "pte_marker",
}
_MODES = ["unprotected", "preread", "populate_read", "pte_marker"]
_PANELS = (
    ("THP off for this memory", ("madvise", "never"), "anon"),
    ("THP on", ("always",), "anon_thp"),
    ("THP not recorded", ("unknown",), None),
)
_LIFTS = {PROTOCOL: 0.08, MEASURED: -0.06, BESIDE: style.BESIDE_LIFT}
_ROWS = {mode: -row for row, mode in enumerate(_MODES)}
_PUBLISHED_LIFT = 0.2  # keeps crosses off the measured points
_TABLE_GIB = 10  # the thread's size
_LEAST_GIB, _MOST_GIB = 1, 1024
_Moved = dict[str, Any]  # properties of one trace that depend on the size, by plotly's names


def plot_published(
    published: Dataset, data: Dataset, beside: Dataset | None = None, gib: float = _TABLE_GIB
) -> go.Figure:
    """Draw published and measured times to prepare and protect ``gib`` of untouched memory, by THP state."""
    titles = [title for title, _, _ in _PANELS]
    figure = make_subplots(
        rows=1, cols=3, shared_yaxes=True, shared_xaxes="all", subplot_titles=titles, horizontal_spacing=0.025
    )
    table = summaries.df_published(published)
    table = table[table.source.isin(list(AUTHORS)) & table.design.isin(_MODES)]
    runs = summaries.df_published_runs(data)
    runs = runs[runs["mode"].isin(list(_MODE_DESIGNS)) & runs.total_ns.notna()]
    points = {MEASURED: summaries.df_warm(data)}
    other = summaries.df_warm(beside) if beside and "samples" in beside.tables else None
    names = {MEASURED: MEASURED}
    if beside and other is not None and len(other):
        points[BESIDE], names = other, {MEASURED: data.label, BESIDE: beside.label}
    traces: list[Callable[[float], _Moved]] = []  # properties of each trace at a size
    for column, (_, states, backing) in enumerate(_PANELS, start=1):
        for source, rows in table[table.thp.isin(states)].groupby("source"):
            _add_published(figure, str(source), column)
            traces.append(partial(_published_at, rows))
        if backing and len(runs):
            _add_measured(figure, PROTOCOL, PROTOCOL, column)
            traces.append(partial(_protocol_at, runs[runs.thp.isin(states)]))
        for origin, name in names.items():
            if backing:
                _add_measured(figure, origin, name, column)
                traces.append(partial(_measured_at, points[origin], backing, origin))
    for trace, at in zip(figure.data, traces, strict=True):
        trace.update({name.replace(".", "_"): value for name, value in at(gib).items()})
    caption = (
        "Crosses: published, one sample each, for 10 GiB; pale where they are restated for another size. Filled: "
        "measured at the size that is set, median with 95 % interval. Pentagons: the program's own protocol, "
        "run here at its own size. Hollow: restated, on the line between "
        "the two sizes measured next to it, or beyond all in proportion, save for doing nothing, which costs the same."
    )
    caption += style.whose_marks(data, beside, BESIDE in points, "warm samples")
    origins = [data.origin(), published.origin(), *style.origin_beside(beside)]
    errors = summaries.df_restating_check(points[MEASURED]).error.abs()
    if len(errors):
        error = f"off by {errors.median():.0%} (median) and {errors.max():.0%} (most)"
        origins.insert(1, f"restated in proportion: the largest size, from each smaller one, was {error}")
    style.styled(figure, caption, origins, (500, 700), {"x": "ns", "x2": "ns", "x3": "ns"})
    drawn = [x for gib_drawn in (_LEAST_GIB, _TABLE_GIB, _MOST_GIB) for at in traces for x in _reach(at(gib_drawn))]
    figure.update_xaxes(**style.time_axis("to prepare and protect", every=3), range=style.log_range(drawn))
    modes = [DESIGNS[mode].label for mode in _MODES]
    figure.update_yaxes(tickvals=list(_ROWS.values()), ticktext=modes, range=[min(_ROWS.values()) - 0.5, 0.5])
    figure.update_layout(legend={"y": 1.1}, margin={"t": 74})
    return figure


def _reach(moved: _Moved) -> list[float]:
    bars = zip_longest(moved["x"], moved["error_x.array"], moved["error_x.arrayminus"], fillvalue=0)
    return [end for x, up, down in bars for end in (x - down, x + up)]


def _published_at(rows: pd.DataFrame, gib: float) -> _Moved:
    grown = [summaries.growth_with_size(design, _TABLE_GIB, gib) for design in rows.design]
    times = [float(ns) * factor for ns, factor in zip(rows.total_ns, grown, strict=True)]
    as_published = [f"{us:,} µs for {_TABLE_GIB} GiB" for us in rows.protect_us]
    bars: _Moved = {"error_x.array": [], "error_x.arrayminus": []}
    where = {"y": [_ROWS[design] + _PUBLISHED_LIFT for design in rows.design], "customdata": list(rows.design)}
    look = {"marker.symbol": [PUBLISHED_SYMBOL] * len(rows), "marker.opacity": 1 if gib == _TABLE_GIB else 0.4}
    return {"x": times, "hovertext": [format_ns(ns) for ns in times], "text": as_published} | where | bars | look


def _protocol_at(runs: pd.DataFrame, gib: float) -> _Moved:
    """Return the local runs of the published protocol: at its own size only."""
    rows = runs[runs.size_kib == round(gib * 2**20)]
    rows = rows.assign(design=rows["mode"].map(_MODE_DESIGNS), measured=True)
    text = [f"n = {n} runs, one sample each, THP {thp}" for n, thp in zip(rows.n, rows.thp, strict=True)]
    return _timed(rows, PROTOCOL, text)


def _measured_at(points: pd.DataFrame, backing: str, whose: str, gib: float) -> _Moved:
    rows = summaries.df_at_size(points, backing, round(gib * 2**20))
    rows = rows[rows.design.isin(_MODES)]
    return _timed(rows, whose, style.origin(rows))


def _timed(rows: pd.DataFrame, whose: str, text: list[str]) -> _Moved:
    bars = style.interval(rows, "total_ns")
    symbol, lift = ORIGINS[whose].symbol, _LIFTS[whose]
    return {
        "x": rows.total_ns.tolist(),
        "y": [_ROWS[design] + lift for design in rows.design],
        "error_x.array": bars["array"],
        "error_x.arrayminus": bars["arrayminus"],
        "marker.symbol": [symbol if measured else f"{symbol}-open" for measured in rows.measured],
        "marker.opacity": 1,
        "customdata": list(rows.design),
        "hovertext": style.times(rows, "total_ns"),
        "text": text,
    }


def _add_published(figure: go.Figure, source: str, column: int) -> None:
    name, colour = AUTHORS[source]
    figure.add_scatter(
        mode="markers",
        marker={"color": colour, "size": 10, "line": {"color": colour, "width": 3}},
        name=name,
        legendgroup=name,
        legendrank=1001,
        showlegend=name not in {trace.name for trace in figure.data},
        hovertemplate=style.HOVER,
        row=1,
        col=column,
    )


def _add_measured(figure: go.Figure, origin: str, name: str, column: int) -> None:
    colour, symbol, _ = ORIGINS[origin]
    figure.add_scatter(
        mode="markers",
        error_x={"type": "data", "symmetric": False, "thickness": 1.5, "width": 4},
        marker=style.marker(colour, symbol, 10),
        name=name,
        legendgroup=origin,
        showlegend=column == 1,
        hovertemplate=style.HOVER,
        row=1,
        col=column,
    )
