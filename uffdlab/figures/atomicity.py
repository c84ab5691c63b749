# SPDX-License-Identifier: MIT
"""Figure of atomicity: writes lost to discards racing with populating and protecting."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.units import format_share
from uffdlab.vocabulary.backings import BACKINGS
from uffdlab.vocabulary.designs import DESIGNS, WAYS
from uffdlab.vocabulary.looks import BOUND_SYMBOL

_BACKINGS = ("anon", "shmem", "hugetlb_2m_private", "hugetlb_2m_shared")
_PREPARATIONS = {
    **{way.race: (way.design, lift) for way, lift in zip(WAYS.values(), (0.22, 0.0), strict=True)},
    "one_pass": ("pte_marker", -0.22),
}


def plot_atomicity(data: Dataset) -> go.Figure:
    """Draw the share of discards in between whose page loses its next write, by backing and preparation.

    Discards race with preparing and protecting, and those between the two count. With losses: the median over children
    with its interval. Without: the exact upper bound, as an arrow towards 0.
    """
    rows = summaries.df_atomicity(data)
    rows = rows[(rows.interleaving == "racing") & (rows.discards_preparing > 0) & rows.backing.isin(_BACKINGS)]
    figure = go.Figure()
    for preparation, (design, lift) in _PREPARATIONS.items():
        (colour, symbol, _), label = DESIGNS[design].look, DESIGNS[design].short
        here = rows[rows.preparation == preparation]
        losing, whole = here[here.lost > 0], here[here.lost == 0]
        counted = zip(losing.lost, losing.discards_preparing, strict=True)
        counts = [f"after {lost:,} of {discards:,} discards in between" for lost, discards in counted]
        bars, marker = style.interval(losing, "child_share"), style.marker(colour, symbol)
        _add(figure, losing, lift, "child_share", counts, name=label, marker=marker, error_x=bars)
        bounds = [
            f"after none of {discards:,} discards in between: at most {format_share(high, 1)}"
            for discards, high in zip(whole.discards_preparing, whole.lost_share_high, strict=True)
        ]
        marker, label = style.marker(colour, BOUND_SYMBOL), f"{label}: none lost, at most"
        _add(figure, whole, lift, "lost_share_high", bounds, name=label, marker=marker)
    caption = (
        "Discards racing with preparing and protecting: those of pages that were prepared and not yet protected. "
        "Arrows: none loses a write, the share is at most there."
    )
    style.styled(figure, caption, [data.origin()], (420, 560), {"x": "share"})
    title = "discards in between that lose the page's next write"
    figure.update_xaxes(tickformat=".0%", range=[-0.03, 1.03], title_text=title, tickvals=[0, 0.25, 0.5, 0.75, 1])
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
