# SPDX-License-Identifier: MIT
"""Figure of the timing side channel of one write: latency histograms of two page states."""

from __future__ import annotations

import plotly.graph_objects as go

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import histogram, style
from uffdlab.summaries.medians import warm
from uffdlab.vocabulary.states import WRITTEN

STATES = tuple(WRITTEN)
_TICKS = [100, 200, 500, 1000, 2000, 5000, 10_000, 20_000]


def plot_reveals(data: Dataset, state: str = "zeropage", other: str = "private") -> go.Figure:
    """Draw log-binned latency histograms (ns) of single writes to anonymous pages in two states, warm samples of all
    children, with the error rate of telling them apart in the caption.
    """
    figure = go.Figure()
    known = ["block", "sample", "cold", "backing", "state"]
    rows = data.rows("reveals", known).dropna(subset=known)
    taken = warm(rows[rows.backing == "anon"])
    writes = data.rows("reveal_writes", ["block", "sample", "state", "ns", "writes"]).dropna()
    kept = taken[["block", "sample", "state"]].merge(writes, on=["block", "sample", "state"])
    for name in dict.fromkeys((state, other)):
        here = kept[kept.state == name]
        line = {"color": WRITTEN[name].colour, "dash": WRITTEN[name].dash, "width": 3, "shape": "hvh"}
        fill = "tozeroy" if name == state else None
        histogram.add_steps(figure, here.ns, here.writes, "ns", "writes", name=name, line=line, fill=fill)
    error = _error(data, state, other)
    caption = f"Single writes, warm samples of all children, the clock's own time included. {error}"
    style.styled(figure, caption, [data.origin()], (360, 480), {"x": "ns", "y": "%"})
    histogram.label_times(figure, "a write took (ns)", 50, 32_000, _TICKS)
    figure.update_yaxes(title_text="share of writes (%)")
    if not figure.data:
        style.annotate(figure, f"{data.id} holds no single writes of these states")
    return figure


def _error(data: Dataset, state: str, other: str) -> str:
    if state == other:
        return "The same state twice."
    frame = summaries.df_reveals(data)
    first, second = sorted((state, other))
    row = frame[(frame.backing == "anon") & (frame.state == first) & (frame.other == second)]
    if row.empty or row.error.isna().all():
        return "How well one write distinguishes them is unknown."
    pair = row.iloc[0]
    return f"One write is taken for the wrong one in {pair.error:.1%} of cases (50%: chance)."
