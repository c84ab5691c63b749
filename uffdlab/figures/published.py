# SPDX-License-Identifier: MIT
"""The published table beside what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.units import format_ns, format_size

_MODES = ["unprotected", "preread", "populate_read", "pte_marker"]
_PANELS = (
    ("THP off for this memory", ("madvise", "never"), "anon"),
    ("THP on", ("always",), "anon_thp"),
    ("THP not recorded", ("unknown",), None),
)
_AUTHOR_LOOK = {
    "xu-vm": (style.GREEN, "published: Peter Xu"),
    "anjum-first": (style.VERMILLION, "published: M. Usama Anjum"),
    "anjum-madvise": (style.VERMILLION, "published: M. Usama Anjum"),
    "anjum-always": (style.VERMILLION, "published: M. Usama Anjum"),
}


_ROWS = {mode: -row for row, mode in enumerate(_MODES)}
_PUBLISHED_LIFT = 0.2  # so that a cross never hides the point it is compared with
_TABLE_GIB = 10  # the thread's size
_TOTALS_GIB = [1, 10, 64, 256, 1024]


def plot_published(published: Dataset, data: Dataset, here: Dataset | None = None) -> go.Figure:
    """Draw the thread's table beside what was measured: time to prepare and protect untouched memory, by THP state."""
    titles = [title for title, _, _ in _PANELS]
    figure = make_subplots(
        rows=1, cols=3, shared_yaxes=True, shared_xaxes="all", subplot_titles=titles, horizontal_spacing=0.025
    )
    table = summaries.df_published(published)
    for column, (_, states, backing) in enumerate(_PANELS, start=1):
        _add_published(figure, table[table.thp.isin(states)], column)
        if backing:
            _add_measured(figure, data, backing, column, "measured", style.BLUE, "circle", 0)
        if backing and here:
            _add_measured(
                figure, here, backing, column, "this machine", style.HERE_COLOUR, style.HERE_SYMBOL, style.HERE_LIFT
            )
    caption = (
        "Crosses: published, one sample each. Filled: measured, median with 95 % interval. Times are restated "
        "for the size that the slider sets: in proportion, save for doing nothing, which costs the same at any size."
    )
    origins = [data.origin(), published.origin()] + ([f"this machine: {here.origin()}"] if here else [])
    style.styled(figure, caption, origins, (500, 700), {"x": "ns", "x2": "ns", "x3": "ns"})
    drawn = [x * gib / _TABLE_GIB for x in style.reach(figure.data, "x") for gib in _TOTALS_GIB]
    figure.update_xaxes(**style.time_axis("to prepare and protect", every=3), range=style.log_range(drawn))
    names = [style.DESIGN_LOOK[mode][2] for mode in _MODES]
    figure.update_yaxes(tickvals=list(_ROWS.values()), ticktext=names, range=[min(_ROWS.values()) - 0.5, 0.5])
    steps = [_total_step(figure, gib) for gib in _TOTALS_GIB]
    slider = style.slider(steps, "untouched memory to protect: ", _TOTALS_GIB.index(_TABLE_GIB))
    figure.update_layout(sliders=slider, legend={"y": 1.1}, margin={"t": 74})
    return figure


def _total_step(figure: go.Figure, gib: int) -> dict[str, Any]:
    growth = [[summaries.growth_with_size(d, _TABLE_GIB, gib) for d in trace.customdata] for trace in figure.data]
    both = list(zip(figure.data, growth, strict=True))
    moved: dict[str, Any] = {"x": [_multiplied(trace.x, by) for trace, by in both]}
    for bar in ("array", "arrayminus"):
        moved[f"error_x.{bar}"] = [_multiplied(trace.error_x[bar], by) for trace, by in both]
    moved["hovertext"] = [[format_ns(x) for x in xs] for xs in moved["x"]]
    return {"method": "restyle", "args": [moved], "label": format_size(gib << 30)}


def _multiplied(values: Iterable[float] | None, by: Iterable[float]) -> list[float]:
    return [value * factor for value, factor in zip(values or (), by, strict=False)]


def _add_published(figure: go.Figure, table: pd.DataFrame, column: int) -> None:
    shown = {trace.name for trace in figure.data}
    for source, rows in table.groupby("source"):
        colour, name = _AUTHOR_LOOK[str(source)]
        times = rows.total_ns.astype(float).tolist()
        marker = {"symbol": style.PUBLISHED_SYMBOL, "color": colour, "size": 10, "line": {"color": colour, "width": 3}}
        figure.add_scatter(
            x=times,
            y=[_ROWS[design] + _PUBLISHED_LIFT for design in rows.design],
            mode="markers",
            marker=marker,
            name=name,
            legendgroup=name,
            legendrank=1001,
            showlegend=name not in shown,
            customdata=list(rows.design),
            hovertext=[format_ns(ns) for ns in times],
            text=[f"{us:,} µs for 10 GiB" for us in rows.protect_us],
            hovertemplate=style.HOVER,
            row=1,
            col=column,
        )


def _add_measured(
    figure: go.Figure, data: Dataset, backing: str, column: int, name: str, colour: str, symbol: str, lift: float
) -> None:
    rows = summaries.df_at_size(data, backing, _TABLE_GIB << 20)
    rows = rows[rows.design.isin(_MODES)]
    figure.add_scatter(
        x=rows.total_ns.tolist(),
        y=[_ROWS[design] + lift for design in rows.design],
        error_x=style.interval(rows, "total_ns"),
        mode="markers",
        marker=style.marker(colour, symbol, 10),
        name=name,
        legendgroup=name,
        showlegend=column == 1,
        customdata=list(rows.design),
        hovertext=[format_ns(ns) for ns in rows.total_ns],
        text=style.origin(rows),
        hovertemplate=style.HOVER,
        row=1,
        col=column,
    )
