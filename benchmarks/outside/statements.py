# SPDX-License-Identifier: MIT
"""What the kernel's selftests assert about cells of the semantics table, read off their source, as data.

A statement stands here only when the selftest brings a page into the state of that cell and *checks* the value; what a
selftest does without looking is not in the list. The comment of each group says where to look in the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BOOLEANS = ("uffd_wp", "after_uffd_wp", "write_seen_by_scan")


@dataclass(frozen=True)
class Statement:
    """A selftest that passes says: in that cell of the table, ``column`` is ``value``.

    ``column`` is one of BOOLEANS or ``has WRITTEN``, ``has PFNZERO``: whether PAGEMAP_SCAN names that category.
    """

    program: str
    test: str
    backing: str
    features: str
    content: str
    moment: str
    column: str
    value: bool

    @property
    def cell(self) -> tuple[str, str, str, str]:
        """Return the key of the row of the table."""
        return self.backing, self.features, self.content, self.moment

    def seen(self, row: Mapping[str, Any] | None) -> bool | None:
        """Return what that row of the table says; None when there is no such row, or it says nothing of this."""
        if row is None:
            return None
        if not self.column.startswith("has "):
            return row[self.column]
        categories = row["categories"]
        return None if categories is None else self.column[4:] in categories.split("+")


def judged(ended: str | None, value: bool, seen: bool | None) -> str:
    """Return what a selftest that ended like that, asserting ``value``, says of a cell that was seen as ``seen``."""
    if ended not in ("pass", "fail"):
        return "says nothing"  # skipped, died before its verdict, or not in this version
    if seen is None:
        return "not measured"
    return "supports" if (ended == "pass") == (seen is value) else "contradicts"


def _unit(test: str, backing: str, features: str, content: str, moment: str, column: str, value: bool) -> Statement:
    return Statement("uffd-unit-tests", test, backing, features, content, moment, column, value)


def _scan(test: str, backing: str, features: str, content: str, moment: str, column: str, value: bool) -> Statement:
    return Statement("pagemap_ioctl", test, backing, features, content, moment, column, value)


# uffd_wp_unpopulated_test(): it also reads through a marker, but never looks at the result.
_UNPOPULATED = [
    _unit("wp-unpopulated on anon", "anon", "wp_unpopulated", "empty", moment, column, value)
    for moment, column, value in (
        ("protected", "uffd_wp", True),
        ("unprotected", "uffd_wp", False),
        ("discarded", "uffd_wp", False),
        ("discarded", "after_uffd_wp", False),
    )
]

# uffd_wp_fork_test_common(): write, protect, look; on shared memory discard and look again.
_FORK = [
    _unit(f"wp-fork on {memory}", backing, "wp_hugetlbfs_shmem", "written", moment, "uffd_wp", True)
    for memory, backing, moments in (
        ("anon", "anon", ("protected",)),
        ("hugetlb-private", "hugetlb_2m_private", ("protected",)),
        ("shmem", "shmem", ("protected", "discarded")),
        ("hugetlb", "hugetlb_2m_shared", ("protected", "discarded")),
    )
    for moment in moments
]

# base_tests(): protect, scan, write everything, scan. Only "Huge page testing" fills its memory first.
_BASE = [
    _scan(f"{prefix}: {test}", backing, "wp_async", content, "protected", column, value)
    for prefix, backing, content in (
        ("Page testing", "anon", "empty"),
        ("Large Page testing", "anon", "empty"),
        ("Huge page testing", "anon_thp", "written"),
        ("Hugetlb shmem testing", "hugetlb_2m_shared", "empty"),
        ("Hugetlb mem testing", "hugetlb_2m_private", "empty"),
    )
    for test, column, value in (
        ("all new pages must not be written (dirty)", "has WRITTEN", False),
        ("all pages must be written (dirty)", "write_seen_by_scan", True),
    )
]

# zeropfn_tests(): read and look. unpopulated_written_test(): register, write, discard and look.
_HOLES = [
    _scan("zeropfn_tests all pages must have PFNZERO set", "anon", "none", "read", "before", "has PFNZERO", True),
    _scan(
        "zeropfn_tests all huge pages must have PFNZERO set", "anon_thp", "none", "read", "before", "has PFNZERO", True
    ),
    _scan(
        "unpopulated_scan_test unpopulated range reported written by both paths",
        *("anon", "wp_async", "written", "discarded", "has WRITTEN", True),
    ),
    _scan(
        "unpopulated_thp_scan_test unpopulated range reported written by both paths",
        *("anon_thp", "wp_async", "written", "discarded", "has WRITTEN", True),
    ),
]

STATEMENTS: tuple[Statement, ...] = (*_UNPOPULATED, *_FORK, *_BASE, *_HOLES)
