# SPDX-License-Identifier: MIT
"""Tables of write-protecting hugetlb: reported writes, page states, and cost per marker."""

from __future__ import annotations

import pandas as pd

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.notebook.show import Table
from uffdlab.units import format_ns, format_size
from uffdlab.vocabulary.backings import BACKINGS


def reported_table(data: Dataset) -> Table:
    """Return the outcome of a write to empty, protected memory, by backing and feature set."""
    return Table(summaries.df_reported(data))


def states(data: Dataset, backing: str, features: str) -> Table:
    """Return the pagemap bits and PAGEMAP_SCAN categories of one page of empty memory at each moment."""
    return Table(summaries.df_states(data, backing, features))


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
