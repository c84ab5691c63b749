# SPDX-License-Identifier: MIT
"""Running the command line as its users do: another process, its exit status and what it said."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uffdlab

PACKAGE_ROOT = Path(uffdlab.__file__).resolve().parent.parent  # the checkout, or the sanitized copy
UFFDLAB = [sys.executable, "-m", "uffdlab"]
HANGS_S = 120.0  # nothing here takes that long, however busy the machine is


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a command started from any directory."""
    path = os.pathsep.join(p for p in (os.environ.get("PYTHONPATH"), str(PACKAGE_ROOT)) if p)
    return os.environ | {"PYTHONPATH": path, "COLUMNS": "80"} | more


def forks() -> list[int]:
    """Return the children of this process that are forks of it, alive or not waited for; a browser's driver is none."""
    own = Path("/proc/self/cmdline").read_bytes()
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = status.read_text().rpartition(")")[2].split()[1]
            command = (status.parent / "cmdline").read_bytes()
            if int(parent) == os.getpid() and command in (own, b""):  # who is not waited for has none
                found.append(int(status.parent.name))
    return found


def uffdlab_run(
    *arguments: str | Path, cwd: Path, command: Sequence[str] = UFFDLAB, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run ``uffdlab`` with the arguments to its end."""
    options = {"env": environment(), "timeout": HANGS_S, **more}
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options
    )


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one sentence a command refused with; fails unless that is all it said."""
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    said = done.stderr.splitlines()
    assert said, "nothing on standard error"
    assert said[-1].startswith("uffdlab: error: "), done.stderr
    assert all(line.startswith("uffdlab: ") for line in said), done.stderr  # notices before it, but no traceback
    return said[-1].removeprefix("uffdlab: error: ")


def wait_until(holds: Callable[[], Any], what: str, at_most_s: float = HANGS_S) -> None:
    """Wait until something holds; fail, saying what did not come about, when it never does."""
    deadline = time.monotonic() + at_most_s
    while not holds():
        assert time.monotonic() < deadline, f"still waiting for: {what}"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Return whether the process exists and is more than a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
