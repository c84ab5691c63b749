# SPDX-License-Identifier: MIT
"""What a measurement needs of the host, checked before it starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_SHMEM_THP = "sys/kernel/mm/transparent_hugepage/shmem_enabled"
RESERVE_KIB = 512 * 1024  # left to everything else on the machine


@dataclass(frozen=True)
class Needs:
    """Peak memory (KiB, without huge pages), huge pages by size in KiB, whether THP must be allowed, CPUs, settings of
    the host (``uffdlab.host.settings``) that have to be in force meanwhile, whether no other process may use KSM,
    whether shmem must be allowed huge pages, and whether there must be no swap.
    """

    memory_kib: int = 0
    hugepages: dict[int, int] = field(default_factory=dict)
    thp: bool = False
    cpus: int = 1
    settings: dict[str, str] = field(default_factory=dict)
    ksm: bool = False
    shmem_thp: bool = False
    no_swap: bool = False

    def taken(self) -> str | None:
        """Return one sentence if another process uses KSM and the block needs it, or None.

        Check this before changing any setting: afterwards their use is indistinguishable from ours.
        """
        from uffdlab.host import ksm

        return ksm.busy() if self.ksm else None

    def missing(self) -> str | None:
        """Return one sentence on what this host lacks, or None."""
        # Imported here: a child does not call this and should not wait for the imports.
        from uffdlab.host import cpus, memory, pseudofiles, settings, swap

        for size_kib, count in self.hugepages.items():
            pool, limit = memory.hugepages(size_kib), memory.hugetlb_limit(size_kib)
            if pool is None:
                return f"this kernel has no huge pages of {size_kib} KiB"
            if limit is not None and limit.room < count:
                return f"needs {count} huge pages of {size_kib} KiB, and {limit}: {limit.remedy}"
            if (pool.available or 0) < count:
                return (
                    f"needs {count} free huge pages of {size_kib} KiB and the pool has {pool.available or 0}: let "
                    "uffdlab fill the pool meanwhile with --allow-host-changes, or write nr_hugepages yourself"
                )
        usable = len(cpus.allowed())
        if 0 < usable < self.cpus:
            return f"needs {self.cpus} CPUs to pin threads to, and this process may run on {usable}"
        if self.thp and settings.current("thp_enabled") in ("never", None):
            return (
                "needs transparent huge pages, which this kernel lacks or /sys/kernel/mm/transparent_hugepage/"
                "enabled forbids (never): write madvise there, which changes nothing for programs that do not ask"
            )
        if self.shmem_thp and pseudofiles.choice(Path("/"), _SHMEM_THP) in ("never", "deny", None):
            return (
                f"needs huge pages of shmem, which this kernel lacks or /{_SHMEM_THP} forbids: write advise there, "
                "which changes nothing for programs that do not ask"
            )
        if "swap_file_kib" in self.settings and (where := memory.swap_forbidden()):
            return f"needs swap, and {where} is 0: write max there, or measure in another control group"
        others = [path for path in swap.areas() if path != f"/{swap.FILE}"] if self.no_swap else []
        if others:
            return (
                f"needs a host without swap, and {others[0]} is in use: switch it off with swapoff, or take the step "
                "swapout, which is to swap"
            )
        available = memory.memory_available_kib()
        if available is not None and self.memory_kib > available - RESERVE_KIB:
            return (
                f"needs {self.memory_kib // 1024} MiB of memory and {max(0, available - RESERVE_KIB) // 1024} MiB "
                "are to be had here: choose a smaller --size or populated fraction"
            )
        return None


def peak(needs: Iterable[Needs]) -> Needs:
    """Return the peak needs of blocks that run one after another; a setting is "0 and 1" if they need both."""
    memory, pools, thp, shmem, cpus, ksm, no_swap = 0, dict[int, int](), False, False, 1, False, False
    settings: dict[str, str] = {}
    for need in needs:
        for name, value in need.settings.items():
            known = settings.get(name, "").split(" and ") if name in settings else []
            settings[name] = " and ".join(sorted({*known, value}))
        memory, thp, cpus = max(memory, need.memory_kib), thp or need.thp, max(cpus, need.cpus)
        shmem = shmem or need.shmem_thp
        ksm, no_swap = ksm or need.ksm, no_swap or need.no_swap
        for size_kib, count in need.hugepages.items():
            pools[size_kib] = max(pools.get(size_kib, 0), count)
    taken = {size: count for size, count in pools.items() if count}
    return Needs(memory, taken, thp, cpus, settings, ksm, shmem, no_swap)
