# SPDX-License-Identifier: MIT
"""Changing and restoring settings on a made-up /sys, interrupted at every system call: nothing stays changed.

A forked process changes several settings; at one of its calls it is killed, or gets a signal. The same is done for
every call it makes, before and after it.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from made_up_sys import kernel
from test_host_settings import KSM, POOL, THP, _get, _put, root, state  # noqa: F401  (fixtures)

from uffdlab.errors import UffdlabError
from uffdlab.host import settings

WANTED: dict[str, str | int | bool] = {"hugetlb_2048": 4, "thp_enabled": "never", "ksm_run": 1}
INNER: dict[str, str | int | bool] = {"thp_use_zero_page": 0}
CALLS = ("open", "write", "fsync", "rename", "unlink", "close")


def values(root: Path) -> dict[str, str | None]:  # noqa: F811
    return {name: settings.current(name, root) for name in (*WANTED, *INNER)}


@contextmanager
def calls_watched(act: Callable[[int], None]) -> Iterator[None]:
    """Call ``act`` with the number of each call before it is made."""
    real = {name: getattr(os, name) for name in CALLS}
    number = 0

    def watched(name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal number
            number += 1
            act(number)
            # A killed process loses nothing for want of fsync, and the test would wait for the disk.
            return None if name == "fsync" else real[name](*arguments, **named)

        return call

    for name in CALLS:
        setattr(os, name, watched(name))
    try:
        yield
    finally:
        for name, call in real.items():
            setattr(os, name, call)


def run_apart(code: Callable[[], object]) -> int:
    """Return the wait status of a fork that runs the code and nothing after it."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            code()
            status = 0
        except SystemExit as left:
            status = int(left.code or 0)
        except KeyboardInterrupt:
            status = 128 + signal.SIGINT
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def change(root: Path) -> None:  # noqa: F811
    """Change settings, and others within."""
    with settings.changed(WANTED, allow=True, root=root), settings.changed(INNER, allow=True, root=root):
        pass


def leave_changed(root: Path) -> None:  # noqa: F811
    """Let a process change settings and exit without restoring, as after a SIGKILL."""

    def killed() -> None:
        block = settings.changed(WANTED, allow=True, root=root)
        block.__enter__()
        os.kill(os.getpid(), signal.SIGKILL)

    assert run_apart(killed) == -signal.SIGKILL


def interrupted_at(root: Path, number: int, signal_: int, code: Callable[[], object]) -> int:  # noqa: F811
    """Run the code apart, with a signal before one of its calls; return the wait status."""

    def act(this: int) -> None:
        if this == number:
            os.kill(os.getpid(), signal_)

    def disturbed() -> None:
        with kernel(root), calls_watched(act):
            code()

    return run_apart(disturbed)


def calls_of(root: Path, code: Callable[[], object]) -> int:  # noqa: F811
    """Return how many calls the code makes without interruption."""
    most = 0

    def act(number: int) -> None:
        nonlocal most
        most = number

    with kernel(root), calls_watched(act):
        code()
    return most


def test_next_command_restores_after_sigkill_at_any_call(
    root: Path,  # noqa: F811
    state: Path,  # noqa: F811
) -> None:
    before, count = values(root), calls_of(root, lambda: change(root))
    assert values(root) == before
    assert count > 50, "every step of the journal and every write of the kernel's"
    left_changed = 0
    for number in range(1, count + 1):
        assert interrupted_at(root, number, signal.SIGKILL, lambda: change(root)) == -signal.SIGKILL
        left_changed += values(root) != before
        settings.restore_leftovers(root)
        assert values(root) == before, f"killed before call {number}"
        assert not (state / "journal.json").exists()
    assert left_changed > 20, "most kills fall while something is changed"


def test_next_command_completes_a_restore_cut_short_at_any_call(
    root: Path,  # noqa: F811
    state: Path,  # noqa: F811
) -> None:
    before = values(root)
    leave_changed(root)
    count = calls_of(root, lambda: settings.restore_leftovers(root))
    assert values(root) == before
    for number in range(1, count + 1):
        leave_changed(root)
        assert values(root) != before
        interrupted_at(root, number, signal.SIGKILL, lambda: settings.restore_leftovers(root))
        settings.restore_leftovers(root)
        assert values(root) == before, f"killed before call {number}"
        assert not (state / "journal.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signal_at_any_call_restores_everything(
    root: Path,  # noqa: F811
    state: Path,  # noqa: F811
    number: int,
) -> None:
    before, count = values(root), calls_of(root, lambda: change(root))
    ended_by = {128 + number, -number}
    for call in range(1, count + 1, 2 if number == signal.SIGTERM else 9):
        assert interrupted_at(root, call, number, lambda: change(root)) in ended_by
        assert values(root) == before, f"signal before call {call}"
        assert not (state / "journal.json").exists()


def test_two_signals_do_not_cut_the_restore_short(root: Path, state: Path) -> None:  # noqa: F811
    before, count = values(root), calls_of(root, lambda: change(root))

    def act(this: int) -> None:
        if this in (at, at + 1):
            os.kill(os.getpid(), signal.SIGTERM)

    def disturbed() -> None:
        with kernel(root), calls_watched(act):
            change(root)

    for at in range(count // 3, count, 4):
        run_apart(disturbed)
        assert values(root) == before, f"signals before calls {at} and {at + 1}"
        assert not (state / "journal.json").exists()


# --- the journal and its lock at the moment of a write ----------------------------------------------------------------


def test_changes_are_journalled_before_the_write(root: Path, state: Path) -> None:  # noqa: F811
    entries_at: list[list[dict[str, Any]]] = []

    def look(path: str, value: str) -> None:
        entries_at.append(json.loads((state / "journal.json").read_text())["entries"])

    with (
        kernel(root, look) as written,
        settings.changed({"thp_enabled": "never", "ksm_pages_to_scan": 7}, allow=True, root=root),
    ):
        pass
    assert written == [
        (f"{THP}/enabled", "never"),
        (f"{KSM}/pages_to_scan", "7"),
        (f"{KSM}/pages_to_scan", "100"),
        (f"{THP}/enabled", "madvise"),
    ]
    first, second = ("thp_enabled", "madvise", "never"), ("ksm_pages_to_scan", "100", "7")
    for entries, known in zip(entries_at, ((None, None), ("never", None), ("never", "7"), ("never", "7")), strict=True):
        assert [(one["setting"], one["old"], one["wanted"], one["set"]) for one in entries] == [
            (*first, known[0]),
            (*second, known[1]),
        ]


def test_state_directory_is_locked_while_settings_are_written(root: Path, state: Path) -> None:  # noqa: F811
    def look(path: str, value: str) -> None:
        other = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with pytest.raises(BlockingIOError):  # not even beside us, as a shared lock would let them
                fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        finally:
            os.close(other)

    def free() -> None:
        other = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)

    with kernel(root, look) as written:
        with settings.changed({"thp_enabled": "never"}, allow=True, root=root):
            free()  # for moments only: a child forked inside the block would keep it
        leave_changed(root)
        written.clear()
        settings.restore_leftovers(root)
    assert len(written) == len(WANTED) + 1, "KSM is stopped in two steps"


def test_nothing_changes_when_the_journal_cannot_be_written(
    root: Path,  # noqa: F811
    state: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    before = values(root)
    with kernel(root) as written:
        monkeypatch.setattr(os, "rename", full)
        with (
            pytest.raises(UffdlabError, match=r"cannot be written to .*No space left.*free space there") as refused,
            settings.changed(WANTED, allow=True, root=root),
        ):
            pytest.fail("the block ran")
    assert written == []
    assert values(root) == before
    assert settings.STATE_DIR_VARIABLE in str(refused.value)


def test_pool_killed_while_growing_is_restored_up_to_the_wanted_size(root: Path, state: Path) -> None:  # noqa: F811
    """Killed while the kernel allocates: sizes between the old and the wanted one are ours, others are not."""
    for size, kept in (("2", True), ("3", False), ("4", False), ("7", False), ("8", True)):
        run_apart(lambda: interrupted_in_the_first_write(root))
        _put(root, f"{POOL}/nr_hugepages", size)
        sentences = settings.restore_leftovers(root)
        assert _get(root, f"{POOL}/nr_hugepages") == (size if kept else "3")
        assert any("another process changed it since" in line for line in sentences) == kept, size
        _put(root, f"{POOL}/nr_hugepages", "3")


def interrupted_in_the_first_write(root: Path) -> None:  # noqa: F811
    with kernel(root, lambda *_: os.kill(os.getpid(), signal.SIGKILL)):
        change(root)
