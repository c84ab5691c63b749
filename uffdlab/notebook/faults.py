# SPDX-License-Identifier: MIT
"""Tables of later faults: least work, preallocated page tables, tails, discards and page sizes."""

from __future__ import annotations

from math import nan
from typing import Any

import pandas as pd

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.errors import NotMeasuredError
from uffdlab.notebook.show import Table, size_of_kib, time_with_interval, with_interval
from uffdlab.summaries.medians import estimate, ratio_of, warm
from uffdlab.units import format_ns
from uffdlab.vocabulary.repairs import REPAIRS
from uffdlab.vocabulary.strides import STRIDES
from uffdlab.vocabulary.threads import THREADS

_PASSES = ("first read", "second read", "write after reads")
_STRIDES = (2048, 4, 1048576)  # KiB, in the order of the rows


def least_work(data: Dataset) -> Table:
    """Return the least work of a first touch per 2 MiB and the measured counts."""
    rows = []
    for work in summaries.records(summaries.df_work(data)):
        least = f"{work.least_faults} faults, {work.least_zeroed_kib} KiB zeroed, {work.entries} entries written"
        counted = f"{_count(work.faults_per_touch)} faults, {_count(work.grown_kib)} KiB grown"
        rows.append(
            {
                "touch": work.touch,
                "page table holds": f"{work.preparation} ({work.delivery})",
                "least": least + (", a translation replaced" if work.replaces else ""),
                "counted": "not measured" if pd.isna(work.faults_per_touch) else counted,
                "time": time_with_interval(work, "ns_per_touch"),
            }
        )
    return Table(pd.DataFrame(rows), index=False)


def _count(value: float) -> str:
    return "not measured" if pd.isna(value) else f"{value:.3g}"


def with_tables(data: Dataset) -> Table:
    """Return the time of a first touch with page tables over that without, for each stride, touch and thread count."""
    rows = warm(summaries.per_touch(data))
    rows = rows[((rows.backing == "anon") & (rows.delivery == "plain")).fillna(False)]
    ratios = []
    for stride in _STRIDES:
        for touch in ("first read", "first write"):
            for (threads, together), (title, _) in THREADS.items():
                cell = rows[(rows.stride_kib == stride) & (rows.touch == touch) & (rows.threads == threads)]
                ratio = _ratio(cell[cell.together == together], "tables", "fresh")
                if ratio:
                    row = {"touched": STRIDES[stride], "touch": touch, "threads": title, "with / without": ratio}
                    ratios.append(row)
    return Table(pd.DataFrame(ratios or [{"touched": "not measured"}]), index=False)


def repairs(data: Dataset) -> Table:
    """Return who makes huge pages of memory that was written under markers, once they are gone, and how soon."""
    rows = [
        {
            "huge pages by": REPAIRS[row.repair],
            "refused under markers": f"{row.refused} of {row.ranges}",
            "huge afterwards": f"{row.whole} of {row.ranges}",
            "after": time_with_interval(row, "repair_ns") if row.whole else "–",
        }
        for row in summaries.records(summaries.df_collapses(data))
    ]
    return Table(pd.DataFrame(rows or [{"huge pages by": "not measured"}]), index=False)


def after_discards(data: Dataset) -> Table:
    """Return the time of a first touch after a discard by pieces over that after one call, and the tables it grew."""
    rows = warm(summaries.per_touch(data))
    rows = rows[((rows.backing == "anon") & (rows.threads == 1)).fillna(False)]
    ratios = []
    for stride in _STRIDES:
        for touch in ("first read", "first write"):
            cell = rows[(rows.stride_kib == stride) & (rows.touch == touch)]
            ratio = _ratio(cell, "discarded_pieces", "discarded_whole")
            if ratio:
                grown = {n: estimate(cell[cell.preparation == p], "table_growth_kib") for p, n in _DISCARDS.items()}
                tables = {f"tables grown, {n}": size_of_kib(one.value if one else nan) for n, one in grown.items()}
                ratios.append({"touched": STRIDES[stride], "touch": touch, "pieces / one call": ratio} | tables)
    return Table(pd.DataFrame(ratios or [{"touched": "not measured"}]), index=False)


_DISCARDS = {"discarded_pieces": "pieces", "discarded_whole": "one call"}


def _ratio(rows: pd.DataFrame, top: str, bottom: str) -> str | None:
    """Return the ratio of the medians of two preparations as text; None unless both were measured."""
    above, below = (rows[rows.preparation == name] for name in (top, bottom))
    try:
        ratio = ratio_of("faults", above, below, "busy_ns", "touches")
    except NotMeasuredError:
        return with_interval(None)
    return with_interval(ratio) if ratio else None


def tails(data: Dataset) -> Table:
    """Return the 99th percentile of first writes, by preparation and stride."""
    rows = [
        {
            "page table holds": f"{tail.preparation} ({tail.delivery})",
            "touched": STRIDES[tail.stride_kib],
            "99 % stayed within": time_with_interval(tail, "tail_ns"),
            "processes": tail.children,
        }
        for tail in summaries.records(summaries.df_tails(data))
        if tail.backing == "anon" and tail.stride_kib in (4, 2048) and tail.preparation in _TAILS
    ]
    return Table(pd.DataFrame(rows or [{"page table holds": "not measured"}]), index=False)


_TAILS = ("fresh", "tables", "zeropage", "markers", "missing_wp")


def read_faults(data: Dataset) -> Table:
    """Return faults and time of a first read, a second read and the write after them, every page touched."""
    frame = summaries.df_faults(data)
    frame = frame[(frame.backing == "anon") & (frame.stride_kib == 4) & (frame.threads == 1)]
    rows = []
    for (preparation, delivery), group in frame.groupby(["preparation", "delivery"], sort=False):
        passes = {touched.touch: touched for touched in summaries.records(group)}
        if "first read" in passes:
            row: dict[str, Any] = {"page table holds": f"{preparation} ({delivery})"}
            row["first read"] = time_with_interval(passes["first read"], "ns_per_touch")
            for touch in ("second read", "write after reads"):
                row[touch] = format_ns(passes[touch].ns_per_touch) if touch in passes else "not measured"
            counts = [passes[touch].faults_per_touch if touch in passes else float("nan") for touch in _PASSES]
            row["faults of each"] = ", ".join(map(_count, counts))
            rows.append(row)
    return Table(pd.DataFrame(rows or [{"page table holds": "not measured"}]), index=False)


def page_sizes(data: Dataset, mthp: Dataset | None) -> Table:
    """Return first touches of every page, and protecting 1 GiB by markers, in pages of 4 KiB, 64 KiB and 2 MiB.

    Without the dataset of 64 KiB pages, those rows are left out.
    """
    cases = [("4 KiB", data, "anon", "fresh"), ("2 MiB (THP)", data, "anon_thp", "fresh")]
    if mthp:
        registered = ("64 KiB (mTHP), registered", mthp, "anon_thp", "fresh")
        cases[1:1] = [("64 KiB (mTHP), not registered", mthp, "anon_thp", "unregistered"), registered]
    rows = []
    for size, measured, backing, preparation in cases:
        faults = summaries.df_faults(measured)
        faults = faults[(faults.backing == backing) & (faults.preparation == preparation) & (faults.stride_kib == 4)]
        points = summaries.df_warm(measured)
        points = points[(points.backing == backing) & (points.size_kib == 1 << 20) & (points.populated == 0)]
        row = {"pages": size}
        for touch in ("first read", "first write"):
            for touched in summaries.records(faults[(faults.touch == touch) & (faults.threads == 1)]):
                row[touch] = time_with_interval(touched, "ns_per_touch")
                row[f"faults, {touch}"] = _count(touched.faults_per_touch)
        points = points if preparation == "fresh" else points[:0]
        for point in summaries.records(points[points.design.isin(["pte_marker", "populate_read"])]):
            row[f"{point.design}, 1 GiB"] = time_with_interval(point, "total_ns")
        rows.append(row)
    return Table(pd.DataFrame(rows), index=False)
