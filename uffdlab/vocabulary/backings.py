# SPDX-License-Identifier: MIT
"""Backings: kinds of memory that QEMU and CRIU protect (anonymous, THP, shmem, hugetlb), and files for sequences."""

from __future__ import annotations

from dataclasses import dataclass, replace

from uffdlab.vocabulary.looks import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, Look

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True)
class Backing:
    """One kind of memory: how it is mapped and the size of the page a fault fills.

    ``page_bytes`` is the unit in which the kernel fills, marks and resolves it, ``pool_kib`` the page size of its
    hugetlb pool (None for ordinary memory). ``look`` is that in figures, ``level`` its title where page-table levels
    are compared.
    """

    name: str
    map_kind: str
    page_bytes: int
    title: str
    short: str
    look: Look
    level: str

    @property
    def page_kib(self) -> int:
        """Return the size of its page in KiB."""
        return self.page_bytes // KIB

    @property
    def pool_kib(self) -> int | None:
        """Return the page size in KiB of its hugetlb pool, or None."""
        return self.page_bytes // KIB if self.map_kind.startswith("UL_MAP_HUGETLB") else None

    @property
    def alignment_bytes(self) -> int:
        """Return the alignment of a range."""
        return 2 * MIB if self.name == "anon_thp" else self.page_bytes


BACKINGS: dict[str, Backing] = {
    backing.name: backing
    for backing in (
        Backing(
            "anon", "UL_MAP_ANON", 4 * KIB, "private anonymous, 4 KiB pages, THP off", "anonymous 4 KiB",
            Look(BLUE, "circle"), "anonymous, PTE markers",
        ),
        Backing(
            "anon_thp", "UL_MAP_ANON_THP", 4 * KIB, "private anonymous, THP on", "anonymous, THP on",
            Look(SKY, "triangle-right"), "anonymous, THP on",
        ),
        Backing(
            "shmem", "UL_MAP_SHMEM", 4 * KIB, "shared anonymous (shmem, as memfd), 4 KiB pages", "shmem",
            Look(GREEN, "square"), "shmem, PTE markers",
        ),
        Backing(
            "hugetlb_2m_private", "UL_MAP_HUGETLB_PRIVATE", 2 * MIB, "hugetlb 2 MiB, private", "hugetlb 2 MiB private",
            Look(VERMILLION, "diamond"), "hugetlb 2 MiB, PMD level",
        ),
        Backing(
            "hugetlb_2m_shared", "UL_MAP_HUGETLB_SHARED", 2 * MIB, "hugetlb 2 MiB, shared", "hugetlb 2 MiB shared",
            Look(ORANGE, "diamond-tall"), "hugetlb 2 MiB, shared",
        ),
        Backing(
            "hugetlb_1g_private", "UL_MAP_HUGETLB_PRIVATE", GIB, "hugetlb 1 GiB, private", "hugetlb 1 GiB private",
            Look(PURPLE, "triangle-up"), "hugetlb 1 GiB, PUD level",
        ),
        Backing(
            "hugetlb_1g_shared", "UL_MAP_HUGETLB_SHARED", GIB, "hugetlb 1 GiB, shared", "hugetlb 1 GiB shared",
            Look(GREY, "triangle-down"), "hugetlb 1 GiB, shared",
        ),
    )
}  # fmt: skip

# Of sequences of steps, besides: the same kinds of memory by another way, and one that is registered for WP_ASYNC only.
_ALSO = (
    replace(
        BACKINGS["anon_thp"],
        name="anon_mthp",
        title="private anonymous, huge pages of 64 KiB (mTHP)",
        short="anonymous, mTHP 64 KiB",
    ),
    replace(BACKINGS["shmem"], name="memfd", map_kind="memfd", title="a memfd, shared, 4 KiB pages", short="memfd"),
    replace(
        BACKINGS["shmem"],
        name="file_private",
        map_kind="file",
        title="a regular file, private, 4 KiB pages",
        short="file, private",
    ),
)
SEQUENCE_BACKINGS: dict[str, Backing] = BACKINGS | {backing.name: backing for backing in _ALSO}
FILE_KINDS = ("memfd", "file")  # map_kind of memory that is mapped from a file of one's own
