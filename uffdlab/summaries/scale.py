# SPDX-License-Identifier: MIT
"""How operations scale with threads (probe *scale*), by the page tables that the threads share."""

from __future__ import annotations

from typing import Any

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import column_ratio
from uffdlab.summaries import medians

_POINT = ["operation", "stride_kib", "sharing"]
_KEYS = [*_POINT, "threads"]
_NEEDED = ("block", "cold", *_KEYS, "pages", "wall_ns", "busy_ns", "cpu_ns", "voluntary_switches")
_MEASURES = ["ns_per_page", "busy_ns_per_page", "cpu_ns_per_page", "sleeps_per_page"]
_SPEEDUP = ["speedup", "speedup_low", "speedup_high"]


@medians.cached_per_dataset
def df_scale(data: Dataset) -> pd.DataFrame:
    """Return one row per operation, stride, sharing and measured number of threads: medians of the warm samples.

    ``ns_per_page`` is the time of all threads together by the pages of all, ``busy_ns_per_page`` what a page takes a
    thread, ``cpu_ns_per_page`` the CPU time of it, ``sleeps_per_page`` how often a thread went to sleep. ``speedup`` is
    the time of one thread by that of several in the same child (missing for one thread): as many as there are threads
    where nothing is shared.
    """
    rows = data.rows("scale", _NEEDED).copy()
    for measure, total in zip(_MEASURES, ("wall_ns", "busy_ns", "cpu_ns", "voluntary_switches"), strict=True):
        rows[measure] = column_ratio(rows[total], rows.pages)
    frame = medians.df_medians(rows, _KEYS, _MEASURES)
    speedups = pd.DataFrame(_speedups(rows), columns=[*_KEYS, *_SPEEDUP]).astype(dict.fromkeys(_SPEEDUP, "float64"))
    return frame.merge(speedups.astype({key: frame[key].dtype for key in _KEYS}), on=_KEYS, how="left")


def _speedups(rows: pd.DataFrame) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for key, group in rows.groupby(_POINT):
        times = {
            threads: medians.children(medians.warm_or_cold(part), "ns_per_page")
            for threads, part in group.groupby("threads")
        }
        one = times.get(1, {})
        for threads, several in times.items():
            both = one.keys() & several.keys()  # a ratio within a child
            ratio = medians.ratio_or_none({child: one[child] for child in both}, several) if threads != 1 else None
            row = dict(zip(_POINT, key, strict=True)) | {"threads": threads}
            found.append(row | medians.columns("speedup", ratio))
    return found
