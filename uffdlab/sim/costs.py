# SPDX-License-Identifier: MIT
"""Vectors of costs: what an event takes, how sure that is, and how far predictions have lain from measurements.

They are a dataset like any other, made by :func:`uffdlab.sim.calibrate`. Tables: ``costs`` (one row per event),
``draws`` (other vectors that the data allows), ``checks`` (times predicted and measured), ``ratios`` (of two of
them), ``counts`` (ledgers beside what the kernel was seen to do) and ``fits``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, isfinite, isnan
from pathlib import Path

import pandas as pd

from uffdlab import datasets
from uffdlab.datasets import Dataset
from uffdlab.errors import NotMeasuredError, UffdlabError
from uffdlab.sim.core import core
from uffdlab.sim.ledger import Ledger, events, pack
from uffdlab.stats import Estimate, column_ratio
from uffdlab.units import format_share

PREFIX = "costs-"
_DEAREST = 1e15  # more than a week in ns: no event costs that much
_FARTHEST = 1e6  # times: predictions that are further off predict nothing, and widen an interval to nothing
_AROUND = {"tables_kib": 4, "faults": 1}
COLUMNS = {
    "costs": ("event", "unit", "warm", "cold", "status"),
    "draws": ("draw", "event", "warm"),
    "checks": ("phase", "part", "measured_ns", "predicted_ns", "processes"),
    "counts": ("phase", "what", "counted", "predicted"),
    "ratios": ("top", "bottom", "measured", "measured_low", "measured_high", "predicted", "low", "high"),
}


@dataclass(frozen=True)
class Costs:
    """What each event costs, in one unit; ``draws`` are other vectors that the data allows.

    ``p95_error`` and ``median_error`` say how far predictions lay from measurements of configurations that no cost was
    fitted on: the larger of the two over the smaller, less 1. The first widens every interval. ``fitted_p95_error`` is
    the same of what was fitted. ``cold`` is the vector of the first use in a process, where there is one.
    """

    id: str
    unit: str
    vector: dict[str, float]
    draws: tuple[dict[str, float], ...] = field(default=(), repr=False)
    status: dict[str, str] = field(default_factory=dict, repr=False)
    median_error: float = 0.0
    p95_error: float = 0.0
    fitted_p95_error: float = 0.0
    origin: str = ""
    cold: dict[str, float] = field(default_factory=dict, repr=False)
    checked: bool = True

    def __post_init__(self) -> None:
        """Refuse a vector that lacks an event, or has a cost below nothing."""
        for vector in (self.vector, *self.draws, *([self.cold] if self.cold else [])):
            lacking = [name for name in events() if name not in vector]
            if lacking:
                raise UffdlabError(f"costs {self.id!r} lack {', '.join(lacking)}: calibrate them again")
            wrong = [name for name in events() if not 0 <= vector[name] <= _DEAREST]
            if wrong:
                raise UffdlabError(f"costs {self.id!r}: {wrong[0]} costs {vector[wrong[0]]}, which is no cost")

    def price(self, ledger: Mapping[str, float]) -> Estimate:
        """Return what a ledger costs, with the interval of the draws, widened by the error of unseen predictions.

        There is no interval where that error is not known.
        """
        return self._found("ul_estimate", ledger)[1]

    def ratio(self, top: Mapping[str, float], bottom: Mapping[str, float]) -> Estimate:
        """Return the ratio of two prices: in each draw both have the same costs, and what they share cancels.

        So does the error of predicting it: only what one ledger has beyond the other is off on its own. Raises
        NotMeasuredError where the second is priced at nothing.
        """
        refused, found = self._found("ul_ratio", top, bottom)
        if refused:
            raise NotMeasuredError(f"costs {self.id!r} price at nothing what a ratio divides by: it has no value")
        return found

    def apart(self, top: Mapping[str, float], bottom: Mapping[str, float]) -> float:
        """Return by how much the logarithm of a ratio is off where each price is off by 1, to first order.

        What is shared, what only the top has and what only the bottom has are each off independently. From 0 (the same
        ledger) to the square root of 2 (nothing is shared).
        """
        at = core()
        with at.lent(pack(top)) as over, at.lent(pack(bottom)) as under, self.lent() as (vectors, *_):
            return float(at.call("ul_apart", over, under, vectors))

    @contextmanager
    def lent(self) -> Iterator[tuple[int, int, float, int]]:
        """Return a context in which the core has what it computes intervals with: the address of the vectors, how many
        of them are draws, the error of unseen predictions, and room for numbers.
        """
        error = self.p95_error if isfinite(self.p95_error) else -1.0
        with core().lent(self._packed) as vectors, core().lent(bytes(16 * (1 + len(self.draws)))) as room:
            yield vectors, len(self.draws), error, room

    def estimate(self, value: float, low: float, high: float) -> Estimate:
        """Return a number as the core computed it: without an interval where its ends are none."""
        return Estimate(value, None, None, 0) if isnan(low) else Estimate(value, low, high, len(self.draws))

    def _found(self, function: str, *ledgers: Mapping[str, float]) -> tuple[int | None, Estimate]:
        at = core()
        with ExitStack() as held:
            counted = [held.enter_context(at.lent(pack(one))) for one in ledgers]
            given, answer = held.enter_context(self.lent()), held.enter_context(at.lent(bytes(24)))
            refused = at.call(function, *counted, *given, answer)
            return refused, self.estimate(*struct.unpack("<3d", at.read(answer, 24)))

    @cached_property
    def _packed(self) -> bytes:
        return b"".join(map(pack, (self.vector, *self.draws)))

    def dearest(self, ledger: Ledger, most: int = 8) -> list[tuple[str, float, float]]:
        """Return the events that a ledger's price mainly consists of, with their counts and prices."""
        parts = [(name, ledger[name], ledger[name] * self.vector[name]) for name in events()]
        return sorted((one for one in parts if one[2]), key=lambda one: -one[2])[:most]

    def unpriced(self, ledger: Ledger) -> list[str]:
        """Return the events of a ledger that take time and have no cost, since the data holds none of them."""
        return [name for name in events() if ledger[name] and self.status.get(name) == "not in the data"]

    def as_cold(self) -> Costs:
        """Return the costs of the first use in a process, of which there are no draws and so no intervals."""
        return replace(self, vector=self.cold, draws=(), checked=False)

    def in_unit(self, unit: str) -> Costs:
        """Return the costs. Raises UffdlabError where they are in another unit."""
        if self.unit != unit:
            raise UffdlabError(f"costs {self.id!r} are in {self.unit}, not in {unit}: choose costs in {unit}")
        return self

    def words(self) -> str:
        """Return the line that stands under every prediction."""
        if not self.checked:
            return f"priced by {self.id}, first use in a process: predictions with these costs were not tried"
        if not isfinite(self.p95_error):
            return f"priced by {self.id}; how far off predictions with these costs are is not known"
        fitted = format_share(self.fitted_p95_error) if isfinite(self.fitted_p95_error) else "not known"
        return (
            f"priced by {self.id}; on configurations it was not fitted on, predictions were off by "
            f"{format_share(self.median_error)} (median) and {format_share(self.p95_error)} (95th percentile; fitted "
            f"ones {fitted})"
        )


def load_costs(wanted: Path | str | None = None) -> Costs:
    """Return the costs that a dataset holds: a path, an id, the beginning of one; or the committed ones."""
    return costs_of(datasets.load(datasets.locate(PREFIX if wanted is None else wanted)))


def costs_of(data: Dataset) -> Costs:
    """Return the costs of a loaded dataset. Raises UffdlabError where it holds none, or they are not of one unit."""
    rows = data.require("costs", COLUMNS["costs"]).dropna(subset=["event", "unit", "status"])
    units = sorted(set(rows.unit))
    if len(units) != 1:
        raise UffdlabError(f"costs {data.id!r} are in {' and '.join(units) or 'no unit'}: one vector has one unit")
    vector = {str(event): float(cost) for event, cost in zip(rows.event, rows.warm, strict=True) if not pd.isna(cost)}
    status = dict(zip(rows.event, rows.status, strict=True))
    fixed = {name: cost for name, cost in vector.items() if status[name] != "fitted"}
    drawn = data.rows("draws", COLUMNS["draws"]).dropna(subset=COLUMNS["draws"]).groupby("draw")
    draws = [fixed | dict(zip(group.event, map(float, group.warm), strict=True)) for _, group in drawn]
    like = {name: what.removeprefix("as ") for name, what in status.items() if what.startswith("as ")}
    if not set(like.values()) <= vector.keys():
        raise UffdlabError(f"costs {data.id!r} are of another version of the simulator: calibrate them again")
    draws = [draw | {name: draw[other] for name, other in like.items() if other in draw} for draw in draws]
    checks = df_checks(data)
    unseen, fitted = (checks[checks.part == part].factor - 1 for part in ("unseen", "fitted"))
    cold = {str(event): float(cost) for event, cost in zip(rows.event, rows.cold, strict=True) if not pd.isna(cost)}
    errors = (_within(unseen, 0.5), _within(unseen, 0.95), _within(fitted, 0.95))
    return Costs(data.id, units[0], vector, tuple(draws), status, *errors, data.origin(), cold)


def _within(errors: pd.Series, share: float) -> float:
    """Return within which error such a share of predictions stayed; infinite where that is not known or beyond use."""
    known = errors.dropna()
    within = float(known.quantile(share)) if len(known) else inf
    return within if within <= _FARTHEST else inf


def df_checks(data: Dataset) -> pd.DataFrame:
    """Return times predicted and measured: one row per phase, with ``ratio`` (predicted / measured) and ``factor``, the
    larger of the two over the smaller.
    """
    rows = data.rows("checks", COLUMNS["checks"]).copy()
    return with_factors(rows)


def with_factors(rows: pd.DataFrame) -> pd.DataFrame:
    """Return times with ``ratio`` and ``factor`` (see :func:`df_checks`), missing where a time is none."""
    ratio = column_ratio(rows.predicted_ns, rows.measured_ns).astype("float64")
    known = ratio.where(ratio > 0)
    return rows.assign(ratio=ratio, factor=known.where(known >= 1, 1 / known))


def df_ratios(data: Dataset) -> pd.DataFrame:
    """Return ratios of two times, predicted and measured.

    ``inside``: the predicted interval holds what was measured; ``meet``: it and the measured interval have something in
    common (an interval that is not known meets nothing).
    """
    rows = data.rows("ratios", COLUMNS["ratios"]).copy()
    rows["inside"] = rows.measured.between(rows.low, rows.high)
    rows["meet"] = (rows.measured_low <= rows.high) & (rows.measured_high >= rows.low)
    return rows


def df_counts(data: Dataset) -> pd.DataFrame:
    """Return ledgers beside what the kernel was seen to do, with ``equal``: whether they are the same.

    ``explained``: they are, but for what the memory around a range decides and not the design: one table at an end of
    it, which neighbours have already or which a range that begins within a table needs besides; and the one page that
    a handler copies missing pages from, which it touches the first time.
    """
    rows = data.rows("counts", COLUMNS["counts"]).copy()
    rows["equal"] = rows.counted == rows.predicted
    rows["explained"] = (rows.counted - rows.predicted).abs() <= rows.what.map(_AROUND).fillna(0)
    return rows
