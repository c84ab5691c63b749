# SPDX-License-Identifier: MIT
"""DataFrame in, plotly figure out; one visual language.

Measured is a filled marker with its 95 % interval, predicted a hollow marker with a dashed band, published a cross,
unavailable a sentence. Colour (Okabe–Ito) never carries a meaning alone: position, shape or a label carries it too, so
that every figure reads in grey. ``layout.meta`` holds the caption and the origin line that a page sets beneath.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.units import format_ns, format_size

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, GREY = "#56B4E9", "#CC79A7", "#777777"

DESIGN_LOOK = {
    "unprotected": (GREY, "triangle-up", "nothing<br>(unprotected)"),
    "preread": (VERMILLION, "circle", "read loop,<br>then protect"),
    "populate_read": (ORANGE, "square", "MADV_POPULATE_READ,<br>then protect"),
    "pte_marker": (BLUE, "diamond", "PTE markers<br>(WP_UNPOPULATED)"),
    "missing_wp": (PURPLE, "pentagon", "MISSING|WP, nothing filled"),
    "async": (SKY, "hexagon", "PTE markers, async"),
}
BACKING_LOOK = {
    "anon": (BLUE, "circle", "anonymous, PTE markers"),
    "anon_thp": (SKY, "hexagon", "anonymous, THP on"),
    "shmem": (GREEN, "square", "shmem, PTE markers"),
    "hugetlb_2m_private": (VERMILLION, "diamond", "hugetlb 2 MiB, PMD level"),
    "hugetlb_2m_shared": (ORANGE, "diamond-tall", "hugetlb 2 MiB, shared"),
    "hugetlb_1g_private": (PURPLE, "triangle-up", "hugetlb 1 GiB, PUD level"),
    "hugetlb_1g_shared": (GREY, "triangle-down", "hugetlb 1 GiB, shared"),
}
PUBLISHED_SYMBOL, HERE_SYMBOL, HERE_COLOUR = "x-thin-open", "star", "#808080"
_GRID, _FINE_GRID = "rgba(128,128,128,0.25)", "rgba(128,128,128,0.11)"
_FONT = 'system-ui, -apple-system, "Segoe UI", "Liberation Sans", Roboto, sans-serif'
_HOVER = "<b>%{customdata}</b><br>%{hovertext}<br>%{text}"


def _figure(
    figure: go.Figure, caption: str, origins: list[str], size: tuple[int, int], units: dict[str, str]
) -> go.Figure:
    """Give a figure the house style, its caption and the line that says where its numbers come from.

    ``size`` is the height and the least width: a narrower page scrolls the figure inside itself instead of squeezing
    it further. ``units`` are those of the plotted numbers, by axis, for whoever takes the data.
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
        meta={"caption": caption, "origin": " | ".join(origins), "min_width": min_width, "units": units},
    )
    axes = {"gridcolor": _GRID, "zeroline": False, "automargin": True, "title_font_size": 13, "ticks": ""}
    figure.update_xaxes(**axes)
    figure.update_yaxes(**axes)
    figure.update_annotations(font_size=13)
    return figure


def _slider(steps: Sequence[dict[str, Any]], prefix: str, active: int = 0, pad: int = 70) -> list[dict[str, Any]]:
    """Return the figure's slider. A page draws it as an input of its own, JupyterLab as plotly's."""
    if len(steps) < 2:
        return []
    return [{"steps": list(steps), "active": active, "currentvalue": {"prefix": prefix}, "pad": {"t": pad}}]


def _log_range(values: Iterable[float]) -> list[float] | None:
    """Return the range of a logarithmic axis that holds the values, so that moving a slider does not move the axis."""
    logs = [math.log10(value) for value in values if value > 0]
    return [min(logs) - 0.25, max(logs) + 0.25] if logs else None


_UNITS = ("ns", "µs", "ms", "s")
_DECADES = {10**power: f"{10 ** (power % 3)} {_UNITS[power // 3]}" for power in range(12)} | {10**12: "1000 s"}


def _time_axis(title: str, every: int = 1) -> dict[str, Any]:
    """Return a logarithmic axis for values in ns: a line per decade, a label with its unit at ``every`` so many."""
    labelled = list(_DECADES)[::every]
    minor = {"tickvals": list(_DECADES), "showgrid": True, "gridcolor": _FINE_GRID, "ticks": ""}
    ticks = {"tickvals": labelled, "ticktext": [_DECADES[ns] for ns in labelled]}
    return {"type": "log", "title_text": title, "minor": minor} | ticks


def _size_axis(title: str) -> dict[str, Any]:
    """Return a logarithmic axis for values in GiB, ticks at powers of four."""
    gib = [4**power for power in range(-2, 7)]
    ticks = {"tickvals": gib, "ticktext": [format_size(one * 2**30) for one in gib]}
    return {"type": "log", "title_text": title, "minor": {"ticks": ""}} | ticks


def _interval(frame: pd.DataFrame, column: str) -> dict[str, Any]:
    """Return plotly error bars from ``column`` and its ``_low`` and ``_high``; a missing interval draws none."""
    value = frame[column].astype(float)
    high, low = frame[f"{column}_high"].astype(float), frame[f"{column}_low"].astype(float)
    bars = {"array": (high - value).fillna(0).tolist(), "arrayminus": (value - low).fillna(0).tolist()}
    return bars | {"type": "data", "symmetric": False, "thickness": 1.5, "width": 4}


def _reach(traces: Iterable[Any], axis: str) -> list[float]:
    """Return how far the points and their intervals reach along ``axis``, x or y."""
    reached = []
    for trace in traces:
        bars, values = trace[f"error_{axis}"], trace[axis]
        for value, up, down in zip_longest(values, bars.array or (), bars.arrayminus or (), fillvalue=0):
            reached += [value - down, value + up]
    return reached


def _say(figure: go.Figure, sentence: str) -> None:
    """Say in the figure what it cannot draw, and why."""
    where = {"x": 0.5, "y": 0.97, "xref": "paper", "yref": "paper", "yanchor": "top"}
    figure.add_annotation(text=sentence, showarrow=False, **where)


def _times(frame: pd.DataFrame, column: str) -> list[str]:
    """Return each value in words, with its interval where there is one: what a pointer held over it shows."""
    rows = zip(frame[column], frame[f"{column}_low"], frame[f"{column}_high"], strict=True)
    return [_time(*row) for row in rows]


def _time(value: float, low: float | None, high: float | None) -> str:
    known = low is not None and high is not None and not (math.isnan(low) or math.isnan(high))
    return format_ns(value) + (f" ({format_ns(low)} to {format_ns(high)})" if known else "")  # type: ignore[arg-type]


def _origin(rows: pd.DataFrame) -> list[str]:
    """Return how many samples are behind each row, and at which size."""
    return [f"n = {n}, measured at {format_size(kib * 1024)}" for n, kib in zip(rows.n, rows.size_kib, strict=True)]


def _marker(colour: str, symbol: str, size: int = 11) -> dict[str, Any]:
    return {"color": colour, "symbol": symbol, "size": size, "line": {"color": colour, "width": 2}}


# --- the published table ---------------------------------------------------------------------------------------------

_MODES = ["unprotected", "preread", "populate_read", "pte_marker"]
_PANELS = (
    ("THP off for this memory", ("madvise", "never"), "anon"),
    ("THP on", ("always",), "anon_thp"),
    ("THP not recorded", ("unknown",), None),
)
_AUTHOR_LOOK = {
    "xu-vm": (GREEN, "published: Peter Xu"),
    "anjum-first": (VERMILLION, "published: M. Usama Anjum"),
    "anjum-madvise": (VERMILLION, "published: M. Usama Anjum"),
    "anjum-always": (VERMILLION, "published: M. Usama Anjum"),
}


_ROWS = {mode: -row for row, mode in enumerate(_MODES)}
_PUBLISHED_LIFT, _HERE_LIFT = 0.2, -0.2  # so that a cross never hides the point it is compared with
_TABLE_GIB = 10  # the thread's size
_TOTALS_GIB = [1, 10, 64, 256, 1024]


def plot_published(published: Dataset, data: Dataset, here: Dataset | None = None) -> go.Figure:
    """Draw the thread's table beside what was measured: time to prepare and protect untouched memory, by THP state."""
    titles = [title for title, _, _ in _PANELS]
    figure = make_subplots(
        rows=1, cols=3, shared_yaxes=True, shared_xaxes="all", subplot_titles=titles, horizontal_spacing=0.025
    )
    table = summaries.df_published(published)
    for column, (_, states, backing) in enumerate(_PANELS, start=1):
        _add_published(figure, table[table.thp.isin(states)], column)
        if backing:
            _add_measured(figure, data, backing, column, "measured", BLUE, "circle", 0)
        if backing and here:
            _add_measured(figure, here, backing, column, "this machine", HERE_COLOUR, HERE_SYMBOL, _HERE_LIFT)
    caption = (
        "Crosses: published, one sample each. Filled: measured, median with 95 % interval. Times are restated "
        "for the size that the slider sets: in proportion, save for doing nothing, which costs the same at any size."
    )
    origins = [data.origin(), published.origin()] + ([f"this machine: {here.origin()}"] if here else [])
    _figure(figure, caption, origins, (500, 700), {"x": "ns", "x2": "ns", "x3": "ns"})
    drawn = [x * gib / _TABLE_GIB for x in _reach(figure.data, "x") for gib in _TOTALS_GIB]
    figure.update_xaxes(**_time_axis("to prepare and protect", every=3), range=_log_range(drawn))
    names = [DESIGN_LOOK[mode][2] for mode in _MODES]
    figure.update_yaxes(tickvals=list(_ROWS.values()), ticktext=names, range=[min(_ROWS.values()) - 0.5, 0.5])
    steps = [_total_step(figure, gib) for gib in _TOTALS_GIB]
    slider = _slider(steps, "untouched memory to protect: ", _TOTALS_GIB.index(_TABLE_GIB))
    figure.update_layout(sliders=slider, legend={"y": 1.1}, margin={"t": 74})
    return figure


def _total_step(figure: go.Figure, gib: int) -> dict[str, Any]:
    growth = [[summaries.growth_with_size(d, _TABLE_GIB, gib) for d in trace.customdata] for trace in figure.data]
    both = list(zip(figure.data, growth, strict=True))
    moved: dict[str, Any] = {"x": [_multiplied(trace.x, by) for trace, by in both]}
    for bar in ("array", "arrayminus"):
        moved[f"error_x.{bar}"] = [_multiplied(trace.error_x[bar], by) for trace, by in both]
    moved["hovertext"] = [[format_ns(x) for x in xs] for xs in moved["x"]]
    return {"method": "restyle", "args": [moved], "label": format_size(gib << 30)}


def _multiplied(values: Iterable[float] | None, by: Iterable[float]) -> list[float]:
    return [value * factor for value, factor in zip(values or (), by, strict=False)]


def _add_published(figure: go.Figure, table: pd.DataFrame, column: int) -> None:
    shown = {trace.name for trace in figure.data}
    for source, rows in table.groupby("source"):
        colour, name = _AUTHOR_LOOK[str(source)]
        times = rows.total_ns.astype(float).tolist()
        marker = {"symbol": PUBLISHED_SYMBOL, "color": colour, "size": 10, "line": {"color": colour, "width": 3}}
        figure.add_scatter(
            x=times,
            y=[_ROWS[design] + _PUBLISHED_LIFT for design in rows.design],
            mode="markers",
            marker=marker,
            name=name,
            legendgroup=name,
            legendrank=1001,
            showlegend=name not in shown,
            customdata=list(rows.design),
            hovertext=[format_ns(ns) for ns in times],
            text=[f"{us:,} µs for 10 GiB" for us in rows.protect_us],
            hovertemplate=_HOVER,
            row=1,
            col=column,
        )


def _add_measured(
    figure: go.Figure, data: Dataset, backing: str, column: int, name: str, colour: str, symbol: str, lift: float
) -> None:
    rows = summaries.df_at_size(data, backing, _TABLE_GIB << 20)
    rows = rows[rows.design.isin(_MODES)]
    figure.add_scatter(
        x=rows.total_ns.tolist(),
        y=[_ROWS[design] + lift for design in rows.design],
        error_x=_interval(rows, "total_ns"),
        mode="markers",
        marker=_marker(colour, symbol, 10),
        name=name,
        legendgroup=name,
        showlegend=column == 1,
        customdata=list(rows.design),
        hovertext=[format_ns(ns) for ns in rows.total_ns],
        text=_origin(rows),
        hovertemplate=_HOVER,
        row=1,
        col=column,
    )


# --- what skipping saves ---------------------------------------------------------------------------------------------

_SKIP_BACKINGS = ["anon", "shmem", "hugetlb_2m_private", "hugetlb_2m_shared", "hugetlb_1g_private"]
_SKIP_NAMES = {
    "anon": "anonymous 4 KiB",
    "shmem": "shmem",
    "hugetlb_2m_private": "hugetlb 2 MiB, private",
    "hugetlb_2m_shared": "hugetlb 2 MiB, shared",
    "hugetlb_1g_private": "hugetlb 1 GiB, private",
}
# What a hypervisor would do instead of populating: nothing where features 0 protects, markers where they are needed.
_SKIP_DESIGN = {"anon": "pte_marker"}


_SKIP_KIB = 1 << 20  # all points of the figure are of ranges of this size


def plot_skip(data: Dataset, here: Dataset | None = None) -> go.Figure:
    """Draw time and memory of populating first against not populating, by backing; a slider moves the fraction.

    A quick measurement of this machine has untouched memory only, and is shown only beside that.
    """
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.04)
    points = _skip_points(data)
    fractions = sorted(points.populated.unique())
    mine = _skip_points(here) if here else points[:0]
    shown_at: list[float] = []  # which fraction each trace belongs to
    for fraction in fractions:
        for rows, whose in ((points, False), (mine, True)):
            at_fraction = rows[rows.populated == fraction]
            if whose and at_fraction.empty:
                continue
            for populating in (True, False):
                _add_skip(figure, at_fraction, populating, fraction == fractions[0], here=whose)
        shown_at += [fraction] * (len(figure.data) - len(shown_at))
    steps = [_fraction_step(shown_at, fraction) for fraction in fractions]
    size = format_size(_SKIP_KIB * 1024)
    caption = f"{size} of each backing, warm samples. Left: time (logarithmic). Right: memory filled."
    origins = [data.origin()] + ([f"this machine: {here.origin()}"] if here else [])
    _figure(figure, caption, origins, (500, 640), {"x": "ns", "x2": "MiB"})
    drawn = _log_range(_reach((trace for trace in figure.data if trace.xaxis == "x"), "x"))
    figure.update_xaxes(**_time_axis("to prepare and protect", every=3), range=drawn, col=1)
    figure.update_xaxes(title_text="filled, MiB", range=[-45, 1110], col=2)
    names = [_SKIP_NAMES[b] for b in _SKIP_BACKINGS]
    figure.update_yaxes(tickvals=[-row for row in range(len(names))], ticktext=names, range=[0.5 - len(names), 0.5])
    if not fractions:
        _say(figure, f"{data.id} holds no samples of {size}")
    figure.update_layout(sliders=_slider(steps, "written beforehand: "))
    return figure


def _add_skip(figure: go.Figure, points: pd.DataFrame, populating: bool, visible: bool, here: bool = False) -> None:
    wanted = {b: "preread" if populating else _SKIP_DESIGN.get(b, "unprotected") for b in _SKIP_BACKINGS}
    rows = points[points.backing.map(wanted) == points.design]
    places = [_HERE_LIFT * here - _SKIP_BACKINGS.index(b) for b in rows.backing]
    # Of two sizes, so that both are seen where they meet.
    colour, symbol, size = (VERMILLION, "circle", 13) if populating else (BLUE, "diamond", 7)
    label = "populate, then protect" if populating else "protect only"
    if here:
        colour, symbol, label = HERE_COLOUR, HERE_SYMBOL if populating else "star-diamond", f"this machine: {label}"
    shared = {"y": places, "mode": "markers", "visible": visible, "legendgroup": label, "name": label}
    shared |= {"customdata": [_SKIP_NAMES[b] for b in rows.backing], "text": _origin(rows), "hovertemplate": _HOVER}
    marker = _marker(colour, symbol, 10 if here else size)
    figure.add_scatter(
        x=rows.total_ns.tolist(),
        error_x=_interval(rows, "total_ns"),
        hovertext=_times(rows, "total_ns"),
        marker=marker,
        row=1,
        col=1,
        **shared,
    )
    memory = ((rows.filled_kib + rows.table_kib) / 1024).tolist()
    said = [f"{mib:.4g} MiB" for mib in memory]
    figure.add_scatter(x=memory, hovertext=said, marker=marker, showlegend=False, row=1, col=2, **shared)


def _skip_points(data: Dataset) -> pd.DataFrame:
    points = summaries.df_warm(data)
    return points[(points.size_kib == _SKIP_KIB) & points.backing.isin(_SKIP_BACKINGS)]


def _fraction_step(shown_at: Sequence[float], fraction: float) -> dict[str, Any]:
    visible = [one == fraction for one in shown_at]
    return {"method": "restyle", "args": [{"visible": visible}], "label": f"{fraction:.0%}"}


# --- what an entry costs ---------------------------------------------------------------------------------------------

_GUEST_GIB = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]
_GUEST_START = _GUEST_GIB.index(1024)  # beyond what was measured, so that a reader sees a prediction first


def plot_guest(data: Dataset, costs: Dataset, here: Dataset | None = None) -> go.Figure:
    """Draw the time to protect an empty range against its size; a slider sets a guest's RAM and predicts for it."""
    figure = go.Figure()
    for backing, rows in summaries.df_marker_times(data).groupby("backing"):
        _add_marker_times(figure, rows, str(backing), None)
    if here:
        for backing, rows in summaries.df_marker_times(here).groupby("backing"):
            _add_marker_times(figure, rows, str(backing), "this machine")
    measured = len(figure.data)
    entry_costs = summaries.df_entry_costs(costs)
    for cost in summaries.records(entry_costs):
        _add_prediction(figure, cost, _GUEST_GIB[_GUEST_START])
    steps = [_guest_step(entry_costs, gib, measured) for gib in _GUEST_GIB]
    caption = (
        "Filled: measured on empty ranges, median with 95 % interval. Hollow: predicted for the RAM that the slider "
        "sets, linear in the entries from the largest measured size. Both axes logarithmic."
    )
    origins = [data.origin()] + ([f"costs: {costs.origin()}"] if costs.id != data.id else [])
    origins += [f"this machine: {here.origin()}"] if here else []
    _figure(figure, caption, origins, (540, 620), {"x": "GiB", "y": "ns"})
    largest = [_prediction(cost, _GUEST_GIB[-1]) for cost in summaries.records(entry_costs)]
    times = _reach(figure.data, "y") + [one["y"][0] + up for one in largest for up in one["up"]]
    sizes = _reach(figure.data, "x") + ([_GUEST_GIB[-1]] if largest else [])
    figure.update_xaxes(**_size_axis("size of the empty range"), range=_log_range(sizes))
    figure.update_yaxes(**_time_axis("one UFFDIO_WRITEPROTECT"), range=_log_range(times))
    if largest:
        figure.update_layout(sliders=_slider(steps, "guest RAM: ", active=_GUEST_START))
    else:
        _say(figure, f"{costs.id} measured each backing at one size: nothing to predict from")
    return figure


def _add_marker_times(figure: go.Figure, rows: pd.DataFrame, backing: str, whose: str | None) -> None:
    colour, symbol, name = BACKING_LOOK[backing]
    marker = _marker(HERE_COLOUR, HERE_SYMBOL, 9) if whose else _marker(colour, symbol)
    figure.add_scatter(
        x=(rows.size_kib / 1048576).tolist(),
        y=rows.protect_ns.tolist(),
        error_y=_interval(rows, "protect_ns"),
        mode="markers" if whose else "lines+markers",
        line={"color": colour, "width": 1},
        marker=marker,
        name=whose or name,
        legendgroup=whose or name,
        showlegend=whose is None or backing == "anon",
        customdata=[f"{name}, {format_size(kib * 1024)}" for kib in rows.size_kib],
        hovertext=_times(rows, "protect_ns"),
        text=[f"n = {row.n}, tables {row.table_kib:g} KiB" for row in summaries.records(rows)],
        hovertemplate=_HOVER,
    )


def _prediction(cost: Any, gib: int) -> dict[str, Any]:
    value, low, high = summaries.predict_protect_ns(cost, gib * 1048576)
    said = [_time(value, low, high)]
    return {"x": [gib], "y": [value], "up": [high - value], "down": [value - low], "said": said}


def _add_prediction(figure: go.Figure, cost: Any, gib: int) -> None:
    colour, symbol, name = BACKING_LOOK[cost.backing]
    at = _prediction(cost, gib)
    bars = {"type": "data", "symmetric": False, "array": at["up"], "arrayminus": at["down"], "width": 9}
    figure.add_scatter(
        x=at["x"],
        y=at["y"],
        error_y=bars | {"color": colour, "thickness": 1},
        mode="markers",
        marker=_marker(colour, f"{symbol}-open", 17),
        name=f"predicted: {name}",
        showlegend=False,
        customdata=[name],
        hovertext=at["said"],
        text=["predicted"],
        hovertemplate=_HOVER,
    )


def _guest_step(entry_costs: pd.DataFrame, gib: int, first: int) -> dict[str, Any]:
    at = [_prediction(cost, gib) for cost in summaries.records(entry_costs)]
    moved = {
        "x": [one["x"] for one in at],
        "y": [one["y"] for one in at],
        "error_y.array": [one["up"] for one in at],
        "error_y.arrayminus": [one["down"] for one in at],
        "hovertext": [one["said"] for one in at],
    }
    traces = list(range(first, first + len(at)))
    return {"method": "restyle", "args": [moved, traces], "label": format_size(gib << 30)}
