# SPDX-License-Identifier: MIT
"""Memory, faults and predictions in tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from uffdlab import sim, summaries
from uffdlab.backing import BACKINGS
from uffdlab.datasets import Dataset
from uffdlab.notebook import Table, ratio, shown
from uffdlab.stats import child_medians
from uffdlab.units import format_ns, format_share, format_size

_PASSES = ("first read", "second read", "write after reads")
_STRIDES = {2048: "one per 2 MiB", 4: "every page", 1048576: "one per 1 GiB"}


def _interval(row: Any, column: str) -> str:
    value, low, high = (getattr(row, f"{column}{end}") for end in ("", "_low", "_high"))
    if pd.isna(value):
        return "not measured"
    return format_ns(value) + ("" if pd.isna(low) or pd.isna(high) else f" ({format_ns(low)} to {format_ns(high)})")


def least_work(data: Dataset) -> Table:
    """Return the least work of a first touch per 2 MiB beside what was counted of it."""
    rows = []
    for one in summaries.records(summaries.df_work(data)):
        least = f"{one.least_faults} faults, {one.least_zeroed_kib} KiB zeroed, {one.entries} entries written"
        counted = f"{_count(one.faults_per_touch)} faults, {_count(one.grown_kib)} KiB grown"
        rows.append(
            {
                "touch": one.touch,
                "page table holds": f"{one.preparation} ({one.delivery})",
                "least": least + (", a translation replaced" if one.replaces else ""),
                "counted": "not measured" if pd.isna(one.faults_per_touch) else counted,
                "time": _interval(one, "ns_per_touch"),
            }
        )
    return Table(pd.DataFrame(rows), index=False)


def _count(value: float) -> str:
    return "not measured" if pd.isna(value) else f"{value:.3g}"


def with_tables(data: Dataset) -> Table:
    """Return the time of a first touch with page tables over that without, for each stride, touch and thread count."""
    rows = summaries.per_touch(data)
    rows = rows[((rows.backing == "anon") & ~rows.cold & (rows.delivery == "plain")).fillna(False)]
    shown_rows = []
    for stride, where in _STRIDES.items():
        for touch in ("first read", "first write"):
            for threads in (1, 2):
                cell = rows[(rows.stride_kib == stride) & (rows.touch == touch) & (rows.threads == threads)]
                for together in (False, True):
                    ratio = _ratio(cell[cell.together == together], "tables", "fresh")
                    if ratio:
                        crowd = f"{threads}, in turns" if together else str(threads)
                        row = {"touched": where, "touch": touch, "threads": crowd, "with / without": ratio}
                        shown_rows.append(row)
    return Table(pd.DataFrame(shown_rows or [{"touched": "not measured"}]), index=False)


def after_discards(data: Dataset) -> Table:
    """Return the time of a first touch after a discard by pieces over that after one call, and the tables it grew."""
    rows = summaries.per_touch(data)
    rows = rows[((rows.backing == "anon") & ~rows.cold & (rows.threads == 1)).fillna(False)]
    shown_rows = []
    for stride, where in _STRIDES.items():
        for touch in ("first read", "first write"):
            cell = rows[(rows.stride_kib == stride) & (rows.touch == touch)]
            ratio = _ratio(cell, "discarded_pieces", "discarded_whole")
            if ratio:
                tables = {
                    f"tables grown, {name}": _size(cell[cell.preparation == p].table_growth_kib.median())
                    for p, name in _DISCARDS.items()
                }
                shown_rows.append({"touched": where, "touch": touch, "pieces / one call": ratio} | tables)
    return Table(pd.DataFrame(shown_rows or [{"touched": "not measured"}]), index=False)


_DISCARDS = {"discarded_pieces": "pieces", "discarded_whole": "one call"}


def _ratio(rows: pd.DataFrame, top: str, bottom: str) -> str | None:
    """Return the ratio of the medians of two preparations in words; None unless both were measured."""
    above, below = (
        child_medians(list(part.ns_per_touch), list(part.block))
        for part in (rows[rows.preparation == name].dropna(subset=["ns_per_touch", "block"]) for name in (top, bottom))
    )
    return shown(ratio(above, below)) if above and below else None


def tails(data: Dataset) -> Table:
    """Return the time within which 99 % of the first writes of a process stayed, by preparation and stride."""
    rows = [
        {
            "page table holds": f"{one.preparation} ({one.delivery})",
            "touched": _STRIDES[one.stride_kib],
            "99 % stayed within": _interval(one, "tail_ns"),
            "processes": one.children,
        }
        for one in summaries.records(summaries.df_tails(data))
        if one.backing == "anon" and one.stride_kib in (4, 2048) and one.preparation in _TAILS
    ]
    return Table(pd.DataFrame(rows or [{"page table holds": "not measured"}]), index=False)


_TAILS = ("fresh", "tables", "zeropage", "markers", "missing_wp")


def read_faults(data: Dataset) -> Table:
    """Return faults and time of a first read, a second read and the write after them, every page touched."""
    frame = summaries.df_faults(data)
    frame = frame[(frame.backing == "anon") & (frame.stride_kib == 4) & (frame.threads == 1)]
    rows = []
    for (preparation, delivery), group in frame.groupby(["preparation", "delivery"], sort=False):
        passes = {one.touch: one for one in summaries.records(group)}
        if "first read" in passes:
            row: dict[str, Any] = {"page table holds": f"{preparation} ({delivery})"}
            row["first read"] = _interval(passes["first read"], "ns_per_touch")
            for touch in ("second read", "write after reads"):
                row[touch] = format_ns(passes[touch].ns_per_touch) if touch in passes else "not measured"
            counts = [passes[touch].faults_per_touch if touch in passes else float("nan") for touch in _PASSES]
            row["faults of each"] = ", ".join(map(_count, counts))
            rows.append(row)
    return Table(pd.DataFrame(rows or [{"page table holds": "not measured"}]), index=False)


def accounts(data: Dataset) -> Table:
    """Return what each way of protecting an empty range leaves in it, by backing."""
    frame = summaries.df_zeropages(data)
    rows = []
    for one in summaries.records(frame[(frame.step == "protected") & frame.backing.isin(list(BACKINGS))]):
        rows.append(
            {
                "backing": BACKINGS[one.backing].short + (", no huge zeropage" if one.huge_zeropage == "off" else ""),
                "design": one.design,
                "range": format_size(one.size_kib * 1024),
                "real memory": _amount(one, "filled_kib"),
                "maps a zeropage": _size(one.zeropages_kib),
                "by huge entries": _size(one.huge_kib),
                "page tables": _size(one.table_growth_kib),
                "a write is": "not measured" if pd.isna(one.reported) else "reported" if one.reported else "lost",
            }
        )
    return Table(pd.DataFrame(rows), index=False)


def _amount(row: Any, column: str) -> str:
    """Return an amount of memory, with its interval where the ends differ."""
    value, low, high = (_size(getattr(row, f"{column}{end}")) for end in ("", "_low", "_high"))
    known = not pd.isna(getattr(row, f"{column}_low"))
    return f"{value} ({low} to {high})" if known and low != high else value


def _size(kib: float) -> str:
    return "not measured" if pd.isna(kib) else format_size(kib * 1024)


def without_huge_zeropage(data: Dataset) -> Table:
    """Return the time to prepare and protect with THP on, with the huge zeropage and without it."""
    frame = summaries.df_zeropages(data)
    frame = frame[(frame.backing == "anon_thp") & (frame.step == "protected")]
    rows = []
    for one in summaries.records(frame):
        times = {"prepare": _interval(one, "prepare_ns"), "protect": _interval(one, "protect_ns")}
        found = {"real memory": _size(one.filled_kib)}
        case = {"design": one.design, "range": format_size(one.size_kib * 1024), "huge zeropage": one.huge_zeropage}
        rows.append(case | times | found)
    return Table(pd.DataFrame(rows or [{"design": "not measured"}]), index=False)


def prediction_check(costs: Dataset) -> Table:
    """Return how far the predictions lie from what was measured at sizes they were not drawn from."""
    rows = [
        {
            "backing": BACKINGS[one.backing].short,
            "size": format_size(one.size_kib * 1024),
            "measured": format_ns(one.measured_ns),
            "predicted": format_ns(one.predicted_ns),
            "error": f"{one.error:+.0%}",
        }
        for one in summaries.records(summaries.df_prediction_check(costs))
    ]
    return Table(pd.DataFrame(rows or [{"backing": "no size between two others was measured"}]), index=False)


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
            for one in summaries.records(faults[(faults.touch == touch) & (faults.threads == 1)]):
                row[touch] = _interval(one, "ns_per_touch")
                row[f"faults, {touch}"] = _count(one.faults_per_touch)
        points = points if preparation == "fresh" else points[:0]
        for one in summaries.records(points[points.design.isin(["pte_marker", "populate_read"])]):
            row[f"{one.design}, 1 GiB"] = _interval(one, "total_ns")
        rows.append(row)
    return Table(pd.DataFrame(rows), index=False)


def validation(costs: Dataset) -> Table:
    """Return how far predictions lie from what was measured, and how often ledgers equal what the kernel did."""
    checks, counts = sim.df_checks(costs), sim.df_counts(costs).astype({"equal": "float64", "explained": "float64"})
    rows = []
    for part, title in (("fitted", "times that costs were fitted on"), ("unseen", "times of other configurations")):
        errors = checks[checks.part == part].factor - 1
        median, p95 = (format_share(float(errors.quantile(at)), 1) for at in (0.5, 0.95))
        off = f"off by {median} (median), {p95} (95th percentile)"
        rows.append({"compared": title, "how many": len(errors), "result": off})
    ratios = sim.df_ratios(costs).astype({"inside": "float64", "meet": "float64"})
    result = (
        f"{format_share(ratios.inside.mean())} within the predicted interval, {format_share(ratios.meet.mean())} by "
        "their own intervals"
    )
    rows.append({"compared": "ratios of two other configurations", "how many": len(ratios), "result": result})
    for what, title in (
        ("faults", "faults counted"),
        ("tables_kib", "page tables grown"),
        ("filled_kib", "memory filled"),
    ):
        there = counts[counts.what == what]
        rows.append({"compared": title, "how many": len(there), "result": _equal(there)})
    return Table(pd.DataFrame(rows), index=False)


def _equal(counts: pd.DataFrame) -> str:
    equal, explained = counts.equal.mean(), counts.explained.mean()
    besides = f", {format_share(explained)} but for what lies around the range" if explained > equal else ""
    return f"{format_share(equal)} equal{besides}"


# What stands in the page table → design that leads there, and how its writes are delivered.
_LOCKED = {
    "fresh": ("unprotected", "plain"),
    "tables": ("pte_marker", "plain"),
    "zeropage": ("preread", "plain"),
    "markers": ("pte_marker", "async"),
}
_LOCKS = {"VMA": "lock_vma", "page_table_lock": "lock_page_table", "PMD table": "lock_pmd", "PTE table": "lock_pte"}
_THREADS = {(1, False): "1 thread", (2, False): "2 threads, halves", (2, True): "2, in turns"}


def locks(data: Dataset) -> Table:
    """Return the locks that a first write in each 2 MiB takes (a model), beside times measured with 1 thread and 2."""
    faults = summaries.df_faults(data)
    faults = faults[(faults.backing == "anon") & (faults.touch == "first write") & (faults.stride_kib == 2048)]
    rows = []
    for preparation, (design, delivery) in _LOCKED.items():
        ledger = _first_writes(preparation, sim.DESIGNS[design].but(asynchronous=delivery == "async"))
        row = {"page table holds": preparation}
        row |= {f"{title} (model)": f"{ledger[event] / ledger['writes']:.3g}" for title, event in _LOCKS.items()}
        there = faults[(faults.preparation == preparation) & (faults.delivery == delivery)]
        for (threads, together), title in _THREADS.items():
            found = there[(there.threads == threads) & (there.together == together)]
            one = next(summaries.records(found), None)
            row[title] = "not measured" if one is None else _interval(one, "ns_per_touch")
        rows.append(row)
    return Table(pd.DataFrame(rows), index=False)


def _first_writes(preparation: str, design: sim.Design) -> sim.Ledger:
    """Return the ledger of one write in each 2 MiB of 4 GiB, after a preparation."""
    memory = sim.Range(design, 1 << 32, touches=4096)
    memory.prefault()
    if preparation in ("tables", "markers"):
        memory.protect()
    if preparation == "tables":
        memory.unprotect()
    memory.start_phase()
    memory.touch_stride(512, write=True)
    return memory.ledger()


def attempts(published: Dataset) -> Table:
    """Return who tried to forbid zeropages, and what became of it."""
    columns = ["date", "author", "architecture", "what", "outcome", "source"]
    return Table(published.require("attempts", columns)[columns].fillna(""), index=False)
