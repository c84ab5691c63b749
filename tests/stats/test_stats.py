# SPDX-License-Identifier: MIT
"""Intervals of medians, ratios and proportions have their coverage, and are None with too few samples."""

from __future__ import annotations

from fractions import Fraction
from math import comb
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uffdlab.errors import NotMeasuredError
from uffdlab.stats import median_interval, paired_neighbours, proportion_interval, ratio_interval, ratio_of_children

FINITE = st.floats(-1e12, 1e12)
POSITIVE = st.floats(1e-6, 1e12)


def coverage(n: int, rank: int) -> Fraction:
    """Return the chance that the median lies between the samples of these ranks: the binomial, summed."""
    return Fraction(sum(comb(n, below) for below in range(rank + 1, n - rank)), 2**n)


@settings(deadline=None)
@given(st.integers(1, 120), st.sampled_from([0.5, 0.9, 0.95, 0.975, 0.99]))
def test_median_interval_is_the_narrowest_with_its_coverage(n: int, confidence: float) -> None:
    estimate = median_interval(range(n), confidence)  # sample values are their own ranks
    enough = [rank for rank in range((n + 1) // 2) if coverage(n, rank) >= confidence]
    if not enough:
        assert not estimate.known
        assert estimate.high is None
    else:
        assert (estimate.low, estimate.high) == (max(enough), n - 1 - max(enough))


@given(st.lists(FINITE, min_size=1, max_size=40))
def test_median_lies_within_its_interval(samples: list[float]) -> None:
    estimate = median_interval(samples)
    assert estimate.value == median(samples)
    assert estimate.n == len(samples)
    assert estimate.known == (len(samples) >= 6)
    if estimate.low is not None and estimate.high is not None:
        assert estimate.low <= estimate.value <= estimate.high


@given(st.lists(FINITE, min_size=1, max_size=40), st.randoms())
def test_median_interval_is_independent_of_sample_order(samples: list[float], random: object) -> None:
    shuffled = list(samples)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert median_interval(shuffled) == median_interval(samples)


def test_median_interval_ranks_equal_the_published_table() -> None:
    ten = median_interval(range(1, 11))
    assert (ten.low, ten.high) == (2, 9)  # 97.9 %
    hundred = median_interval(range(1, 101))
    assert (hundred.low, hundred.high) == (40, 61)  # 96.5 %


def test_above_and_below_are_false_without_an_interval() -> None:
    few = median_interval([5.0] * 3)
    many = median_interval([5.0] * 9)
    assert not few.above(1)
    assert not few.below(9)
    assert many.above(1)
    assert many.below(9)
    assert not many.above(5)
    assert not many.below(5)


def test_median_without_samples_raises_value_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        median_interval([])


@given(st.lists(POSITIVE, min_size=1, max_size=20), st.lists(POSITIVE, min_size=1, max_size=20))
def test_ratio_lies_within_its_interval(top: list[float], bottom: list[float]) -> None:
    ratio = ratio_interval(top, bottom)
    assert ratio.value == median(top) / median(bottom)
    assert ratio.n == min(len(top), len(bottom))
    assert ratio.known == (ratio.n >= 7)
    if ratio.low is not None and ratio.high is not None:
        assert ratio.low <= ratio.value <= ratio.high


@pytest.mark.parametrize("bottom", [[0.0], [-1.0] * 9, [0.0] * 2 + [1.0] * 8])
def test_ratio_to_a_value_not_above_0_is_refused(bottom: list[float]) -> None:
    with pytest.raises(NotMeasuredError, match=r"`x` holds a time (of|below) 0 ns, which no clock .* has no value"):
        ratio_interval([1.0] * 9, bottom, name="`x`")
    with pytest.raises(NotMeasuredError, match="has no value"):
        ratio_of_children(dict(enumerate([1.0] * 9)), dict(enumerate(bottom)))


def test_ratio_of_children_without_one_side_is_refused() -> None:
    for sides in (({}, {0: 1.0}), ({0: 1.0}, {})):
        with pytest.raises(NotMeasuredError, match="was not measured"):
            ratio_of_children(*sides)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_median_of_a_sample_that_is_not_finite_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"^a sample that is no finite number: leave out what is unknown$"):
        median_interval([1.0, wrong])


@given(st.dictionaries(st.integers(0, 30), st.tuples(POSITIVE, POSITIVE), min_size=6), POSITIVE)
def test_children_that_measured_both_sides_give_a_quotient_each(
    both: dict[int, tuple[float, float]], by: float
) -> None:
    top = {child: pair[0] for child, pair in both.items()}
    exact = ratio_of_children({child: value * by for child, value in top.items()}, top)
    assert exact.value == pytest.approx(by)
    assert exact.low == pytest.approx(by), "what differs between children cancels"
    assert exact.high == pytest.approx(by)
    found = ratio_of_children(top | {99: 1e9}, {child: pair[1] for child, pair in both.items()} | {98: 1e-9})
    assert found == median_interval([a / b for a, b in both.values()]), "a child of one side only says nothing"


def test_ratio_without_common_children_is_that_of_independent_medians() -> None:
    top, bottom = [2.0 + i for i in range(9)], [1.0 + i for i in range(8)]
    found = ratio_of_children(dict(enumerate(top)), dict(enumerate(bottom, start=100)))
    assert found == ratio_interval(top, bottom)


@given(st.lists(st.sampled_from("tb-"), max_size=40))
def test_consecutive_children_of_one_side_each_are_paired(sides: list[str]) -> None:
    top = {n: float(n + 1) for n, side in enumerate(sides) if side == "t"}
    bottom = {n: float(n + 1) for n, side in enumerate(sides) if side == "b"}
    above, below = paired_neighbours(top, bottom)
    assert above.keys() == below.keys()
    used = [*above.values(), *below.values()]
    assert len(set(used)) == len(used), "no child is used twice"
    assert all(abs(above[pair] - below[pair]) == 1 for pair in above)
    assert all(top[int(one) - 1] == one for one in above.values())


def test_children_are_paired_from_the_first_on() -> None:
    assert paired_neighbours({1: 10.0, 3: 30.0}, {2: 20.0, 4: 40.0}) == ({1: 10.0, 3: 30.0}, {1: 20.0, 3: 40.0})
    assert paired_neighbours({2: 10.0}, {1: 20.0, 4: 40.0}) == ({1: 10.0}, {1: 20.0})


def at_most(hits: int, trials: int, rate: float) -> Fraction:
    """Return the chance of at most so many hits: the binomial, summed exactly."""
    p = Fraction(rate)
    return sum((comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(hits + 1)), Fraction(0))


@settings(deadline=None)
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.5, 0.95]))
def test_proportion_interval_leaves_half_the_error_on_either_side(of: tuple[int, int], sure: float) -> None:
    hits, trials = of
    found = proportion_interval(hits, trials, sure)
    assert (found.value, found.n) == (hits / trials, trials)
    assert found.low is not None
    assert found.high is not None
    error = (1 - sure) / 2
    assert (found.low == 0) == (hits == 0)
    assert (found.high == 1) == (hits == trials)
    if hits:
        assert float(1 - at_most(hits - 1, trials, found.low)) == pytest.approx(error, rel=1e-9)
    if hits < trials:
        assert float(at_most(hits, trials, found.high)) == pytest.approx(error, rel=1e-9)


@pytest.mark.parametrize("trials", [1, 7, 1000, 3_895_725])
def test_proportion_interval_without_hits_equals_the_closed_form(trials: int) -> None:
    assert proportion_interval(0, trials).high == pytest.approx(1 - 0.025 ** (1 / trials), rel=1e-7)


def test_four_million_trials_without_a_hit_bound_1_per_million() -> None:
    assert proportion_interval(0, 4_000_000).below(1e-6)
    assert not proportion_interval(0, 3_000_000).below(1e-6)
    assert not proportion_interval(1, 4_000_000).below(1e-6)


@pytest.mark.parametrize(("hits", "trials"), [(5 * 10**14, 10**15), (2**62, 2**63 - 1), (1, 2**63 - 1)])
def test_proportion_of_any_number_of_trials_has_an_interval(hits: int, trials: int) -> None:
    found = proportion_interval(hits, trials)
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.value < found.high < 1


def test_proportion_interval_equals_known_values() -> None:
    three = proportion_interval(3, 10)
    assert (three.low, three.high) == (pytest.approx(0.06674, abs=1e-5), pytest.approx(0.65245, abs=1e-5))
    many = proportion_interval(500_000, 1_000_000)
    assert (many.low, many.high) == (pytest.approx(0.49902, abs=1e-5), pytest.approx(0.50098, abs=1e-5))


@pytest.mark.parametrize("wrong", [(0, 0), (-1, 5), (6, 5)])
def test_impossible_proportion_is_refused(wrong: tuple[int, int]) -> None:
    with pytest.raises(NotMeasuredError, match="no proportion"):
        proportion_interval(*wrong)
