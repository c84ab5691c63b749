# SPDX-License-Identifier: MIT
"""Figure of the time and memory that skipping population saves."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.units import format_size
from uffdlab.vocabulary.backings import BACKINGS
from uffdlab.vocabulary.designs import DESIGNS

_SKIP_BACKINGS = ["anon", "shmem", "hugetlb_2m_private", "hugetlb_2m_shared", "hugetlb_1g_private"]
_SKIP_NAMES = {name: BACKINGS[name].short for name in _SKIP_BACKINGS}
_SKIP_DESIGNS = ("preread", "unprotected", "pte_marker")
# Design instead of populating: none where features 0 protects, markers where they are needed.
_SKIP_DESIGN = {"anon": "pte_marker"}


_SKIP_KIB = 1 << 20  # all points of the figure are of ranges of this size


def shares_written(data: Dataset) -> list[str]:
    """Return the shares written beforehand that :func:`plot_skip` can draw."""
    written = sorted(_skip_points(data).populated.unique()) or [0.0]
    return list(dict.fromkeys(map(_share, written)))


def _share(populated: float) -> str:
    return f"{populated:.0%}"


def plot_skip(data: Dataset, beside: Dataset | None = None, written: str = "0%") -> go.Figure:
    """Draw time and memory of populating first against not populating, by backing, with ``written`` beforehand.

    A quick measurement of this machine, for one, has untouched memory only.
    """
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.04)
    points = _skip_points(data)
    other = _skip_points(beside) if beside and "samples" in beside.tables else points[:0]
    drawn = 0
    for rows, whose in ((points, data), (other, beside)):
        chosen = rows[rows.populated.map(_share) == written]
        for design in _SKIP_DESIGNS if len(chosen) else ():
            _add_skip(figure, chosen, design, whose if len(other) else None, beside=rows is other)
        drawn += len(figure.data) if rows is points else 0
    size = format_size(_SKIP_KIB * 1024)
    caption = f"{size} of each backing, warm samples. Left: time (logarithmic). Right: memory filled."
    caption += style.whose_marks(data, beside, len(other) > 0, f"samples of {size}", "stars and squares")
    style.styled(figure, caption, [data.origin(), *style.origin_beside(beside)], (500, 640), {"x": "ns", "x2": "MiB"})
    reached = style.spanned(points, "total_ns") + style.spanned(other, "total_ns")
    figure.update_xaxes(**style.time_axis("to prepare and protect", every=3), range=style.log_range(reached), col=1)
    figure.update_xaxes(title_text="filled, MiB", range=[-45, 1110], col=2)
    names = [_SKIP_NAMES[b] for b in _SKIP_BACKINGS]
    figure.update_yaxes(tickvals=[-row for row in range(len(names))], ticktext=names, range=[0.5 - len(names), 0.5])
    if not drawn:
        style.annotate(figure, f"{data.id} holds no samples of {size} with {written} written beforehand")
    return figure


def _add_skip(figure: go.Figure, points: pd.DataFrame, design: str, whose: Dataset | None, *, beside: bool) -> None:
    populating = design == "preread"
    instead = {b: _SKIP_DESIGN.get(b, "unprotected") for b in _SKIP_BACKINGS}
    rows = points[(points.design == design) & (populating | (points.backing.map(instead) == design))]
    if rows.empty:
        return
    places = [style.BESIDE_LIFT * beside - _SKIP_BACKINGS.index(b) for b in rows.backing]
    # Two sizes, so that both are visible where they coincide.
    (colour, symbol, _), size = DESIGNS[design].look, 13 if populating else 8
    label = style.named(DESIGNS[design].short, whose)
    if beside:
        colour, symbol = style.BESIDE_COLOUR, style.BESIDE_SYMBOL if populating else "star-square"
    shared = {"y": places, "mode": "markers", "legendgroup": label, "name": label}
    shared |= {
        "customdata": [_SKIP_NAMES[b] for b in rows.backing],
        "text": style.origin(rows),
        "hovertemplate": style.HOVER,
    }
    marker = style.marker(colour, symbol, 10 if beside else size)
    figure.add_scatter(
        x=rows.total_ns.tolist(),
        error_x=style.interval(rows, "total_ns"),
        hovertext=style.times(rows, "total_ns"),
        marker=marker,
        row=1,
        col=1,
        **shared,
    )
    memory = ((rows.filled_kib + rows.table_kib) / 1024).tolist()
    filled = ["not measured" if pd.isna(mib) else f"{mib:.4g} MiB" for mib in memory]
    figure.add_scatter(x=memory, hovertext=filled, marker=marker, showlegend=False, row=1, col=2, **shared)


def _skip_points(data: Dataset) -> pd.DataFrame:
    points = summaries.df_warm(data)
    return points[(points.size_kib == _SKIP_KIB) & points.backing.isin(_SKIP_BACKINGS)]
