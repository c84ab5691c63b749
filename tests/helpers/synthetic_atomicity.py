# SPDX-License-Identifier: MIT
"""Synthetic datasets of the probes atomicity and tracking."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from synthetic import FACTS

from uffdlab import datasets
from uffdlab.probes import atomicity, tracking


def race(backing: str, preparation: str, judged: int, lost: int, **more: Any) -> dict[str, Any]:
    """Return one racing trial."""
    row: dict[str, Any] = {
        "block": 0,
        "trial": 0,
        "backing": backing,
        "preparation": preparation,
        "interleaving": "racing",
        "pages": judged + 10,
        "judged": judged,
        "excluded": 10,
        "lost": lost,
        "lost_undiscarded": 0,
        "judged_discarded": judged // 8,
        "excluded_unreported": 5,
        "discards_before": judged // 8,
        "discards_preparing": 100,
        "discards_since": 10,
        "racing_writes": 80,
        "events": judged - lost,
        "prepare_ns": 10_000_000,
        "protect_ns": 2_000_000,
        "pause_us": 10,
        "seed": 1,
        "cold": False,
    }
    return row | more


def races(backing: str, preparation: str, judged: int, lost: Iterable[int]) -> list[dict[str, Any]]:
    """Return one trial a child, with so many writes lost in each."""
    return [race(backing, preparation, judged, n, block=block) for block, n in enumerate(lost)]


def in_between(preparation: str, discards: int, lost: Iterable[int], backing: str = "anon") -> list[dict[str, Any]]:
    """Return one trial a child: so many discards between preparing and protecting, of which so many lose a write."""
    return [
        race(backing, preparation, 1_000_000, n, block=block, discards_preparing=discards)
        for block, n in enumerate(lost)
    ]


def freed(preparation: str, pages: int, lost: Iterable[int]) -> list[dict[str, Any]]:
    """Return one trial a child: so many pages that were freed and reclaimed, of which so many lose their write."""
    return [race("anon", preparation, pages, n, block=block, interleaving="freed") for block, n in enumerate(lost)]


def tracked(method: str, dirty_pages: int, write_ns: int, collect_ns: int | None, **more: Any) -> dict[str, Any]:
    """Return one warm sample of 256 MiB of untouched anonymous memory."""
    scans, handles = method == "async_scan", method.startswith("events")
    reported = dirty_pages if scans or handles else None
    row: dict[str, Any] = {
        "block": 0,
        "sample": 1,
        "backing": "anon",
        "method": method,
        "size_kib": 1 << 18,
        "dirty": dirty_pages / (1 << 16),
        "pattern": "uniform",
        "populated": False,
        "cold": False,
        "dirty_pages": dirty_pages,
        "protect_ns": 1_000_000 if reported is not None else None,
        "write_ns": write_ns,
        "write_minor_faults": 2 * dirty_pages,
        "events": {"async_scan": 0, "untracked": None}.get(method, dirty_pages),
        "scan_ns": collect_ns if scans else None,
        "scan_calls": 1 if scans else None,
        "regions": dirty_pages if scans else None,
        "reprotect_ns": collect_ns if handles else None,
        "reported_pages": reported,
        "missed_pages": 0 if reported is not None else None,
        "spurious_pages": 0 if reported is not None else None,
        "again_ns": 1000 if scans else None,
        "again_pages": 0 if scans else None,
    }
    return row | more


def dataset(out: Path, raced: Iterable[dict[str, Any]] = (), samples: Iterable[dict[str, Any]] = ()) -> Any:
    """Write and load a dataset of these rows."""
    tables = [
        datasets.Table("races", atomicity.FIELDS, list(raced)),
        datasets.Table("tracking", tracking.FIELDS, list(samples)),
    ]
    return datasets.write(out, id="made-up", title="made up for a test", tables=tables, provenance=FACTS)
