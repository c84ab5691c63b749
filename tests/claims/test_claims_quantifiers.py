# SPDX-License-Identifier: MIT
"""A rule over all children, rows or pages is denied by a single one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import synthetic
from synthetic_faults import CHOICES, choices, dataset, equal, filled, same, sparse, speeds, touched
from test_claims import QEMU, reported, timed
from test_claims_zeropages import relatives

from uffdlab import claims

Rows = list[dict[str, Any]]


def but_one(rows: Rows, which: int, **change: Any) -> Rows:
    return [row | (change if number == which % len(rows) else {}) for number, row in enumerate(rows)]


@pytest.mark.parametrize("which", [0, 4, -1])
@pytest.mark.parametrize("state", ["on", "off"])
def test_no_huge_zeropage_needed_denied_by_one_unreported_write(tmp_path: Path, state: str, which: int) -> None:
    rows = {setting: filled("anon_thp", "pte_marker", 0, setting) for setting in ("on", "off")}
    rows[state] = but_one(rows[state], which, reported=False)
    found = claims.verdict("no-huge-zeropage-needed", dataset(tmp_path / "d", zeropages=rows["on"] + rows["off"]))
    assert found.verdict == "does not hold"


@pytest.mark.parametrize("which", [0, 8, 99])
def test_forbidden_zeropage_denied_by_one_child_whose_write_is_lost(tmp_path: Path, which: int) -> None:
    rows = but_one([row for row in relatives(0, 1) if row["design"] == "pte_marker"], which, reported=False)
    more = [row for row in relatives(0, 1) if row["design"] != "pte_marker"]
    assert (
        claims.verdict("forbidden-zeropage", dataset(tmp_path / "d", zeropages=rows + more)).verdict == "does not hold"
    )


@pytest.mark.parametrize("way", ["read loop", "MADV_POPULATE_READ"])
def test_patch_equals_populate_denied_by_one_page_in_another_state(tmp_path: Path, way: str) -> None:
    for number, odd in enumerate((same("anon", way, 0, 1), same("anon", way, 4095))):
        data = dataset(tmp_path / str(number), equality=[*equal(4096, 4096), odd])
        assert claims.verdict("patch-equals-populate", data).verdict == "does not hold"
    fine = dataset(tmp_path / "fine", equality=[*equal(4096, 4096), same("anon", way, 7, 7)])
    assert claims.verdict("patch-equals-populate", fine).verdict == "holds"


@pytest.mark.parametrize("case", CHOICES)
def test_userspace_has_choice_denied_by_one_child_whose_write_is_lost(tmp_path: Path, case: tuple[str, str]) -> None:
    rows = [*choices(), *filled(*case, 0, children=1, reported=False)]
    found = claims.verdict("userspace-has-choice", dataset(tmp_path / "d", zeropages=rows))
    assert found.words == "depends on how and where"


@pytest.mark.parametrize("lacking", ["time", "time with half of it written", "memory"])
def test_qemu_could_skip_needs_both_time_and_memory_saved(tmp_path: Path, lacking: str) -> None:
    rows = timed(9_000_000, 1_000_000, 0 if lacking == "memory" else 1 << 20)
    for row in rows:
        if row["prepare_ns"] and (lacking == "time" or (lacking.endswith("written") and row["populated"])):
            row["prepare_ns"] = 10_000
    found = claims.verdict("qemu-could-skip", synthetic.dataset(tmp_path / "d", rows, reported(True)))
    assert found.verdict == "does not hold"


def test_qemu_could_skip_needs_savings_on_one_backing_only(tmp_path: Path) -> None:
    rows = timed(9_000_000, 1_000_000, 1 << 20)
    for row in rows:
        row["prepare_ns"] = min(row["prepare_ns"], 10_000) if row["backing"] != QEMU[1] else row["prepare_ns"]
    found = claims.verdict("qemu-could-skip", synthetic.dataset(tmp_path / "d", rows, reported(True)))
    assert found.verdict == "predicted to hold"
    assert found.condition == "the guest's memory is one of hugetlb 2 MiB private"


# --- what does not count ---------------------------------------------------------------------------------------------


def test_reads_need_no_fault_ignores_other_memory_threads_and_strides(tmp_path: Path) -> None:
    rows = touched("zeropage", "plain", "first read", 5, minor_faults=0)
    rows += touched("markers", "async", "first read", 9, minor_faults=1000)
    for number, other in enumerate(({"backing": "shmem"}, {"together": True}, {"threads": 2}, {"stride_kib": 2048})):
        more = touched("zeropage", "plain", "first read", 5, minor_faults=1000, children=30, **other)
        data = dataset(tmp_path / str(number), faults=rows + more)
        assert claims.verdict("reads-need-no-fault", data).verdict == "holds", other


def test_qemu_could_skip_ignores_a_size_measured_on_one_side_only(tmp_path: Path) -> None:
    rows = timed(9_000_000, 1_000_000, 1 << 20)
    larger = [row | {"size_kib": 4 << 20, "prepare_ns": 1} for row in rows if row["design"] == "preread"]
    found = claims.verdict("qemu-could-skip", synthetic.dataset(tmp_path / "d", rows + larger, reported(True)))
    assert "populating 1 GiB takes at least 10 (in each of 9 processes) times" in found.because


@pytest.mark.parametrize("size_kib", [64 << 10, 256 << 20])
def test_a_size_that_a_rule_does_not_name_decides_nothing(tmp_path: Path, size_kib: int) -> None:
    """A ratio that grows with the size, or cold memory at the largest one, would decide alone."""
    times = [row | {"size_kib": size_kib, "prepare_ns": 1} for row in timed(9_000_000, 1_000_000, 1 << 20)]
    other = {
        "always-on-dearer": (sparse(30, 30), sparse(1, 1, size_kib=size_kib)),
        "populate-read-faster": (speeds({}, 2.0), speeds({}, 0.5, size_kib=size_kib)),
        "qemu-could-skip": (timed(9_000_000, 1_000_000, 1 << 20), times),
    }
    for name, (rows, more) in other.items():
        make = synthetic.dataset if name == "qemu-could-skip" else dataset
        states = {"states": reported(True)} if name == "qemu-could-skip" else {}
        alone = claims.verdict(name, make(tmp_path / f"{name}-alone", samples=rows, **states))
        beside = claims.verdict(name, make(tmp_path / f"{name}-beside", samples=rows + more, **states))
        assert (alone.words, alone.because, alone.effect) == (beside.words, beside.because, beside.effect), name
        absent = claims.verdict(name, make(tmp_path / f"{name}-absent", samples=more, **states))
        assert absent.verdict == "not decided", name
