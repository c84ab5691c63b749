# SPDX-License-Identifier: MIT
"""Tables of predictions for PTE, PMD and PUD markers: locks taken, and validation against measurements."""

from __future__ import annotations

import pandas as pd

from uffdlab import sim, summaries
from uffdlab.datasets import Dataset
from uffdlab.notebook.show import Table, time_with_interval
from uffdlab.units import format_share
from uffdlab.vocabulary.threads import THREADS


def validation(costs: Dataset) -> Table:
    """Return the errors of predicted times, and the share of ledgers equal to the kernel's counts."""
    checks, counts = sim.df_checks(costs), sim.df_counts(costs).astype({"equal": "float64", "explained": "float64"})
    rows = []
    for part, title in _PARTS.items():
        here = checks[checks.part == part]
        if here.empty:
            continue
        median, p95 = (format_share(float((here.factor - 1).quantile(at)), 1) for at in (0.5, 0.95))
        off = f"off by {median} (median), {p95} (95th percentile){_inside(here)}"
        rows.append({"compared": f"times {title}", "how many": len(here), "result": off})
    ratios = sim.df_ratios(costs)
    parts = ratios.part if "part" in ratios else pd.Series("unseen", ratios.index)
    for part, here in ratios.groupby(parts, sort=False):
        rows.append(
            {
                "compared": f"ratios of two times {_PARTS[str(part)]}",
                "how many": len(here),
                "result": f"{format_share(here.inside.astype('float64').mean())} within the predicted interval",
            }
        )
    for what, title in (
        ("faults", "faults counted"),
        ("tables_kib", "page tables grown"),
        ("filled_kib", "memory filled"),
    ):
        there = counts[counts.what == what]
        rows.append({"compared": title, "how many": len(there), "result": _equal(there)})
    return Table(pd.DataFrame(rows), index=False)


# Which measurements a prediction is compared with.
_PARTS = {
    "fitted": "that costs were fitted on",
    "unseen": "of other configurations",
    "elsewhere": "of another campaign, which widens the intervals",
    "trial": "of a third campaign, which took no part",
}


def _inside(checks: pd.DataFrame) -> str:
    """Return how many of the times lie within the predicted interval, where the dataset has it."""
    if "low" not in checks or checks.low.isna().any():
        return ""
    inside = checks.measured_ns.between(checks.low, checks.high).astype("float64").mean()
    return f"; {format_share(inside)} within the predicted interval"


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


def locks(data: Dataset) -> Table:
    """Return the locks that a first write in each 2 MiB takes (a model), beside times measured with 1 thread and 2."""
    faults = summaries.df_faults(data)
    faults = faults[(faults.backing == "anon") & (faults.touch == "first write") & (faults.stride_kib == 2048)]
    rows = []
    for preparation, (design, delivery) in _LOCKED.items():
        ledger = _first_writes(preparation, sim.DESIGNS[design].replace(asynchronous=delivery == "async"))
        row = {"page table holds": preparation}
        row |= {f"{title} (model)": f"{ledger[event] / ledger['writes']:.3g}" for title, event in _LOCKS.items()}
        there = faults[(faults.preparation == preparation) & (faults.delivery == delivery)]
        for (threads, together), (title, _) in THREADS.items():
            matching = there[(there.threads == threads) & (there.together == together)]
            measured = next(summaries.records(matching), None)
            row[title] = "not measured" if measured is None else time_with_interval(measured, "ns_per_touch")
        rows.append(row)
    return Table(pd.DataFrame(rows), index=False)


def _first_writes(preparation: str, design: sim.SimDesign) -> sim.Ledger:
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
