# SPDX-License-Identifier: MIT
"""Figures of later faults: time per touch after each preparation, latency distributions, TLB shootdowns of threads."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style, tails
from uffdlab.vocabulary.entries import ENTRIES
from uffdlab.vocabulary.looks import Look
from uffdlab.vocabulary.strides import STRIDES
from uffdlab.vocabulary.threads import THREADS

_TOUCHES = ("first read", "first write")
APART = tuple(STRIDES.values())
_ROW, _ROW_OF_TWO = 28, 36  # pixels of a row, with one dataset and with two
_BESIDE_LIFT = -0.3  # of such a row


def _drawable(data: Dataset) -> pd.DataFrame:
    """Return the faults of one thread on anonymous memory, preparations under THP renamed."""
    rows = summaries.df_faults(data)
    rows = rows[(rows.threads == 1) & (rows.backing != "shmem")].copy()
    rows.loc[(rows.backing == "anon_thp") & (rows.preparation != "huge_zeropage"), "preparation"] += ", THP"
    return rows


def plot_faults(data: Dataset, beside: Dataset | None = None, apart: str = APART[0]) -> go.Figure:
    """Draw the time of a first read and a first write after each preparation; ``apart`` is a stride of ``APART``."""
    rows = _drawable(data)
    other = _drawable(beside) if beside else rows[:0]
    both = len(other) > 0
    known = {key for one in (rows, other) for key in zip(one.preparation, one.delivery, strict=True)}
    looks = [key for key in ENTRIES if key in known]
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, subplot_titles=_TOUCHES, horizontal_spacing=0.03)
    for column, touch in enumerate(_TOUCHES, start=1):
        for touches, whose in ((rows, data), (other, beside)):
            chosen = touches[(touches.stride_kib.map(STRIDES) == apart) & (touches.touch == touch)]
            if len(chosen):
                _add_points(figure, chosen, looks, column, whose if both else None, beside=touches is other)
    caption = (
        "Anonymous memory, one pinned thread; warm samples, median over processes with 95 % interval. An event is "
        "resolved by a handler thread on the same CPU, an async fault by the kernel. Both axes logarithmic."
    )
    caption += style.whose_marks(data, beside, both, "later faults")
    origins = [data.origin(), *style.origin_beside(beside)]
    style.styled(
        figure,
        caption,
        origins,
        (170 + (_ROW_OF_TWO if both else _ROW) * max(4, len(looks)), 680),
        {"x": "ns", "x2": "ns"},
    )
    reached = style.spanned(rows, "ns_per_touch") + style.spanned(other, "ns_per_touch")
    figure.update_xaxes(**style.time_axis("time of one touch", every=2, values=reached))
    names = [ENTRIES[key].title for key in looks]
    places = [-row for row in range(len(looks))]
    figure.update_yaxes(tickvals=places, ticktext=names, range=[0.5 - max(1, len(looks)), 0.5])
    figure.update_layout(showlegend=both)
    if both:  # above the titles of the panels
        figure.update_layout(legend={"yref": "container", "y": 1, "yanchor": "top"}, margin={"t": 60})
    if all(trace.legendgroup == "beside" for trace in figure.data):
        style.annotate(figure, f"{data.id} holds no later faults, {apart}")
    return figure


def _add_points(
    figure: go.Figure, rows: pd.DataFrame, looks: list[Any], column: int, whose: Dataset | None, *, beside: bool
) -> None:
    drawn = [key in looks for key in zip(rows.preparation, rows.delivery, strict=True)]
    rows = rows[pd.Series(drawn, index=rows.index, dtype=bool)]
    if rows.empty:
        return
    keys = list(zip(rows.preparation, rows.delivery, strict=True))
    colours = [style.BESIDE_COLOUR if beside else ENTRIES[key].look.colour for key in keys]
    symbols = [style.BESIDE_SYMBOL if beside else ENTRIES[key].look.symbol for key in keys]
    group = "beside" if beside else "measured"
    named: dict[str, Any] = {"name": "measured"}
    if whose:
        shown = any(trace.legendgroup == group for trace in figure.data)
        named = {"name": whose.label, "legendgroup": group, "showlegend": not shown}
    counts = [_counts_in_words(*counts) for counts in _counts(rows)]
    figure.add_scatter(
        x=rows.ns_per_touch.tolist(),
        y=[_BESIDE_LIFT * beside - looks.index(key) for key in keys],
        error_x=style.interval(rows, "ns_per_touch") | {"color": style.GREY},  # it cannot have several
        mode="markers",
        marker={
            "color": colours,
            "symbol": symbols,
            "size": 11,
            "line": {"color": "rgba(255,255,255,0.9)", "width": 1},
        },
        **named,
        customdata=[ENTRIES[key].title for key in keys],
        hovertext=style.times(rows, "ns_per_touch"),
        text=[f"{a}<br>{b}" for a, b in zip(counts, _n(rows), strict=True)],
        hovertemplate=style.HOVER,
        row=1,
        col=column,
    )


def _counts_in_words(faults: float, ipis: float, events: float) -> str:
    """Return the known counts of a touch as text."""
    counts = ((faults, ".3g", "faults"), (ipis, ".2g", "IPIs"), (events, ".2g", "events"))
    known = [f"{count:{form}} {what}" for count, form, what in counts if not pd.isna(count)]
    return f"{', '.join(known)} a touch" if known else "counts a touch: not known"


def _counts(rows: pd.DataFrame) -> Any:
    return zip(rows.faults_per_touch, rows.ipis_per_touch.fillna(float("nan")), rows.events_per_touch, strict=True)


def _n(rows: pd.DataFrame) -> list[str]:
    return [f"n = {n} of {children} processes" for n, children in zip(rows.n, rows.children, strict=True)]


# --- latencies of single touches -------------------------------------------------------------------------------------

_SPREAD = [key for key in ENTRIES if key[0] in ("fresh", "tables", "zeropage", "markers", "missing_wp")]


def plot_latencies(data: Dataset, touch: str = "first write", apart: str = APART[0]) -> go.Figure:
    """Draw the share of touches that took longer than a time, by preparation; ``apart`` is a stride of ``APART``."""
    figure = go.Figure()
    [stride] = (stride for stride, label in STRIDES.items() if label == apart)
    spread = summaries.df_latencies(data, stride, touch)
    spread = spread[spread.backing == "anon"]
    for key in _SPREAD:
        rows = spread[(spread.preparation == key[0]) & (spread.delivery == key[1])]
        if len(rows):
            tails.add_tail(figure, rows, *ENTRIES[key], many="touches")
    caption = f"Single {touch}s of anonymous memory, one thread, warm samples of all processes together."
    tails.lay_out(figure, caption, data, one="touch", many="touches")
    if not figure.data:
        style.annotate(figure, f"{data.id} holds no latencies of single touches, {apart}")
    return figure


# --- threads ---------------------------------------------------------------------------------------------------------

_THREADED = [
    ("fresh", "plain"),
    ("tables", "plain"),
    ("zeropage", "plain"),
    ("zeropage", "async"),
    ("markers", "async"),
]


def plot_threads(data: Dataset, touch: str = "first write") -> go.Figure:
    """Draw the time and the TLB shootdown IPIs of a first write, by one thread and by two."""
    rows = summaries.df_faults(data)
    rows = rows[(rows.backing == "anon") & (rows.stride_kib == 4) & (rows.touch == touch)]
    titles = ("time of a touch", "interrupts per touch")
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.04)
    for (threads, together), (label, look) in THREADS.items():
        chosen = rows[(rows.threads == threads) & (rows.together == together)]
        wanted = [key in _THREADED for key in zip(chosen.preparation, chosen.delivery, strict=True)]
        chosen = chosen[pd.Series(wanted, index=chosen.index, dtype=bool)]
        for column, measure in ((1, "ns_per_touch"), (2, "ipis_per_touch")):
            _add_threads(figure, chosen[chosen[measure].notna()], measure, column, label, look)
    caption = (
        f"Each {touch} of a page of anonymous memory; pinned threads, warm samples, median over processes with 95 % "
        "interval. Interrupts are TLB shootdowns of the whole machine (the TLB line of /proc/interrupts)."
    )
    style.styled(figure, caption, [data.origin()], (430, 680), {"x": "ns", "x2": "interrupts per touch"})
    times = style.reach((trace for trace in figure.data if trace.xaxis == "x"), "x")
    figure.update_xaxes(**style.time_axis("per touch and thread", values=times), col=1)
    figure.update_xaxes(title_text="TLB shootdown interrupts per touch", rangemode="tozero", col=2)
    names = [ENTRIES[key].title for key in _THREADED]
    figure.update_yaxes(tickvals=[-row for row in range(len(names))], ticktext=names, range=[0.6 - len(names), 0.6])
    figure.update_layout(legend={"y": 1.1}, margin={"t": 84})
    if rows.empty:
        style.annotate(figure, f"{data.id} holds no {touch}s by threads")
    return figure


def _add_threads(figure: go.Figure, rows: pd.DataFrame, measure: str, column: int, label: str, look: Look) -> None:
    keys = list(zip(rows.preparation, rows.delivery, strict=True))
    is_time = measure == "ns_per_touch"
    figure.add_scatter(
        x=rows[measure].tolist(),
        y=[-_THREADED.index(key) for key in keys],
        error_x=style.interval(rows, measure),
        mode="markers",
        marker=style.marker(look.colour, look.symbol, 9),
        name=label,
        legendgroup=label,
        showlegend=column == 1,
        customdata=[f"{ENTRIES[key].title}, {label}" for key in keys],
        hovertext=style.times(rows, measure) if is_time else [f"{ipis:.3g} interrupts" for ipis in rows[measure]],
        text=_n(rows),
        hovertemplate=style.HOVER,
        row=1,
        col=column,
    )
