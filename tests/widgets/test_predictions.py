# SPDX-License-Identifier: MIT
"""Every control that predicts a number, at every place it can be put to: what it says holds what was measured there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import nbformat
import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latency import latencies
from making import ROOT
from synthetic import dataset, sample
from widget_pages import random_designs

from uffdlab import datasets, figures, sim, summaries
from uffdlab.datasets import Dataset
from uffdlab.widgets import DesignExplorer, Slider
from uffdlab.widgets.explore import Explorer

DECADE = 10.0
GIB = 1 << 30
NOTEBOOKS = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if "Slider(" in path.read_text("utf-8")]


@cache
def reference() -> Dataset:
    return datasets.load(datasets.locate(None))


# --- the widgets of the notebooks, and every place of their controls -------------------------------------------------


@cache
def widgets_of(path: Path) -> list[Any]:
    """Return the widgets that a notebook shows, made as it makes them: nothing else of it is run."""
    space: dict[str, Any] = {}
    shown = []
    for cell in nbformat.read(path, as_version=4).cells:
        wanted = ("parameters" in cell.metadata.get("tags", [])) or re.search(r"import |load|widgets\.", cell.source)
        if cell.cell_type != "code" or not wanted:
            continue
        *body, last = ast.parse(cell.source).body
        exec(compile(ast.Module(body, []), path.name, "exec"), space)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), path.name, "eval"), space))
        else:
            exec(compile(ast.Module([last], []), path.name, "exec"), space)
    return [one for one in shown if isinstance(one, Explorer | DesignExplorer)]


def places(slider: Slider) -> list[float]:
    """Return the values that a page has of a slider, and one between each two."""
    values = slider.values()
    between = [(a * b) ** 0.5 if slider.log else (a + b) / 2 for a, b in pairwise(values)]
    return sorted([*values, *between])


def drawn(explorer: Explorer) -> Iterator[tuple[dict[str, Any], go.Figure]]:
    """Yield the figure at every place that a page has of the controls, and at those between with the others unmoved."""
    words = {name: axis.values for name, axis in explorer.known.items() if not isinstance(axis, Slider)}
    sliders = {name: axis for name, axis in explorer.known.items() if isinstance(axis, Slider)}
    grid = words | {name: axis.values() for name, axis in sliders.items()}
    points = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    points += [
        explorer.state | dict(zip(words, chosen, strict=True)) | {name: value}
        for name, axis in sliders.items()
        for value in places(axis)
        for chosen in product(*words.values())
    ]
    for point in points:
        yield point, explorer.fn(**point)


# --- what a figure says of an interval -------------------------------------------------------------------------------

_NS = {"ns": 1.0, "µs": 1e3, "ms": 1e6, "s": 1e9}
_TIME = r"([0-9.e+]+) (ns|µs|ms|s)"
_TIME_WITH_INTERVAL = re.compile(rf"{_TIME} \({_TIME} to {_TIME}\)")


def times_shown(figure: go.Figure) -> Iterator[tuple[str, float, float, float]]:
    """Yield what a figure says in words, in names and under a pointer: of what, and a time with its interval (ns)."""
    for trace in figure.data:
        hovered = zip(trace.customdata, trace.hovertext, strict=True) if trace.hovertext else ()
        for what, text in [(trace.name, trace.name or ""), *hovered]:
            for found in _TIME_WITH_INTERVAL.findall(text):
                value, low, high = (float(found[i]) * _NS[found[i + 1]] for i in (0, 2, 4))
                yield str(what), value, low, high


def predicted(figure: go.Figure) -> Iterator[tuple[Any, float, float, float, float]]:
    """Yield every hollow point with an interval along a time: its trace, where it stands, value, low and high."""
    for trace in figure.data:
        symbols = trace.marker.symbol if trace.marker else None
        for axis, other in (("x", "y"), ("y", "x")):
            bars = trace[f"error_{axis}"]
            if symbols is None or not bars.array:
                continue
            looks = [symbols] * len(trace.x) if isinstance(symbols, str) else symbols
            rows = zip(looks, trace[axis], trace[other], bars.array, bars.arrayminus, strict=True)
            for look, value, where, up, down in rows:
                if look.endswith("-open"):
                    yield trace, where, value, value - down, value + up


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_slider_predictions_contain_measurements_within_a_decade(path: Path) -> None:
    for widget in widgets_of(path):
        sliders = isinstance(widget, Explorer) and any(isinstance(axis, Slider) for axis in widget.known.values())
        for point, figure in drawn(widget) if sliders else ():
            for what, value, low, high in times_shown(figure):
                assert low <= value * 1.01, (point, what, value, low, high)
                assert value <= high * 1.01, (point, what, value, low, high)
                assert high <= DECADE * low, (point, what, value, low, high)
            measured = {(trace.name, x): y for trace in figure.data for x, y in zip(trace.x, trace.y, strict=True)}
            for trace, where, value, low, high in predicted(figure):
                assert 0 < low <= value <= high, (point, trace.name)
                there = measured.get(((trace.name or "").removeprefix("predicted: "), where), value)
                assert low * (1 - 1e-9) <= there <= high * (1 + 1e-9), (point, trace.name, there)


def test_walk_finds_every_slider() -> None:
    found = {
        (path.stem[:2], name)
        for path in NOTEBOOKS
        for widget in widgets_of(path)
        if isinstance(widget, Explorer)
        for name, axis in widget.known.items()
        if isinstance(axis, Slider)
    }
    assert found == {("00", "gib"), ("01", "gib"), ("03", "populated"), ("03", "writes_per_s"), ("08", "size")}
    guest = figures.plot_guest(reference(), reference(), gib=1.0)
    assert len(list(predicted(guest))) == 4
    assert len(list(times_shown(guest))) > 20


# --- protecting an empty range ---------------------------------------------------------------------------------------


@cache
def entry_costs() -> list[Any]:
    return list(summaries.records(summaries.df_entry_costs(reference())))


@pytest.mark.parametrize("cost", entry_costs(), ids=[cost.backing for cost in entry_costs()])
def test_prediction_at_a_measured_size_equals_the_measurement(cost: Any) -> None:
    for size_kib, value, low, high in cost.measured:
        assert summaries.predict_protect_ns(cost, size_kib) == pytest.approx((value, low, high))


def test_prediction_at_1_gib_equals_the_measurement() -> None:
    [anonymous] = (cost for cost in entry_costs() if cost.backing == "anon")
    value, low, high = summaries.predict_protect_ns(anonymous, 1 << 20)
    assert (value / 1e6, low / 1e6, high / 1e6) == (
        pytest.approx(5.44, abs=0.01), pytest.approx(4.85, abs=0.01), pytest.approx(5.58, abs=0.01)
    )  # fmt: skip


@st.composite
def measured_sizes(draw: st.DrawFn) -> list[tuple[int, list[int]]]:
    """Draw sizes (GiB) with times (ns) of seven children each: whatever the sizes, and however they scatter."""
    sizes = sorted(draw(st.sets(st.integers(1, 256), min_size=2, max_size=5)))
    return [(gib, draw(st.lists(st.integers(1, 10**10), min_size=7, max_size=7))) for gib in sizes]


@settings(max_examples=40, deadline=None)
@given(measured_sizes(), st.floats(0.5, 1024))
def test_an_interval_lies_between_those_of_its_neighbours(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[int, list[int]]], gib: float
) -> None:
    rows = [sample("anon", "pte_marker", 0, ns, size_kib=at << 20) for at, times in sizes for ns in times]
    made = dataset(tmp_path_factory.mktemp("d") / "d", rows)
    [cost] = summaries.records(summaries.df_entry_costs(made))
    found = summaries.predict_protect_ns(cost, gib * (1 << 20))
    value, low, high = found
    assert 0 <= low <= high
    points = [(size_kib / (1 << 20), ends) for size_kib, *ends in cost.measured]
    below = [ends for at, ends in points if at <= gib]
    above = [ends for at, ends in points if at >= gib]
    if below and above:
        assert low <= value <= high
        for one, left, right in zip(found, below[-1], above[0], strict=True):
            assert min(left, right) * (1 - 1e-9) <= one <= max(left, right) * (1 + 1e-9)
        [point] = summaries.records(summaries.df_at_size(summaries.df_warm(made), "anon", gib * (1 << 20)))
        assert (point.total_ns, point.total_ns_low, point.total_ns_high) == pytest.approx(found)
    elif above:  # no less than in proportion, and no more than what takes longer
        for one, end in zip(found, above[0], strict=True):
            assert end * gib / points[0][0] * (1 - 1e-9) <= one <= end * (1 + 1e-9)
    else:  # more memory takes no less
        assert low >= below[-1][1] * (1 - 1e-9)
        assert high >= below[-1][2] * (1 - 1e-9)


# --- designs side by side --------------------------------------------------------------------------------------------

# An empty range that no marker is written into takes an ioctl of microseconds whatever its size, as the ledger has it.
# It was measured at 7 µs where 1 to 6 µs are predicted: walking the upper levels is not in the ledger.
# One prediction in twenty may lie outside of its interval, and these are three of 58.
OUTSIDE = {("unprotected", gib << 20, 0.0) for gib in (1, 10, 256)}


def test_the_design_explorer_predicts_what_was_measured() -> None:
    points = summaries.df_protect(reference())
    points = points[(points.n > 0) & (points.backing == "anon")]
    points = points[points.design.isin(["unprotected", "preread", "populate_read", "pte_marker"])]
    explorer = DesignExplorer(["unprotected", "preread", "populate_read", "pte_marker"])
    outside = set()
    for one in summaries.records(points):
        explorer.move(span=int(one.size_kib) * 1024, populated=float(one.populated), cluster=int(one.cluster_pages))
        row = explorer.frame().set_index("design").loc[one.design]
        assert row.stop_ns_high <= DECADE * row.stop_ns_low, one
        if not row.stop_ns_low <= one.total_ns <= row.stop_ns_high:
            outside.add((one.design, int(one.size_kib), float(one.populated)))
    assert len(points) == 58
    assert outside == OUTSIDE


def test_design_explorer_intervals_are_within_a_decade() -> None:
    explorer = DesignExplorer()
    start = explorer.state
    for seed in range(60):
        explorer.state = random_designs(seed, start) | {"costs": "warm"}
        for row in summaries.records(explorer.frame()):
            for name in ("stop_ns", "work_ns"):
                value, low, high = (getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
                assert 0 < low <= value <= high <= DECADE * low, (explorer.state, row)


def test_design_explorer_latencies_are_within_a_decade() -> None:
    explorer = DesignExplorer()
    start, costs = explorer.state, sim.load_costs()
    for seed in range(20):
        explorer.state = random_designs(seed, start)
        for design in explorer.chosen():
            for bar in latencies(sim.expect(design, explorer.workload()), costs):
                low, high = bar.cost.low, bar.cost.high
                assert low is not None
                assert high is not None
                assert 0 < low <= bar.cost.value <= high <= DECADE * low, (explorer.state, bar.shape)
