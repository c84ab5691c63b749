# SPDX-License-Identifier: MIT
"""Later faults: time, faults and TLB shootdown IPIs per touch after each preparation, and latency distributions."""

from __future__ import annotations

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import column_ratio, column_sum
from uffdlab.summaries.medians import by_child, cached_per_dataset, df_medians

_KEYS = ["backing", "preparation", "delivery", "touch", "size_kib", "stride_kib", "threads", "together"]
_COUNTS = ("touches", "busy_ns", "minor_faults", "table_growth_kib", "rss_growth_kib", "tlb_ipis")
_EVENTS = ("wp_events", "missing_events")
_FAULTS = ("block", "sample", *_KEYS, "cold", *_COUNTS, *_EVENTS)
_LATENCIES = ("block", "sample", "touch", "from_ns", "count")
_MEASURES = ["ns_per_touch", "faults_per_touch", "ipis_per_touch", "events_per_touch", "table_growth_kib"]


@cached_per_dataset
def df_faults(data: Dataset) -> pd.DataFrame:
    """Return one row per configuration and pass: medians of the warm samples, per touch.

    ``ns_per_touch`` is the summed time of the touching threads, ``faults_per_touch`` minor faults of the process,
    ``ipis_per_touch`` TLB shootdown IPIs of the whole machine, ``events_per_touch`` uffd events.
    """
    return df_medians(per_touch(data), _KEYS, _MEASURES)


def per_touch(data: Dataset) -> pd.DataFrame:
    """Return the table ``faults`` with its counts divided by the touches of each row; missing without touches."""
    rows = data.rows("faults", _FAULTS).copy()
    rows["ns_per_touch"] = column_ratio(rows.busy_ns, rows.touches)
    rows["faults_per_touch"] = column_ratio(rows.minor_faults, rows.touches)
    rows["ipis_per_touch"] = column_ratio(rows.tlb_ipis, rows.touches)
    rows["events_per_touch"] = column_ratio(column_sum(rows.wp_events, rows.missing_events), rows.touches)
    return rows


def df_latencies(data: Dataset, stride_kib: int, touch: str, threads: int = 1) -> pd.DataFrame:
    """Return the latency distribution of single touches: per configuration and bin, the share that took longer.

    Columns: ``backing``, ``preparation``, ``delivery``, ``from_ns`` (lower edge of the bin), ``slower`` (share of the
    touches in this bin or above, 1 at the first) and ``timed`` (touches timed in all).
    """
    faults = data.rows("faults", _FAULTS)
    wanted = (faults.stride_kib == stride_kib) & (faults.threads == threads) & (faults.touch == touch)
    keys = ["backing", "preparation", "delivery"]
    bins = _bins(data, faults[wanted.fillna(False)], keys)
    counted = bins.groupby([*keys, "from_ns"])["count"].sum().reset_index()
    counted["timed"] = counted.groupby(keys)["count"].transform("sum")
    above = counted.iloc[::-1].groupby(keys)["count"].cumsum()
    counted["slower"] = column_ratio(above, counted.timed).astype("float64")
    return counted.sort_values([*keys, "from_ns"])


def _bins(data: Dataset, faults: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the latency bins of single touches in the passes of ``faults``."""
    sample = ["block", "sample", "touch"]
    which = faults[[*sample, *keys]].dropna()
    bins = data.rows("fault_latencies", _LATENCIES).dropna(subset=_LATENCIES).astype({"count": "Float64"})
    return bins[bins["count"] > 0].merge(which, on=sample)


def df_tails(data: Dataset, touch: str = "first write", share: float = 0.99) -> pd.DataFrame:
    """Return the latency quantile ``share`` (tail) of single touches, per preparation and stride.

    Columns: ``backing``, ``preparation``, ``delivery``, ``stride_kib``, ``tail_ns`` with ``_low`` and ``_high`` (median
    over processes of the lower edge of the bin that holds it), ``n``, ``children``. One thread.
    """
    keys = ["backing", "preparation", "delivery", "stride_kib"]
    faults = data.rows("faults", _FAULTS)
    bins = _bins(data, faults[((faults.threads == 1) & (faults.touch == touch)).fillna(False)], keys)
    rows = []
    for key, group in by_child(bins, *keys):
        group = group.sort_values("from_ns")
        within = group["count"].cumsum() >= share * group["count"].sum()
        rows.append(key | {"cold": False, "tail_ns": float(group.from_ns[within].iloc[0])})
    columns = [*keys, "block", "cold", "tail_ns"]
    return df_medians(pd.DataFrame(rows, columns=columns).astype({"cold": "bool"}), keys, ["tail_ns"])
