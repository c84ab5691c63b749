# SPDX-License-Identifier: MIT
"""Figures of predicted costs of designs: hollow markers with bands; measured points are filled."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from uffdlab import sim, summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style
from uffdlab.sim import Costs
from uffdlab.units import format_ns, format_size
from uffdlab.vocabulary.backings import BACKINGS
from uffdlab.vocabulary.designs import COMPOSED, DESIGNS


def look_of(design: str) -> tuple[str, str, str]:
    """Return colour, symbol and name of a design; one that is not in the vocabulary is grey under its own name."""
    known = DESIGNS.get(design)
    return (known.look.colour, known.look.symbol, known.short) if known else (COMPOSED.colour, COMPOSED.symbol, design)


def dash_of(design: str) -> str:
    """Return the dash of a design's line."""
    return (DESIGNS[design].look if design in DESIGNS else COMPOSED).dash


def origins_of(costs: Costs) -> list[str]:
    """Return the origin lines of predicted times: their error, and the origin of the costs."""
    return [f"predicted: {costs.in_unit('ns').words()}", costs.origin]


def _add_predicted(figure: go.Figure, rows: pd.DataFrame, x: str, design: str, text: list[str], **where: Any) -> None:
    colour, _, name = look_of(design)
    known = rows[rows.cost_low.notna() & rows.cost_high.notna()]  # with an interval
    style.add_band(figure, known, x, colour, 0.15, legendgroup=name, **where)
    times = style.times(rows, "cost")
    _add_line(figure, design, rows[x], rows.cost, hovertext=times, text=text, name=f"{name} (predicted)", **where)


def _add_line(figure: go.Figure, design: str, x: pd.Series, y: pd.Series, **more: Any) -> None:
    colour, symbol, name = look_of(design)
    figure.add_scatter(
        x=x.tolist(),
        y=y.tolist(),
        mode="lines+markers",
        line={"color": colour, "width": 1.5, "dash": dash_of(design)},
        marker=style.marker(colour, f"{symbol}-open", 9),
        legendgroup=name,
        customdata=[name] * len(x),
        hovertemplate=style.HOVER,
        **more,
    )


def plot_stop_time(
    costs: Costs,
    data: Dataset | None = None,
    designs: sim.sweeps.Designs = sim.sweeps.ANONYMOUS,
    beside: Dataset | None = None,
) -> go.Figure:
    """Draw the predicted time to protect empty memory against its size, with measured points, also of ``beside``."""
    figure = go.Figure()
    frame = sim.df_stop_time(costs, designs)
    for design, rows in frame.groupby("design", sort=False):
        tables = [f"{format_size(kib * 1024)} of page tables" for kib in rows.tables_kib]
        _add_predicted(figure, rows, "gib", str(design), tables)
    origins = origins_of(costs)
    both = False
    if data is not None:
        both = beside is not None and "samples" in beside.tables
        _add_measured(figure, data, frame, whose=data if both else None)
        origins.append(f"measured: {data.origin()}")
    drawn = beside is not None and _add_measured(figure, beside, frame, beside=beside.label)
    caption = (
        "Untouched anonymous memory, THP off: pre-faulting (where the design does) and one "
        "UFFDIO_WRITEPROTECT. Filled: measured, markers above the last level on hugetlb. Hollow: predicted; the band "
        "holds the costs that the data allows, and the error of predictions. Costs were fitted on points of 1, 16 and "
        "256 GiB, among others. Both axes logarithmic."
    )
    if data is not None:
        caption += style.whose_marks(data, beside, drawn, "samples of empty memory")
    origins += style.origin_beside(beside)
    style.styled(figure, caption, origins, (660 if both else 520, 640), {"x": "GiB", "y": "ns"})
    figure.update_xaxes(**style.size_axis("size of the range"))
    figure.update_yaxes(**style.time_axis("to prepare and protect", every=2, values=style.reach(figure.data, "y")))
    return figure


# Proxies that the kernel has: empty hugetlb has markers at its own level.
_PROXIES = {"pmd_marker": "hugetlb_2m_private", "pud_marker": "hugetlb_1g_private"}


def _add_measured(
    figure: go.Figure, data: Dataset, frame: pd.DataFrame, *, whose: Dataset | None = None, beside: str | None = None
) -> bool:
    """Draw the points measured of each design; ``beside`` labels those of a second dataset. Return whether any are."""
    if "samples" not in data.tables:
        return False
    drawn = 0
    points = summaries.df_warm(data)
    points = points[points.populated == 0]
    for design in frame.design.unique():
        backing, measured = _PROXIES.get(design, "anon"), "unprotected" if design in _PROXIES else design
        rows = points[(points.backing == backing) & (points.design == measured)]
        if rows.empty:
            continue
        colour, symbol, name = look_of(design)
        name += f", by proxy: {BACKINGS[backing].short}" if design in _PROXIES else ""
        looks: dict[str, Any] = {
            "name": style.named(f"{name} (measured)", whose),
            "legendgroup": name,
            "marker": style.marker(colour, symbol, 9),
        }
        if beside is not None:
            marker = style.marker(style.BESIDE_COLOUR, style.BESIDE_SYMBOL, 9)
            looks = {"name": beside, "legendgroup": beside, "showlegend": not drawn, "marker": marker}
        drawn += 1
        figure.add_scatter(
            x=(rows.size_kib / (1 << 20)).tolist(),
            y=rows.total_ns.tolist(),
            error_y=style.interval(rows, "total_ns"),
            mode="markers",
            **looks,
            customdata=[name] * len(rows),
            hovertext=style.times(rows, "total_ns"),
            text=style.origin(rows),
            hovertemplate=style.HOVER,
        )
    return drawn > 0


def plot_touched(
    costs: Costs, designs: sim.sweeps.Designs = ("wp_zeropage", "pte_marker", "pmd_marker", "pud_marker")
) -> go.Figure:
    """Draw total work and page tables against the share of an empty GiB's 2 MiB ranges with one page written."""
    frame = sim.df_touched(costs, designs)
    titles = ("all work: protecting and writing", "page tables")
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, horizontal_spacing=0.14)
    for design, rows in frame.groupby("design", sort=False):
        shares = [f"{touched:.0%} of 2 MiB ranges written in" for touched in rows.touched]
        rows = rows.assign(percent=rows.touched * 100)
        _add_predicted(figure, rows, "percent", str(design), shares, row=1, col=1)
        sizes = [format_size(kib * 1024) for kib in rows.tables_kib]
        right: dict[str, Any] = {"showlegend": False, "row": 1, "col": 2}
        _add_line(figure, str(design), rows.percent, rows.tables_kib, hovertext=sizes, text=shares, **right)
    caption = (
        "1 GiB of empty anonymous memory, protected as a whole; then one page is written in the given share of its "
        "2 MiB ranges. "
        "Where two lines cross on the left is the break-even. Tables are counted, not priced: they are exact."
    )
    style.styled(figure, caption, origins_of(costs), (480, 700), {"x": "%", "x2": "%", "y": "ns", "y2": "KiB"})
    figure.update_xaxes(title_text="2 MiB ranges written in, %", range=[-4, 104])
    top = max(style.reach(figure.data[:-1], "y"), default=0.0)
    ticks = style.round_ticks(top)
    figure.update_yaxes(tickvals=ticks, ticktext=[format_ns(tick) for tick in ticks], rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title_text="KiB", rangemode="tozero", row=1, col=2)
    figure.update_layout(legend={"y": 1.12}, margin={"t": 96})
    return figure
