# SPDX-License-Identifier: MIT
"""Verdicts on the hugetlb claims from synthetic datasets; verdicts as JSON, HTML and tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from synthetic import HUGETLB, dataset, sample, state

from uffdlab import claims, notebook
from uffdlab.errors import UffdlabError

# Decided from a list of documents, and from the committed costs, whatever was measured.
NOT_MEASURED = {"zeropage-other-contexts", "spread-cost-later"}
QEMU = ("shmem", "hugetlb_2m_private", "hugetlb_2m_shared")


def judge(tmp_path: Path, id_: str, **rows: Any) -> claims.Verdict:
    return claims.verdict(id_, dataset(tmp_path / "d", **rows))


def hugetlb(none: bool, unpopulated: bool, backings: tuple[str, ...] = HUGETLB) -> list[dict[str, Any]]:
    return [state(b, f, r) for b in backings for f, r in (("none", none), ("wp_unpopulated", unpopulated))]


# --- the list of claims ----------------------------------------------------------------------------------------------


def test_claims_have_unique_ids_and_a_rule_each() -> None:
    assert len({claim.id for claim in claims.CLAIMS}) == len(claims.CLAIMS) == 30
    assert all(claim.rule and claim.needs and claim.lacks and claim.who and claim.says for claim in claims.CLAIMS)


def test_empty_dataset_leaves_every_claim_undecided_and_names_what_is_missing(tmp_path: Path) -> None:
    verdicts = [verdict for verdict in claims.verdicts(dataset(tmp_path / "d")) if verdict.id not in NOT_MEASURED]
    assert {verdict.verdict for verdict in verdicts} == {"not decided"}
    assert all(verdict.missing for verdict in verdicts)


def test_dataset_without_the_tables_leaves_every_claim_undecided() -> None:
    verdicts = claims.verdicts(notebook.load_published())
    assert {verdict.verdict for verdict in verdicts if verdict.id not in NOT_MEASURED} == {"not decided"}


def test_unknown_claim_id_is_refused() -> None:
    with pytest.raises(UffdlabError, match="no claim is called 'nonsense'"):
        claims.find("nonsense")


# --- hugetlb-needs-feature -------------------------------------------------------------------------------------------


def test_hugetlb_needs_feature_when_it_makes_a_lost_write_reported(tmp_path: Path) -> None:
    assert judge(tmp_path, "hugetlb-needs-feature", states=hugetlb(False, True)).verdict == "holds"


def test_hugetlb_needs_feature_depends_on_the_backing(tmp_path: Path) -> None:
    rows = hugetlb(False, True, HUGETLB[:1]) + hugetlb(True, True, HUGETLB[1:])
    found = judge(tmp_path, "hugetlb-needs-feature", states=rows)
    assert found.words == "depends on the backing"
    assert found.condition == "the memory is hugetlb 2 MiB private"


def test_hugetlb_needs_feature_depends_only_where_it_is_measured_on_both_sides(tmp_path: Path) -> None:
    gained, same = hugetlb(False, True, HUGETLB[:1]), hugetlb(True, True, HUGETLB[1:2])
    assert judge(tmp_path / "one", "hugetlb-needs-feature", states=gained).verdict == "not decided"
    assert judge(tmp_path / "two", "hugetlb-needs-feature", states=gained + same).verdict == "depends"


@pytest.mark.parametrize("reported", [True, False])
def test_hugetlb_needs_feature_does_not_hold_when_it_changes_nothing(tmp_path: Path, reported: bool) -> None:
    assert judge(tmp_path, "hugetlb-needs-feature", states=hugetlb(reported, reported)).verdict == "does not hold"


def test_hugetlb_needs_feature_undecided_while_a_backing_is_not_measured(tmp_path: Path) -> None:
    found = judge(tmp_path, "hugetlb-needs-feature", states=hugetlb(True, True, HUGETLB[:3]))
    assert found.verdict == "not decided"
    assert "hugetlb 1 GiB shared" in found.because


def test_hugetlb_needs_feature_counts_empty_protected_pages_only(tmp_path: Path) -> None:
    rows = [row | {"moment": "discarded"} for row in hugetlb(False, True)]
    rows += [row | {"content": "written"} for row in hugetlb(False, True)]
    assert judge(tmp_path, "hugetlb-needs-feature", states=rows).verdict == "not decided"


def test_contradicting_state_rows_leave_the_claim_undecided(tmp_path: Path) -> None:
    rows = hugetlb(True, True) + hugetlb(False, True)
    assert judge(tmp_path, "hugetlb-needs-feature", states=rows).verdict == "not decided"


# --- hugetlb-already-works -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("two_mib", "one_gib", "verdict"),
    [
        (True, True, "holds"),
        (True, False, "depends on the backing"),
        (False, True, "depends on the backing"),
        (False, False, "does not hold"),
        (True, None, "not decided"),
        (None, None, "not decided"),
    ],
)
def test_hugetlb_already_works(tmp_path: Path, two_mib: bool | None, one_gib: bool | None, verdict: str) -> None:
    answers = {"hugetlb_2m_private": two_mib, "hugetlb_1g_private": one_gib}
    rows = [state(backing, "none", answer) for backing, answer in answers.items() if answer is not None]
    assert judge(tmp_path, "hugetlb-already-works", states=rows).words == verdict


# --- qemu-could-skip -------------------------------------------------------------------------------------------------


def timed(
    prepare_ns: int, protect_ns: int, filled_kib: int, children: int = 9, spread: int = 0, **more: Any
) -> list[dict[str, Any]]:
    """Return children with and without populating; ``spread`` widens what populating takes, both ways."""
    rows = []
    for backing, written in ((b, w) for b in QEMU for w in (0.0, 0.5)):
        for i in range(children):
            shifted = max(0, prepare_ns + spread * (i - children // 2))
            filled = round(filled_kib * (1 - written))
            at = {"populated": written} | more
            rows.append(sample(backing, "preread", shifted, protect_ns, rss_growth_kib=filled, **at))
            rows.append(sample(backing, "unprotected", 0, protect_ns, **at))
    return rows


def reported(answer: bool, backings: tuple[str, ...] = QEMU) -> list[dict[str, Any]]:
    return [state(backing, "none", answer) for backing in backings]


def test_qemu_could_skip_where_writes_are_reported_and_time_and_memory_saved(tmp_path: Path) -> None:
    found = judge(tmp_path, "qemu-could-skip", states=reported(True), samples=timed(9_000_000, 1_000_000, 1 << 20))
    assert found.verdict == "predicted to hold"
    assert found.effect == pytest.approx(10)
    assert found.interval == (pytest.approx(10), pytest.approx(10))
    assert "real QEMU snapshot" in (found.missing or "")


def test_qemu_could_skip_names_only_backends_that_report_writes(tmp_path: Path) -> None:
    states = reported(True, QEMU[:1]) + reported(False, QEMU[1:])
    found = judge(tmp_path, "qemu-could-skip", states=states, samples=timed(9_000_000, 1_000_000, 1 << 20))
    assert found.verdict == "predicted to hold"
    assert "shmem" in (found.condition or "")
    assert "hugetlb" not in (found.condition or "")


def test_qemu_could_skip_does_not_hold_where_the_write_is_lost(tmp_path: Path) -> None:
    found = judge(tmp_path, "qemu-could-skip", states=reported(False), samples=timed(9_000_000, 1_000_000, 1 << 20))
    assert found.verdict == "does not hold"


def test_qemu_could_skip_does_not_hold_without_time_saved(tmp_path: Path) -> None:
    found = judge(tmp_path, "qemu-could-skip", states=reported(True), samples=timed(10_000, 1_000_000, 1 << 20))
    assert found.verdict == "does not hold"


def test_qemu_could_skip_does_not_hold_without_memory_saved(tmp_path: Path) -> None:
    found = judge(tmp_path, "qemu-could-skip", states=reported(True), samples=timed(9_000_000, 1_000_000, 0))
    assert found.verdict == "does not hold"


def test_qemu_could_skip_does_not_hold_below_half_of_untouched_memory_filled(tmp_path: Path) -> None:
    found = judge(tmp_path, "qemu-could-skip", states=reported(True), samples=timed(9_000_000, 1_000_000, 500 << 10))
    assert found.verdict == "does not hold"


def test_qemu_could_skip_needs_time_saved_with_half_the_memory_written(tmp_path: Path) -> None:
    rows = timed(9_000_000, 1_000_000, 1 << 20)
    for row in rows:
        row["prepare_ns"] = 10_000 if row["populated"] and row["prepare_ns"] else row["prepare_ns"]
    assert judge(tmp_path, "qemu-could-skip", states=reported(True), samples=rows).verdict == "does not hold"


def test_qemu_could_skip_undecided_when_only_untouched_memory_was_measured(tmp_path: Path) -> None:
    rows = [row for row in timed(9_000_000, 1_000_000, 1 << 20) if not row["populated"]]
    assert judge(tmp_path, "qemu-could-skip", states=reported(True), samples=rows).verdict == "not decided"


def test_qemu_could_skip_undecided_with_many_samples_of_one_child(tmp_path: Path) -> None:
    rows = timed(9_000_000, 1_000_000, 1 << 20, block=1)
    assert judge(tmp_path, "qemu-could-skip", states=reported(True), samples=rows).verdict == "not decided"


def test_qemu_could_skip_reason_names_time_and_filled_share(tmp_path: Path) -> None:
    found = judge(tmp_path, "qemu-could-skip", states=reported(True), samples=timed(9_000_000, 1_000_000, 1 << 20))
    assert "at least 10 (in each of 9 processes) times as long and fills at least 1 (in each of" in found.because


def test_qemu_could_skip_undecided_when_an_interval_straddles_the_threshold(tmp_path: Path) -> None:
    rows = timed(250_000, 1_000_000, 1 << 20, spread=100_000)
    assert judge(tmp_path, "qemu-could-skip", states=reported(True), samples=rows).verdict == "not decided"


def test_qemu_could_skip_undecided_with_too_few_children(tmp_path: Path) -> None:
    rows = timed(9_000_000, 1_000_000, 1 << 20, children=5)
    assert judge(tmp_path, "qemu-could-skip", states=reported(True), samples=rows).verdict == "not decided"


def test_qemu_could_skip_undecided_from_cold_samples(tmp_path: Path) -> None:
    rows = [row | {"cold": True} for row in timed(9_000_000, 1_000_000, 1 << 20)]
    assert judge(tmp_path, "qemu-could-skip", states=reported(True), samples=rows).verdict == "not decided"


def test_qemu_could_skip_undecided_without_page_states(tmp_path: Path) -> None:
    rows = timed(9_000_000, 1_000_000, 1 << 20)
    assert judge(tmp_path, "qemu-could-skip", samples=rows).verdict == "not decided"


# --- how a verdict is shown ------------------------------------------------------------------------------------------


def test_verdict_round_trips_through_json(tmp_path: Path) -> None:
    rows = timed(9_000_000, 1_000_000, 1 << 20)
    found = judge(tmp_path, "qemu-could-skip", states=reported(True), samples=rows).as_dict()
    kept = json.loads(json.dumps(found))
    assert {"id", "verdict", "rule", "evidence", "effect", "interval", "quantity", "dataset"} <= set(kept)
    assert kept == found


@pytest.mark.parametrize(
    ("fields", "words", "kind"),
    [
        ({"verdict": "holds"}, "holds", "holds"),
        ({"verdict": "does not hold"}, "does not hold", "does-not-hold"),
        ({"verdict": "depends", "depends_on": "THP"}, "depends on THP", "depends"),
        ({"verdict": "predicted to hold"}, "predicted to hold", "predicted"),
        ({"verdict": "predicted not to hold"}, "predicted not to hold", "predicted"),
        ({"verdict": "not decided"}, "not decided", "not-decided"),
        ({"verdict": "answer"}, "answer", "answer"),
    ],
)
def test_html_card_names_the_verdict_and_escapes_its_text(fields: dict[str, Any], words: str, kind: str) -> None:
    card = claims.Verdict("x", rule="a < b", because="<script>alert(1)</script>", **fields)._repr_html_()
    assert f'class="verdict {kind}"' in card
    assert f"<strong>{words}</strong>" in card
    assert "<script>" not in card


def test_text_table_has_at_most_72_columns(tmp_path: Path) -> None:
    text = claims.text_table(claims.verdicts(dataset(tmp_path / "d")))
    assert max(len(line) for line in text.splitlines()) <= 72
    assert all(claim.id in text for claim in claims.CLAIMS)


def test_markdown_table_lists_decided_claims_and_counts_the_others(tmp_path: Path) -> None:
    verdicts = claims.verdicts(dataset(tmp_path / "d", states=hugetlb(True, True)))
    text = claims.markdown_table(verdicts)
    assert "(`hugetlb-needs-feature`) | **" in text
    open_ = sum(verdict.verdict == "not decided" for verdict in verdicts)
    assert open_ == len(claims.CLAIMS) - 2, "hugetlb decides two; costs and the list of attempts are not beside it"
    assert "Not decided yet: `" in text
    assert text.count("` (") >= open_


def test_every_claim_names_a_notebook_that_exists_or_is_planned() -> None:
    exist = {path.stem for path in (Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb")}
    assert not exist & set(claims.PLANNED)
    assert {claim.notebook for claim in claims.CLAIMS} <= exist | set(claims.PLANNED)
