# SPDX-License-Identifier: MIT
"""How far an undecided interval is from its threshold: the confidence that is reached, and the effect that would do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uffdlab.stats import (
    Estimate,
    decided_at,
    deciding_values,
    median_interval,
    proportion_interval,
    ratio_interval,
    ratio_of_children,
)

POSITIVE = st.floats(0.01, 100)
SAMPLES = st.lists(POSITIVE, min_size=6, max_size=30)


def beyond(estimate: Estimate, threshold: float) -> bool:
    return estimate.above(threshold) or estimate.below(threshold)


@given(SAMPLES, POSITIVE)
def test_the_reached_confidence_decides_and_a_thousandth_more_does_not(samples: list[float], threshold: float) -> None:
    estimate = median_interval(samples)
    reached = decided_at(estimate, threshold)
    if reached is None:
        assert not beyond(median_interval(samples, 0.5), threshold)
        return
    assert beyond(median_interval(samples, reached), threshold)
    assert reached + 0.001 >= 1 or not beyond(median_interval(samples, reached + 0.001), threshold)
    assert beyond(estimate, threshold) == (reached >= estimate.confidence)


def test_the_reached_confidence_of_six_samples_is_the_binomials() -> None:
    estimate = median_interval([1, 2, 3, 4, 5, 6])
    assert estimate.interval == (1, 6)
    # Of six samples the second least bounds the median from below at 1 - 2 * 7 / 64, and the least at 1 - 2 / 64.
    assert decided_at(estimate, 1.5) == pytest.approx(1 - 14 / 64, abs=1e-3)
    assert decided_at(estimate, 0.5) == pytest.approx(1 - 2 / 64, abs=1e-3)
    assert decided_at(estimate, 3.5) is None


def test_ratios_shares_and_other_units_reach_a_confidence_as_well() -> None:
    top, bottom = [10, 11, 12, 13, 14, 15, 16, 17], [10.0] * 8
    for ratio in (ratio_interval(top, bottom), ratio_of_children(dict(enumerate(top)), dict(enumerate(bottom)))):
        assert decided_at(ratio, 1.05) == decided_at(ratio.scaled(10), 10.5)
        assert 0.5 < (decided_at(ratio, 1.05) or 0) < 0.95
    share = decided_at(proportion_interval(1, 100), 0.03)
    assert share is not None
    assert 0.5 < share < 0.95


def test_without_samples_at_hand_no_confidence_is_known() -> None:
    assert decided_at(Estimate(1.4, 1.2, 1.6, 9), 1.25) is None


@given(POSITIVE, st.floats(0.1, 0.99), st.floats(1.01, 10), POSITIVE)
def test_a_value_beyond_the_deciding_ones_is_decided(value: float, low: float, high: float, threshold: float) -> None:
    estimate = Estimate(value, value * low, value * high, 9)
    below, above = deciding_values(estimate, threshold) or (0, 0)
    assert below < threshold < above
    for other, decided in (
        (below * 0.999, True),
        (below * 1.001, False),
        (above * 0.999, False),
        (above * 1.001, True),
    ):
        moved = estimate.scaled(other / value)
        assert beyond(moved, threshold) == decided


def test_an_interval_down_to_0_is_moved_and_not_stretched() -> None:
    below, above = deciding_values(Estimate(0.02, 0, 0.07, 9), 0.05) or (0, 0)
    assert (below, above) == (pytest.approx(0), pytest.approx(0.07))
    assert deciding_values(Estimate(1, None, None, 3), 1.25) is None
