# SPDX-License-Identifier: MIT
"""Processes that cannot be scanned are refused with one sentence."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from running import alive, wait_until

from uffdlab import native, occupancy
from uffdlab.errors import UffdlabError

pytestmark = pytest.mark.skipif(native.why_missing() is not None, reason=str(native.why_missing()))

# --- what cannot be scanned ------------------------------------------------------------------------------------------


def test_missing_process_is_refused() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    with pytest.raises(UffdlabError, match=f"there is no process {ended.pid}: it has ended, or /proc hides it"):
        occupancy.scan(ended.pid)


def test_kernel_thread_is_refused() -> None:
    if not _is_kernel_thread(2):
        pytest.skip("process 2 is no kernel thread here")
    with pytest.raises(UffdlabError, match="process 2 is a kernel thread: it has no mappings of its own"):
        occupancy.scan(2)


def _is_kernel_thread(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "kthreadd\n"
    except OSError:
        return False


def test_zombie_is_refused() -> None:
    with subprocess.Popen(["true"]) as child:
        wait_until(lambda: not alive(child.pid), "it has ended")
        with pytest.raises(UffdlabError, match=f"process {child.pid} has ended and only waits for its parent"):
            occupancy.scan(child.pid)


def test_unknown_method_is_refused() -> None:
    with pytest.raises(UffdlabError, match="unknown method 'smaps': choose one of PAGEMAP_SCAN, pagemap"):
        occupancy.scan(os.getpid(), method="smaps")


def test_process_without_large_mappings_is_noted() -> None:
    result = occupancy.scan(os.getpid(), 1 << 46)
    assert result.mappings == ()
    assert "no mapping of memory of at least" in result.notes[0]
    with pytest.raises(UffdlabError, match="there is nothing to write into a bitmap"):
        occupancy.bitmap_of(result)
