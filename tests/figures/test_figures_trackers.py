# SPDX-License-Identifier: MIT
"""Figures of trackers side by side and of recorded sequences, with data and without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
import synthetic_trackers
from synthetic import FACTS

from uffdlab import datasets, figures
from uffdlab.datasets import Dataset
from uffdlab.probes import sequence, trackers
from uffdlab.vocabulary.tracking import TRACKERS


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    rows = synthetic_trackers.epochs(
        p99=lambda method, dirty: 1000 if method == "async_scan" else 9000,
        pause=lambda method, dirty: 150_000 + 3_000_000 * dirty if method == "async_scan" else 60_000_000 * dirty,
        slower=lambda method, dirty: 50_000_000 * dirty,
    )
    bins = [
        {"block": 0, "sample": 1, "method": method, "from_ns": ns, "below_ns": 2 * ns, "count": 10}
        for method in ("nothing", "events") for ns in (256, 1024)
    ]  # fmt: skip
    tables = [
        datasets.Table("trackers", trackers.FIELDS, rows),
        datasets.Table("tracker_latencies", trackers.LATENCY_FIELDS, bins),
        datasets.Table("sequences", sequence.FIELDS, [*_steps("write; protect; discard; write", "none")]),
    ]
    out = tmp_path_factory.mktemp("d") / "data"
    return datasets.write(out, id="made-up", title="made up for a test", tables=tables, provenance=FACTS)


def _steps(text: str, features: str, **last: Any) -> list[dict[str, Any]]:
    names = text.split("; ")
    row = {"block": 0, "backing": "anon", "features": features, "sequence": text, "result": "done", "errno": None}
    row |= {"wp_events": 0, "missing_events": 0, "other_events": 0, "entry": "page", "uffd_wp": False}
    row |= {"written": True, "child_entry": None, "child_uffd_wp": None}
    return [
        row | {"number": number, "step": step} | (last if number == len(names) else {})
        for number, step in enumerate(names, 1)
    ]


@pytest.fixture
def nothing(tmp_path: Path) -> Dataset:
    return synthetic_trackers.dataset(tmp_path / "nothing", [])


def _names(figure: go.Figure) -> set[str]:
    return {trace.name for trace in figure.data if trace.name}


@pytest.mark.parametrize("cost", figures.TRACKER_COSTS)
def test_each_method_is_a_line_with_intervals(data: Dataset, cost: str) -> None:
    figure = figures.plot_trackers(data, None, cost)
    measured = [*synthetic_trackers.METHODS]
    drawn = measured if cost in ("p99 of a write", "throughput") else [m for m in measured if m != "nothing"]
    assert _names(figure) == {TRACKERS[method][0] for method in drawn}
    for trace in figure.data:
        assert list(trace.x) == sorted(trace.x)
        assert len(trace.x) == len(trace.y) == len(trace.customdata) == len(trace.hovertext) == len(trace.text)
        assert min(trace.y) > 0
        assert max(trace.error_y.array) > 0 or trace.name == TRACKERS["nothing"][0], "alike in all made-up children"


def test_throughput_is_of_writes_a_second(data: Dataset) -> None:
    figure = figures.plot_trackers(data, None, "throughput")
    (untracked,) = (trace for trace in figure.data if trace.name == TRACKERS["nothing"][0])
    assert untracked.y[-1] == pytest.approx(19_661 / 0.001), "writes of 30 % take 1 ms"
    assert figure.layout.meta["units"]["y"] == "1/s"


def test_a_second_dataset_is_grey_stars_of_its_name(data: Dataset) -> None:
    figure = figures.plot_trackers(data, data, "pause")
    beside = [trace for trace in figure.data if trace.legendgroup == "beside"]
    assert len(beside) == 4
    assert {trace.marker.symbol for trace in beside} == {"star"}
    assert [trace.showlegend for trace in beside] == [True, False, False, False]
    assert "Grey stars" in figure.layout.meta["caption"]


def test_predicted_points_are_hollow_and_measured_ones_filled(data: Dataset, tmp_path: Path) -> None:
    rows = [dict(row) for row in synthetic_trackers.epochs(_p99, _pause, _pause)]
    other = [row | {"size_kib": row["size_kib"] * 4, "block": row["block"] + 1000} for row in rows]
    both = synthetic_trackers.dataset(tmp_path / "both", [*rows, *_scaled(other)])
    for size, measured in ((256 << 20, True), (1 << 40, False)):
        figure = figures.plot_tracker_costs(both, size, "pause")
        hollow = [trace for trace in figure.data if trace.name and trace.name.endswith("(predicted)")]
        filled = [trace for trace in figure.data if trace.name and trace.name.endswith("(measured)")]
        assert hollow
        assert all(trace.marker.symbol.endswith("-open") for trace in hollow)
        assert bool(filled) is measured
        assert not any(trace.marker.symbol.endswith("-open") for trace in filled)
        assert any(trace.fill == "toself" for trace in figure.data), "bands"
        assert "Predicted to cost least" in figure.layout.meta["caption"]
    tail = figures.plot_tracker_costs(both, 1 << 40, "p99 of a write")
    assert all(name.endswith("(measured)") for name in _names(tail))
    assert "does not depend on the range" in tail.layout.meta["caption"]


def _p99(method: str, dirty: float) -> float:
    return 1000


def _pause(method: str, dirty: float) -> float:
    return 140_000 + 65_536 * 50 * dirty


def _scaled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    pages = {"writes", "dirty_pages", "rearm_ns"}
    return [row | {name: row[name] * 4 for name in pages if row[name]} for row in rows]


def test_latencies_are_shares_that_took_longer(data: Dataset) -> None:
    figure = figures.plot_tracker_latencies(data, figures.tracker_shares(data)[0])
    assert _names(figure) == {TRACKERS["nothing"][0], TRACKERS["events"][0]}
    assert list(figure.data[0].y) == [1, 0.5]


def test_a_lost_write_is_a_cell_that_says_so(data: Dataset) -> None:
    figure = figures.plot_sequences(data)
    assert [list(line) for line in figure.data[0].text] == [["lost"]]
    assert figure.layout.yaxis.ticktext == ("discard",)
    assert "lost: 1" in _names(figure)


@pytest.mark.parametrize(
    "draw",
    [
        figures.plot_trackers,
        figures.plot_tracker_costs,
        lambda data: figures.plot_tracker_costs(data, 1 << 40, "p99 of a write"),
        lambda data: figures.plot_tracker_latencies(data, *figures.tracker_shares(data)),
        figures.plot_sequences,
    ],
)
def test_a_dataset_without_them_shows_a_sentence(nothing: Dataset, draw: Callable[[Dataset], go.Figure]) -> None:
    figure = draw(nothing)
    assert not figure.data
    (note,) = figure.layout.annotations
    assert "made-up: " in note.text
    assert " were not " in note.text
