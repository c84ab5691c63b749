# SPDX-License-Identifier: MIT
"""What a tracker costs on a range that was not measured: so much for each page of it, so much for each written one.

A cost of an epoch is ``per_page`` times the pages of the range plus ``per_written`` times those written. Both are
fitted on the medians of what was measured of anonymous pages written at random, each weighted by its own size, and
neither is below 0. The band comes from drawing child processes anew, with a seed: the same data give the same band. A
share at which two methods cost the same does not depend on the range then, since both costs are in proportion to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import CONFIDENCE, Estimate
from uffdlab.summaries import medians
from uffdlab.summaries.trackers import TABLE, samples
from uffdlab.vocabulary.tracking import TRACKERS

MODELLED = ("pause_ns", "epoch_ns")  # the tail of a write does not depend on the range
PAGE_KIB = 4
MOST_MAPPINGS = 65_530  # vm.max_map_count, unless somebody raised it
_DRAWS, _SEED = 400, 20261128
_POINT = ["size_kib", "dirty"]
_LEAST_DETERMINANT = 1e-9  # of points that all have one share, which cannot tell the two parts apart


@dataclass(frozen=True, eq=False)
class TrackerCost:
    """What one method costs, in ns by page of the range and by written page, with draws of both (rows)."""

    method: str
    per_page: float
    per_written: float
    draws: np.ndarray

    def at(self, pages: float, share: float) -> Estimate:
        """Return the cost of an epoch of a range of so many pages, a share of which is written."""
        return _estimate(self._of(self.both, pages, share), self._of(self.draws, pages, share))

    def works(self, pages: float, share: float) -> bool:
        """Whether a process has mappings enough: each run of written pages is one, and each run of others.

        Pages are written at random, so that there are most mappings when half of them are.
        """
        most = min(share, 0.5)
        return self.method != "mprotect" or 2 * pages * most * (1 - most) < MOST_MAPPINGS

    @property
    def both(self) -> np.ndarray:
        """The two parts as an array."""
        return np.array([self.per_page, self.per_written])

    @staticmethod
    def _of(parts: np.ndarray, pages: float, share: float) -> Any:
        return parts @ np.array([pages, pages * share])

    def ratio(self, other: TrackerCost, share: float) -> Estimate | None:
        """Return the other method's cost / this one's at a share; None where this one costs nothing."""
        mine, theirs = (self._of(cost.both, 1, share) for cost in (self, other))
        own, drawn = (self._of(cost.draws, 1, share) for cost in (self, other))
        if not mine > 0 or not (own > 0).all():
            return None
        return _estimate(theirs / mine, drawn / own)


def tracker_costs(data: Dataset, cost: str) -> dict[str, TrackerCost]:
    """Return what each method costs by one of ``MODELLED``; one that was measured at too few points is left out."""
    return dict(_fitted(data, cost))


def break_even(scan: TrackerCost, other: TrackerCost) -> Estimate:
    """Return the share from which on the first costs less: 0 where it does at all, infinite where it does at none."""
    value = _crossing(scan.both, other.both)
    drawn = _crossing(scan.draws, other.draws)
    low, high = np.quantile(drawn, _ends(), method="nearest")
    return Estimate(float(value), min(float(low), float(value)), max(float(high), float(value)), len(drawn))


def df_break_even(data: Dataset, cost: str, method: str = "async_scan") -> pd.DataFrame:
    """Return, for every other method, the written share at which ``method`` costs as much, with its interval.

    Column ``cheaper``: ``from`` that share on ``method`` costs less, or ``up to`` it.
    """
    found = tracker_costs(data, cost)
    rows = []
    for name, other in found.items():
        if method in found and name != method:
            rising = found[method].per_written > other.per_written
            share = break_even(other, found[method]) if rising else break_even(found[method], other)
            rows.append({"method": name, "cheaper": "up to" if rising else "from"} | medians.columns("share", share))
    numbers = ["share", "share_low", "share_high"]
    return pd.DataFrame(rows, columns=["method", "cheaper", *numbers]).astype(dict.fromkeys(numbers, "float64"))


def df_cheapest(data: Dataset, cost: str, size_kib: float, shares: Sequence[float]) -> pd.DataFrame:
    """Return the methods that cost least at each share written of a range, with the next dearer one and their ratio."""
    found = tracker_costs(data, cost)
    pages = size_kib / PAGE_KIB
    rows = []
    for share in shares:
        working = [one for one in found.values() if one.works(pages, share)]
        if len(working) < 2:
            continue
        least, second = sorted(working, key=lambda one: one.at(pages, share).value)[:2]
        row: dict[str, Any] = {"share": share, "method": least.method, "next": second.method}
        row |= medians.columns("cost", least.at(pages, share)) | medians.columns("ratio", least.ratio(second, share))
        rows.append(row)
    numbers = [f"{name}{end}" for name in ("cost", "ratio") for end in ("", "_low", "_high")]
    whole = pd.DataFrame(rows, columns=["share", "method", "next", *numbers])
    return whole.astype(dict.fromkeys(["share", *numbers], "float64"))


@medians.cached_per_dataset
def df_tracker_check(data: Dataset, cost: str) -> pd.DataFrame:
    """Return every measured point beside what is predicted of it from the others.

    Columns: ``method``, ``size_kib``, ``dirty``, ``measured``, ``predicted`` and ``error`` (predicted / measured - 1).
    """
    points = _points(data, cost)
    rows = []
    for place, method in enumerate(points.methods):
        measured = points.medians[:, place]
        for left_out in np.flatnonzero(measured > 0):
            rest = np.arange(len(measured)) != left_out
            parts = fit(points.pages[rest], points.written[rest], measured[rest])
            if parts is not None:
                predicted = float(parts @ np.array([points.pages[left_out], points.written[left_out]]))
                row = {"method": method, "measured": float(measured[left_out]), "predicted": predicted}
                rows.append(row | dict(zip(_POINT, points.keys[left_out], strict=True)))
    columns = ["method", *_POINT, "measured", "predicted"]
    whole = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[1:], "float64"))
    return whole.assign(error=whole.predicted / whole.measured - 1)


def fit(pages: np.ndarray, written: np.ndarray, values: np.ndarray) -> np.ndarray | None:
    """Return the parts, neither below 0, that fit values best in proportion; None where points cannot tell them apart.

    Values that are not above 0 count for nothing.
    """
    return _fit_all(pages, written, values, values[None, :], least=2)


def _fit_all(
    pages: np.ndarray, written: np.ndarray, weighed_by: np.ndarray, values: np.ndarray, least: int
) -> np.ndarray | None:
    """Fit each row of values; one row gives one pair. Weights are the same for all rows."""
    known = np.isfinite(weighed_by) & (weighed_by > 0)
    if known.sum() < least:
        return None
    weight = 1 / weighed_by[known]
    a, b, y = pages[known] * weight, written[known] * weight, values[:, known] * weight
    aa, ab, bb = a @ a, a @ b, b @ b
    ay, by = y @ a, y @ b
    determinant = aa * bb - ab * ab
    if determinant <= _LEAST_DETERMINANT * aa * bb:
        return None
    zero = np.zeros_like(ay)
    inside = np.stack([(bb * ay - ab * by) / determinant, (aa * by - ab * ay) / determinant], axis=1)
    edges = [np.stack([np.maximum(ay / aa, 0), zero], axis=1), np.stack([zero, np.maximum(by / bb, 0)], axis=1)]
    losses = [p**2 * aa + 2 * p * q * ab + q**2 * bb - 2 * p * ay - 2 * q * by for p, q in (edge.T for edge in edges)]
    edge = np.where(np.expand_dims(losses[0] <= losses[1], 1), *edges)
    parts = np.where((inside >= 0).all(axis=1, keepdims=True), inside, edge)
    return np.asarray(parts[0] if len(parts) == 1 else parts)


@dataclass(frozen=True)
class _Points:
    """Measured points: their keys, pages and written pages, and by method the medians and draws of medians."""

    methods: list[str]
    keys: list[tuple[float, float]]
    pages: np.ndarray
    written: np.ndarray
    medians: np.ndarray  # point, method
    draws: np.ndarray  # draw, point, method


@lru_cache(maxsize=16)
def _fitted(data: Dataset, cost: str) -> Mapping[str, TrackerCost]:
    points = _points(data, cost)
    found = {}
    for place, method in enumerate(points.methods):
        measured = points.medians[:, place]
        whole = fit(points.pages, points.written, measured)
        if whole is None:
            continue
        drawn = np.where(np.isfinite(points.draws[:, :, place]), points.draws[:, :, place], measured)
        draws = _fit_all(points.pages, points.written, measured, drawn, least=2)
        if draws is not None:
            found[method] = TrackerCost(method, float(whole[0]), float(whole[1]), draws)
    return found


def _points(data: Dataset, cost: str) -> _Points:
    """Return what was measured of anonymous pages written at random, children drawn anew together for all methods."""
    none = _Points([], [], np.empty(0), np.empty(0), np.empty((0, 0)), np.empty((_DRAWS, 0, 0)))
    if TABLE not in data.tables:
        return none
    rows = medians.warm(samples(data))
    rows = rows[((rows.backing == "anon") & (rows.pattern == "uniform") & (rows.method != "nothing")).fillna(False)]
    ended = rows.assign(gave_up=rows.gave_up.fillna(False)).groupby([*_POINT, "method"]).gave_up.transform("any")
    rows = rows[~ended.astype(bool)]
    by_child = medians.df_children(rows, [*_POINT, "method"], cost)
    if by_child.empty:
        return none
    wide = by_child.pivot(index=[*_POINT, "block"], columns="method", values=cost)
    methods = [name for name in TRACKERS if name in wide.columns]
    dirty_pages = rows.groupby(_POINT).dirty_pages.median()
    random = np.random.default_rng(_SEED)
    keys, values, draws = [], [], []
    for (size_kib, dirty), group in wide[methods].groupby(level=_POINT):
        children = group.to_numpy(dtype="float64")
        chosen = random.integers(len(children), size=(_DRAWS, len(children)))
        keys.append((float(str(size_kib)), float(str(dirty))))
        values.append(_median(children[None])[0])
        draws.append(_median(children[chosen]))
    pages = np.array([size_kib / PAGE_KIB for size_kib, _ in keys])
    written = np.array([float(dirty_pages[key]) for key in keys])
    return _Points(methods, keys, pages, written, np.array(values), np.stack(draws, axis=1))


def _median(children: np.ndarray) -> np.ndarray:
    """Return the medians over the second axis of what is known; NaN where nothing is."""
    unknown = np.isnan(children).all(axis=1)
    filled = np.where(unknown[:, None, :], 0.0, children)
    return np.where(unknown, np.nan, np.nanmedian(filled, axis=1))


def _ends() -> tuple[float, float]:
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2


def _estimate(value: float, drawn: np.ndarray) -> Estimate:
    low, high = np.quantile(drawn, _ends())
    return Estimate(float(value), min(float(low), float(value)), max(float(high), float(value)), len(drawn))


def _crossing(scan: np.ndarray, other: np.ndarray) -> Any:
    """Return the share from which on the first of two pairs of parts costs less, row by row."""
    more, less = scan[..., 0] - other[..., 0], other[..., 1] - scan[..., 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = more / less
    return np.where(less > 0, np.maximum(share, 0), np.where(more < 0, 0.0, np.inf))
