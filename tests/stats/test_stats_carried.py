# SPDX-License-Identifier: MIT
"""Estimates have their sample count and confidence; medians by child; column ratios and sums."""

from __future__ import annotations

import pandas as pd
import pytest

from uffdlab.errors import NotMeasuredError
from uffdlab.stats import (
    CONFIDENCE,
    Estimate,
    child_medians,
    column_ratio,
    column_sum,
    median_interval,
    paired_neighbours,
    proportion_interval,
    ratio_interval,
    ratio_of_children,
)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("n", [1, 2, 9, 40])
def test_estimate_has_confidence_and_sample_count(n: int, confidence: float) -> None:
    samples = [1.0 + one for one in range(n)]
    assert median_interval(samples, confidence).confidence == confidence
    assert median_interval(samples, confidence).n == n
    ratio = ratio_interval(samples, [*samples, 99.0], confidence)
    assert (ratio.confidence, ratio.n) == (confidence, n)
    ratio = ratio_interval([*samples, 99.0], samples, confidence)
    assert (ratio.confidence, ratio.n) == (confidence, n)
    for hits in {0, n // 2, n}:
        found = proportion_interval(hits, n, confidence)
        assert (found.confidence, found.n, found.value) == (confidence, n, hits / n)


def test_default_confidence_is_95_percent() -> None:
    samples = [1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert CONFIDENCE == 0.95
    assert median_interval(samples) == median_interval(samples, 0.95) != median_interval(samples, 0.9)
    assert ratio_interval(samples, samples) == ratio_interval(samples, samples, 0.95)
    assert ratio_interval(samples, samples) != ratio_interval(samples, samples, 0.85)
    assert proportion_interval(1, 9) == proportion_interval(1, 9, 0.95) != proportion_interval(1, 9, 0.9)


def test_ratio_interval_combines_two_intervals_at_the_bonferroni_level() -> None:
    top, bottom = [10.0 + n for n in range(20)], [2.0 + n for n in range(15)]
    above, below = median_interval(top, 0.975), median_interval(bottom, 0.975)
    found = ratio_interval(top, bottom)
    assert above.low is not None
    assert above.high is not None
    assert below.low is not None
    assert below.high is not None
    assert (found.value, found.low, found.high) == (19.5 / 9, above.low / below.high, above.high / below.low)
    assert above != median_interval(top), "each alone has to be surer"
    one_side = ratio_interval(top, [4.0])
    assert (one_side.value, one_side.low, one_side.high, one_side.n) == (19.5 / 4, None, None, 1)
    assert ratio_interval([4.0], top).value == 4 / 19.5


@pytest.mark.parametrize(
    ("low", "high", "known"), [(1.0, 2.0, True), (None, 2.0, False), (1.0, None, False), (None, None, False)]
)
def test_interval_is_known_when_both_ends_are(low: float | None, high: float | None, known: bool) -> None:
    estimate = Estimate(1.5, low, high, 3)
    assert estimate.known is known
    assert estimate.above(0.5) is (low is not None)
    assert estimate.below(9.5) is (high is not None)
    assert not estimate.above(1.0)
    assert not estimate.below(2.0)


def test_child_medians_are_ordered_by_child_number() -> None:
    found = child_medians([5, 1, 9, 2, 4], [7, 3, 7, 3, 7])
    assert list(found.items()) == [(3, 1.5), (7, 5.0)]
    assert all(isinstance(one, float) for one in found.values())
    assert child_medians([], []) == {}
    with pytest.raises(ValueError, match="zip"):
        child_medians([1.0], [1, 2])


def test_one_sided_children_count_only_without_two_sided_ones() -> None:
    top = {n: 10.0 + n for n in range(9)}
    alone = ratio_of_children(top, {n + 100: 2.0 for n in range(9)})
    assert alone == ratio_interval(list(top.values()), [2.0] * 9)
    (ratio,) = [ratio_of_children(top, {3: 2.0, 100: 9.0})]
    assert (ratio.value, ratio.n, ratio.known) == (6.5, 1, False)


def test_paired_neighbours_are_consecutive_with_one_side_each() -> None:
    assert paired_neighbours({1: 10.0, 2: 20.0}, {3: 30.0}) == ({2: 20.0}, {2: 30.0})
    assert paired_neighbours({1: 10.0}, {2: 20.0, 3: 30.0}) == ({1: 10.0}, {1: 20.0})
    assert paired_neighbours({1: 10.0}, {3: 20.0}) == ({}, {})
    assert paired_neighbours({0: 10.0, 3: 1.0}, {1: 20.0, 2: 5.0}) == ({0: 10.0, 2: 1.0}, {0: 20.0, 2: 5.0})
    assert paired_neighbours({1: 1.0, 2: 2.0}, {1: 3.0, 2: 4.0}) == ({}, {}), "those measured both sides themselves"
    assert paired_neighbours({}, {}) == ({}, {})


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    # R 4.3, binom.test(hits, trials)$conf.int
    [(1, 1, 0.025, 1.0), (0, 1, 0.0, 0.975), (1, 2, 0.01257912, 0.98742088), (7, 9, 0.3999064, 0.9718550),
     (90, 100, 0.8237774, 0.9509953), (1, 1000, 2.531747e-05, 0.005558924)],
)  # fmt: skip
def test_proportion_interval_equals_r_binom_test(hits: int, trials: int, low: float, high: float) -> None:
    found = proportion_interval(hits, trials)
    assert (found.low, found.high) == (pytest.approx(low, rel=1e-6, abs=1e-12), pytest.approx(high, rel=1e-6))


def test_error_sentences_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"^no samples: a median needs at least one$"):
        median_interval([])
    with pytest.raises(NotMeasuredError, match=r"a time of 0 ns, which no clock of this resolution can tell: a ratio"):
        ratio_interval([1.0], [0.0])
    with pytest.raises(NotMeasuredError, match=r"^7 hits in 5 trials are no proportion$"):
        proportion_interval(7, 5)
    assert ratio_interval([0.0], [1.0]).value == 0
    with pytest.raises(NotMeasuredError):
        ratio_interval([1.0], [-0.5])
    assert ratio_interval([-3.0], [0.5]).value == -6


@pytest.mark.parametrize("known", ["top", "bottom"])
def test_ratio_with_too_few_samples_on_one_side_has_no_interval(known: str) -> None:
    many, few = [float(one) for one in range(1, 40)], [4.0, 5.0]
    found = ratio_interval(many, few) if known == "top" else ratio_interval(few, many)
    assert (found.low, found.high, found.n) == (None, None, 2)
    assert found.value == (20 / 4.5 if known == "top" else 4.5 / 20)


def test_ratio_without_one_side_raises_value_error() -> None:
    for top, bottom in (([1.0], []), ([], [1.0])):
        with pytest.raises(ValueError, match="no samples: a median needs at least one"):
            ratio_interval(top, bottom)


@pytest.mark.parametrize("children", [{1: 0.0}, {2: 0.0}], ids=["in turns", "apart"])
def test_zero_divisor_is_named_in_the_error(children: dict[int, float]) -> None:
    """By the name that the caller gives, or as the divisor."""
    for name, said in ({"name": "`faults.wall_ns`"}, "`faults.wall_ns` holds"), ({}, "the divisor holds"):
        with pytest.raises(NotMeasuredError, match=f"^{said} a time of 0 ns"):
            ratio_of_children({1: 5.0}, children, **name)


def test_column_ratio_and_sum_keep_missing_cells() -> None:
    some = pd.Series([6, pd.NA, 6, 6], dtype="Int64")
    other = pd.Series([3, 3, 0, pd.NA], dtype="Int64")
    for found, first in ((column_ratio(some, other), 2.0), (column_sum(some, other), 9.0)):
        assert str(found.dtype) == "Float64"
        assert found[0] == first
    assert list(column_ratio(some, other).isna()) == [False, True, True, True]
    assert list(column_sum(some, other).isna()) == [False, True, False, True]


def test_column_sum_of_large_integers_does_not_wrap_around() -> None:
    most = pd.Series([2**63 - 1], dtype="Int64")
    assert column_sum(most, most)[0] == 2.0**64
    assert str(column_sum(most).dtype) == "Float64"
