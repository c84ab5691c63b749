# SPDX-License-Identifier: MIT
"""Tables of zeropages: what fills memory, and what happened to attempts to forbid them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.notebook.show import Table, size_of_kib, time_with_interval
from uffdlab.units import format_size
from uffdlab.vocabulary.backings import BACKINGS


def accounts(data: Dataset) -> Table:
    """Return what each way of protecting an empty range leaves in it, by backing."""
    frame = summaries.df_zeropages(data)
    shown = frame[(frame.step == "protected") & frame.backing.isin(list(BACKINGS))]
    rows = [
        {
            "backing": BACKINGS[one.backing].short + (", no huge zeropage" if one.huge_zeropage == "off" else ""),
            "design": one.design,
            "range": format_size(one.size_kib * 1024),
            "real memory": _amount(one, "filled_kib"),
            "maps a zeropage": size_of_kib(one.zeropages_kib),
            "by huge entries": size_of_kib(one.huge_kib),
            "page tables": size_of_kib(one.table_growth_kib),
            "a write is": "not measured" if pd.isna(one.reported) else "reported" if one.reported else "lost",
        }
        for one in summaries.records(shown)
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
    for one in summaries.records(frame):
        times = {"prepare": time_with_interval(one, "prepare_ns"), "protect": time_with_interval(one, "protect_ns")}
        found = {"real memory": size_of_kib(one.filled_kib)}
        case = {"design": one.design, "range": format_size(one.size_kib * 1024), "huge zeropage": one.huge_zeropage}
        rows.append(case | times | found)
    return Table(pd.DataFrame(rows or [{"design": "not measured"}]), index=False)


def attempts(published: Dataset) -> Table:
    """Return who tried to forbid zeropages, and what became of it."""
    columns = ["date", "author", "architecture", "what", "outcome", "source"]
    return Table(published.require("attempts", columns)[columns].fillna(""), index=False)
