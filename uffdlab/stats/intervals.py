# SPDX-License-Identifier: MIT
"""Medians and proportions with exact intervals: no distribution assumed, no random numbers drawn.

The interval of a median is the classic order-statistic one: the number of samples below the true median is
Binomial(n, 1/2), so the pair of ranks that covers it with the wished confidence is known exactly. Too few samples
give ``None`` for the interval: an unknown interval is not a narrow one.

The interval of a proportion is that of Clopper and Pearson: the binomial inverted, never narrower than it promises.

A ratio to 0 has no value, and is never infinite: NotMeasuredError says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb, isfinite
from statistics import median
from typing import Any

from uffdlab.errors import NotMeasuredError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A point with its interval (same unit as the samples), confidence and sample count.

    ``low`` and ``high`` are None when there are too few samples for the confidence asked for.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    confidence: float = CONFIDENCE

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return self.low is not None and self.high is not None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval; None where there is none."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def above(self, threshold: float) -> bool:
        """Whether the whole interval lies above the threshold (never true without an interval)."""
        return self.low is not None and self.low > threshold

    def below(self, threshold: float) -> bool:
        """Whether the whole interval lies below the threshold (never true without an interval)."""
        return self.high is not None and self.high < threshold


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Return the median of ``samples`` and the narrowest symmetric order-statistic interval.

    At 95 % the interval needs at least 6 samples. Raises ValueError on an empty sequence, and on one that holds
    something which is no number: it has no order.
    """
    xs = sorted(float(x) for x in samples)
    n = len(xs)
    if n == 0:
        raise ValueError("no samples: a median needs at least one")
    if not all(map(isfinite, xs)):
        raise ValueError("a sample that is no finite number: leave out what is unknown")
    rank = _rank(n, confidence)
    if rank is None:
        return Estimate(median(xs), None, None, n, confidence)
    return Estimate(median(xs), xs[rank], xs[n - 1 - rank], n, confidence)


def ratio_interval(
    top: Sequence[float], bottom: Sequence[float], confidence: float = CONFIDENCE, name: str = "what a ratio divides by"
) -> Estimate:
    """Return median(top) / median(bottom) of independent positive samples, with a conservative interval.

    Each median gets an interval at (1 + confidence) / 2; both hold together with at least ``confidence``
    (Bonferroni), so the quotient of their far ends covers the true ratio. At 95 % it needs at least 7 samples
    on both sides. Raises NotMeasuredError where a sample below the line, called ``name``, is not above 0.
    """
    _check_divisors(bottom, name)
    each = (1 + confidence) / 2
    a, b = median_interval(top, each), median_interval(bottom, each)
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Estimate(a.value / b.value, None, None, min(a.n, b.n), confidence)
    return Estimate(a.value / b.value, a.low / b.high, a.high / b.low, min(a.n, b.n), confidence)


def _check_divisors(values: Iterable[float], name: str) -> None:
    least = min(values, default=1.0)
    if least < 0:
        raise NotMeasuredError(f"{name} holds a time below 0 ns, which no clock tells: a ratio to it has no value")
    if least == 0:
        raise NotMeasuredError(
            f"{name} holds a time of 0 ns, which no clock of this resolution can tell: a ratio to it has no value"
        )


def child_medians(samples: Sequence[float], children: Sequence[int]) -> dict[int, float]:
    """Return the median of each child process by its number, in their order; ``children`` names that of each sample.

    Samples of one process share its memory and its place on the machine, so they resemble one another more than those
    of two processes: what repeats independently is the child, and only medians of children may enter an interval.
    """
    by_child: dict[int, list[float]] = {}
    for sample, child in zip(samples, children, strict=True):
        by_child.setdefault(child, []).append(float(sample))
    return {child: median(by_child[child]) for child in sorted(by_child)}


def ratio_of_children(
    top: Mapping[int, float], bottom: Mapping[int, float], name: str = "what a ratio divides by"
) -> Estimate:
    """Return the ratio of two quantities from their medians by child.

    Children that measured both, in turns, give a quotient each, and the ratio is the median of those: what a process
    does to its samples is in both and cancels. Where there are none, the two sides are independent. Raises
    NotMeasuredError where a side has no child, or a child below the line, called ``name``, has 0.
    """
    if not top or not bottom:
        raise NotMeasuredError("one side of a ratio was not measured")
    both = [child for child in top if child in bottom]
    if both:
        _check_divisors((bottom[child] for child in both), name)
        return median_interval([top[child] / bottom[child] for child in both])
    return ratio_interval(list(top.values()), list(bottom.values()), name=name)


def adjoining(top: Mapping[int, float], bottom: Mapping[int, float]) -> tuple[dict[int, float], dict[int, float]]:
    """Return what children of adjoining numbers measured, one side each, as if it had been one child: they ran one
    right after the other, and what the machine did to the one it did to the other. No child is used twice.
    """
    above, below = dict[int, float](), dict[int, float]()
    numbers = iter(sorted({*top, *bottom}))
    last = next(numbers, None)
    for number in numbers:
        if last is not None and number == last + 1 and (last in top) != (number in top):
            up, down = (last, number) if last in top else (number, last)
            above[last], below[last] = top[up], bottom[down]
            last = None
        else:
            last = number
    return above, below


def proportion_interval(hits: int, trials: int, confidence: float = CONFIDENCE) -> Estimate:
    """Return hits / trials with the exact (Clopper–Pearson) interval, half of the error on either side.

    Valid where trials are independent. With no hit at 95 % the upper end is 1 - 0.025 ** (1 / trials), about
    3.69 / trials. Raises NotMeasuredError without trials, or on more hits than trials.
    """
    if trials < 1 or not 0 <= hits <= trials:
        raise NotMeasuredError(f"{hits:,} hits in {trials:,} trials are no proportion")
    from scipy.special import betaincinv  # here, so that what needs no proportion stays quick

    error = (1 - confidence) / 2
    low = float(betaincinv(hits, trials - hits + 1, error)) if hits else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 1 - error)) if hits < trials else 1.0
    return Estimate(hits / trials, low, high, trials, confidence)


def _rank(n: int, confidence: float) -> int | None:
    """Largest 0-based rank r such that [x_r, x_(n-1-r)] covers the median with the confidence; None if none does."""
    best, outside = None, 0.0
    for r in range((n + 1) // 2):
        outside += 2 * comb(n, r) / 2**n  # P(fewer than r+1 samples on one side), both sides
        if 1 - outside < confidence:
            break
        best = r
    return best


def each(top: Any, bottom: Any) -> Any:
    """Return one column divided by another, row by row: missing where nothing was counted that could be divided by.

    ``top`` and ``bottom`` are Series; so is the result, of floating-point numbers.
    """
    divisor = bottom.astype("Float64")
    return top.astype("Float64") / divisor.where(divisor > 0)


def added(*columns: Any) -> Any:
    """Return the sum of columns, row by row, as floating-point numbers: integers of 64 bits would wrap around."""
    first, *others = (column.astype("Float64") for column in columns)
    return sum(others, first)
