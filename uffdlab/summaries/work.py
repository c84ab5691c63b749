# SPDX-License-Identifier: MIT
"""Least work of a first touch (faults, zeroing, page-table writes) from first principles, and what was counted.

For x86-64 anonymous memory without huge pages, one touch per 2 MiB: faults taken, 4 KiB pages zeroed (the page itself,
and a PTE table where there is none), entries written, and whether a valid translation is replaced, which needs a TLB
shootdown. Kernel functions: do_anonymous_page(), __pte_alloc(), wp_page_copy() (which clears instead of copying the
zeropage), pte_marker_handle_uffd_wp().
"""

from __future__ import annotations

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import column_ratio, column_sum
from uffdlab.summaries.faults import per_touch
from uffdlab.summaries.medians import df_medians

# preparation, delivery, touch → faults, pages zeroed, entries written, a translation is replaced
LEAST_WORK: dict[tuple[str, str, str], tuple[int, int, int, bool]] = {
    ("fresh", "plain", "first read"): (1, 1, 2, False),
    ("tables", "plain", "first read"): (1, 0, 1, False),
    ("zeropage", "plain", "first read"): (0, 0, 0, False),
    ("markers", "async", "first read"): (1, 0, 1, False),
    ("fresh", "plain", "first write"): (1, 2, 2, False),
    ("tables", "plain", "first write"): (1, 1, 1, False),
    ("zeropage", "plain", "first write"): (1, 1, 1, True),
    ("markers", "async", "first write"): (1, 1, 1, False),
}
_KEYS = ["preparation", "delivery", "touch"]


def df_work(data: Dataset, stride_kib: int = 2048) -> pd.DataFrame:
    """Return one row per preparation and first touch: the least work, and medians of the counts per touch.

    Columns: ``least_faults``, ``least_zeroed_kib``, ``entries``, ``replaces``, then ``faults``, ``zeroed_kib`` (growth
    of RSS and page tables) and ``ns``. Single thread, anonymous memory.
    """
    rows = per_touch(data)
    here = (rows.backing == "anon") & (rows.threads == 1) & (rows.stride_kib == stride_kib)
    rows = rows[here.fillna(False)].copy()
    rows["grown_kib"] = column_ratio(column_sum(rows.rss_growth_kib, rows.table_growth_kib), rows.touches)
    counted = df_medians(rows, _KEYS, ["faults_per_touch", "grown_kib", "ns_per_touch"])
    reasoned = [
        dict(zip(_KEYS, key, strict=True))
        | {"least_faults": faults, "least_zeroed_kib": 4 * pages, "entries": entries, "replaces": replaces}
        for key, (faults, pages, entries, replaces) in LEAST_WORK.items()
    ]
    return pd.DataFrame(reasoned).merge(counted, on=_KEYS, how="left")
