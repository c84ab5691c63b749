# SPDX-License-Identifier: MIT
"""Medians over children with their intervals, as columns of a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate, child_medians, median_interval

Columns = dict[str, float | None]
Summary = Callable[[Dataset], pd.DataFrame]


def once(summary: Summary) -> Summary:
    """Return a summary that is computed once per dataset: a page asks for the same medians in many places."""
    known: WeakKeyDictionary[Dataset, pd.DataFrame] = WeakKeyDictionary()

    @wraps(summary)
    def remembered(data: Dataset) -> pd.DataFrame:
        if data not in known:
            known[data] = summary(data)
        return known[data].copy()

    return remembered


def estimate(rows: pd.DataFrame, column: str) -> Estimate | None:
    """Return the median over children (``block``) of a column; None without rows."""
    children = child_medians(list(rows[column]), list(rows.block))
    return median_interval(list(children.values())) if children else None


def columns(name: str, found: Estimate | None) -> Columns:
    """Return ``name``, ``name_low`` and ``name_high``; None for what is not known."""
    if found is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def df_medians(frame: pd.DataFrame, keys: Sequence[str], measures: Sequence[str]) -> pd.DataFrame:
    """Return one row per combination of ``keys``: medians of the warm samples of each measure, with intervals.

    Columns besides: ``n`` (warm samples), ``children`` (processes they come from) and, for the first measure,
    ``cold`` (median of the cold samples). Where there are cold samples only, those are counted instead.
    """
    rows = []
    for key, group in frame.groupby(list(keys), sort=True):
        warm = group[~group.cold.astype(bool)] if not group.cold.all() else group
        row: dict[str, Any] = dict(zip(keys, key, strict=True)) | {"n": len(warm), "children": warm.block.nunique()}
        cold = group[group.cold.astype(bool)][measures[0]]
        row["cold"] = float(cold.median()) if len(cold) else None
        for measure in measures:
            known = warm[warm[measure].notna()]
            row |= columns(measure, estimate(known, measure))
        rows.append(row)
    measured = [f"{measure}{end}" for measure in measures for end in ("", "_low", "_high")]
    whole = pd.DataFrame(rows, columns=[*keys, "n", "children", "cold", *measured])
    return whole.astype(dict.fromkeys(["cold", *measured], "float64"))
