# SPDX-License-Identifier: MIT
"""What is said of a channel's samples: nothing where nothing passed, and a point that another half reports."""

from __future__ import annotations

import random
from math import log2
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import FACTS

from uffdlab import datasets, summaries
from uffdlab.datasets import Dataset
from uffdlab.probes import channel
from uffdlab.summaries.channels import mutual_information, permutation_p

LINES, SLOTS = 8, 120
_SAMPLE = {
    "sample": 0, "lines": LINES, "slots": SLOTS, "bits": LINES * SLOTS, "cycles_per_us": 2000, "hit_cycles": 70,
    "miss_cycles": 390, "threshold_cycles": 200, "probe_cycles": 500, "late_sent": 0, "late_received": 0, "cold": True,
}  # fmt: skip


def _words(seed: int, flips: float, lines: int = LINES, slots: int = SLOTS) -> tuple[list[int], list[int]]:
    rng = random.Random(seed)
    sent = [rng.getrandbits(lines) for _ in range(slots)]
    noise = [sum(1 << line for line in range(lines) if rng.random() < flips) for _ in range(slots)]
    return sent, [word ^ wrong for word, wrong in zip(sent, noise, strict=True)]


def _campaign(out: Path, flips: dict[int, list[float]], *, silent: bool = False) -> Dataset:
    """Return a dataset of one child per share of flipped bits, for each slot length in ns."""
    rows, slots, block = [], [], 0
    for slot_ns, shares in flips.items():
        for share in shares:
            sent, received = _words(block, share)
            both = list(zip(sent, received, strict=True))
            row: dict[str, Any] = {"block": block, "memory": "zeropage", "placement": "same", "silent": silent}
            row |= {"missed": sum((a & ~b).bit_count() for a, b in both), "ones": sum(a.bit_count() for a in sent)}
            row |= {"invented": sum((b & ~a).bit_count() for a, b in both), "slot_ns": slot_ns}
            rows.append(_SAMPLE | row)
            slots += [
                {"block": block, "sample": 0, "slot": i, "sent": f"{a:x}", "received": f"{b:x}", "late": False}
                for i, (a, b) in enumerate(both)
            ]
            block += 1
    tables = [
        datasets.Table("channels", channel.FIELDS, rows),
        datasets.Table("channel_slots", channel.SLOT_FIELDS, slots),
        datasets.Table("channel_latencies", channel.LATENCY_FIELDS, []),
    ]
    return datasets.write(out, id="made-up", title="made up for a test", tables=tables, provenance=FACTS)


# --- information ------------------------------------------------------------------------------------------------------


def test_a_wire_without_errors_carries_a_bit_a_bit() -> None:
    assert mutual_information([[5000, 0], [0, 5000]]) == pytest.approx(1, abs=1e-3)


def test_a_symmetric_channel_carries_what_shannon_says() -> None:
    wrong = 0.11
    expected = 1 + wrong * log2(wrong) + (1 - wrong) * log2(1 - wrong)
    assert mutual_information([[89_000, 11_000], [11_000, 89_000]]) == pytest.approx(expected, abs=1e-4)


def test_independent_data_come_out_as_nothing() -> None:
    found = []
    for seed in range(300):
        rng = random.Random(seed)
        counts = [[0, 0], [0, 0]]
        for _ in range(200):
            counts[rng.getrandbits(1)][rng.getrandbits(1)] += 1
        found.append(mutual_information(counts))
    assert median(found) == 0


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4).filter(any))
def test_information_is_between_nothing_and_a_bit(counts: list[int]) -> None:
    assert 0 <= mutual_information([counts[:2], counts[2:]]) <= 1


def test_nothing_sent_is_no_information_at_all() -> None:
    with pytest.raises(ValueError, match="nothing was sent"):
        mutual_information([[0, 0], [0, 0]])


# --- is there a channel? ----------------------------------------------------------------------------------------------


def test_what_passes_is_told_from_chance() -> None:
    assert permutation_p(*_words(1, 0.3), LINES) == 1 / 1000


def test_chance_is_not_taken_for_a_channel() -> None:
    found = [permutation_p(*_words(seed, 0.5, slots=40), LINES) for seed in range(60)]
    assert 0.3 < median(found) < 0.7
    assert sum(p < 0.05 for p in found) <= 9  # 3 are expected


def test_a_line_that_is_always_one_agrees_with_nothing() -> None:
    sent, _ = _words(2, 0)
    assert permutation_p(sent, [2**LINES - 1] * SLOTS, LINES) == 1


@pytest.mark.parametrize(("sent", "received"), [([], []), ([1, 2], [1])])
def test_a_test_needs_as_many_slots_received_as_sent(sent: list[int], received: list[int]) -> None:
    with pytest.raises(ValueError, match="needs the same"):
        permutation_p(sent, received, 2)


# --- over children ----------------------------------------------------------------------------------------------------


def test_a_row_has_errors_capacity_its_limit_and_a_p_value(tmp_path: Path) -> None:
    [row] = summaries.df_channels(_campaign(tmp_path / "d", {8000: [0.02] * 14})).to_dict("records")
    assert row["error"] == pytest.approx(0.02, abs=0.01)
    assert row["error_low"] <= row["error"] <= row["error_high"]
    assert 0.75 * 1000 < row["kbit_s"] < 1000, "8 bits in 8 µs, less what errors cost"
    assert row["limit_kbit_s"] == 4000, "a reload and flush of 500 cycles at 2000 a µs"
    assert (row["children"], row["bits"], row["p"]) == (14, 14 * LINES * SLOTS, 1 / 1000)


def test_without_a_sender_there_is_no_capacity(tmp_path: Path) -> None:
    [row] = summaries.df_channels(_campaign(tmp_path / "d", {8000: [0.5] * 9}, silent=True)).to_dict("records")
    assert row["p"] > 0.01
    assert row["kbit_s"] < 5


def test_the_best_point_is_reported_by_the_children_that_did_not_choose_it(tmp_path: Path) -> None:
    # Every other child of the shorter slot was lucky: those choose it, and the others say what it is worth.
    data = _campaign(tmp_path / "d", {4000: [0.0, 0.4] * 7, 8000: [0.05] * 14})
    best = summaries.best_point(data, "zeropage", "same")
    assert best is not None
    assert best["slot_ns"] == 4000
    assert best["error"] == pytest.approx(0.4, abs=0.05)
    assert best["children"] == 7


def test_no_samples_are_no_point(tmp_path: Path) -> None:
    data = _campaign(tmp_path / "d", {})
    assert summaries.df_channels(data).empty
    assert summaries.best_point(data, "zeropage", "same") is None
    assert summaries.best_point(_campaign(tmp_path / "e", {8000: [0.1] * 3}), "zeropage", "cross") is None
