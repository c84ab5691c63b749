# SPDX-License-Identifier: MIT
"""Synthetic datasets of occupancy scans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synthetic import FACTS

from uffdlab import datasets
from uffdlab.probes import occupancy as probe


def look(workload: str, granularity_kib: int, units: int, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"block": 0, "sample": 0, "workload": workload, "method": "PAGEMAP_SCAN", "mapping": 0}
    row |= {"kind": "anon", "size_kib": 4096, "granularity_kib": granularity_kib, "units": units}
    row |= dict.fromkeys(probe.SHARES, 0.0 if units else None)
    row |= {"huge_kib": 0, "scan_ns": 1000, "calls": 2, "vm_pte_kib": 8, "vm_rss_kib": 4096}
    return row | more


def looked(out: Path, *rows: dict[str, Any]) -> datasets.Dataset:
    tables = [datasets.Table("occupancy", probe.FIELDS, list(rows))]
    return datasets.write(out, id="made-up", title="made up for a test", tables=tables, provenance=FACTS)
