# SPDX-License-Identifier: MIT
"""A directory is replaced only where it is ours, and at every moment the old or the new one is complete."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uffdlab import ownership
from uffdlab.errors import UffdlabError

OURS = {"pages", "index"}


def names_of(place: Path) -> set[str]:
    """Return the names that uffdlab wrote: a directory with an index is ours."""
    if not (place / "index").exists():
        raise UffdlabError("it has no index")
    return OURS


def made(place: Path, text: str = "old") -> Path:
    place.mkdir()
    for name in OURS:
        (place / name).write_text(text)
    return place


def replace(place: Path, text: str = "new") -> None:
    with ownership.replaced(place, names_of) as stage:
        made(stage, text)


def content(place: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in place.iterdir()}


@pytest.fixture(params=["at once", "in three steps"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "in three steps":
        monkeypatch.setattr(ownership, "_exchanged_at_once", lambda one, other: False)
    return str(request.param)


def test_our_directory_is_replaced_without_leftovers(tmp_path: Path, way: str) -> None:
    replace(made(tmp_path / "d"))
    assert content(tmp_path / "d") == dict.fromkeys(OURS, "new")
    assert os.listdir(tmp_path) == ["d"]


@pytest.mark.parametrize("there", [lambda place: None, Path.mkdir])
def test_free_or_empty_place_is_used(there: Callable[[Path], None], tmp_path: Path) -> None:
    there(tmp_path / "d")
    replace(tmp_path / "d")
    assert content(tmp_path / "d") == dict.fromkeys(OURS, "new")


def _notes(place: Path) -> None:
    (place / "notes.txt").write_text("mine")


def _hidden(place: Path) -> None:
    (place / ".notes").write_text("mine")


def _below(place: Path) -> None:
    (place / "campaign").mkdir()
    (place / "campaign" / "notes.txt").write_text("mine")


def _link(place: Path) -> None:
    (place / "pages").unlink()
    (place / "pages").symlink_to("/etc/hostname")


def _directory_of_that_name(place: Path) -> None:
    (place / "pages").unlink()
    (place / "pages").mkdir()


def _fifo(place: Path) -> None:
    (place / "pages").unlink()
    os.mkfifo(place / "pages")


def _no_index(place: Path) -> None:
    (place / "index").unlink()


STRANGE = [_notes, _hidden, _below, _link, _directory_of_that_name, _fifo, _no_index]


@pytest.mark.parametrize("change", STRANGE)
def test_directory_with_foreign_files_is_kept(change: Callable[[Path], None], tmp_path: Path) -> None:
    change(made(tmp_path / "d"))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UffdlabError, match="d is kept as it is: it h"):
        replace(tmp_path / "d")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("change", [_notes, _hidden, _below])
def test_files_added_meanwhile_are_kept(
    change: Callable[[Path], None], tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even between the last check and the exchange."""
    place = made(tmp_path / "d")

    def too_late(one: Path, other: Path, real: Callable[[Path, Path], None] = ownership.exchange) -> None:
        change(place)
        monkeypatch.setattr(ownership, "exchange", real)
        real(one, other)

    monkeypatch.setattr(ownership, "exchange", too_late)
    with pytest.raises(UffdlabError, match="d is kept as it is"):
        replace(place)
    assert (place / "index").read_text() == "old"
    assert [file.read_text() for file in place.rglob("*notes*")] == ["mine"]
    assert os.listdir(tmp_path) == ["d"]


def test_link_to_our_directory_is_kept(tmp_path: Path) -> None:
    made(tmp_path / "elsewhere")
    (tmp_path / "d").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UffdlabError, match="it is a symbolic link"):
        replace(tmp_path / "d")
    assert content(tmp_path / "elsewhere") == dict.fromkeys(OURS, "old")


def test_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("mine")
    with pytest.raises(UffdlabError, match="it is not a directory"):
        replace(tmp_path / "d")
    assert (tmp_path / "d").read_text() == "mine"


def test_directory_of_another_user_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "d")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(UffdlabError, match="it belongs to another user"):
        replace(tmp_path / "d")


def test_failure_in_the_block_leaves_the_old_directory(tmp_path: Path) -> None:
    place = made(tmp_path / "d")

    def fails() -> None:
        with ownership.replaced(place, names_of) as stage:
            made(stage)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert content(place) == dict.fromkeys(OURS, "old")
    assert os.listdir(tmp_path) == ["d"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", range(7))
def test_interruption_at_any_step_leaves_old_or_new_complete(
    call: int, when: str, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = made(tmp_path / "d")
    steps = 0

    def interrupted(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **more: Any) -> Any:
            nonlocal steps
            here, steps = steps == call, steps + 1
            if here and when == "before":
                raise KeyboardInterrupt
            result = real(*arguments, **more)
            if here and when == "after":
                raise KeyboardInterrupt
            return result

        return step

    with monkeypatch.context() as patched:
        for module, name in ((ownership, "why_kept"), (ownership, "exchange"), (os, "rename")):
            patched.setattr(module, name, interrupted(getattr(module, name)))
        try:
            replace(place)
        except KeyboardInterrupt:
            pass
        else:
            assert steps <= call
    assert content(place) in [dict.fromkeys(OURS, text) for text in ("old", "new")]
