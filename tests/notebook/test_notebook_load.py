# SPDX-License-Identifier: MIT
"""The datasets that a notebook's parameters name, and the second one that its figures draw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from making import measured

from uffdlab import datasets, figures, notebook
from uffdlab.errors import UffdlabError

INTEL = "intel-2026-11-27"


def test_a_notebook_draws_the_reference_alone_by_default() -> None:
    data, costs, beside = notebook.load()
    assert data.id == costs.id
    assert data.id.startswith("reference-")
    assert beside is None


def test_a_second_dataset_is_named_by_id_and_called_by_it() -> None:
    data, _, beside = notebook.load(beside=INTEL)
    assert beside is not None
    assert (beside.id, beside.label) == (INTEL, INTEL)
    figure = figures.plot_faults(data, beside)
    assert [trace.name for trace in figure.data if trace.showlegend] == [data.id, INTEL]


def test_a_second_dataset_may_be_a_directory_or_the_reference(tmp_path: Path) -> None:
    mine = str(measured(tmp_path / "mine", "mine").path)
    assert [one.label for one in notebook.load(beside=mine) if one][2] == "mine"
    data, _, beside = notebook.load(mine, beside="reference")
    assert beside is not None
    assert (data.id, beside.id[:10]) == ("mine", "reference-")


def test_the_own_measurement_is_called_this_machine_whatever_its_id(tmp_path: Path) -> None:
    mine = str(measured(tmp_path / "mine", "mine").path)
    _, _, here = notebook.load(this_machine=mine)
    assert here is not None
    assert (here.id, here.label) == ("mine", "this machine")


REFUSED = {
    "an unknown id": ("nowhere-2026", "is neither a dataset directory"),
    "nothing": ("", "the name of the dataset is empty"),
    "a directory that is not there": ("no/such/place", "does not exist"),
    "published figures": ("published", "dataset 'published' is published, not measured"),
    "calibrated costs": ("costs-2026-11-28-1932", "dataset 'costs-2026-11-28-1317' is calibrated, not measured"),
    "the same dataset": ("reference", "cannot be drawn beside a dataset of the same name"),
    "an ambiguous prefix": ("replication-", "pass the directory"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_second_dataset_that_cannot_be_drawn_is_one_sentence(what: str) -> None:
    wanted, says = REFUSED[what]
    with pytest.raises(UffdlabError) as refused:
        notebook.load(beside=wanted)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_another_dataset_of_the_same_name_is_refused(tmp_path: Path) -> None:
    one, two = (measured(tmp_path / name, "twin") for name in ("one", "two"))
    with pytest.raises(UffdlabError, match="'twin' cannot be drawn beside a dataset of the same name"):
        notebook.load(str(one.path), beside=str(two.path))


def test_figures_draw_two_datasets_and_not_three(tmp_path: Path) -> None:
    mine = str(measured(tmp_path / "mine").path)
    with pytest.raises(UffdlabError, match="this_machine and beside exclude each other"):
        notebook.load(this_machine=mine, beside=INTEL)


def test_a_label_is_the_id_of_whatever_the_dataset_becomes() -> None:
    data = datasets.load(datasets.locate(INTEL))
    assert replace(data, id="other").label == "other"
