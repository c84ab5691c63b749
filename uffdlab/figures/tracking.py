# SPDX-License-Identifier: MIT
"""Figure of the cost of dirty tracking: by PAGEMAP_SCAN, and by events."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.summaries import records
from uffdlab.units import format_size
from uffdlab.vocabulary.tracking import METHODS

_BACKINGS = {"anon": "anonymous", "anon_thp": "anonymous, THP", "shmem": "shmem"}


def plot_tracking(data: Dataset) -> go.Figure:
    """Draw the cost of tracking by configuration and method.

    Left: writing and collecting, per dirty page. Right: collecting alone, per GiB of range.
    """
    rows = summaries.df_tracking(data)
    rows = rows[rows.backing.isin(list(_BACKINGS))]
    names = list(dict.fromkeys(_names(rows)))
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.04)
    for method in METHODS:
        _add_method(figure, rows[rows.method == method], method, names)
    caption = (
        "Warm samples, medians over children. Left: writes with their faults or events, and collecting, per dirty "
        "page. Right: one scan, or protecting again, per GiB."
    )
    height = 150 + 34 * max(4, len(names))
    style.styled(figure, caption, [data.origin()], (height, 720), {"x": "ns", "x2": "ns"})
    for column, axis, title in ((1, "x", "per dirty page"), (2, "x2", "to collect, per GiB")):
        drawn = style.reach((trace for trace in figure.data if trace.xaxis == axis), "x")
        figure.update_xaxes(**style.time_axis(title, values=drawn), col=column)
    places = [-row for row in range(len(names))]
    figure.update_yaxes(tickvals=places, ticktext=names, range=[0.5 - max(1, len(names)), 0.5])
    if rows.empty:
        style.annotate(figure, f"{data.id} holds no tracking samples")
    return figure


def _names(rows: pd.DataFrame) -> list[str]:
    return [_name(row) for row in records(rows)]


def _name(row: Any) -> str:
    content = "written" if row.populated else "untouched"
    runs = ", runs of 64" if row.pattern == "clustered" else ""
    return f"{_BACKINGS[row.backing]}, {content}, {format_size(row.size_kib * 1024)},<br>{row.dirty:.0%} dirty{runs}"


def _add_method(figure: go.Figure, rows: pd.DataFrame, method: str, names: list[str]) -> None:
    label, (colour, symbol, _) = METHODS[method]
    for column, measure in ((1, "per_page_ns"), (2, "collect_per_gib_ns")):
        known = rows[rows[measure].notna()]
        if known.empty:
            continue
        figure.add_scatter(
            x=known[measure].tolist(),
            y=[-names.index(name) for name in _names(known)],
            error_x=style.interval(known, measure),
            mode="markers",
            marker=style.marker(colour, symbol, 9),
            name=label,
            legendgroup=label,
            showlegend=label not in {trace.name for trace in figure.data},
            customdata=_names(known),
            hovertext=style.times(known, measure),
            text=[f"n = {n} children" for n in known.n],
            hovertemplate=style.HOVER,
            row=1,
            col=column,
        )
