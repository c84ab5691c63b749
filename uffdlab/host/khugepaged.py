# SPDX-License-Identifier: MIT
"""khugepaged, which makes small pages huge ones in the background: wait until it has been everywhere."""

from __future__ import annotations

import time
from pathlib import Path

from uffdlab.errors import UffdlabError
from uffdlab.host import pseudofiles

_DIRECTORY = "sys/kernel/mm/transparent_hugepage/khugepaged"


def wait_for_scans(scans: int, deadline_s: float, root: Path = Path("/")) -> int:
    """Wait until khugepaged has scanned everything so many times; return how often it has. Raises UffdlabError."""
    before, deadline = _full_scans(root), time.monotonic() + deadline_s
    while (done := _full_scans(root) - before) < scans:
        if time.monotonic() > deadline:
            raise UffdlabError(
                f"khugepaged finished {done} of {scans} full scans in {deadline_s:g} s: see whether "
                f"/sys/kernel/mm/transparent_hugepage/enabled is not never, and whether scan_sleep_millisecs in "
                f"/{_DIRECTORY} is small"
            )
        time.sleep(0.001)
    return done


def _full_scans(root: Path) -> int:
    found = pseudofiles.integer(root, f"{_DIRECTORY}/full_scans")
    if found is None:
        raise UffdlabError(f"this kernel has no khugepaged (/{_DIRECTORY}/full_scans): leave the step khugepaged out")
    return found
