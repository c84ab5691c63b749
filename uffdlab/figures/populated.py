# SPDX-License-Identifier: MIT
"""What protecting costs as memory fills up, with pages written here and there or in runs."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.units import format_size

_DESIGNS = ("unprotected", "preread", "populate_read", "pte_marker")


def plot_populated(data: Dataset, backing: str = "anon", size_kib: int = 1 << 18) -> go.Figure:
    """Draw the time to prepare and protect against the fraction written beforehand; one panel per pattern."""
    points = summaries.df_protect(data)
    points = points[(points.n > 0) & (points.backing == backing) & (points.size_kib == size_kib)]
    runs = sorted(int(run) for run in points.cluster_pages.unique()) or [1]
    titles = ["pages written anywhere" if run == 1 else f"in runs of {format_size(run * 4096)}" for run in runs]
    figure = make_subplots(
        rows=1, cols=len(runs), shared_yaxes=True, shared_xaxes="all", subplot_titles=titles, horizontal_spacing=0.03
    )
    for column, run in enumerate(runs, start=1):
        # Of nothing and of everything there is one pattern only.
        rows = points[(points.cluster_pages == run) | points.populated.isin([0.0, 1.0])]
        for design in _DESIGNS:
            _add_design(figure, rows[rows.design == design].sort_values("populated"), design, column)
    caption = (
        f"{format_size(size_kib * 1024)} of one backing, warm samples, median over processes with 95 % interval; time "
        "to prepare and protect, logarithmic."
    )
    style.styled(figure, caption, [data.origin()], (440, 640), {"x": "%", "y": "ns"})
    figure.update_xaxes(title_text="written beforehand, %", tickvals=[0, 25, 50, 75, 100], range=[-4, 104])
    times = style.reach(figure.data, "y")
    figure.update_yaxes(**style.time_axis("to prepare and protect", values=times), col=1)
    figure.update_yaxes(type="log", range=style.log_range(times))
    figure.update_layout(legend={"y": 1.1}, margin={"t": 84})
    if points.empty:
        style.say(figure, f"{data.id} holds no samples of {format_size(size_kib * 1024)} of this memory")
    return figure


def _add_design(figure: go.Figure, rows: pd.DataFrame, design: str, column: int) -> None:
    colour, symbol, name = style.DESIGN_LOOK[design]
    name = name.replace("<br>", " ")
    figure.add_scatter(
        x=(rows.populated * 100).tolist(),
        y=rows.total_ns.tolist(),
        error_y=style.interval(rows, "total_ns"),
        mode="lines+markers",
        line={"color": colour, "width": 1},
        marker=style.marker(colour, symbol, 9),
        name=name,
        legendgroup=name,
        showlegend=column == 1,
        customdata=[f"{name}, {share:.0%} written" for share in rows.populated],
        hovertext=style.times(rows, "total_ns"),
        text=style.origin(rows),
        hovertemplate=style.HOVER,
        row=1,
        col=column,
    )
