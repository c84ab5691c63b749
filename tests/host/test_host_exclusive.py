# SPDX-License-Identifier: MIT
"""One run at a time may change this host: a second one is refused before it measures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running import environment, sentence, uffdlab_run, wait_until

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.host import exclusive, state

HOLD = """
import sys, subprocess
from uffdlab.host import exclusive
with exclusive.claimed():
    {before}
    print("claimed", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(state.STATE_DIR_VARIABLE, str(tmp_path / "state"))


@contextmanager
def another(before: str = "pass") -> Iterator[subprocess.Popen[str]]:
    """Start a process that has the claim, and end it."""
    command = [sys.executable, "-c", HOLD.format(before=before)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "claimed\n"
            yield child
        finally:
            child.kill()


def test_second_claim_is_refused_and_names_the_first_process() -> None:
    with another() as first, pytest.raises(UffdlabError, match=f"process {first.pid} measures"), exclusive.claimed():
        pass
    with exclusive.claimed():
        assert os.listdir(state.directory()) == ["run.lock"]
    assert os.listdir(state.directory()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_claim_ends_with_its_process(number: int) -> None:
    with another() as first:
        first.send_signal(number)
        first.wait()
        with exclusive.claimed():
            pass


def test_surviving_child_does_not_hold_the_claim() -> None:
    child = "import os\n    if os.fork() == 0: import time; time.sleep(5); os._exit(0)"
    with another(before=child) as first:
        first.kill()
        first.wait()
        with exclusive.claimed():
            pass


def test_claim_without_a_state_directory_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with exclusive.claimed():
        pass


POINT = ("measure", "protect", "--size=4MiB", "--repeats=2", "--allow-host-changes")
QUICK = ("measure", "--suite=quick", "--only=semantics", "--out=mine", "--allow-host-changes")
live = pytest.mark.skipif(native.why_missing() is not None, reason=str(native.why_missing()))


@live
@pytest.mark.uffd
@pytest.mark.parametrize("arguments", [POINT, QUICK], ids=["point", "suite"])
def test_second_run_is_refused_while_the_first_measures(arguments: tuple[str, ...], tmp_path: Path) -> None:
    with another() as first:
        refusal = sentence(uffdlab_run(*arguments, cwd=tmp_path))
        assert refusal.startswith(f"process {first.pid} measures with --allow-host-changes here")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["state"], "nothing is begun"
        done = uffdlab_run(*arguments[:-1], cwd=tmp_path)
        assert done.returncode == 0, "who changes nothing need not wait"


@live
@pytest.mark.uffd
def test_measure_refuses_a_second_run_until_the_first_ends(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    command = [sys.executable, "-m", "uffdlab", *QUICK]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True) as first:
        try:
            lock = tmp_path / "state" / "run.lock"
            wait_until(lambda: lock.exists() and lock.read_text().strip() == str(first.pid), "the first run has begun")
            refusal = sentence(uffdlab_run(*POINT, cwd=tmp_path / "other"))
            assert f"process {first.pid} measures" in refusal
        finally:
            first.kill()
    assert uffdlab_run(*POINT, cwd=tmp_path / "other").returncode == 0
