# SPDX-License-Identifier: MIT
"""How recorded sequences of steps end (probe *sequence*): what becomes of the write that is their last step."""

from __future__ import annotations

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.summaries import medians
from uffdlab.summaries.records import records
from uffdlab.vocabulary.feature_sets import SEQUENCE_SETS

TABLE = "sequences"
_PROTECT, _UNPROTECT, _REMAP = "protect", "unprotect", "remap"
_LOOKED_AT = ("shown before", "seen by a scan")
_KEYS = ["backing", "features", "sequence"]
_READ = [*_KEYS, "block", "number", "step", "result", "errno", "wp_events", "missing_events", "written"]
_READ += ["child_uffd_wp"]


@medians.cached_per_dataset
def df_sequences(data: Dataset) -> pd.DataFrame:
    """Return one row per backing, set of features and sequence that ends with a write: how it ended.

    Columns: ``outcome`` (of ``vocabulary.tracking.OUTCOMES``), ``step`` (the one that was refused, or the last),
    ``errno``, and ``child_protected`` (whether the page of a child was protected, where one was forked).
    """
    rows = data.rows(TABLE, _READ).sort_values(["block", "number"])
    rows = rows[rows.sequence.str.endswith("write")]
    found = []
    for key, group in rows.groupby(_KEYS):
        group = group[group.block == group.block.iloc[0]]
        last, before = group.iloc[-1], group.iloc[-2 if len(group) > 1 else -1]
        known = group.child_uffd_wp.dropna()
        row = dict(zip(_KEYS, key, strict=True)) | {"outcome": _outcome(last, before), "step": last.step}
        if row["outcome"] == "lost" and (_UNPROTECT in set(group.step) or _told_of(group)):
            row["outcome"] = "unprotected"
        if row["outcome"] in _LOOKED_AT and _REMAP in set(group.step):  # WP_ASYNC has no EVENT_REMAP
            row["outcome"] = "moved away"
        row |= {"errno": None if pd.isna(last.errno) else last.errno}
        found.append(row | {"child_protected": bool(known.iloc[-1]) if len(known) else None})
    return pd.DataFrame(found, columns=[*_KEYS, "outcome", "step", "errno", "child_protected"])


def _told_of(group: pd.DataFrame) -> bool:
    """Whether an earlier write since the page was protected last raised an event, which takes the protection off."""
    steps = list(group.step)
    since = group.iloc[len(steps) - steps[::-1].index(_PROTECT) : -1] if _PROTECT in steps else group.iloc[:0]
    return bool(((since.step == "write") & (since.wp_events + since.missing_events > 0)).any())


@medians.cached_per_dataset
def df_scanned(data: Dataset) -> pd.DataFrame:
    """Return one row per backing, set of features and sequence: ``entry`` and ``categories`` after its last step.

    A sequence is one that was recorded, or its beginning. ``entry`` is a word of ``vocabulary.steps.ENTRY_WORDS``,
    ``categories`` those of PAGEMAP_SCAN, joined by +. Empty where categories were not recorded.
    """
    if TABLE in data.tables and "categories" not in data.tables[TABLE].columns:
        return pd.DataFrame(columns=[*_KEYS, "entry", "categories"])
    rows = data.rows(TABLE, [*_KEYS, "block", "number", "entry", "categories"]).dropna(subset=["categories"])
    begun = ["; ".join(row.sequence.split("; ")[: int(row.number)]) for row in records(rows)]
    rows = rows.assign(sequence=pd.Series(begun, index=rows.index, dtype="object"))
    return rows.sort_values("block").drop_duplicates(_KEYS)[[*_KEYS, "entry", "categories"]].reset_index(drop=True)


def _outcome(last: pd.Series, before: pd.Series) -> str:
    if last.result == "refused":
        return "refused"
    if last.result == "hung":
        return "no return"
    if last.result != "done":
        return "signal"
    if last.wp_events > 0:
        return "reported"
    if last.missing_events > 0:
        return "missing event"
    if "WP_ASYNC" not in SEQUENCE_SETS[last.features].features:
        return "lost"
    # An entry that is not protected counts as written, before anybody writes to it.
    was = not pd.isna(before.written) and bool(before.written)
    return "shown before" if was else "seen by a scan"
