# SPDX-License-Identifier: MIT
"""Figure of the time to unprotect (resolve) pieces of a range, by entry contents."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.units import format_size
from uffdlab.vocabulary.entries import ENTRIES, HUGE_PAGE

# Entry contents by the probe's names, with their looks.
_STATES = {
    "marker": ENTRIES["markers", "async"],
    "zeropage": ENTRIES["zeropage", "plain"],
    "page": ENTRIES["written", "plain"],
    "huge_zeropage": ENTRIES["huge_zeropage", "plain"],
    "huge_page": HUGE_PAGE,
}


def plot_resolve(data: Dataset) -> go.Figure:
    """Draw the cost of unprotecting a page by the size of the batch, and of the first piece of a huge page."""
    rows = summaries.df_resolves(data)
    titles = ("everything, in pieces of", "4 KiB of each 2 MiB")
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, horizontal_spacing=0.14)
    whole = rows[(rows.piece_kib == rows.stride_kib) & rows.state.isin(["marker", "zeropage", "page"])]
    for state, group in whole.groupby("state"):
        group = group.sort_values("piece_kib")
        _add_state(figure, group, str(state), [float(kib) for kib in group.piece_kib], "ns_per_page", 1)
    gaps = rows[(rows.piece_kib == 4) & (rows.stride_kib == 2048) & rows.state.isin(list(_STATES))]
    for state, group in gaps.groupby("state"):
        group = group.sort_values("pass")
        calls = [0.0 if pass_ == "first" else 1.0 for pass_ in group["pass"]]
        _add_state(figure, group, str(state), calls, "ns_per_call", 2)
    caption = (
        "One UFFDIO_WRITEPROTECT without WP per piece, no handler involved. Left: per 4 KiB page, against the size of "
        "the piece. Right: per call, the first in each 2 MiB and the one after it: what the first takes more on a huge "
        "page is its split. Logarithmic axes; median over processes with 95 % interval."
    )
    style.styled(figure, caption, [data.origin()], (460, 700), {"x": "KiB", "y": "ns", "y2": "ns"})
    pieces = sorted({int(kib) for kib in whole.piece_kib})
    ticks = {"tickvals": pieces, "ticktext": [format_size(kib * 1024) for kib in pieces]}
    figure.update_xaxes(type="log", title_text="unprotected by one call", col=1, **ticks)
    figure.update_xaxes(title_text="call in each 2 MiB", range=[-0.5, 1.5], tickvals=[0, 1], col=2)
    figure.update_xaxes(ticktext=["first", "second"], col=2)
    for column, title in ((1, "per page of 4 KiB"), (2, "per call")):
        axis = "y" if column == 1 else "y2"
        drawn = style.reach((trace for trace in figure.data if trace.yaxis == axis), "y")
        figure.update_yaxes(**style.time_axis(title, values=drawn), col=column)
    figure.update_layout(legend={"y": 1.1}, margin={"t": 84})
    if rows.empty:
        style.annotate(figure, f"{data.id} holds no resolves")
    return figure


def _add_state(figure: go.Figure, rows: pd.DataFrame, state: str, x: list[float], measure: str, column: int) -> None:
    name, (colour, symbol, _) = state.replace("_", " "), _STATES[state].look
    figure.add_scatter(
        x=x,
        y=rows[measure].tolist(),
        error_y=style.interval(rows, measure),
        mode="lines+markers",
        line={"color": colour, "width": 1},
        marker=style.marker(colour, symbol, 9),
        name=name,
        legendgroup=name,
        showlegend=name not in {trace.name for trace in figure.data},
        customdata=[name] * len(rows),
        hovertext=style.times(rows, measure),
        text=[f"n = {n} of {c} processes" for n, c in zip(rows.n, rows.children, strict=True)],
        hovertemplate=style.HOVER,
        row=1,
        col=column,
    )
