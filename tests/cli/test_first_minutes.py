# SPDX-License-Identifier: MIT
"""The first commands a user runs: progress, results, and a clean end after a signal."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from making import ROOT, code, measured, parameters, save
from running import UFFDLAB, alive, environment, sentence, uffdlab_run, wait_until

from uffdlab.cli import render as command
from uffdlab.measure import journal
from uffdlab.measure.journal import Request
from uffdlab.report.render import At

# --- a clean end -----------------------------------------------------------------------------------------------------

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
# Writes so slowly that a signal comes in between; sleeps in pieces, since a handler has to run in between.
SLOW = """
import pathlib, time
def write_text(self, text, *args, real=pathlib.Path.write_text, **more):
    real(self, text, *args, **more)
    if self.suffix == ".html":
        real(pathlib.Path("at"), "writing")
        time.sleep(60)
pathlib.Path.write_text = write_text
"""


RENDER = ("render", "--data=data", "--notebooks=notebooks", "--out=report")


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a dataset, a notebook that runs as long as a file says, and its page."""
    where = tmp_path_factory.mktemp("once")
    measured(where / "data")
    pid = "import os, pathlib, time\npathlib.Path('../kernel').write_text(str(os.getpid()))"
    wait = "for _ in range(int(pathlib.Path('../seconds').read_text()) * 10):\n    time.sleep(0.1)"
    save(where / "notebooks" / "01_a.ipynb", "# A", parameters(), code(pid), code(wait))
    save(where / "notebooks" / "02_b.ipynb", "# B", parameters())
    (where / "seconds").write_text("0")
    done = uffdlab_run(*RENDER, cwd=where)
    assert done.returncode == 0, done.stderr
    (where / "stderr").write_text(done.stderr)
    return where


@pytest.fixture
def rendered(once: Path, tmp_path: Path) -> Path:
    """Return a copy of that directory."""
    return Path(shutil.copytree(once, tmp_path / "copy"))


def processes(mark: str) -> list[int]:
    """Return the running processes that have this mark in their environment."""
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"MARK={mark}".encode() in (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if marked and alive(int(process.name)):
            pids.append(int(process.name))
    return pids


def measures(mark: str) -> bool:
    """Return whether one of those processes is the child of a block."""
    for pid in processes(mark):
        with suppress(OSError):
            if b"uffdlab.measure.child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return True
    return False


def ended(where: Path, number: int, moment: Callable[[str], bool], *more: str, path: str = "") -> str:
    """Send the signal once ``moment`` of the processes' mark is true; check that everything ended cleanly and return
    standard error.
    """
    pages = {page.name: page.read_bytes() for page in (where / "report").iterdir()}
    before = sorted(os.listdir(where))
    mark = f"{where}-{number}"
    env = environment(MARK=mark)
    env["PYTHONPATH"] = os.pathsep.join(part for part in (path, env["PYTHONPATH"]) if part)
    arguments = [*UFFDLAB, *RENDER, *more]
    with subprocess.Popen(arguments, cwd=where, env=env, stderr=subprocess.PIPE, text=True) as running:
        wait_until(lambda: moment(mark) or running.poll() is not None, "it is the moment", 120)
        time.sleep(0.3)
        running.send_signal(number)
        _, stderr = running.communicate(timeout=60)
    assert running.returncode == SIGNALS[signal.Signals(number)], stderr
    assert stderr.splitlines()[-1] == "uffdlab: interrupted, and report is as it was before"
    assert "Traceback" not in stderr
    assert "never retrieved" not in stderr
    wait_until(lambda: not processes(mark), f"all have ended but {processes(mark)}", 10)
    assert {page.name: page.read_bytes() for page in (where / "report").iterdir()} == pages
    assert set(os.listdir(where)) - set(before) <= {"kernel", "at", "build"}
    return stderr


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_a_notebook_runs_keeps_the_pages_and_ends_its_kernel(number: int, rendered: Path) -> None:
    (rendered / "kernel").unlink()
    (rendered / "seconds").write_text("120")
    ended(rendered, number, lambda _: (rendered / "kernel").exists())
    kernel = int((rendered / "kernel").read_text())
    wait_until(lambda: not alive(kernel), "the kernel has ended", 10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_pages_are_written_keeps_the_earlier_pages(number: int, rendered: Path) -> None:
    (rendered / "slow").mkdir()
    (rendered / "slow" / "sitecustomize.py").write_text(SLOW)
    ended(rendered, number, lambda _: (rendered / "at").exists(), path=str(rendered / "slow"))


@pytest.mark.uffd
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_measuring_leaves_no_partial_dataset(number: int, rendered: Path) -> None:
    ended(rendered, number, measures, "--measure")
    assert not (rendered / "build").exists()


# --- progress --------------------------------------------------------------------------------------------------------


def test_every_finished_page_is_reported(once: Path) -> None:
    progress = [line.split(": ", 2)[1:] for line in (once / "stderr").read_text().splitlines()]
    assert [name for name, _ in progress] == ["01_a", "02_b"]
    assert all(text.endswith(f" s ({number} of 2 notebooks)") for number, (_, text) in enumerate(progress, 1))


def test_a_long_notebook_is_reported_every_minute(capsys: pytest.CaptureFixture[str]) -> None:
    with command._progress() as report:
        for second in range(200):
            report(At("03_long", 3, 6, second // 10, 30, float(second), done=False))
        report(At("03_long", 3, 6, 0, 0, 200.4, done=True))
        report(At("04_next", 4, 6, 1, 9, 0.0, done=False))
        report(At("04_next", 4, 6, 1, 9, 61.0, done=False))
    assert capsys.readouterr().err.splitlines() == [
        "uffdlab: 03_long, cell 6 of 30: running for 1 min",
        "uffdlab: 03_long, cell 12 of 30: running for 2 min",
        "uffdlab: 03_long, cell 18 of 30: running for 3 min",
        "uffdlab: 03_long: 200 s (3 of 6 notebooks)",
        "uffdlab: 04_next, cell 1 of 9: running for 1 min",
    ]


def test_execute_reports_the_number_of_the_running_cell(tmp_path: Path) -> None:
    from uffdlab.report.execute import execute

    reports: list[tuple[int, int]] = []
    path = save(tmp_path / "01_a.ipynb", "# A", parameters(), code("import time\ntime.sleep(2.5)"))
    execute(path, {}, None, lambda cell, cells: reports.append((cell, cells)))
    assert reports[0] == (0, 3)
    assert reports[-1] == (3, 3)
    assert len(reports) >= 3


# --- results ---------------------------------------------------------------------------------------------------------


@pytest.mark.uffd
def test_a_suite_ends_with_the_claims_it_decides(tmp_path: Path) -> None:
    done = uffdlab_run("measure", "--suite=quick", "--only= occupancy , tracking", "--out=d", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r" 0 of \d+ claims are decided here; \d+ need: ", done.stderr.splitlines()[-1])


# --- one point -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return a point as JSON and as text."""
    where = tmp_path_factory.mktemp("point")
    point = ("measure", "faults", "--size=1MiB", "--repeats=8", "--set=access=read")
    done = uffdlab_run(*point, "--json", cwd=where)
    return {"json": json.loads(done.stdout), "text": uffdlab_run(*point, cwd=where).stdout}


@pytest.mark.uffd
def test_a_point_is_printed_with_medians_intervals_and_units(printed: dict[str, Any]) -> None:
    head, _, rows = printed["text"].partition("\n\n")
    first, *lines = head.splitlines()
    assert first == "median (95 % interval, from 6 warm samples on; all of one process):"
    assert [line.strip(" :") for line in lines if line.endswith(":")] == [
        "first read",
        "second read",
        "write after reads",
    ]
    walls = [line.split() for line in lines if "wall_ns" in line]
    assert len(walls) == 3
    assert all(unit in ("ns", "µs", "ms") and low.startswith("(") and "to" in rest for _, _, unit, low, *rest in walls)
    assert rows.lstrip().startswith("sample")


@pytest.mark.uffd
def test_the_json_summary_is_of_the_warm_rows(printed: dict[str, Any]) -> None:
    rows = [row for row in printed["json"]["faults"] if row["touch"] == "first read" and not row["cold"]]
    times = sorted(row["wall_ns"] for row in rows)
    reads = [row for row in printed["json"]["summary"] if row["of"] == {"touch": "first read"}]
    (summary,) = [row for row in reads if row["column"] == "wall_ns"]
    assert summary == {
        "table": "faults", "column": "wall_ns", "unit": "ns", "of": {"touch": "first read"}, "samples": 7,
        "median": times[3], "low": times[0], "high": times[-1], "cold": False,
    }  # fmt: skip


@pytest.mark.uffd
@pytest.mark.parametrize(("repeats", "samples"), [(1, "1 cold sample"), (2, "1 warm sample"), (6, "5 warm samples")])
def test_too_few_samples_give_their_number_and_no_interval(repeats: int, samples: str, tmp_path: Path) -> None:
    done = uffdlab_run("measure", "protect", "--size=1MiB", f"--repeats={repeats}", cwd=tmp_path)
    line = next(line for line in done.stdout.splitlines() if "protect_ns" in line)
    assert line.endswith(f"s  (no interval: {samples})")


@pytest.mark.uffd
def test_semantics_rows_have_no_medians(tmp_path: Path) -> None:
    done = uffdlab_run("measure", "semantics", cwd=tmp_path)
    assert "median" not in done.stdout


# --- no option is ignored, and no file of the user is removed --------------------------------------------------------


@pytest.mark.parametrize(
    ("only", "refusal"),
    [
        ("occupancy,equality", "the suite quick has no probe 'equality': choose from protect, semantics, faults,"),
        ("magic", "unknown probe 'magic': choose from protect, semantics, faults,"),
        ("", "has an empty name"),
        ("protect,,faults", "has an empty name"),
        ("protect,", "has an empty name"),
        ("protect, protect", "names 'protect' twice"),
        ("Protect", "unknown probe 'Protect'"),
        ("protect faults", "unknown probe 'protect faults'"),
    ],
)
def test_only_accepts_probes_of_the_suite(only: str, refusal: str, tmp_path: Path) -> None:
    assert refusal in sentence(uffdlab_run("measure", "--suite=quick", f"--only={only}", "--out=d", cwd=tmp_path))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("option", ["--size=4GiB", "--set=populated=0.5", "--repeats=3", "--design=preread"])
def test_an_option_of_a_point_is_refused_with_a_suite(option: str, tmp_path: Path) -> None:
    refusal = sentence(uffdlab_run("measure", "--suite=quick", "--out=d", option, cwd=tmp_path))
    assert "is for a single point, and a suite has its own" in refusal


def begun(out: Path) -> journal.Journal:
    new = journal.new(out, Request("quick", ("semantics",), 5))
    new.begin({"load_1min": 0.25}, since=0.0)
    return new


def test_files_beside_a_journal_are_kept_and_reported(tmp_path: Path) -> None:
    unfinished = begun(tmp_path / "d")
    (unfinished.partial / "notes.txt").write_text("mine")
    assert unfinished.discard() == f"{unfinished.partial} is kept: it holds files that are not this campaign's journal"
    assert os.listdir(unfinished.partial) == ["notes.txt"]


def test_discard_keeps_another_journal_at_the_same_path(tmp_path: Path) -> None:
    unfinished = begun(tmp_path / "d")
    unfinished.partial.rename(tmp_path / "moved")
    begun(tmp_path / "d").close()
    unfinished.discard()
    assert (tmp_path / "d.partial" / journal.NAME).exists()
    assert (tmp_path / "moved" / journal.NAME).exists()


@pytest.mark.parametrize("command", [("sim", "--calibrate=reference"), ("data", "merge", "data", "data")])
def test_a_directory_with_files_is_refused_as_out(command: tuple[str, ...], tmp_path: Path) -> None:
    measured(tmp_path / "data")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "notes.txt").write_text("mine")
    assert "exists and is not empty" in sentence(uffdlab_run(*command, "--out=d", cwd=tmp_path))
    assert (tmp_path / "d" / "notes.txt").read_text() == "mine"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_clean_keeps_datasets_and_pages(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    built = [tmp_path / "build" / name for name in ("lib.linux-x86_64", "temp.linux-x86_64", "sanitized")]
    kept = [tmp_path / "build" / name for name in ("mine", "library", "report", "this-machine", "full.partial")]
    for directory in (*built, *kept, tmp_path / ".venv", tmp_path / "uffdlab.egg-info"):
        directory.mkdir(parents=True)
    done = subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted((tmp_path / "build").iterdir()) == sorted(kept)
    assert "kept: " in done.stdout
    assert sorted(os.listdir(tmp_path)) == ["Makefile", "build"]
    shutil.rmtree(tmp_path / "build")
    assert subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True).returncode == 0
