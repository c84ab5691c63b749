# SPDX-License-Identifier: MIT
"""Figures of the covert channel through the shared zeropage: load latencies, capacity, designs and bounds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import histogram, style
from uffdlab.summaries.transmissions import LEVEL
from uffdlab.units import format_ratio
from uffdlab.vocabulary import channel as vocabulary
from uffdlab.vocabulary.channel import PLACEMENTS as _TITLES
from uffdlab.vocabulary.channel import POINT, SHARED
from uffdlab.vocabulary.looks import BOUND_SYMBOL

PLACEMENTS = {title: placement for placement, title in _TITLES.items()}
MEMORIES = {name: memory.title for name, memory in vocabulary.MEMORIES.items()}
SHOWN = ("capacity", "share of wrong bits")
COUNTED = {
    "a 1 is the faster load": "faster_kbit_s",
    "a 1 is the slower load": "slower_kbit_s",
}
ZEROPAGES = {vocabulary.MEMORIES[name].short: name for name in vocabulary.ZEROPAGES}
_LIFTS = {("same", "faster"): 0.22, ("same", "slower"): 0.22, ("cross", "faster"): 0.0, ("cross", "slower"): -0.22}


def plot_channel_loads(data: Dataset, memory: str = "zeropage", placement: str = "one CPU") -> go.Figure:
    """Draw log-binned histograms of load latencies in cycles, by the sent bit, over those of the calibration, of the
    first sample of each child at the registered point.
    """
    figure = go.Figure()
    name = {title: known for known, title in MEMORIES.items()}.get(memory, memory)
    rows, threshold, drawn = _loads(data, name, PLACEMENTS[placement])
    for kind, (colour, dash, label) in vocabulary.LOADS.items():
        here = rows[rows.kind == kind]
        line = {"color": colour, "dash": dash, "width": 3 if dash == "solid" else 2, "shape": "hvh"}
        fill = "tozeroy" if kind == "sent 1" else None
        histogram.add_steps(figure, here.cycles, here.loads, "cycles", "loads", name=label, line=line, fill=fill)
    caption = f"Loads of the first sample of each child at the registered point, by what was sent in their slot.{drawn}"
    style.styled(figure, caption, [data.origin()], (380, 480), {"x": "cycles", "y": "%"})
    histogram.label_times(figure, "a load took (cycles)", 40, 16_000, _CYCLES)
    figure.update_yaxes(title_text="share of loads (%)")
    if rows.empty:
        style.annotate(figure, f"{data.id} holds no loads of this memory")
    elif threshold > 0:
        figure.add_vline(x=threshold, line={"color": style.GREEN, "width": 2, "dash": "dashdot"})
        label = f"threshold (median)<br>{threshold:,.0f} cycles"
        where = {"x": np.log10(threshold), "xref": "x", "xanchor": "left", "xshift": 6, "align": "left"}
        figure.add_annotation(text=label, y=1, yref="paper", yanchor="top", showarrow=False, **where)
    return figure


_CYCLES = [50, 100, 200, 500, 1000, 2000, 5000, 10_000]


def _loads(data: Dataset, memory: str, placement: str) -> tuple[pd.DataFrame, float, str]:
    """Return loads by kind and cycles at the registered point, the median threshold, and a sentence for the caption.

    Samples of shared memory are of two kinds; those of the more frequent kind are returned.
    """
    known = [*POINT, "block", "sample", "threshold_cycles", "slower"]
    sent = data.rows("channels", known).dropna(subset=known)
    sent = sent[sent["sample"] == 0]
    here = sent[(sent.memory == memory) & (sent.placement == placement)]
    quiet = here[here.silent.astype(bool)]
    points = set(zip(quiet.slot_ns, quiet.lines, strict=True))
    at = here[~here.silent.astype(bool)]
    if points:
        at_these = [point in points for point in zip(at.slot_ns, at.lines, strict=True)]
        at = at[pd.Series(at_these, index=at.index, dtype=bool)]
    loads = data.rows("channel_latencies", ["block", "kind", "cycles", "loads"]).dropna()
    drawn = ""
    if memory in SHARED and len(at):
        slower = bool(at.slower.mean() > 0.5)
        kind = at[at.slower.astype(bool) == slower]
        drawn = f" Drawn: {len(kind)} of {len(at)}, those in which a 1 is the {'slower' if slower else 'faster'} load."
        at = kind
    kept = loads[loads.block.isin(set(at.block)) & (loads.cycles > 0)]
    return kept, float(at.threshold_cycles.median()) if len(at) else 0.0, drawn


def plot_capacity(
    data: Dataset,
    placement: str = "one CPU",
    counted: str = "a 1 is the faster load",
    beside: Dataset | None = None,
) -> go.Figure:
    """Draw capacity in kbit/s over slot length, for the zeropage and the huge zeropage, with bands of intervals and the
    limit of one flush and reload per bit; ``counted`` selects the samples, one of ``COUNTED``. Of ``beside``, points.
    """
    frame = _sent(data, placement)
    column = COUNTED[counted]
    figure = go.Figure()
    for label, memory in ZEROPAGES.items():
        colour, symbol, _ = vocabulary.ZEROPAGES[memory]
        rows = frame[(frame.memory == memory) & frame[column].notna()].sort_values("slot_ns")
        if rows.empty:
            continue
        rows = rows.assign(us=rows.slot_ns / 1000)
        us = rows.us.tolist()
        known = rows[rows[f"{column}_low"].notna()]  # with an interval
        at, low, high = (known[name].tolist() for name in ("us", f"{column}_low", f"{column}_high"))
        figure.add_scatter(x=at + at[::-1], y=high + low[::-1], mode="lines", line={"width": 0}, fill="toself",
                           fillcolor=_faint(colour), hoverinfo="skip", name=f"{label}: 95 % interval")  # fmt: skip
        figure.add_scatter(x=us, y=rows[column].tolist(), mode="lines+markers", line={"color": colour, "width": 2},
                           marker=style.marker(colour, symbol), name=label, customdata=[label] * len(rows),
                           hovertext=_rates(rows, column), text=_counted(rows), hovertemplate=style.HOVER)  # fmt: skip
        figure.add_scatter(x=us, y=rows.limit_kbit_s.tolist(), mode="lines", name=f"{label}: limit",
                           line={"color": colour, "dash": "dot", "width": 2},
                           hovertemplate="a flush and reload per bit: %{y:,.0f} kbit/s")  # fmt: skip
        chosen = rows[rows.registered]
        if len(chosen):
            figure.add_scatter(x=(chosen.slot_ns / 1000).tolist(), y=chosen[column].tolist(), mode="markers",
                               marker={"symbol": "octagon-open", "size": 20, "color": colour, "line": {"width": 2}},
                               name=f"{label}: registered point", hoverinfo="skip")  # fmt: skip
    what = f"Samples in which {counted}: medians over children"
    caption = f"{what}. Dotted: one flush and reload per bit. Rings: registered before. No band: fewer than six."
    drawn = beside is not None and _add_capacity_beside(figure, beside, placement, column)
    caption += style.whose_marks(data, beside, drawn, "such samples")
    origins = [data.origin(), *style.origin_beside(beside)]
    style.styled(figure, caption, origins, (440, 520), {"x": "µs", "y": "kbit/s"})
    ticks = [6, 8, 10, 15, 20, 30, 40, 60, 100]
    figure.update_xaxes(type="log", title_text="length of a slot (µs)", tickvals=ticks, ticktext=list(map(str, ticks)))
    figure.update_yaxes(title_text="capacity (kbit/s)", rangemode="tozero")
    if not figure.data:
        style.annotate(figure, f"{data.id} holds no such points")
    return figure


def _sent(data: Dataset, placement: str) -> pd.DataFrame:
    """Return the points at which a sender sends."""
    frame = summaries.df_channels(data)
    return frame[(frame.placement == PLACEMENTS[placement]) & ~frame.silent.astype(bool)]


def _add_capacity_beside(figure: go.Figure, beside: Dataset, placement: str, column: str) -> bool:
    """Draw the points of a second dataset with their intervals. Return whether it has any."""
    if "channels" not in beside.tables:
        return False
    frame = _sent(beside, placement)
    drawn = False
    for label, memory in ZEROPAGES.items():
        rows = frame[(frame.memory == memory) & frame[column].notna()].sort_values("slot_ns")
        if rows.empty:
            continue
        figure.add_scatter(x=(rows.slot_ns / 1000).tolist(), y=rows[column].tolist(), mode="markers",
                           error_y=style.interval(rows, column), name=beside.label, legendgroup=beside.label,
                           marker=style.marker(style.BESIDE_COLOUR, style.BESIDE_SYMBOL, 9), showlegend=not drawn,
                           customdata=[f"{label}, {beside.label}"] * len(rows), hovertext=_rates(rows, column),
                           text=_counted(rows), hovertemplate=style.HOVER)  # fmt: skip
        drawn = True
    return drawn


def plot_designs(data: Dataset, shown: str = "capacity") -> go.Figure:
    """Draw capacity in kbit/s, or the share of wrong bits, of memory prepared by each design, on one CPU and on two, at
    registered points. Where the test detects no channel, a triangle marks its bound.
    """
    frame = summaries.df_channels(data)
    rate = shown == "capacity"
    frame = frame[~frame.silent.astype(bool) & frame.registered.astype(bool)]
    figure = go.Figure()
    names = [name for name in MEMORIES if name in set(frame.memory)]
    for (placement, kind), (label, (colour, symbol, _)) in vocabulary.ENDS.items():
        lift = _LIFTS[placement, kind]
        rows = frame[(frame.placement == placement) & frame.memory.isin(names)]
        measure = "kbit_s" if rate else "error"
        parts = [(rows[(rows.p < LEVEL) & rows[f"{kind}_{measure}"].notna()], f"{kind}_{measure}", False)]
        if kind == "faster":  # without a channel there is one kind
            parts.append((rows[rows.p >= LEVEL], measure, True))
        for part, column, null in parts:
            if part.empty:
                continue
            bound = rate and null
            place = label.partition(",")[0]
            figure.add_scatter(
                x=(part.below_kbit_s if bound else part[column]).tolist(),
                y=[lift - names.index(memory) for memory in part.memory],
                error_x=None if bound else style.interval(part, column),
                mode="markers",
                marker=style.marker(colour, BOUND_SYMBOL if bound else f"{symbol}-dot" if null else symbol),
                name=f"{place}: no channel detected" + (", below" if bound else "") if null else label,
                customdata=[MEMORIES[memory] for memory in part.memory],
                hovertext=[f"p = {p:.3g}" for p in part.p] if bound else _rates(part, column),
                text=_counted(part),
                hovertemplate=style.HOVER,
            )
    caption = "Registered points: medians over children, with intervals. " + (
        "Triangles to the left: no channel detected, below that." if rate else "Dotted: no channel detected."
    )
    style.styled(figure, caption, [data.origin()], (560, 620), {"x": "kbit/s" if rate else "1"})
    if rate:
        drawn = style.log_range(style.reach(figure.data, "x"))
        figure.update_xaxes(type="log", title_text="capacity (kbit/s)", range=drawn)
        ticks = [10.0**power for power in range(-3, 5)]
        figure.update_xaxes(tickvals=ticks, ticktext=[format_ratio(tick) for tick in ticks])
    else:
        figure.update_xaxes(title_text="share of bits that arrive wrong (0.5: chance)", range=[-0.02, 1.02])
    figure.update_yaxes(tickvals=[-row for row in range(len(names))], ticktext=[MEMORIES[name] for name in names])
    figure.update_yaxes(range=[0.6 - max(1, len(names)), 0.6])
    if not figure.data:
        style.annotate(figure, f"{data.id} holds no such points")
    return figure


def plot_regimes(data: Dataset, placement: str = "two CPUs") -> go.Figure:
    """Draw the capacity in kbit/s of every sample of the registered points of the two zeropages, in measured order.

    Samples are of three kinds: a 1 is the faster load, or the slower one, or no bits pass (an asterisk).
    """
    samples = summaries.df_samples(data)
    samples = samples[samples.registered.astype(bool)]
    samples = samples[(samples.placement == PLACEMENTS[placement]) & ~samples.silent.astype(bool)]
    figure = go.Figure()
    for label, memory in ZEROPAGES.items():
        colour, symbol, _ = vocabulary.ZEROPAGES[memory]
        rows = samples[samples.memory == memory].reset_index(drop=True)
        passes, slower = rows.passes.astype(bool), rows.slower.astype(bool)
        for kind, looks, words in (
            (passes & ~slower, symbol, "a 1 is the faster load"),
            (passes & slower, vocabulary.SLOWER_SYMBOL, "a 1 is the slower load"),
            (~passes, vocabulary.SILENT_SYMBOL, "no bits pass"),
        ):
            part = rows[kind]
            if part.empty:
                continue
            figure.add_scatter(
                x=(part.index + 1).tolist(),
                y=part.kbit_s.tolist(),
                mode="markers",
                marker=style.marker(colour, looks, 9),
                name=f"{label}, {words}: {len(part)} of {len(rows)}",
                hovertext=[f"child {b}, sample {n}: p = {p:.3g}"
                           for b, n, p in zip(part.block, part["sample"], part.p, strict=True)],
                hovertemplate="%{y:,.0f} kbit/s<br>%{hovertext}",
            )  # fmt: skip
    caption = "One point per sample. An asterisk: on its own it does not differ from chance (p not below 0.01)."
    style.styled(figure, caption, [data.origin()], (400, 480), {"x": "1", "y": "kbit/s"})
    figure.update_xaxes(title_text="sample, in the order measured")
    top = max((value for trace in figure.data for value in trace.y), default=1.0)
    figure.update_yaxes(title_text="capacity (kbit/s)", range=[-0.06 * top, 1.08 * top])
    if not figure.data:
        style.annotate(figure, f"{data.id} holds no such samples")
    return figure


def _rates(rows: pd.DataFrame, column: str) -> list[str]:
    rates = []
    for row in rows.to_dict("records"):
        low, high = row[f"{column}_low"], row[f"{column}_high"]
        between = "" if pd.isna(low) or pd.isna(high) else f" ({low:.3g} to {high:.3g})"
        unit = " kbit/s" if column.endswith("kbit_s") else " of bits wrong"
        rates.append(f"{row[column]:.3g}{between}{unit}, p = {row['p']:.3g}")
    return rates


def _counted(rows: pd.DataFrame) -> list[str]:
    return [f"{p} of {s} samples pass; {c} children" for p, s, c in zip(rows.passing, rows.samples, rows.children,
                                                                      strict=True)]  # fmt: skip


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"
