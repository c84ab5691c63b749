# SPDX-License-Identifier: MIT
"""Synthetic datasets of the probe trackers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from synthetic import FACTS

from uffdlab import datasets
from uffdlab.claims import trackers as rule
from uffdlab.probes import trackers

METHODS = ("nothing", "async_scan", "events", "events_each", "mprotect")
Cost = Callable[[str, float], float]  # of a method and a dirty share


def epoch(method: str, dirty: float, block: int, **more: Any) -> dict[str, Any]:
    """Return one warm sample of 256 MiB: the writes take 1 ms untracked, collecting and arming again nothing."""
    writes = round(65536 * dirty)
    tracked = method != "nothing"
    row: dict[str, Any] = {
        **{"block": block, "sample": 1, "backing": "anon", "size_kib": rule.SIZE_KIB, "dirty": dirty},
        **{"pattern": "uniform", "method": method, "turn": 0, "cold": False, "writes": writes, "dirty_pages": writes},
        **{"arm_ns": 6_000_000 if tracked else None, "write_ns": 1_000_000, "p50_ns": 500, "p99_ns": 1000},
        **{"p999_ns": 2000, "collect_ns": 0 if tracked else None, "rearm_ns": 0 if tracked else None},
        **{"cpu_ns": 10_000_000, "minor_faults": writes, "table_growth_kib": 0, "mapping_growth": 0, "gave_up": False},
        **{"reported_pages": writes if tracked else None, "missed_pages": 0 if tracked else None},
        **{"spurious_pages": 0 if tracked else None},
    }
    return row | more


def epochs(
    p99: Cost, pause: Cost, slower: Cost, children: int = 12, methods: Iterable[str] = METHODS
) -> list[dict[str, Any]]:
    """Return samples of every method at the shares of the rule; a child differs from the next by 1 %.

    ``p99`` and ``pause`` in ns; ``slower`` is what all writes take beyond untracked ones, in ns.
    """
    rows = []
    for place, dirty in enumerate(rule.DIRTY):
        for child in range(children):
            scale = 1 + child / 100
            for method in methods:
                more: dict[str, Any] = {"p99_ns": round(p99(method, dirty) * scale)}
                if method != "nothing":
                    more |= {"rearm_ns": round(pause(method, dirty) * scale)}
                    more |= {"write_ns": 1_000_000 + round(slower(method, dirty) * scale)}
                rows.append(epoch(method, dirty, place * children + child, **more))
    return rows


def dataset(out: Path, rows: Iterable[dict[str, Any]]) -> datasets.Dataset:
    """Write a dataset with a table of trackers, and load it."""
    table = datasets.Table("trackers", trackers.FIELDS, list(rows))
    return datasets.write(out, id="made-up", title="made up for a test", tables=[table], provenance=FACTS)
