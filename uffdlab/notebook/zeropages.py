# SPDX-License-Identifier: MIT
"""Tables of zeropages: memory filled, the huge zeropage, and attempts to forbid zeropages."""

from __future__ import annotations

from typing import Any

import pandas as pd

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.notebook.show import Table, size_of_kib, time_with_interval
from uffdlab.units import format_size
from uffdlab.vocabulary.backings import BACKINGS


def range_contents(data: Dataset) -> Table:
    """Return the contents of an empty range after protecting it, by backing and design."""
    frame = summaries.df_zeropages(data)
    protected = frame[(frame.step == "protected") & frame.backing.isin(list(BACKINGS))]
    rows = [
        {
            "backing": BACKINGS[row.backing].short + (", no huge zeropage" if row.huge_zeropage == "off" else ""),
            "design": row.design,
            "range": format_size(row.size_kib * 1024),
            "real memory": _amount(row, "filled_kib"),
            "maps a zeropage": size_of_kib(row.zeropages_kib),
            "by huge entries": size_of_kib(row.huge_kib),
            "page tables": size_of_kib(row.table_growth_kib),
            "a write is": "not measured" if pd.isna(row.reported) else "reported" if row.reported else "lost",
        }
        for row in summaries.records(protected)
    ]
    return Table(pd.DataFrame(rows), index=False)


def _amount(row: Any, column: str) -> str:
    """Return an amount of memory, with its interval where the ends differ."""
    value, low, high = (size_of_kib(getattr(row, f"{column}{end}")) for end in ("", "_low", "_high"))
    known = not pd.isna(getattr(row, f"{column}_low"))
    return f"{value} ({low} to {high})" if known and low != high else value


def without_huge_zeropage(data: Dataset) -> Table:
    """Return the time to prepare and protect with THP on, with the huge zeropage and without it."""
    frame = summaries.df_zeropages(data)
    frame = frame[(frame.backing == "anon_thp") & (frame.step == "protected")]
    rows = []
    for row in summaries.records(frame):
        times = {"prepare": time_with_interval(row, "prepare_ns"), "protect": time_with_interval(row, "protect_ns")}
        filled = {"real memory": size_of_kib(row.filled_kib)}
        case = {"design": row.design, "range": format_size(row.size_kib * 1024), "huge zeropage": row.huge_zeropage}
        rows.append(case | times | filled)
    return Table(pd.DataFrame(rows or [{"design": "not measured"}]), index=False)


def attempts(published: Dataset) -> Table:
    """Return the attempts to forbid zeropages and their outcomes."""
    columns = ["date", "author", "architecture", "what", "outcome", "source"]
    return Table(published.require("attempts", columns)[columns].fillna(""), index=False)
