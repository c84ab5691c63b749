# SPDX-License-Identifier: MIT
"""Frames of the covert channel: capacity, controls, and the best point by one half of the children."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from synthetic_channel import LINES, SLOTS, campaign, point

from uffdlab import summaries


def test_df_channels_has_error_capacity_limit_and_p_value(tmp_path: Path) -> None:
    [row] = summaries.df_channels(campaign(tmp_path / "d", point([0.02] * 14))).to_dict("records")
    assert row["faster_error"] == pytest.approx(0.02, abs=0.01)
    assert row["faster_error_low"] <= row["faster_error"] <= row["faster_error_high"]
    assert pd.isna(row["error"]), "there is a channel: its kinds have theirs"
    assert 0.75 * 1000 < row["faster_kbit_s"] < 1000, "8 bits in 8 µs, less what errors cost"
    assert row["limit_kbit_s"] == 4000, "a reload and flush of 500 cycles at 2000 a µs"
    assert (row["children"], row["samples"], row["bits"], row["p"]) == (14, 14, 14 * LINES * SLOTS, 1 / 10_000)
    assert row["below_kbit_s"] is None, "there is a channel: nothing bounds it from above"
    assert (row["passing"], row["slower"], row["registered"]) == (14, 0, False)


def test_df_channels_has_no_capacity_without_a_sender(tmp_path: Path) -> None:
    [row] = summaries.df_channels(campaign(tmp_path / "d", point([0.5] * 9, silent=True))).to_dict("records")
    assert row["p"] > 0.01
    assert (row["passing"], row["error"]) == (0, pytest.approx(0.5, abs=0.03))
    assert pd.isna(row["faster_kbit_s"])
    assert 0 < row["below_kbit_s"] < 20


def test_df_shuffled_has_no_capacity(tmp_path: Path) -> None:
    data = campaign(tmp_path / "d", point([0.0] * 9), point([0.5] * 9, silent=True), point([0.0] * 9, slot_ns=16_000))
    rows = summaries.df_shuffled(data).to_dict("records")
    assert [row["silent"] for row in rows] == [False, True], "of registered points"
    for row in rows:
        assert abs(row["shuffled_kbit_s"]) < 0.1, "what chance makes is taken off, and what is left is not cut off at 0"
        assert 0 < row["shuffled_high_kbit_s"] < 1


def test_best_point_on_one_cpu_weighs_the_share_of_passing_samples(tmp_path: Path) -> None:
    data = campaign(tmp_path / "d", point([0.0] * 4 + [0.5] * 10, slot_ns=4000), point([0.0] * 14, slot_ns=8000))
    best = summaries.best_point(data, "zeropage", "same")
    assert best is not None
    assert (best["slot_ns"], best["passing"], best["samples"]) == (8000, 7, 7)


def test_df_channels_has_least_and_most_with_few_children(tmp_path: Path) -> None:
    [row] = summaries.df_channels(campaign(tmp_path / "d", point([0.0, 0.05, 0.1]))).to_dict("records")
    assert pd.isna(row["faster_kbit_s_low"])
    assert row["faster_kbit_s_least"] < row["faster_kbit_s"] < row["faster_kbit_s_most"]


def test_df_channels_counts_samples_without_a_channel_apart(tmp_path: Path) -> None:
    data = campaign(tmp_path / "d", point([0.5] * 8 + [0.0] * 7))
    [row] = summaries.df_channels(data).to_dict("records")
    assert (row["passing"], row["samples"]) == (7, 15)
    assert row["faster_kbit_s"] > 900
    assert row["faster_error"] == 0, "the others' half is not averaged in"
    samples = summaries.df_samples(data)
    assert list(samples.passes) == [False] * 8 + [True] * 7


def test_df_channels_counts_samples_with_a_slower_1_apart(tmp_path: Path) -> None:
    data = campaign(tmp_path / "d", point([0.0] * 8) + point([0.2] * 7, slower=True))
    [row] = summaries.df_channels(data).to_dict("records")
    assert (row["passing"], row["slower"]) == (15, 7)
    assert row["faster_kbit_s"] > 900
    assert row["slower_kbit_s"] < 400
    assert (row["faster_error"], row["slower_error"]) == (0, pytest.approx(0.2, abs=0.02))


def test_best_point_is_reported_by_children_that_did_not_choose_it(tmp_path: Path) -> None:
    # Every other child of the shorter slot was lucky: those choose it, and the others say what it is worth.
    data = campaign(tmp_path / "d", point([0.0, 0.4] * 7, slot_ns=4000), point([0.05] * 14, slot_ns=8000))
    best = summaries.best_point(data, "zeropage", "same")
    assert best is not None
    assert best["slot_ns"] == 4000
    assert best["faster_error"] == pytest.approx(0.4, abs=0.05)
    assert best["children"] == 7


def test_best_point_without_samples_is_none(tmp_path: Path) -> None:
    data = campaign(tmp_path / "d")
    assert summaries.df_channels(data).empty
    assert summaries.df_samples(data).empty
    assert summaries.best_point(data, "zeropage", "same") is None
    assert summaries.best_point(campaign(tmp_path / "e", point([0.1] * 3)), "zeropage", "cross") is None
