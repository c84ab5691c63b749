# SPDX-License-Identifier: MIT
"""Later faults: what a touch costs after each preparation, and how its latencies are spread."""

from __future__ import annotations

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.summaries.medians import df_medians

_KEYS = ["backing", "preparation", "delivery", "touch", "stride_kib", "threads", "together"]
_MEASURES = ["ns_per_touch", "faults_per_touch", "ipis_per_touch", "events_per_touch", "table_growth_kib"]


def df_faults(data: Dataset) -> pd.DataFrame:
    """Return one row per configuration and pass: medians of the warm samples, per touch.

    ``ns_per_touch`` is the time of the touching threads, summed, by touches; ``faults_per_touch`` minor faults of the
    process, ``ipis_per_touch`` TLB shootdown interrupts of the whole machine, ``events_per_touch`` what a handler got.
    """
    return df_medians(per_touch(data), _KEYS, _MEASURES)


def per_touch(data: Dataset) -> pd.DataFrame:
    """Return the table ``faults`` with its counts divided by the touches of each row."""
    rows = data.require("faults", [*_KEYS, "block", "cold", "touches", "busy_ns", "minor_faults"]).copy()
    rows["ns_per_touch"] = rows.busy_ns / rows.touches
    rows["faults_per_touch"] = rows.minor_faults / rows.touches
    rows["ipis_per_touch"] = rows.tlb_ipis / rows.touches
    rows["events_per_touch"] = (rows.wp_events + rows.missing_events) / rows.touches
    return rows


def df_latencies(data: Dataset, stride_kib: int, touch: str, threads: int = 1) -> pd.DataFrame:
    """Return the distribution of single touches: per configuration and bin, the share of touches that took longer.

    Columns: ``backing``, ``preparation``, ``delivery``, ``from_ns`` (lower edge of the bin), ``slower`` (share of the
    touches in this bin or above, 1 at the first) and ``timed`` (touches timed in all).
    """
    faults = data.table("faults")
    wanted = (faults.stride_kib == stride_kib) & (faults.threads == threads) & (faults.touch == touch)
    keys = ["backing", "preparation", "delivery"]
    which = faults[wanted][["block", "sample", "touch", *keys]]
    bins = data.table("fault_latencies").merge(which, on=["block", "sample", "touch"])
    counted = bins.groupby([*keys, "from_ns"])["count"].sum().reset_index()
    counted["timed"] = counted.groupby(keys)["count"].transform("sum")
    above = counted.iloc[::-1].groupby(keys)["count"].cumsum()
    counted["slower"] = (above / counted.timed).astype("float64")
    return counted.sort_values([*keys, "from_ns"])


def df_resolves(data: Dataset) -> pd.DataFrame:
    """Return ns per ioctl and per 4 KiB un-protected, by state, piece and stride, first and second pass."""
    rows = data.table("resolves").copy()
    rows["ns_per_call"] = rows.resolve_ns / rows.calls
    rows["ns_per_page"] = rows.resolve_ns / (rows.calls * rows.piece_kib / 4)
    return df_medians(rows, ["state", "piece_kib", "stride_kib", "pass"], ["ns_per_call", "ns_per_page"])
