# SPDX-License-Identifier: MIT
"""Local runs of the published benchmark's protocol."""

from __future__ import annotations

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.summaries.medians import df_medians

_RUNS = ("block", "thp", "mode", "size_kib", "total_ns")


def df_published_runs(data: Dataset) -> pd.DataFrame:
    """Return the local runs of the published protocol: one row per THP setting and mode, median over runs.

    Columns: ``thp``, ``mode``, ``size_kib``, ``total_ns`` with ``_low`` and ``_high``, ``n`` runs. Every run is one
    sample of a fresh process, so none is warm.
    """
    rows = data.rows("published_runs", _RUNS).assign(cold=False)
    return df_medians(rows, ["thp", "mode", "size_kib"], ["total_ns"]).drop(columns="cold")
