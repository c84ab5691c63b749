# SPDX-License-Identifier: MIT
"""Columns and numbers of every frame, computed in plain Python from a handful of rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import pytest
import synthetic
import synthetic_atomicity
import synthetic_faults
from synthetic import sample, state
from synthetic_atomicity import race, tracked
from synthetic_channel import campaign, point
from synthetic_faults import filled, latencies, protocol, resolved, touched
from synthetic_occupancy import look, looked
from test_summaries_ksm import _dataset as merged
from test_summaries_ksm import _rounds
from test_summaries_write_timing import _campaign as revealed

from uffdlab import notebook, summaries
from uffdlab.datasets import Dataset
from uffdlab.stats import median_interval, proportion_interval
from uffdlab.summaries.work import LEAST_WORK

GIB = 1 << 20  # in KiB


def plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows, with None for what is missing."""
    return [
        {str(name): None if value is None or value is pd.NA or value != value else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def ends(name: str, children: Iterable[float]) -> dict[str, float | None]:
    """Return a median and the ends of its interval under their columns' names."""
    values = list(children)
    if not values:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    found = median_interval(values)
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


# --- protect ---------------------------------------------------------------------------------------------------------


def test_df_protect_columns_and_numbers(tmp_path: Path) -> None:
    times = [(100, 30), (110, 31), (125, 29), (140, 33), (150, 35), (160, 37), (170, 36)]
    rows = [
        sample("anon", "preread", prepare, protect, block=n // 2, rss_growth_kib=50 + n, hugetlb_growth_kib=None)
        | {"table_growth_kib": 8 + n}
        for n, (prepare, protect) in enumerate(times)
    ]
    rows += [sample("anon", "preread", 900 + n, 100, block=n, cold=True, rss_growth_kib=7777) for n in range(3)]
    rows += [sample("shmem", "preread", 5, 6, block=9, cold=True, rss_growth_kib=20, hugetlb_growth_kib=3)]
    rows += [sample("shmem", "preread", 7, 8, block=9, cluster_pages=512, populated=0.5)]
    data = synthetic.dataset(tmp_path / "d", rows)
    first, cold, clustered = plain(summaries.df_protect(data))

    def children(of: Any) -> list[float]:
        return [median(of(*times[n]) for n in range(7) if n // 2 == child) for child in range(4)]

    assert first == {
        "backing": "anon", "design": "preread", "size_kib": GIB, "populated": 0, "cluster_pages": 1,
        "n": 7, "children": 4, "cold_ns": 1001, "table_kib": 11, "filled_kib": 53,
        **ends("total_ns", children(lambda prepare, protect: prepare + protect)),
        **ends("protect_ns", children(lambda prepare, protect: protect)),
        **ends("prepare_ns", children(lambda prepare, protect: prepare)),
        **ends("cold_ratio", (1000 / 135.5, 1001 / 163.5, 1002 / 191)),
    }  # fmt: skip
    assert (cold["n"], cold["children"], cold["cold_ns"], cold["total_ns"], cold["filled_kib"]) == (0, 0, 11, None, 23)
    assert (clustered["cluster_pages"], clustered["cold_ns"], clustered["total_ns"]) == (512, None, 15)
    assert [row["backing"] for row in plain(summaries.df_warm(data))] == ["anon"]


def test_df_at_size_restates_another_size(tmp_path: Path) -> None:
    rows = [
        sample("anon", design, prepare * gib, protect * gib, size_kib=gib * GIB)
        for design, prepare, protect in (("preread", 100, 20), ("pte_marker", 0, 3), ("unprotected", 0, 5))
        for gib in (1, 4)
        if (design, gib) != ("pte_marker", 4)
        for _ in range(7)
    ]
    rows += [sample("anon", "preread", 9999, 1, size_kib=8 * GIB, populated=0.5)]
    rows += [sample("shmem", "preread", 9999, 1, size_kib=8 * GIB)]
    points = summaries.df_warm(synthetic.dataset(tmp_path / "d", rows))
    largest = {row["design"]: row["size_kib"] for row in plain(summaries.df_largest(points, "anon"))}
    assert largest == {"preread": 4 * GIB, "pte_marker": GIB, "unprotected": 4 * GIB}
    found = {row["design"]: row for row in plain(summaries.df_at_size(points, "anon", 4 * GIB))}
    assert list(found) == ["preread", "pte_marker", "unprotected"]
    assert {name: (row["total_ns"], row["measured"]) for name, row in found.items()} == {
        "preread": (480, True), "pte_marker": (12, False), "unprotected": (20, True),
    }  # fmt: skip
    elsewhere = {row["design"]: row for row in plain(summaries.df_at_size(points, "anon", 2 * GIB))}
    for name, ns in (("preread", 240), ("pte_marker", 6), ("unprotected", 10)):
        row = elsewhere[name]
        assert (row["total_ns"], row["total_ns_low"], row["total_ns_high"]) == (ns, ns, ns)
        assert row["measured"] is False
    assert summaries.df_at_size(points, "hugetlb_2m_private", GIB).empty
    checked = plain(summaries.df_restating_check(points))
    assert checked == [
        {"backing": "anon", "design": "preread", "from_kib": GIB, "size_kib": 4 * GIB, "error": 0},
        {"backing": "anon", "design": "unprotected", "from_kib": GIB, "size_kib": 4 * GIB, "error": -0.75},
    ]
    assert summaries.growth_with_size("missing_wp", GIB, 9 * GIB) == 1
    none = summaries.df_restating_check(points[points.backing == "shmem"])
    assert list(none.columns) == ["backing", "design", "from_kib", "size_kib", "error"]


def test_df_published_has_nanoseconds_too() -> None:
    table = summaries.df_published(notebook.load_published())
    assert len(table) > 4
    assert [float(ns) for ns in table.total_ns] == [1000 * float(us) for us in table.protect_us]


# --- zeropages -------------------------------------------------------------------------------------------------------


def test_df_zeropages_columns_and_numbers(tmp_path: Path) -> None:
    rows = filled("shmem", "populate_read", 0.5, zeropages=10, huge_pages=3)
    rows[0]["hugetlb_growth_kib"] = None
    rows[1] |= {"reported": False}
    rows += [row | {"cold": True, "rss_growth_kib": 9, "zeropages": 77} for row in filled("shmem", "populate_read", 1)]
    rows += filled("anon", "pte_marker", 0, hugetlb_growth_kib=100, table_growth_kib=128)
    found = plain(summaries.df_zeropages(synthetic_faults.dataset(tmp_path / "d", zeropages=rows)))
    protect = [100_000 + 100 * i for i in range(9)]
    shared = {"huge_zeropage": "on", "step": "protected", "size_kib": 65536, "n": 9, "children": 9}
    timed = {**ends("prepare_ns", [5000] * 9), **ends("protect_ns", protect), **ends("table_growth_kib", [128] * 9)}
    assert found == [
        {"backing": "anon", "design": "pte_marker", "reported": True, "cold": None, **shared, **timed}
        | {**ends("filled_kib", [100] * 9), **ends("zeropages_kib", [0] * 9), **ends("huge_kib", [0] * 9)},
        {"backing": "shmem", "design": "populate_read", "reported": False, "cold": 9, **shared, **timed}
        | {**ends("filled_kib", [32768] * 9), **ends("zeropages_kib", [40] * 9), **ends("huge_kib", [12] * 9)},
    ]


def test_df_published_runs_columns_and_numbers(tmp_path: Path) -> None:
    rows = protocol("always", "DEFAULT", 0, 5000) + protocol("never", "PRE-READ", 1, 70)
    found = plain(summaries.df_published_runs(synthetic_faults.dataset(tmp_path / "d", published_runs=rows)))
    shared = {"size_kib": 10 << 20, "n": 9, "children": 9}
    assert found == [
        {"thp": "always", "mode": "DEFAULT", **shared, **ends("total_ns", range(5000, 5009))},
        {"thp": "never", "mode": "PRE-READ", **shared, **ends("total_ns", range(70, 79))},
    ]


@pytest.mark.parametrize("frame", ["df_zeropages", "df_published_runs", "df_faults", "df_resolves",
                                   "df_tails", "df_occupancy", "df_tracking", "df_atomicity", "df_reveals",
                                   "df_merges", "df_channels", "df_samples", "df_shuffled", "df_capacities",
                                   "df_noise"])  # fmt: skip
def test_frames_of_missing_tables_have_columns_and_no_rows(tmp_path: Path, frame: str) -> None:
    bare, empty = getattr(summaries, frame), synthetic.dataset(tmp_path / "d")
    found = bare(empty)
    assert found.empty
    assert len(found.columns) > 2
    assert not [name for name in found.columns if name != str(name).strip()]


# --- later faults ----------------------------------------------------------------------------------------------------


def test_df_faults_divides_counts_by_touches(tmp_path: Path) -> None:
    counts = {"minor_faults": 500, "tlb_ipis": 250, "wp_events": 30, "missing_events": 20, "table_growth_kib": 12}
    rows = touched("markers", "async", "first read", 7, backing="shmem", **counts)
    rows += [row | {"cold": True, "busy_ns": 900_000} for row in rows[:1]]
    (found,) = plain(summaries.df_faults(synthetic_faults.dataset(tmp_path / "d", faults=rows)))
    assert found == {
        "backing": "shmem", "preparation": "markers", "delivery": "async", "touch": "first read", "size_kib": 4000,
        "stride_kib": 4, "threads": 1, "together": False, "n": 9, "children": 9, "cold": 900,
        **ends("ns_per_touch", range(7, 16)), **ends("faults_per_touch", [0.5] * 9),
        **ends("ipis_per_touch", [0.25] * 9), **ends("events_per_touch", [0.05] * 9),
        **ends("table_growth_kib", [12] * 9),
    }  # fmt: skip


def timed_touches() -> dict[str, list[dict[str, Any]]]:
    wanted = touched("fresh", "plain", "first write", 5, children=3)
    others = [touched("fresh", "plain", "first read", 5), touched("fresh", "plain", "first write", 5, threads=2)]
    others += [touched("fresh", "plain", "first write", 5, stride_kib=2048, children=1)]
    marked = touched("markers", "async", "first write", 5, children=1)
    bins = latencies(wanted[:2], (512, 60), (1024, 39), (4096, 1)) + latencies(wanted[2:], (512, 100), (2048, 20))
    bins += latencies(marked, (256, 10)) + latencies(others[2], (128, 5))
    for rows in others[:2]:
        bins += latencies(rows, (64, 1000))
    return {"faults": [*wanted, *marked, *(row for rows in others for row in rows)], "fault_latencies": bins}


def test_df_latencies_is_the_share_of_slower_touches(tmp_path: Path) -> None:
    data = synthetic_faults.dataset(tmp_path / "d", **timed_touches())
    found = summaries.df_latencies(data, 4, "first write")
    fresh = {"backing": "anon", "preparation": "fresh", "delivery": "plain", "timed": 320}
    assert plain(found) == [
        fresh | {"from_ns": 512, "count": 220, "slower": 1},
        fresh | {"from_ns": 1024, "count": 78, "slower": 100 / 320},
        fresh | {"from_ns": 2048, "count": 20, "slower": 22 / 320},
        fresh | {"from_ns": 4096, "count": 2, "slower": 2 / 320},
        {"backing": "anon", "preparation": "markers", "delivery": "async", "from_ns": 256, "count": 10, "timed": 10}
        | {"slower": 1},
    ]
    assert set(summaries.df_latencies(data, 4, "first write", threads=2).from_ns) == {64}
    assert set(summaries.df_latencies(data, 2048, "first write").from_ns) == {128}


def test_df_tails_is_the_quantile_of_each_process(tmp_path: Path) -> None:
    data = synthetic_faults.dataset(tmp_path / "d", **timed_touches())
    found = {(row["preparation"], row["stride_kib"]): row for row in plain(summaries.df_tails(data))}
    assert found.keys() == {("fresh", 4), ("fresh", 2048), ("markers", 4)}
    shared = {"backing": "anon", "preparation": "fresh", "delivery": "plain", "stride_kib": 4, "n": 3, "children": 3}
    assert found["fresh", 4] == shared | {"cold": None, **ends("tail_ns", [1024, 1024, 2048])}
    halves = {row["preparation"]: row for row in plain(summaries.df_tails(data, share=0.6)) if row["stride_kib"] == 4}
    assert halves["fresh"]["tail_ns"] == 512
    read = plain(summaries.df_tails(data, "first read"))
    assert [(row["tail_ns"], row["children"]) for row in read] == [(64, 9)]


def test_df_resolves_is_per_call_and_per_page(tmp_path: Path) -> None:
    rows = resolved("zeropage", 8, 16, "first", 1000)
    (found,) = plain(summaries.df_resolves(synthetic_faults.dataset(tmp_path / "d", resolves=rows)))
    calls = [(32_000 + i) / 32 for i in range(9)]
    assert found == {
        "state": "zeropage", "piece_kib": 8, "stride_kib": 16, "pass": "first", "n": 9, "children": 9, "cold": None,
        **ends("ns_per_call", calls), **ends("ns_per_page", [one / 2 for one in calls]),
    }  # fmt: skip


def test_df_work_has_least_work_and_counts(tmp_path: Path) -> None:
    rows = touched("fresh", "plain", "first write", 7, stride_kib=2048, rss_growth_kib=4000, table_growth_kib=4100)
    rows += touched("fresh", "plain", "first write", 900, stride_kib=2048, threads=2)
    rows += touched("fresh", "plain", "first write", 900, stride_kib=2048, backing="shmem")
    rows += touched("tables", "plain", "first write", 900)
    found = {(row["preparation"], row["touch"]): row
             for row in plain(summaries.df_work(synthetic_faults.dataset(tmp_path / "d", faults=rows)))}  # fmt: skip
    assert len(found) == len(LEAST_WORK) == 8
    fresh = found["fresh", "first write"]
    assert fresh == {
        "preparation": "fresh", "delivery": "plain", "touch": "first write", "n": 9, "children": 9, "cold": None,
        "least_faults": 1, "least_zeroed_kib": 8, "entries": 2, "replaces": False,
        **ends("faults_per_touch", [1] * 9), **ends("grown_kib", [8.1] * 9), **ends("ns_per_touch", range(7, 16)),
    }  # fmt: skip
    assert found["zeropage", "first write"]["replaces"] is True
    assert found["tables", "first write"]["ns_per_touch"] is None
    every = summaries.df_work(synthetic_faults.dataset(tmp_path / "e", faults=rows), stride_kib=4)
    assert {row["preparation"] for row in plain(every) if row["ns_per_touch"]} == {"tables"}


# --- occupancy, tracking, races --------------------------------------------------------------------------------------


def test_df_occupancy_has_medians_over_scans(tmp_path: Path) -> None:
    rows = [
        look("interpreter", 4, units, block=block, mapping=mapping, untouched=share, zeropage=1 - share)
        | {"scan_ns": 1000 * (block + 1), "calls": 2 + mapping, "size_kib": 100 + block}
        for block in range(3)
        for mapping, (units, share) in enumerate(((300, 1.0), (100, 0.1 * block), (0, 0.0)))
    ]
    rows += [look("interpreter", 2048, 0)]
    small, huge = plain(summaries.df_occupancy(looked(tmp_path / "d", *rows)))
    assert (small["workload"], small["method"], small["granularity_kib"], small["n"]) == (
        "interpreter",
        "PAGEMAP_SCAN",
        4,
        3,
    )
    assert (small["size_kib"], small["units"], small["scan_ns"], small["calls"], small["n"]) == (303, 400, 6000, 9, 3)
    assert (small["untouched"], small["zeropage"], small["present"]) == (pytest.approx(0.775), pytest.approx(0.225), 0)
    assert (huge["granularity_kib"], huge["units"], huge["n"], huge["untouched"]) == (2048, 0, 1, None)


def test_df_tracking_columns_and_numbers(tmp_path: Path) -> None:
    rows = []
    for block in range(7):
        rows.append(tracked("async_scan", 1000, 4000 + block, 600, block=block, missed_pages=1))
        rows.append(tracked("events", 1000, 9000 + block, 1600, block=block, spurious_pages=2))
        rows.append(tracked("untracked", 1, 70, None, block=block))
        rows += [row | {"cold": True, "write_ns": 10**9, "missed_pages": 0, "spurious_pages": 0} for row in rows[-3:-1]]
    found = {
        row["method"]: row
        for row in plain(summaries.df_tracking(synthetic_atomicity.dataset(tmp_path / "d", [], rows)))
    }
    at = {"backing": "anon", "populated": False, "size_kib": 1 << 18, "pattern": "uniform"}
    scan = [(4600 + block) / 1000 for block in range(7)]
    events = [(10_600 + block) / 1000 for block in range(7)]
    assert found["async_scan"] == at | {
        "dirty": 1000 / 65536, "method": "async_scan", "n": 7, "wrong_pages": 7,
        **ends("collect_per_gib_ns", [2400] * 7), **ends("per_page_ns", scan), **ends("page_ratio", ()),
        **ends("collect_ratio", ()),
    }  # fmt: skip
    assert found["events"] | at == found["events"]
    assert (found["events"]["wrong_pages"], found["events"]["n"]) == (14, 7)
    ratios = ends("page_ratio", (above / below for above, below in zip(events, scan, strict=True)))
    assert {name: found["events"][name] for name in ratios} == pytest.approx(ratios)
    assert found["events"]["collect_ratio"] == pytest.approx(1600 / 600)
    untracked = found["untracked"]
    assert (untracked["per_page_ns"], untracked["collect_per_gib_ns"], untracked["wrong_pages"]) == (70, None, None)
    assert untracked["n"] == 7


def test_df_atomicity_columns_and_numbers(tmp_path: Path) -> None:
    lost = [1, 2, 3, 4, 5, 6, 7]
    rows = [
        race("anon", "one_pass", 8000, n, block=n, trial=t, excluded=3, discards_since=2) for n in lost for t in (0, 1)
    ]
    rows += [race("anon", "one_pass", 0, 0, block=99, excluded=3, discards_since=2, discards_preparing=0)]
    rows += [race("shmem", "one_pass", 0, 0, discards_preparing=0)]
    some, none = plain(summaries.df_atomicity(synthetic_atomicity.dataset(tmp_path / "d", rows)))
    pooled = proportion_interval(56, 1400)
    assert (some["trials"], some["children"], some["judged"], some["lost"]) == (15, 7, 112_000, 56)
    assert (some["excluded"], some["discards_since"], some["discards_before"]) == (45, 30, 14_000)
    assert (some["judged_discarded"], some["excluded_unreported"], some["discards_preparing"]) == (14_000, 75, 1400)
    assert [some[f"lost_share{end}"] for end in ("", "_low", "_high")] == [0.04, pooled.low, pooled.high]
    assert [some[f"child_share{end}"] for end in ("", "_low", "_high")] == pytest.approx([0.04, 0.01, 0.07])
    assert (none["children"], none["lost_share"], none["child_share"]) == (0, None, None)
    one = summaries.df_atomicity(synthetic_atomicity.dataset(tmp_path / "e", [race("anon", "one_pass", 1000, 100)]))
    assert (one.children[0], one.child_share[0]) == (1, 1.0)


def test_df_reveals_has_no_error_without_a_child_of_both_states(tmp_path: Path) -> None:
    (row,) = plain(summaries.df_reveals(revealed(tmp_path / "d", [{"empty": [5, 6]}, {"marker": [50, 60]}])))
    assert (row["state"], row["other"], row["children"]) == ("empty", "marker", 0)
    assert (row["threshold_ns"], row["error"]) == (None, None)
    assert (row["state_ns"], row["other_ns"]) == (6, 60)


# --- states ----------------------------------------------------------------------------------------------------------


def test_df_reported_has_every_backing_and_feature_set(tmp_path: Path) -> None:
    rows = [state("shmem", features, True) for features in ("wp_hugetlbfs_shmem", "wp_async")]
    rows += [state("anon", "none", True, write_missing_event=True), state("anon", "wp_async", False)]
    rows += [state("anon", "missing_wp", True, content="written"), state("anon", "missing_wp", True, moment="read")]
    rows += [state("shmem", "none", False, write_seen_by_scan=None)]
    rows += [state("shmem", "missing_wp", False, write_seen_by_scan=True, moment="protected")]
    table = summaries.df_reported(synthetic.dataset(tmp_path / "d", states=rows))
    assert list(table.columns) == ["none", "wp_hugetlbfs_shmem", "wp_unpopulated", "wp_async", "missing_wp"]
    assert (table.index.name, table.columns.name) == (None, None)
    assert len(table) == 7 or "anon" in table.index
    assert list(table.loc["anon"]) == ["reported", "not measured", "not measured", "lost", "not measured"]
    assert list(table.loc["shmem"]) == ["lost", "reported", "not measured", "reported", "seen by scan"]
    other = summaries.df_reported(synthetic.dataset(tmp_path / "e", states=rows), "written", "protected")
    assert other.loc["anon", "missing_wp"] == "reported"
    read = summaries.df_reported(synthetic.dataset(tmp_path / "f", states=rows), moment="read")
    assert read.loc["anon", "missing_wp"] == "reported"


def test_df_states_has_one_page_at_each_moment(tmp_path: Path) -> None:
    rows = [
        state("anon", "none", True, moment="written", present=True, swap=False, uffd_wp=True, categories="PRESENT"),
        state("anon", "none", True, moment="before", present=False, swap=False, uffd_wp=False, categories=""),
        state("anon", "none", False, moment="discarded", swap=True, uffd_wp=True, write_missing_event=True),
        state("anon", "none", True, moment="before", content="written"),
        state("anon", "wp_async", True, moment="before"),
        state("shmem", "none", True, moment="before"),
    ]
    found = summaries.df_states(synthetic.dataset(tmp_path / "d", states=rows), "anon", "none")
    assert list(found.columns) == ["pagemap", "PAGEMAP_SCAN", "a write is"]
    assert found.index.name is None
    assert list(found.index) == ["before", "written", "discarded"]
    assert list(found.pagemap) == ["0", "present, uffd_wp", "swap, uffd_wp"]
    assert [one or "" for one in found["PAGEMAP_SCAN"].fillna("")] == ["", "PRESENT", "WRITTEN"]
    assert list(found["a write is"]) == ["reported", "reported", "missing event"]
    assert len(summaries.df_states(synthetic.dataset(tmp_path / "e", states=rows), "anon", "none", "written")) == 1


# --- channels and merges ---------------------------------------------------------------------------------------------


def test_df_merges_columns_and_numbers(tmp_path: Path) -> None:
    rows = [row for block in range(7) for row in _rounds(block, passes=True, wall_ns=10_000_000 * (block + 1))]
    for row in rows:
        row |= {"merged_ns": 1000 + row["block"], "private_ns": 100 + row["block"]}
    rows += [row for block in range(7, 14) for row in _rounds(block, passes=False, use_zero_pages=True)]
    by = {row["silent"]: row for row in plain(summaries.df_merges(merged(tmp_path / "d", rows)))}
    sending, silent = by[False], by[True]
    assert (sending["contents"], sending["use_zero_pages"], sending["pages"]) == ("agreed", False, 16)
    assert (sending["children"], sending["rounds"], sending["below_bit_s"]) == (7, 280, None)
    assert {**ends("round_ms", [10.0 * n for n in range(1, 8)])}.items() <= sending.items()
    assert {**ends("merged_ns", range(1000, 1007)), **ends("private_ns", range(100, 107))}.items() <= sending.items()
    assert {**ends("error", [0] * 7)}.items() <= sending.items()
    # 16 bits a round, less what chance alone would seem to carry.
    assert sending["bit_s"] == pytest.approx(16 / 0.04, rel=0.01)
    assert sending["bit_s_low"] == pytest.approx(16 / 0.07, rel=0.01)
    assert sending["bit_s_high"] == pytest.approx(16 / 0.01, rel=0.01)
    assert silent["error"] == pytest.approx(0.5, abs=0.03)
    assert (silent["bit_s"], silent["round_ms"], silent["p"]) == (0, 20, 1)
    assert 0 < silent["below_bit_s"] < 5


def test_df_channels_splits_children_alternately(tmp_path: Path) -> None:
    data = campaign(tmp_path / "d", point([0.0, 0.1, 0.0, 0.1, 0.0, 0.1, 0.0]))
    parts = {part: plain(summaries.df_channels(data, part))[0] for part in ("all", "choosing", "reporting")}  # type: ignore[arg-type]
    assert [parts[part]["children"] for part in parts] == [7, 4, 3]
    assert parts["choosing"]["faster_error"] == 0
    assert parts["reporting"]["faster_error"] == pytest.approx(0.1, abs=0.02)
    assert parts["all"]["faster_kbit_s_least"] == pytest.approx(parts["reporting"]["faster_kbit_s_least"])
    assert parts["all"]["faster_kbit_s_most"] == pytest.approx(parts["choosing"]["faster_kbit_s_most"])


def test_df_samples_columns_and_numbers(tmp_path: Path) -> None:
    data = campaign(tmp_path / "d", point([0.0], slower=True), point([0.5], "private", "cross", slot_ns=9000))
    first, second = plain(summaries.df_samples(data))
    assert (first["memory"], first["placement"], first["slot_ns"], first["lines"]) == ("private", "cross", 9000, 8)
    assert (second["block"], second["sample"], second["error"], second["passes"], second["slower"]) == (
        0,
        0,
        0,
        True,
        True,
    )
    assert second["kbit_s"] == pytest.approx(1000, rel=0.01)
    assert (first["passes"], first["slower"], first["registered"]) == (False, False, False)
    assert second["p"] == pytest.approx(1 / 120)
    assert first["error"] == pytest.approx(0.5, abs=0.05)


def test_df_shuffled_has_mean_and_95th_percentile(tmp_path: Path) -> None:
    data: Dataset = campaign(tmp_path / "d", point([0.0] * 3), point([0.5] * 3, silent=True), point([0.5], slot_ns=77))
    rows = plain(summaries.df_shuffled(data))
    assert {row["slot_ns"] for row in rows} == {8000}
    assert all(row["registered"] for row in rows)
    assert all(-0.6 < row["shuffled_kbit_s"] < row["shuffled_high_kbit_s"] < 3 for row in rows)


def test_cached_summary_returns_a_copy(tmp_path: Path) -> None:
    data = campaign(tmp_path / "d", point([0.0] * 3))
    first = summaries.df_channels(data)
    first["p"] = 7
    assert summaries.df_channels(data).p[0] < 1
    assert summaries.df_channels(data, "reporting").children[0] == 1
    assert summaries.df_channels(data, part="choosing").children[0] == 2
