# SPDX-License-Identifier: MIT
"""Medians over children with their intervals, as columns of a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from weakref import WeakKeyDictionary

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.errors import NotMeasuredError
from uffdlab.stats import Estimate, child_medians, median_interval, ratio_interval

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


def is_warm(rows: pd.DataFrame) -> Any:
    """Return which rows are known to be warm."""
    return (rows.cold == False).fillna(False)  # noqa: E712 - what is unknown is neither


def is_cold(rows: pd.DataFrame) -> Any:
    """Return which rows are known to be cold."""
    return (rows.cold == True).fillna(False)  # noqa: E712 - what is unknown is neither


def estimate(rows: pd.DataFrame, column: str) -> Estimate | None:
    """Return the median over children (``block``) of a column; None without values."""
    known = rows.dropna(subset=[column, "block"])
    children = child_medians(list(known[column]), list(known.block))
    return median_interval(list(children.values())) if children else None


def middle(values: pd.Series) -> float | None:
    """Return the median of what is known; None where nothing is."""
    known = values.dropna().astype("float64")
    return float(known.median()) if len(known) else None


def ratio(top: Sequence[float], bottom: Sequence[float]) -> Estimate | None:
    """Return the ratio of two medians; None where one is not known, or there is a 0 to divide by."""
    try:
        return ratio_interval(top, bottom) if top and bottom else None
    except NotMeasuredError:
        return None


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
        cold = group[is_cold(group)]
        warm = group[is_warm(group)] if is_warm(group).any() else cold
        row: dict[str, Any] = dict(zip(keys, key, strict=True)) | {"n": len(warm), "children": warm.block.nunique()}
        row["cold"] = middle(cold[measures[0]])
        for measure in measures:
            row |= columns(measure, estimate(warm, measure))
        rows.append(row)
    measured = [f"{measure}{end}" for measure in measures for end in ("", "_low", "_high")]
    whole = pd.DataFrame(rows, columns=[*keys, "n", "children", "cold", *measured])
    return whole.astype(dict.fromkeys(["cold", *measured], "float64"))
