# SPDX-License-Identifier: MIT
"""Cost of one marker at each page-table level (PTE, PMD, PUD), and the time to protect that it predicts."""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan
from typing import Any

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.summaries.interpolation import interpolated
from uffdlab.summaries.protect import df_warm
from uffdlab.summaries.records import records
from uffdlab.vocabulary.backings import BACKINGS

# Design that leaves one marker per page of each backing.
MARKER_DESIGN = {
    "anon": "pte_marker",
    "shmem": "unprotected",
    "hugetlb_2m_private": "unprotected",
    "hugetlb_1g_private": "unprotected",
}


def df_marker_times(data: Dataset, backings: Iterable[str] = tuple(MARKER_DESIGN)) -> pd.DataFrame:
    """Return the time to protect an empty range by size, for each backing with the design that leaves markers."""
    points = df_warm(data)
    chosen = [
        points[(points.backing == b) & (points.design == MARKER_DESIGN[b]) & (points.populated == 0)] for b in backings
    ]
    return pd.concat(chosen).sort_values(["backing", "size_kib"])


def df_entry_costs(costs: Dataset) -> pd.DataFrame:
    """Return ns per marked entry of each backing: the slope between its smallest and its largest size.

    The interval combines the ends of both medians' intervals, so it is wider than either alone. Columns: ``backing``,
    ``entry_kib``, ``ns_per_entry`` with ``_low`` and ``_high``, the largest point (``size_kib``, ``protect_ns`` …) from
    which a prediction extrapolates, and ``measured``: every size with its time and interval, between which it
    interpolates. Backings measured at one size only are left out.
    """
    rows = []
    for backing, group in df_marker_times(costs).groupby("backing"):
        small, large = group.iloc[0], group.iloc[-1]
        entries = (large.size_kib - small.size_kib) / BACKINGS[str(backing)].page_kib
        if not entries:
            continue
        slope = {"ns_per_entry": (large.protect_ns - small.protect_ns) / entries}
        slope["ns_per_entry_low"] = (large.protect_ns_low - small.protect_ns_high) / entries
        slope["ns_per_entry_high"] = (large.protect_ns_high - small.protect_ns_low) / entries
        kept = {c: large[c] for c in ("size_kib", *_TIMES, "table_kib")}
        kept["measured"] = tuple(group[["size_kib", *_TIMES]].astype("float64").itertuples(index=False, name=None))
        rows.append({"backing": backing, "entry_kib": BACKINGS[str(backing)].page_kib} | slope | kept)
    return pd.DataFrame(rows)


_TIMES = ("protect_ns", "protect_ns_low", "protect_ns_high")


def df_prediction_check(costs: Dataset) -> pd.DataFrame:
    """Return the error of the straight line from the smallest to the largest size at each size between.

    Predictions beyond the largest size follow that line. Columns: ``backing``, ``size_kib``, ``measured_ns``,
    ``predicted_ns``, ``error`` (predicted / measured - 1).
    """
    rows = []
    for cost in records(df_entry_costs(costs)):
        for size_kib, measured_ns, _, _ in cost.measured[1:-1]:
            predicted, _, _ = _from_largest(cost, size_kib)
            row = {"backing": cost.backing, "size_kib": int(size_kib), "measured_ns": measured_ns}
            if measured_ns > 0:
                rows.append(row | {"predicted_ns": predicted, "error": predicted / measured_ns - 1})
    return pd.DataFrame(rows, columns=["backing", "size_kib", "measured_ns", "predicted_ns", "error"])


def predict_protect_ns(cost: Any, size_kib: float) -> tuple[float, float, float]:
    """Return (value, low, high) in ns of protecting an empty range of that size, from a row of ``df_entry_costs``.

    Between two measured sizes interpolated, value and both ends. Beyond the largest linear in the number of entries.
    Below the smallest linear as well, but no less than in proportion to the size: the fixed cost of a call is not below
    0. An unknown end is NaN.
    """
    below, above = cost.measured[0], cost.measured[-1]
    if size_kib < below[0]:
        return _from_smallest(cost, size_kib)
    if size_kib > above[0]:
        return _from_largest(cost, size_kib)
    value, low, high = interpolated(cost.measured, size_kib)
    return value, low, high


def _from_largest(cost: Any, size_kib: float) -> tuple[float, float, float]:
    more = (size_kib - cost.size_kib) / cost.entry_kib
    value = _not_below(0, cost.protect_ns + cost.ns_per_entry * more)
    # A slope below 0 is noise: more memory does not take less time.
    low, high = (
        end + _not_below(0, slope) * more
        for end, slope in (
            (cost.protect_ns_low, cost.ns_per_entry_low),
            (cost.protect_ns_high, cost.ns_per_entry_high),
        )
    )
    return value, low, high


def _from_smallest(cost: Any, size_kib: float) -> tuple[float, float, float]:
    least_kib, *times = cost.measured[0]
    fewer = (least_kib - size_kib) / cost.entry_kib
    slopes = (cost.ns_per_entry, cost.ns_per_entry_high, cost.ns_per_entry_low)
    value, low, high = (
        _not_below(ns * size_kib / least_kib, ns - _not_below(0, slope) * fewer)
        for ns, slope in zip(times, slopes, strict=True)
    )
    return value, low, high


def _not_below(least: float, ns: float) -> float:
    return ns if isnan(ns) else max(least, ns)
