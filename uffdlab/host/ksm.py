# SPDX-License-Identifier: MIT
"""Counters of KSM, which merges pages of the same contents, and whether another process uses it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from uffdlab.errors import UffdlabError
from uffdlab.host import errnos, pseudofiles, threads

_KSM = "sys/kernel/mm/ksm"
_UNMERGE = "where that is no longer needed, write 2 and then 0 to /sys/kernel/mm/ksm/run"
# Files that show KSM in use, their values when it is idle, and the remedy.
_IDLE = {
    "run": (("0", "2"), "stop it there, by writing 0"),
    "advisor_mode": (("none",), "write none there"),
    "pages_shared": (("0",), _UNMERGE),
    "ksm_zero_pages": (("0",), _UNMERGE),
}


def number(name: str, root: Path = Path("/")) -> int | None:
    """Return the number in a file of KSM's directory, or None where this kernel has no such file."""
    return pseudofiles.integer(root, f"{_KSM}/{name}")


def wait_for_scans(scans: int, deadline_s: float) -> int:
    """Wait until KSM has scanned everything so many times; return how often it has. Raises UffdlabError."""
    before = number("full_scans") or 0
    deadline = time.monotonic() + deadline_s
    while (done := (number("full_scans") or 0) - before) < scans:
        if time.monotonic() > deadline:
            raise UffdlabError(
                f"KSM finished {done} full scans in {deadline_s:g} s, and needs {scans} to merge the pages: "
                "see whether /sys/kernel/mm/ksm/run is 1 and pages_to_scan beside it is large enough"
            )
        time.sleep(0.0002)
    return done


@contextlib.contextmanager
def switched(*, on: bool, root: Path = Path("/")) -> Iterator[None]:
    """Start or stop KSM for the block, and put back what was: for one process of a run whose settings start KSM.

    Raises UffdlabError where it cannot be switched.
    """
    before = number("run", root)
    try:
        _switch(int(on), root)
        yield
    finally:
        _switch(before or 0, root)


def _switch(value: int, root: Path) -> None:
    try:
        file = os.open(root / _KSM / "run", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(file, f"{value}\n".encode("ascii"))
        finally:
            os.close(file)
    except OSError as error:
        raise UffdlabError(errnos.explain("write setting", error.errno or 0, setting="ksm_run", value=value)) from error


def busy(root: Path = Path("/")) -> str | None:
    """Return one sentence on another user of KSM, or None where there is none, or no KSM.

    A process with mergeable memory counts even while KSM is stopped; processes whose smaps may not be read do not.
    """
    for name, (idle, remedy) in _IDLE.items():
        value = pseudofiles.choice(root, f"{_KSM}/{name}")
        if value is not None and value not in idle:
            return (
                f"KSM is in use here: /{_KSM}/{name} is {value}, so nothing was changed: measure where it is not, "
                f"or {remedy}"
            )
    pid = _mergeable_process(root)
    if pid is not None:
        return (
            f"KSM is in use here: process {pid} has mergeable memory (mg among its VmFlags in smaps), so nothing was "
            "changed: measure where no process has, or end that process"
        )
    return None


def _mergeable_process(root: Path) -> int | None:
    """Return the PID of a process with mergeable memory, or None."""
    for process in root.glob("proc/[0-9]*"):
        pid = int(process.name)
        smaps = root / threads.living(pid, root) / "smaps"
        with contextlib.suppress(OSError), smaps.open("rb") as lines:
            if any(line.startswith(b"VmFlags:") and b" mg" in line for line in lines):
                return pid
    return None
