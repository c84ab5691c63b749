# SPDX-License-Identifier: MIT
"""Event costs with intervals, and the errors of predictions made with them.

Costs are a dataset, made by :func:`uffdlab.sim.calibrate.calibrate`. Tables: ``costs`` (one row per event),
``draws`` (bootstrap vectors), ``checks`` (times predicted and measured), ``ratios`` (of two of them), ``counts``
(events counted by simulator and kernel) and ``fits``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, isfinite, isnan
from pathlib import Path

import numpy as np
import pandas as pd

from uffdlab import datasets
from uffdlab.datasets import Dataset
from uffdlab.errors import NotMeasuredError, UffdlabError
from uffdlab.sim.core import core
from uffdlab.sim.ledger import Ledger, events, pack
from uffdlab.stats import Estimate, column_ratio
from uffdlab.units import format_share

PREFIX = "costs-"
_DEAREST = 1e15  # ns: more than a week
_FARTHEST = 1e6  # a larger error would make every interval meaningless
_AROUND = {"tables_kib": 4, "faults": 1}
ELSEWHERE = "elsewhere"  # a part of the checks: a campaign that took no part in the fit
COLUMNS = {
    "costs": ("event", "unit", "warm", "cold", "status"),
    "draws": ("draw", "event", "warm"),
    "checks": ("phase", "part", "measured_ns", "predicted_ns", "processes"),
    "counts": ("phase", "what", "counted", "predicted"),
    "ratios": ("top", "bottom", "measured", "measured_low", "measured_high", "predicted", "low", "high"),
}


@dataclass(frozen=True)
class Costs:
    """The cost of each event, in one unit; ``draws`` are bootstrap vectors.

    ``p95_error`` and ``median_error`` say how far predictions lay from measurements that no cost was fitted on, those
    of a campaign that took no part in the fit where there was one (``elsewhere``): the larger of the two over the
    smaller, less 1. The first widens every interval of a price. ``ratio_p95_error`` widens those of ratios: the error
    of each price from which 95 % of the ratios measured there lie within. ``fitted_p95_error`` is the first of what was
    fitted. ``trial_errors`` are the median and the 95th percentile on a campaign that took part in nothing, where there
    is one. ``cold`` is the vector of the first use in a process, where there is one.
    """

    id: str
    unit: str
    vector: dict[str, float]
    draws: tuple[dict[str, float], ...] = field(default=(), repr=False)
    status: dict[str, str] = field(default_factory=dict, repr=False)
    median_error: float = 0.0
    p95_error: float = 0.0
    fitted_p95_error: float = 0.0
    ratio_p95_error: float | None = None
    elsewhere: bool = False
    trial_errors: tuple[float, float] | None = None
    origin: str = ""
    cold: dict[str, float] = field(default_factory=dict, repr=False)
    checked: bool = True

    def __post_init__(self) -> None:
        """Raise UffdlabError on a vector that lacks an event, or holds a number that is no cost."""
        for vector in (self.vector, *self.draws, *([self.cold] if self.cold else [])):
            lacking = [name for name in events() if name not in vector]
            if lacking:
                raise UffdlabError(f"costs {self.id!r} lack {', '.join(lacking)}: calibrate them again")
            for name in events():
                if not 0 <= (cost := vector[name]) <= _DEAREST:
                    expected = f"expected a number from 0 to {_DEAREST:g}"
                    raise UffdlabError(f"costs {self.id!r}: cost of event {name!r} is {cost}: {expected}")

    def price(self, ledger: Mapping[str, float]) -> Estimate:
        """Return the price of a ledger, with the interval of the draws, widened by the error of unseen predictions.

        Without that error there is no interval.
        """
        return self._found("ul_estimate", ledger)[1]

    def ratio(self, top: Mapping[str, float], bottom: Mapping[str, float]) -> Estimate:
        """Return the ratio of two prices: events that both ledgers share cancel, and so does the error of pricing them.

        Raises NotMeasuredError where the price of ``bottom`` is 0.
        """
        refused, found = self._found("ul_ratio", top, bottom)
        if refused:
            raise NotMeasuredError(f"costs {self.id!r}: the ratio has no value, its denominator is priced at 0")
        return found

    def apart(self, top: Mapping[str, float], bottom: Mapping[str, float]) -> float:
        """Return the error of a ratio's logarithm per unit error of each price, to first order.

        Shared events, those of ``top`` alone and those of ``bottom`` alone have independent errors. From 0 (equal
        ledgers) to the square root of 2 (no shared event).
        """
        at = core()
        with at.lent(pack(top)) as over, at.lent(pack(bottom)) as under, self.lent() as (vectors, *_):
            return float(at.call("ul_apart", over, under, vectors))

    @property
    def error_of_ratios(self) -> float:
        """The error that widens ratios: that of prices where ratios were not tried."""
        return self.p95_error if self.ratio_p95_error is None else self.ratio_p95_error

    @contextmanager
    def lent(self, *, ratio: bool = False) -> Iterator[tuple[int, int, float, int]]:
        """Yield the core's arguments for intervals: address of the vectors, number of draws, error of predicted prices
        or of the prices in a ratio (-1: not known), and address of scratch memory.
        """
        error = self.error_of_ratios if ratio else self.p95_error
        error = error if isfinite(error) else -1.0
        with core().lent(self._packed) as vectors, core().lent(bytes(16 * (1 + len(self.draws)))) as room:
            yield vectors, len(self.draws), error, room

    def estimate(self, value: float, low: float, high: float) -> Estimate:
        """Return an estimate of the core's; ends that are NaN mean no interval."""
        return Estimate(value, None, None, 0) if isnan(low) else Estimate(value, low, high, len(self.draws))

    def _found(self, function: str, *ledgers: Mapping[str, float]) -> tuple[int | None, Estimate]:
        at = core()
        with ExitStack() as held:
            counted = [held.enter_context(at.lent(pack(one))) for one in ledgers]
            given = held.enter_context(self.lent(ratio=len(ledgers) > 1))
            answer = held.enter_context(at.lent(bytes(24)))
            refused = at.call(function, *counted, *given, answer)
            return refused, self.estimate(*struct.unpack("<3d", at.read(answer, 24)))

    @cached_property
    def _packed(self) -> bytes:
        return b"".join(map(pack, (self.vector, *self.draws)))

    def dearest(self, ledger: Ledger, most: int = 8) -> list[tuple[str, float, float]]:
        """Return the events with the largest share in a ledger's price, with counts and prices."""
        parts = [(name, ledger[name], ledger[name] * self.vector[name]) for name in events()]
        return sorted((one for one in parts if one[2]), key=lambda one: -one[2])[:most]

    def unpriced(self, ledger: Ledger) -> list[str]:
        """Return the events of a ledger that have no cost because the campaign counted none of them."""
        return [name for name in events() if ledger[name] and self.status.get(name) == "not in the data"]

    def as_cold(self) -> Costs:
        """Return the costs of the first use in a process, without draws and so without intervals."""
        return replace(self, vector=self.cold, draws=(), checked=False)

    def in_unit(self, unit: str) -> Costs:
        """Return the costs, or raise UffdlabError if they are in another unit."""
        if self.unit != unit:
            raise UffdlabError(f"costs {self.id!r} are in {self.unit}, not in {unit}: choose costs in {unit}")
        return self

    def words(self) -> str:
        """Return a line that names the costs and the error of predictions with them."""
        if not self.checked:
            return f"priced by {self.id}, first use in a process: predictions with these costs were not tried"
        if not isfinite(self.p95_error):
            return f"priced by {self.id}; how far off predictions with these costs are is not known"
        if self.trial_errors is not None:
            median, p95 = map(format_share, self.trial_errors)
            return (
                f"priced by {self.id}; on a campaign that took no part in fitting or in widening the intervals, "
                f"predictions were off by {median} (median) and {p95} (95th percentile)"
            )
        where = "a campaign that took no part in the fit" if self.elsewhere else "configurations it was not fitted on"
        fitted = format_share(self.fitted_p95_error) if isfinite(self.fitted_p95_error) else "not known"
        return (
            f"priced by {self.id}; on {where}, predictions were off by "
            f"{format_share(self.median_error)} (median) and {format_share(self.p95_error)} (95th percentile; fitted "
            f"ones {fitted})"
        )


def load_costs(wanted: Path | str | None = None) -> Costs:
    """Return the costs of a dataset, given by path, id or the beginning of an id; by default the committed ones."""
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
    checks, basis = df_checks(data), basis_of(data)
    unseen, fitted = (checks[checks.part == part].factor - 1 for part in (basis, "fitted"))
    cold = {str(event): float(cost) for event, cost in zip(rows.event, rows.cold, strict=True) if not pd.isna(cost)}
    return Costs(
        data.id,
        units[0],
        vector,
        tuple(draws),
        status,
        median_error=_within(unseen, 0.5),
        p95_error=_within(unseen, 0.95),
        fitted_p95_error=_within(fitted, 0.95),
        ratio_p95_error=error_of_ratios(data.rows("ratios", COLUMNS["ratios"]), basis),
        elsewhere=basis == ELSEWHERE,
        trial_errors=_errors(checks[checks.part == "trial"].factor - 1),
        origin=data.origin(),
        cold=cold,
    )


def _errors(errors: pd.Series) -> tuple[float, float] | None:
    """Return the median and the 95th percentile of errors; None without any."""
    known = errors.dropna()
    return (float(known.quantile(0.5)), float(known.quantile(0.95))) if len(known) else None


def _within(errors: pd.Series, share: float) -> float:
    """Return the error that this share of predictions stayed within; infinite if not known or beyond use."""
    known = errors.dropna()
    within = float(known.quantile(share)) if len(known) else inf
    return within if within <= _FARTHEST else inf


def basis_of(data: Dataset) -> str:
    """Return the part of the checks that widens intervals: another campaign, or else configurations not fitted on."""
    return ELSEWHERE if (data.rows("checks", ["part"]).part == ELSEWHERE).fillna(False).any() else "unseen"


def error_of_ratios(rows: pd.DataFrame, basis: str) -> float | None:
    """Return the error of each price from which 95 % of the measured ratios lie within the predicted interval.

    None where the dataset does not have the intervals of the draws alone, or no ratio.
    """
    if not {*_UNWIDENED} <= {*rows}:
        return None
    tried = rows[(rows.part == basis).fillna(False)].dropna(subset=["measured", *_UNWIDENED])
    tried = tried[(tried.apart > 0) & (tried.draws_low > 0) & (tried.measured > 0)]
    if tried.empty:
        return None
    measured, low, high = (np.log(tried[name].astype("float64")) for name in ("measured", "draws_low", "draws_high"))
    needed = np.maximum(np.maximum(measured - high, low - measured), 0) / tried.apart.astype("float64")
    return float(np.exp(needed.quantile(0.95, interpolation="higher")) - 1)


_UNWIDENED = ("part", "apart", "draws_low", "draws_high")


def df_checks(data: Dataset) -> pd.DataFrame:
    """Return times predicted and measured: one row per phase, with factors (see :func:`with_factors`)."""
    return with_factors(data.rows("checks", COLUMNS["checks"]))


def with_factors(rows: pd.DataFrame) -> pd.DataFrame:
    """Return times with ``ratio`` (predicted / measured) and ``factor``, the larger over the smaller, or missing."""
    ratio = column_ratio(rows.predicted_ns, rows.measured_ns).astype("float64")
    known = ratio.where(ratio > 0)
    return rows.assign(ratio=ratio, factor=known.where(known >= 1, 1 / known))


def df_ratios(data: Dataset) -> pd.DataFrame:
    """Return ratios of two times, predicted and measured.

    ``inside``: the predicted interval holds the measured ratio.
    """
    rows = data.rows("ratios", COLUMNS["ratios"]).copy()
    rows["inside"] = rows.measured.between(rows.low, rows.high)
    return rows


def df_counts(data: Dataset) -> pd.DataFrame:
    """Return events counted by simulator and kernel, with ``equal``, and ``explained``.

    Explained are differences that come from outside the range: up to one table, at an end of it, and one fault, on the
    page that a handler copies from.
    """
    rows = data.rows("counts", COLUMNS["counts"]).copy()
    rows["equal"] = rows.counted == rows.predicted
    rows["explained"] = (rows.counted - rows.predicted).abs() <= rows.what.map(_AROUND).fillna(0)
    return rows
