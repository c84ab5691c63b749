# SPDX-License-Identifier: MIT
"""How operations scale with threads (probe *scale*), by the page tables that the threads share."""

from __future__ import annotations

from typing import Any

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate, column_ratio
from uffdlab.summaries import medians

_POINT = ["operation", "stride_kib", "sharing"]
_KEYS = [*_POINT, "threads"]
# What a row's median is of: a column, and the column that divides it.
_MEASURES = {
    "ns_per_page": ("wall_ns", "pages"),
    "busy_ns_per_page": ("busy_ns", "pages"),
    "cpu_ns_per_page": ("cpu_ns", "pages"),
    "cpu_share": ("cpu_ns", "busy_ns"),
    "sleeps_per_page": ("voluntary_switches", "pages"),
    "ipis_per_page": ("tlb_ipis", "pages"),
    "spin_waits_per_page": ("spin_waits", "pages"),
}
_NEEDED = tuple(dict.fromkeys(["block", "cold", *_KEYS, *(name for both in _MEASURES.values() for name in both)]))
_SPEEDUP = ["speedup", "speedup_low", "speedup_high"]
_RATIO = ["ratio", "ratio_low", "ratio_high"]


@medians.cached_per_dataset
def df_scale(data: Dataset) -> pd.DataFrame:
    """Return one row per operation, stride, sharing and measured number of threads: medians of the warm samples.

    ``ns_per_page`` is the time of all threads together by the pages of all, ``busy_ns_per_page`` what a page takes a
    thread, ``cpu_ns_per_page`` the CPU time of it and ``cpu_share`` their quotient, ``sleeps_per_page`` how often a
    thread went to sleep, ``ipis_per_page`` the TLB shootdown interrupts of the whole machine, ``spin_waits_per_page``
    its waits for spinlocks (missing where the kernel does not tell). ``speedup`` is the time of one thread by that of
    several in the same child (missing for one thread): as many as there are threads where nothing is shared.
    """
    rows = _rows(data)
    frame = medians.df_medians(rows, _KEYS, list(_MEASURES))
    speedups = pd.DataFrame(_speedups(rows), columns=[*_KEYS, *_SPEEDUP]).astype(dict.fromkeys(_SPEEDUP, "float64"))
    return frame.merge(speedups.astype({key: frame[key].dtype for key in _KEYS}), on=_KEYS, how="left")


@medians.cached_per_dataset
def df_scale_against(data: Dataset, operation: str, other: str) -> pd.DataFrame:
    """Return one row per stride, sharing and number of threads at which both operations were measured.

    ``ratio`` is the time of ``operation`` by that of ``other`` in the same child; above 1 the first is the dearer one.
    """
    rows = _rows(data)
    keys = [key for key in _KEYS if key != "operation"]
    below = {key: _times(part) for key, part in rows[rows.operation == other].groupby(keys)}
    found = [
        dict(zip(keys, key, strict=True)) | medians.columns("ratio", _within_children(_times(part), below[key]))
        for key, part in rows[rows.operation == operation].groupby(keys)
        if key in below
    ]
    return pd.DataFrame(found, columns=[*keys, *_RATIO]).astype(dict.fromkeys(_RATIO, "float64"))


def _rows(data: Dataset) -> pd.DataFrame:
    rows = data.rows("scale", _NEEDED).copy()
    for measure, (total, per) in _MEASURES.items():
        rows[measure] = column_ratio(rows[total], rows[per])
    return rows


def _times(rows: pd.DataFrame) -> dict[int, float]:
    """Return the time per page of each child."""
    return medians.children(medians.warm_or_cold(rows), "ns_per_page")


def _within_children(top: dict[int, float], bottom: dict[int, float]) -> Estimate | None:
    """Return the ratio of two times from the children that measured both; None without any."""
    both = top.keys() & bottom.keys()
    return medians.ratio_or_none({child: top[child] for child in both}, bottom)


def _speedups(rows: pd.DataFrame) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for key, group in rows.groupby(_POINT):
        times = {threads: _times(part) for threads, part in group.groupby("threads")}
        one = times.get(1, {})
        for threads, several in times.items():
            ratio = _within_children(one, several) if threads != 1 else None
            row = dict(zip(_POINT, key, strict=True)) | {"threads": threads}
            found.append(row | medians.columns("speedup", ratio))
    return found
