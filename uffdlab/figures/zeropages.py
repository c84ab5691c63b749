# SPDX-License-Identifier: MIT
"""Figure of the memory that populating zeropages and setting markers fill."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.units import format_size
from uffdlab.vocabulary.backings import BACKINGS
from uffdlab.vocabulary.designs import DESIGNS

_FILLS = {"preread": 0.2, "populate_read": 0.0, "pte_marker": -0.2}  # designs, with the offset from the row's middle
_ROW, _ROW_OF_TWO = 42, 72  # pixels of a row, with one dataset and with two
_BESIDE_LIFT = 0.08  # nearer to its design than to the one above
_HUGE_ZEROPAGE = {"on": "", "off": ",<br>no huge zeropage", "as found": ",<br>zeropage as found"}


_STEPS = {
    "protected": "protected",
    "resolved 4 KiB, written": "4 KiB of each 2 MiB resolved and written",
    "resolved 2 MiB, written": "each 2 MiB resolved, one page of it written",
}


def _shares(data: Dataset) -> pd.DataFrame:
    """Return the rows of the smallest range of each case, with the memory filled as a percentage of it."""
    rows = summaries.df_zeropages(data)
    rows = rows[rows.size_kib > 0]
    case = rows.groupby(["backing", "design", "huge_zeropage", "step"])
    rows = rows[(rows.size_kib == case.size_kib.transform("min")) & rows.filled_kib.notna()].copy()
    for column in ("filled_kib", "filled_kib_low", "filled_kib_high"):
        rows[column] = rows[column] / rows.size_kib.astype(float) * 100
    return rows


MOMENTS = tuple(_STEPS.values())


def plot_zeropages(data: Dataset, beside: Dataset | None = None, when: str = MOMENTS[0]) -> go.Figure:
    """Draw the share of an empty range that is filled with real memory at one of the ``MOMENTS``."""
    rows, other = _shares(data), _shares(beside) if beside else None
    both = other is not None and len(other) > 0
    measured = set(zip(rows.backing, rows.huge_zeropage, strict=True))
    if other is not None:
        # "as found" is the default of a machine: drawn beside "on" where the first dataset has that.
        states = other.huge_zeropage
        on = [(backing, "on") in measured for backing in other.backing]
        beside_on = pd.Series(on, index=states.index, dtype=bool)
        other = other.assign(huge_zeropage=states.mask(beside_on, states.replace("as found", "on")))
        measured |= set(zip(other.backing, other.huge_zeropage, strict=True))
    cases = [(b, h) for b in BACKINGS for h in _HUGE_ZEROPAGE if (b, h) in measured]
    figure = go.Figure()
    [step] = (step for step, label in _STEPS.items() if label == when)
    for design in _FILLS:
        chosen = rows[(rows.step == step) & (rows.design == design)]
        _add_filled(figure, chosen, design, cases, data if both else None, beside=False)
        if other is not None and both:
            chosen = other[(other.step == step) & (other.design == design)]
            _add_filled(figure, chosen, design, cases, beside, beside=True)
    caption = (
        "Real memory (growth of RSS and of huge pages) as a share of the empty range it was read into or protected in. "
        "Zeropages count as nothing. Warm samples, median over processes."
    )
    caption += style.whose_marks(data, beside, both, "account of zeropages")
    origins = [data.origin(), *style.origin_beside(beside)]
    style.styled(
        figure, caption, origins, (200 + (_ROW_OF_TWO if both else _ROW) * max(3, len(cases)), 640), {"x": "%"}
    )
    names = [BACKINGS[b].short + _HUGE_ZEROPAGE[h] for b, h in cases]
    figure.update_xaxes(title_text="of the range is real memory, %", range=[-4, 104])
    places = [-row for row in range(len(cases))]
    figure.update_yaxes(tickvals=places, ticktext=names, range=[0.5 - max(1, len(cases)), 0.5])
    if rows.empty:
        style.annotate(figure, f"{data.id} holds no account of zeropages")
    return figure


def _add_filled(
    figure: go.Figure, rows: pd.DataFrame, design: str, cases: list[Any], whose: Dataset | None, *, beside: bool
) -> None:
    (colour, symbol, _), label, lift = DESIGNS[design].look, DESIGNS[design].short, _FILLS[design]
    drawn = [case in cases for case in zip(rows.backing, rows.huge_zeropage, strict=True)]
    rows = rows[pd.Series(drawn, index=rows.index, dtype=bool)]
    name = label = style.named(label, whose)
    if beside and whose:
        colour, symbol, name, lift = style.BESIDE_COLOUR, style.BESIDE_SYMBOL, whose.label, lift + _BESIDE_LIFT
    named = any(trace.legendgroup == name and trace.showlegend for trace in figure.data)
    places = [cases.index(case) for case in zip(rows.backing, rows.huge_zeropage, strict=True)]
    figure.add_scatter(
        x=rows.filled_kib.tolist(),
        y=[lift - place for place in places],
        error_x=style.interval(rows, "filled_kib"),
        mode="markers",
        marker=style.marker(colour, symbol, 8 if beside else 10),
        name=name,
        legendgroup=name,
        showlegend=not beside or (len(rows) > 0 and not named),
        legendrank=1001 if beside else None,
        customdata=[f"{BACKINGS[b].short}: {label}" for b in rows.backing],
        hovertext=[f"{share:.4g} % filled" for share in rows.filled_kib],
        text=[_holds(row) for row in summaries.records(rows)],
        hovertemplate=style.HOVER,
    )


def _holds(row: Any) -> str:
    zero = format_size(row.zeropages_kib * 1024) if not pd.isna(row.zeropages_kib) else "an unknown part"
    return f"{zero} of {format_size(row.size_kib * 1024)} maps a zeropage<br>n = {row.n} of {row.children} processes"
