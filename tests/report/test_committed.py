# SPDX-License-Identifier: MIT
"""The committed form of notebooks: executed, figures as pictures, results comparable with a new execution."""

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
    """Run the command in a child process, as make does: it opens a browser itself."""
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
def test_figure_becomes_a_small_picture_with_its_caption(rewritten: Path) -> None:
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
def test_plot_data_and_machine_names_are_dropped(rewritten: Path) -> None:
    text = rewritten.read_text(encoding="utf-8")
    assert PLOTLY not in text
    assert str(rewritten.parent) not in text
    assert set(read(rewritten).metadata) == {"kernelspec", "language_info"}
    assert "iopub" not in text


@pytest.mark.browser
def test_cells_keep_ids_and_order(rewritten: Path) -> None:
    assert [cell.id for cell in read(rewritten).cells][-3:] == ["figure", "answer", "said"]


@pytest.mark.browser
def test_check_passes_on_a_fresh_notebook(rewritten: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = rewritten.read_bytes()
    assert committed.main(["--check", str(rewritten.parent)]) == 0
    assert capsys.readouterr().out == ""
    assert rewritten.read_bytes() == before


def test_check_fails_on_another_result_and_names_the_command(
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


def test_directory_without_notebooks_is_exit_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert committed.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("uffdlab: error: ")


def _with(text: str, *more: Any) -> Any:
    return notebook("# A", code("f", shows("text/plain", text), id="answer", tags=["result"]), *more)


def test_equal_results_do_not_differ() -> None:
    assert committed.compare(_with("42"), _with("42")) == []


def test_changed_result_is_shown_beside_the_committed_one() -> None:
    assert committed.compare(_with("42"), _with("43")) == ["cell 'answer' now gives\n43\nwhere committed is\n42"]


def test_added_and_removed_results_differ() -> None:
    extra = code("g", says("said\n"), id="extra", tags=["result"])
    assert committed.compare(_with("42"), _with("42", extra)) == [
        "cell 'extra' now gives\nsaid\n\nwhere committed is\nnothing"
    ]
    assert committed.compare(_with("42", extra), _with("42")) == [
        "cell 'extra' now gives\nnothing\nwhere committed is\nsaid\n"
    ]


def test_cells_without_the_result_tag_may_differ() -> None:
    assert committed.compare(notebook(code("f", says("1"), id="a")), notebook(code("f", says("2"), id="a"))) == []
