# SPDX-License-Identifier: MIT
"""Tails of latencies: the share of single touches or writes that took longer than a time, both logarithmic."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.vocabulary.looks import Look

_READING = (
    "A line that lies further right is slower; how it ends there is its tail. Bins of a quarter octave; both axes "
    "logarithmic."
)
_TICKS = {"tickvals": [1, 0.1, 0.01, 0.001, 0.0001], "ticktext": ["100 %", "10 %", "1 %", "0.1 %", "0.01 %"]}


def add_tail(figure: go.Figure, rows: pd.DataFrame, name: str, look: Look, many: str) -> None:
    """Add the share of ``many``, such as writes, that took ``from_ns`` or longer, as a line."""
    colour, symbol, dash = look
    figure.add_scatter(
        x=[float(ns) for ns in rows.from_ns],
        y=rows.slower.tolist(),
        mode="lines+markers",
        line={"color": colour, "width": 1.5, "shape": "hv", "dash": dash},
        marker={"color": colour, "symbol": symbol, "size": 7},
        name=name,
        customdata=[name] * len(rows),
        hovertext=[
            f"{share:.3%} took {ns:,} ns or longer" for share, ns in zip(rows.slower, rows.from_ns, strict=True)
        ],
        text=[f"n = {int(rows.timed.iloc[0]):,} {many} timed"] * len(rows),
        hovertemplate=style.HOVER,
    )


def lay_out(figure: go.Figure, caption: str, data: Dataset, one: str, many: str) -> None:
    """Set the axes, and the caption with how to read it; ``one`` and ``many`` name what was timed."""
    style.styled(figure, f"{caption} {_READING}", [data.origin()], (520, 640), {"x": "ns", "y": "share"})
    figure.update_xaxes(**style.time_axis(f"time of one {one}", values=style.reach(figure.data, "x")))
    figure.update_yaxes(type="log", title_text=f"share of {many} that took longer", range=[-4, 0.1], **_TICKS)
