# SPDX-License-Identifier: MIT
"""Tables of protecting hugetlb: what is reported, in which states, at which cost per entry."""

from __future__ import annotations

import pandas as pd

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.notebook.show import Table
from uffdlab.units import format_ns, format_size
from uffdlab.vocabulary.backings import BACKINGS


def reported_table(data: Dataset) -> Table:
    """Return what became of a write to empty, protected memory, by backing and feature set."""
    return Table(summaries.df_reported(data))


def states(data: Dataset, backing: str, features: str) -> Table:
    """Return what the kernel says of one page of empty memory at each moment of its life."""
    return Table(summaries.df_states(data, backing, features))


def entry_costs(costs: Dataset) -> Table:
    """Return what one marked entry costs at each level, with its interval, and how much of it a GiB needs."""
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
