# SPDX-License-Identifier: MIT
"""Figure of a simulated background snapshot: page tables and events of each design while the guest runs."""

from __future__ import annotations

from typing import get_args

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from uffdlab import sim
from uffdlab.figures import style
from uffdlab.figures.predicted import dash_of, look_of, origins_of
from uffdlab.sim.snapshot import STEPS, Saver
from uffdlab.units import format_size

SAVERS: tuple[str, ...] = get_args(Saver)
DESIGNS = ("preread", "pte_marker", "pmd_marker", "pud_marker")
_SPAN_BYTES = 4 << 30
_CLUSTER_PAGES = 512
_BYTES_PER_S = 1e9
_MARKED = 8  # points of a line that have a symbol


def plot_snapshot(
    costs: sim.Costs, saver: str = "reads everything", populated: float = 0.25, writes_per_s: float = 1000
) -> go.Figure:
    """Draw page tables and events during a snapshot of 4 GiB, ``populated`` (0 to 1) in clusters of 2 MiB, while the
    guest writes ``writes_per_s`` pages a second and 1 GB/s is saved; the stop time is in the legend.
    """
    memory = sim.Workload(_SPAN_BYTES, populated, _CLUSTER_PAGES)
    snapshot = sim.Snapshot(memory, saver, writes_per_s, _BYTES_PER_S)  # type: ignore[arg-type]
    titles = ("page tables", "events: writes that a handler receives")
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, horizontal_spacing=0.16)
    for design in DESIGNS:
        story = sim.run_snapshot(sim.DESIGNS[design], snapshot)
        colour, symbol, name = look_of(design)
        stop = costs.in_unit("ns").price(story.stop)
        moments = story.moments[::2]  # a page holds them for every setting of its controls
        for col, values, unit in (
            (1, [moment.tables_kib / 1024 for moment in moments], "MiB of page tables"),
            (2, [moment.events for moment in moments], "events"),
        ):
            figure.add_scatter(
                x=[round(moment.elapsed_s, 4) for moment in moments],
                y=values,
                mode="lines+markers",
                line={"color": colour, "width": 2, "dash": dash_of(design)},
                marker=style.marker(colour, f"{symbol}-open", 9) | {"maxdisplayed": _MARKED},
                name=f"{name}: stops {style.time_in_words(stop.value, stop.low, stop.high)}",
                legendgroup=design,
                showlegend=col == 1,
                customdata=[moment.saved_kib >> 10 for moment in moments],
                hovertemplate=f"<b>{name}</b><br>%{{y:,.5~g}} {unit}<br>%{{customdata:,}} MiB saved<extra></extra>",
                row=1,
                col=col,
            )
    caption = (
        f"Predicted: {format_size(_SPAN_BYTES)}, of which {populated:.0%} is written beforehand in clusters of 2 MiB, "
        f"is protected while the guest stands still, then saved at 1 GB/s in {STEPS} steps. Holes are empty entries "
        "and markers, not zeropages. Tables and events are counted; the time is the device's. Only how long the guest "
        "stands still (in the legend) is a price."
    )
    units = {"x": "s", "x2": "s", "y": "MiB", "y2": "1"}
    style.styled(figure, caption, origins_of(costs), (460, 700), units)
    figure.update_xaxes(title_text="since the guest runs again (s)", rangemode="tozero")
    figure.update_yaxes(title_text="MiB", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(rangemode="tozero", row=1, col=2)
    figure.update_layout(legend={"y": 1.12}, margin={"t": 96})
    return figure
