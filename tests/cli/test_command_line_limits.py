# SPDX-License-Identifier: MIT
"""Without a working directory, with few files, CPUs or little memory, a command works or gives one sentence."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import pytest
from running import UFFDLAB, environment, sentence, uffdlab_run


def test_commands_that_need_no_working_directory_work_without_one(tmp_path: Path) -> None:
    script = 'mkdir gone && cd gone && rmdir ../gone && "$@"'

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", "-c", script, "-", *UFFDLAB, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)

    for arguments in (("data", "list"), ("sim", "--list"), ("claims", "atomicity")):
        done = run(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    for arguments in (("data", "merge", "published", "published", "--out", "x"), ("render", "--out", "x")):
        assert "the working directory does not exist any more: change to one that does" in sentence(run(*arguments))
    assert "cannot be written" in sentence(run("scan", "--self", "--bitmap", "b"))


@pytest.mark.uffd
def test_six_open_files_suffice_or_give_one_sentence(tmp_path: Path) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6))

    for arguments in (("data", "list"), ("claims", "atomicity"), ("scan", "--self"), ("doctor",)):
        done = uffdlab_run(*arguments, cwd=tmp_path, preexec_fn=limited)
        assert done.returncode == 0 or "too many files are open: raise the limit (ulimit -n)" in sentence(done)
        assert "Traceback" not in done.stderr
    measured = uffdlab_run("measure", "protect", "--size=4MiB", "--out=d", cwd=tmp_path, preexec_fn=limited)
    assert "too many open files (remedy: raise the limit (ulimit -n))" in sentence(measured)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("limit", "mib", "remedy"),
    [(resource.RLIMIT_AS, 250, "ulimit -v 393216"), (resource.RLIMIT_DATA, 32, "ulimit -d 65536")],
)
def test_too_low_memory_limits_are_refused_before_numpy_is_imported(
    tmp_path: Path, limit: int, mib: int, remedy: str
) -> None:
    def limited() -> None:
        resource.setrlimit(limit, (mib << 20, mib << 20))

    for arguments in (("claims",), ("sim", "--list"), ("scan", "--self"), ("measure",), ("render",)):
        done = uffdlab_run(*arguments, cwd=tmp_path, preexec_fn=limited)
        assert done.returncode == 2
        assert remedy in sentence(done)
        assert f"limited to {mib} MiB here" in sentence(done)
    for arguments in (("doctor",), ("data", "list"), ("render", "--help")):
        done = uffdlab_run(*arguments, cwd=tmp_path, preexec_fn=limited)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.uffd
def test_a_point_with_more_threads_than_cpus_is_refused_and_nothing_else_is_said(tmp_path: Path) -> None:
    def limited() -> None:
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])

    done = uffdlab_run("measure", "scale", "--set=threads=16", cwd=tmp_path, preexec_fn=limited)
    assert "needs 16 CPUs to pin threads to, and this process may run on 1" in sentence(done)
    assert len(done.stderr.splitlines()) == 1
