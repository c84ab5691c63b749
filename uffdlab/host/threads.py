# SPDX-License-Identifier: MIT
"""Find a living thread of a process: its memory outlives its main thread while others run."""

from __future__ import annotations

from pathlib import Path

from uffdlab.host import pseudofiles


def living(pid: int, root: Path = Path("/")) -> str:
    """Return ``proc/PID``, or ``proc/PID/task/TID`` of a living thread where the main thread has ended.

    ``status``, ``maps``, ``smaps``, ``pagemap``, ``mountinfo`` and ``root`` of an ended thread are empty or refused,
    though other threads share its memory. Return ``proc/PID`` where none lives.
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
    """Return whether a process or thread has ended, zombies included."""
    return pseudofiles.fields(root, f"{path}/status").get("State", "X")[:1] in ("Z", "X")
