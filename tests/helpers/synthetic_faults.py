# SPDX-License-Identifier: MIT
"""Synthetic datasets: later faults, zeropages, resolves, equal page states and runs of the published protocol.

Builders further down give all that one claim needs, with one number to vary.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from synthetic import FACTS, sample

from uffdlab import datasets
from uffdlab.claims.userspace import POPULATED_KIB
from uffdlab.probes import collapse, equality, faults, protect, published, resolve, zeropages

_CHILDREN = count()
CHILDREN = 9
TABLES = {
    "samples": protect.FIELDS,
    "faults": faults.FIELDS,
    "fault_latencies": faults.LATENCY_FIELDS,
    "zeropages": zeropages.FIELDS,
    "resolves": resolve.FIELDS,
    "collapses": collapse.FIELDS,
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


# --- all that a claim needs ------------------------------------------------------------------------------------------

PMD_KIB, GIB_KIB = 2048, 1 << 20
TOUCHES = ("first read", "first write")


def first_touches(
    factors: Mapping[str, float], touches: tuple[str, ...] = TOUCHES, **more: Any
) -> list[dict[str, Any]]:
    """Return first touches, one per 2 MiB, of fresh memory, and with preparations that take so many times as long.

    After the caches were replaced, all take three times as long.
    """
    arms = {"fresh": 1.0, "fresh_cold": 3.0}
    arms |= {name: 3 * factor if name.endswith("_cold") else factor for name, factor in factors.items()}
    return [
        row
        for touch in touches
        for preparation, factor in arms.items()
        for row in touched(preparation, "plain", touch, 1000 * factor, stride_kib=PMD_KIB, **more)
    ]


def in_turns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the same rows, as if each child had measured both sides in turns, and the slowest were 20 times slower."""
    return [row | {"block": n % 9, "busy_ns": row["busy_ns"] * (1 + 19 * (n % 9) // 8)} for n, row in enumerate(rows)]


def locked(
    one: float, two: float, strides: tuple[int, ...] = (4, PMD_KIB), touches: tuple[str, ...] = TOUCHES
) -> list[dict[str, Any]]:
    """Return first touches with tables / without: ``one`` times as long with a thread, ``two`` with two together.

    Each child measures both sides in turns.
    """
    cases = [(s, t, n, f) for s in strides for t in touches for n, f in ((1, one), (2, two))]
    rows = []
    for stride, touch, threads, factor in cases:
        first = next(_CHILDREN) * 1000
        at = {"stride_kib": stride, "threads": threads, "together": threads > 1}
        for preparation, ns in (("tables", 1e6 * factor), ("fresh", 1e6)):
            both = touched(preparation, "plain", touch, ns, **at)
            rows += [row | {"block": first + i} for i, row in enumerate(both)]
    return rows


INTERRUPTED = {
    "filled": ("zeropage", "async", "first write"),
    "nothing": ("zeropage", "async", "no touch"),
    "unread": ("markers", "async", "first write"),
    "read": ("markers", "async", "write after reads"),
    "fresh": ("fresh", "plain", "first write"),
    "fresh_read": ("fresh", "plain", "write after reads"),
}


def interrupts(children: int = CHILDREN, **counted: int | None) -> list[dict[str, Any]]:
    """Return writes of two threads with so many interrupts per thousand, by the names of ``INTERRUPTED``."""
    return [
        row
        for name, ipis in counted.items()
        for row in touched(*INTERRUPTED[name], 1000, tlb_ipis=ipis, threads=2, children=children)
    ]


def first_reads(marker_ns: float, zeropage_ns: float, **more: Any) -> list[dict[str, Any]]:
    """Return the times of first reads of each page: of markers and of mapped zeropages."""
    rows = touched("markers", "async", "first read", marker_ns, **more)
    return rows + touched("zeropage", "plain", "first read", zeropage_ns, **more)


def _grown_kib(share: float) -> int:
    """Return the growth of RSS by 1000 writes, of which a share maps a huge page and the others a small one."""
    return round(1000 * (4 + (PMD_KIB - 4) * share))


def huge_writes(without: float, under: float | None, children: int = CHILDREN) -> list[dict[str, Any]]:
    """Return first writes per 2 MiB with THP on, of which such shares map a huge page: without markers, and under."""
    at = {"backing": "anon_thp", "stride_kib": PMD_KIB, "children": children}
    rows = touched("fresh", "plain", "first write", 5, rss_growth_kib=_grown_kib(without), **at)
    if under is not None:
        rows += touched("markers", "async", "first write", 5, rss_growth_kib=_grown_kib(under), **at)
    return rows


def sparse(
    empty: float, written: float | None, children: int = CHILDREN, size_kib: int = 256 << 10
) -> list[dict[str, Any]]:
    """Return times to protect empty memory and memory that is 5 % written: so many times as long with markers."""
    cases = {(0.0, 1): empty, (0.0498, 1024): written}
    return [
        sample("anon", design, 0, round(1e6 * factor) + i, size_kib=size_kib, populated=share, cluster_pages=cluster)
        for (share, cluster), times in cases.items()
        if times is not None
        for design, factor in (("pte_marker", times), ("unprotected", 1.0))
        for i in range(children)
    ]


CHOICES = [(b, d) for b in ("anon", "anon_thp", "shmem") for d in ("preread", "populate_read")]


def choices(lost: tuple[tuple[str, str], ...] = (), but: tuple[str, str] | None = None) -> list[dict[str, Any]]:
    """Return memory populated either way and protected: whether a write is reported, which it is not in ``lost``."""
    return [
        row
        for backing, design in CHOICES
        if (backing, design) != but
        for row in filled(backing, design, 0, reported=(backing, design) not in lost)
    ]


POPULATED = [(b, s) for b in ("anon", "anon_thp", "shmem", "hugetlb_2m_private") for s in (0.0, 0.5, 1.0)]


def speeds(
    ratios: Mapping[tuple[str, float], float], usual: float, children: int = 12, size_kib: int = 0
) -> list[dict[str, Any]]:
    """Return read loops that take ``ratios`` or ``usual`` times as long as MADV_POPULATE_READ, in each case."""
    return [
        sample(
            backing,
            design,
            round(1e6 * factor) + i,
            100,
            size_kib=size_kib or POPULATED_KIB[backing],
            populated=share,
            block=1000 * number + i,
        )
        for number, (backing, share) in enumerate(POPULATED)
        for design, factor in (("preread", ratios.get((backing, share), usual)), ("populate_read", 1.0))
        for i in range(children)
    ]


def levels(
    hugetlb: float | None, zeropage: float | None, pud: float | None, children: int = CHILDREN
) -> list[dict[str, Any]]:
    """Return times to protect by proxies of PMD and PUD markers: the level below takes so many times as long."""
    sides = [
        (hugetlb, "anon", "pte_marker", "hugetlb_2m_private", "unprotected", GIB_KIB),
        (zeropage, "anon_thp", "pte_marker", "anon_thp", "populate_read", GIB_KIB),
        (pud, "hugetlb_2m_private", "unprotected", "hugetlb_1g_private", "unprotected", 16 * GIB_KIB),
    ]
    return [
        row
        for times, below, how_below, above, how_above, size in sides
        if times is not None
        for i in range(children)
        for row in (
            sample(below, how_below, 0, round(1e6 * times) + i, size_kib=size),
            sample(above, how_above, 0, 1_000_000 + i, size_kib=size),
        )
    ]


def equal(anon: int, thp: int) -> list[dict[str, Any]]:
    """Return page states after each way of populating: so many of 4096 are as after markers that were read."""
    ways = ("markers, read", "read loop", "MADV_POPULATE_READ")
    return [same(b, way, 4096 if way == ways[0] else n) for b, n in (("anon", anon), ("anon_thp", thp)) for way in ways]
