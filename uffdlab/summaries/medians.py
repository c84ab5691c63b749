# SPDX-License-Identifier: MIT
"""Medians over children with their intervals, as columns of a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from weakref import WeakKeyDictionary

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate, child_medians, median_interval

Columns = dict[str, float | None]
More = ParamSpec("More")


def once(
    summary: Callable[Concatenate[Dataset, More], pd.DataFrame],
) -> Callable[Concatenate[Dataset, More], pd.DataFrame]:
    """Return a summary that is computed once per dataset and what else it is asked for: a page asks in many places."""
    known: WeakKeyDictionary[Dataset, dict[Any, pd.DataFrame]] = WeakKeyDictionary()

    @wraps(summary)
    def remembered(data: Dataset, /, *more: More.args, **named: More.kwargs) -> pd.DataFrame:
        frames, key = known.setdefault(data, {}), (more, *named.items())
        if key not in frames:
            frames[key] = summary(data, *more, **named)
        return frames[key].copy()

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
