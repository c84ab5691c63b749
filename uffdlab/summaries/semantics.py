# SPDX-License-Identifier: MIT
"""Page states of the probe *semantics* (pagemap, PAGEMAP_SCAN), and whether a write to the page was reported."""

from __future__ import annotations

from typing import Any

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.summaries.records import records
from uffdlab.vocabulary.backings import BACKINGS

# A write is lost when it goes unnoticed after the range was protected, with no discard in between.
_MOMENTS = ("before", "protected", "read", "written", "discarded", "unprotected")
_CASE = ("backing", "features", "content", "moment")
_WRITTEN = ("write_reported", "write_missing_event", "write_seen_by_scan")
_BITS = ("present", "swap", "uffd_wp")
_STILL_PROTECTED = ("protected", "read")
_ANSWERS = {
    (True, False): "reported",
    (True, True): "reported",
    (False, True): "missing event",
}


def df_reported(data: Dataset, content: str = "empty", moment: str = "protected") -> pd.DataFrame:
    """Return, per backing (rows) and feature set (columns), the outcome of a write at that moment.

    ``reported``: a write-protect event. ``missing event``: a missing event. ``seen by scan``: no event, but
    PAGEMAP_SCAN shows the page as written. ``lost``: none of these, although the page was protected; ``not reported``:
    none, and it was not protected. ``not measured``: no row. Where child processes differ, all that they saw: ``lost or
    reported``.
    """
    states = data.require("states", [*_CASE, *_WRITTEN])
    states = states[((states.content == content) & (states.moment == moment)).fillna(False)]
    answers = states.assign(answer=[_answer(row) for row in records(states)])
    table = answers.pivot_table(index="backing", columns="features", values="answer", aggfunc=_all_seen)
    columns = ["none", "wp_hugetlbfs_shmem", "wp_unpopulated", "wp_async", "missing_wp"]
    whole = table.reindex(index=list(BACKINGS), columns=columns).astype("object")
    return whole.fillna("not measured").rename_axis(index=None, columns=None)


def _all_seen(answers: pd.Series) -> str:
    return " or ".join(sorted(set(answers)))


def _answer(row: Any) -> str:
    if pd.isna(row.write_reported) or pd.isna(row.write_missing_event):
        return "not measured"
    known = _ANSWERS.get((bool(row.write_reported), bool(row.write_missing_event)))
    if known:
        return known
    if pd.isna(row.moment) or row.moment not in _STILL_PROTECTED:
        return "not reported"  # not protected: PAGEMAP_SCAN shows only that the page is present now
    return "seen by scan" if not pd.isna(row.write_seen_by_scan) and row.write_seen_by_scan else "lost"


def df_states(data: Dataset, backing: str, features: str, content: str = "empty") -> pd.DataFrame:
    """Return the pagemap bits and PAGEMAP_SCAN categories of one page at each moment, and the outcome of a write.

    One row per moment, or more where child processes differ.
    """
    states = data.require("states", [*_CASE, *_WRITTEN, *_BITS, "categories"])
    here = (states.backing == backing) & (states.features == features) & (states.content == content)
    rows = states[here.fillna(False) & states.moment.notna()]
    order = {moment: place for place, moment in enumerate(_MOMENTS)}
    rows = rows.sort_values("moment", key=lambda moments: moments.map(order), kind="stable")
    frame = pd.DataFrame({"moment": rows.moment, "pagemap": [_pagemap(row) for row in records(rows)]})
    frame["PAGEMAP_SCAN"] = rows.categories
    frame["a write is"] = [_answer(row) for row in records(rows)]
    return frame.drop_duplicates().set_index("moment").rename_axis(index=None)


def _pagemap(row: Any) -> str:
    if any(pd.isna(getattr(row, name)) for name in _BITS):
        return "not measured"
    bits = [name for name in _BITS if getattr(row, name)]
    return ", ".join(bits) or "0"
