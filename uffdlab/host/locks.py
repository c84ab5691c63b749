# SPDX-License-Identifier: MIT
"""What this kernel tells of waits for locks: most tell little, and None stands for what it does not tell."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path

from uffdlab.host import pseudofiles

# A class of locks, how often it bounced between CPUs, and how often a lock of it was waited for.
_CLASS = re.compile(r"\s*(\S[^:]*):\s+\d+\s+(\d+)\s")
_MMAP_LOCK = ("&mm->mmap_lock",)
_TABLE_LOCKS = ("ptlock_ptr(", "&mm->page_table_lock")
_FALLBACKS = ("vma_lock_abort", "vma_lock_retry", "vma_lock_miss")
_TRACING = ("sys/kernel/tracing", "sys/kernel/debug/tracing")


@dataclass(frozen=True)
class Waits:
    """Waits since boot, of the whole machine.

    ``mmap_lock`` and ``table_locks``: of /proc/lock_stat (CONFIG_LOCK_STAT, which debugging kernels have).
    ``vma_fallbacks``: faults that did not get the lock of their mapping and took mmap_lock instead
    (CONFIG_PER_VMA_LOCK_STATS).
    """

    mmap_lock: int | None
    table_locks: int | None
    vma_fallbacks: int | None

    def growth(self, before: Waits) -> dict[str, int | None]:
        """Return by how much each has grown since; None for what is not told, or was set back meanwhile."""
        grown = {}
        for name, now in asdict(self).items():
            then = getattr(before, name)
            grown[name] = None if now is None or then is None or now < then else now - then
        return grown


def waits(root: Path = Path("/")) -> Waits:
    """Read the waits now."""
    return Waits(*_lock_stat(root), _vma_fallbacks(root))


def contention_tracepoint(root: Path = Path("/")) -> int | None:
    """Return the number of the tracepoint ``lock:contention_begin`` (since 5.19).

    None where tracefs is not mounted, or this user may not read it.
    """
    for mount in _TRACING:
        number = pseudofiles.integer(root, f"{mount}/events/lock/contention_begin/id")
        if number is not None:
            return number
    return None


def _lock_stat(root: Path) -> tuple[int | None, int | None]:
    if not pseudofiles.boolean(root, "proc/sys/kernel/lock_stat"):  # switched off, or not there
        return None, None
    counted = [
        (match[1], int(match[2]))
        for line in pseudofiles.lines(root, "proc/lock_stat")
        if (match := _CLASS.match(line)) is not None
    ]
    return _sum(counted, _MMAP_LOCK), _sum(counted, _TABLE_LOCKS)


def _sum(counted: list[tuple[str, int]], names: tuple[str, ...]) -> int | None:
    waited = [count for name, count in counted if name.startswith(names)]
    return sum(waited) if waited else None


def _vma_fallbacks(root: Path) -> int | None:
    counts = dict(line.split(" ", 1) for line in pseudofiles.lines(root, "proc/vmstat") if " " in line)
    known = [number for name in _FALLBACKS if (number := pseudofiles.as_integer(counts.get(name))) is not None]
    return sum(known) if len(known) == len(_FALLBACKS) else None
