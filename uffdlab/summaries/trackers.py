# SPDX-License-Identifier: MIT
"""Trackers side by side (probe *trackers*): what each costs the writer, how long the writer stands, and its work."""

from __future__ import annotations

from typing import Any

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import column_ratio, column_sum
from uffdlab.summaries import medians
from uffdlab.vocabulary.tracking import TRACKERS

TABLE = "trackers"
POINT = ["backing", "size_kib", "dirty", "pattern"]
_SAMPLE = ["block", "sample"]
_READ = [
    *(*POINT, *_SAMPLE, "method", "cold", "gave_up", "writes", "dirty_pages", "arm_ns", "write_ns", "p50_ns"),
    *("p99_ns", "p999_ns", "collect_ns", "rearm_ns", "table_growth_kib", "mapping_growth", "reported_pages"),
    *("missed_pages", "spurious_pages"),
]
_TIMES = ["p50_ns", "p99_ns", "p999_ns", "arm_ns", "collect_ns", "pause_ns", "epoch_ns", "per_write_ns"]
_SIZES = ["table_growth_kib", "mapping_growth"]


def samples(data: Dataset) -> pd.DataFrame:
    """Return the samples of the table with three columns more; a method the kernel lacks has no rows.

    ``pause_ns``: collecting and protecting again, while the writer stands. ``epoch_ns``: that, and what the writes took
    longer than those of ``nothing`` in the same sample; writer and tracker share a CPU, so that it is CPU time of both.
    ``per_write_ns``: all writes, by their number.
    """
    rows = data.require(TABLE, _READ).copy()
    rows["pause_ns"] = column_sum(rows.collect_ns, rows.rearm_ns).astype("float64")
    untracked = rows[rows.method == "nothing"].groupby(_SAMPLE).write_ns.first().rename("untracked_ns")
    rows = rows.join(untracked, on=_SAMPLE)
    rows["epoch_ns"] = column_sum(rows.write_ns - rows.untracked_ns, rows.pause_ns).astype("float64")
    rows["per_write_ns"] = column_ratio(rows.write_ns, rows.writes)
    return rows.drop(columns="untracked_ns")


@medians.cached_per_dataset
def df_trackers(data: Dataset) -> pd.DataFrame:
    """Return one row per kind of memory, size, dirty share, pattern and method: medians over children, with intervals.

    Times in ns and sizes as in :func:`samples`; ``dirty_pages`` is the median of warm samples, ``spurious_share`` pages
    reported and not written by pages written, ``missed_pages`` the sum in all samples, ``gave_up`` whether any sample
    ran out of mappings, ``writes_per_s`` what ``per_write_ns`` is by the second.
    """
    rows = samples(data) if TABLE in data.tables else data.rows(TABLE, [*_READ, *_TIMES[-3:]])
    found: list[dict[str, Any]] = []
    for key, group in rows.groupby([*POINT, "method"]):
        taken = medians.warm(group)
        if taken.empty:
            continue
        row: dict[str, Any] = dict(zip([*POINT, "method"], key, strict=True))
        row |= {"n": taken.block.nunique(), "dirty_pages": float(taken.dirty_pages.median())}
        row |= {"writes": float(taken.writes.median()), "gave_up": bool(group.gave_up.fillna(False).any())}
        for measure in (*_TIMES, *_SIZES):
            row |= medians.columns(measure, medians.estimate(taken, measure))
        reported = medians.median_or_none(column_ratio(taken.spurious_pages, taken.dirty_pages))
        missed = None if group.missed_pages.isna().all() else int(group.missed_pages.sum())
        found.append(row | {"spurious_share": reported, "missed_pages": missed})
    numbers = [f"{name}{end}" for name in (*_TIMES, *_SIZES) for end in ("", "_low", "_high")]
    columns = [*POINT, "method", "n", "dirty_pages", "writes", "gave_up", *numbers, "spurious_share", "missed_pages"]
    whole = pd.DataFrame(found, columns=columns).astype(dict.fromkeys([*numbers, "spurious_share"], "float64"))
    for end, of in (("", ""), ("_low", "_high"), ("_high", "_low")):
        a_second = pd.Series(1e9, index=whole.index)
        whole[f"writes_per_s{end}"] = column_ratio(a_second, whole[f"per_write_ns{of}"]).astype("float64")
    order = {name: place for place, name in enumerate(TRACKERS)}
    return whole.sort_values([*POINT, "method"], key=lambda c: c.map(order) if c.name == "method" else c)


_LATENCIES = ["block", "sample", "method", "from_ns", "count"]


@medians.cached_per_dataset
def df_tracker_latencies(data: Dataset, size_kib: int, dirty: float) -> pd.DataFrame:
    """Return the latency distribution of single writes to anonymous pages at random, of the first warm samples.

    Columns: ``method``, ``from_ns`` (lower edge of the bin), ``slower`` (share of the writes in this bin or above) and
    ``timed`` (writes timed in all).
    """
    rows = data.rows(TABLE, [*POINT, *_SAMPLE, "method"])
    at = (rows.backing == "anon") & (rows.size_kib == size_kib) & (rows.pattern == "uniform") & (rows.dirty == dirty)
    which = rows[at.fillna(False)][[*_SAMPLE, "method"]].dropna()
    bins = data.rows("tracker_latencies", _LATENCIES).dropna(subset=_LATENCIES).astype({"count": "Float64"})
    bins = bins[bins["count"] > 0].merge(which, on=[*_SAMPLE, "method"])
    counted = bins.groupby(["method", "from_ns"])["count"].sum().reset_index()
    counted["timed"] = counted.groupby("method")["count"].transform("sum")
    above = counted.iloc[::-1].groupby("method")["count"].cumsum()
    counted["slower"] = column_ratio(above, counted.timed).astype("float64")
    return counted.sort_values(["method", "from_ns"])
