# SPDX-License-Identifier: MIT
"""Time to un-protect memory by pieces (probe *resolve*), per ioctl and per 4 KiB."""

from __future__ import annotations

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import column_ratio
from uffdlab.summaries.medians import df_medians

_KEYS = ["state", "piece_kib", "stride_kib", "pass"]


def df_resolves(data: Dataset) -> pd.DataFrame:
    """Return ns per ioctl and per 4 KiB un-protected, by state, piece and stride, first and second pass."""
    rows = data.rows("resolves", ["block", "cold", *_KEYS, "calls", "resolve_ns"]).copy()
    pages = rows.calls.astype("Float64") * rows.piece_kib.astype("Float64") / 4
    rows["ns_per_call"], rows["ns_per_page"] = (column_ratio(rows.resolve_ns, of) for of in (rows.calls, pages))
    return df_medians(rows, _KEYS, ["ns_per_call", "ns_per_page"])
