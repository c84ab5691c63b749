# SPDX-License-Identifier: MIT
"""The numbers of the kernel's user-space interface that uffdlab uses.

Distributions often ship headers older than their kernel, so the constants stand here. Sources:
``include/uapi/linux/userfaultfd.h``, ``include/uapi/linux/fs.h`` (PAGEMAP_SCAN),
``Documentation/admin-guide/mm/pagemap.rst``, ``include/uapi/asm-generic/hugetlb_encode.h``. What came with RWP (Linux
7.3: 2d427bb01639, 338964881982) is from the series that was merged, 20260706084805.8400-1-kirill@shutemov.name. The
ioctls are in C, which takes their numbers from the compiler's headers where these have them.

What the running kernel has is in ``uffdlab.host.features``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from uffdlab.errors import UffdlabError

# --- features ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Feature:
    """One userfaultfd feature bit: its name without ``UFFD_FEATURE_``, and what it does."""

    name: str
    bit: int
    since: str
    what: str

    @property
    def mask(self) -> int:
        """The feature's mask in ``uffdio_api.features``."""
        return 1 << self.bit


FEATURES: tuple[Feature, ...] = (
    Feature("PAGEFAULT_FLAG_WP", 0, "5.7", "write-protect faults on anonymous memory"),
    Feature("EVENT_FORK", 1, "4.11", "an event when the process forks"),
    Feature("EVENT_REMAP", 2, "4.11", "an event when mremap moves a registered range"),
    Feature("EVENT_REMOVE", 3, "4.11", "an event when a registered range is discarded"),
    Feature("MISSING_HUGETLBFS", 4, "4.11", "missing-page faults on hugetlb"),
    Feature("MISSING_SHMEM", 5, "4.11", "missing-page faults on shmem"),
    Feature("EVENT_UNMAP", 6, "4.11", "an event when a registered range is unmapped"),
    Feature("SIGBUS", 7, "4.14", "a SIGBUS in the faulting thread instead of an event"),
    Feature("THREAD_ID", 8, "4.14", "the faulting thread's id in the event"),
    Feature("MINOR_HUGETLBFS", 9, "5.13", "minor faults on hugetlb"),
    Feature("MINOR_SHMEM", 10, "5.14", "minor faults on shmem"),
    Feature("EXACT_ADDRESS", 11, "5.18", "the exact faulting address in the event"),
    Feature("WP_HUGETLBFS_SHMEM", 12, "5.19", "write-protect on shmem and hugetlb, markers in their empty entries"),
    Feature("WP_UNPOPULATED", 13, "6.4", "markers in empty entries of anonymous memory too"),
    Feature("POISON", 14, "6.6", "UFFDIO_POISON: make a page raise SIGBUS"),
    Feature("WP_ASYNC", 15, "6.7", "the kernel resolves write-protect faults itself"),
    Feature("MOVE", 16, "6.8", "UFFDIO_MOVE: move pages instead of copying them"),
    Feature("RWP", 17, "7.3", "UFFDIO_RWPROTECT: faults on reads of present pages, too"),
    Feature("RWP_ASYNC", 18, "7.3", "the kernel resolves those faults itself"),
)

_BY_NAME = {feature.name: feature for feature in FEATURES}
_BY_BIT = {feature.bit: feature for feature in FEATURES}
_PREFIX = "UFFD_FEATURE_"


def feature(name: str) -> Feature:
    """Return the feature called *name*, with or without ``UFFD_FEATURE_``.

    Raises UffdlabError for a name that is not in the table.
    """
    named = _BY_NAME.get(name.removeprefix(_PREFIX))
    if named is None:
        raise UffdlabError(f"no userfaultfd feature is called {name!r}; known are {', '.join(_BY_NAME)}")
    return named


def feature_names(mask: int) -> list[str]:
    """Return the names of the features in *mask*, in bit order; an unknown bit becomes ``bit19``."""
    return [_BY_BIT[bit].name if bit in _BY_BIT else f"bit{bit}" for bit in _bits(mask)]


def feature_mask(names: Iterable[str]) -> int:
    """Return the mask of the named features, ``bit19`` included: the inverse of ``feature_names``.

    Raises UffdlabError for an unknown name.
    """
    mask = 0
    for name in names:
        number = name.removeprefix("bit")
        mask |= 1 << int(number) if name != number and number.isdecimal() else feature(name).mask
    return mask


def _bits(mask: int) -> list[int]:
    if mask < 0:
        raise ValueError(f"BUG: a mask of bits cannot be negative: {mask}")
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


# --- pagemap ----------------------------------------------------------------------------------------------

# Bits of one 64-bit word of /proc/PID/pagemap.
PAGEMAP_UFFD_WP_BIT = 57  # or, in a range registered for it, read-write protection
PAGEMAP_SWAP_BIT = 62
PAGEMAP_PRESENT_BIT = 63
PAGEMAP_FRAME = (1 << 55) - 1  # of a page that is not present: 5 bits of swap type, and its offset
SWAP_TYPE_MARKER = 31  # SWP_PTE_MARKER, the last type of all (include/linux/swapops.h); its offset says what is marked
MARKER_POISONED, MARKER_GUARD = 1 << 1, 1 << 2

# Categories of PAGEMAP_SCAN in bit order. A uffd-wp marker counts as SWAPPED.
PAGE_CATEGORIES: tuple[str, ...] = (
    "WPALLOWED",
    "WRITTEN",
    "FILE",
    "PRESENT",
    "SWAPPED",
    "PFNZERO",
    "HUGE",
    "SOFT_DIRTY",
    "GUARD",
    "ACCESSED",  # since 7.3, in ranges registered for RWP
)


def category_names(mask: int) -> list[str]:
    """Return the names of the PAGEMAP_SCAN categories in *mask*; an unknown bit becomes ``bit10``."""
    return [PAGE_CATEGORIES[b] if b < len(PAGE_CATEGORIES) else f"bit{b}" for b in _bits(mask)]


# --- memory -----------------------------------------------------------------------------------------------

MAP_HUGE_SHIFT = 26

# The first kernels that have them.
PAGEMAP_SCAN_SINCE = "6.7"
MADV_POPULATE_READ_SINCE = "5.14"
