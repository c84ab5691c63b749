# SPDX-License-Identifier: MIT
"""Whatever a seccomp filter answers, death included: doctor and measure live, and say what it was."""

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
def test_the_doctor_survives_and_names_the_filter(answer: str, calls: tuple[str, ...], tmp_path: Path) -> None:
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
def test_the_doctor_survives_where_all_is_filtered_at_once(answer: str, tmp_path: Path) -> None:
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
def test_a_point_that_cannot_be_measured_names_operation_and_filter(
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
def test_a_refused_advice_is_not_taken_for_a_refused_mapping(tmp_path: Path) -> None:
    refusal = sentence(run("EPERM", ("madvise",), tmp_path, *POINT))
    assert "MADV_NOHUGEPAGE (private anonymous, 4 KiB pages, THP off, 4194304 B) failed with EPERM" in refusal
    assert "a seccomp filter denies the system call" in refusal
    assert "a seccomp profile that allows madvise" in refusal
    assert "mmap" not in refusal


@filtered
@pytest.mark.uffd
@pytest.mark.parametrize("answer", ["EPERM", "EINVAL"])
def test_a_scan_that_is_refused_is_done_without(answer: str, tmp_path: Path) -> None:
    done = run(answer, ("PAGEMAP_SCAN",), tmp_path, *POINT, "--json")
    assert done.returncode == 0, done.stderr
    assert {row["zeropages"] for row in json.loads(done.stdout)["samples"]} == {None}
    (said,) = [line for line in done.stderr.splitlines() if "zeropages" in line]
    assert "zeropages and huge pages are not counted" in said
    assert "PAGEMAP_SCAN failed with" in said
    assert "seccomp" in said


@filtered
@pytest.mark.uffd
def test_threads_that_may_not_be_started_do_not_interrupt(tmp_path: Path) -> None:
    done = run("EPERM", ("clone3",), tmp_path, *POINT)
    assert done.returncode == 0, done.stderr
    faults = ("measure", "faults", "--size=4MiB", "--repeats=1", "--set=delivery=event", "--set=preparation=markers")
    refusal = sentence(run("EPERM", ("clone3",), tmp_path, *faults))
    assert "seccomp" in refusal


@filtered
@pytest.mark.uffd
def test_no_process_may_be_started(tmp_path: Path) -> None:
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
def test_pages_are_rendered_where_nothing_can_be_measured(answer: str, tmp_path: Path) -> None:
    from making import code, parameters, save

    save(tmp_path / "notebooks" / "01_tiny.ipynb", "# Tiny", parameters(), code("print('here')"))
    done = run(answer, USERFAULTFD, tmp_path, "render", "--measure", "--notebooks=notebooks", "--out=pages")
    assert done.returncode == 0, done.stderr
    assert "nothing was measured on this machine" in done.stderr
    assert "seccomp" in done.stderr
    assert "Traceback" not in done.stderr


# --- the question itself ---------------------------------------------------------------------------------------------


def test_a_limit_on_processes_is_named(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
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


def test_asking_leaves_nothing_behind_while_other_threads_run() -> None:
    before = len(os.listdir("/proc/self/fd")), len(Path("/proc/self/maps").read_text().splitlines())
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(asking.ask("POPULATE_READ"))) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert Counter(answer.result for answer in answers) == {0: 8}
    assert len(os.listdir("/proc/self/fd")) == before[0]
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_handlers_of_the_parent_do_not_run_in_the_child() -> None:
    """A child that is interrupted ends; it does not tell whoever listens to its parent's signals."""
    code = """
import os, signal, sys
from uffdlab.host import asking
told = os.pipe2(os.O_NONBLOCK)
signal.set_wakeup_fd(told[1])
signal.signal(signal.SIGALRM, lambda *_: None)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody can wait for the child, then
print(asking.ask("POPULATE_READ").result)
try:
    print(os.read(told[0], 10))
except BlockingIOError:
    print("silence")
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "silence"]


def test_a_question_without_an_answer_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "DEADLINE_S", 0)
    # It takes a millisecond, and none is given; who is kept off the CPU meanwhile may find the answer there already.
    answer = next((one for one in (asking.ask("PT_RECLAIM") for _ in range(50)) if one.silent), None)
    assert answer is not None
    assert (answer.result, answer.errno, answer.signal) == (None, None, None)
    assert answer.why().startswith("PT_RECLAIM gave no answer within 0 s (remedy: ")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_an_unknown_question_is_a_bug() -> None:
    with pytest.raises(AttributeError):
        asking.ask("LIFE")


@pytest.mark.parametrize("operation", sorted({name for names in asking._OPERATIONS.values() for name in names}))
def test_what_would_have_to_be_allowed_is_known_of_every_operation_asked(operation: str) -> None:
    assert errnos.system_calls(operation)


def test_every_death_has_words() -> None:
    for number in range(1, 65):
        assert deaths.name(number) in deaths.likely("PAGEMAP_SCAN", number).why
        assert deaths.clause(number) == "" or deaths.clause(number).startswith(": ")
        assert "\n" not in deaths.clause(number)


def test_memory_that_may_not_grow_is_no_traceback(tmp_path: Path) -> None:
    def less() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    point = ("measure", "protect", "--size=4GiB", "--repeats=2")
    refusal = sentence(uffdlab_run(*point, cwd=tmp_path, preexec_fn=less))
    assert "mmap (private anonymous, 4 KiB pages, THP off, 4294967296 B) failed with ENOMEM" in refusal
    assert "ulimit -v" in refusal
    assert "hugetlb" not in refusal
