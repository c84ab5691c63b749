# SPDX-License-Identifier: MIT
"""Which tracker for which dirty rate: the rule on made-up epochs, and the break-even share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_trackers import METHODS, Cost, dataset, epoch, epochs

from uffdlab import claims, notebook
from uffdlab.claims import Evidence, Verdict
from uffdlab.claims import trackers as rule
from uffdlab.measure import suites
from uffdlab.measure.trackers import DECIDING_SPECS
from uffdlab.stats import Estimate

CLAIM = claims.find("tracker-choice")


def flat(scan: float, others: float) -> Cost:
    return lambda method, dirty: scan if method == "async_scan" else others


def per_page(method: str, dirty: float) -> float:
    """Return a pause that is as long as the range for the scan, and by page for the others: even at 1 %."""
    return 1_000_000 if method == "async_scan" else 100_000_000 * dirty


def decided(out: Path, p99: Cost, pause: Cost, slower: Cost, children: int = 12) -> Verdict:
    return CLAIM.verdict(Evidence(dataset(out, epochs(p99, pause, slower, children))))


def test_a_scan_that_is_never_dearer_is_the_tracker_to_choose(tmp_path: Path) -> None:
    found = decided(tmp_path / "d", flat(1000, 5000), flat(100_000, 100_000), flat(1_000_000, 2_000_000))
    assert found.verdict == "holds"
    assert found.effect == pytest.approx(1, abs=0.05)
    assert "p99 of a write of the scan: less than all of 3 others at 0.1% to 30.0% dirty" in found.because


def test_a_scan_that_is_dearer_by_everything_everywhere_is_not(tmp_path: Path) -> None:
    found = decided(tmp_path / "d", flat(5000, 1000), flat(300_000, 100_000), flat(4_000_000, 2_000_000))
    assert found.verdict == "does not hold"
    assert found.effect == pytest.approx(5, rel=0.01)


def test_a_pause_that_turns_makes_it_depend_on_the_dirty_rate(tmp_path: Path) -> None:
    found = decided(tmp_path / "d", flat(1000, 5000), per_page, flat(1_000_000, 8_000_000))
    assert found.words == "depends on dirty rate"
    assert found.effect == pytest.approx(0.01, rel=0.05)
    assert "pause: from 3.0% dirty on" in (found.condition or "")
    assert "pause of the scan: less than all of 3 others at 3.0% to 30.0% dirty, more than mprotect" in found.because


def test_what_lies_between_the_thresholds_is_not_decided(tmp_path: Path) -> None:
    found = decided(tmp_path / "d", flat(1300, 1000), flat(100_000, 100_000), flat(1_000_000, 2_000_000))
    assert (found.verdict, found.short_of) == ("not decided", "certainty"), "dearer somewhere, cheapest nowhere by it"
    wide = decided(tmp_path / "e", flat(1000, 5000), flat(100_000, 100_000), flat(1_000_000, 2_000_000), children=11)
    assert wide.verdict == "not decided", "eleven children give no interval that holds for all cases together"


@pytest.mark.parametrize("missing", ["mprotect", "async_scan"])
def test_a_method_that_was_not_measured_is_said(tmp_path: Path, missing: str) -> None:
    rows = epochs(flat(1, 1), flat(1, 1), flat(1, 1), methods=[name for name in METHODS if name != missing])
    found = CLAIM.verdict(Evidence(dataset(tmp_path / "d", rows)))
    assert (found.verdict, found.short_of) == ("not decided", "measurement")
    assert "timed side by side in" in found.because


def test_a_dataset_without_trackers_is_not_decided(tmp_path: Path) -> None:
    found = CLAIM.verdict(Evidence(dataset(tmp_path / "d", [epoch("nothing", 0.01, 0)])))
    assert (found.verdict, found.short_of) == ("not decided", "measurement")
    without = claims.verdict("tracker-choice", Evidence(notebook.load_published()))
    assert "trackers were not timed side by side" in without.because


def test_soft_dirty_bits_are_compared_where_the_kernel_has_them(tmp_path: Path) -> None:
    rows = epochs(flat(1000, 5000), flat(100_000, 100_000), flat(1e6, 2e6), methods=[*METHODS, "soft_dirty"])
    found = CLAIM.verdict(Evidence(dataset(tmp_path / "d", rows)))
    assert found.verdict == "holds"
    assert any("soft-dirty bits" in line for line in found.evidence)


def test_the_suite_measures_the_points_of_the_rule_in_twelve_children() -> None:
    points = {(spec.backing, spec.size_bytes >> 10, spec.dirty, spec.pattern) for spec in DECIDING_SPECS}
    assert points == {("anon", rule.SIZE_KIB, dirty, "uniform") for dirty in rule.DIRTY}
    (work,) = (work for work in suites.SUITES["trackers"].work if work.specs == DECIDING_SPECS)
    assert work.rounds >= 12


# --- break-even ------------------------------------------------------------------------------------------------------


def sure(value: float, spread: float = 1.0) -> Estimate:
    return Estimate(value, value / spread, value * spread, 12)


@given(st.floats(0.002, 0.2), st.floats(1.0, 1.5))
def test_the_break_even_of_a_power_law_is_where_it_crosses_1(even: float, spread: float) -> None:
    found = rule.break_even({dirty: sure(even / dirty, spread) for dirty in rule.DIRTY})
    assert found is not None
    assert found.value == pytest.approx(even, rel=1e-6)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
    assert found.low == pytest.approx(max(even / spread, rule.DIRTY[0]), rel=1e-6)
    assert found.high == pytest.approx(min(even * spread, rule.DIRTY[-1]), rel=1e-6)


@pytest.mark.parametrize("values", [(2, 2, 2), (0.5, 0.5, 0.5), (0.5, 2, 3), (2, 0.5, 2)])
def test_there_is_no_break_even_where_a_ratio_does_not_fall_below_1_and_stay_there(values: tuple[float, ...]) -> None:
    assert rule.break_even(dict(zip((0.01, 0.1, 1.0), map(sure, values), strict=True))) is None


def test_a_break_even_without_intervals_has_none() -> None:
    found = rule.break_even({0.01: Estimate(2, None, None, 3), 0.1: sure(0.5)})
    assert found is not None
    assert found.interval is None
