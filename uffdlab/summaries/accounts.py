# SPDX-License-Identifier: MIT
"""What filled memory holds: zeropages, pages and tables, and which states are the same page by page."""

from __future__ import annotations

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import added
from uffdlab.summaries.medians import df_medians, once

_KEYS = ["backing", "design", "huge_zeropage", "step", "size_kib"]
_COUNTED = ("zeropages", "huge_pages", "rss_growth_kib", "hugetlb_growth_kib", "table_growth_kib")
_ZEROPAGES = ("block", "cold", *_KEYS, "prepare_ns", "protect_ns", *_COUNTED, "reported")
_EQUALITY = ("backing", "way", "state", "pages", "equal_pages")
_RUNS = ("block", "thp", "mode", "size_kib", "total_ns")
_MEASURES = ["filled_kib", "zeropages_kib", "huge_kib", "table_growth_kib", "prepare_ns", "protect_ns"]


@once
def df_zeropages(data: Dataset) -> pd.DataFrame:
    """Return one row per backing, design, huge zeropage and step: what the range then holds, medians of warm samples.

    ``filled_kib`` is the growth of RSS and huge pages, ``zeropages_kib`` the part of the range that maps a zeropage,
    ``huge_kib`` the part mapped by huge entries; ``reported`` whether a write to a protected page raised an event in
    every sample: missing where that is not known of one.
    """
    rows = data.rows("zeropages", _ZEROPAGES).copy()
    rows["filled_kib"] = added(rows.rss_growth_kib, rows.hugetlb_growth_kib.fillna(0))
    rows["zeropages_kib"] = rows.zeropages.astype("Float64") * 4
    rows["huge_kib"] = rows.huge_pages.astype("Float64") * 4
    found = df_medians(rows, _KEYS, _MEASURES)
    reported = rows.groupby(_KEYS).reported.all(skipna=False)
    known = [reported[key] for key in found[_KEYS].itertuples(index=False, name=None)]
    return found.assign(reported=pd.array(known, dtype="boolean"))


def df_equality(data: Dataset) -> pd.DataFrame:
    """Return one row per backing and way of populating: pages, and pages in the state of markers that were read.

    ``states`` names the states found after it.
    """
    rows = data.rows("equality", _EQUALITY).dropna(subset=_EQUALITY)
    rows = rows.astype({"pages": "Float64", "equal_pages": "Float64"})
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
