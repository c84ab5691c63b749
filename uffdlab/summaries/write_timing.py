# SPDX-License-Identifier: MIT
"""Samples of the probe *revealing*: how well the time of one write tells two states of its page apart.

One threshold parts two states: a write that takes less is taken for the faster of them. Threshold and direction are
found at run time, as whoever wants to know would: each child's own, by its first warm sample, and its later ones are
judged by them. On the data it was chosen from, a threshold is always better than it deserves, even between two states
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


@medians.once
def df_reveals(data: Dataset) -> pd.DataFrame:
    """Return one row per backing and pair of states (``state``, ``other``, by name), of the warm samples.

    Columns: ``error`` of telling them apart by one write (mean of both error rates; 0.5 tells nothing) with ``_low``
    and ``_high``, over ``children``. ``threshold_ns`` is the median of theirs, ``state_ns`` and ``other_ns`` are median
    times of a write. A child with one warm sample has none left to be judged, and where no other is left there is no
    error.
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
        times = {str(state): medians.estimate(one, "median_ns") for state, one in warm.groupby("state")}
        for state, other in combinations(sorted(by_state), 2):
            row = {"backing": backing, "state": state, "other": other} | _told_apart(by_state[state], by_state[other])
            row |= medians.columns("state_ns", times[state]) | medians.columns("other_ns", times[other])
            rows.append(row)
    whole = pd.DataFrame(rows, columns=["backing", "state", "other", "children", "threshold_ns", *_MEASURES])
    return whole.astype(dict.fromkeys(_MEASURES, "float64"))


def _histograms(writes: pd.DataFrame) -> dict[str, dict[int, list[dict[int, int]]]]:
    """Return writes by state, child, sample (in order) and time."""
    found: dict[str, dict[int, list[dict[int, int]]]] = {}
    for _, group in writes.groupby(["state", "block"]):
        state, block = str(group.state.iloc[0]), int(group.block.iloc[0])
        samples = [
            dict(zip(one.ns.astype(int), one.writes.astype(int), strict=True)) for _, one in group.groupby("sample")
        ]
        found.setdefault(state, {})[block] = samples
    return found


def _told_apart(state: Mapping[int, Sequence[Histogram]], other: Mapping[int, Sequence[Histogram]]) -> dict[str, Any]:
    thresholds, errors = [], []
    for block in sorted(state.keys() & other.keys()):
        (first, *later), (other_first, *other_later) = state[block], other[block]
        threshold = best_threshold(first, other_first)
        thresholds.append(threshold.at)
        if later and other_later:
            errors.append(threshold.error(*(reduce(_added, one) for one in (later, other_later))))
    found = medians.columns("error", median_interval(errors) if errors else None)
    return {"children": len(errors), "threshold_ns": int(median(thresholds)) if thresholds else None} | found


def _added(one: Histogram, more: Histogram) -> Histogram:
    return {ns: one.get(ns, 0) + more.get(ns, 0) for ns in {*one, *more}}
