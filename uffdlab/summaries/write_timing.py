# SPDX-License-Identifier: MIT
"""Timing side channel of one write (probe *revealing*): error rate of telling two states of a page apart by latency.

One latency threshold separates two states. Each child chooses its threshold and direction by its first warm sample; its
later samples measure the error. On the data it was chosen from, a threshold is always too good, even between two states
that do not differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import combinations
from statistics import median
from typing import Any

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import median_interval
from uffdlab.stats.threshold import Histogram, best_threshold
from uffdlab.summaries import medians

_REVEALS = ["block", "sample", "cold", "backing", "state", "median_ns"]
_WRITES = ["block", "sample", "state", "ns", "writes"]
_MEASURES = [f"{name}{end}" for name in ("error", "state_ns", "other_ns") for end in ("", "_low", "_high")]


@medians.cached_per_dataset
def df_reveals(data: Dataset) -> pd.DataFrame:
    """Return one row per backing and pair of states (``state``, ``other``, by name), of the warm samples.

    Columns: ``error`` of telling them apart by one write (mean of both error rates; 0.5: not at all) with ``_low`` and
    ``_high``, over ``children``. ``threshold_ns`` is the median over children, ``state_ns`` and ``other_ns`` are median
    times of a write. A child with one warm sample has none left to measure the error.
    """
    samples = data.rows("reveals", _REVEALS)
    writes = data.rows("reveal_writes", _WRITES).dropna(subset=_WRITES)
    writes = writes[writes.writes > 0]
    rows: list[dict[str, Any]] = []
    for backing, group in samples.groupby("backing", sort=True):
        warm = medians.warm_or_cold(group)
        # A sample without its row was interrupted: its writes are not whole.
        kept = warm[["block", "sample", "state"]].merge(writes, on=["block", "sample", "state"])
        by_state = _histograms(kept)
        times = {str(state): medians.estimate(rows, "median_ns") for state, rows in warm.groupby("state")}
        for state, other in combinations(sorted(by_state), 2):
            row = {"backing": backing, "state": state, "other": other} | _errors(by_state[state], by_state[other])
            row |= medians.columns("state_ns", times[state]) | medians.columns("other_ns", times[other])
            rows.append(row)
    whole = pd.DataFrame(rows, columns=["backing", "state", "other", "children", "threshold_ns", *_MEASURES])
    return whole.astype(dict.fromkeys(_MEASURES, "float64"))


def _histograms(writes: pd.DataFrame) -> dict[str, dict[int, list[dict[int, int]]]]:
    """Return writes by state, child, sample (in order) and time."""
    by_state: dict[str, dict[int, list[dict[int, int]]]] = {}
    for key, group in medians.by_child(writes, "state"):
        samples = [
            dict(zip(rows.ns.astype(int), rows.writes.astype(int), strict=True)) for _, rows in group.groupby("sample")
        ]
        by_state.setdefault(str(key["state"]), {})[int(key["block"])] = samples
    return by_state


def _errors(state: Mapping[int, Sequence[Histogram]], other: Mapping[int, Sequence[Histogram]]) -> dict[str, Any]:
    thresholds, errors = [], []
    for block in sorted(state.keys() & other.keys()):
        (first, *later), (other_first, *other_later) = state[block], other[block]
        threshold = best_threshold(first, other_first)
        thresholds.append(threshold.at)
        if later and other_later:
            errors.append(threshold.error(*(reduce(_merged, histograms) for histograms in (later, other_later))))
    error = medians.columns("error", median_interval(errors) if errors else None)
    return {"children": len(errors), "threshold_ns": int(median(thresholds)) if thresholds else None} | error


def _merged(first: Histogram, second: Histogram) -> Histogram:
    return {ns: first.get(ns, 0) + second.get(ns, 0) for ns in {*first, *second}}
