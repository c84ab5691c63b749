# SPDX-License-Identifier: MIT
"""Mutual information equals Shannon's, and the permutation test tells a covert channel from chance."""

from __future__ import annotations

import random
from math import log2
from pathlib import Path
from statistics import mean, median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_channel import LINES, SLOTS, campaign, point, words

from uffdlab.errors import UffdlabError
from uffdlab.stats.information import mutual_information, symmetric_capacity
from uffdlab.summaries.transmissions import Transmission, judge, shuffled, transmissions


def _sample(sent: list[int], received: list[int], lines: int = LINES) -> Transmission:
    both = (np.array([[word >> line & 1 for line in range(lines)] for word in of], bool) for of in (sent, received))
    return Transmission({"lines": lines, "slot_ns": 8000}, *both)


# --- information ------------------------------------------------------------------------------------------------------


def test_error_free_channel_carries_one_bit_per_bit() -> None:
    assert mutual_information([[5000, 0], [0, 5000]]) == pytest.approx(1, abs=1e-3)


def test_symmetric_channel_carries_the_shannon_capacity() -> None:
    wrong = 0.11
    expected = 1 + wrong * log2(wrong) + (1 - wrong) * log2(1 - wrong)
    assert mutual_information([[89_000, 11_000], [11_000, 89_000]]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("wrong", "expected"), [(0, 1), (1, 1), (0.5, 0), (0.11, 0.5), (0.89, 0.5)])
def test_symmetric_capacity_is_1_less_the_entropy_of_errors(wrong: float, expected: float) -> None:
    assert symmetric_capacity(wrong) == pytest.approx(expected, abs=1e-3)


@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_symmetric_capacity_never_exceeds_the_information_of_even_bits(a: int, b: int, c: int, d: int) -> None:
    # As many zeros as ones, and so many samples that the bias of few is none.
    counts = [[a * (c + d) * 10**6, b * (c + d) * 10**6], [c * (a + b) * 10**6, d * (a + b) * 10**6]]
    total = sum(map(sum, counts))
    if total:
        wrong = (counts[0][1] + counts[1][0]) / total
        assert symmetric_capacity(wrong) <= mutual_information(counts) + 1e-6


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_symmetric_capacity_refuses_what_is_no_share(wrong: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        symmetric_capacity(wrong)


def test_independent_data_have_median_information_0() -> None:
    found = []
    for seed in range(300):
        rng = random.Random(seed)
        counts = [[0, 0], [0, 0]]
        for _ in range(200):
            counts[rng.getrandbits(1)][rng.getrandbits(1)] += 1
        found.append(mutual_information(counts))
    assert median(found) == 0


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4).filter(any))
def test_information_lies_between_0_and_1_bit(counts: list[int]) -> None:
    assert 0 <= mutual_information([counts[:2], counts[2:]]) <= 1


def test_information_of_an_empty_table_raises_value_error() -> None:
    with pytest.raises(ValueError, match="nothing was sent"):
        mutual_information([[0, 0], [0, 0]])


# --- is there a channel? ----------------------------------------------------------------------------------------------


def test_judge_detects_a_channel_in_one_noisy_sample() -> None:
    found = judge([_sample(*words(1, 0.3))])
    assert found.passes
    assert found.p < 0.01


def test_judge_detects_a_channel_in_one_of_several_samples() -> None:
    noise = [_sample(*words(seed, 0.5)) for seed in range(5)]
    assert judge([*noise, _sample(*words(9, 0.2))]).p < 0.01


def test_judge_has_uniform_p_values_for_noise() -> None:
    found = [judge([_sample(*words(seed, 0.5, slots=40))], seed).p for seed in range(60)]
    assert 0.3 < median(found) < 0.7
    assert sum(p < 0.05 for p in found) <= 9  # 3 are expected


def test_bound_covers_the_information_and_shrinks_with_more_bits() -> None:
    wrong = 0.45
    truth = 1 + wrong * log2(wrong) + (1 - wrong) * log2(1 - wrong)
    few = [judge([_sample(*words(seed, wrong))]).below for seed in range(60)]
    assert sum(bound >= truth for bound in few) >= 50  # 57 are expected
    many = judge([_sample(*words(seed, 0.5)) for seed in range(60)]).below
    assert many < median(few)


@pytest.mark.parametrize("leaking", ["one line", "one sample"])
def test_bound_covers_information_in_few_lines_or_samples(leaking: str) -> None:
    wrong, held = 0.4, 0
    truth = (1 + wrong * log2(wrong) + (1 - wrong) * log2(1 - wrong)) / LINES
    for seed in range(40):
        samples = []
        for number in range(LINES):
            sent, noise = words(1000 * seed + number, 0.5)
            _, clear = words(1000 * seed + number, wrong)
            kept = 1 if leaking == "one line" else (2**LINES - 1 if number == 0 else 0)
            samples.append(_sample(sent, [a & ~kept | b & kept for a, b in zip(noise, clear, strict=True)]))
        held += judge(samples, seed).below >= truth
    assert held >= 33  # 38 are expected


def test_bound_covers_information_in_one_line_of_one_sample() -> None:
    held = 0
    for seed in range(40):
        samples = [_sample(*words(100 * seed + number, 0.5)) for number in range(20)]
        sent, noise = words(100 * seed + 50, 0.5)
        samples.append(_sample(sent, [a & ~1 | b & 1 for a, b in zip(noise, sent, strict=True)]))
        held += judge(samples, seed).below >= 1 / (LINES * 21)
    assert held >= 33  # 38 are expected


@pytest.mark.parametrize("slots", [7, 100, 101, 300])
def test_single_sample_is_tested_with_every_rotation(slots: int) -> None:
    assert judge([_sample(*words(5, 0.0, slots=slots))]).p == 1 / slots


def test_line_that_is_always_1_has_no_agreement() -> None:
    sent, _ = words(2, 0)
    found = judge([_sample(sent, [2**LINES - 1] * SLOTS)])
    assert (found.p, found.below) == (1, 3 / (LINES * SLOTS)), "what is met less often than once in so many bits"


def test_single_slot_has_p_1() -> None:
    assert judge([_sample([5], [5])]).p == 1


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=2, max_size=20))
def test_agreement_equals_the_count_for_each_rotation(both: list[tuple[int, int]]) -> None:
    sample = _sample([a for a, _ in both], [b for _, b in both], 3)
    out, back = ((bits - bits.mean(axis=0)) for bits in (sample.sent, sample.received))
    for moved, found in enumerate(sample.agreement):
        assert found == pytest.approx((np.roll(out, moved, axis=0) * back).sum(), abs=1e-9)


def test_shuffled_slots_carry_no_information() -> None:
    samples = [_sample(*words(seed, 0.0)) for seed in range(20)]
    drawn = shuffled(samples, 60)
    assert len(drawn) == 60
    assert min(drawn) < 0 < max(drawn) < 1e-3
    assert abs(mean(drawn)) < 2e-5


@pytest.mark.parametrize(("sent", "received"), [([], []), ([1, 2], [1])])
def test_transmission_refuses_unequal_or_empty_bits(sent: list[int], received: list[int]) -> None:
    with pytest.raises(ValueError, match="have to match"):
        _sample(sent, received)


def test_judge_without_samples_raises_value_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        judge([])


# --- from a dataset ---------------------------------------------------------------------------------------------------


def test_transmissions_return_the_recorded_words(tmp_path: Path) -> None:
    data = campaign(tmp_path / "d", point([0.1] * 2, lines=13, slots=70), point([0.2], memory="private"))
    found = list(transmissions(data, memory="zeropage"))
    assert [one.row["block"] for one in found] == [0, 1]
    for one in found:
        sent, received = words(one.row["block"], 0.1, 13, 70)
        for bits, expected in ((one.sent, sent), (one.received, received)):
            assert [sum(1 << line for line, bit in enumerate(slot) if bit) for slot in bits] == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [("0" * 99, "not 50 words of 2 hexadecimal digits"), ("xy" * 50, "hexadecimal"), (None, "no slot")],
)
def test_malformed_words_are_refused(tmp_path: Path, text: str | None, said: str) -> None:
    data = campaign(tmp_path / "d", point([0.1], slots=50))
    slots = data.tables["channel_slots"]
    if text is None:
        data.tables["channel_slots"] = slots.iloc[:0]
    else:
        slots.loc[0, "received"] = text
    with pytest.raises(UffdlabError, match=said):
        list(transmissions(data))
