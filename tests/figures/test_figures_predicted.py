# SPDX-License-Identifier: MIT
"""Figures of predictions: hollow markers, bands, the error in the origin line, and the simulator's numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import plotly.graph_objects as go
import pytest

from uffdlab import datasets, figures, sim
from uffdlab.sim import DESIGNS, Costs, Workload

Draw = Callable[[Costs], go.Figure]
DRAWN: dict[str, Draw] = {
    "stop time": figures.plot_stop_time,
    "touched": figures.plot_touched,
}


@pytest.fixture(scope="module")
def costs() -> Costs:
    return sim.load_costs()


@pytest.mark.parametrize("name", DRAWN)
def test_origin_line_has_the_error_of_predictions(costs: Costs, name: str) -> None:
    figure = DRAWN[name](costs)
    assert costs.words() in figure.layout.meta["origin"]
    assert figure.layout.meta["caption"]
    assert len(figure.data) > 1


@pytest.mark.parametrize("name", ["stop time", "touched"])
def test_predicted_points_are_hollow(costs: Costs, name: str) -> None:
    symbols = [trace.marker.symbol for trace in DRAWN[name](costs).data if "markers" in (trace.mode or "")]
    assert symbols
    assert all(symbol.endswith("-open") for symbol in symbols)


def test_measured_points_are_filled(costs: Costs) -> None:
    data = datasets.load(datasets.locate("reference"))
    measured = [trace for trace in figures.plot_stop_time(costs, data).data if "(measured)" in (trace.name or "")]
    assert {trace.name for trace in measured} >= {"PTE markers (measured)", "read loop (measured)"}
    assert not any(trace.marker.symbol.endswith("-open") for trace in measured)


def test_predicted_point_is_the_price_of_its_ledger(costs: Costs) -> None:
    figure = figures.plot_stop_time(costs, designs=["pte_marker"])
    (line,) = [trace for trace in figure.data if trace.name == "PTE markers (predicted)"]
    ledger = sim.run(DESIGNS["pte_marker"], Workload(16 << 30)).protect
    assert math.isclose(line.y[list(line.x).index(16)], costs.price(ledger).value, rel_tol=1e-9)


def test_composed_design_is_drawn_under_its_own_name(costs: Costs) -> None:
    mine = DESIGNS["pmd_marker"].replace(name="mine", about="", spread="huge page", resolve="pmd")
    names = {trace.name for trace in figures.plot_touched(costs, ["pmd_marker", mine]).data}
    assert "mine (predicted)" in names


def test_plot_touched_has_exact_page_tables(costs: Costs) -> None:
    figure = figures.plot_touched(costs, ["pmd_marker"])
    tables = figure.data[-1]
    assert tables.y[0] == 4, "one PMD table holds the markers of 1 GiB"
    assert tables.y[-1] == 4 + 512 * 4
