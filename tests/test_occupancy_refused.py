# SPDX-License-Identifier: MIT
"""Looking at processes that cannot be looked at, and telling mappings of memory from others."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from running import alive, wait_until

from uffdlab import native, occupancy
from uffdlab.backing import GIB, KIB, MIB
from uffdlab.errors import UffdlabError
from uffdlab.occupancy import mappings, process

PAGE = 4 * KIB

pytestmark = pytest.mark.skipif(native.why_missing() is not None, reason=str(native.why_missing()))

# --- what cannot be looked at ----------------------------------------------------------------------------------------


def test_there_may_be_no_such_process() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    with pytest.raises(UffdlabError, match=f"there is no process {ended.pid}: it has ended, or /proc hides it"):
        occupancy.scan(ended.pid)


def test_a_kernel_thread_has_no_mappings() -> None:
    if not _is_kernel_thread(2):
        pytest.skip("process 2 is no kernel thread here")
    with pytest.raises(UffdlabError, match="process 2 is a kernel thread: it has no mappings of its own"):
        occupancy.scan(2)


def _is_kernel_thread(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "kthreadd\n"
    except OSError:
        return False


def test_a_process_that_ended_and_was_not_waited_for_has_no_memory() -> None:
    with subprocess.Popen(["true"]) as child:
        wait_until(lambda: not alive(child.pid), "it has ended")
        with pytest.raises(UffdlabError, match=f"process {child.pid} has ended and only waits for its parent"):
            occupancy.scan(child.pid)


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "1.5", "1_0", "٣", " 1", "9" * 5000])
def test_what_is_no_process_id_is_refused(text: str) -> None:
    with pytest.raises(UffdlabError, match=r"is not a process ID: write a whole number above 0") as caught:
        process.process_id(text)
    assert len(str(caught.value)) < 200


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(UffdlabError, match="unknown method 'smaps': choose one of PAGEMAP_SCAN, pagemap"):
        occupancy.scan(os.getpid(), method="smaps")


def test_a_process_without_large_mappings_is_said() -> None:
    found = occupancy.scan(os.getpid(), 1 << 46)
    assert found.mappings == ()
    assert "no anonymous, shmem or hugetlb mapping of at least" in found.notes[0]
    with pytest.raises(UffdlabError, match="there is nothing to write into a bitmap"):
        occupancy.bitmap_of(found)


# --- lines of /proc/PID/maps -----------------------------------------------------------------------------------------

KNOWN = {"0:1": ("shmem", PAGE), "0:15": ("hugetlb", 2 * MIB), "0:25": ("shmem", PAGE)}


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("7f00-8000 rw-p 00000000 00:00 0 ", "anon"),
        ("7f00-8000 rw-p 00000000 00:00 0                          [heap]", "anon"),
        ("7f00-8000 rw-p 00000000 00:00 0                          [anon:a name]", "anon"),
        ("7f00-8000 ---p 00000000 00:00 0 ", "anon"),
        ("7f00-8000 r--p 00000000 00:00 0                          [vvar]", None),
        ("7f00-8000 r-xp 00000000 00:00 0                          [vdso]", None),
        ("7f00-8000 rw-s 00000000 00:01 1042                       /memfd:x y (deleted)", "shmem"),
        ("7f00-8000 rw-s 00000000 00:01 7                          /dev/zero (deleted)", "shmem"),
        ("7f00-8000 rw-p 00000000 00:0f 7                          /anon_hugepage (deleted)", "hugetlb"),
        ("7f00-8000 rw-s 00000000 00:19 7                          /dev/shm/anything", "shmem"),
        ("7f00-8000 rw-p 00000000 fe:00 7                          /usr/lib/[heap]", None),
        ("7f00-8000 rw-s 00000000 00:20 7                          anon_inode:[perf_event]", None),
        ("no line at all", None),
    ],
)
def test_a_line_of_maps_is_understood(line: str, kind: str | None) -> None:
    found = mappings.parse(f"{line}\n", KNOWN)
    assert [one.kind for one in found] == ([kind] if kind else [])
    assert all((one.start, one.end) == (0x7F00, 0x8000) for one in found)


def test_mounts_of_memory_are_found_in_mountinfo() -> None:
    mountinfo = (
        "25 24 0:919 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=24684092k\n"
        "26 24 0:920 / /dev/huge rw shared:3 - hugetlbfs hugetlbfs rw,pagesize=1024M\n"
        "27 24 8:1 / / rw - ext4 /dev/sda rw\nnonsense\n"
    )
    found = mappings.devices(mountinfo)
    assert found["0:919"] == ("shmem", os.sysconf("SC_PAGE_SIZE"))
    assert found["0:920"] == ("hugetlb", GIB)
    assert "8:1" not in found
