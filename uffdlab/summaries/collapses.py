# SPDX-License-Identifier: MIT
"""Huge pages of memory that was written under markers (probe *collapse*): who makes them, and how soon."""

from __future__ import annotations

from typing import Any

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.summaries.medians import columns, estimate
from uffdlab.vocabulary.repairs import REPAIRS

_READ = ["block", "repair", "size_kib", "collapse_errno", "repair_ns", "huge_after_pages"]
_PAGE_KIB = 4


def df_collapses(data: Dataset) -> pd.DataFrame:
    """Return one row per way of repair: ``ranges``, of which MADV_COLLAPSE ``refused`` so many while markers stood, and
    ``whole``, which were in huge pages in the end.

    ``repair_ns`` with ``_low`` and ``_high``: from the end of the markers until then, the median of children; missing
    where no range was.
    """
    rows = data.rows("collapses", _READ)
    found = []
    for repair in REPAIRS:
        here = rows[(rows.repair == repair).fillna(False)]
        whole = here[(here.huge_after_pages * _PAGE_KIB >= here.size_kib).fillna(False)]
        counts: dict[str, Any] = {"repair": repair, "ranges": len(here), "whole": len(whole)}
        counts["refused"] = int((here.collapse_errno > 0).sum())
        found += [counts | columns("repair_ns", estimate(whole, "repair_ns"))] if len(here) else []
    times = ["repair_ns", "repair_ns_low", "repair_ns_high"]
    frame = pd.DataFrame(found, columns=["repair", "ranges", "refused", "whole", *times])
    return frame.astype(dict.fromkeys(times, "float64"))
