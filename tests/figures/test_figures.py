# SPDX-License-Identifier: MIT
"""Figures draw the numbers of the frames, in one visual language."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from synthetic import dataset, sample, state

from uffdlab import figures, notebook, summaries
from uffdlab.datasets import Dataset
from uffdlab.vocabulary.origins import PUBLISHED_SYMBOL

GIB_KIB = 1 << 20
MARKERS = {"anon": "pte_marker", "shmem": "unprotected", "hugetlb_2m_private": "unprotected"}


@pytest.fixture
def measured(tmp_path: Path) -> Dataset:
    rows = []
    for i in range(7):
        for backing in ("anon", "anon_thp", "shmem", "hugetlb_2m_private"):
            for design in ("unprotected", "preread", "populate_read", "pte_marker"):
                for populated in (0.0, 0.5):
                    times = (0 if design in ("unprotected", "pte_marker") else 5_000_000 + i, 1_000_000 + i)
                    rows.append(sample(backing, design, *times, populated=populated))
        for backing, design in MARKERS.items():
            rows.append(sample(backing, design, 0, 16_000_000 + i, size_kib=16 * GIB_KIB))
    states = [state(backing, "none", True) for backing in MARKERS]
    return dataset(tmp_path / "measured", rows, states)


@pytest.fixture
def every_figure(measured: Dataset) -> dict[str, go.Figure]:
    published, beside = notebook.load_published(), replace(measured, id="another")
    return {
        "published": figures.plot_published(published, measured, beside),
        "skip": figures.plot_skip(measured, beside),
        "guest": figures.plot_guest(measured, measured, beside),
    }


def named(figure: go.Figure, part: str) -> list[Any]:
    return [trace for trace in figure.data if part in trace.name]


def test_every_figure_has_an_origin_line(every_figure: dict[str, go.Figure]) -> None:
    for figure in every_figure.values():
        assert "made-up · Linux 6.18.0-test · A CPU · THP madvise" in figure.layout.meta["origin"]
        assert figure.layout.meta["caption"]


def test_every_axis_has_a_unit_in_its_title_or_ticks(every_figure: dict[str, go.Figure]) -> None:
    for name, figure in every_figure.items():
        for axis in figure.select_xaxes():
            assert axis.title.text, name
            assert axis.ticktext or "MiB" in axis.title.text, name


def test_published_points_are_crosses_and_measured_ones_filled(
    every_figure: dict[str, go.Figure], measured: Dataset
) -> None:
    figure = every_figure["published"]
    assert {s for trace in named(figure, "published: ") for s in trace.marker.symbol} == {PUBLISHED_SYMBOL}
    at_one_gib = figures.plot_published(notebook.load_published(), measured, gib=1)
    assert {s for trace in named(at_one_gib, "measured") for s in trace.marker.symbol} == {"octagon"}


def test_restated_points_are_hollow_or_pale(every_figure: dict[str, go.Figure], measured: Dataset) -> None:
    figure = every_figure["published"]
    assert {s for trace in named(figure, "made-up") for s in trace.marker.symbol} == {"octagon-open"}
    assert {trace.marker.opacity for trace in named(figure, "published: ")} == {1}
    at_one_gib = figures.plot_published(notebook.load_published(), measured, gib=1)
    assert {trace.marker.opacity for trace in named(at_one_gib, "published: ")} == {0.4}


def test_predictions_are_hollow_and_have_a_band(every_figure: dict[str, go.Figure]) -> None:
    predicted = named(every_figure["guest"], "predicted")
    assert predicted
    assert all(trace.marker.symbol.endswith("-open") for trace in predicted)
    assert all(trace.error_y.array is not None for trace in predicted)


def test_a_second_dataset_has_its_own_label_and_look(every_figure: dict[str, go.Figure]) -> None:
    for name, figure in every_figure.items():
        second = named(figure, "another")
        assert second, name
        others = {_symbols(trace) for trace in figure.data if trace not in second}
        assert not others & {_symbols(trace) for trace in second}, name


def _symbols(trace: Any) -> str:
    return str(trace.marker.symbol)


def test_published_figures_are_drawn_unchanged(every_figure: dict[str, go.Figure]) -> None:
    table = summaries.df_published(notebook.load_published())
    drawn = [x for trace in named(every_figure["published"], "published: ") for x in trace.x]
    assert sorted(drawn) == pytest.approx(sorted(float(us) * 1000 for us in table.protect_us))


def test_restating_scales_only_designs_that_grow_with_size(measured: Dataset) -> None:
    at_ten, at_64 = (figures.plot_published(notebook.load_published(), measured, gib=gib) for gib in (10, 64))
    for trace, moved in zip(at_ten.data, at_64.data, strict=True):
        factors = [1 if design == "unprotected" else 6.4 for design in trace.customdata]
        assert moved.x == pytest.approx([x * factor for x, factor in zip(trace.x, factors, strict=True)])
    assert at_ten.layout.xaxis.range == at_64.layout.xaxis.range


def test_plot_skip_draws_each_share_written(measured: Dataset) -> None:
    assert figures.shares_written(measured) == ["0%", "50%"]
    half = figures.plot_skip(measured, written="50%")
    points = summaries.df_warm(measured)
    drawn = sorted(x for trace in half.data if trace.xaxis == "x" for x in trace.x)
    at_half = points[(points.populated == 0.5) & (points.size_kib == GIB_KIB)]
    assert drawn
    assert set(drawn) <= set(at_half.total_ns)
    assert half.layout.xaxis.range == figures.plot_skip(measured).layout.xaxis.range


def test_a_second_dataset_is_hidden_at_unmeasured_fractions(tmp_path: Path, measured: Dataset) -> None:
    rows = [sample("shmem", design, 0, 1000 + i) for design in ("preread", "unprotected") for i in range(7)]
    mine = dataset(tmp_path / "mine", rows, id_="mine")
    drawn = [named(figures.plot_skip(measured, mine, share), "mine: ") for share in ("0%", "50%")]
    assert [len(traces) for traces in drawn] == [4, 0]


def test_plot_guest_draws_predictions_of_the_model(measured: Dataset) -> None:
    costs = list(summaries.records(summaries.df_entry_costs(measured)))
    figure = figures.plot_guest(measured, measured, gib=512)
    predicted = [list(trace.y) for trace in named(figure, "predicted: ")]
    assert predicted == [[summaries.predict_protect_ns(cost, 512 * GIB_KIB)[0]] for cost in costs]
    assert figure.layout.yaxis.range == figures.plot_guest(measured, measured, gib=1).layout.yaxis.range


def test_predicted_and_restated_points_have_an_error_line(tmp_path: Path) -> None:
    sizes = ((GIB_KIB, 1000), (4 * GIB_KIB, 5000), (16 * GIB_KIB, 16_000))
    rows = [sample("anon", design, 0, ns, size_kib=kib) for design in ("pte_marker", "preread") for kib, ns in sizes
            for _ in range(7)]  # fmt: skip
    data = dataset(tmp_path / "sizes", rows)
    restated = figures.plot_published(notebook.load_published(), data).layout.meta["origin"]
    assert "from each smaller one, was off by 12% (median) and 25% (most)" in restated
    predicted = figures.plot_guest(data, data).layout.meta["origin"]
    assert "up to 64 GiB is, at each size that it is drawn without, off by 26% (median) and 31% (most)" in predicted


def test_unmeasured_backing_is_not_drawn(measured: Dataset) -> None:
    drawn = [trace.name for trace in figures.plot_guest(measured, measured).data]
    assert not [name for name in drawn if "1 GiB" in name]


SHAPES = {
    "nothing": [],
    "cold only": [sample("anon", "preread", 5, 6, cold=True), sample("shmem", "unprotected", 0, 6, cold=True)],
    "no markers": [
        sample(b, d, 5, 6 + i) for b in ("anon", "shmem") for d in ("preread", "unprotected") for i in range(3)
    ],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_figure_and_table_works_without_samples(tmp_path: Path, shape: str) -> None:
    data = dataset(tmp_path / "d", SHAPES[shape])
    figures.plot_published(notebook.load_published(), data, data)
    figures.plot_skip(data, data)
    figures.plot_guest(data, data, data)
    for table in (
        notebook.ranking(data),
        notebook.cold(data),
        notebook.entry_costs(data),
        notebook.reported_table(data),
    ):
        assert "<table" in table._repr_html_()
