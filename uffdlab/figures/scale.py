# SPDX-License-Identifier: MIT
"""Figure of how operations scale: time per page, or speedup, by the number of threads and the tables they share."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.units import format_ratio, with_interval
from uffdlab.vocabulary.threads import SCALED, SCALED_TOGETHER, SHARING_LOOKS

SCALES = tuple(SCALED_TOGETHER)
SCALE_MEASURES = ("time per page", "speedup")
_COLUMNS = dict(zip(SCALE_MEASURES, ("ns_per_page", "speedup"), strict=True))
_THREADS = (1, 2, 4, 8, 16)
_X_RANGE = (-0.08, 1.29)  # powers of ten, with room for a symbol at 1 and a second dataset's at 16
_SPEEDUPS = {2.0**power: format_ratio(2.0**power) for power in range(-4, 6)}
_BESIDE_SHIFT = 1.08  # keeps points of the second dataset off those they are compared with
_IDEAL = "as many times as threads"


def plot_scale(
    data: Dataset, what: str = SCALES[0], beside: Dataset | None = None, measure: str = SCALE_MEASURES[0]
) -> go.Figure:
    """Draw one of ``SCALE_MEASURES`` of the operations called ``what``, one of ``SCALES``, by the number of threads."""
    operations, stride_kib = SCALED_TOGETHER[what]
    column = _COLUMNS[measure]
    rows = _chosen(data, operations, stride_kib, column)
    other = _chosen(beside, operations, stride_kib, column) if beside else rows[:0]
    titles = [SCALED[name] for name in operations]
    figure = make_subplots(rows=1, cols=len(titles), shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.04)
    places = dict(enumerate(operations, start=1))
    for points, whose in ((rows, None), (other, beside)):
        for at, operation in places.items():
            for sharing in SHARING_LOOKS:
                line = points[(points.operation == operation) & (points.sharing == sharing)]
                if len(line):
                    _add_points(figure, line, column, at, whose)
            if column == "speedup" and len(points) and whose is None:
                _add_ideal(figure, at)
    caption = _meaning(measure) + style.whose_marks(data, beside, len(other) > 0, "samples of several threads")
    _lay_out(figure, caption, [data.origin(), *style.origin_beside(beside)], column, rows, other)
    if rows.empty:
        style.annotate(figure, f"{data.id}: {what}, by one thread and by several, were not measured")
    return figure


def _chosen(data: Dataset, operations: tuple[str, ...], stride_kib: int, column: str) -> pd.DataFrame:
    rows = summaries.df_scale(data)
    here = rows.operation.isin(operations) & (rows.stride_kib == stride_kib) & rows.threads.between(1, _THREADS[-1])
    return rows[here.fillna(False) & (rows[column] > 0)]


def _add_points(figure: go.Figure, rows: pd.DataFrame, column: str, at: int, beside: Dataset | None) -> None:
    """Draw one operation with one way of sharing, as a line, or for a second dataset as stars."""
    title, (colour, symbol, dash) = SHARING_LOOKS[rows.sharing.iloc[0]]
    if beside is not None:
        colour, symbol = style.BESIDE_COLOUR, style.BESIDE_SYMBOL
    name = beside.label if beside is not None else title
    shown = all(trace.name != name for trace in figure.data)
    shift = _BESIDE_SHIFT if beside is not None else 1
    figure.add_scatter(
        x=[float(threads) * shift for threads in rows.threads],
        y=rows[column].tolist(),
        error_y=style.interval(rows, column) | {"color": colour},
        mode="markers" if beside is not None else "lines+markers",
        line={"color": colour, "width": 1.5, "dash": dash},
        marker=style.marker(colour, symbol, 9),
        name=name,
        legendgroup="beside" if beside is not None else rows.sharing.iloc[0],
        showlegend=shown,
        customdata=[f"{SCALED[row.operation]}, {_in_threads(row.threads)}" for row in summaries.records(rows)],
        hovertext=[_value(row, column) for row in summaries.records(rows)],
        text=[f"{title}<br>{_counts(row)}" for row in summaries.records(rows)],
        hovertemplate=style.HOVER,
        row=1,
        col=at,
    )


def _add_ideal(figure: go.Figure, at: int) -> None:
    figure.add_scatter(
        x=list(_THREADS),
        y=list(_THREADS),
        mode="lines",
        line={"color": style.GREY, "width": 1, "dash": "longdash"},
        name=_IDEAL,
        legendgroup="ideal",
        showlegend=all(trace.name != _IDEAL for trace in figure.data),
        hoverinfo="skip",
        row=1,
        col=at,
    )


def _in_threads(threads: int) -> str:
    return f"{threads} thread{'' if threads == 1 else 's'}"


def _value(row: Any, column: str) -> str:
    ends = [getattr(row, f"{column}{end}") for end in ("", "_low", "_high")]
    if column == "speedup":
        return f"{with_interval(*ends)} times as fast as one thread"
    return f"{style.time_in_words(*ends)} per page"


def _counts(row: Any) -> str:
    counts = ((row.ipis_per_page, "IPIs"), (row.sleeps_per_page, "sleeps"))
    known = [f"{format_ratio(count)} {what}" for count, what in counts if not pd.isna(count)]
    per_page = f"{', '.join(known)} a page; " if known else ""
    return f"{per_page}n = {row.n} of {row.children} processes"


def _meaning(measure: str) -> str:
    if measure == "speedup":
        said = (
            "Time of one thread by that of several, in the same process. Below 1 several threads are slower than one. "
            "Long dashes: as many times as fast as there are threads. "
        )
    else:
        said = "From the common start to the end of the last thread, by the pages of all threads. "
    return (
        f"{said}All threads together take the same pages, whatever their number, each on a CPU of its own. Lines "
        "differ in the page tables that threads share. Warm samples, median over processes with 95 % interval; both "
        "axes logarithmic."
    )


def _lay_out(
    figure: go.Figure, caption: str, origins: list[str], column: str, rows: pd.DataFrame, other: pd.DataFrame
) -> None:
    axes = [f"y{number}".removesuffix("1") for number in range(1, len(figure.layout.annotations) + 1)]
    unit = "times" if column == "speedup" else "ns"
    units = dict.fromkeys(axes, unit) | {axis.replace("y", "x"): "threads" for axis in axes}
    style.styled(figure, caption, origins, (520, 680), units)
    ticks = {"tickvals": list(_THREADS), "ticktext": [str(number) for number in _THREADS]}
    figure.update_xaxes(type="log", title_text="threads", range=list(_X_RANGE), **ticks)
    reached = [value for one in (rows, other) for value in style.spanned(one, column)]
    if column == "speedup":
        reached += [float(number) for number in _THREADS if reached]
        ticks = {"tickvals": list(_SPEEDUPS), "ticktext": list(_SPEEDUPS.values())}
        figure.update_yaxes(type="log", range=style.log_range(reached), **ticks)
        figure.update_yaxes(title_text="times as fast as one thread", col=1)
    else:
        figure.update_yaxes(**style.time_axis("", values=reached))
        figure.update_yaxes(title_text="time per page, all threads together", col=1)
    figure.update_layout(legend={"yref": "container", "y": 1, "yanchor": "top"}, margin={"t": 104})
