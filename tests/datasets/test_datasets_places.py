# SPDX-License-Identifier: MIT
"""The directory that a name or path refers to from any working directory, and the error if there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from handmade import make, refused
from making import ROOT

from uffdlab import notebook
from uffdlab.datasets import locate

HERE = "build/places-of-a-test"


@pytest.fixture
def measured_here(tmp_path: Path) -> Iterator[str]:
    """Make a dataset in the checkout's build directory; yield its path as the tool prints it."""
    made = ROOT / HERE
    existed = made.parent.exists()
    shutil.rmtree(made, ignore_errors=True)
    try:
        make(made)
        yield HERE
    finally:
        shutil.rmtree(made)
        if not existed:
            made.parent.rmdir()


def test_a_printed_path_works_from_the_directory_of_the_notebooks(
    measured_here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT / "notebooks")
    for path in (measured_here, f"./{measured_here}", Path(measured_here)):
        assert locate(path).resolve() == ROOT / measured_here
    data, costs, here = notebook.load(measured_here, "reference", measured_here)
    assert (data.id, costs.id[:10], here and here.id) == ("lab", "reference-", "lab")


def test_the_working_directory_is_searched_first(
    measured_here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / measured_here, id="nearer")
    monkeypatch.chdir(tmp_path)
    assert notebook.load(measured_here, "reference", None)[0].id == "nearer"


def test_the_error_names_the_places_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with refused("build/nope does not exist", str(tmp_path / "build/nope"), str(ROOT / "build/nope")):
        notebook.load("build/nope", "reference", None)
    with refused("'nope' is neither", str(tmp_path / "nope"), str(ROOT / "nope"), "reference-"):
        notebook.load("nope", "reference", None)


def test_an_absolute_path_is_used_as_it_is(tmp_path: Path) -> None:
    with refused(f"{tmp_path}/nope does not exist (looked for {tmp_path}/nope)"):
        locate(str(tmp_path / "nope"))


@pytest.mark.parametrize(
    ("place", "path", "parts"),
    [
        (
            lambda: Path("round").symlink_to("round"),
            "./round",
            ["round goes through a symbolic link", "leads back to itself"],
        ),
        (lambda: Path("round").symlink_to("round"), "round/x", ["leads back to itself"]),
        (lambda: os.mkfifo("pipe"), "./pipe", ["pipe is a FIFO, not a directory"]),
        (lambda: Path("file").write_text(""), "./file", ["file is a file, not a directory"]),
        (lambda: Path("dangling").symlink_to("nowhere"), "./dangling", ["dangling does not exist"]),
        (lambda: None, "x/" + "y" * 5000, ["is too long for a path"]),
        (lambda: None, "y" * 5000, ["is neither a dataset directory"]),
        (lambda: None, "a/\0", ["a character that no file name can have"]),
        (lambda: None, "a\0", ["is neither a dataset directory"]),
    ],
)
def test_an_invalid_path_gives_one_short_sentence(
    place: Callable[[], object], path: str, parts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place()
    with refused(*parts) as caught:
        notebook.load(path, "reference", None)
    assert len(str(caught.value)) < 1500


def test_a_deleted_working_directory_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with refused("does not exist (looked for"):
        locate("build/nope")
    assert locate("reference-").parent == ROOT / "data"
