# SPDX-License-Identifier: MIT
"""Time to prepare and write-protect a range (probe *protect*): medians of warm samples, by configuration."""

from __future__ import annotations

from typing import Any

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.summaries import medians
from uffdlab.summaries.interpolation import interpolated
from uffdlab.summaries.records import records

_POINT = ["backing", "design", "size_kib", "populated", "cluster_pages"]
_TIMES = ("total_ns", "protect_ns", "prepare_ns")
_MEASURES = [f"{measure}{end}" for measure in (*_TIMES, "cold_ratio") for end in ("", "_low", "_high")]
_MEASURES += ["cold_ns", "table_kib", "filled_kib"]
_SAMPLE_COLUMNS = [*_POINT, "block", "cold", "prepare_ns", "protect_ns", "table_growth_kib", "rss_growth_kib",
                   "hugetlb_growth_kib"]  # fmt: skip


@medians.cached_per_dataset
def df_protect(data: Dataset) -> pd.DataFrame:
    """Return one row per backing, design, size, populated fraction and its clustering: medians of the warm samples.

    Columns: ``total_ns`` (prepare + protect), ``protect_ns`` and ``prepare_ns`` with ``_low`` and ``_high``;
    ``cold_ns`` (median total of the cold samples), ``cold_ratio`` (cold to warm) with ``_low`` and ``_high``;
    ``table_kib``, ``filled_kib`` (growth of RSS and huge pages), ``n`` (warm samples) and ``children`` (processes they
    come from: what an interval counts).
    """
    samples = medians.with_filled(medians.with_total(data.require("samples", _SAMPLE_COLUMNS)))
    rows = [_point(key, group) for key, group in samples.groupby(_POINT)]
    frame = pd.DataFrame(rows, columns=[*_POINT, "n", "children", *_MEASURES])
    return frame.astype(dict.fromkeys(_MEASURES, "float64"))


def df_warm(data: Dataset) -> pd.DataFrame:
    """Return the rows of ``df_protect`` with a warm time, a size above 0 and no clustering."""
    points = df_protect(data)
    return points[points.total_ns.notna() & (points.cluster_pages == 1) & (points.size_kib > 0)]


def _point(key: Any, group: pd.DataFrame) -> dict[str, Any]:
    warm, cold = medians.warm(group), medians.cold(group)
    row: dict[str, Any] = dict(zip(_POINT, key, strict=True)) | {"n": len(warm), "children": warm.block.nunique()}
    for column in _TIMES:
        row |= medians.columns(column, medians.estimate(warm, column))
    row["cold_ns"] = medians.median_or_none(cold.total_ns)
    first, later = (medians.children(rows, "total_ns") for rows in (cold, warm))
    row |= medians.columns("cold_ratio", medians.ratio_or_none(first, later))
    counted = warm if len(warm) else cold
    row["table_kib"] = medians.median_or_none(counted.table_growth_kib)
    row["filled_kib"] = medians.median_or_none(counted.filled_kib)
    return row


_PUBLISHED = ["source", "author", "mode", "design", "thp", "size_kib", "protect_us"]


def df_published(published: Dataset) -> pd.DataFrame:
    """Return the thread's table: one row per source and mode, ``protect_us`` for ``size_kib``, and ``total_ns``."""
    table = published.require("protect_times", _PUBLISHED).dropna(subset=_PUBLISHED)
    table["total_ns"] = table.protect_us.astype("Float64") * 1000
    return table


def df_largest(points: pd.DataFrame, backing: str) -> pd.DataFrame:
    """Return the row of ``df_warm`` of each design at its largest size of untouched memory."""
    points = points[(points.backing == backing) & (points.populated == 0)]
    return points.loc[points.groupby("design").size_kib.idxmax()]


# On untouched anonymous memory these write nothing into any page table: they cost the same at every size.
SIZE_INDEPENDENT = ("unprotected", "missing_wp")


def growth_with_size(design: str, from_kib: float, to_kib: float) -> float:
    """Return the factor of a design's time on anonymous memory from one size to another: linear, or 1."""
    return 1.0 if design in SIZE_INDEPENDENT else to_kib / from_kib


def df_restating_check(points: pd.DataFrame) -> pd.DataFrame:
    """Return the error of restating the largest size of untouched anonymous memory from each smaller one.

    Columns: ``backing``, ``design``, ``from_kib``, ``size_kib``, ``error`` (restated / measured - 1).
    """
    untouched = points[(points.populated == 0) & points.backing.isin(("anon", "anon_thp"))]
    rows = []
    for (backing, design), group in untouched.groupby(["backing", "design"]):
        *smaller, largest = records(group.sort_values("size_kib"))
        for point in smaller if largest.total_ns > 0 else ():
            restated = point.total_ns * growth_with_size(str(design), point.size_kib, largest.size_kib)
            row = {"backing": backing, "design": design, "from_kib": point.size_kib, "size_kib": largest.size_kib}
            rows.append(row | {"error": restated / largest.total_ns - 1})
    return pd.DataFrame(rows, columns=["backing", "design", "from_kib", "size_kib", "error"])


def df_at_size(points: pd.DataFrame, backing: str, size_kib: float) -> pd.DataFrame:
    """Return one row of ``df_warm`` per design for untouched memory of a size: ``measured``, or else restated.

    A size between two measured ones is interpolated, interval and all; one beyond them is scaled from the nearest by
    ``growth_with_size``. A restated row has the ``size_kib`` of the nearest measured size.
    """
    untouched = points[(points.backing == backing) & (points.populated == 0)]
    rows = [_at(group.sort_values("size_kib"), str(design), size_kib) for design, group in untouched.groupby("design")]
    return pd.concat(rows) if rows else untouched.assign(measured=True)


_TOTAL = ["total_ns", "total_ns_low", "total_ns_high"]


def _at(group: pd.DataFrame, design: str, size_kib: float) -> pd.DataFrame:
    there = group[group.size_kib == size_kib]
    if len(there):
        return there.assign(measured=True)
    sizes = group.size_kib.astype("float64")
    nearest = group.loc[[(sizes - size_kib).abs().idxmin()]].assign(measured=False)
    if sizes.min() < size_kib < sizes.max():
        restated = interpolated(list(zip(sizes, *(group[name] for name in _TOTAL), strict=True)), size_kib)
    else:
        factor = growth_with_size(design, float(nearest.size_kib.iloc[0]), size_kib)
        restated = tuple(float(nearest[name].iloc[0]) * factor for name in _TOTAL)
    return nearest.assign(**dict(zip(_TOTAL, restated, strict=True)))
