# SPDX-License-Identifier: MIT
"""Two datasets in one figure: both are named, and told apart without colour."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
import synthetic_faults
from synthetic_faults import filled, touched

from uffdlab import datasets, figures, notebook, sim
from uffdlab.datasets import Dataset
from uffdlab.vocabulary.origins import BESIDE, HERE, ORIGINS

MAIN, SECOND, WITHOUT = "reference-2026-11-28-1932", "intel-2026-11-27", "channel-2026-11-28"
DRAWS: dict[str, Callable[[Dataset, Dataset | None], go.Figure]] = {
    "skip": lambda data, beside: figures.plot_skip(data, beside),
    "guest": lambda data, beside: figures.plot_guest(data, data, beside),
    "faults": lambda data, beside: figures.plot_faults(data, beside),
    "zeropages": lambda data, beside: figures.plot_zeropages(data, beside),
    "stop time": lambda data, beside: figures.plot_stop_time(sim.load_costs(), data, beside=beside),
    "published": lambda data, beside: figures.plot_published(notebook.load_published(), data, beside),
}


@cache
def committed(id: str) -> Dataset:
    return datasets.load(datasets.locate(id))


@cache
def drawn(name: str, beside: str | None = SECOND) -> go.Figure:
    return DRAWS[name](committed(MAIN), committed(beside) if beside else None)


def legend(figure: go.Figure) -> list[str]:
    """Return what the legend names."""
    if figure.layout.showlegend is False:
        return []
    return [trace.name for trace in figure.data if trace.showlegend is not False]


def stars(figure: go.Figure) -> list[Any]:
    return [trace for trace in figure.data if SECOND in (trace.name or "")]


def symbols(trace: Any) -> set[str]:
    found = [trace.marker.symbol] if isinstance(trace.marker.symbol, str) else trace.marker.symbol or []
    return {re.sub("-(open|dot)", "", symbol) for symbol in found}


@pytest.mark.parametrize("name", DRAWS)
def test_legend_and_caption_name_both_datasets(name: str) -> None:
    figure = drawn(name)
    for id in (MAIN, SECOND):
        assert any(re.search(rf"^{id}(: |$)", entry) for entry in legend(figure)), id
        assert id in figure.layout.meta["caption"]
        assert f"{id} · Linux" in figure.layout.meta["origin"]
    assert len(legend(figure)) == len(set(legend(figure)))
    assert HERE not in figure.to_json()


@pytest.mark.parametrize("name", DRAWS)
def test_second_dataset_differs_by_shape_and_place_not_by_colour_alone(name: str) -> None:
    figure = drawn(name)
    second = stars(figure)
    assert any(len(trace.x) for trace in second)
    assert {trace.marker.color if isinstance(trace.marker.color, str) else set(trace.marker.color).pop()
            for trace in second} == {ORIGINS[BESIDE].colour}  # fmt: skip
    shapes = {one for trace in second for one in symbols(trace)}
    assert shapes <= {"star", "star-square"}
    # A huge zeropage resolved by events is a star too, in its own colour and in a row that says so.
    assert not shapes & {one for trace in figure.data if trace not in second for one in symbols(trace)} - (
        {"star"} if name == "faults" else set()
    )
    if name not in ("guest", "stop time"):  # there the axis is a number
        places = {round(y, 6) for trace in second for y in trace.y}
        assert places.isdisjoint(round(y, 6) for trace in figure.data if trace not in second for y in trace.y)


@pytest.mark.parametrize("name", DRAWS)
def test_first_dataset_is_drawn_the_same_beside_another(name: str) -> None:
    alone, both = drawn(name, None), drawn(name)
    kept = [trace for trace in both.data if SECOND not in (trace.name or "")]
    assert [(trace.x, trace.y) for trace in kept] == [(trace.x, trace.y) for trace in alone.data]
    assert SECOND not in alone.to_json()
    assert not any(MAIN in entry for entry in legend(alone))


@pytest.mark.parametrize("name", DRAWS)
def test_dataset_without_the_table_gives_one_line(name: str) -> None:
    figure, alone = drawn(name, WITHOUT), drawn(name, None)
    assert f"Nothing is drawn of {WITHOUT}, which holds no " in figure.layout.meta["caption"]
    assert legend(figure) == legend(alone)
    assert len(figure.data) == len(alone.data)


@pytest.mark.parametrize("name", DRAWS)
def test_own_measurement_is_called_this_machine(name: str) -> None:
    figure = DRAWS[name](committed(MAIN), replace(committed(SECOND), called=HERE))
    assert any(re.search(rf"^{HERE}(: |$)", entry) for entry in legend(figure))
    assert SECOND not in " ".join(legend(figure))
    assert f"{HERE} (stars): {SECOND} · Linux" in figure.layout.meta["origin"]
    assert f": {HERE}; all else" in figure.layout.meta["caption"]


def test_capacity_of_a_second_channel_is_drawn_as_stars() -> None:
    channel, other = committed("channel-2026-11-28"), committed("channel-2026-11-27-intel")
    alone, both = figures.plot_capacity(channel), figures.plot_capacity(channel, beside=other)
    added = both.data[len(alone.data) :]
    assert {trace.name for trace in added} == {other.id}
    assert {symbol for trace in added for symbol in symbols(trace)} <= {"star", "star-square"}
    assert sum(trace.showlegend is not False for trace in added) == 1
    assert other.id in both.layout.meta["caption"]
    assert f"{other.id} · Linux" in both.layout.meta["origin"]
    without = figures.plot_capacity(channel, beside=committed(MAIN))
    assert len(without.data) == len(alone.data)
    assert f"Nothing is drawn of {MAIN}, which holds no such samples" in without.layout.meta["caption"]


# --- datasets that did not measure the same ---------------------------------------------------------------------------


def made(tmp_path: Path, id: str, **tables: list[dict[str, Any]]) -> Dataset:
    return replace(synthetic_faults.dataset(tmp_path / id, **tables), id=id)


def rows_of(figure: go.Figure) -> list[str]:
    return [name.split(",<br>")[-1] for name in figure.layout.yaxis.ticktext]


@pytest.mark.parametrize(
    ("first", "second", "rows"),
    [
        ("on", "as found", ["anonymous, THP on"]),
        ("as found", "as found", ["zeropage as found"]),
        ("as found", "on", ["anonymous, THP on", "zeropage as found"]),
        ("off", "as found", ["no huge zeropage", "zeropage as found"]),
    ],
)
def test_zeropages_as_found_are_beside_those_that_are_on(
    first: str, second: str, rows: list[str], tmp_path: Path
) -> None:
    one, two = (
        made(tmp_path, id, zeropages=filled("anon_thp", "pte_marker", 0, state))
        for id, state in (("one", first), ("two", second))
    )
    figure = figures.plot_zeropages(one, two)
    assert rows_of(figure) == rows
    assert [(trace.name, len(trace.x)) for trace in figure.data if trace.x] == [("one: PTE markers", 1), ("two", 1)]
    assert legend(figure)[-1] == "two", "whichever design it measured"


def test_preparations_of_either_dataset_have_a_row(tmp_path: Path) -> None:
    one, two = (made(tmp_path, id, faults=touched(preparation, "plain", "first write", 500))
                for id, preparation in (("one", "fresh"), ("two", "tables")))  # fmt: skip
    figure = figures.plot_faults(one, two)
    assert list(figure.layout.yaxis.ticktext) == ["nothing", "empty page tables there"]
    assert [(trace.name, list(trace.customdata)) for trace in figure.data] == [
        ("one", ["nothing"]),
        ("two", ["empty page tables there"]),
    ]
    assert legend(figure) == ["one", "two"]


def test_first_dataset_without_rows_is_still_told(tmp_path: Path) -> None:
    tables = {"faults": touched("fresh", "plain", "first write", 500), "zeropages": filled("anon", "preread", 0)}
    one, two = made(tmp_path, "one", samples=[], faults=[], zeropages=[]), made(tmp_path, "two", **tables)
    for draw, lacks in ((figures.plot_faults, "later faults"), (figures.plot_zeropages, "account of zeropages")):
        figure = draw(one, two)
        assert any(f"one holds no {lacks}" in note.text for note in figure.layout.annotations)
        assert "two" in legend(figure)
    skip = figures.plot_skip(one, committed(SECOND))
    assert "one holds no samples of 1 GiB" in skip.layout.annotations[-1].text
    assert stars(skip)


@pytest.mark.parametrize("moment", figures.MOMENTS)
def test_second_dataset_is_named_at_every_moment(moment: str) -> None:
    figure = figures.plot_zeropages(committed(MAIN), committed(SECOND), moment)
    assert SECOND in legend(figure)
