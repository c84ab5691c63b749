# SPDX-License-Identifier: MIT
"""Figure of operations of several threads: its lines, their intervals and the ideal one, with data and without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
import synthetic_scale

from uffdlab import datasets, figures, summaries
from uffdlab.datasets import Dataset
from uffdlab.vocabulary.threads import SCALED_TOGETHER, SHARING_LOOKS

TIMES = {1: 800, 2: 500, 4: 250, 8: 200, 16: 100}
WRITES = "first writes to protected memory"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    rows = [
        row
        for operation in ("write_markers", "write_zeropages")
        for sharing in SHARING_LOOKS
        for row in synthetic_scale.children(operation, TIMES, sharing=sharing, tlb_ipis=15_000)
    ]
    return synthetic_scale.dataset(tmp_path_factory.mktemp("d") / "data", rows)


@pytest.fixture(scope="module")
def committed() -> Dataset:
    return datasets.load(datasets.locate("scale-2026-11-28"))


def _measured(figure: go.Figure) -> list[Any]:
    return [trace for trace in figure.data if trace.legendgroup in SHARING_LOOKS]


def test_a_line_per_operation_and_sharing_has_its_intervals(data: Dataset) -> None:
    figure = figures.plot_scale(data)
    assert [note.text for note in figure.layout.annotations] == [
        "first write to a marker",
        "first write to a protected zeropage",
    ]
    assert len(figure.data) == 6
    for trace in figure.data:
        assert list(trace.x) == list(TIMES)
        assert list(trace.y) == [pytest.approx(ns * 1.03) for ns in TIMES.values()], "the median of seven children"
        assert list(trace.error_y.array) == [pytest.approx(ns * 0.03) for ns in TIMES.values()]
        assert len(trace.customdata) == len(trace.hovertext) == len(trace.text) == len(TIMES)
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"
    assert list(figure.layout.xaxis.tickvals) == list(TIMES)
    assert [trace.name for trace in figure.data if trace.showlegend] == [title for title, _ in SHARING_LOOKS.values()]


def test_speedup_begins_with_two_threads_and_has_an_ideal(data: Dataset) -> None:
    figure = figures.plot_scale(data, WRITES, None, "speedup")
    for trace in _measured(figure):
        assert list(trace.x) == [2, 4, 8, 16]
        assert list(trace.y) == pytest.approx([1.6, 3.2, 4, 8])
        assert "times as fast as one thread" in trace.hovertext[0]
    ideal = [trace for trace in figure.data if trace.legendgroup == "ideal"]
    assert len(ideal) == 2
    for trace in ideal:
        assert list(trace.x) == list(trace.y) == [1, 2, 4, 8, 16]
        assert trace.mode == "lines"
        assert trace.line.dash != "solid"
    assert [trace.showlegend for trace in ideal] == [True, False]
    assert "Below 1 several threads are slower" in figure.layout.meta["caption"]
    assert not any(trace.legendgroup == "ideal" for trace in figures.plot_scale(data).data)


def test_lines_differ_by_symbol_and_dash_as_well_as_by_colour(data: Dataset) -> None:
    traces = [trace for trace in figures.plot_scale(data).data if trace.xaxis == "x"]
    assert len({trace.marker.symbol for trace in traces}) == len({trace.line.dash for trace in traces}) == 3


def test_points_say_what_was_counted(data: Dataset, tmp_path: Path) -> None:
    assert "15 IPIs, 0 sleeps a page; n = 7 of 7 processes" in figures.plot_scale(data).data[0].text[0]
    rows = synthetic_scale.children("write_markers", TIMES)
    untold = figures.plot_scale(synthetic_scale.dataset(tmp_path / "untold", rows))
    assert "IPIs" not in untold.data[0].text[0]


@pytest.mark.parametrize("measure", figures.SCALE_MEASURES)
@pytest.mark.parametrize("what", figures.SCALES)
def test_every_choice_draws_the_committed_points(committed: Dataset, what: str, measure: str) -> None:
    figure = figures.plot_scale(committed, what, None, measure)
    operations, stride_kib = SCALED_TOGETHER[what]
    rows = summaries.df_scale(committed)
    rows = rows[rows.operation.isin(operations) & (rows.stride_kib == stride_kib)]
    rows = rows if measure == "time per page" else rows[rows.threads > 1]
    drawn = _measured(figure)
    column = "ns_per_page" if measure == "time per page" else "speedup"
    assert sorted(y for trace in drawn for y in trace.y) == sorted(rows[column])
    low, high = (10**end for end in figure.layout.yaxis.range)
    for trace in drawn:
        bars = zip(trace.y, trace.error_y.array, trace.error_y.arrayminus, strict=True)
        assert all(low < y - down <= y + up < high for y, up, down in bars)


def test_a_second_dataset_is_grey_stars_beside_the_points(data: Dataset) -> None:
    other = replace(data, id="another")
    for measure in figures.SCALE_MEASURES:
        alone, both = figures.plot_scale(data, WRITES, None, measure), figures.plot_scale(data, WRITES, other, measure)
        stars = [trace for trace in both.data if trace.legendgroup == "beside"]
        assert len(both.data) == len(alone.data) + len(stars)
        assert len(stars) == 6
        assert {trace.marker.symbol for trace in stars} == {"star"}
        assert [trace.name for trace in stars if trace.showlegend] == ["another"]
        assert {x for trace in stars for x in trace.x}.isdisjoint(x for trace in _measured(both) for x in trace.x)
        assert "Grey stars: another" in both.layout.meta["caption"]


def test_a_second_dataset_without_the_table_gives_one_line(data: Dataset) -> None:
    without = replace(data, id="another", tables={})
    figure = figures.plot_scale(data, WRITES, without)
    assert len(figure.data) == 6
    assert "Nothing is drawn of another, which holds no samples of several threads" in figure.layout.meta["caption"]


@pytest.mark.parametrize("measure", figures.SCALE_MEASURES)
def test_a_dataset_without_them_shows_a_sentence(data: Dataset, tmp_path: Path, measure: str) -> None:
    for nothing in (synthetic_scale.dataset(tmp_path / "nothing", []), replace(data, tables={})):
        figure = figures.plot_scale(nothing, WRITES, None, measure)
        assert not figure.data
        assert "were not measured" in figure.layout.annotations[-1].text


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    rows = synthetic_scale.children("write_markers", TIMES, sharing="own_1gib")
    data = synthetic_scale.dataset(tmp_path / "one", rows)
    (trace,) = figures.plot_scale(data).data
    assert trace.legendgroup == "own_1gib"
    elsewhere = figures.plot_scale(data, "first touches")
    assert not elsewhere.data
    assert "made-up: first touches, by one thread and by several, were not measured" in [
        note.text for note in elsewhere.layout.annotations
    ]
