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

from uffdlab.occupancy import mappings as maps
from uffdlab.occupancy.process import Counters

SMALL = "smaller than --min-size"
NO_OWN_PAGE = "of a file, private, not writable, without a page of their own"
OF_FILES = "of a file or device, shared: not looked at"
KERNELS = "of the kernel: not looked at"
NAMES = ("anon", "shmem", "hugetlb", "swap")  # what is counted, and the names under which it is told
_COUNTERS = ("rss_anon_kib", "rss_shmem_kib", "hugetlb_kib", "vm_swap_kib")


@dataclass(slots=True)
class Held:
    """What some mappings hold, in bytes, by the counter it is in; all None where nobody looked."""

    mappings: int = 0
    size_bytes: int = 0
    anon: int | None = 0
    shmem: int | None = 0
    hugetlb: int | None = 0
    swap: int | None = 0

    def add(self, one: maps.Mapping, pages: Mapping[str, int], page_bytes: int) -> None:
        """Add a mapping by the states of its pages."""
        self.mappings += 1
        self.size_bytes += one.length
        own, of_file = pages["present"] * page_bytes, pages["file"] * page_bytes
        self.swap = (self.swap or 0) + pages["swapped"] * page_bytes
        if one.kind == "hugetlb":
            self.hugetlb = (self.hugetlb or 0) + own + of_file
        elif one.kind == "shmem":
            self.shmem = (self.shmem or 0) + (own if one.shared else of_file)
            self.anon = (self.anon or 0) + (0 if one.shared else own)
        else:
            self.anon = (self.anon or 0) + own

    def add_unknown(self, one: maps.Mapping) -> None:
        """Add a mapping that nobody looked at."""
        self.mappings += 1
        self.size_bytes += one.length
        self.anon = self.shmem = self.hugetlb = self.swap = None


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
