# SPDX-License-Identifier: MIT
"""Medians and ratios of raw samples: warm samples, one median per child process, intervals over children.

Frames, figures, tables, claims and checks select warm samples, group rows by child and form ratios of times only here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from weakref import WeakKeyDictionary

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.errors import NotMeasuredError
from uffdlab.stats import (
    CONFIDENCE,
    Estimate,
    child_medians,
    column_ratio,
    column_sum,
    median_interval,
    paired_neighbours,
    ratio_of_children,
)

Columns = dict[str, float | None]
More = ParamSpec("More")


def cached_per_dataset(
    summary: Callable[Concatenate[Dataset, More], pd.DataFrame],
) -> Callable[Concatenate[Dataset, More], pd.DataFrame]:
    """Decorate a summary with a cache per dataset and further arguments; each call returns a copy."""
    cache: WeakKeyDictionary[Dataset, dict[Any, pd.DataFrame]] = WeakKeyDictionary()

    @wraps(summary)
    def cached(data: Dataset, /, *more: More.args, **named: More.kwargs) -> pd.DataFrame:
        frames, key = cache.setdefault(data, {}), (more, *named.items())
        if key not in frames:
            frames[key] = summary(data, *more, **named)
        return frames[key].copy()

    return cached


# --- samples ---------------------------------------------------------------------------------------------------------


def warm(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the samples known to be warm: of a process that had done the same before."""
    return rows[(rows.cold == False).fillna(False)]  # noqa: E712 - unknown is neither warm nor cold


def cold(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the samples known to be cold: the first of their process."""
    return rows[(rows.cold == True).fillna(False)]  # noqa: E712 - unknown is neither warm nor cold


def warm_or_cold(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the warm samples, or where there are none the cold ones."""
    warm_rows = warm(rows)
    return warm_rows if len(warm_rows) else cold(rows)


def warm_of(data: Dataset, table: str, *columns: str, **wanted: Any) -> pd.DataFrame | None:
    """Return the warm samples of a table whose columns equal ``wanted``; None where the dataset has none.

    ``columns`` are those read besides. Of a table without cold samples (``equality``: one run per process) every row
    is taken. Raises NotMeasuredError where the table lacks a column.
    """
    if table not in data.tables:
        return None
    without_cold = table in _WITHOUT_COLD
    rows = data.require(table, [*wanted, *columns, *(() if without_cold else ("cold",))])
    for column, value in wanted.items():
        rows = rows[(rows[column] == value).fillna(False)]
    rows = rows if without_cold else warm(rows)
    return rows if len(rows) else None


_WITHOUT_COLD = ("equality",)


def at_common_size(*tables: pd.DataFrame | None) -> list[pd.DataFrame] | None:
    """Return the rows of each table at the largest ``size_kib`` that all of them have; None where there is none."""
    known = [rows for rows in tables if rows is not None]
    sizes = [{size for size in rows.size_kib.dropna() if size > 0} for rows in known]
    common = set.intersection(*sizes) if known and len(known) == len(tables) else set()
    return [rows[(rows.size_kib == max(common)).fillna(False)] for rows in known] if common else None


def common_sizes(*groups: Sequence[pd.DataFrame | None]) -> list[int]:
    """Return the size in KiB at which each group of tables is compared, its largest common one, each once in order."""
    compared = [both[0] for group in groups if (both := at_common_size(*group))]
    return sorted({int(rows.size_kib.iloc[0]) for rows in compared})


def sizes_of(*tables: pd.DataFrame | None) -> list[int]:
    """Return the sizes in KiB that tables hold, each once in order."""
    return sorted({int(size) for rows in tables if rows is not None for size in rows.size_kib.dropna() if size > 0})


def with_total(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with ``total_ns``, the sum of preparing and protecting."""
    return rows.assign(total_ns=column_sum(rows.prepare_ns, rows.protect_ns))


def with_filled(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with ``filled_kib``, the growth of RSS and huge pages."""
    return rows.assign(filled_kib=column_sum(rows.rss_growth_kib, rows.hugetlb_growth_kib.fillna(0)))


# --- children --------------------------------------------------------------------------------------------------------


def children(rows: pd.DataFrame, column: str, per: str | None = None) -> dict[int, float]:
    """Return the median of ``column``, divided by ``per`` if named, of each child (``block``) with a known value."""
    values = column_ratio(rows[column], rows[per]) if per else rows[column]
    known = values.notna() & rows.block.notna()
    return child_medians(list(values[known]), list(rows.block[known]))


def by_child(rows: pd.DataFrame, *keys: str) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield the rows of each child (``block``) and combination of ``keys``, after the values of both by name."""
    names = [*keys, "block"]
    for key, group in rows.groupby(names):
        yield dict(zip(names, key, strict=True)), group


def df_children(rows: pd.DataFrame, keys: Sequence[str], column: str) -> pd.DataFrame:
    """Return one row per combination of ``keys`` and child (``block``): the median of a column."""
    known = rows.dropna(subset=[column])
    return known.groupby([*keys, "block"])[column].median().astype("float64").reset_index()


def estimate(
    rows: pd.DataFrame | None, column: str, per: str | None = None, confidence: float = CONFIDENCE
) -> Estimate | None:
    """Return the median over children of ``column``, divided by ``per`` if named; None without values."""
    values = children(rows, column, per) if rows is not None else {}
    return median_interval(list(values.values()), confidence) if values else None


def ratio_of(
    table: str,
    top: pd.DataFrame | None,
    bottom: pd.DataFrame | None,
    column: str,
    per: str | None = None,
    *,
    below_the_line: str | None = None,
    neighbours: bool = False,
    confidence: float = CONFIDENCE,
) -> Estimate | None:
    """Return the ratio of ``column``, by ``per`` if named, of two sets of rows of a table at their largest common size.

    ``below_the_line`` names another column of the divisor. Children are paired where they measured both sides, or with
    ``neighbours`` where they ran one right after the other (see :func:`uffdlab.stats.ratio_of_children`). None without
    a common size, or without a value there. Raises NotMeasuredError on a divisor of 0.
    """
    both = at_common_size(top, bottom)
    if both is None:
        return None
    divisor = below_the_line or column
    above, below = children(both[0], column, per), children(both[1], divisor, per)
    if not above or not below:
        return None
    beside = paired_neighbours(above, below) if neighbours else ({}, {})
    # A campaign that did not run them as neighbours has a few by chance.
    meant = 2 * len(beside[0]) >= min(len(above), len(below))
    pairs = beside if neighbours and meant else (above, below)
    return ratio_of_children(*pairs, name=f"`{table}.{divisor}`", confidence=confidence)


def ratio_over_sizes(
    table: str, top: pd.DataFrame | None, bottom: pd.DataFrame | None, column: str, sizes_kib: Collection[int]
) -> tuple[Estimate, list[int]] | None:
    """Return the ratio of ``column`` per KiB over all of ``sizes_kib`` that both sides have, and those sizes.

    Each child counts once, at its own size: the cost per KiB of a range whose cost grows in proportion to its size.
    None where no size is common. Raises NotMeasuredError on a divisor of 0.
    """
    if top is None or bottom is None:
        return None
    common = sorted({int(size) for size in sizes_kib} & set(top.size_kib.dropna()) & set(bottom.size_kib.dropna()))
    above, below = (children(rows[rows.size_kib.isin(common)], column, "size_kib") for rows in (top, bottom))
    if not above or not below:
        return None
    return ratio_of_children(above, below, name=f"`{table}.{column}`"), common


def ratio_or_none(top: Mapping[int, float], bottom: Mapping[int, float]) -> Estimate | None:
    """Return the ratio of two quantities from their medians by child; None where the divisor is 0 or a side empty."""
    try:
        return ratio_of_children(top, bottom)
    except NotMeasuredError:
        return None


def quotients(top: Mapping[int, float], bottom: Mapping[int, float]) -> dict[int, float]:
    """Return top / bottom of each child that has both; none to 0."""
    return {child: top[child] / bottom[child] for child in top.keys() & bottom.keys() if bottom[child] > 0}


def ratios_at(keys: Sequence[str], top: pd.DataFrame, bottom: pd.DataFrame, column: str) -> list[float]:
    """Return the ratio of the medians of ``column`` at each combination of ``keys`` on both sides; none to 0."""
    above, below = (rows.groupby(list(keys))[column].median() for rows in (top, bottom))
    return list((above / below[below > 0]).dropna())


def median_or_none(values: pd.Series) -> float | None:
    """Return the median of the values that are not missing; None without any."""
    known = values.dropna().astype("float64")
    return float(known.median()) if len(known) else None


# --- columns of a frame ----------------------------------------------------------------------------------------------


def columns(name: str, median: Estimate | None) -> Columns:
    """Return the columns ``name``, ``name_low`` and ``name_high`` of a row; None for unknown values."""
    if median is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: median.value, f"{name}_low": median.low, f"{name}_high": median.high}


def df_medians(frame: pd.DataFrame, keys: Sequence[str], measures: Sequence[str]) -> pd.DataFrame:
    """Return one row per combination of ``keys``: medians of the warm samples of each measure, with intervals.

    Columns besides: ``n`` (warm samples), ``children`` (processes they come from) and, for the first measure,
    ``cold`` (median of the cold samples). Where there are cold samples only, those are counted instead.
    """
    rows = []
    for key, group in frame.groupby(list(keys), sort=True):
        taken = warm_or_cold(group)
        row: dict[str, Any] = dict(zip(keys, key, strict=True)) | {"n": len(taken), "children": taken.block.nunique()}
        row["cold"] = median_or_none(cold(group)[measures[0]])
        for measure in measures:
            row |= columns(measure, estimate(taken, measure))
        rows.append(row)
    measured = [f"{measure}{end}" for measure in measures for end in ("", "_low", "_high")]
    whole = pd.DataFrame(rows, columns=[*keys, "n", "children", "cold", *measured])
    return whole.astype(dict.fromkeys(["cold", *measured], "float64"))
