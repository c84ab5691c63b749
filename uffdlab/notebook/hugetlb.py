# SPDX-License-Identifier: MIT
"""Tables of write-protecting hugetlb: reported writes, page states, and cost per marker."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from uffdlab import summaries
from uffdlab.claims.atomicity import WALKED_KIB
from uffdlab.claims.userspace import POPULATED_KIB, QEMU, SHARES, case_of, speeds
from uffdlab.datasets import Dataset
from uffdlab.errors import NotMeasuredError
from uffdlab.notebook.show import Table, with_interval
from uffdlab.summaries.atomicity import LostWrites, excluded_writes, lost_writes
from uffdlab.summaries.medians import ratio_over_sizes, warm_of, with_total
from uffdlab.units import format_ns, format_size, in_sizes
from uffdlab.vocabulary.backings import BACKINGS
from uffdlab.vocabulary.designs import DESIGNS, WAYS


def reported_table(data: Dataset) -> Table:
    """Return the outcome of a write to empty, protected memory, by backing and feature set."""
    return Table(summaries.df_reported(data))


def states(data: Dataset, backing: str, features: str) -> Table:
    """Return the pagemap bits and PAGEMAP_SCAN categories of one page of empty memory at each moment."""
    return Table(summaries.df_states(data, backing, features))


def populate_speeds(data: Dataset) -> Table:
    """Return the time of a read loop / of MADV_POPULATE_READ by kind of memory and share written beforehand.

    Intervals hold together, for all cells.
    """
    found = speeds(data, POPULATED_KIB)
    rows = []
    for backing, on_qemu in QEMU.items():
        size_kib = POPULATED_KIB[backing]
        row = {"memory": f"{BACKINGS[backing].short}, {in_sizes([size_kib])}" if size_kib else BACKINGS[backing].short}
        row |= {"as QEMU has it": on_qemu}
        for share in SHARES:
            ratio = found.get(case_of(backing, share))
            row[f"{share:.0%} written"] = with_interval(ratio) if ratio else "not measured"
        rows.append(row)
    return Table(pd.DataFrame(rows), index=False)


def entry_costs(costs: Dataset) -> Table:
    """Return the cost of one marker at each level, with its interval, and the entries and page tables of a GiB."""
    rows = []
    for cost in summaries.records(summaries.df_entry_costs(costs)):
        low, high = cost.ns_per_entry_low, cost.ns_per_entry_high
        between = "" if pd.isna(low) or pd.isna(high) else f" ({format_ns(low)} to {format_ns(high)})"
        rows.append(
            {
                "backing": cost.backing,
                "one entry covers": format_size(cost.entry_kib * 1024),
                "entries per GiB": round(1048576 / cost.entry_kib),
                "to mark one": f"{format_ns(cost.ns_per_entry)}{between}",
                "tables per GiB": format_size(cost.table_kib * 1024 / (cost.size_kib / 1048576)),
            }
        )
    return Table(pd.DataFrame(rows), index=False)


def prediction_check(costs: Dataset) -> Table:
    """Return the errors of predictions at measured sizes that they were not fitted on."""
    rows = [
        {
            "backing": BACKINGS[check.backing].short,
            "size": format_size(check.size_kib * 1024),
            "measured": format_ns(check.measured_ns),
            "predicted": format_ns(check.predicted_ns),
            "error": f"{check.error:+.0%}",
        }
        for check in summaries.records(summaries.df_prediction_check(costs))
    ]
    return Table(pd.DataFrame(rows or [{"backing": "no size between two others was measured"}]), index=False)


# Preparations of the table of races, with the design that each belongs to.
_PASSES = {way.race: way.design for way in WAYS.values()} | {"one_pass": "pte_marker"}


def one_pass(data: Dataset) -> Table:
    """Return what doing both in one pass gains: time, and writes that would be lost, by way of preparing."""
    rows = [_walks(data)]
    races = data.rows("races", ["block", "backing", "preparation", "interleaving", "lost", "discards_preparing"])
    raced = races[((races.backing == "anon") & (races.interleaving == "racing")).fillna(False)]
    between = {name: lost_writes(raced[raced.preparation == name], "discards_preparing") for name in _PASSES}
    rows.append({"reason": "discards between the passes that lose a write"} | _lost(between))
    ended = {name: _excluded(data, name) for name in _PASSES}
    for when in ("while the ioctl ran", "after it"):
        cells = _lost({name: by_end.get(when) for name, by_end in ended.items()})
        rows.append({"reason": f"pages discarded {when} whose next write is not reported"} | cells)
    return Table(pd.DataFrame(rows), index=False)


def _walks(data: Dataset) -> dict[str, str]:
    """Return how many times as long populating and protecting, two walks, takes as one walk that does both."""
    timed = {
        name: warm_of(
            data, "samples", "block", "size_kib", "prepare_ns", "protect_ns", backing="anon", design=design, populated=0
        )
        for name, design in _PASSES.items()
    }
    found = {
        name: ratio_over_sizes("samples", with_total(rows), with_total(timed["one_pass"]), "total_ns", WALKED_KIB)
        for name, rows in timed.items()
        if rows is not None and timed["one_pass"] is not None
    }
    sizes = sorted({size for both in found.values() if both for size in both[1]})
    at = f", {in_sizes(sizes)}" if sizes else ""
    cells = {"reason": f"time to prepare and protect empty memory{at}, two walks / one"}
    for name in timed:
        both = found.get(name)
        cells[_title(name)] = with_interval(both[0]) if both else "not measured"
    return cells | {_title("one_pass"): "1" if timed["one_pass"] is not None else "not measured"}


def _excluded(data: Dataset, preparation: str) -> dict[str, LostWrites]:
    try:
        return excluded_writes(data, backing="anon", preparation=preparation, interleaving="racing")
    except NotMeasuredError:  # an older dataset does not say when a discard ended
        return {}


def _lost(by_name: Mapping[str, LostWrites | None]) -> dict[str, str]:
    return {
        _title(name): f"{writes.lost:,} of {writes.judged:,}" if writes else "not measured"
        for name, writes in by_name.items()
    }


def _title(preparation: str) -> str:
    return DESIGNS[_PASSES[preparation]].short
