# SPDX-License-Identifier: MIT
"""The numbers of the kernel's user-space interface that uffdlab uses.

Distributions often ship headers older than their kernel, so the constants stand here. Sources:
``include/uapi/linux/userfaultfd.h``, ``include/uapi/linux/fs.h`` (PAGEMAP_SCAN),
``include/uapi/asm-generic/mman-common.h``, ``Documentation/admin-guide/mm/pagemap.rst``. The ioctl numbers
use the generic layout of ``asm-generic/ioctl.h`` (x86, arm64, riscv, s390); mips, powerpc and sparc differ,
and C code takes them from the compiler. What came with RWP (Linux 7.3: 2d427bb01639, 338964881982) is from the series
that was merged, 20260706084805.8400-1-kirill@shutemov.name.

What the running kernel has is in ``uffdlab.host.features``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from uffdlab.errors import UffdlabError

# --- ioctls -----------------------------------------------------------------------------------------------

Direction = Literal["none", "read", "write", "both"]
_DIRECTION_BITS: dict[Direction, int] = {"none": 0, "write": 1, "read": 2, "both": 3}


@dataclass(frozen=True)
class Ioctl:
    """One ioctl: name, magic type, number within the type, direction and argument size in bytes."""

    name: str
    magic: int
    nr: int
    direction: Direction
    size: int
    since: str

    @property
    def number(self) -> int:
        """The request number passed to ``ioctl(2)``."""
        return _DIRECTION_BITS[self.direction] << 30 | self.size << 16 | self.magic << 8 | self.nr


UFFD_API = 0xAA

UFFDIO_REGISTER = Ioctl("UFFDIO_REGISTER", UFFD_API, 0x00, "both", 32, "4.3")
# UNREGISTER and WAKE only pass data in, yet the kernel declares them _IOR.
UFFDIO_UNREGISTER = Ioctl("UFFDIO_UNREGISTER", UFFD_API, 0x01, "read", 16, "4.3")
UFFDIO_WAKE = Ioctl("UFFDIO_WAKE", UFFD_API, 0x02, "read", 16, "4.3")
UFFDIO_COPY = Ioctl("UFFDIO_COPY", UFFD_API, 0x03, "both", 40, "4.3")
UFFDIO_ZEROPAGE = Ioctl("UFFDIO_ZEROPAGE", UFFD_API, 0x04, "both", 32, "4.3")
UFFDIO_MOVE = Ioctl("UFFDIO_MOVE", UFFD_API, 0x05, "both", 40, "6.8")
UFFDIO_WRITEPROTECT = Ioctl("UFFDIO_WRITEPROTECT", UFFD_API, 0x06, "both", 24, "5.7")
UFFDIO_CONTINUE = Ioctl("UFFDIO_CONTINUE", UFFD_API, 0x07, "both", 32, "5.13")
UFFDIO_POISON = Ioctl("UFFDIO_POISON", UFFD_API, 0x08, "both", 32, "6.6")
UFFDIO_RWPROTECT = Ioctl("UFFDIO_RWPROTECT", UFFD_API, 0x09, "both", 24, "7.3")
UFFDIO_SET_MODE = Ioctl("UFFDIO_SET_MODE", UFFD_API, 0x0A, "write", 16, "7.3")
UFFDIO_API = Ioctl("UFFDIO_API", UFFD_API, 0x3F, "both", 24, "4.3")

UFFD_IOCTLS: tuple[Ioctl, ...] = (
    UFFDIO_REGISTER,
    UFFDIO_UNREGISTER,
    UFFDIO_WAKE,
    UFFDIO_COPY,
    UFFDIO_ZEROPAGE,
    UFFDIO_MOVE,
    UFFDIO_WRITEPROTECT,
    UFFDIO_CONTINUE,
    UFFDIO_POISON,
    UFFDIO_RWPROTECT,
    UFFDIO_SET_MODE,
    UFFDIO_API,
)

USERFAULTFD_IOC_NEW = Ioctl("USERFAULTFD_IOC_NEW", UFFD_API, 0x00, "none", 0, "6.1")  # on /dev/userfaultfd
PAGEMAP_SCAN = Ioctl("PAGEMAP_SCAN", ord("f"), 16, "both", 96, "6.7")  # on /proc/PID/pagemap

# --- registering ------------------------------------------------------------------------------------------


REGISTER_MODE_MISSING = 1 << 0
REGISTER_MODE_WP = 1 << 1


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

PM_SCAN_WP_MATCHING = 1 << 0
PM_SCAN_CHECK_WPASYNC = 1 << 1


def category_names(mask: int) -> list[str]:
    """Return the names of the PAGEMAP_SCAN categories in *mask*; an unknown bit becomes ``bit10``."""
    return [PAGE_CATEGORIES[b] if b < len(PAGE_CATEGORIES) else f"bit{b}" for b in _bits(mask)]


# --- madvise ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Advice:
    """One advice of ``madvise(2)``: its number in the generic ABI and the first kernel that takes it."""

    name: str
    number: int
    since: str


MADV_POPULATE_READ = Advice("MADV_POPULATE_READ", 22, "5.14")
MADV_POPULATE_WRITE = Advice("MADV_POPULATE_WRITE", 23, "5.14")
MADV_COLLAPSE = Advice("MADV_COLLAPSE", 25, "6.1")

MAP_HUGE_SHIFT = 26
