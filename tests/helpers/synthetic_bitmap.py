# SPDX-License-Identifier: MIT
"""A synthetic bitmap of two mappings."""

from __future__ import annotations

from array import array

from uffdlab.datasets.bitmap import Bitmap, Mapping

PAGE = 4096


def runs_of(states: bytes) -> array[int]:
    """Return the runs of states given one byte each."""
    runs = array("Q")
    for state in states:
        if runs and runs[-1] & 3 == state:
            runs[-1] += 4
        else:
            runs.append(4 | state)
    return runs


def example() -> Bitmap:
    first = Mapping("anon", 0, 8 * PAGE, PAGE, False, True, runs_of(bytes([0, 0, 0, 2, 2, 3, 1, 1])))
    second = Mapping("hugetlb", 1 << 30, 1024 * PAGE, 512 * PAGE, True, True, runs_of(bytes(512) + b"\2" * 512))
    return Bitmap(PAGE, PAGE, True, (first, second))
