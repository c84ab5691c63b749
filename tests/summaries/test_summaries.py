# SPDX-License-Identifier: MIT
"""Frames of the probes protect, semantics and reprotect from synthetic samples."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import dataset, sample, state

from uffdlab import summaries
from uffdlab.summaries import medians


def test_quotients_are_of_children_on_both_sides() -> None:
    assert medians.quotients({1: 6.0, 2: 5.0, 3: 1.0, 5: 4.0}, {1: 2.0, 3: 0.0, 4: 1.0, 5: 0.5}) == {1: 3.0, 5: 8.0}
    assert medians.quotients({}, {1: 2.0}) == {}


def test_df_protect_has_medians_of_warm_samples_and_cold_ones_apart(tmp_path: Path) -> None:
    rows = [sample("anon", "pte_marker", 0, 900, cold=True)]
    rows += [sample("anon", "pte_marker", 0, ns) for ns in (100, 110, 120, 130, 140, 150, 160)]
    [point] = summaries.df_protect(dataset(tmp_path / "d", rows)).to_dict("records")
    assert (point["protect_ns"], point["cold_ns"], point["n"]) == (130, 900, 7)
    assert (point["protect_ns_low"], point["protect_ns_high"]) == (100, 160)


def test_df_protect_has_no_interval_with_too_few_samples(tmp_path: Path) -> None:
    rows = [sample("anon", "pte_marker", 0, ns) for ns in (100, 110, 120)]
    [point] = summaries.df_protect(dataset(tmp_path / "d", rows)).to_dict("records")
    assert pd.isna(point["protect_ns_low"])
    assert pd.isna(point["protect_ns_high"])


def test_df_protect_has_no_median_with_cold_samples_only(tmp_path: Path) -> None:
    [point] = summaries.df_protect(dataset(tmp_path / "d", [sample("anon", "pte_marker", 0, 9, cold=True)])).to_dict(
        "records"
    )
    assert pd.isna(point["protect_ns"])
    assert point["n"] == 0


def test_df_reported_names_the_outcome_of_a_write(tmp_path: Path) -> None:
    rows = [
        state("anon", "none", False),
        state("anon", "wp_unpopulated", True),
        state("anon", "wp_async", False, write_seen_by_scan=True),
        state("anon", "missing_wp", False, write_missing_event=True),
    ]
    table = summaries.df_reported(dataset(tmp_path / "d", states=rows))
    assert list(table.loc["anon"]) == ["lost", "not measured", "reported", "seen by scan", "missing event"]
    assert set(table.loc["shmem"]) == {"not measured"}


def test_df_reported_counts_lost_writes_only_while_protected(tmp_path: Path) -> None:
    moments = ["discarded", "before", "unprotected", "protected", "written", "read"]
    rows = [state("anon", "none", False, moment=moment) for moment in moments]
    table = summaries.df_states(dataset(tmp_path / "d", states=rows), "anon", "none")
    assert list(table.index) == ["before", "protected", "read", "written", "discarded", "unprotected"]
    assert list(table["a write is"]) == ["not reported", "lost", "lost", "not reported", "not reported", "not reported"]


def marker_times(per_entry_ns: int, sizes_gib: tuple[int, ...] = (1, 16)) -> list[dict[str, object]]:
    entries = 1 << 18
    return [
        sample("anon", "pte_marker", 0, 1000 + per_entry_ns * entries * gib, size_kib=gib << 20)
        for gib in sizes_gib
        for _ in range(7)
    ]


def test_df_entry_costs_is_the_slope_without_the_constant(tmp_path: Path) -> None:
    [cost] = summaries.df_entry_costs(dataset(tmp_path / "d", marker_times(8))).to_dict("records")
    assert cost["ns_per_entry"] == pytest.approx(8)
    assert (cost["ns_per_entry_low"], cost["ns_per_entry_high"]) == (pytest.approx(8), pytest.approx(8))


def test_df_prediction_check_uses_sizes_between_the_ends(tmp_path: Path) -> None:
    rows = marker_times(8, (1, 16))
    rows += [row | {"size_kib": 4 << 20, "protect_ns": 2 * (1000 + 8 * (4 << 18))} for row in marker_times(8, (4,))]
    checked, _ = summaries.df_prediction_check(dataset(tmp_path / "d", rows)).to_dict("records")
    assert (checked["backing"], checked["size_kib"]) == ("anon", 4 << 20)
    assert checked["error"] == pytest.approx(-0.5)


def test_prediction_with_an_unknown_end_is_nan(tmp_path: Path) -> None:
    few = marker_times(8)
    rows = few[:3] + few[7:10]
    [cost] = list(summaries.records(summaries.df_entry_costs(dataset(tmp_path / "d", rows))))
    value, low, high = summaries.predict_protect_ns(cost, 64 << 20)
    assert value > 0
    assert pd.isna(low)
    assert pd.isna(high)


def test_df_entry_costs_needs_two_sizes(tmp_path: Path) -> None:
    assert summaries.df_entry_costs(dataset(tmp_path / "d", marker_times(8, (4,)))).empty


@settings(max_examples=25, deadline=None)
@given(gib=st.integers(1, 4096), per_entry=st.integers(1, 100))
def test_predict_protect_ns_lies_in_its_band_and_grows_with_size(
    tmp_path_factory: pytest.TempPathFactory, gib: int, per_entry: int
) -> None:
    costs = dataset(tmp_path_factory.mktemp("d") / "d", marker_times(per_entry))
    [cost] = list(summaries.records(summaries.df_entry_costs(costs)))
    value, low, high = summaries.predict_protect_ns(cost, gib << 20)
    assert 0 <= low <= value <= high
    assert value == pytest.approx(1000 + per_entry * (gib << 18))
    assert summaries.predict_protect_ns(cost, (gib + 1) << 20)[0] > value
