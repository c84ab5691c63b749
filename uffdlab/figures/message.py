# SPDX-License-Identifier: MIT
"""Figure of a message through the covert channel: received bits by slot and line."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import plotly.graph_objects as go

from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.figures.channel import PLACEMENTS, ZEROPAGES
from uffdlab.summaries.transmissions import as_bits
from uffdlab.vocabulary.channel import BITS

_SLOTS = 160  # of the strip that is drawn
_BEFORE = 8  # of them before the message
_PIXELS = 16  # of lines that make a row, where there are more than so many


def plot_message(data: Dataset, memory: str = "zeropage", placement: str = "one CPU") -> go.Figure:
    """Draw the first slots of the first message sent through one of ``ZEROPAGES``: a column per slot, a row per line,
    and whether each bit arrived as it was sent.
    """
    figure = go.Figure()
    known = ["block", "sample", "memory", "placement", "silent", "lines", "idle_slots", "outcome"]
    rows = data.rows("messages", known).dropna(subset=known)
    sent = rows[(rows.memory == ZEROPAGES[memory]) & (rows.placement == PLACEMENTS[placement])]
    sent = sent[~sent.silent.astype(bool) & (sent["sample"] == 0)].sort_values("block")
    outcome = ""
    if len(sent):
        message = sent.iloc[0]
        strip = data.rows("message_bits", ["block", "sample", "slot", "sent", "received"])
        strip = strip[(strip.block == message.block) & (strip["sample"] == 0)].sort_values("slot")
        first = max(0, int(message.idle_slots) - _BEFORE)
        with suppress(ValueError):  # the bits of this message are missing or malformed
            out, back = (as_bits("".join(map(str, strip[name])), int(message.lines)).T[:, first : first + _SLOTS]
                         for name in ("sent", "received"))  # fmt: skip
            _draw(figure, 2 * out.astype(int) + back, first)
            outcome = f" This one: {message.outcome}."
    caption = "The beginning of the first message of the campaign; light: nothing was sent yet." + outcome
    style.styled(figure, caption, [data.origin()], (380, 640), {"x": "slot", "y": "line"})
    figure.update_xaxes(title_text="slot", showgrid=False)
    figure.update_yaxes(title_text="line", showgrid=False, autorange="reversed")
    if not figure.data:
        style.annotate(figure, f"{data.id} holds no message through this")
    return figure


def _draw(figure: go.Figure, kinds: np.ndarray, first: int) -> None:
    steps = [(colour, at) for at, (colour, _) in enumerate(BITS)]
    scale = [[part, colour] for colour, at in steps for part in (at / len(BITS), (at + 1) / len(BITS))]
    figure.add_heatmap(
        z=kinds.tolist(),
        x=list(range(first, first + kinds.shape[1])),
        y=list(range(kinds.shape[0])),
        zmin=-0.5,
        zmax=len(BITS) - 0.5,
        colorscale=scale,
        showscale=False,
        xgap=1 if len(kinds) <= _PIXELS else 0,
        ygap=1 if len(kinds) <= _PIXELS else 0,
        hovertemplate="slot %{x}, line %{y}",
        name="; ".join(f"{at}: {label}" for at, (_, label) in enumerate(BITS)),
    )
    for at, (colour, label) in enumerate(BITS):
        count = int((kinds == at).sum())
        figure.add_scatter(
            x=[None], y=[None], mode="markers", marker=style.marker(colour, "square"), name=f"{label}: {count:,}"
        )
