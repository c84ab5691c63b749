# SPDX-License-Identifier: MIT
"""Cost of one marker and the time to protect that it predicts: whole frames from samples made by hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
from synthetic import sample
from test_summaries_frames import plain

from uffdlab import summaries


def marked(backing: str, design: str, kib: int, times: Iterable[int], **more: Any) -> list[dict[str, Any]]:
    return [sample(backing, design, 0, ns, size_kib=kib, table_growth_kib=kib // 512, **more) for ns in times]


def test_df_entry_costs_columns_and_numbers(tmp_path: Path) -> None:
    small, large = [1000 + n for n in range(7)], [9000 + 10 * n for n in range(7)]
    rows = marked("anon", "pte_marker", 400, small) + marked("anon", "pte_marker", 4400, large)
    rows += marked("anon", "pte_marker", 2400, [4000] * 7) + marked("anon", "pte_marker", 400, [1] * 7, populated=0.5)
    rows += marked("anon", "preread", 99_999, [7] * 7) + marked("shmem", "unprotected", 400, [50] * 7)
    rows += marked("hugetlb_2m_private", "unprotected", 4096, [10] * 7)
    rows += marked("hugetlb_2m_private", "unprotected", 40_960, [28] * 7)
    data = synthetic.dataset(tmp_path / "d", rows)
    times = summaries.df_marker_times(data)
    assert list(zip(times.backing, times.size_kib, strict=True)) == [
        ("anon", 400), ("anon", 2400), ("anon", 4400), ("hugetlb_2m_private", 4096), ("hugetlb_2m_private", 40_960),
        ("shmem", 400),
    ]  # fmt: skip
    anon, huge = plain(summaries.df_entry_costs(data))
    assert anon.pop("measured") == ((400, 1003, 1000, 1006), (2400, 4000, 4000, 4000), (4400, 9030, 9000, 9060))
    slope, _ = np.polyfit([100, 600, 1100], [1003, 4000, 9030], 1, w=[1 / 1003, 1 / 4000, 1 / 9030])
    assert anon == {
        "backing": "anon", "entry_kib": 4, "size_kib": 4400, "table_kib": 8,
        "ns_per_entry": pytest.approx(slope), "ns_per_entry_low": pytest.approx(slope), "ns_per_entry_high": 8.06,
        "beyond_ns_per_entry": 8.027, "beyond_ns_per_entry_low": 7.994, "beyond_ns_per_entry_high": 8.06,
        "protect_ns": 9030, "protect_ns_low": 9000, "protect_ns_high": 9060,
    }  # fmt: skip
    assert (huge["entry_kib"], huge["ns_per_entry"]) == (2048, pytest.approx(1))
    between, beyond = plain(summaries.df_prediction_check(data))
    predicted = 9030 - 500 * 8.027
    assert between == {
        "backing": "anon", "size_kib": 2400, "measured_ns": 4000,
        "predicted_ns": pytest.approx(predicted), "error": pytest.approx(predicted / 4000 - 1),
    }  # fmt: skip
    assert (beyond["size_kib"], beyond["predicted_ns"]) == (4400, pytest.approx(4000 + 2997))
    none = summaries.df_prediction_check(synthetic.dataset(tmp_path / "none", rows[:7]))
    assert list(none.columns) == ["backing", "size_kib", "measured_ns", "predicted_ns", "error"]


def test_sizes_beyond_64_gib_decide_no_cost_and_show_the_error_of_the_line(tmp_path: Path) -> None:
    gib = 1 << 20
    rows = [row for n in (1, 8, 64) for row in marked("anon", "pte_marker", n * gib, [1000 + n * 10_000] * 7)]
    rows += marked("anon", "pte_marker", 256 * gib, [4_000_000] * 7)
    data = synthetic.dataset(tmp_path / "d", rows)
    (cost,) = plain(summaries.df_entry_costs(data))
    assert cost["ns_per_entry"] * (1 << 18) == pytest.approx(10_000)
    assert cost["beyond_ns_per_entry"] > 1.5 * cost["ns_per_entry"]
    errors = {check["size_kib"] // gib: check["error"] for check in plain(summaries.df_prediction_check(data))}
    assert errors == {
        8: pytest.approx(0, abs=1e-9),
        64: pytest.approx(0, abs=1e-9),
        256: pytest.approx(-0.36, abs=0.01),
    }


def test_df_entry_costs_skips_a_backing_measured_at_one_size(tmp_path: Path) -> None:
    rows = marked("anon", "pte_marker", 400, [1000] * 7) + marked("hugetlb_2m_private", "unprotected", 4096, [10] * 7)
    rows += marked("hugetlb_2m_private", "unprotected", 40_960, [28] * 7)
    costs = summaries.df_entry_costs(synthetic.dataset(tmp_path / "d", rows))
    assert list(costs.backing) == ["hugetlb_2m_private"]


def test_predict_protect_ns_band_widens_both_ways_and_is_not_negative(tmp_path: Path) -> None:
    rows = marked("anon", "pte_marker", 400, [1000 + n for n in range(7)])
    rows += marked("anon", "pte_marker", 4400, [9000 + 10 * n for n in range(7)])
    (cost,) = list(summaries.records(summaries.df_entry_costs(synthetic.dataset(tmp_path / "d", rows))))
    more = (8400 - 4400) / 4
    assert summaries.predict_protect_ns(cost, 8400) == pytest.approx(
        (9030 + 8.027 * more, 9000 + 7.994 * more, 9060 + 8.06 * more)
    )
    assert summaries.predict_protect_ns(cost, 4400) == (9030, 9000, 9060)
    fewer = (400 - 4) / 4
    assert summaries.predict_protect_ns(cost, 4) == pytest.approx(
        (1003 - 8.027 * fewer, 1000 - 8.06 * fewer, 1006 - 7.994 * fewer)
    )
    assert summaries.predict_protect_ns(cost, 2400) == (5016.5, 5000, 5033), "half way between its neighbours"
    steep = pd.Series({"size_kib": 4000, "entry_kib": 4, "ns_per_entry": 1.0, "ns_per_entry_low": 1.0,
                       "ns_per_entry_high": 1.0, "measured": ((4000, 10.0, 9.0, 11.0),)})  # fmt: skip
    assert summaries.predict_protect_ns(steep, 4) == pytest.approx((0.01, 0.009, 0.011)), "in proportion, never below 0"
