# SPDX-License-Identifier: MIT
"""What figures draw is what the frames say, in the one visual language."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from synthetic import dataset, sample, state

from uffdlab import figures, notebook, summaries
from uffdlab.datasets import Dataset
from uffdlab.figures import style

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
    published = notebook.load_published()
    return {
        "published": figures.plot_published(published, measured, measured),
        "skip": figures.plot_skip(measured, measured),
        "guest": figures.plot_guest(measured, measured, measured),
    }


def named(figure: go.Figure, part: str) -> list[Any]:
    return [trace for trace in figure.data if part in trace.name]


def test_every_figure_says_where_its_numbers_come_from(every_figure: dict[str, go.Figure]) -> None:
    for figure in every_figure.values():
        assert "made-up · Linux 6.18.0-test · A CPU · THP madvise" in figure.layout.meta["origin"]
        assert figure.layout.meta["caption"]


def test_every_axis_has_a_title_with_a_unit_or_ticks_that_carry_it(every_figure: dict[str, go.Figure]) -> None:
    for name, figure in every_figure.items():
        for axis in figure.select_xaxes():
            assert axis.title.text, name
            assert axis.ticktext or "MiB" in axis.title.text, name


def test_published_points_are_crosses_and_measured_ones_are_filled(every_figure: dict[str, go.Figure]) -> None:
    figure = every_figure["published"]
    assert {s for trace in named(figure, "published: ") for s in trace.marker.symbol} == {style.PUBLISHED_SYMBOL}
    [step] = [step for step in figure.layout.sliders[0].steps if step.label == "1 GiB"]
    at_one_gib = dict(zip([trace.name for trace in figure.data], step.args[0]["marker.symbol"], strict=True))
    assert set(at_one_gib["measured"]) == {"circle"}


def test_what_is_restated_for_another_size_is_hollow_or_pale(every_figure: dict[str, go.Figure]) -> None:
    figure = every_figure["published"]
    assert {s for trace in named(figure, "measured") for s in trace.marker.symbol} == {"circle-open"}
    assert {trace.marker.opacity for trace in named(figure, "published: ")} == {1}
    [step] = [step for step in figure.layout.sliders[0].steps if step.label == "1 GiB"]
    names = [trace.name for trace in figure.data]
    pale = [o for name, o in zip(names, step.args[0]["marker.opacity"], strict=True) if "published" in name]
    assert set(pale) == {0.4}


def test_predictions_are_hollow_and_have_a_band(every_figure: dict[str, go.Figure]) -> None:
    predicted = named(every_figure["guest"], "predicted")
    assert predicted
    assert all(trace.marker.symbol.endswith("-open") for trace in predicted)
    assert all(trace.error_y.array is not None for trace in predicted)


def test_this_machine_is_labelled_and_looks_like_nothing_else(every_figure: dict[str, go.Figure]) -> None:
    for name, figure in every_figure.items():
        mine = named(figure, "this machine")
        assert mine, name
        others = {_symbols(trace) for trace in figure.data if trace not in mine}
        assert not others & {_symbols(trace) for trace in mine}, name


def _symbols(trace: Any) -> str:
    return str(trace.marker.symbol)


def test_the_published_figures_are_drawn_as_published(every_figure: dict[str, go.Figure]) -> None:
    table = summaries.df_published(notebook.load_published())
    drawn = [x for trace in named(every_figure["published"], "published: ") for x in trace.x]
    assert sorted(drawn) == pytest.approx(sorted(float(us) * 1000 for us in table.protect_us))


def test_the_size_slider_multiplies_what_grows_with_size_and_nothing_else(every_figure: dict[str, go.Figure]) -> None:
    figure = every_figure["published"]
    [slider] = figure.layout.sliders
    [moved] = next(step.args for step in slider.steps if step.label == "64 GiB")
    for trace, xs in zip(figure.data, moved["x"], strict=True):
        factors = [1 if design == "unprotected" else 6.4 for design in trace.customdata]
        assert xs == pytest.approx([x * factor for x, factor in zip(trace.x, factors, strict=True)])


def test_the_fraction_slider_shows_what_was_measured_at_each_fraction(every_figure: dict[str, go.Figure]) -> None:
    figure = every_figure["skip"]
    [slider] = figure.layout.sliders
    assert [step.label for step in slider.steps] == ["0%", "50%"]
    shown = [step.args[0]["visible"] for step in slider.steps]
    assert all(first != second for first, second in zip(*shown, strict=True))
    assert [trace.visible for trace in figure.data] == shown[0]


def test_this_machine_is_hidden_at_fractions_it_did_not_measure(tmp_path: Path, measured: Dataset) -> None:
    rows = [sample("shmem", design, 0, 1000 + i) for design in ("preread", "unprotected") for i in range(7)]
    figure = figures.plot_skip(measured, dataset(tmp_path / "mine", rows, id_="mine"))
    [slider] = figure.layout.sliders
    mine = [i for i, trace in enumerate(figure.data) if "this machine" in trace.name]
    assert mine
    assert [[step.args[0]["visible"][i] for i in mine] for step in slider.steps] == [[True] * 4, [False] * 4]


def test_the_guest_slider_moves_the_predictions_where_the_model_puts_them(
    every_figure: dict[str, go.Figure], measured: Dataset
) -> None:
    figure = every_figure["guest"]
    [slider] = figure.layout.sliders
    moved, places = next(step.args for step in slider.steps if step.label == "1 TiB")
    costs = list(summaries.records(summaries.df_entry_costs(measured)))
    assert [figure.data[i].name.split(": ")[0] for i in places] == ["predicted"] * len(costs)
    assert moved["y"] == [[summaries.predict_protect_ns(cost, 1024 * GIB_KIB)[0]] for cost in costs]


def test_a_backing_that_was_not_measured_is_not_drawn(measured: Dataset) -> None:
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
def test_a_dataset_that_lacks_samples_still_gives_every_figure_and_table(tmp_path: Path, shape: str) -> None:
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
