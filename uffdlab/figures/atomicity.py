# SPDX-License-Identifier: MIT
"""Figure of atomicity: writes lost to discards racing with populating and protecting."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.units import format_ratio
from uffdlab.vocabulary.backings import BACKINGS
from uffdlab.vocabulary.designs import DESIGNS
from uffdlab.vocabulary.looks import BOUND_SYMBOL

_BACKINGS = ("anon", "shmem", "hugetlb_2m_private", "hugetlb_2m_shared")
_PREPARATIONS = {
    "two_pass_read": ("preread", "read loop, then protect", 0.22),
    "two_pass_populate": ("populate_read", "MADV_POPULATE_READ, then protect", 0.0),
    "one_pass": ("pte_marker", "one pass (WP_UNPOPULATED)", -0.22),
}


def plot_atomicity(data: Dataset) -> go.Figure:
    """Draw lost writes per million judged, by backing and preparation, with discards racing.

    With losses: the median over children with its interval. Without: the exact upper bound, as an arrow towards 0.
    """
    rows = summaries.df_atomicity(data)
    rows = rows[(rows.interleaving == "racing") & (rows.judged > 0) & rows.backing.isin(_BACKINGS)]
    figure = go.Figure()
    for preparation in _PREPARATIONS:
        _add_losing(figure, rows[(rows.preparation == preparation) & (rows.lost > 0)], preparation)
        _add_bounds(figure, rows[(rows.preparation == preparation) & (rows.lost == 0)], preparation)
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


def _add_losing(figure: go.Figure, rows: pd.DataFrame, preparation: str) -> None:
    design, label, _ = _PREPARATIONS[preparation]
    colour, symbol, _ = DESIGNS[design].look
    if rows.empty:
        return
    counts = [f"{lost:,} of {judged:,} judged writes lost" for lost, judged in zip(rows.lost, rows.judged, strict=True)]
    figure.add_scatter(
        x=rows.child_per_million.tolist(),
        error_x=style.interval(rows, "child_per_million"),
        marker=style.marker(colour, symbol),
        name=label,
        **_shared(rows, preparation, counts),
    )


def _add_bounds(figure: go.Figure, rows: pd.DataFrame, preparation: str) -> None:
    design, label, _ = _PREPARATIONS[preparation]
    colour = DESIGNS[design].look.colour
    if rows.empty:
        return
    bounds = [
        f"none of {judged:,} lost: at most {format_ratio(high)} per million"
        for judged, high in zip(rows.judged, rows.lost_per_million_high, strict=True)
    ]
    figure.add_scatter(
        x=rows.lost_per_million_high.tolist(),
        marker=style.marker(colour, BOUND_SYMBOL),
        name=f"{label}: none lost, at most",
        **_shared(rows, preparation, bounds),
    )


def _shared(rows: pd.DataFrame, preparation: str, hovertext: list[str]) -> dict[str, object]:
    lift, names = _PREPARATIONS[preparation][2], list(_BACKINGS)
    return {
        "y": [lift - names.index(backing) for backing in rows.backing],
        "mode": "markers",
        "customdata": [BACKINGS[backing].short for backing in rows.backing],
        "hovertext": hovertext,
        "text": [f"{n} children, {t} trials" for n, t in zip(rows.children, rows.trials, strict=True)],
        "hovertemplate": style.HOVER,
    }
