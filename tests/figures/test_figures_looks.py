# SPDX-License-Identifier: MIT
"""In all figures and widgets each look is used for one thing, and each thing has one look."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import plotly.graph_objects as go

from uffdlab import datasets, figures, sim
from uffdlab.vocabulary import looks
from uffdlab.vocabulary.looks import BOUND_SYMBOL
from uffdlab.widgets import DesignExplorer, PageTableView
from uffdlab.widgets.base import asset

# What figures call a thing besides its name in the vocabulary, and why.
SAME = {
    # One entry is read or written there, with or without an event: the design sets them in a range.
    "marker, async": "PTE markers",
    "marker": "PTE markers",
    # A method of tracking, and the design it protects with; the other methods protect with the same.
    "not tracked": "nothing",
    "PAGEMAP_SCAN (WP_ASYNC)": "PTE markers, async",
    # Samples of the same memory: those in which a 1 is the slower load look different.
    "zeropage, a 1 is the faster load": "zeropage",
    "huge zeropage, a 1 is the faster load": "huge zeropage",
}
# What follows a name and says how the number came about.
BESIDE = re.compile(
    r"^predicted: | \((predicted|measured)\)$|, by proxy: .*$|: (stops .*|limit|\d.*|none lost, at most|no channel.*)$"
)
Look = tuple[str, ...]


@cache
def _figures() -> dict[str, go.Figure]:
    """Return every figure of the committed data, at its default and at other states."""
    load = {
        name: datasets.load(datasets.locate(name))
        for name in ("reference-", "channel-2026-11-28", "mthp-", "published", "trackers-", "sequences-", "scale-")
    }
    data, channel, mthp, published, trackers, sequences, scale = load.values()
    priced = sim.load_costs()
    found = {
        "zeropages": figures.plot_zeropages(data),
        "resolve": figures.plot_resolve(data),
        "atomicity": figures.plot_atomicity(data),
        "occupancy": figures.plot_occupancy(data),
        "tracking": figures.plot_tracking(data),
        "skip": figures.plot_skip(data),
        "guest": figures.plot_guest(data, data),
        "published": figures.plot_published(published, data, mthp, 10),
        "stop time": figures.plot_stop_time(priced, data),
        "touched": figures.plot_touched(priced),
        "faults": figures.plot_faults(data),
    }
    for touch in ("first write", "first read"):
        found |= {f"threads, {touch}": figures.plot_threads(data, touch)}
        found |= {f"latencies, {touch}, {one}": figures.plot_latencies(data, touch, one) for one in figures.APART}
    found |= {f"trackers, {one}": figures.plot_trackers(trackers, None, one) for one in figures.TRACKER_COSTS}
    found |= {f"costs, {one}": figures.plot_tracker_costs(trackers, cost=one) for one in figures.OBJECTIVES}
    found["writes, 10%"] = figures.plot_tracker_latencies(trackers)
    found |= {f"sequences, {one}": figures.plot_sequences(sequences, "", one) for one in figures.SEQUENCES_BEFORE}
    for measure in figures.SCALE_MEASURES:
        found |= {f"scale, {one}, {measure}": figures.plot_scale(scale, one, None, measure) for one in figures.SCALES}
    found |= {f"snapshot, {one}": figures.plot_snapshot(priced, one) for one in figures.SAVERS}
    found |= {f"designs, {one}": figures.plot_designs(channel, one) for one in figures.SHOWN}
    found |= {f"written, {one}": figures.plot_reveals(channel, one, "private") for one in figures.STATES}
    for placement in figures.PLACEMENTS:
        found[f"regimes, {placement}"] = figures.plot_regimes(channel, placement)
        found |= {f"capacity, {placement}, {c}": figures.plot_capacity(channel, placement, c) for c in figures.COUNTED}
        found |= {f"message, {m}": figures.plot_message(channel, m, placement) for m in figures.ZEROPAGES}
        for memory in figures.MEMORIES.values():
            found[f"loads, {memory}, {placement}"] = figures.plot_channel_loads(channel, memory, placement)
    return found


def _seen(figure: go.Figure) -> Iterator[tuple[str, Look]]:
    """Yield what a figure's legend names, and how that looks: as points, as a line, or as a bar."""
    for trace in figure.data:
        if not trace.name or trace.showlegend is False or trace.type not in ("scatter", "bar"):
            continue
        if "no channel detected" in trace.name:  # dotted, or a triangle: what was not found
            continue
        name = BESIDE.sub("", trace.name)
        if trace.type == "bar":
            yield name, ("bar", trace.marker.color, str(trace.marker.pattern.shape))
        elif "markers" not in trace.mode:
            if trace.line.width != 0 and not trace.name.endswith(": limit"):
                yield name, ("line", trace.line.color, trace.line.dash)
        else:
            if not isinstance(trace.marker.color, str):  # each point is of its row
                yield from _rows(figure, trace)
                continue
            symbols = {trace.marker.symbol} if isinstance(trace.marker.symbol, str) else set(trace.marker.symbol or ())
            for symbol in {re.sub("-(open|open-dot)$", "", one) for one in symbols} - {BOUND_SYMBOL}:
                yield name, ("point", trace.marker.color, symbol)


def _rows(figure: go.Figure, trace: go.Scatter) -> Iterator[tuple[str, Look]]:
    """Yield what the rows of a figure are called, where each has a look of its own."""
    names = dict(zip(figure.layout.yaxis.tickvals, figure.layout.yaxis.ticktext, strict=True))
    for y, colour, symbol in zip(trace.y, trace.marker.color, trace.marker.symbol, strict=True):
        yield names[round(y)], ("point", colour, symbol)


def _in_widgets() -> Iterator[tuple[str, Look]]:
    """Yield the looks that widgets draw designs, parts of work and page-table entries with (see widgets.css)."""
    explorer, tables = DesignExplorer(), PageTableView()
    for design in explorer.designs:
        yield design["title"], ("point", design["colour"], design["symbol"])
    for rank, colour in enumerate(explorer.parts):
        yield f"part {rank}", ("bar", colour, "None")
    for kind, name, pattern in (("marker", "marked", "/"), ("zeropage", "zeropage", "."), ("page", "present", "None")):
        yield name, ("bar", tables.colours[kind], pattern)


def _walked() -> Iterator[tuple[str, str, Look]]:
    for name, look in _in_widgets():
        yield "widgets", name, look
    for title, figure in _figures().items():
        for name, look in _seen(figure):
            yield title, name, look


def test_walk_covers_every_figure_and_kind_of_look() -> None:
    met = list(_walked())
    drawn = {title for title, figure in _figures().items() if figure.data}
    assert {title for title, _, _ in met} == drawn | {"widgets"}
    assert {look[0] for _, _, look in met} == {"point", "line", "bar"}
    assert len({name for _, name, _ in met}) > 50
    assert set(SAME) - {name for _, name, _ in met} == set(), "a name that no figure uses"
    walked = re.findall(r"figures\.(plot_\w+)\(", Path(__file__).read_text(encoding="utf-8"))
    assert {name for name in figures.__all__ if name.startswith("plot_")} == set(walked)


def test_each_look_is_used_for_one_thing() -> None:
    things = defaultdict(lambda: defaultdict(set))
    for title, name, look in _walked():
        things[look][SAME.get(name, name)].add(title)
    assert {look: dict(names) for look, names in things.items() if len(names) > 1} == {}


def test_each_thing_has_one_look() -> None:
    found = defaultdict(lambda: defaultdict(set))
    for title, name, look in _walked():
        found[look[0], SAME.get(name, name)][look].add(title)
    assert {name: dict(known) for name, known in found.items() if len(known) > 1} == {}


def test_scripts_and_style_sheet_of_widgets_define_no_looks() -> None:
    palette = {*looks.PARTS, *(one for one in vars(looks).values() if isinstance(one, str) and one.startswith("#"))}
    for name in ("widgets.css", "design_explorer.js", "page_table_view.js", "explore.js"):
        assert palette.isdisjoint(re.findall("#[0-9A-F]{6}", asset(name).upper())), name


def test_parts_differ_in_grey() -> None:
    greys = [sum(w * int(part[i : i + 2], 16) for w, i in ((0.3, 1), (0.59, 3), (0.11, 5))) for part in looks.PARTS]
    assert all(light - dark > 20 for light, dark in pairwise(greys))
