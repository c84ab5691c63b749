# SPDX-License-Identifier: MIT
"""Occupancy (scans by the probe *occupancy*): the share of a process that is untouched, at each granularity."""

from __future__ import annotations

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.vocabulary.states import OCCUPANCY

OCCUPANCY_STATES = tuple(OCCUPANCY)
_SHARES = [*OCCUPANCY_STATES, "untouched_or_zeropage"]
_SCAN = ["workload", "method", "granularity_kib", "block", "sample"]
_COLUMNS = [*_SCAN, "size_kib", "units", *_SHARES, "scan_ns", "calls"]


def df_occupancy(data: Dataset) -> pd.DataFrame:
    """Return one row per workload, method and granularity: medians over the scans of all mappings of the process.

    The shares (0..1) are of all units of that granularity in all mappings: missing without such a unit, or where the
    share of a mapping is unknown. ``units`` and ``size_kib`` are the process's, ``scan_ns`` the time of a scan and
    ``calls`` its system calls; ``n`` is the number of scans.
    """
    rows = data.rows("occupancy", _COLUMNS)
    scans = [dict(zip(_SCAN, key, strict=True)) | _scan(group) for key, group in rows.groupby(_SCAN)]
    kept = ["size_kib", "units", *_SHARES, "scan_ns", "calls"]
    frame = pd.DataFrame(scans, columns=[*_SCAN, *kept])
    point = ["workload", "method", "granularity_kib"]
    grouped = frame.groupby(point)
    summary = grouped[kept].median()
    summary["n"] = grouped.size()
    return summary.reset_index()


def _scan(mappings: pd.DataFrame) -> dict[str, float]:
    """Return the shares of a process from those of its mappings, each weighed by its units."""
    counted = mappings[mappings.units > 0]
    units = int(counted.units.sum())
    weighed = counted[_SHARES].astype(float).mul(counted.units.astype(float), axis=0).sum(skipna=False)
    shares = (weighed / units if units else weighed * float("nan")).to_dict()
    sums = {name: float(mappings[name].sum()) for name in ("size_kib", "scan_ns", "calls")}
    return {str(name): float(share) for name, share in shares.items()} | sums | {"units": float(units)}
