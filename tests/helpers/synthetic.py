# SPDX-License-Identifier: MIT
"""Synthetic datasets of the probes protect and semantics."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

from uffdlab import datasets
from uffdlab.probes import protect, semantics

_CHILDREN = count()
FACTS = {"kernel_release": "6.18.0-test", "cpu_model": "A CPU", "thp_enabled": "madvise", "uffdlab_commit": "0" * 40}
HUGETLB = ("hugetlb_2m_private", "hugetlb_2m_shared", "hugetlb_1g_private", "hugetlb_1g_shared")


def sample(backing: str, design: str, prepare_ns: int, protect_ns: int, **more: Any) -> dict[str, Any]:
    """Return one warm sample of 1 GiB of untouched memory, of a child of its own, unless ``more`` says otherwise."""
    row: dict[str, Any] = {
        "block": next(_CHILDREN),
        "sample": 1,
        "backing": backing,
        "design": design,
        "size_kib": 1 << 20,
        "populated": 0.0,
        "cluster_pages": 1,
        "cold": False,
        "prepare_ns": prepare_ns,
        "register_ns": 1000,
        "protect_ns": protect_ns,
        "table_before_kib": 100,
        "table_growth_kib": 2048,
        "rss_before_kib": 10_000,
        "rss_growth_kib": 0,
        "hugetlb_growth_kib": 0,
        "zeropages_before": 0,
        "zeropages": 0,
        "huge_pages": 0,
        "prepare_minor_faults": 0,
        "protect_minor_faults": 0,
        "tlb_ipis": 0,
    }
    return row | more


def state(backing: str, features: str, reported: bool, **more: Any) -> dict[str, Any]:
    """Return the state of an empty page after protecting, and whether the write that follows is reported."""
    row: dict[str, Any] = {
        "block": 0,
        "backing": backing,
        "features": features,
        "content": "empty",
        "moment": "protected",
        "present": False,
        "swap": reported,
        "uffd_wp": reported,
        "categories": "SWAPPED" if reported else "WRITTEN",
        "moment_wp_events": 0,
        "moment_missing_events": 0,
        "write_reported": reported,
        "write_missing_event": False,
        "write_seen_by_scan": reported,
        "after_present": True,
        "after_uffd_wp": False,
    }
    return row | more


def dataset(
    out: Path,
    samples: Iterable[dict[str, Any]] = (),
    states: Iterable[dict[str, Any]] = (),
    id_: str = "made-up",
    facts: dict[str, Any] | None = None,
) -> datasets.Dataset:
    """Write and load a dataset of these rows."""
    tables = [
        datasets.Table("samples", protect.FIELDS, list(samples)),
        datasets.Table("latencies", protect.LATENCY_FIELDS, []),
        datasets.Table("states", semantics.FIELDS, list(states)),
    ]
    provenance = FACTS if facts is None else facts
    return datasets.write(out, id=id_, title="made up for a test", tables=tables, provenance=provenance)
