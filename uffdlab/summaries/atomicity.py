# SPDX-License-Identifier: MIT
"""Probe *atomicity*: writes lost to racing discards, per million judged, pooled and by child process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate, median_interval, proportion_interval
from uffdlab.summaries.medians import by_child

_POINT = ["backing", "preparation", "interleaving"]
_COUNTED = [
    *("judged", "excluded", "lost", "judged_discarded", "excluded_unreported"),
    *("discards_before", "discards_preparing", "discards_since"),
]
_RATES = [f"{rate}{end}" for rate in ("lost_per_million", "child_per_million") for end in ("", "_low", "_high")]
_MILLION = 1e6


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


def excluded_writes(data: Dataset, **wanted: str) -> dict[str, LostWrites]:
    """Return the writes that raised no event to excluded pages, by when the page's last discard ended."""
    counted = ["excluded", "excluded_unreported", "excluded_during", "excluded_during_unreported"]
    races = data.rows("races", [*wanted, "block", *counted])
    for column, value in wanted.items():
        races = races[(races[column] == value).fillna(False)]
    whole, lost, during, lost_during = (races[name].astype("Float64") for name in counted)
    ended = {
        "while the ioctl ran": races.assign(ended=during, lost=lost_during),
        "after it": races.assign(ended=whole - during, lost=lost - lost_during),
    }
    found = {when: lost_writes(rows, "ended") for when, rows in ended.items()}
    return {when: writes for when, writes in found.items() if writes}


def df_atomicity(data: Dataset) -> pd.DataFrame:
    """Return one row per backing, preparation and interleaving: counts over all trials, and rates per million judged.

    ``lost_per_million`` is the pooled rate with the exact binomial interval, valid for independent pages and the only
    bound when none is lost. ``child_per_million`` is the median rate over child processes with the order-statistic
    interval: losses of one race share its timing, so a child is the unit of repetition.
    """
    races = data.rows("races", [*_POINT, "block", *_COUNTED]).astype(dict.fromkeys(_COUNTED, "Float64"))
    rows = [_point(key, group) for key, group in races.groupby(_POINT)]
    columns = [*_POINT, "trials", "children", *_COUNTED, *_RATES]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(_RATES, "float64"))


def _point(key: Any, group: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(_POINT, key, strict=True)) | {"trials": len(group)}
    row |= {name: int(group[name].sum()) for name in _COUNTED}
    lost = lost_writes(group)
    row["children"] = lost.children.n if lost else 0
    if lost:
        row |= _per_million("lost_per_million", lost.pooled) | _per_million("child_per_million", lost.children)
    return row


def _per_million(name: str, rate: Estimate) -> dict[str, float | None]:
    ends = {"": rate.value, "_low": rate.low, "_high": rate.high}
    return {f"{name}{end}": None if value is None else value * _MILLION for end, value in ends.items()}
