# SPDX-License-Identifier: MIT
"""The form in which notebooks are committed: executed, figures as pictures, and comparable with what is computed."""

from __future__ import annotations

import base64
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from making import ROOT, code, notebook, parameters, save, says, shows

from uffdlab.report import committed
from uffdlab.report.execute import read
from uffdlab.report.page import PLOTLY

FIGURE = """import plotly.graph_objects as go
go.Figure(go.Scatter(x=[1, 2], y=[3, 4]), layout={"meta": {"caption": "Two points"}})"""


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as make does: it opens a browser itself."""
    command = [sys.executable, "-m", "uffdlab.report.committed", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def rewritten(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("notebooks") / "01_small.ipynb"
    cells = [code(FIGURE, id="figure"), code("40 + 2", tags=["result"], id="answer"), code("print('said')", id="said")]
    save(path, "# A small notebook\n\nWhat it shows.", parameters(), *cells)
    done = _run(str(path.parent))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(path)
    return path


@pytest.mark.browser
def test_a_figure_becomes_a_small_picture_with_its_caption(rewritten: Path) -> None:
    (output,) = next(cell for cell in read(rewritten).cells if cell.id == "figure").outputs
    assert set(output.data) == {"image/png", "text/plain"}
    assert output.data["text/plain"] == "Two points"
    picture = base64.b64decode(output.data["image/png"])
    width, height = struct.unpack(">II", picture[16:24])
    assert picture.startswith(b"\x89PNG")
    assert len(picture) <= committed.LARGEST_PICTURE
    assert 500 < width < 2000
    assert 300 < height < 2000


@pytest.mark.browser
def test_nothing_of_the_drawing_or_of_this_machine_is_kept(rewritten: Path) -> None:
    text = rewritten.read_text(encoding="utf-8")
    assert PLOTLY not in text
    assert str(rewritten.parent) not in text
    assert set(read(rewritten).metadata) == {"kernelspec", "language_info"}
    assert "iopub" not in text


@pytest.mark.browser
def test_cells_keep_their_names_and_order(rewritten: Path) -> None:
    assert [cell.id for cell in read(rewritten).cells][-3:] == ["figure", "answer", "said"]


@pytest.mark.browser
def test_the_check_passes_on_what_was_just_written(rewritten: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = rewritten.read_bytes()
    assert committed.main(["--check", str(rewritten.parent)]) == 0
    assert capsys.readouterr().out == ""
    assert rewritten.read_bytes() == before


def test_the_check_fails_on_another_result_and_says_how_to_accept_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "01_small.ipynb"
    nbformat.write(_with("43"), path)
    monkeypatch.setattr(committed, "execute", lambda path, parameters: _with("42"))
    assert committed.main(["--check", str(tmp_path)]) == 1
    assert capsys.readouterr().out == (
        "01_small.ipynb: cell 'answer' now gives\n42\nwhere committed is\n43\n"
        f"to accept what is computed now: {committed.ACCEPT}\n"
    )


def test_a_directory_without_notebooks_is_exit_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert committed.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("uffdlab: error: ")


def _with(text: str, *more: Any) -> Any:
    return notebook("# A", code("f", shows("text/plain", text), id="answer", tags=["result"]), *more)


def test_equal_results_give_no_sentence() -> None:
    assert committed.compare(_with("42"), _with("42")) == []


def test_another_result_is_shown_beside_the_committed_one() -> None:
    assert committed.compare(_with("42"), _with("43")) == ["cell 'answer' now gives\n43\nwhere committed is\n42"]


def test_a_new_result_and_one_that_is_gone_both_count() -> None:
    extra = code("g", says("said\n"), id="extra", tags=["result"])
    assert committed.compare(_with("42"), _with("42", extra)) == [
        "cell 'extra' now gives\nsaid\n\nwhere committed is\nnothing"
    ]
    assert committed.compare(_with("42", extra), _with("42")) == [
        "cell 'extra' now gives\nnothing\nwhere committed is\nsaid\n"
    ]


def test_what_is_not_a_result_may_differ() -> None:
    assert committed.compare(notebook(code("f", says("1"), id="a")), notebook(code("f", says("2"), id="a"))) == []
