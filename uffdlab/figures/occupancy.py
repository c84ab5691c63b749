# SPDX-License-Identifier: MIT
"""Figure of occupancy: the share of untouched memory by size of the unit (4 KiB, 2 MiB, 1 GiB)."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.units import format_size
from uffdlab.vocabulary.states import OCCUPANCY, WORKLOADS


def plot_occupancy(data: Dataset) -> go.Figure:
    """Draw the share of units in each state, one column per granularity and one bar per workload."""
    points = _points(data)
    sizes = sorted(int(kib) for kib in points.granularity_kib.unique())
    titles = [f"units of {format_size(kib * 1024)}" for kib in sizes] or [""]
    columns = max(len(sizes), 1)
    figure = make_subplots(rows=1, cols=columns, shared_yaxes=True, horizontal_spacing=0.06, subplot_titles=titles)
    for state, look in OCCUPANCY.items():
        if (points[state].fillna(0) > 0).any():
            for column, kib in enumerate(sizes, 1):
                figure.add_trace(_bar(points[points.granularity_kib == kib], state, look, column == 1), 1, column)
    caption = (
        "Share of aligned units in which every page is in that state; mixed: in several. No bar: the process has no "
        "such unit."
    )
    units = {"x" + (str(column) if column > 1 else ""): "share" for column in range(1, columns + 1)}
    style.styled(figure, caption, [data.origin()], (440, 640), units)
    names = [workload.title for workload in WORKLOADS.values()]
    figure.update_layout(barmode="stack", bargap=0.35, legend={"traceorder": "normal", "y": 1.12}, margin={"t": 90})
    figure.update_xaxes(tickformat=".0%", range=[-0.03, 1.03], title_text="share of units", tickvals=[0, 0.5, 1])
    figure.update_yaxes(tickvals=[-row for row in range(len(names))], ticktext=names, range=[0.5 - len(names), 0.5])
    if points.empty:
        style.annotate(figure, f"{data.id} holds no occupancy scans")
    return figure


def _bar(points: pd.DataFrame, state: str, look: tuple[str, str], in_legend: bool) -> go.Bar:
    colour, pattern = look
    names = list(WORKLOADS)
    drawn = points[points[state].notna()]
    shares = [f"{state}: {share:.2%} of {int(units):,}" for share, units in zip(drawn[state], drawn.units, strict=True)]
    fill: dict[str, Any] = {"color": colour, "line": {"color": "#444444", "width": 1}}
    if pattern:
        fill["pattern"] = {"shape": pattern, "fillmode": "overlay", "fgcolor": "#222222", "size": 6, "solidity": 0.25}
    return go.Bar(
        y=[-names.index(name) for name in drawn.workload],
        x=drawn[state].tolist(),
        orientation="h",
        name=state,
        legendgroup=state,
        showlegend=in_legend,
        marker=fill,
        customdata=[WORKLOADS[name].title for name in drawn.workload],
        hovertext=shares,
        text=[f"n = {n}, process of {format_size(kib * 1024)}" for n, kib in zip(drawn.n, drawn.size_kib, strict=True)],
        textposition="none",
        hovertemplate=style.HOVER + "<extra></extra>",
    )


def _points(data: Dataset) -> pd.DataFrame:
    """Return the rows, those by PAGEMAP_SCAN where a process was scanned by both methods."""
    points = summaries.df_occupancy(data)
    points = points[points.workload.isin(WORKLOADS)].sort_values("method")  # PAGEMAP_SCAN comes before pagemap
    return points.drop_duplicates(["workload", "granularity_kib"])
