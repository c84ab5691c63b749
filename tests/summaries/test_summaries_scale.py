# SPDX-License-Identifier: MIT
"""How operations scale: medians per page, and speedups within a child, from rows made up for it."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import pytest
from synthetic import FACTS

from uffdlab import datasets, summaries
from uffdlab.datasets import Dataset
from uffdlab.probes import scale
from uffdlab.stats import median_interval

PAGES = 1000
_ROW = {
    "sample": 1, "turn": 0, "cold": False, "sharing": "same_2mib", "stride_kib": 4, "operation": "write_nothing",
    "pages": PAGES, "cpu_ns": 0, "system_us": 0, "minor_faults": PAGES, "voluntary_switches": 0,
    "involuntary_switches": 0, "spin_waits": None, "semaphore_waits": None, "tlb_ipis": None, "mmap_lock_waits": None,
    "table_lock_waits": None, "vma_lock_fallbacks": None,
}  # fmt: skip


def _row(block: int, threads: int, ns_per_page: float, **more: Any) -> dict[str, Any]:
    wall_ns = round(ns_per_page * PAGES)
    return _ROW | {"block": block, "threads": threads, "wall_ns": wall_ns, "busy_ns": wall_ns * threads} | more


def _dataset(out: Path, rows: list[dict[str, Any]]) -> Dataset:
    made = [datasets.Table("scale", scale.FIELDS, rows), datasets.Table("scale_threads", scale.THREAD_FIELDS, [])]
    return datasets.write(out, id="made-up", title="made up for a test", tables=made, provenance=FACTS)


# By child: one thread, two threads. Their quotients are not the quotient of their medians.
TIMES = [(100, 50), (110, 100), (120, 100), (130, 80), (140, 70), (150, 140), (160, 100)]


def test_df_scale_has_times_per_page_and_the_speedup_within_a_child(tmp_path: Path) -> None:
    rows = [
        _row(child, threads, ns, voluntary_switches=child * PAGES, cpu_ns=2 * ns * PAGES)
        for child, times in enumerate(TIMES)
        for threads, ns in enumerate(times, 1)
    ]
    rows += [_row(child, 1, 9999, cold=True, sample=0) for child in range(7)]
    one, two = summaries.df_scale(_dataset(tmp_path / "d", rows)).to_dict("records")
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
    frame = summaries.df_scale(_dataset(tmp_path / "d", [_row(0, 1, 100), _row(0, 2, 60)]))
    assert list(frame.threads) == [1, 2]
    assert frame.speedup_low.isna().all(), "one child has no interval"


def test_df_scale_has_no_speedup_over_another_child_or_another_way_of_sharing(tmp_path: Path) -> None:
    rows = [_row(0, 1, 100), _row(1, 2, 50), _row(1, 1, 100, sharing="own_1gib")]
    frame = summaries.df_scale(_dataset(tmp_path / "d", rows))
    assert len(frame) == 3
    assert frame.speedup.isna().all()


def test_df_scale_without_a_time_has_no_speedup(tmp_path: Path) -> None:
    frame = summaries.df_scale(_dataset(tmp_path / "d", [_row(0, 1, 100), _row(0, 2, 0)]))
    assert frame.speedup.isna().all()


def test_df_scale_without_rows_is_empty(tmp_path: Path) -> None:
    assert summaries.df_scale(_dataset(tmp_path / "d", [])).empty
