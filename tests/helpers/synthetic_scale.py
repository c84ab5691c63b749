# SPDX-License-Identifier: MIT
"""Synthetic datasets of the probe scale."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from synthetic import FACTS

from uffdlab import datasets
from uffdlab.probes import scale

PAGES = 1000
_ROW = {
    "sample": 1, "turn": 0, "cold": False, "sharing": "same_2mib", "stride_kib": 4, "operation": "write_nothing",
    "pages": PAGES, "cpu_ns": 0, "system_us": 0, "minor_faults": PAGES, "voluntary_switches": 0,
    "involuntary_switches": 0, "spin_waits": None, "semaphore_waits": None, "tlb_ipis": None, "mmap_lock_waits": None,
    "table_lock_waits": None, "vma_lock_fallbacks": None,
}  # fmt: skip


def sample(block: int, threads: int, ns_per_page: float, **more: Any) -> dict[str, Any]:
    """Return one warm sample of first writes to 1000 pages."""
    wall_ns = round(ns_per_page * PAGES)
    return _ROW | {"block": block, "threads": threads, "wall_ns": wall_ns, "busy_ns": wall_ns * threads} | more


def children(operation: str, times: dict[int, float], count: int = 7, **more: Any) -> list[dict[str, Any]]:
    """Return a sample of each child and number of threads, by the time of a page; children differ by 1 % in all."""
    return [
        sample(child, threads, ns * (1 + child / 100), operation=operation, **more)
        for child in range(count)
        for threads, ns in times.items()
    ]


def dataset(out: Path, rows: Iterable[dict[str, Any]], id: str = "made-up") -> datasets.Dataset:
    """Write a dataset with a table of scaling, and load it."""
    made = [datasets.Table("scale", scale.FIELDS, list(rows)), datasets.Table("scale_threads", scale.THREAD_FIELDS, [])]
    return datasets.write(out, id=id, title="made up for a test", tables=made, provenance=FACTS)
