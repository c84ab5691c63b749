# SPDX-License-Identifier: MIT
"""A figure shows every point with its interval, or a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from making import measured

from uffdlab import datasets, figures
from uffdlab.datasets import Dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return measured(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture(scope="module")
def drawn(data: Dataset) -> list[go.Figure]:
    published = datasets.load(datasets.locate("published"))
    return [figures.plot_published(published, data), figures.plot_skip(data), figures.plot_guest(data, data)]


def _annotations(figure: go.Figure) -> list[str]:
    return [note.text for note in figure.layout.annotations]


def _without(data: Dataset, out: Path, size_kib: int) -> Dataset:
    samples = data.table("samples")
    smaller = samples[samples.size_kib != size_kib]
    fields = [{"name": name, "type": kind} for name, kind in _types(smaller)]
    tables = [datasets.Table("samples", fields, smaller.to_dict("records"))]
    return datasets.write(out, id="one-size", title="One size", tables=tables, provenance=data.provenance)


def _types(frame: Any) -> list[tuple[str, str]]:
    kinds = {"b": "boolean", "i": "integer", "f": "number"}
    return [(name, kinds.get(frame[name].dtype.kind, "string")) for name in frame]


def test_every_point_has_hover_text(drawn: list[go.Figure]) -> None:
    for figure in drawn:
        for trace in figure.data:
            assert len(trace.x) == len(trace.y) == len(trace.customdata) == len(trace.hovertext) == len(trace.text)


def test_no_axis_cuts_off_an_interval(drawn: list[go.Figure]) -> None:
    for trace in drawn[2].data:
        low, high = (10**end for end in drawn[2].layout.yaxis.range)
        bars = zip(trace.y, trace.error_y.array, trace.error_y.arrayminus, strict=True)
        assert all(low < y - down and y + up < high for y, up, down in bars)


def test_plot_skip_without_the_size_shows_a_sentence(data: Dataset, tmp_path: Path) -> None:
    figure = figures.plot_skip(_without(data, tmp_path / "data", 1 << 20))
    assert "one-size holds no samples of 1 GiB with 0% written beforehand" in _annotations(figure)


def test_plot_guest_without_entry_costs_shows_a_sentence(data: Dataset, tmp_path: Path) -> None:
    costs = _without(data, tmp_path / "data", 1 << 20)
    figure = figures.plot_guest(data, costs)
    assert "one-size measured each backing at one size: nothing to predict from" in _annotations(figure)
