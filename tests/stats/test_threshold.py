# SPDX-License-Identifier: MIT
"""Latency thresholds have the fewest errors, in either direction or in a given one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uffdlab.stats.threshold import Threshold, best_threshold, best_threshold_above_first

_TIMES = st.dictionaries(st.integers(1, 60), st.integers(1, 9), min_size=1, max_size=12)


@given(_TIMES, _TIMES)
def test_best_threshold_has_the_fewest_errors_of_all(first: dict[int, int], second: dict[int, int]) -> None:
    every = {slower: [Threshold(at, slower).error(first, second) for at in range(63)] for slower in (False, True)}
    assert best_threshold(first, second).error(first, second) == pytest.approx(min(every[False] + every[True]))
    assert best_threshold_above_first(first, second).error(first, second) == pytest.approx(min(every[False]))


@given(_TIMES, _TIMES)
def test_best_threshold_is_symmetric_in_both_kinds(first: dict[int, int], second: dict[int, int]) -> None:
    best, swapped = best_threshold(first, second), best_threshold(second, first)
    assert best.error(first, second) == pytest.approx(swapped.error(second, first))
    assert 0 <= best.error(first, second) <= 0.5


@given(_TIMES, _TIMES, _TIMES)
def test_error_is_one_half_for_equal_distributions(
    first: dict[int, int], second: dict[int, int], alike: dict[int, int]
) -> None:
    doubled = {time: 2 * number for time, number in alike.items()}
    assert best_threshold(first, second).error(alike, doubled) == pytest.approx(0.5)


@given(_TIMES, st.integers(1, 1000), st.booleans())
def test_error_is_0_for_disjoint_histograms(first: dict[int, int], gap: int, turned: bool) -> None:
    second = {time + 60 + gap: number for time, number in first.items()}
    both = (second, first) if turned else (first, second)
    at = best_threshold(*both)
    assert at.error(*both) == 0
    assert at.slower is turned
    assert max(first) < at.at <= min(second)


def test_threshold_is_the_middle_of_the_widest_gap() -> None:
    assert best_threshold({200: 5, 210: 1}, {1600: 4, 900: 1}) == Threshold((211 + 900) // 2)
    assert best_threshold_above_first({70: 1, 74: 2}, {380: 1, 390: 1}) == Threshold((75 + 380) // 2)


def test_both_kinds_weigh_alike_whatever_their_number() -> None:
    few, many = {100: 1, 300: 1}, {200: 1000}
    assert best_threshold(few, many).error(few, many) == 0.25


@pytest.mark.parametrize("choose", [best_threshold, best_threshold_above_first])
@pytest.mark.parametrize(("first", "second"), [({}, {1: 1}), ({1: 1}, {}), ({1: 0}, {1: 1})])
def test_best_threshold_needs_times_of_both_kinds(choose, first: dict[int, int], second: dict[int, int]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="needs times of both kinds"):
        choose(first, second)
