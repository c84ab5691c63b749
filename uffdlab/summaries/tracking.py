# SPDX-License-Identifier: MIT
"""Dirty tracking (probe *tracking*): cost of collecting written pages by PAGEMAP_SCAN and by events."""

from __future__ import annotations

from typing import Any

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import column_ratio, column_sum, median_interval
from uffdlab.summaries import medians

_POINT = ["backing", "populated", "size_kib", "dirty", "pattern"]
_GIB_KIB = 1 << 20
_NEEDED = [
    *(*_POINT, "method", "block", "cold", "dirty_pages", "write_ns", "scan_ns", "reprotect_ns"),
    *("missed_pages", "spurious_pages"),
]
_MEASURES = ("collect_per_gib_ns", "per_page_ns", "page_ratio", "collect_ratio")
_NUMBERS = [f"{measure}{end}" for measure in _MEASURES for end in ("", "_low", "_high")]


def df_tracking(data: Dataset) -> pd.DataFrame:
    """Return one row per configuration and method: medians over children (of each child's warm samples) with intervals.

    ``collect_per_gib_ns``: the scan, or protecting again after events, per GiB of range. ``per_page_ns``: writing and
    collecting, per dirty page (missing where none was written). ``page_ratio`` and ``collect_ratio`` divide them by
    those of ``async_scan`` in the same configuration (missing for itself). ``wrong_pages`` sums pages missed and pages
    reported wrongly, in all samples; missing where nothing is reported.
    """
    samples = data.rows("tracking", _NEEDED).copy()
    collect_ns = samples.scan_ns.fillna(samples.reprotect_ns)
    samples["collect_per_gib_ns"] = column_ratio(collect_ns.astype("float64") * _GIB_KIB, samples.size_kib)
    # An untracked write collects nothing.
    samples["per_page_ns"] = column_ratio(column_sum(samples.write_ns, collect_ns.fillna(0)), samples.dirty_pages)
    samples["wrong"] = column_sum(samples.missed_pages, samples.spurious_pages).astype("float64")
    rows: list[dict[str, Any]] = []
    for key, group in samples.groupby(_POINT):
        methods = {str(method): part for method, part in group.groupby("method")}
        for name, part in methods.items():
            beside = None if name == "async_scan" else methods.get("async_scan")
            rows.append(dict(zip(_POINT, key, strict=True)) | _row(name, part, beside))
    columns = [*_POINT, "method", "n", "wrong_pages", *_NUMBERS]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(_NUMBERS, "float64"))


def _row(method: str, group: pd.DataFrame, base: pd.DataFrame | None) -> dict[str, Any]:
    row: dict[str, Any] = {"method": method, "n": 0}
    row["wrong_pages"] = None if group.wrong.isna().all() else int(group.wrong.sum())
    for measure, ratio in (("collect_per_gib_ns", "collect_ratio"), ("per_page_ns", "page_ratio")):
        values = medians.children(medians.warm(group), measure)
        below = {} if base is None else medians.children(medians.warm(base), measure)
        row["n"] = row["n"] or len(values)
        row |= medians.columns(measure, median_interval(list(values.values())) if values else None)
        row |= medians.columns(ratio, medians.ratio_or_none(values, below))
    return row
