# SPDX-License-Identifier: MIT
"""A synthetic bitmap of two mappings."""

from __future__ import annotations

from uffdlab.datasets.bitmap import Bitmap, Mapping, runs_of

PAGE = 4096


def example() -> Bitmap:
    first = Mapping("anon", 0, 8 * PAGE, PAGE, False, True, runs_of(bytes([0, 0, 0, 2, 2, 3, 1, 1])))
    second = Mapping("hugetlb", 1 << 30, 1024 * PAGE, 512 * PAGE, True, True, runs_of(bytes(512) + b"\2" * 512))
    return Bitmap(PAGE, PAGE, True, (first, second))
