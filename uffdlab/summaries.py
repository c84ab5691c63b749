# SPDX-License-Identifier: MIT
"""From raw samples to the frames that figures draw: medians with intervals, never a sum over what was not measured.

``df_*`` returns a frame. Intervals are those of ``uffdlab.stats``; a column ``*_low`` or ``*_high`` is missing where
there are too few samples for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate, median_interval

ENTRY_KIB = {
    "anon": 4,
    "anon_thp": 4,
    "shmem": 4,
    "hugetlb_2m_private": 2048,
    "hugetlb_2m_shared": 2048,
    "hugetlb_1g_private": 1048576,
    "hugetlb_1g_shared": 1048576,
}


def records(frame: pd.DataFrame) -> Iterator[Any]:
    """Yield the rows as named tuples, whose columns a type checker cannot know."""
    yield from frame.itertuples()


_POINT = ["backing", "design", "size_kib", "populated"]
_TIMES = ("total_ns", "protect_ns", "prepare_ns")
_MEASURES = [f"{time}{end}" for time in _TIMES for end in ("", "_low", "_high")] + [
    "cold_ns",
    "table_kib",
    "filled_kib",
]
_SAMPLE_COLUMNS = [*_POINT, "cold", "prepare_ns", "protect_ns", "table_growth_kib", "rss_growth_kib"]


def df_protect(data: Dataset) -> pd.DataFrame:
    """Return one row per backing, design, size and populated fraction: medians of the warm samples.

    Columns: ``total_ns`` (prepare + protect), ``protect_ns`` and ``prepare_ns`` with ``_low`` and ``_high``;
    ``cold_ns`` (median total of the cold samples), ``table_kib``, ``filled_kib`` (growth of RSS and huge pages), ``n``.
    """
    samples = data.require("samples", _SAMPLE_COLUMNS).copy()
    samples["total_ns"] = samples.prepare_ns + samples.protect_ns
    samples["filled_kib"] = samples.rss_growth_kib + samples.hugetlb_growth_kib.fillna(0)
    rows = [_point(key, group) for key, group in samples.groupby(_POINT)]
    return pd.DataFrame(rows, columns=[*_POINT, "n", *_MEASURES]).astype(dict.fromkeys(_MEASURES, "float64"))


def df_warm(data: Dataset) -> pd.DataFrame:
    """Return the rows of ``df_protect`` that have a warm sample: what a figure can draw."""
    points = df_protect(data)
    return points[points.n > 0]


def _point(key: Any, group: pd.DataFrame) -> dict[str, Any]:
    warm, cold = group[~group.cold], group[group.cold]
    row: dict[str, Any] = dict(zip(_POINT, key, strict=True)) | {"n": len(warm)}
    for column in _TIMES:
        row |= _columns(column, _estimate(warm[column]))
    row["cold_ns"] = float(cold.total_ns.median()) if len(cold) else None
    counted = warm if len(warm) else cold
    row["table_kib"] = float(counted.table_growth_kib.median())
    row["filled_kib"] = float(counted.filled_kib.median())
    return row


def _estimate(values: pd.Series[Any]) -> Estimate | None:
    return median_interval([float(v) for v in values]) if len(values) else None


def _columns(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def df_published(published: Dataset) -> pd.DataFrame:
    """Return the thread's table: one row per source and mode, ``protect_us`` for ``size_kib``, and ``total_ns``."""
    table = published.table("protect_times").copy()
    table["total_ns"] = table.protect_us * 1000
    return table


def df_largest(data: Dataset, backing: str) -> pd.DataFrame:
    """Return the row of ``df_protect`` of each design at its largest size of untouched memory."""
    points = df_warm(data)
    points = points[(points.backing == backing) & (points.populated == 0)]
    return points.loc[points.groupby("design").size_kib.idxmax()]


# On untouched anonymous memory these write nothing into any page table: they cost the same at every size.
SIZE_INDEPENDENT = ("unprotected", "missing_wp")


def growth_with_size(design: str, from_kib: float, to_kib: float) -> float:
    """Return how many times longer a design takes on anonymous memory of another size: linear, or not at all."""
    return 1.0 if design in SIZE_INDEPENDENT else to_kib / from_kib


def df_at_size(data: Dataset, backing: str, size_kib: float) -> pd.DataFrame:
    """Return ``df_largest`` with ``total_ns`` and its interval restated for another size of anonymous memory."""
    rows = df_largest(data, backing).copy()
    factor = [growth_with_size(d, kib, size_kib) for d, kib in zip(rows.design, rows.size_kib, strict=True)]
    for column in ("total_ns", "total_ns_low", "total_ns_high"):
        rows[column] = rows[column] * factor
    return rows


# A write is lost when it goes unnoticed after the range was protected, with no discard in between.
_MOMENTS = ("before", "protected", "read", "written", "discarded", "unprotected")
_STILL_PROTECTED = ("protected", "read")
_ANSWERS = {
    (True, False): "reported",
    (True, True): "reported",
    (False, True): "missing event",
}


def df_reported(data: Dataset, content: str = "empty", moment: str = "protected") -> pd.DataFrame:
    """Return, per backing (rows) and feature set (columns), what became of a write at that moment.

    ``reported``: a write-protect event. ``missing event``: a missing event. ``seen by scan``: no event, but
    PAGEMAP_SCAN tells that it was written. ``lost``: none of these. ``not measured``: no row.
    """
    states = data.table("states")
    states = states[(states.content == content) & (states.moment == moment)]
    answers = states.assign(answer=[_answer(row) for row in records(states)])
    table = answers.pivot_table(index="backing", columns="features", values="answer", aggfunc="first")
    columns = ["none", "wp_hugetlbfs_shmem", "wp_unpopulated", "wp_async", "missing_wp"]
    whole = table.reindex(index=list(ENTRY_KIB), columns=columns).astype("object")
    return whole.fillna("not measured").rename_axis(index=None, columns=None)


def _answer(row: Any) -> str:
    known = _ANSWERS.get((bool(row.write_reported), bool(row.write_missing_event)))
    if known:
        return known
    if not pd.isna(row.write_seen_by_scan) and row.write_seen_by_scan:
        return "seen by scan"
    return "lost" if row.moment in _STILL_PROTECTED else "not reported"


def df_states(data: Dataset, backing: str, features: str, content: str = "empty") -> pd.DataFrame:
    """Return what pagemap and PAGEMAP_SCAN say of one page at each moment, and whether a write then is reported."""
    states = data.table("states")
    rows = states[(states.backing == backing) & (states.features == features) & (states.content == content)]
    order = {moment: place for place, moment in enumerate(_MOMENTS)}
    rows = rows.sort_values("moment", key=lambda moments: moments.map(order))
    frame = pd.DataFrame({"moment": rows.moment, "pagemap": [_pagemap(row) for row in records(rows)]})
    frame["PAGEMAP_SCAN"] = rows.categories
    frame["a write is"] = [_answer(row) for row in records(rows)]
    frame = frame.set_index("moment").rename_axis(index=None)
    return frame


def _pagemap(row: Any) -> str:
    bits = [name for name in ("present", "swap", "uffd_wp") if getattr(row, name)]
    return ", ".join(bits) or "0"


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
        entries = (large.size_kib - small.size_kib) / ENTRY_KIB[str(backing)]
        if not entries:
            continue
        slope = {"ns_per_entry": (large.protect_ns - small.protect_ns) / entries}
        slope["ns_per_entry_low"] = (large.protect_ns_low - small.protect_ns_high) / entries
        slope["ns_per_entry_high"] = (large.protect_ns_high - small.protect_ns_low) / entries
        kept = {c: large[c] for c in ("size_kib", "protect_ns", "protect_ns_low", "protect_ns_high", "table_kib")}
        rows.append({"backing": backing, "entry_kib": ENTRY_KIB[str(backing)]} | slope | kept)
    return pd.DataFrame(rows)


def predict_protect_ns(cost: Any, size_kib: float) -> tuple[float, float, float]:
    """Return (value, low, high) in ns of protecting an empty range of that size, from a row of ``df_entry_costs``.

    Linear in the number of entries from the largest measured point; never below zero.
    """
    more = (size_kib - cost.size_kib) / cost.entry_kib
    slopes = (cost.ns_per_entry_low * more, cost.ns_per_entry_high * more)
    low, high = cost.protect_ns_low + min(slopes), cost.protect_ns_high + max(slopes)
    return max(0.0, cost.protect_ns + cost.ns_per_entry * more), max(0.0, low), max(0.0, high)
