# SPDX-License-Identifier: MIT
"""The visual language of all figures: layout, axes, error bars and markers.

Measured is a filled marker with its 95 % interval, predicted a hollow marker with a dashed band, published a cross,
unavailable a sentence, a second dataset a grey star. Colour (Okabe–Ito) never carries a meaning alone: position, shape
or a label carries it too, so that every figure reads in grey. ``layout.meta`` holds the caption and the origin line
that a page sets beneath.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from uffdlab.datasets import Dataset
from uffdlab.figures.offline import MODEBAR
from uffdlab.units import format_ns, format_size, with_interval
from uffdlab.vocabulary.looks import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION
from uffdlab.vocabulary.origins import BESIDE, ORIGINS

__all__ = ["BLUE", "GREEN", "GREY", "ORANGE", "PURPLE", "SKY", "VERMILLION"]

BESIDE_COLOUR, BESIDE_SYMBOL, _ = ORIGINS[BESIDE]
_GRID, _FINE_GRID = "rgba(128,128,128,0.25)", "rgba(128,128,128,0.11)"
_FONT = 'system-ui, -apple-system, "Segoe UI", "Liberation Sans", Roboto, sans-serif'
HOVER = "<b>%{customdata}</b><br>%{hovertext}<br>%{text}"


def styled(
    figure: go.Figure, caption: str, origins: list[str], size: tuple[int, int], units: dict[str, str]
) -> go.Figure:
    """Set the layout, the caption and the origin line of a figure.

    ``size`` is the height and the least width, below which a page scrolls the figure. ``units`` are those of the
    plotted numbers, by axis, for exports of the data.
    """
    height, min_width = size
    figure.update_layout(
        template="none",
        title=None,
        height=height,
        margin={"l": 10, "r": 20, "t": 44, "b": 48},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 13, "family": _FONT},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        hoverlabel={"align": "left"},
        modebar=MODEBAR,
        meta={"caption": caption, "origin": " | ".join(origins), "min_width": min_width, "units": units},
    )
    # plotly measures overflowing labels by laying them out; ours have room, since margins grow.
    axes = {"gridcolor": _GRID, "zeroline": False, "automargin": True, "title_font_size": 13, "ticks": "",
            "ticklabeloverflow": "allow"}  # fmt: skip
    figure.update_xaxes(**axes)
    figure.update_yaxes(**axes)
    figure.update_annotations(font_size=13)
    return figure


def log_range(values: Iterable[float]) -> list[float] | None:
    """Return the range of a logarithmic axis that holds the values."""
    logs = [math.log10(value) for value in values if 0 < value < math.inf]
    return [min(logs) - 0.25, max(logs) + 0.25] if logs else None


_UNITS = ("ns", "µs", "ms", "s")
_FEW_DECADES = 2.2
_DECADES = {10**power: f"{10 ** (power % 3)} {_UNITS[power // 3]}" for power in range(12)} | {10**12: "1000 s"}


def time_axis(title: str, every: int = 1, values: Iterable[float] = ()) -> dict[str, Any]:
    """Return a logarithmic axis for values in ns: a line per decade, a label with its unit at each ``every``-th.

    With ``values`` the axis spans them; where that is little more than a decade, 2 and 5 are labelled.
    """
    reached = log_range(values)
    names = _DECADES
    if reached and reached[1] - reached[0] < _FEW_DECADES:
        names = {ns * times: format_ns(ns * times) for ns in _DECADES for times in (1, 2, 5)}
    labelled = list(names)[::every]
    minor = {"tickvals": list(names), "showgrid": True, "gridcolor": _FINE_GRID, "ticks": ""}
    ticks = {"tickvals": labelled, "ticktext": [names[ns] for ns in labelled]}
    return {"type": "log", "title_text": title, "minor": minor} | ticks | ({"range": reached} if reached else {})


def round_ticks(top: float) -> list[float]:
    """Return ticks of a linear axis from 0 to beyond ``top``, 1, 2 or 5 times a power of ten apart; 0 without one."""
    if not (0 < top < math.inf):
        return [0.0]
    power = 10.0 ** math.floor(math.log10(top))
    step = power * next(part for part in (0.2, 0.5, 1, 2) if top / (power * part) <= 7)
    return [number * step for number in range(int(top / step) + 2)]


def size_axis(title: str) -> dict[str, Any]:
    """Return a logarithmic axis for values in GiB, ticks at powers of four."""
    gib = [4**power for power in range(-2, 7)]
    ticks = {"tickvals": gib, "ticktext": [format_size(tick * 2**30) for tick in gib]}
    return {"type": "log", "title_text": title, "minor": {"ticks": ""}} | ticks


def interval(frame: pd.DataFrame, column: str) -> dict[str, Any]:
    """Return plotly error bars from ``column`` and its ``_low`` and ``_high``; a missing interval draws none."""
    value = frame[column].astype(float)
    high, low = frame[f"{column}_high"].astype(float), frame[f"{column}_low"].astype(float)
    bars = {"array": (high - value).fillna(0).tolist(), "arrayminus": (value - low).fillna(0).tolist()}
    return bars | {"type": "data", "symmetric": False, "thickness": 1.5, "width": 4}


def add_band(figure: go.Figure, rows: pd.DataFrame, x: str, colour: str, opacity: float, **more: Any) -> None:
    """Add the band of predicted costs between ``cost_low`` and ``cost_high`` over the column ``x``."""
    at, highs, lows = rows[x].tolist(), rows.cost_high.tolist(), rows.cost_low.tolist()
    figure.add_scatter(
        x=at + at[::-1],
        y=highs + lows[::-1],
        fill="toself",
        mode="lines",
        line={"width": 0, "color": colour},
        opacity=opacity,
        hoverinfo="skip",
        showlegend=False,
        **more,
    )


def reach(traces: Iterable[Any], axis: str) -> list[float]:
    """Return how far the points and their intervals reach along ``axis``, x or y."""
    reached = []
    for trace in traces:
        bars, values = trace[f"error_{axis}"], trace[axis]
        for value, up, down in zip_longest(values, bars.array or (), bars.arrayminus or (), fillvalue=0):
            reached += [] if value is None or math.isnan(value) else [value - down, value + up]
    return reached


def spanned(frame: pd.DataFrame, column: str) -> list[float]:
    """Return how far ``column`` of a frame reaches with its intervals, drawn or not."""
    return [float(v) for part in ("", "_low", "_high") for v in frame[f"{column}{part}"].dropna()]


def annotate(figure: go.Figure, sentence: str) -> None:
    """Add a sentence on what the figure cannot draw, and why."""
    where = {"x": 0.5, "y": 0.97, "xref": "paper", "yref": "paper", "yanchor": "top"}
    figure.add_annotation(text=sentence, showarrow=False, **where)


def times(frame: pd.DataFrame, column: str) -> list[str]:
    """Return the hover text of each value: a time, with its interval where there is one."""
    rows = zip(frame[column], frame[f"{column}_low"], frame[f"{column}_high"], strict=True)
    return [time_in_words(*row) for row in rows]


def time_in_words(value: float, low: float | None, high: float | None) -> str:
    """Return a time as text, with its interval where there is one."""
    return with_interval(value, low, high, format_ns)


def origin(rows: pd.DataFrame) -> list[str]:
    """Return the number of samples and processes of each row, and its size, as text."""
    counted = zip(rows.n, rows.children, rows.size_kib, strict=True)
    return [f"n = {n} of {c} processes, measured at {format_size(kib * 1024)}" for n, c, kib in counted]


def marker(colour: str, symbol: str, size: int = 11) -> dict[str, Any]:
    """Return a plotly marker; a symbol that ends in ``-open`` is hollow."""
    return {"color": colour, "symbol": symbol, "size": size, "line": {"color": colour, "width": 2}}


# --- a second dataset beside the first --------------------------------------------------------------------------------

BESIDE_LIFT = -0.2  # keeps points of the second dataset off those they are compared with


def named(thing: str, whose: Dataset | None) -> str:
    """Return what a legend calls a thing: by itself, or where two datasets are drawn, as that of one of them."""
    return f"{whose.label}: {thing}" if whose else thing


def whose_marks(data: Dataset, beside: Dataset | None, drawn: bool, what: str, marks: str = "stars") -> str:
    """Return the end of a caption: whose the marks are, or that the second dataset has no ``what`` to be drawn."""
    if beside is None:
        return ""
    if not drawn:
        return f" Nothing is drawn of {beside.label}, which holds no {what}."
    return f" Grey {marks}: {beside.label}; all else that was measured: {data.label}."


def origin_beside(beside: Dataset | None) -> list[str]:
    """Return the part of the origin line that names the second dataset, if there is one."""
    if beside is None:
        return []
    return [f"stars: {beside.origin()}" if beside.label == beside.id else f"{beside.label} (stars): {beside.origin()}"]
