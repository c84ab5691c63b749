# SPDX-License-Identifier: MIT
"""What filled memory holds, what resolving it costs, and where populating ends in another state."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from uffdlab import summaries
from uffdlab.backing import BACKINGS
from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.units import format_size

_FILLS = {
    "preread": (style.VERMILLION, "circle", "read loop, then protect", 0.2),
    "populate_read": (style.ORANGE, "square", "MADV_POPULATE_READ, then protect", 0.0),
    "pte_marker": (style.BLUE, "diamond", "PTE markers", -0.2),
}
_HUGE_ZEROPAGE = {"on": "", "off": ",<br>no huge zeropage", "as found": ",<br>zeropage as found"}
_STEPS = {
    "protected": "protected",
    "resolved 4 KiB, written": "4 KiB of each 2 MiB resolved and written",
    "resolved 2 MiB, written": "each 2 MiB resolved, one page of it written",
}


def _shares(data: Dataset) -> pd.DataFrame:
    """Return the accounts of the smallest range of each case, with what is filled as a percentage of it."""
    rows = summaries.df_zeropages(data)
    rows = rows[rows.size_kib > 0]
    case = rows.groupby(["backing", "design", "huge_zeropage", "step"])
    rows = rows[(rows.size_kib == case.size_kib.transform("min")) & rows.filled_kib.notna()].copy()
    for column in ("filled_kib", "filled_kib_low", "filled_kib_high"):
        rows[column] = rows[column] / rows.size_kib.astype(float) * 100
    return rows


MOMENTS = tuple(_STEPS.values())


def plot_zeropages(data: Dataset, here: Dataset | None = None, when: str = MOMENTS[0]) -> go.Figure:
    """Draw how much of an empty range is filled with real memory at one of the ``MOMENTS``."""
    rows, mine = _shares(data), _shares(here) if here else None
    found = set(zip(rows.backing, rows.huge_zeropage, strict=True))
    cases = [(b, h) for b in BACKINGS for h in _HUGE_ZEROPAGE if (b, h) in found]
    figure = go.Figure()
    [step] = (step for step, label in _STEPS.items() if label == when)
    for design in _FILLS:
        _add_filled(figure, rows[(rows.step == step) & (rows.design == design)], design, cases)
        if mine is not None:
            chosen = mine[(mine.step == step) & (mine.design == design)]
            # What is found there is this machine's default: it stands beside the same on the reference.
            chosen = chosen.assign(huge_zeropage=chosen.huge_zeropage.replace("as found", "on"))
            _add_filled(figure, chosen, design, cases, here=True)
    caption = (
        "Real memory (growth of RSS and of huge pages) as a share of the empty range it was read into or protected in. "
        "Zeropages count as nothing. Warm samples, median over processes."
    )
    origins = [data.origin()] + ([f"this machine (stars): {here.origin()}"] if here else [])
    style.styled(figure, caption, origins, (200 + 42 * max(3, len(cases)), 640), {"x": "%"})
    names = [BACKINGS[b].short + _HUGE_ZEROPAGE[h] for b, h in cases]
    figure.update_xaxes(title_text="of the range is real memory, %", range=[-4, 104])
    places = [-row for row in range(len(cases))]
    figure.update_yaxes(tickvals=places, ticktext=names, range=[0.5 - max(1, len(cases)), 0.5])
    if not cases:
        style.say(figure, f"{data.id} holds no account of zeropages")
    return figure


def _add_filled(figure: go.Figure, rows: pd.DataFrame, design: str, cases: list[Any], *, here: bool = False) -> None:
    colour, symbol, label, lift = _FILLS[design]
    drawn = [case in cases for case in zip(rows.backing, rows.huge_zeropage, strict=True)]
    rows = rows[pd.Series(drawn, index=rows.index, dtype=bool)]
    if here:
        colour, symbol, label, lift = style.HERE_COLOUR, style.HERE_SYMBOL, f"this machine: {label}", lift + 0.08
    places = [cases.index(case) for case in zip(rows.backing, rows.huge_zeropage, strict=True)]
    figure.add_scatter(
        x=rows.filled_kib.tolist(),
        y=[lift - place for place in places],
        error_x=style.interval(rows, "filled_kib"),
        mode="markers",
        marker=style.marker(colour, symbol, 10),
        name="this machine" if here else label,
        legendgroup="this machine" if here else label,
        showlegend=not here or design == "preread",
        customdata=[f"{BACKINGS[b].short}: {label}" for b in rows.backing],
        hovertext=[f"{share:.4g} % filled" for share in rows.filled_kib],
        text=[_holds(row) for row in summaries.records(rows)],
        hovertemplate=style.HOVER,
    )


def _holds(row: Any) -> str:
    zero = format_size(row.zeropages_kib * 1024) if not pd.isna(row.zeropages_kib) else "an unknown part"
    return f"{zero} of {format_size(row.size_kib * 1024)} maps a zeropage<br>n = {row.n} of {row.children} processes"


# --- resolving -------------------------------------------------------------------------------------------------------

_STATES = {
    "marker": (style.BLUE, "diamond", "marker"),
    "zeropage": (style.VERMILLION, "circle", "zeropage"),
    "page": (style.PURPLE, "pentagon", "page"),
    "huge_zeropage": (style.ORANGE, "hexagon", "huge zeropage"),
    "huge_page": (style.GREEN, "square", "huge page"),
}


def plot_resolve(data: Dataset) -> go.Figure:
    """Draw what un-protecting a page costs by the size of the batch, and what the first piece of a huge page adds."""
    rows = summaries.df_resolves(data)
    titles = ("everything, in pieces of", "4 KiB of each 2 MiB")
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, horizontal_spacing=0.14)
    whole = rows[(rows.piece_kib == rows.stride_kib) & rows.state.isin(["marker", "zeropage", "page"])]
    for state, group in whole.groupby("state"):
        _add_batches(figure, group.sort_values("piece_kib"), str(state))
    gaps = rows[(rows.piece_kib == 4) & (rows.stride_kib == 2048) & rows.state.isin(list(_STATES))]
    for state, group in gaps.groupby("state"):
        _add_split(figure, group, str(state))
    caption = (
        "One UFFDIO_WRITEPROTECT without WP per piece, no handler involved. Left: per 4 KiB page, against the size of "
        "the piece. Right: per call, the first in each 2 MiB and the one after it: what the first takes more on a huge "
        "page is its split. Logarithmic axes; median over processes with 95 % interval."
    )
    style.styled(figure, caption, [data.origin()], (460, 700), {"x": "KiB", "y": "ns", "y2": "ns"})
    pieces = sorted({int(kib) for kib in whole.piece_kib})
    ticks = {"tickvals": pieces, "ticktext": [format_size(kib * 1024) for kib in pieces]}
    figure.update_xaxes(type="log", title_text="un-protected by one call", col=1, **ticks)
    figure.update_xaxes(title_text="call in each 2 MiB", range=[-0.5, 1.5], tickvals=[0, 1], col=2)
    figure.update_xaxes(ticktext=["first", "second"], col=2)
    for column, title in ((1, "per page of 4 KiB"), (2, "per call")):
        axis = "y" if column == 1 else "y2"
        drawn = style.reach((trace for trace in figure.data if trace.yaxis == axis), "y")
        figure.update_yaxes(**style.time_axis(title, values=drawn), col=column)
    figure.update_layout(legend={"y": 1.1}, margin={"t": 84})
    if rows.empty:
        style.say(figure, f"{data.id} holds no resolves")
    return figure


def _add_batches(figure: go.Figure, rows: pd.DataFrame, state: str) -> None:
    _add_state(figure, rows, state, [float(kib) for kib in rows.piece_kib], "ns_per_page", 1)


def _add_split(figure: go.Figure, rows: pd.DataFrame, state: str) -> None:
    rows = rows.sort_values("pass")
    _add_state(figure, rows, state, [0.0 if one == "first" else 1.0 for one in rows["pass"]], "ns_per_call", 2)


def _add_state(figure: go.Figure, rows: pd.DataFrame, state: str, x: list[float], measure: str, column: int) -> None:
    colour, symbol, name = _STATES[state]
    figure.add_scatter(
        x=x,
        y=rows[measure].tolist(),
        error_y=style.interval(rows, measure),
        mode="lines+markers",
        line={"color": colour, "width": 1},
        marker=style.marker(colour, symbol, 9),
        name=name,
        legendgroup=name,
        showlegend=name not in {trace.name for trace in figure.data},
        customdata=[name] * len(rows),
        hovertext=style.times(rows, measure),
        text=[f"n = {n} of {c} processes" for n, c in zip(rows.n, rows.children, strict=True)],
        hovertemplate=style.HOVER,
        row=1,
        col=column,
    )


# --- equal states ----------------------------------------------------------------------------------------------------

_WAYS = ("markers, read", "read loop", "MADV_POPULATE_READ")


def plot_equality(data: Dataset) -> go.Figure:
    """Draw, per backing and way of populating, the share of pages in the state of markers that were read."""
    rows = summaries.df_equality(data)
    rows = rows[(rows.pages > 0) & rows.backing.isin(list(BACKINGS))]
    rows = rows.assign(share=rows.equal_pages / rows.pages * 100)
    backings = [name for name in BACKINGS if (rows.backing == name).any()]
    names = [f"{BACKINGS[b].short}: {way}" for b in backings for way in _WAYS]
    said = {
        f"{BACKINGS[r.backing].short}: {r.way}": (float(r.share), r.states, int(r.pages))
        for r in summaries.records(rows)
    }
    known = [name for name in names if name in said]
    figure = go.Figure()
    figure.add_bar(
        x=[said[name][0] for name in known],
        y=known,
        orientation="h",
        marker={"color": style.BLUE, "line": {"color": style.BLUE, "width": 1}},
        text=[said[name][1] for name in known],
        textposition=["inside" if said[name][0] > 50 else "outside" for name in known],
        insidetextanchor="start",
        customdata=known,
        hovertext=[f"{said[name][0]:.4g} % of {said[name][2]:,} pages" for name in known],
        hovertemplate=style.HOVER,
        cliponaxis=False,
    )
    caption = (
        "Share of base pages whose pagemap flags and PAGEMAP_SCAN categories are those that markers have after a read; "
        "the states found stand on the bars. Counted page by page in one process."
    )
    style.styled(figure, caption, [data.origin()], (150 + 34 * max(3, len(known)), 640), {"x": "%"})
    figure.update_xaxes(
        title_text="of the pages are in the same state, %", range=[0, 130], tickvals=[0, 25, 50, 75, 100]
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(showlegend=False)
    if not known:
        style.say(figure, f"{data.id} holds no comparison of states")
    return figure
