# SPDX-License-Identifier: MIT
"""Probe *atomicity*: writes lost to racing discards, as shares of the discards in between, pooled and by child."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate, median_interval, proportion_interval
from uffdlab.summaries.medians import by_child, columns

_POINT = ["backing", "preparation", "interleaving"]
_COUNTED = [
    *("judged", "excluded", "lost", "judged_discarded", "excluded_unreported"),
    *("discards_before", "discards_preparing", "discards_since"),
]
_SHARES = [f"{share}{end}" for share in ("lost_share", "child_share") for end in ("", "_low", "_high")]


@dataclass(frozen=True)
class LostWrites:
    """Writes that were lost: counts, and shares with their intervals.

    ``judged`` counts what the shares are of: judged writes, or discards in the window.

    ``pooled`` is exact for independent pages. Losses of one race share its timing, so ``children``, the median over
    child processes, decides whether there are losses, and ``pooled`` bounds their share where there is none.
    """

    judged: int
    lost: int
    pooled: Estimate
    children: Estimate


def lost_writes(races: pd.DataFrame, of: str = "judged") -> LostWrites | None:
    """Return the writes lost in rows of the table ``races``, as shares of the column ``of``; None where that is 0."""
    rows = races.dropna(subset=["block", of, "lost"]).astype({of: "Float64", "lost": "Float64"})
    rows = rows[rows[of] > 0]
    judged, lost = int(rows[of].sum()), int(rows.lost.sum())
    if not judged:
        return None
    rates = [float(child.lost.sum() / child[of].sum()) for _, child in by_child(rows)]
    return LostWrites(judged, lost, proportion_interval(lost, judged), median_interval(rates))


DURING = "while the ioctl ran"  # ended the last discard of a page


def excluded_writes(data: Dataset, **wanted: str) -> dict[str, LostWrites]:
    """Return the writes that raised no event to excluded pages, by when the page's last discard ended."""
    counted = ["excluded", "excluded_unreported", "excluded_during", "excluded_during_unreported"]
    races = data.rows("races", [*wanted, "block", *counted])
    for column, value in wanted.items():
        races = races[(races[column] == value).fillna(False)]
    whole, lost, during, lost_during = (races[name].astype("Float64") for name in counted)
    ended = {
        DURING: races.assign(ended=during, lost=lost_during),
        "after it": races.assign(ended=whole - during, lost=lost - lost_during),
    }
    found = {when: lost_writes(rows, "ended") for when, rows in ended.items()}
    return {when: writes for when, writes in found.items() if writes}


def df_atomicity(data: Dataset) -> pd.DataFrame:
    """Return one row per backing, preparation and interleaving: counts over all trials, and shares of writes lost.

    Shares are of ``discards_preparing``, the pages discarded after they were prepared and before they were protected:
    no other write can be lost. ``lost_share`` is pooled with the exact binomial interval, valid for independent pages
    and the only bound when none is lost. ``child_share`` is the median over child processes with the order-statistic
    interval: losses of one race share its timing, so a child is the unit of repetition. Both are missing where no
    discard fell in between; ``children`` counts those in which one did.
    """
    races = data.rows("races", [*_POINT, "block", *_COUNTED]).astype(dict.fromkeys(_COUNTED, "Float64"))
    rows = [_point(key, group) for key, group in races.groupby(_POINT)]
    names = [*_POINT, "trials", "children", *_COUNTED, *_SHARES]
    return pd.DataFrame(rows, columns=names).astype(dict.fromkeys(_SHARES, "float64"))


def _point(key: Any, group: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(_POINT, key, strict=True)) | {"trials": len(group)}
    row |= {name: int(group[name].sum()) for name in _COUNTED}
    lost = lost_writes(group, "discards_preparing")
    row["children"] = lost.children.n if lost else 0
    return row | (columns("lost_share", lost.pooled) | columns("child_share", lost.children) if lost else {})
