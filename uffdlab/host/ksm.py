# SPDX-License-Identifier: MIT
"""KSM, which merges pages of the same contents: what it counts, and whether somebody uses it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from uffdlab.host import pseudofiles, threads

_KSM = "sys/kernel/mm/ksm"
_LET_GO = "where nobody needs that any more, write 2 and then 0 to /sys/kernel/mm/ksm/run"
# What tells that somebody uses it, what it holds where nobody does, and what to do about it.
_IDLE = {
    "run": (("0", "2"), "stop it there, by writing 0"),
    "advisor_mode": (("none",), "write none there"),
    "pages_shared": (("0",), _LET_GO),
    "ksm_zero_pages": (("0",), _LET_GO),
}


def number(name: str, root: Path = Path("/")) -> int | None:
    """Return what a file of KSM's directory holds, or None where this kernel has none of that name."""
    return pseudofiles.integer(root, f"{_KSM}/{name}")


def busy(root: Path = Path("/")) -> str | None:
    """Return one sentence on who else uses KSM, or None where nobody does, or where there is no KSM.

    Who has offered pages and waits for KSM to run uses it as well; of processes that may not be looked at nothing is
    known.
    """
    for name, (idle, remedy) in _IDLE.items():
        found = pseudofiles.choice(root, f"{_KSM}/{name}")
        if found is not None and found not in idle:
            return (
                f"somebody else uses KSM here, since /{_KSM}/{name} is {found}, so nothing was changed: measure where "
                f"nobody does, or {remedy}"
            )
    offering = _offering(root)
    if offering is not None:
        return (
            f"somebody else uses KSM here: process {offering} has offered it pages (mg among its VmFlags in smaps), so "
            "nothing was changed: measure where nobody has, or end that process"
        )
    return None


def _offering(root: Path) -> int | None:
    """Return a process that has mergeable memory, or None."""
    for process in root.glob("proc/[0-9]*"):
        pid = int(process.name)
        smaps = root / threads.living(pid, root) / "smaps"
        with contextlib.suppress(OSError), smaps.open("rb") as lines:
            if any(line.startswith(b"VmFlags:") and b" mg" in line for line in lines):
                return pid
    return None
