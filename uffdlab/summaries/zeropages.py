# SPDX-License-Identifier: MIT
"""Memory filled, zeropages mapped and times (probe *zeropages*), by backing, design and huge zeropage setting."""

from __future__ import annotations

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.summaries.medians import cached_per_dataset, df_medians, with_filled

_KEYS = ["backing", "design", "huge_zeropage", "step", "size_kib"]
_COUNTED = ("zeropages", "huge_pages", "rss_growth_kib", "hugetlb_growth_kib", "table_growth_kib")
_ZEROPAGES = ("block", "cold", *_KEYS, "prepare_ns", "protect_ns", *_COUNTED, "reported")
_MEASURES = ["filled_kib", "zeropages_kib", "huge_kib", "table_growth_kib", "prepare_ns", "protect_ns"]


@cached_per_dataset
def df_zeropages(data: Dataset) -> pd.DataFrame:
    """Return one row per backing, design, huge zeropage and step: contents of the range, medians of warm samples.

    ``filled_kib`` is the growth of RSS and huge pages, ``zeropages_kib`` the part of the range that maps a zeropage,
    ``huge_kib`` the part mapped by huge entries; ``reported`` whether a write to a protected page raised an event in
    every sample: missing where one is unknown.
    """
    rows = with_filled(data.rows("zeropages", _ZEROPAGES))
    rows["zeropages_kib"] = rows.zeropages.astype("Float64") * 4
    rows["huge_kib"] = rows.huge_pages.astype("Float64") * 4
    medians = df_medians(rows, _KEYS, _MEASURES)
    reported = rows.groupby(_KEYS).reported.all(skipna=False)
    known = [reported[key] for key in medians[_KEYS].itertuples(index=False, name=None)]
    return medians.assign(reported=pd.array(known, dtype="boolean"))
