# SPDX-License-Identifier: MIT
"""Counters of KSM, which merges pages of the same contents, and whether another process uses it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from uffdlab.host import pseudofiles, threads

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
