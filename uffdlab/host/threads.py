# SPDX-License-Identifier: MIT
"""Which thread to ask about a process: its memory lives as long as any of them, its main thread may end before."""

from __future__ import annotations

from pathlib import Path

from uffdlab.host import pseudofiles


def living(pid: int, root: Path = Path("/")) -> str:
    """Return ``proc/PID``, or ``proc/PID/task/TID`` of a thread that lives where the main thread has ended.

    ``status``, ``maps``, ``smaps``, ``pagemap``, ``mountinfo`` and ``root`` of an ended thread are empty or refused,
    whoever else runs in the same memory. Where none lives the answer is ``proc/PID``.
    """
    process = f"proc/{pid}"
    if not ended(process, root):
        return process
    for thread in pseudofiles.entries(root, f"{process}/task"):
        path = f"{process}/task/{thread}"
        if thread != str(pid) and not ended(path, root):
            return path
    return process


def ended(path: str, root: Path = Path("/")) -> bool:
    """Return whether there is no such process or thread any more, or only what waits for its parent."""
    return pseudofiles.fields(root, f"{path}/status").get("State", "X")[:1] in ("Z", "X")
