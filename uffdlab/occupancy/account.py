# SPDX-License-Identifier: MIT
"""Whether the look accounts for all memory that the kernel counts for the process, and what it left out.

The kernel counts pages by what they are (RssAnon, RssShmem, HugetlbPages and VmSwap of /proc/PID/status,
``mm_counter()`` and ``hugetlb_count_add()``), a scan by where they are mapped:

- own pages of ``anon``, of ``private file`` and of private ``shmem``: RssAnon. Zeropages are in no counter.
- pages of the file that ``shmem`` maps: RssShmem. Pages of any other file are RssFile, the page cache, and left out.
- ``hugetlb``: HugetlbPages.
- swapped pages: VmSwap. Shared memory that is swapped out has no entry, and is not in VmSwap either.

What holds no memory that is counted here, or is too small to be told page by page, is left out and said. A process that
runs changes its counters between two looks at them: the difference is 0 where the sum lies between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from uffdlab.occupancy.process import Counters

SMALL = "smaller than --min-size"
NO_OWN_PAGE = "of a file, private, not writable, without a page of their own"
OF_FILES = "of a file or device, shared: not looked at"
KERNELS = "of the kernel: not looked at"
NAMES = ("anon", "shmem", "hugetlb", "swap")  # what is counted, and the names under which it is told
_COUNTERS = ("rss_anon_kib", "rss_shmem_kib", "hugetlb_kib", "vm_swap_kib")


@dataclass(frozen=True)
class Held:
    """What some mappings hold, in bytes, by the counter it is in; None where nobody looked."""

    mappings: int
    size_bytes: int
    anon: int | None = 0
    shmem: int | None = 0
    hugetlb: int | None = 0
    swap: int | None = 0

    def __add__(self, other: Held) -> Held:
        """Return what both hold."""
        parts = (_added(getattr(self, name), getattr(other, name)) for name in NAMES)
        return Held(self.mappings + other.mappings, self.size_bytes + other.size_bytes, *parts)


def _added(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def not_looked_at(size_bytes: int) -> Held:
    """Return a mapping of which nothing is known but its size."""
    return Held(1, size_bytes, None, None, None, None)


def held(kind: str, size_bytes: int, page_bytes: int, pages: Mapping[str, int], *, shared: bool) -> Held:
    """Return what a mapping holds by the states of its pages."""
    present, of_file = pages["present"] * page_bytes, pages["file"] * page_bytes
    swap = pages["swapped"] * page_bytes
    if kind == "hugetlb":
        return Held(1, size_bytes, hugetlb=present + of_file)
    if kind == "shmem":
        return Held(1, size_bytes, 0 if shared else present, present if shared else of_file, swap=swap)
    return Held(1, size_bytes, present, swap=swap)


@dataclass(frozen=True)
class Account:
    """What was scanned and what was left out, by reason; both with what they hold."""

    scanned: Held
    left_out: dict[str, Held]

    def total(self) -> dict[str, int]:
        """Return the sum in bytes, of all that was looked at, by counter."""
        looked_at = [one for one in (self.scanned, *self.left_out.values()) if one.anon is not None]
        return {name: sum(getattr(one, name) for one in looked_at) for name in NAMES}

    def differences(self, before: Counters, after: Counters) -> dict[str, int | None]:
        """Return by how many bytes each sum exceeds what the kernel counted; below 0 where memory was not found."""
        found = self.total()
        return {
            name: _difference(found[name], [getattr(before, counter), getattr(after, counter)])
            for name, counter in zip(NAMES, _COUNTERS, strict=True)
        }


def _difference(found: int, counted_kib: Iterable[int | None]) -> int | None:
    known = [kib << 10 for kib in counted_kib if kib is not None]
    if not known:
        return None
    return found - min(max(found, min(known)), max(known))


def counted(counters: Counters) -> dict[str, int | None]:
    """Return what the kernel counts, in KiB, under the same names."""
    return {name: getattr(counters, counter) for name, counter in zip(NAMES, _COUNTERS, strict=True)}
