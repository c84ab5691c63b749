# SPDX-License-Identifier: MIT
"""Synthetic datasets: later faults, zeropages, resolves, equal page states and runs of the published protocol."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from synthetic import FACTS, sample

from uffdlab import datasets
from uffdlab.probes import equality, faults, protect, published, resolve, zeropages

_CHILDREN = count()
CHILDREN = 9
TABLES = {
    "samples": protect.FIELDS,
    "faults": faults.FIELDS,
    "fault_latencies": faults.LATENCY_FIELDS,
    "zeropages": zeropages.FIELDS,
    "resolves": resolve.FIELDS,
    "equality": equality.FIELDS,
    "published_runs": published.FIELDS,
}


def dataset(out: Path, **tables: list[dict[str, Any]]) -> datasets.Dataset:
    """Write and load a dataset of these tables."""
    made = [datasets.Table(name, TABLES[name], rows) for name, rows in tables.items()]
    return datasets.write(out, id="made-up", title="made up for a test", tables=made, provenance=FACTS)


def touched(preparation: str, delivery: str, touch: str, ns: float, **more: Any) -> list[dict[str, Any]]:
    """Return a warm row of each of nine children: 1000 touches of ``ns`` to ``ns + 8``, unless ``more`` says so."""
    rows = []
    for i in range(more.pop("children", CHILDREN)):
        row: dict[str, Any] = {"block": next(_CHILDREN), "sample": 1, "cold": False, "backing": "anon"}
        row |= {"preparation": preparation, "delivery": delivery, "touch": touch, "size_kib": 4000, "stride_kib": 4}
        row |= {"threads": 1, "together": False, "touches": 1000, "wall_ns": 1000, "minor_faults": 1000}
        row |= {"table_growth_kib": 0, "rss_growth_kib": 0, "tlb_ipis": 0, "wp_events": 0, "missing_events": 0}
        row |= {"busy_ns": round(1000 * (ns + i)), "failed_events": 0}
        rows.append(row | more)
    return rows


def latencies(rows: list[dict[str, Any]], *bins: tuple[int, int]) -> list[dict[str, Any]]:
    """Return the latencies of rows made by ``touched``: ``(from_ns, count)`` each."""
    return [
        {"block": row["block"], "sample": 1, "touch": row["touch"], "from_ns": ns, "below_ns": 2 * ns, "count": n}
        for row in rows
        for ns, n in bins
    ]


def filled(backing: str, design: str, share: float, huge_zeropage: str = "on", **more: Any) -> list[dict[str, Any]]:
    """Return a warm row of each of nine children: a range of 64 MiB of which so much is filled."""
    rows = []
    for i in range(more.pop("children", CHILDREN)):
        row: dict[str, Any] = {"block": next(_CHILDREN), "sample": 1, "cold": False, "backing": backing}
        row |= {"design": design, "huge_zeropage": huge_zeropage, "step": "protected", "size_kib": 65536}
        row |= {"prepare_ns": 5000, "protect_ns": 100_000 + 100 * i, "resolves": 0, "zeropages": 0, "huge_pages": 0}
        row |= {"present_pages": 0, "rss_growth_kib": round(65536 * share), "hugetlb_growth_kib": 0}
        row |= {"table_growth_kib": 128, "minor_faults": 0, "reported": True}
        rows.append(row | more)
    return rows


def same(backing: str, way: str, equal: int, pages: int = 4096) -> dict[str, Any]:
    """Return one state of ``pages`` pages, of which so many are as after markers that were read."""
    key = {"block": next(_CHILDREN), "backing": backing, "way": way, "size_kib": 4 * pages}
    return key | {"state": "present / PRESENT", "pages": pages, "equal_pages": equal}


def populated(design: str, prepare_ns: int, protect_ns: int, backing: str = "anon") -> list[dict[str, Any]]:
    """Return a warm sample of each of nine children on 1 GiB of untouched memory."""
    return [sample(backing, design, prepare_ns + i * (prepare_ns > 0), protect_ns + i) for i in range(CHILDREN)]


def resolved(state: str, piece_kib: int, stride_kib: int, pass_: str, ns: int) -> list[dict[str, Any]]:
    """Return a warm row of each of nine children: 32 calls of so many ns."""
    return [
        {
            "block": next(_CHILDREN),
            "sample": 1,
            "cold": False,
            "state": state,
            "size_kib": 65536,
            "piece_kib": piece_kib,
        }
        | {"stride_kib": stride_kib, "pass": pass_, "calls": 32, "resolve_ns": 32 * ns + i, "huge_before_pages": 0}
        | {"huge_after_pages": 0, "table_growth_kib": 0}
        for i in range(CHILDREN)
    ]


def protocol(thp: str, mode: str, order: int, total_ns: int) -> list[dict[str, Any]]:
    """Return nine runs of the published protocol."""
    return [
        {"block": next(_CHILDREN), "thp": thp, "mode": mode, "order": order, "size_kib": 10 << 20}
        | {"total_ns": total_ns + i, "table_growth_kib": 0, "zeropages": 0, "huge_pages": 0}
        for i in range(CHILDREN)
    ]
