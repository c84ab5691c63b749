# SPDX-License-Identifier: MIT
"""Figure of recorded sequences of steps: what is left of a write's protection, by step and backing."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.vocabulary.backings import SEQUENCE_BACKINGS
from uffdlab.vocabulary.feature_sets import SEQUENCE_SETS
from uffdlab.vocabulary.looks import BLUE, LIGHT, VERMILLION
from uffdlab.vocabulary.tracking import OUTCOMES

SEQUENCES_BEFORE = {"written memory": "write; protect; ", "untouched memory": "protect; "}
_NOTHING = "nothing"
_AFTER = "write"
_ASYNC = "WP_ASYNC"
# By whether a tracker misses the write: a colour, its symbol in the legend, and what it is called there.
_KINDS = {
    False: (BLUE, "square-cross", "not missed"),
    None: (LIGHT, "square-x", "there is no such write"),
    True: (VERMILLION, "diamond-cross", "lost"),
}
_PLACE = {kind: at for at, kind in enumerate(_KINDS)}


def sequence_features(data: Dataset) -> list[str]:
    """Return the sets of features that :func:`plot_sequences` can draw, in words; one where there is none."""
    known = set(summaries.df_sequences(data).features)
    return [one.reads_as for name, one in SEQUENCE_SETS.items() if name in known] or [SEQUENCE_SETS["none"].reads_as]


def plot_sequences(data: Dataset, features: str = "", before: str = "written memory") -> go.Figure:
    """Draw how a write ends after each step between protecting and writing, by backing.

    ``features`` is one of :func:`sequence_features`, by default the first; ``before`` one of ``SEQUENCES_BEFORE``.
    """
    features = features or sequence_features(data)[0]
    rows = _chosen(summaries.df_sequences(data), features, SEQUENCES_BEFORE[before])
    backings = [name for name in SEQUENCE_BACKINGS if name in set(rows.backing)]
    steps = list(dict.fromkeys(sorted(rows.between, key=lambda name: (name != _NOTHING, name))))
    figure = go.Figure()
    if len(rows):
        _draw(figure, rows, backings, steps)
    caption = (
        f"{before[0].upper()}{before[1:]} is protected, the step happens, and the page is written to; {features}. "
        "An empty cell: the memory cannot take the step, or it was not recorded."
    )
    if _ASYNC in features:
        caption += (
            " Scans that only look. After remap the range is not registered any more, and a scan that protects again "
            "skips it, or is refused where it checks (PM_SCAN_CHECK_WPASYNC)."
        )
    style.styled(figure, caption, [data.origin()], (150 + 24 * max(8, len(steps)), 900), {"x": "backing", "y": "step"})
    names = [SEQUENCE_BACKINGS[name].short.replace(" ", "<br>", 1) for name in backings]
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=names, showgrid=False, side="bottom")
    figure.update_yaxes(tickvals=list(range(len(steps))), ticktext=steps, showgrid=False, autorange="reversed")
    if rows.empty:
        style.annotate(figure, f"{data.id}: sequences of steps were not recorded")
    return figure


def _chosen(rows: pd.DataFrame, features: str, before: str) -> pd.DataFrame:
    """Return the sequences that begin so and end with a write, with what lies between as column ``between``."""
    wanted = {name for name, one in SEQUENCE_SETS.items() if one.reads_as == features}
    whole = [f"{name}; " for name in rows.sequence]
    between = [one[len(before) : -len(f"{_AFTER}; ")].removesuffix("; ") for one in whole]
    starts = [one.startswith(before) and one.endswith(f"; {_AFTER}; ") for one in whole]
    rows = rows.assign(between=[one or _NOTHING for one in between])
    here = pd.Series(starts, index=rows.index, dtype=bool) & rows.features.isin(wanted)
    return rows[here & ~pd.Series([one.endswith("read") for one in between], index=rows.index, dtype=bool)]


def _draw(figure: go.Figure, rows: pd.DataFrame, backings: list[str], steps: list[str]) -> None:
    known = {(row.between, row.backing): row for row in summaries.records(rows)}
    grid = [[known.get((step, backing)) for backing in backings] for step in steps]
    figure.add_heatmap(
        z=[[None if row is None else _PLACE[OUTCOMES[row.outcome][2]] for row in line] for line in grid],
        x=list(range(len(backings))),
        y=list(range(len(steps))),
        text=[["" if row is None else _cell(row) for row in line] for line in grid],
        texttemplate="%{text}",
        textfont={"color": "#000000", "size": 12},
        customdata=[["" if row is None else _hover(row) for row in line] for line in grid],
        hovertemplate="%{customdata}<extra></extra>",
        zmin=-0.5,
        zmax=len(_KINDS) - 0.5,
        colorscale=[
            [part / len(_KINDS), _pale(colour)]
            for at, (colour, _, _) in enumerate(_KINDS.values())
            for part in (at, at + 1)
        ],
        showscale=False,
        xgap=2,
        ygap=2,
    )
    for kind, (colour, symbol, name) in _KINDS.items():
        count = sum(OUTCOMES[outcome][2] is kind for outcome in rows.outcome)
        figure.add_scatter(
            x=[None], y=[None], mode="markers", marker=style.marker(_pale(colour), symbol), name=f"{name}: {count:,}"
        )


def _pale(colour: str) -> str:
    """Return a colour mixed with white, on which black text reads well."""
    return "#" + "".join(f"{round(0.45 * int(colour[at : at + 2], 16) + 0.55 * 255):02X}" for at in (1, 3, 5))


def _cell(row: Any) -> str:
    return str(OUTCOMES[row.outcome][1])


def _hover(row: Any) -> str:
    return f"<b>{SEQUENCE_BACKINGS[row.backing].short}: {row.sequence}</b><br>{OUTCOMES[row.outcome][0]}"
