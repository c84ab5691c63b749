# SPDX-License-Identifier: MIT
"""What one write tells of the entry it found: times of two states, one over the other."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style

STATES = ("zeropage", "protected zeropage", "marker", "empty", "private", "protected private")
_PER_OCTAVE = 8
_TICKS = [100, 200, 500, 1000, 2000, 5000, 10_000, 20_000]


def plot_reveals(data: Dataset, state: str = "zeropage", other: str = "private") -> go.Figure:
    """Draw how long single writes to anonymous pages of two states took: shares per eighth of an octave of ns, warm
    samples of all children; and say how often one write would be taken for the other.
    """
    figure = go.Figure()
    rows = data.rows("reveals", ["block", "sample", "cold", "backing", "state"])
    warm = rows[(rows.backing == "anon") & ~rows.cold.astype(bool)]
    writes = data.rows("reveal_writes", ["block", "sample", "state", "ns", "writes"])
    kept = warm[["block", "sample", "state"]].merge(writes, on=["block", "sample", "state"])
    kept = kept[kept.ns > 0]
    binned = kept.assign(bin=np.floor(np.log2(kept.ns.astype(float)) * _PER_OCTAVE).astype(int))
    for name, colour, dash in ((state, style.BLUE, "solid"), (other, style.VERMILLION, "dash")):
        counts = binned[binned.state == name].groupby("bin").writes.sum()
        if counts.empty:
            continue
        bins = range(int(counts.index.min()) - 1, int(counts.index.max()) + 2)
        share = counts.reindex(bins, fill_value=0) / counts.sum() * 100
        figure.add_scatter(
            x=[2 ** ((at + 0.5) / _PER_OCTAVE) for at in bins],
            y=share.tolist(),
            mode="lines",
            line={"color": colour, "dash": dash, "width": 3, "shape": "hvh"},
            fill="tozeroy" if dash == "solid" else None,
            name=name,
            hovertemplate="%{x:.0f} ns: %{y:.1f} % of writes",
        )
    caption = "Single writes, warm samples of all children, the clock's own time included. " + _told(data, state, other)
    style.styled(figure, caption, [data.origin()], (360, 480), {"x": "ns", "y": "%"})
    figure.update_xaxes(type="log", title_text="a write took (ns)", range=[1.7, 4.5], tickvals=_TICKS,
                        ticktext=[f"{ns:,}" for ns in _TICKS])  # fmt: skip
    figure.update_yaxes(title_text="share of writes (%)", rangemode="tozero")
    if not figure.data:
        style.say(figure, f"{data.id} holds no single writes of these states")
    return figure


def _told(data: Dataset, state: str, other: str) -> str:
    if state == other:
        return "The same state twice."
    frame = summaries.df_reveals(data)
    first, second = sorted((state, other))
    row = frame[(frame.backing == "anon") & (frame.state == first) & (frame.other == second)]
    if row.empty or row.error.isna().all():
        return "How well one write tells them apart is not known."
    one = row.iloc[0]
    return f"One write is taken for the wrong one in {one.error:.1%} of cases (50%: it tells nothing)."
