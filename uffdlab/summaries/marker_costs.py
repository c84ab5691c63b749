# SPDX-License-Identifier: MIT
"""Cost of one marker at each page-table level (PTE, PMD, PUD), and the time to protect that it predicts."""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan
from typing import Any

import numpy as np
import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.summaries.interpolation import interpolated
from uffdlab.summaries.protect import df_warm
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
    """Return ns per marked entry of each backing: the slope over its sizes up to 64 GiB (``REGIME_KIB``).

    Beyond, tables are new memory that no cache holds, and an entry costs more. The slope is that of a regression of
    relative errors; its interval combines the ends of the intervals at the least and the greatest of these sizes.
    Columns: ``backing``, ``entry_kib``, ``ns_per_entry`` and ``beyond_ns_per_entry`` (from the smallest to the largest
    size of all) with ``_low`` and ``_high``, the largest point (``size_kib``, ``protect_ns`` …) from which a prediction
    extrapolates by the second, and ``measured``: every size with its time and interval, between which it interpolates.
    Backings measured at one size only are left out.
    """
    rows = []
    for backing, group in df_marker_times(costs).groupby("backing"):
        entry_kib, large = BACKINGS[str(backing)].page_kib, group.iloc[-1]
        if large.size_kib == group.iloc[0].size_kib:
            continue
        within = _in_regime(group)
        _, fitted = _line(within, entry_kib)
        slope = _slope("ns_per_entry", within, entry_kib, fitted) | _slope("beyond_ns_per_entry", group, entry_kib)
        kept = {c: large[c] for c in ("size_kib", *_TIMES, "table_kib")}
        kept["measured"] = tuple(group[["size_kib", *_TIMES]].astype("float64").itertuples(index=False, name=None))
        rows.append({"backing": backing, "entry_kib": entry_kib} | slope | kept)
    return pd.DataFrame(rows)


REGIME_KIB = 64 << 20


def _in_regime(group: pd.DataFrame) -> pd.DataFrame:
    """Return the sizes that a line is drawn through: up to 64 GiB, or all where fewer than two are."""
    within = group[group.size_kib <= REGIME_KIB]
    return within if within.size_kib.nunique() > 1 else group


def _line(group: pd.DataFrame, entry_kib: int) -> tuple[float, float]:
    """Return ns for no entry and ns per entry: least squares of relative errors."""
    ns, entries = (group[name].to_numpy("float64") for name in ("protect_ns", "size_kib"))
    weights = 1 / np.maximum(ns, 1.0)
    both = np.column_stack([weights, entries / entry_kib * weights])
    (fixed, slope), *_ = np.linalg.lstsq(both, ns * weights, rcond=None)
    return float(fixed), float(slope)


def _slope(name: str, group: pd.DataFrame, entry_kib: int, fitted: float | None = None) -> dict[str, float]:
    """Return ns per entry from the first to the last size, or as fitted, with the ends of the intervals combined."""
    small, large = group.iloc[0], group.iloc[-1]
    entries = (large.size_kib - small.size_kib) / entry_kib
    value = (large.protect_ns - small.protect_ns) / entries if fitted is None else fitted
    low = (large.protect_ns_low - small.protect_ns_high) / entries
    high = (large.protect_ns_high - small.protect_ns_low) / entries
    return {name: value, f"{name}_low": min(low, value), f"{name}_high": max(high, value)}


_TIMES = ("protect_ns", "protect_ns_low", "protect_ns_high")


def df_prediction_check(costs: Dataset) -> pd.DataFrame:
    """Return the error of the line through the sizes up to 64 GiB at each size, which it is drawn without.

    A size below the least that is left is not predicted. Columns: ``backing``, ``size_kib``, ``measured_ns``,
    ``predicted_ns``, ``error`` (predicted / measured - 1).
    """
    rows = []
    for backing, group in df_marker_times(costs).groupby("backing"):
        entry_kib, within = BACKINGS[str(backing)].page_kib, _in_regime(group)
        for size_kib, measured_ns in zip(group.size_kib, group.protect_ns, strict=True):
            others = within[within.size_kib != size_kib]
            if others.size_kib.nunique() < 2 or size_kib < others.size_kib.min() or measured_ns <= 0:
                continue
            fixed, slope = _line(others, entry_kib)
            predicted = fixed + slope * size_kib / entry_kib
            row = {"backing": backing, "size_kib": int(size_kib), "measured_ns": float(measured_ns)}
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
    value = _not_below(0, cost.protect_ns + cost.beyond_ns_per_entry * more)
    # A slope below 0 is noise: more memory does not take less time.
    low, high = (
        end + _not_below(0, slope) * more
        for end, slope in (
            (cost.protect_ns_low, cost.beyond_ns_per_entry_low),
            (cost.protect_ns_high, cost.beyond_ns_per_entry_high),
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
