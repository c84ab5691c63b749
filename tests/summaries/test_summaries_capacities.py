# SPDX-License-Identifier: MIT
"""Rates of the covert channel in two metrics, over all samples, alone and beside a neighbour."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from synthetic_channel import campaign, point

from uffdlab import summaries


def test_df_capacities_counts_all_samples_in_both_metrics(tmp_path: Path) -> None:
    data = campaign(tmp_path / "d", point([0.0] * 4 + [0.5] * 4), point([0.5] * 8, silent=True))
    sent, silent = summaries.df_capacities(data).to_dict("records")
    assert (sent["neighbour"], sent["registered"], sent["sent_kbit_s"]) == ("none", True, 1000)
    assert (sent["children"], sent["samples"], sent["passing"]) == (8, 8, 4)
    assert sent["error"] == pytest.approx(0.25, abs=0.02), "the median of four without an error and four by chance"
    assert sent["symmetric_kbit_s"] == pytest.approx(500, abs=2)
    assert sent["information_kbit_s"] == pytest.approx(500, abs=2)
    assert sent["symmetric_kbit_s_low"] < 2 < 998 < sent["symmetric_kbit_s_high"]
    assert silent["symmetric_kbit_s"] < 5, "of what would have been sent"


def test_both_metrics_agree_where_errors_are_symmetric(tmp_path: Path) -> None:
    [row] = summaries.df_capacities(campaign(tmp_path / "d", point([0.1] * 8))).to_dict("records")
    assert row["symmetric_kbit_s"] == pytest.approx(1000 * (1 - 0.469), rel=0.1)
    assert row["information_kbit_s"] == pytest.approx(row["symmetric_kbit_s"], rel=0.02)


def test_points_beside_a_neighbour_are_rows_of_their_own_and_never_registered(tmp_path: Path) -> None:
    noisy = point([0.4] * 7, neighbour="traffic_same") + point([0.5] * 7, silent=True, neighbour="traffic_same")
    data = campaign(tmp_path / "d", point([0.0] * 7), point([0.5] * 7, silent=True), noisy)
    rows = summaries.df_noise(data)[lambda frame: ~frame.silent.astype(bool)]
    assert rows[["neighbour", "registered"]].values.tolist() == [["none", True], ["traffic_same", False]]
    alone, beside = rows.symmetric_kbit_s
    assert beside < 0.1 * alone
    [row] = summaries.df_channels(data)[lambda frame: ~frame.silent.astype(bool)].to_dict("records")
    assert (row["samples"], row["faster_error"]) == (7, 0), "other frames do not see them"


def test_df_noise_leaves_out_points_where_no_neighbour_ran(tmp_path: Path) -> None:
    noisy = point([0.2] * 7, neighbour="reader_other", slot_ns=20_000)
    data = campaign(tmp_path / "d", point([0.0] * 7), point([0.1] * 7, slot_ns=20_000), noisy)
    assert set(summaries.df_noise(data).slot_ns) == {20_000}
    assert summaries.df_noise(campaign(tmp_path / "e", point([0.0] * 7))).empty


def test_samples_without_a_neighbour_recorded_are_left_out(tmp_path: Path) -> None:
    data = campaign(tmp_path / "d", point([0.0] * 7), point([0.2] * 7, neighbour="traffic_other"))
    data.tables["noisy_channels"]["neighbour"] = pd.Series([pd.NA] * 7, dtype="string")
    assert summaries.df_noise(data).empty
