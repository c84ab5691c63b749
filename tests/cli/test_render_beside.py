# SPDX-License-Identifier: MIT
"""``uffdlab render --beside``: a page of two datasets, and what cannot be drawn beside what."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from making import code, measured, opened, parameters, save
from running import sentence, uffdlab_run

PARAMETERS = "data = None\ncosts = None\nthis_machine = None\nbeside = None"
LOAD = "from uffdlab import figures, notebook\ndata, costs, beside = notebook.load(data, costs, this_machine, beside)"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with two datasets, a notebook that draws both, and its page."""
    where = tmp_path_factory.mktemp("beside")
    measured(where / "data", "first-1")
    measured(where / "more", "second-2")
    cells = (parameters(PARAMETERS), code(LOAD), code("figures.plot_skip(data, beside)"))
    save(where / "notebooks" / "01_a.ipynb", "# A", *cells)
    done = uffdlab_run("render", "--data=data", "--beside=more", "--notebooks=notebooks", "--out=out", cwd=where)
    assert done.returncode == 0, done.stderr
    return where


def test_page_names_datasets_and_no_path(made: Path) -> None:
    page = (made / "out" / "01_a.html").read_text(encoding="utf-8")
    assert "second-2 is drawn beside first-1 in the figures that name it." in page
    assert "second-2 · Linux 6.18.5" in page
    assert str(made) not in page
    assert "this machine" not in page


@pytest.mark.browser
def test_legend_in_a_page_names_both_datasets(made: Path, browser: Any) -> None:
    with opened(browser, made / "out" / "01_a.html") as tab:
        entries = tab.locator(".legendtext").all_text_contents()
        assert {entry.split(":")[0] for entry in entries} == {"first-1", "second-2"}
        assert len(entries) == 6
        assert "Grey stars and squares: second-2; all else that was measured: first-1." in tab.inner_text("figcaption")


REFUSED = {
    ("--beside=nowhere",): "is neither a dataset directory",
    ("--beside=published",): "dataset 'published' is published, not measured",
    ("--beside=data",): "'first-1' cannot be drawn beside a dataset of the same name",
    ("--beside=",): "the name of the dataset is empty",
    ("--beside=more", "--this-machine=more"): "--this-machine and --beside exclude each other",
    ("--beside=more", "--measure"): "--measure and --beside exclude each other",
    ("--measure", "--this-machine=more"): "--measure and --this-machine exclude each other",
}


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_what_cannot_be_drawn_is_one_sentence_before_anything_is_written(
    arguments: tuple[str, ...], made: Path
) -> None:
    before = sorted(os.listdir(made))
    done = uffdlab_run("render", "--data=data", *arguments, "--notebooks=notebooks", "--out=fresh", cwd=made)
    assert REFUSED[arguments] in sentence(done)
    assert sorted(os.listdir(made)) == before


def test_notebook_that_knows_no_second_dataset_is_one_sentence(made: Path, tmp_path: Path) -> None:
    save(tmp_path / "notebooks" / "01_old.ipynb", "# Old", parameters())
    options = (f"--data={made / 'data'}", f"--beside={made / 'more'}", "--notebooks=notebooks", "--out=fresh")
    done = uffdlab_run("render", *options, cwd=tmp_path)
    assert sentence(done) == "01_old.ipynb has no parameter 'beside'; it has data, costs, this_machine"
    assert os.listdir(tmp_path) == ["notebooks"]
