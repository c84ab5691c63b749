# SPDX-License-Identifier: MIT
"""Figures of the zeropage as a covert channel draw the summaries, and a sentence without data."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go
import pytest
from synthetic_channel import campaign, point

from uffdlab import figures, summaries
from uffdlab.datasets import Dataset
from uffdlab.probes.covert import channel

CLEAR, NOISE = [0.05] * 7, [0.5] * 7


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Return a zeropage that passes, written pages that do not, a sweep, and loads of the registered point."""
    loads = [
        {"block": 0, "sample": 0, "kind": kind, "cycles": cycles, "loads": number}
        for kind, cycles, number in (("loaded before", 70, 9), ("flushed before", 390, 9), ("sent 1", 72, 3),
                                     ("sent 1", 400, 1), ("sent 0", 380, 4))
    ]  # fmt: skip
    return campaign(
        tmp_path / "d",
        point(CLEAR, "zeropage"),
        point(NOISE, "zeropage", silent=True),
        point(NOISE, "private"),
        point(CLEAR, "zeropage", slot_ns=20_000),
        channel_latencies=(channel.LATENCY_FIELDS, loads),
    )


def _named(figure: go.Figure) -> dict[str, go.Scatter]:
    return {trace.name: trace for trace in figure.data}


def test_plot_channel_loads_draws_shares_by_sent_bit(data: Dataset) -> None:
    figure = figures.plot_channel_loads(data)
    traces = _named(figure)
    assert set(traces) == {"calibration: line cached", "calibration: line flushed", "a 1 was sent", "a 0 was sent"}
    assert sorted(share for share in traces["a 1 was sent"].y if share) == [25, 75]
    assert all(sum(trace.y) == pytest.approx(100) for trace in traces.values())
    assert "200 cycles" in figure.layout.annotations[0].text, "the threshold"


def test_histogram_bin_is_drawn_at_its_latency(data: Dataset) -> None:
    trace = _named(figures.plot_channel_loads(data))["a 0 was sent"]
    (at,) = [x for x, y in zip(trace.x, trace.y, strict=True) if y]
    assert at / 2 ** (1 / 16) <= 380 <= at * 2 ** (1 / 16)


def test_plot_channel_loads_draws_the_more_frequent_kind_only(tmp_path: Path) -> None:
    mixed = point(CLEAR, threshold_cycles=200) + point(CLEAR[:3], threshold_cycles=400, slower=True)
    loads = [
        {"block": block, "sample": 0, "kind": "sent 1", "cycles": cycles, "loads": 5}
        for block, cycles in ((0, 70), (1, 70), (8, 420))
    ]
    more = {"channel_latencies": (channel.LATENCY_FIELDS, loads)}
    data = campaign(tmp_path / "d", mixed, point(NOISE, silent=True), **more)  # type: ignore[arg-type]
    figure = figures.plot_channel_loads(data)
    assert "200 cycles" in figure.layout.annotations[0].text
    assert "Drawn: 7 of 10, those in which a 1 is the faster load" in figure.layout.meta["caption"]
    (trace,) = figure.data
    assert max(x for x, y in zip(trace.x, trace.y, strict=True) if y) < 100


def test_plot_capacity_rings_the_registered_point(data: Dataset) -> None:
    traces = _named(figures.plot_capacity(data))
    frame = summaries.df_channels(data)
    swept = frame[(frame.memory == "zeropage") & ~frame.silent.astype(bool)].sort_values("slot_ns")
    assert list(traces["zeropage"].x) == [8, 20]
    assert list(traces["zeropage"].y) == swept.faster_kbit_s.tolist()
    assert list(traces["zeropage: limit"].y) == [4000, 4000]
    assert list(traces["zeropage: registered point"].x) == [8]
    assert list(traces["zeropage: 95 % interval"].y[:2]) == swept.faster_kbit_s_high.tolist()


def test_plot_designs_draws_a_bound_without_a_channel(data: Dataset) -> None:
    frame = summaries.df_channels(data)
    bound = frame[frame.memory == "private"].below_kbit_s.tolist()
    traces = _named(figures.plot_designs(data))
    assert list(traces["one CPU: no channel detected, below"].x) == bound
    assert traces["one CPU: no channel detected, below"].marker.symbol == "triangle-left"
    assert len(traces["one CPU"].x) == 1, "the sweep is another figure's"


def test_plot_designs_has_a_row_for_each_memory_that_was_measured(data: Dataset) -> None:
    rows = figures.plot_designs(data).layout.yaxis
    assert list(rows.ticktext) == [figures.MEMORIES["zeropage"], figures.MEMORIES["private"]]
    assert list(rows.tickvals) == [0, -1]


def test_plot_designs_draws_shares_of_wrong_bits(data: Dataset) -> None:
    traces = _named(figures.plot_designs(data, "share of wrong bits"))
    assert traces["one CPU"].x[0] == pytest.approx(0.05, abs=0.02)
    assert traces["one CPU: no channel detected"].x[0] == pytest.approx(0.5, abs=0.02)


def test_plot_regimes_draws_samples_by_kind(tmp_path: Path) -> None:
    mixed = point([0.5, 0.1, 0.5], placement="cross") + point([0.1], placement="cross", slower=True)
    data = campaign(tmp_path / "d", mixed + point(NOISE, placement="cross", silent=True))
    traces = _named(figures.plot_regimes(data))
    assert list(traces["zeropage, a 1 is the faster load: 1 of 4"].x) == [2]
    assert list(traces["zeropage, a 1 is the slower load: 1 of 4"].x) == [4]
    assert list(traces["zeropage, no bits pass: 2 of 4"].x) == [1, 3]


def test_channel_figures_without_data_show_a_sentence(tmp_path: Path) -> None:
    nothing = campaign(tmp_path / "d")
    for figure in (figures.plot_channel_loads(nothing), figures.plot_capacity(nothing), figures.plot_designs(nothing),
                   figures.plot_regimes(nothing)):  # fmt: skip
        assert "holds no" in figure.layout.annotations[0].text


def test_plot_designs_does_not_average_kinds_of_samples(tmp_path: Path) -> None:
    mixed = point([0.02] * 8, placement="cross") + point([0.3] * 7, placement="cross", slower=True)
    data = campaign(tmp_path / "d", mixed + point([0.5] * 15, placement="cross", silent=True))
    traces = _named(figures.plot_designs(data, "share of wrong bits"))
    assert traces["two CPUs, a 1 is the faster load"].x[0] == pytest.approx(0.02, abs=0.02)
    assert traces["two CPUs, a 1 is the slower load"].x[0] == pytest.approx(0.3, abs=0.02)
