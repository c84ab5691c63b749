# SPDX-License-Identifier: MIT
"""Compare a scan with the memory that the kernel counts for the process, and list what the scan left out.

The kernel counts pages by what they are (RssAnon, RssShmem, HugetlbPages and VmSwap of /proc/PID/status,
``mm_counter()`` and ``hugetlb_count_add()``), a scan by where they are mapped:

- own pages of ``anon``, of ``private file`` and of private ``shmem``: RssAnon. Zeropages are in no counter.
- pages of the file that ``shmem`` maps: RssShmem. Pages of any other file are RssFile, the page cache, and left out.
- ``hugetlb``: HugetlbPages.
- swapped pages: VmSwap. Shared memory that is swapped out has no entry, and is not in VmSwap either.

Mappings without counted memory, and those smaller than ``min_bytes``, are left out and listed. Counters of a running
process are read before and after the scan: the difference is 0 where the sum lies between the two.
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
NAMES = ("anon", "shmem", "hugetlb", "swap")  # of the counters below
_COUNTERS = ("rss_anon_kib", "rss_shmem_kib", "hugetlb_kib", "vm_swap_kib")


@dataclass(slots=True)
class Held:
    """Memory of some mappings in bytes, by counter; all None where they were not scanned."""

    mappings: int = 0
    size_bytes: int = 0
    anon: int | None = 0
    shmem: int | None = 0
    hugetlb: int | None = 0
    swap: int | None = 0

    def add(self, mapping: maps.Mapping, pages: Mapping[str, int], page_bytes: int) -> None:
        """Add a mapping by the states of its pages."""
        self.mappings += 1
        self.size_bytes += mapping.length
        own, of_file = pages["present"] * page_bytes, pages["file"] * page_bytes
        self.swap = (self.swap or 0) + pages["swapped"] * page_bytes
        if mapping.kind == "hugetlb":
            self.hugetlb = (self.hugetlb or 0) + own + of_file
        elif mapping.kind == "shmem":
            self.shmem = (self.shmem or 0) + (own if mapping.shared else of_file)
            self.anon = (self.anon or 0) + (0 if mapping.shared else own)
        else:
            self.anon = (self.anon or 0) + own

    def add_unknown(self, mapping: maps.Mapping) -> None:
        """Add a mapping that was not scanned."""
        self.mappings += 1
        self.size_bytes += mapping.length
        self.anon = self.shmem = self.hugetlb = self.swap = None


@dataclass(frozen=True)
class Account:
    """The memory of scanned mappings, and of those left out, by reason."""

    scanned: Held
    left_out: dict[str, Held]

    def total(self) -> dict[str, int]:
        """Return the sum in bytes over all scanned mappings, by counter."""
        known = [held for held in (self.scanned, *self.left_out.values()) if held.anon is not None]
        return {name: sum(getattr(held, name) for held in known) for name in NAMES}

    def differences(self, before: Counters, after: Counters) -> dict[str, int | None]:
        """Return by how many bytes each sum exceeds the kernel's counter; below 0 where memory was not found."""
        total = self.total()
        return {
            name: _difference(total[name], [getattr(before, counter), getattr(after, counter)])
            for name, counter in zip(NAMES, _COUNTERS, strict=True)
        }


def _difference(scanned: int, counted_kib: Iterable[int | None]) -> int | None:
    known = [kib << 10 for kib in counted_kib if kib is not None]
    if not known:
        return None
    return scanned - min(max(scanned, min(known)), max(known))


def counted(counters: Counters) -> dict[str, int | None]:
    """Return the kernel's counters in KiB, by NAMES."""
    return {name: getattr(counters, counter) for name, counter in zip(NAMES, _COUNTERS, strict=True)}
