# SPDX-License-Identifier: MIT
"""Medians and proportions with exact intervals: no distribution assumed, no random numbers drawn.

The interval of a median is the classic order-statistic one: the number of samples below the true median is
Binomial(n, 1/2), so the pair of ranks that covers it with the wished confidence is known exactly. Too few samples
give ``None`` for the interval: an unknown interval is not a narrow one.

The interval of a proportion is that of Clopper and Pearson: the binomial inverted, never narrower than it promises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb, exp, lgamma, log, log1p
from statistics import median

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

    def above(self, threshold: float) -> bool:
        """Whether the whole interval lies above the threshold (never true without an interval)."""
        return self.low is not None and self.low > threshold

    def below(self, threshold: float) -> bool:
        """Whether the whole interval lies below the threshold (never true without an interval)."""
        return self.high is not None and self.high < threshold


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Return the median of ``samples`` and the narrowest symmetric order-statistic interval.

    At 95 % the interval needs at least 6 samples. Raises ValueError on an empty sequence.
    """
    xs = sorted(float(x) for x in samples)
    n = len(xs)
    if n == 0:
        raise ValueError("no samples: a median needs at least one")
    rank = _rank(n, confidence)
    if rank is None:
        return Estimate(median(xs), None, None, n, confidence)
    return Estimate(median(xs), xs[rank], xs[n - 1 - rank], n, confidence)


def ratio_interval(top: Sequence[float], bottom: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Return median(top) / median(bottom) of independent positive samples, with a conservative interval.

    Each median gets an interval at (1 + confidence) / 2; both hold together with at least ``confidence``
    (Bonferroni), so the quotient of their far ends covers the true ratio. At 95 % it needs at least 7 samples
    on both sides.
    """
    each = (1 + confidence) / 2
    a, b = median_interval(top, each), median_interval(bottom, each)
    if b.value <= 0 or (b.low is not None and b.low <= 0):
        raise ValueError("a ratio needs positive samples below the line")
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Estimate(a.value / b.value, None, None, min(a.n, b.n), confidence)
    return Estimate(a.value / b.value, a.low / b.high, a.high / b.low, min(a.n, b.n), confidence)


def child_medians(samples: Sequence[float], children: Sequence[int]) -> dict[int, float]:
    """Return the median of each child process by its number, in their order; ``children`` names that of each sample.

    Samples of one process share its memory and its place on the machine, so they resemble one another more than those
    of two processes: what repeats independently is the child, and only medians of children may enter an interval.
    """
    by_child: dict[int, list[float]] = {}
    for sample, child in zip(samples, children, strict=True):
        by_child.setdefault(child, []).append(float(sample))
    return {child: median(by_child[child]) for child in sorted(by_child)}


def ratio_of_children(top: Mapping[int, float], bottom: Mapping[int, float]) -> Estimate:
    """Return the ratio of two quantities from their medians by child.

    Children that measured both, in turns, give a quotient each, and the ratio is the median of those: what a process
    does to its samples is in both and cancels. Where there are none, the two sides are independent.
    """
    both = [child for child in top if child in bottom]
    if both:
        return median_interval([top[child] / bottom[child] for child in both])
    return ratio_interval(list(top.values()), list(bottom.values()))


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
    3.69 / trials. Raises ValueError without trials, or on more hits than trials.
    """
    if trials < 1 or not 0 <= hits <= trials:
        raise ValueError(f"{hits} hits in {trials} trials: no proportion")
    error = (1 - confidence) / 2
    low = _beta_quantile(error, hits, trials - hits + 1) if hits else 0.0
    high = _beta_quantile(1 - error, hits + 1, trials - hits) if hits < trials else 1.0
    return Estimate(hits / trials, low, high, trials, confidence)


def _beta_quantile(p: float, a: int, b: int) -> float:
    """Return the x at which the regularised incomplete beta function is p, by bisection to the last digit."""
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _beta(middle, a, b) < p else (low, middle)
    return high


def _beta(x: float, a: int, b: int) -> float:
    """Return the regularised incomplete beta function I_x(a, b), for x inside 0..1."""
    scale = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return scale * _beta_fraction(x, a, b) / a
    return 1 - scale * _beta_fraction(1 - x, b, a) / b


def _beta_fraction(x: float, a: int, b: int) -> float:
    """Return the continued fraction of the incomplete beta function (DLMF 8.17.22), by Lentz's method."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 100_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            c, d = 1 + term / c, 1 / (1 + term * d)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            return value
    raise ArithmeticError(f"BUG: no convergence of the incomplete beta function at {x}, {a}, {b}")


def _rank(n: int, confidence: float) -> int | None:
    """Largest 0-based rank r such that [x_r, x_(n-1-r)] covers the median with the confidence; None if none does."""
    best, outside = None, 0.0
    for r in range((n + 1) // 2):
        outside += 2 * comb(n, r) / 2**n  # P(fewer than r+1 samples on one side), both sides
        if 1 - outside < confidence:
            break
        best = r
    return best
