# SPDX-License-Identifier: MIT
"""Run a command to scan: in its own process group, which is killed afterwards."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator

from uffdlab import starting
from uffdlab.errors import UffdlabError
from uffdlab.host.signals import OrderlyExit

_GRACE_S = 2.0  # between SIGTERM and SIGKILL
_STANDARD_ERROR = 2


@contextlib.contextmanager
def running(command: str, after_s: float) -> Iterator[int]:
    """Start the command (no shell), wait ``after_s`` seconds, yield its process ID, kill its process group.

    Its output goes to standard error. Raises UffdlabError when it cannot be started or ends too soon.
    """
    with OrderlyExit() as orderly:
        with orderly.held():
            child = _started(_words(command))
        try:
            _wait(child, after_s)
            yield child.pid
        finally:
            with orderly.held():
                _end(child)


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UffdlabError(f"--cmd {command[:60]!r} cannot be split into words: {error}") from error
    if not words or "\0" in command:
        raise UffdlabError("--cmd is empty: write a command, such as --cmd 'sleep 10'")
    return words


def _started(words: list[str]) -> subprocess.Popen[bytes]:
    program = starting.program(words[0])
    if program is None:
        raise UffdlabError(
            f"--cmd: there is no command {words[0][:60]!r} in the absolute directories of PATH: name the "
            "path of one elsewhere, such as ./program"
        )
    try:
        return subprocess.Popen(
            words,
            executable=program,
            stdin=subprocess.DEVNULL,
            stdout=_STANDARD_ERROR,  # standard output is for the scan
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise UffdlabError(f"--cmd: there is no command {words[0][:60]!r}") from error
    except OSError as error:
        raise UffdlabError(f"--cmd: {words[0][:60]!r} cannot be started: {error.strerror}") from error


def _wait(child: subprocess.Popen[bytes], seconds: float) -> None:
    if not _ends_within(child.pid, seconds):
        return
    _signal(child.pid, signal.SIGKILL)  # its children may live on
    status = child.wait()
    ended = f"by signal {-status}" if status < 0 else f"with status {status}"
    raise UffdlabError(
        f"the command ended {ended} within {seconds:g} s, before it was scanned: shorten --after, or let it run on"
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to the group, then SIGKILL; reap its leader last, so that its PID is not reused."""
    if child.returncode is not None:
        return
    _signal(child.pid, signal.SIGTERM)
    _ends_within(child.pid, _GRACE_S)
    _signal(child.pid, signal.SIGKILL)
    child.wait()


def _ends_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not _ended(pid):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, 0.02))
    return True


def _ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
