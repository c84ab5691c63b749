# SPDX-License-Identifier: MIT
"""CPUs this process may run on, read from /proc: a seccomp filter may refuse sched_getaffinity()."""

from __future__ import annotations

import os
from pathlib import Path

from uffdlab.host import pseudofiles


def allowed(root: Path = Path("/")) -> list[int]:
    """Return the allowed CPUs, ascending; none where neither /proc nor sched_getaffinity() has them."""
    listed = pseudofiles.fields(root, "proc/self/status").get("Cpus_allowed_list", "")
    allowed_cpus: list[int] = []
    for part in listed.split(","):
        first, _, last = part.partition("-")
        begin, end = pseudofiles.as_integer(first), pseudofiles.as_integer(last or first)
        if begin is not None and end is not None:
            allowed_cpus += range(begin, end + 1)
    if not allowed_cpus and root == Path("/") and hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return allowed_cpus
