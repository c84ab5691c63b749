# SPDX-License-Identifier: MIT
"""Medians and proportions with exact intervals: no distribution assumed, no random numbers drawn.

The interval of a median is the order-statistic one: the number of samples below the true median is Binomial(n, 1/2),
so the pair of ranks that covers it with a given confidence is known exactly. Too few samples give ``None``.

The interval of a proportion is that of Clopper and Pearson: the binomial inverted, never narrower than its confidence.

A ratio to 0 raises NotMeasuredError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import comb, isfinite
from statistics import median
from typing import Any

from uffdlab.errors import NotMeasuredError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A point with its interval (same unit as the samples), confidence and sample count.

    ``low`` and ``high`` are None when there are too few samples for ``confidence``. ``again`` returns the same estimate
    at another confidence, where the samples are at hand.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    confidence: float = CONFIDENCE
    again: Callable[[float], Estimate] | None = field(default=None, repr=False, compare=False)

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return self.low is not None and self.high is not None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval; None where there is none."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate in another unit: each end times ``factor``, which is above 0."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        again = self.again and partial(_scaled_again, self.again, factor)
        return Estimate(self.value * factor, low, high, self.n, self.confidence, again)

    def above(self, threshold: float) -> bool:
        """Whether the whole interval lies above the threshold (never true without an interval)."""
        return self.low is not None and self.low > threshold

    def below(self, threshold: float) -> bool:
        """Whether the whole interval lies below the threshold (never true without an interval)."""
        return self.high is not None and self.high < threshold


def _scaled_again(again: Callable[[float], Estimate], factor: float, confidence: float) -> Estimate:
    return again(confidence).scaled(factor)


def split_confidence(cases: int) -> float:
    """Return the confidence of each of several intervals that hold together with ``CONFIDENCE`` (Bonferroni)."""
    return 1 - (1 - CONFIDENCE) / cases


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Return the median of ``samples`` and the narrowest symmetric order-statistic interval.

    At 95 % the interval needs at least 6 samples. Raises ValueError without samples, and on one that is not finite.
    """
    xs = sorted(float(x) for x in samples)
    n = len(xs)
    if n == 0:
        raise ValueError("no samples: a median needs at least one")
    if not all(map(isfinite, xs)):
        raise ValueError("a sample that is no finite number: leave out what is unknown")
    rank, again = _rank(n, confidence), partial(median_interval, xs)
    if rank is None:
        return Estimate(median(xs), None, None, n, confidence, again)
    return Estimate(median(xs), xs[rank], xs[n - 1 - rank], n, confidence, again)


def ratio_interval(
    top: Sequence[float], bottom: Sequence[float], confidence: float = CONFIDENCE, name: str = "the divisor"
) -> Estimate:
    """Return median(top) / median(bottom) of independent positive samples, with a conservative interval.

    Each median gets an interval at (1 + confidence) / 2; both hold together with at least ``confidence``
    (Bonferroni), so the quotient of their far ends covers the true ratio. At 95 % it needs at least 7 samples
    on both sides. Raises NotMeasuredError where a sample below the line, called ``name``, is not above 0.
    """
    _check_divisors(bottom, name)
    level = (1 + confidence) / 2
    a, b = median_interval(top, level), median_interval(bottom, level)
    again = partial(ratio_interval, top, bottom, name=name)
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Estimate(a.value / b.value, None, None, min(a.n, b.n), confidence, again)
    return Estimate(a.value / b.value, a.low / b.high, a.high / b.low, min(a.n, b.n), confidence, again)


def _check_divisors(values: Iterable[float], name: str) -> None:
    least = min(values, default=1.0)
    if least < 0:
        raise NotMeasuredError(f"{name} holds a time below 0 ns, which no clock tells: a ratio to it has no value")
    if least == 0:
        raise NotMeasuredError(
            f"{name} holds a time of 0 ns, which no clock of this resolution can tell: a ratio to it has no value"
        )


def child_medians(samples: Sequence[float], children: Sequence[int]) -> dict[int, float]:
    """Return the median of each child process by its number, in ascending order; ``children`` has that of each sample.

    Samples of one process share its memory and CPU, and are more alike than those of two: only medians of children are
    independent, and only they may enter an interval.
    """
    by_child: dict[int, list[float]] = {}
    for sample, child in zip(samples, children, strict=True):
        by_child.setdefault(child, []).append(float(sample))
    return {child: median(by_child[child]) for child in sorted(by_child)}


def ratio_of_children(
    top: Mapping[int, float],
    bottom: Mapping[int, float],
    name: str = "the divisor",
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Return the ratio of two quantities from their medians by child.

    Children that measured both give a quotient each, and the ratio is the median of those: effects of the process
    cancel. Without such children the two sides are independent. Raises NotMeasuredError where a side has no child, or a
    child below the line, called ``name``, has 0.
    """
    if not top or not bottom:
        raise NotMeasuredError("one side of a ratio was not measured")
    both = [child for child in top if child in bottom]
    if both:
        _check_divisors((bottom[child] for child in both), name)
        return median_interval([top[child] / bottom[child] for child in both], confidence)
    return ratio_interval(list(top.values()), list(bottom.values()), confidence, name)


def paired_neighbours(
    top: Mapping[int, float], bottom: Mapping[int, float]
) -> tuple[dict[int, float], dict[int, float]]:
    """Return both sides with each pair of consecutive children that measured one side each merged into one child.

    Such children ran one right after the other, in the same state of the machine. No child is used twice.
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
    from scipy.special import betaincinv  # slow to import, and rarely needed

    error = (1 - confidence) / 2
    low = float(betaincinv(hits, trials - hits + 1, error)) if hits else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 1 - error)) if hits < trials else 1.0
    return Estimate(hits / trials, low, high, trials, confidence, partial(proportion_interval, hits, trials))


def _rank(n: int, confidence: float) -> int | None:
    """Return the largest 0-based rank r such that [x_r, x_(n-1-r)] covers the median with ``confidence``, or None."""
    best, outside = None, 0.0
    for r in range((n + 1) // 2):
        outside += 2 * comb(n, r) / 2**n  # P(fewer than r+1 samples on one side), both sides
        if 1 - outside < confidence:
            break
        best = r
    return best


def column_ratio(top: Any, bottom: Any) -> Any:
    """Return ``top`` / ``bottom`` row by row, both Series, as floating-point numbers; missing where ``bottom`` is 0."""
    divisor = bottom.astype("Float64")
    return top.astype("Float64") / divisor.where(divisor > 0)


def column_sum(*columns: Any) -> Any:
    """Return the sum of columns row by row, as floating-point numbers: 64-bit integers would wrap around."""
    first, *others = (column.astype("Float64") for column in columns)
    return sum(others, first)
