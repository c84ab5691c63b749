# SPDX-License-Identifier: MIT
"""Figure of atomicity: writes lost to discards racing with populating and protecting."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.units import format_ratio
from uffdlab.vocabulary.backings import BACKINGS
from uffdlab.vocabulary.designs import DESIGNS, WAYS
from uffdlab.vocabulary.looks import BOUND_SYMBOL

_BACKINGS = ("anon", "shmem", "hugetlb_2m_private", "hugetlb_2m_shared")
_PREPARATIONS = {
    **{way.race: (way.design, lift) for way, lift in zip(WAYS.values(), (0.22, 0.0), strict=True)},
    "one_pass": ("pte_marker", -0.22),
}


def plot_atomicity(data: Dataset) -> go.Figure:
    """Draw lost writes per million judged, by backing and preparation, with discards racing.

    With losses: the median over children with its interval. Without: the exact upper bound, as an arrow towards 0.
    """
    rows = summaries.df_atomicity(data)
    rows = rows[(rows.interleaving == "racing") & (rows.judged > 0) & rows.backing.isin(_BACKINGS)]
    figure = go.Figure()
    for preparation, (design, lift) in _PREPARATIONS.items():
        (colour, symbol, _), label = DESIGNS[design].look, DESIGNS[design].short
        here = rows[rows.preparation == preparation]
        losing, whole = here[here.lost > 0], here[here.lost == 0]
        counted = zip(losing.lost, losing.judged, strict=True)
        counts = [f"{lost:,} of {judged:,} judged writes lost" for lost, judged in counted]
        bars, marker = style.interval(losing, "child_per_million"), style.marker(colour, symbol)
        _add(figure, losing, lift, "child_per_million", counts, name=label, marker=marker, error_x=bars)
        bounds = [
            f"none of {judged:,} lost: at most {format_ratio(high)} per million"
            for judged, high in zip(whole.judged, whole.lost_per_million_high, strict=True)
        ]
        marker, label = style.marker(colour, BOUND_SYMBOL), f"{label}: none lost, at most"
        _add(figure, whole, lift, "lost_per_million_high", bounds, name=label, marker=marker)
    caption = (
        "Discards racing with preparing and protecting; no discard of a judged page since the ioctl began. "
        "Arrows: none lost, the rate is at most there."
    )
    style.styled(figure, caption, [data.origin()], (420, 560), {"x": "per million"})
    drawn = style.log_range(style.reach(figure.data, "x"))
    ticks = [10**power for power in range(-2, 7)]
    labels = [format_ratio(value) for value in ticks]
    figure.update_xaxes(type="log", title_text="lost writes per million judged", range=drawn)
    figure.update_xaxes(tickvals=ticks, ticktext=labels)
    names = [BACKINGS[backing].short for backing in _BACKINGS]
    figure.update_yaxes(tickvals=[-row for row in range(len(names))], ticktext=names, range=[0.5 - len(names), 0.5])
    if rows.empty:
        style.annotate(figure, f"{data.id} holds no races")
    return figure


def _add(figure: go.Figure, rows: pd.DataFrame, lift: float, x: str, hovertext: list[str], **looks: Any) -> None:
    if rows.empty:
        return
    figure.add_scatter(
        x=rows[x].tolist(),
        y=[lift - _BACKINGS.index(backing) for backing in rows.backing],
        mode="markers",
        customdata=[BACKINGS[backing].short for backing in rows.backing],
        hovertext=hovertext,
        text=[f"{n} children, {t} trials" for n, t in zip(rows.children, rows.trials, strict=True)],
        hovertemplate=style.HOVER,
        **looks,
    )
