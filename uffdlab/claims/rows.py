# SPDX-License-Identifier: MIT
"""What rules take from a table: rows that match, medians of children, and intervals in words."""

from __future__ import annotations

from typing import Any

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate, adjoining, child_medians, each, median_interval, ratio_of_children
from uffdlab.units import format_ratio


def warm(data: Dataset, table: str, *columns: str, **wanted: Any) -> pd.DataFrame | None:
    """Return the warm rows whose columns are as wanted; None where the dataset has none.

    ``columns`` are those read besides. Raises NotMeasuredError where the table lacks a column that is read. A row is
    warm where it is known to be; of one run per process (as of table ``equality``) there is no other.
    """
    if table not in data.tables:
        return None
    once = table in _ONCE
    rows = data.require(table, [*wanted, *columns, *(() if once else ("cold",))])
    for column, value in wanted.items():
        rows = rows[(rows[column] == value).fillna(False)]
    if not once:
        rows = rows[(rows.cold == False).fillna(False)]  # noqa: E712 - what is unknown is neither
    return rows if len(rows) else None


_ONCE = ("equality",)


def at_common_size(*tables: pd.DataFrame | None) -> list[pd.DataFrame] | None:
    """Return the rows of each table at the largest ``size_kib`` that all of them have; None where there is none."""
    known = [rows for rows in tables if rows is not None]
    sizes = [{size for size in rows.size_kib.dropna() if size > 0} for rows in known]
    common = set.intersection(*sizes) if known and len(known) == len(tables) else set()
    return [rows[(rows.size_kib == max(common)).fillna(False)] for rows in known] if common else None


def children(rows: pd.DataFrame, column: str, per: str | None = None) -> dict[int, float]:
    """Return one median per child of a column, divided by another one if named; rows without a value are left out."""
    values = each(rows[column], rows[per]) if per else rows[column]
    known = values.notna() & rows.block.notna()
    return child_medians(list(values[known]), list(rows.block[known]))


def median_of(rows: pd.DataFrame | None, column: str, per: str | None = None) -> Estimate | None:
    """Return the median over children with its interval; None without values."""
    values = children(rows, column, per) if rows is not None else {}
    return median_interval(list(values.values())) if values else None


def ratio_of(
    table: str, top: pd.DataFrame | None, bottom: pd.DataFrame | None, column: str, per: str, neighbours: bool = False
) -> Estimate | None:
    """Return the ratio of two quantities of a table, each ``column / per``, at their largest common size.

    Of children that measured both in turns, where there are any; with ``neighbours`` of children that ran one right
    after the other; else of two sets of children (see :func:`uffdlab.stats.ratio_of_children`). None where they have no
    size in common, or one of them no value there. Raises NotMeasuredError where there is a 0 to divide by.
    """
    both = at_common_size(top, bottom)
    if both is None:
        return None
    above, below = (children(rows, column, per) for rows in both)
    if not above or not below:
        return None
    beside = adjoining(above, below) if neighbours else ({}, {})
    # A campaign that did not mean them to adjoin has a few that do by chance.
    meant = 2 * len(beside[0]) >= min(len(above), len(below))
    return ratio_of_children(*(beside if neighbours and meant else (above, below)), name=f"`{table}.{column}`")


def said(estimate: Estimate) -> str:
    """Return an estimate with its interval in words."""
    if estimate.low is None or estimate.high is None:
        return f"{format_ratio(estimate.value)} (too few processes for an interval)"
    return f"{format_ratio(estimate.value)} ({format_ratio(estimate.low)} to {format_ratio(estimate.high)})"


def interval(estimate: Estimate) -> tuple[float, float] | None:
    """Return the interval; None where it is not known."""
    return None if estimate.low is None or estimate.high is None else (estimate.low, estimate.high)
