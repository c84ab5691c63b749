# SPDX-License-Identifier: MIT
"""What filled memory holds: zeropages, pages and tables, and which states are the same page by page."""

from __future__ import annotations

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.summaries.medians import df_medians, once

_KEYS = ["backing", "design", "huge_zeropage", "step", "size_kib"]
_ZEROPAGES = (
    dict.fromkeys(
        ("block", "size_kib", "prepare_ns", "protect_ns", "zeropages", "huge_pages", "rss_growth_kib"), "Int64"
    )
    | dict.fromkeys(("hugetlb_growth_kib", "table_growth_kib"), "Int64")
    | dict.fromkeys(("backing", "design", "huge_zeropage", "step"), "string")
    | dict.fromkeys(("cold", "reported"), "boolean")
)
_EQUALITY = dict.fromkeys(("pages", "equal_pages"), "Int64") | dict.fromkeys(("backing", "way", "state"), "string")
_RUNS = dict.fromkeys(("block", "size_kib", "total_ns"), "Int64") | dict.fromkeys(("thp", "mode"), "string")
_MEASURES = ["filled_kib", "zeropages_kib", "huge_kib", "table_growth_kib", "prepare_ns", "protect_ns"]


@once
def df_zeropages(data: Dataset) -> pd.DataFrame:
    """Return one row per backing, design, huge zeropage and step: what the range then holds, medians of warm samples.

    ``filled_kib`` is the growth of RSS and huge pages, ``zeropages_kib`` the part of the range that maps a zeropage,
    ``huge_kib`` the part mapped by huge entries; ``reported`` whether a write to a protected page raised an event in
    every sample.
    """
    rows = data.rows("zeropages", _ZEROPAGES).copy()
    rows["filled_kib"] = rows.rss_growth_kib + rows.hugetlb_growth_kib.fillna(0)
    rows["zeropages_kib"] = rows.zeropages * 4
    rows["huge_kib"] = rows.huge_pages * 4
    found = df_medians(rows, _KEYS, _MEASURES)
    return found.merge(rows.groupby(_KEYS, as_index=False).reported.all(), on=_KEYS)


def df_equality(data: Dataset) -> pd.DataFrame:
    """Return one row per backing and way of populating: pages, and pages in the state of markers that were read.

    ``states`` names the states found after it.
    """
    rows = data.rows("equality", _EQUALITY)
    grouped = rows.groupby(["backing", "way"], as_index=False)
    found = grouped.agg(pages=("pages", "sum"), equal_pages=("equal_pages", "sum"))
    said = rows.groupby(["backing", "way"]).state.agg(lambda states: "; ".join(sorted(set(states))))
    return found.merge(said.rename("states").reset_index(), on=["backing", "way"])


def df_published_runs(data: Dataset) -> pd.DataFrame:
    """Return the published protocol as it ran here: one row per THP setting and mode, median over runs.

    Columns: ``thp``, ``mode``, ``size_kib``, ``total_ns`` with ``_low`` and ``_high``, ``n`` runs. Every run is one
    sample of a fresh process, so none is warm.
    """
    rows = data.rows("published_runs", _RUNS).assign(cold=False)
    return df_medians(rows, ["thp", "mode", "size_kib"], ["total_ns"]).drop(columns="cold")
