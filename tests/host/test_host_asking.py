# SPDX-License-Identifier: MIT
"""doctor and measure survive any answer of a seccomp filter, killing included, and name it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import filters
import pytest
from running import UFFDLAB, environment, sentence, uffdlab_run

from uffdlab import native
from uffdlab.host import asking, deaths, errnos
from uffdlab.host.asking import Answer

pytestmark = pytest.mark.skipif(native.why_missing() is not None, reason=str(native.why_missing()))
filtered = pytest.mark.skipif(filters.why_impossible() is not None, reason=str(filters.why_impossible()))

POINT = ("measure", "protect", "--size=4MiB", "--repeats=2")
REFUSALS = ("EPERM", "ENOSYS", "EACCES", "EINVAL")
DEATHS = ("KILL_PROCESS", "KILL_THREAD", "TRAP")
USERFAULTFD = ("userfaultfd", "USERFAULTFD_IOC_NEW")  # root is given one by the device as well

# What is filtered, and the row of the doctor that says so; None: nothing that uffdlab rests on.
ROWS: dict[tuple[str, ...], str | None] = {
    USERFAULTFD: "userfaultfd",
    ("UFFDIO_API",): "userfaultfd",
    ("UFFDIO_REGISTER",): "PAGEFAULT_FLAG_WP",
    ("UFFDIO_WRITEPROTECT",): "PAGEFAULT_FLAG_WP",
    ("PAGEMAP_SCAN",): "PAGEMAP_SCAN",
    ("MADV_POPULATE_READ",): "MADV_POPULATE_READ",
    ("prctl",): "child processes",
    ("sched_setaffinity",): "pinned threads",
    ("clone3",): "pinned threads",
    ("sched_getaffinity", "memfd_create", "perf_event_open", "mincore"): None,
}


def run(answer: str, calls: tuple[str, ...], cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return uffdlab_run(*arguments, cwd=cwd, command=[*filters.under(answer, *calls), *UFFDLAB])


def examined(answer: str, calls: tuple[str, ...], cwd: Path) -> dict[str, dict[str, Any]]:
    done = run(answer, calls, cwd, "doctor", "--json")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)["capabilities"]}


@filtered
@pytest.mark.uffd
@pytest.mark.parametrize("answer", ["EPERM", "KILL_PROCESS"])
@pytest.mark.parametrize("calls", ROWS, ids=" ".join)
def test_doctor_names_the_seccomp_filter_on_each_denied_call(
    answer: str, calls: tuple[str, ...], tmp_path: Path
) -> None:
    found, name = examined(answer, calls, tmp_path), ROWS[calls]
    lost = {row for row, capability in found.items() if "seccomp" in (capability["cause"] or "")}
    assert lost == (set() if name is None else {name})
    if name is not None:
        assert found[name]["ok"] is False
        assert "start the container with a seccomp profile that allows" in found[name]["remedy"]
        assert ("killed the process that asked for it (SIGSYS)" in found[name]["cause"]) is (answer in DEATHS)


@filtered
@pytest.mark.uffd
@pytest.mark.parametrize("answer", [*REFUSALS, *DEATHS])
def test_doctor_survives_when_every_call_is_filtered(answer: str, tmp_path: Path) -> None:
    everything = tuple(call for calls in ROWS for call in calls if call != "clone3" or answer in DEATHS)
    found = examined(answer, everything, tmp_path)
    assert "seccomp" in found["userfaultfd"]["cause"]
    assert ("(SIGSYS, system call " in found["userfaultfd"]["cause"]) is (answer == "TRAP")
    done = run(answer, everything, tmp_path, "doctor")
    assert done.returncode == 0
    assert "see userfaultfd" in done.stdout


@filtered
@pytest.mark.uffd
@pytest.mark.parametrize("answer", ["EPERM", "KILL_PROCESS"])
@pytest.mark.parametrize(
    ("calls", "operation"),
    [
        (USERFAULTFD, "open userfaultfd"),
        (("UFFDIO_API",), "UFFDIO_API"),
        (("UFFDIO_REGISTER",), "UFFDIO_REGISTER"),
        (("UFFDIO_WRITEPROTECT",), "UFFDIO_WRITEPROTECT"),
        (("prctl",), "PR_SET_PDEATHSIG"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_measure_names_the_denied_operation_and_the_filter(
    answer: str, calls: tuple[str, ...], operation: str, tmp_path: Path
) -> None:
    refusal = sentence(run(answer, calls, tmp_path, *POINT))
    assert operation in refusal
    assert "seccomp" in refusal
    assert "exit status" not in refusal
    if answer == "EPERM":
        assert "seccomp" in refusal.partition("remedy")[0], "likeliest first"


@filtered
@pytest.mark.uffd
def test_refused_madvise_is_not_reported_as_refused_mmap(tmp_path: Path) -> None:
    refusal = sentence(run("EPERM", ("madvise",), tmp_path, *POINT))
    assert "MADV_NOHUGEPAGE (private anonymous, 4 KiB pages, THP off, 4194304 B) failed with EPERM" in refusal
    assert "a seccomp filter denies the system call" in refusal
    assert "a seccomp profile that allows madvise" in refusal
    assert "mmap" not in refusal


@filtered
@pytest.mark.uffd
@pytest.mark.parametrize("answer", ["EPERM", "EINVAL"])
def test_measure_continues_without_pagemap_scan_when_it_is_refused(answer: str, tmp_path: Path) -> None:
    done = run(answer, ("PAGEMAP_SCAN",), tmp_path, *POINT, "--json")
    assert done.returncode == 0, done.stderr
    assert {row["zeropages"] for row in json.loads(done.stdout)["samples"]} == {None}
    (message,) = [line for line in done.stderr.splitlines() if "zeropages" in line]
    assert "zeropages and huge pages are not counted" in message
    assert "PAGEMAP_SCAN failed with" in message
    assert "seccomp" in message


@filtered
@pytest.mark.uffd
def test_refused_clone3_is_no_interruption(tmp_path: Path) -> None:
    done = run("EPERM", ("clone3",), tmp_path, *POINT)
    assert done.returncode == 0, done.stderr
    faults = ("measure", "faults", "--size=4MiB", "--repeats=1", "--set=delivery=event", "--set=preparation=markers")
    refusal = sentence(run("EPERM", ("clone3",), tmp_path, *faults))
    assert "seccomp" in refusal


@filtered
@pytest.mark.uffd
def test_doctor_reports_when_no_child_can_be_started(tmp_path: Path) -> None:
    calls = ("fork", "vfork", "clone", "clone3")
    found = examined("EPERM", calls, tmp_path)
    assert found["child processes"]["ok"] is False
    assert found["userfaultfd"]["ok"] is False or found["userfaultfd"]["ok"] is None
    assert found["PAGEMAP_SCAN"]["ok"] is None
    assert all("seccomp" in found[name]["cause"] for name in ("child processes", "userfaultfd", "PAGEMAP_SCAN"))
    assert "start a process failed with EPERM" in sentence(run("EPERM", calls, tmp_path, *POINT))


@filtered
@pytest.mark.uffd
@pytest.mark.slow
@pytest.mark.parametrize("answer", ["EPERM", "KILL_PROCESS"])
def test_render_works_where_nothing_can_be_measured(answer: str, tmp_path: Path) -> None:
    from making import code, parameters, save

    save(tmp_path / "notebooks" / "01_tiny.ipynb", "# Tiny", parameters(), code("print('here')"))
    done = run(answer, USERFAULTFD, tmp_path, "render", "--measure", "--notebooks=notebooks", "--out=pages")
    assert done.returncode == 0, done.stderr
    assert "nothing was measured on this machine" in done.stderr
    assert "seccomp" in done.stderr
    assert "Traceback" not in done.stderr


# --- the question itself ---------------------------------------------------------------------------------------------


def test_process_limit_is_named_as_the_cause(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    code = """
import os, resource
from uffdlab.host import asking
asking.ask("POPULATE_READ")
os.setgroups([]); os.setgid(54321); os.setuid(54321)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
answer = asking.ask("POPULATE_READ")
print(answer.operation, answer.errno, answer.why())
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.startswith("start a process 11 start a process failed with EAGAIN")
    assert "ulimit -u" in done.stdout


def test_ask_leaves_no_child_while_other_threads_run() -> None:
    before = len(os.listdir("/proc/self/fd")), len(Path("/proc/self/maps").read_text().splitlines())
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(asking.ask("POPULATE_READ"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(answer.result for answer in answers) == {0: 8}
    assert len(os.listdir("/proc/self/fd")) == before[0]
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_signal_handlers_of_the_parent_do_not_run_in_the_child() -> None:
    """A signal to the child ends it, and writes nothing to the wakeup descriptor of its parent."""
    code = """
import os, signal, sys
from uffdlab.host import asking
wakeup = os.pipe2(os.O_NONBLOCK)
signal.set_wakeup_fd(wakeup[1])
signal.signal(signal.SIGALRM, lambda *_: None)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody can wait for the child, then
print(asking.ask("POPULATE_READ").result)
try:
    print(os.read(wakeup[0], 10))
except BlockingIOError:
    print("silence")
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "silence"]


def test_ask_gives_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "DEADLINE_S", 0)
    # It takes a millisecond, and none is given; who is kept off the CPU meanwhile may find the answer there already.
    answer = next((a for a in (asking.ask("PT_RECLAIM") for _ in range(50)) if a.silent), None)
    assert answer is not None
    assert (answer.result, answer.errno, answer.signal) == (None, None, None)
    assert answer.why().startswith("PT_RECLAIM did not return within 0 s (remedy: ")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_unknown_question_is_a_bug() -> None:
    with pytest.raises(AttributeError):
        asking.ask("LIFE")


@pytest.mark.parametrize("operation", sorted({name for names in asking._OPERATIONS.values() for name in names}))
def test_every_tried_operation_lists_its_system_calls(operation: str) -> None:
    assert errnos.system_calls(operation)


def test_every_fatal_signal_is_explained() -> None:
    for number in range(1, 65):
        assert deaths.name(number) in deaths.likely("PAGEMAP_SCAN", number).why
        assert deaths.clause(number) == "" or deaths.clause(number).startswith(": ")
        assert "\n" not in deaths.clause(number)


def test_address_space_limit_gives_no_traceback(tmp_path: Path) -> None:
    def less() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    point = ("measure", "protect", "--size=4GiB", "--repeats=2")
    refusal = sentence(uffdlab_run(*point, cwd=tmp_path, preexec_fn=less))
    assert "mmap (private anonymous, 4 KiB pages, THP off, 4294967296 B) failed with ENOMEM" in refusal
    assert "ulimit -v" in refusal
    assert "hugetlb" not in refusal
