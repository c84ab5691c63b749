# SPDX-License-Identifier: MIT
"""Waiting for khugepaged: what is said where it is missing or asleep."""

from __future__ import annotations

from pathlib import Path

import pytest

from uffdlab.errors import UffdlabError
from uffdlab.host import khugepaged

SCANS = "sys/kernel/mm/transparent_hugepage/khugepaged/full_scans"


def test_a_kernel_without_khugepaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(UffdlabError, match="this kernel has no khugepaged"):
        khugepaged.wait_for_scans(1, 0.01, tmp_path)


def test_one_that_sleeps_is_not_waited_for_without_end(tmp_path: Path) -> None:
    (tmp_path / SCANS).parent.mkdir(parents=True)
    (tmp_path / SCANS).write_text("7\n")
    with pytest.raises(UffdlabError, match=r"finished 0 of 2 full scans in 0\.01 s: see whether"):
        khugepaged.wait_for_scans(2, 0.01, tmp_path)
    assert khugepaged.wait_for_scans(0, 0.01, tmp_path) == 0
