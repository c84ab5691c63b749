# SPDX-License-Identifier: MIT
"""Which CPUs this process may run on: read, for a filter may refuse the system call that tells."""

from __future__ import annotations

import os
from pathlib import Path

from uffdlab.host import pseudofiles


def allowed(root: Path = Path("/")) -> list[int]:
    """Return their numbers, ascending; none where neither /proc nor the system tells."""
    listed = pseudofiles.fields(root, "proc/self/status").get("Cpus_allowed_list", "")
    found: list[int] = []
    for part in listed.split(","):
        first, _, last = part.partition("-")
        begin, end = pseudofiles.as_integer(first), pseudofiles.as_integer(last or first)
        if begin is not None and end is not None:
            found += range(begin, end + 1)
    if not found and root == Path("/") and hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return found
