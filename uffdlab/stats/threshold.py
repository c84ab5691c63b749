# SPDX-License-Identifier: MIT
"""Find the latency threshold that separates two histograms with the fewest errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Histogram = Mapping[int, int]  # latency in any unit → number of samples


@dataclass(frozen=True)
class Threshold:
    """A latency below ``at`` is classified as the first kind; as the second where the first is the ``slower`` one."""

    at: int
    slower: bool = False

    def is_first(self, time: int) -> bool:
        """Whether a latency is classified as the first kind."""
        return (time >= self.at) is self.slower

    def error(self, first: Histogram, second: Histogram) -> float:
        """Return the mean of both error rates, from 0 to 1; 0.5 separates nothing."""
        missed, invented = 1 - self._taken(first), self._taken(second)
        return (missed + invented) / 2

    def _taken(self, times: Histogram) -> float:
        return sum(number for time, number in times.items() if self.is_first(time)) / sum(times.values())


def best_threshold(first: Histogram, second: Histogram) -> Threshold:
    """Return the threshold that separates two kinds with the fewest errors, whichever takes longer.

    Raises ValueError where a kind was never measured.
    """
    (faster, at), (slower, turned) = _fewest_errors(first, second), _fewest_errors(second, first)
    return Threshold(at) if faster <= slower else Threshold(turned, slower=True)


def best_threshold_above_first(first: Histogram, second: Histogram) -> Threshold:
    """Return the threshold where the first kind is known to be the faster one. Raises ValueError likewise."""
    return Threshold(_fewest_errors(first, second)[1])


def _fewest_errors(faster: Histogram, slower: Histogram) -> tuple[int, int]:
    """Return the fewest errors, both kinds weighed alike, and the threshold: the middle of the widest gap with them."""
    fast, slow = sum(faster.values()), sum(slower.values())
    if not fast or not slow:
        raise ValueError("a threshold needs times of both kinds")
    times = sorted({*faster, *slower})
    wrong = fast * slow  # in units in which every error of one kind weighs as much as all of the other
    gaps = [(wrong, times[0] - 1, times[0])]  # errors of every threshold above the one and up to the other
    for time, following in zip(times, [*times[1:], times[-1] + 1], strict=True):
        wrong += slower.get(time, 0) * fast - faster.get(time, 0) * slow
        gaps.append((wrong, time, following))
    fewest = min(errors for errors, _, _ in gaps)
    _, after, until = max((gap for gap in gaps if gap[0] == fewest), key=lambda gap: gap[2] - gap[1])
    return fewest, (after + 1 + until) // 2
