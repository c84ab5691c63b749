# SPDX-License-Identifier: MIT
"""What one marked entry costs at each level of the page table, and what that predicts."""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan
from typing import Any

import pandas as pd

from uffdlab.backing import BACKINGS
from uffdlab.datasets import Dataset
from uffdlab.summaries.points import df_warm

# What leaves one marker per entry: the entry's size is the backing's page.
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
    ``entry_kib``, ``ns_per_entry`` with ``_low`` and ``_high``, and the largest point (``size_kib``, ``protect_ns`` …)
    from which a prediction extrapolates. Backings measured at one size only are left out.
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
        kept = {c: large[c] for c in ("size_kib", "protect_ns", "protect_ns_low", "protect_ns_high", "table_kib")}
        rows.append({"backing": backing, "entry_kib": BACKINGS[str(backing)].page_kib} | slope | kept)
    return pd.DataFrame(rows)


def df_prediction_check(costs: Dataset) -> pd.DataFrame:
    """Return what the costs predict for the sizes between the smallest and the largest, which they were not drawn from.

    Columns: ``backing``, ``size_kib``, ``measured_ns``, ``predicted_ns``, ``error`` (predicted / measured - 1).
    """
    measured = df_marker_times(costs)
    rows = []
    for cost in df_entry_costs(costs).itertuples():
        sizes = measured[measured.backing == cost.backing]
        between = sizes[(sizes.size_kib > sizes.size_kib.min()) & (sizes.size_kib < sizes.size_kib.max())]
        for one in between.itertuples():
            predicted, _, _ = predict_protect_ns(cost, float(one.size_kib))
            row = {"backing": cost.backing, "size_kib": one.size_kib, "measured_ns": one.protect_ns}
            rows.append(row | {"predicted_ns": predicted, "error": predicted / float(one.protect_ns) - 1})
    return pd.DataFrame(rows, columns=["backing", "size_kib", "measured_ns", "predicted_ns", "error"])


def predict_protect_ns(cost: Any, size_kib: float) -> tuple[float, float, float]:
    """Return (value, low, high) in ns of protecting an empty range of that size, from a row of ``df_entry_costs``.

    Linear in the number of entries from the largest measured point; never below zero. An end that is not known is NaN.
    """
    more = (size_kib - cost.size_kib) / cost.entry_kib
    slopes = (cost.ns_per_entry_low * more, cost.ns_per_entry_high * more)
    low, high = cost.protect_ns_low + min(slopes), cost.protect_ns_high + max(slopes)
    return _not_below_zero(cost.protect_ns + cost.ns_per_entry * more), _not_below_zero(low), _not_below_zero(high)


def _not_below_zero(ns: float) -> float:
    return ns if isnan(ns) else max(0.0, ns)
