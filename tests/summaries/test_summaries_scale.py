# SPDX-License-Identifier: MIT
"""How operations scale: medians per page, and speedups within a child, from rows made up for it."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest
from synthetic_scale import PAGES, dataset, sample

from uffdlab import datasets, summaries
from uffdlab.stats import median_interval

# By child: one thread, two threads. Their quotients are not the quotient of their medians.
TIMES = [(100, 50), (110, 100), (120, 100), (130, 80), (140, 70), (150, 140), (160, 100)]


def test_df_scale_has_times_per_page_and_the_speedup_within_a_child(tmp_path: Path) -> None:
    rows = [
        sample(child, threads, ns, voluntary_switches=child * PAGES, cpu_ns=2 * ns * PAGES)
        for child, times in enumerate(TIMES)
        for threads, ns in enumerate(times, 1)
    ]
    rows += [sample(child, 1, 9999, cold=True, sample=0) for child in range(7)]
    one, two = summaries.df_scale(dataset(tmp_path / "d", rows)).to_dict("records")
    assert (one["threads"], two["threads"]) == (1, 2)
    assert (one["operation"], one["sharing"], one["stride_kib"]) == ("write_nothing", "same_2mib", 4)
    assert (one["n"], one["children"], one["cold"]) == (7, 7, 9999)
    seconds = [second for _, second in TIMES]
    assert two["ns_per_page"] == median(seconds)
    interval = median_interval(seconds)
    assert (two["ns_per_page_low"], two["ns_per_page_high"]) == (interval.low, interval.high)
    assert two["busy_ns_per_page"] == 2 * median(seconds)
    assert two["cpu_ns_per_page"] == 2 * median(seconds)
    assert two["sleeps_per_page"] == 3
    quotients = [first / second for first, second in TIMES]
    assert two["speedup"] == pytest.approx(median(quotients))
    assert two["speedup"] != pytest.approx(median(first for first, _ in TIMES) / median(seconds))
    assert (two["speedup_low"], two["speedup_high"]) == pytest.approx((min(quotients), max(quotients)))
    assert all(one[name] != one[name] for name in ("speedup", "speedup_low", "speedup_high")), "missing for itself"


def test_df_scale_knows_no_number_of_threads_that_was_not_measured(tmp_path: Path) -> None:
    frame = summaries.df_scale(dataset(tmp_path / "d", [sample(0, 1, 100), sample(0, 2, 60)]))
    assert list(frame.threads) == [1, 2]
    assert frame.speedup_low.isna().all(), "one child has no interval"


def test_df_scale_has_no_speedup_over_another_child_or_another_way_of_sharing(tmp_path: Path) -> None:
    rows = [sample(0, 1, 100), sample(1, 2, 50), sample(1, 1, 100, sharing="own_1gib")]
    frame = summaries.df_scale(dataset(tmp_path / "d", rows))
    assert len(frame) == 3
    assert frame.speedup.isna().all()


def test_df_scale_without_a_time_has_no_speedup(tmp_path: Path) -> None:
    frame = summaries.df_scale(dataset(tmp_path / "d", [sample(0, 1, 100), sample(0, 2, 0)]))
    assert frame.speedup.isna().all()


def test_df_scale_without_rows_is_empty(tmp_path: Path) -> None:
    assert summaries.df_scale(dataset(tmp_path / "d", [])).empty


def test_df_scale_has_interrupts_by_page_and_the_share_of_cpu_time(tmp_path: Path) -> None:
    rows = [
        sample(child, 2, 100, tlb_ipis=(child + 1) * PAGES, cpu_ns=150 * PAGES, spin_waits=child * PAGES)
        for child in range(7)
    ]
    (row,) = summaries.df_scale(dataset(tmp_path / "d", rows)).to_dict("records")
    assert (row["ipis_per_page"], row["ipis_per_page_low"], row["ipis_per_page_high"]) == (4, 1, 7)
    assert row["cpu_share"] == 0.75
    assert row["spin_waits_per_page"] == 3


def test_what_a_kernel_does_not_tell_is_missing_and_not_zero(tmp_path: Path) -> None:
    (row,) = summaries.df_scale(dataset(tmp_path / "d", [sample(0, 2, 100)])).to_dict("records")
    assert row["ipis_per_page"] != row["ipis_per_page"]
    assert row["spin_waits_per_page"] != row["spin_waits_per_page"]


def test_df_scale_against_is_the_ratio_within_a_child(tmp_path: Path) -> None:
    rows = [
        sample(child, 2, ns, operation=operation)
        for child, times in enumerate(TIMES)
        for operation, ns in zip(("write_zeropages", "write_markers"), times, strict=True)
    ]
    rows += [sample(9, 2, 1, operation="write_markers"), sample(9, 4, 1, operation="write_zeropages")]
    frame = summaries.df_scale_against(dataset(tmp_path / "d", rows), "write_zeropages", "write_markers")
    assert list(frame.threads) == [2], "with 4 threads one of them was not measured"
    quotients = [first / second for first, second in TIMES]
    assert frame.ratio[0] == pytest.approx(median(quotients))
    assert (frame.ratio_low[0], frame.ratio_high[0]) == pytest.approx((min(quotients), max(quotients)))


def test_df_scale_against_without_one_side_is_empty(tmp_path: Path) -> None:
    data = dataset(tmp_path / "d", [sample(0, 2, 100, operation="write_zeropages")])
    assert summaries.df_scale_against(data, "write_zeropages", "write_markers").empty


@pytest.mark.parametrize("id", ["scale-2026-11-28", "replication-scale-2026-11-28"])
def test_committed_data_has_every_point_from_seven_children(id: str) -> None:
    frame = summaries.df_scale(datasets.load(datasets.locate(id)))
    assert set(frame.threads) == {1, 2, 4, 8, 16}
    assert len(frame) == 140
    assert set(frame.n) == {7}
    several = frame[frame.threads > 1]
    assert several[["speedup", "speedup_low", "speedup_high", "ipis_per_page"]].notna().all(axis=None)
    assert frame[frame.threads == 1].speedup.isna().all()
    assert frame.spin_waits_per_page.isna().all(), "the tracepoint was not there"


@pytest.mark.parametrize("id", ["scale-2026-11-28", "replication-scale-2026-11-28"])
def test_committed_data_shows_what_scales_and_what_interrupts(id: str) -> None:
    frame = summaries.df_scale(datasets.load(datasets.locate(id)))
    most = frame[(frame.threads == 16) & (frame.stride_kib == 4)].set_index(["operation", "sharing"])
    by_page = most.loc[["protect_nothing", "protect_zeropages"]]
    assert (by_page.speedup_high < 1).all(), "16 threads are slower than one"
    assert (by_page.ipis_per_page > 14).all(), "about one for each other thread"
    assert (most.loc["write_zeropages"].ipis_per_page > 10).all()
    quiet = most.loc[["read_nothing", "write_nothing", "write_markers"]]
    assert (quiet.speedup_low > 3).all()
    assert (quiet.ipis_per_page < 0.1).all()
