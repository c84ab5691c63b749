# SPDX-License-Identifier: MIT
"""The cost of a tracker in two parts: by page of the range, and by written page."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic_trackers
from hypothesis import given, settings
from hypothesis import strategies as st

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.summaries.tracker_costs import TrackerCost, break_even, fit

SHARES = (0.003, 0.03, 0.3)
SIZES_KIB = (64 << 10, 256 << 10, 1 << 20)
PARTS = {"async_scan": (2.0, 50.0), "events": (90.0, 30.0), "events_each": (0.0, 800.0), "mprotect": (0.5, 2500.0)}


def _rows(parts: dict[str, tuple[float, float]], children: int = 8, **more: Any) -> list[dict[str, Any]]:
    """Return pauses of each method that are exactly of two parts; every child measures one point by all methods."""
    rows, block = [], 0
    for size_kib in SIZES_KIB:
        for dirty in SHARES:
            written = round(size_kib / 4 * dirty)
            for _ in range(children):
                rows.append(synthetic_trackers.epoch("nothing", dirty, block, size_kib=size_kib))
                for method, (page, each) in parts.items():
                    pause = {"rearm_ns": round(page * size_kib / 4 + each * written), "dirty_pages": written}
                    row = synthetic_trackers.epoch(method, dirty, block, size_kib=size_kib)
                    rows.append(row | {"writes": written} | pause | more)
                block += 1
    return rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return synthetic_trackers.dataset(tmp_path_factory.mktemp("d") / "data", _rows(PARTS))


def test_the_parts_of_every_method_are_found(data: Dataset) -> None:
    found = summaries.tracker_costs(data, "pause_ns")
    assert list(found) == ["async_scan", "events", "events_each", "mprotect"]
    for method, (page, each) in PARTS.items():
        assert found[method].per_page == pytest.approx(page, rel=1e-3, abs=1e-3)
        assert found[method].per_written == pytest.approx(each, rel=1e-3)


def test_what_is_exactly_of_two_parts_is_predicted_from_the_other_points(data: Dataset) -> None:
    checks = summaries.df_tracker_check(data, "pause_ns")
    assert len(checks) == len(PARTS) * len(SHARES) * len(SIZES_KIB)
    assert checks.error.abs().max() < 0.001


def test_the_share_at_which_costs_are_equal_does_not_depend_on_the_range(data: Dataset) -> None:
    found = summaries.tracker_costs(data, "pause_ns")
    scan, each = found["async_scan"], found["events_each"]
    even = break_even(scan, each)
    assert even.value == pytest.approx(2 / 750, rel=1e-3)
    for pages in (1 << 14, 1 << 28):
        assert scan.at(pages, even.value).value == pytest.approx(each.at(pages, even.value).value)
    rows = summaries.df_break_even(data, "pause_ns").set_index("method")
    assert rows.cheaper.to_dict() == {"events": "up to", "events_each": "from", "mprotect": "from"}
    assert rows.share["events"] == pytest.approx(88 / 20, rel=1e-3), "beyond all pages: cheaper at every share"


def test_the_cheapest_method_changes_with_the_share(data: Dataset) -> None:
    rows = summaries.df_cheapest(data, "pause_ns", 256 << 10, (0.001, 0.01, 0.1))
    assert list(rows.method) == ["events_each", "async_scan", "async_scan"]
    assert (rows.ratio >= 1).all()


def test_mprotect_is_not_predicted_beyond_its_mappings(data: Dataset) -> None:
    mprotect = summaries.tracker_costs(data, "pause_ns")["mprotect"]
    assert mprotect.works(65_536, 0.3)
    assert not mprotect.works(65_536 * 4, 0.3)
    assert mprotect.works(65_536, 1.0)
    assert not mprotect.works(65_536 * 4, 1.0), "all pages are one mapping at the end, and were many on the way"
    assert summaries.tracker_costs(data, "pause_ns")["events"].works(1 << 28, 0.5)


def test_samples_that_ran_out_of_mappings_are_not_fitted(tmp_path: Path) -> None:
    rows = _rows(PARTS)
    for row in rows:
        if row["method"] == "mprotect" and row["size_kib"] == 1 << 20 and row["dirty"] == 0.3:
            row |= {"gave_up": True, "rearm_ns": 1}
    found = summaries.tracker_costs(synthetic_trackers.dataset(tmp_path / "d", rows), "pause_ns")
    assert found["mprotect"].per_written == pytest.approx(2500, rel=1e-3)


def test_the_band_holds_the_children_and_is_the_same_each_time(tmp_path: Path) -> None:
    rows = _rows({"async_scan": (2.0, 50.0)}, children=9)
    for row in rows:
        if row["method"] == "async_scan":
            row["rearm_ns"] = round(row["rearm_ns"] * (1 + (row["block"] % 9 - 4) / 20))
    cost = [
        summaries.tracker_costs(synthetic_trackers.dataset(tmp_path / name, rows), "pause_ns")["async_scan"]
        for name in ("a", "b")
    ]
    first, second = (one.at(65_536, 0.03) for one in cost)
    assert first == second
    assert first.interval is not None
    assert 0.8 * first.value < first.interval[0] < first.value < first.interval[1] < 1.2 * first.value


def test_one_share_cannot_tell_the_parts_apart() -> None:
    pages = np.array([1e4, 2e4, 4e4])
    assert fit(pages, pages * 0.1, pages * 7.0) is None
    assert fit(pages[:1], pages[:1] * 0.1, pages[:1]) is None


@settings(max_examples=60, deadline=None)
@given(st.just(0.0) | st.floats(0.001, 200), st.just(0.0) | st.floats(0.01, 20_000))
def test_any_two_parts_are_found_again(per_page: float, per_written: float) -> None:
    points = [(size / 4, size / 4 * share) for size in SIZES_KIB for share in SHARES]
    pages, written = (np.array(one) for one in zip(*points, strict=True))
    found = fit(pages, written, per_page * pages + per_written * written)
    if per_page + per_written == 0:
        assert found is None
        return
    assert found is not None
    predicted = found[0] * pages + found[1] * written
    assert predicted == pytest.approx(per_page * pages + per_written * written, rel=1e-6)
    assert (found >= 0).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1e5, 1e8), min_size=9, max_size=9))
def test_no_part_is_ever_negative_and_none_fits_better(values: list[float]) -> None:
    points = [(size / 4, size / 4 * share) for size in SIZES_KIB for share in SHARES]
    pages, written = (np.array(one) for one in zip(*points, strict=True))
    measured = np.array(values)
    found = fit(pages, written, measured)
    assert found is not None
    assert (found >= 0).all()

    def loss(a: float, b: float) -> float:
        return float((((a * pages + b * written) / measured - 1) ** 2).sum())

    here = loss(*found)
    for a in (0.9, 1.1):
        assert loss(found[0] * a, found[1]) >= here * (1 - 1e-9)
        assert loss(found[0], found[1] * a) >= here * (1 - 1e-9)
    assert loss(found[0] + 1e-3, found[1]) >= here * (1 - 1e-6)


def test_break_even_of_methods_that_never_cross() -> None:
    def cost(page: float, each: float) -> TrackerCost:
        return TrackerCost("m", page, each, np.tile([page, each], (5, 1)))

    assert break_even(cost(1, 1), cost(2, 3)).value == 0
    assert math.isinf(break_even(cost(3, 3), cost(2, 1)).value)
    assert cost(0, 0).ratio(cost(1, 1), 0.1) is None


def test_a_dataset_without_trackers_has_no_costs() -> None:
    with tempfile.TemporaryDirectory() as directory:
        data = synthetic_trackers.dataset(Path(directory) / "d", [])
        for cost in ("pause_ns", "epoch_ns"):
            assert summaries.tracker_costs(data, cost) == {}
            assert summaries.df_break_even(data, cost).empty
            assert summaries.df_cheapest(data, cost, 1024, (0.1,)).empty
            assert summaries.df_tracker_check(data, cost).empty
