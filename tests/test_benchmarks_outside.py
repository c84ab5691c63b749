# SPDX-License-Identifier: MIT
"""What benchmarks/outside reads and computes: verdicts of selftests, statements about cells, stress-ng, ratios."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from making import ROOT
from synthetic import FACTS

from uffdlab import datasets
from uffdlab.datasets import provenance
from uffdlab.errors import UffdlabError
from uffdlab.vocabulary.backings import BACKINGS
from uffdlab.vocabulary.feature_sets import FEATURE_SETS

sys.path.insert(0, str(ROOT / "benchmarks" / "outside"))  # scripts, run from there by hand
import published_ratios
import selftests
import stress_ng
import verdicts
from statements import BOOLEANS, STATEMENTS, judged

TOLD = """Testing UFFDIO_API (with syscall)... done
Testing wp-fork on anon... failed [reason: Detected stall uffd-wp bit in child in present pte]
Testing wp-fork-pin on anon... skipped [reason: Possibly CONFIG_GUP_TEST missing or unprivileged]
Testing poison on shmem... """

TAP = """TAP version 13
1..5
ok 1 wp-fork on anon
ok 2 # SKIP wp-fork-pin on anon (feature missing)
not ok 3 transact_test count 0
ok 4 # SKIP MADV_PAGEOUT did not work, is swap enabled?
ok 5 unpopulated_scan_test both paths (16, 16 of 16)
# Totals: pass:2 fail:1 xfail:0 xpass:0 skip:2 error:0"""


def test_a_test_that_was_begun_and_never_ended_has_died() -> None:
    assert verdicts.read(TOLD) == [
        verdicts.Verdict("UFFDIO_API (with syscall)", "pass"),
        verdicts.Verdict("wp-fork on anon", "fail", "Detected stall uffd-wp bit in child in present pte"),
        verdicts.Verdict("wp-fork-pin on anon", "skip", "Possibly CONFIG_GUP_TEST missing or unprivileged"),
        verdicts.Verdict("poison on shmem", "died"),
    ]


def test_tap_is_read_with_the_reason_of_a_skip() -> None:
    found = verdicts.read(TAP)
    assert found == [
        verdicts.Verdict("wp-fork on anon", "pass"),
        verdicts.Verdict("wp-fork-pin on anon", "skip", "feature missing"),
        verdicts.Verdict("transact_test count 0", "fail"),
        verdicts.Verdict("MADV_PAGEOUT did not work, is swap enabled?", "skip"),
        verdicts.Verdict("unpopulated_scan_test both paths (16, 16 of 16)", "pass"),
    ]
    assert verdicts.totals(found) == {"pass": 2, "skip": 2, "fail": 1, "died": 0}


def test_of_tests_that_share_a_name_the_worst_counts() -> None:
    found = [verdicts.Verdict("a", "pass"), verdicts.Verdict("a", "fail"), verdicts.Verdict("b (3 of 3)", "pass")]
    assert verdicts.worst(found, "a") == "fail"
    assert verdicts.worst(found, "b") == "pass"
    assert verdicts.worst(found, "c") is None


@pytest.mark.parametrize(
    ("ended", "seen", "says"),
    [
        ("pass", True, "supports"),
        ("pass", False, "contradicts"),
        ("fail", True, "contradicts"),
        ("fail", False, "supports"),
        ("pass", None, "not measured"),
        ("skip", True, "says nothing"),
        ("died", True, "says nothing"),
        (None, True, "says nothing"),
    ],
)
def test_selftest_judges_a_cell_by_its_end_and_coverage(ended: str | None, seen: bool | None, says: str) -> None:
    assert judged(ended, True, seen) == says


def test_every_statement_is_about_a_cell_that_the_reference_has() -> None:
    committed = selftests.reference()
    for one in STATEMENTS:
        assert one.backing in BACKINGS
        assert one.features in FEATURE_SETS
        assert one.column in (*BOOLEANS, "has WRITTEN", "has PFNZERO")
        assert one.seen(committed[one.cell]) is one.value, one


def _passed() -> list[selftests.Run]:
    tests = {one.program: [s for s in STATEMENTS if s.program == one.program] for one in STATEMENTS}
    return [selftests.Run(p, 0, [verdicts.Verdict(s.test, "pass") for s in ones]) for p, ones in tests.items()]


def test_a_cell_that_reads_otherwise_contradicts_the_selftest_and_no_other() -> None:
    committed = dict(selftests.reference())
    wrong = next(one for one in STATEMENTS if one.column == "after_uffd_wp")
    here = committed | {wrong.cell: dict(committed[wrong.cell]) | {wrong.column: not wrong.value}}
    cells = selftests.compared(_passed(), here, committed)
    assert [cell["test"] for cell in cells if cell["here"] == "contradicts"] == [wrong.test]
    assert {cell["reference"] for cell in cells} == {"supports"}


def test_coverage_names_columns_not_covered_by_any_selftest() -> None:
    committed = selftests.reference()
    coverage = selftests.covered(selftests.compared(_passed(), committed, committed), len(committed))
    assert coverage["rows_spoken_of"] == len({one.cell for one in STATEMENTS})
    assert "write_reported" in coverage["columns_never_spoken_of"]
    assert "uffd_wp" not in coverage["columns_never_spoken_of"]


def test_a_program_that_does_not_end_or_complains_is_recorded_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftests, "TIMEOUT_S", 1)
    hanging, dying = tmp_path / "hanging", tmp_path / "dying"
    hanging.write_text("#!/bin/sh\necho 'ok 1 first'\nexec sleep 60\n")
    dying.write_text("#!/bin/sh\necho 'Testing poison on shmem... '\necho 'ERROR: UFFDIO_COPY' >&2\nexit 1\n")
    for program in (hanging, dying):
        program.chmod(0o755)
    assert selftests.execute(hanging) == selftests.Run(
        "hanging", None, [verdicts.Verdict("first", "pass")], "no end within 1 s"
    )
    assert selftests.execute(dying) == selftests.Run(
        "dying", 1, [verdicts.Verdict("poison on shmem", "died")], "ERROR: UFFDIO_COPY"
    )


METRICS = """metrics:
    - stressor: userfaultfd
      bogo-ops: 50000
      wall-clock-time: 1.000000
      nanosecs-per-page-fault: 18034.631527
"""


def test_stress_ngs_metrics_and_its_whole_run_per_fault() -> None:
    assert stress_ng.read_yaml(METRICS) == {stress_ng.THEIRS: 18034.631527, stress_ng.WHOLE: 20000.0}


def test_metrics_without_a_fault_are_refused() -> None:
    with pytest.raises(UffdlabError, match="nanosecs-per-page-fault"):
        stress_ng.read_yaml("      bogo-ops: 1\n      wall-clock-time: 1.0\n")
    with pytest.raises(UffdlabError, match="no fault"):
        stress_ng.read_yaml(METRICS.replace("50000", "0"))


def test_a_ratio_within_a_round_is_not_moved_by_a_busy_machine_and_has_an_interval_from_six_rounds() -> None:
    one = dict.fromkeys(stress_ng.OURS, 10000.0) | {stress_ng.THEIRS: 15_000.0, stress_ng.WHOLE: 16_000.0}
    slowed = [{name: ns * times for name, ns in one.items()} for times in (1, 2, 1, 3, 1, 2)]
    few, enough = (stress_ng.estimates(rounds)["stress_ng_over"]["missing, write"] for rounds in (slowed[1:], slowed))
    assert (few["value"], few["low"]) == (1.5, None)
    assert (enough["value"], enough["low"], enough["high"]) == (1.5, 1.5, 1.5)


@pytest.mark.uffd
@pytest.mark.parametrize("which", stress_ng.OURS)
def test_each_page_of_ours_is_one_event(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stress_ng, "SIZE", 2 << 20)
    assert stress_ng.ours(which) > 0


FIELDS: list[dict[str, Any]] = [
    {"name": "block", "type": "integer"},
    {"name": "thp", "type": "string"},
    {"name": "mode", "type": "string"},
    {"name": "order", "type": "integer"},
    {"name": "size_kib", "type": "integer"},
    {"name": "total_ns", "type": "integer"},
]
TIMES = {"DEFAULT": 4, "PRE-READ": 9000, "MADVISE": 3000, "WP-UNPOPULATE": 100}


def _runs(out: Path, blocks: int, thp: str = "always", **times: int) -> list[dict[str, Any]]:
    modes = TIMES | {name.replace("_", "-"): ns for name, ns in times.items()}
    return [
        {"block": block, "thp": thp, "mode": mode, "order": order, "size_kib": 1 << 20, "total_ns": ns * (block + 1)}
        for block in range(blocks)
        for order, (mode, ns) in enumerate(modes.items())
    ]


def _dataset(out: Path, rows: list[dict[str, Any]]) -> datasets.Dataset:
    described = [field | {"description": field["name"]} for field in FIELDS]
    table = datasets.Table("published_runs", described, rows)
    return datasets.write(out, id="made-up", title="made up for a test", tables=[table], provenance=FACTS)


@pytest.fixture(scope="module")
def thread() -> datasets.Dataset:
    return datasets.load(ROOT / "data" / "published")


def test_a_ratio_is_taken_within_a_process_and_stands_beside_the_published_one(
    tmp_path: Path, thread: datasets.Dataset
) -> None:
    off = [row | {"block": row["block"] + 7} for row in _runs(tmp_path, 2, "never", MADVISE=200)]
    found = published_ratios.ratios(_dataset(tmp_path / "made", _runs(tmp_path, 7) + off), thread)
    by_key = {(one.thp, one.top): one for one in found}
    always = by_key["always", "PRE-READ"]
    # Every block is twice as slow as the one before, and the ratio is the same in each.
    assert (always.measured.value, always.measured.low, always.measured.high) == (90, 90, 90)
    assert always.published == {"anjum-always": pytest.approx(1.559, abs=0.001)}
    assert by_key["always", "MADVISE"].published == {"anjum-always": pytest.approx(0.340, abs=0.001)}
    never = by_key["never", "MADVISE"]
    assert (never.measured.value, never.measured.low, never.measured.n) == (2, None, 2)
    assert never.published == {"anjum-madvise": pytest.approx(23.76, abs=0.01)}
    assert by_key["never", "PRE-READ"].published == {"anjum-madvise": pytest.approx(94.9, abs=0.01)}


def test_table_marks_too_few_blocks_and_unrecorded_thp(tmp_path: Path, thread: datasets.Dataset) -> None:
    found = published_ratios.ratios(_dataset(tmp_path / "made", _runs(tmp_path, 2)), thread)
    lines = published_ratios.table(found, published_ratios.unrecorded(thread)).splitlines()
    assert len(lines) == 1 + 2 + 4
    assert "too few blocks" in lines[1]
    assert lines[1].endswith("1.56 (anjum-always)")
    assert lines[3].endswith("2.09 (anjum-first)")
    assert lines[-1].endswith("108 (xu-vm)")


def test_a_mode_twice_in_a_block_is_refused(tmp_path: Path) -> None:
    rows = _runs(tmp_path, 1)
    with pytest.raises(UffdlabError, match="more than once"):
        published_ratios.measured(_dataset(tmp_path / "made", [*rows, rows[1]]))


def test_a_dataset_without_such_runs_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only_default = [row for row in _runs(tmp_path, 1) if row["mode"] == "DEFAULT"]
    with pytest.raises(UffdlabError, match="no block"):
        published_ratios.measured(_dataset(tmp_path / "made", only_default))
    assert published_ratios.main([str(ROOT / "data" / "published")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", ["selftests", "stress_ng"])
def test_recorded_results_say_nothing_of_whose_machine_it_was(name: str) -> None:
    recorded = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    assert not provenance.problems(recorded["host"])


def test_a_statement_asserts_one_thing_of_one_cell_once() -> None:
    assert len({replace(one, value=True) for one in STATEMENTS}) == len(STATEMENTS)
