# SPDX-License-Identifier: MIT
"""How far an interval that straddles a threshold is from deciding: by confidence, and by size of the effect."""

from __future__ import annotations

from .intervals import Estimate

_LEAST_CONFIDENCE, _STEPS = 0.5, 1000  # in steps of a thousandth


def decided_at(estimate: Estimate, threshold: float) -> float | None:
    """Return the greatest confidence at which the whole interval lies on one side of the threshold.

    None where it does at no confidence of 50 % or more, or where the samples are not at hand. Intervals are nested:
    what decides at one confidence decides at any lower one.
    """
    if estimate.again is None or not _beyond(estimate.again(_LEAST_CONFIDENCE), threshold):
        return None
    decides, too_much = int(_LEAST_CONFIDENCE * _STEPS), _STEPS
    while too_much - decides > 1:
        between = (decides + too_much) // 2
        if _beyond(estimate.again(between / _STEPS), threshold):
            decides = between
        else:
            too_much = between
    return decides / _STEPS


def deciding_values(estimate: Estimate, threshold: float) -> tuple[float, float] | None:
    """Return the values below and above which an estimate would be decided, were its interval of the same width.

    Of the same width means the same factors below and above the value, or where its low end is not above 0 the same
    differences. None without an interval.
    """
    if estimate.low is None or estimate.high is None:
        return None
    if estimate.low > 0:
        return threshold * estimate.value / estimate.high, threshold * estimate.value / estimate.low
    return threshold - (estimate.high - estimate.value), threshold + (estimate.value - estimate.low)


def _beyond(estimate: Estimate, threshold: float) -> bool:
    return estimate.above(threshold) or estimate.below(threshold)
