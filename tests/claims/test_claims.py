# SPDX-License-Identifier: MIT
"""Every way a verdict can come out, on datasets made up for it."""

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


def test_there_are_22_claims_with_unique_ids_and_a_rule_each() -> None:
    assert len({claim.id for claim in claims.CLAIMS}) == 22
    assert all(claim.rule and claim.needs and claim.who and claim.says for claim in claims.CLAIMS)


def test_an_empty_dataset_decides_nothing_and_names_what_is_missing(tmp_path: Path) -> None:
    found = [one for one in claims.verdicts(dataset(tmp_path / "d")) if one.id not in NOT_MEASURED]
    assert {one.verdict for one in found} == {"not decided"}
    assert all(one.missing for one in found)


def test_a_dataset_without_the_tables_decides_nothing() -> None:
    found = claims.verdicts(notebook.load_published())
    assert {one.verdict for one in found if one.id not in NOT_MEASURED} == {"not decided"}


def test_an_unknown_claim_is_refused() -> None:
    with pytest.raises(UffdlabError, match="no claim is called 'nonsense'"):
        claims.find("nonsense")


# --- hugetlb-needs-feature -------------------------------------------------------------------------------------------


def test_the_feature_is_needed_when_it_turns_a_lost_write_into_a_reported_one(tmp_path: Path) -> None:
    assert judge(tmp_path, "hugetlb-needs-feature", states=hugetlb(False, True)).verdict == "holds"


def test_the_feature_is_needed_on_some_backings_only(tmp_path: Path) -> None:
    rows = hugetlb(False, True, HUGETLB[:1]) + hugetlb(True, True, HUGETLB[1:])
    found = judge(tmp_path, "hugetlb-needs-feature", states=rows)
    assert found.verdict == "holds if"
    assert found.condition == "the memory is hugetlb 2 MiB private"


@pytest.mark.parametrize("reported", [True, False])
def test_the_feature_is_not_needed_when_it_changes_nothing(tmp_path: Path, reported: bool) -> None:
    assert judge(tmp_path, "hugetlb-needs-feature", states=hugetlb(reported, reported)).verdict == "does not hold"


def test_the_need_is_open_while_a_backing_is_not_measured(tmp_path: Path) -> None:
    found = judge(tmp_path, "hugetlb-needs-feature", states=hugetlb(True, True, HUGETLB[:3]))
    assert found.verdict == "not decided"
    assert "hugetlb 1 GiB shared" in found.because


def test_only_empty_protected_pages_count(tmp_path: Path) -> None:
    rows = [row | {"moment": "discarded"} for row in hugetlb(False, True)]
    rows += [row | {"content": "written"} for row in hugetlb(False, True)]
    assert judge(tmp_path, "hugetlb-needs-feature", states=rows).verdict == "not decided"


def test_rows_that_contradict_each_other_are_not_a_measurement(tmp_path: Path) -> None:
    rows = hugetlb(True, True) + hugetlb(False, True)
    assert judge(tmp_path, "hugetlb-needs-feature", states=rows).verdict == "not decided"


# --- hugetlb-already-works -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("two_mib", "one_gib", "verdict"),
    [
        (True, True, "holds"),
        (True, False, "holds if"),
        (False, False, "does not hold"),
        (True, None, "not decided"),
        (None, None, "not decided"),
    ],
)
def test_hugetlb_already_works(tmp_path: Path, two_mib: bool | None, one_gib: bool | None, verdict: str) -> None:
    answers = {"hugetlb_2m_private": two_mib, "hugetlb_1g_private": one_gib}
    rows = [state(backing, "none", answer) for backing, answer in answers.items() if answer is not None]
    assert judge(tmp_path, "hugetlb-already-works", states=rows).verdict == verdict


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


def test_qemu_could_skip_where_it_is_protected_and_saves_time_and_memory(tmp_path: Path) -> None:
    found = judge(tmp_path, "qemu-could-skip", states=reported(True), samples=timed(9_000_000, 1_000_000, 1 << 20))
    assert found.verdict == "holds if"
    assert found.effect == pytest.approx(10)
    assert found.interval == (pytest.approx(10), pytest.approx(10))
    assert "real snapshot" in (found.condition or "")


def test_qemu_could_skip_on_the_backends_that_are_protected_only(tmp_path: Path) -> None:
    states = reported(True, QEMU[:1]) + reported(False, QEMU[1:])
    found = judge(tmp_path, "qemu-could-skip", states=states, samples=timed(9_000_000, 1_000_000, 1 << 20))
    assert found.verdict == "holds if"
    assert "shmem" in (found.condition or "")
    assert "hugetlb" not in (found.condition or "")


def test_qemu_could_not_skip_where_the_write_is_lost(tmp_path: Path) -> None:
    found = judge(tmp_path, "qemu-could-skip", states=reported(False), samples=timed(9_000_000, 1_000_000, 1 << 20))
    assert found.verdict == "does not hold"


def test_skipping_that_saves_no_time_does_not_count(tmp_path: Path) -> None:
    found = judge(tmp_path, "qemu-could-skip", states=reported(True), samples=timed(10_000, 1_000_000, 1 << 20))
    assert found.verdict == "does not hold"


def test_skipping_that_saves_no_memory_does_not_count(tmp_path: Path) -> None:
    found = judge(tmp_path, "qemu-could-skip", states=reported(True), samples=timed(9_000_000, 1_000_000, 0))
    assert found.verdict == "does not hold"


def test_filling_less_than_half_of_what_was_untouched_does_not_count(tmp_path: Path) -> None:
    found = judge(tmp_path, "qemu-could-skip", states=reported(True), samples=timed(9_000_000, 1_000_000, 500 << 10))
    assert found.verdict == "does not hold"


def test_skipping_has_to_save_time_with_half_the_memory_written_too(tmp_path: Path) -> None:
    rows = timed(9_000_000, 1_000_000, 1 << 20)
    for row in rows:
        row["prepare_ns"] = 10_000 if row["populated"] and row["prepare_ns"] else row["prepare_ns"]
    assert judge(tmp_path, "qemu-could-skip", states=reported(True), samples=rows).verdict == "does not hold"


def test_what_was_measured_untouched_only_is_not_decided(tmp_path: Path) -> None:
    rows = [row for row in timed(9_000_000, 1_000_000, 1 << 20) if not row["populated"]]
    assert judge(tmp_path, "qemu-could-skip", states=reported(True), samples=rows).verdict == "not decided"


def test_many_samples_of_one_child_decide_nothing(tmp_path: Path) -> None:
    rows = timed(9_000_000, 1_000_000, 1 << 20, block=1)
    assert judge(tmp_path, "qemu-could-skip", states=reported(True), samples=rows).verdict == "not decided"


def test_the_reason_holds_the_numbers(tmp_path: Path) -> None:
    found = judge(tmp_path, "qemu-could-skip", states=reported(True), samples=timed(9_000_000, 1_000_000, 1 << 20))
    assert "at least 10 (10 to 10) times as long and fills at least 1 (1 to 1)" in found.because


def test_an_interval_across_the_threshold_decides_nothing(tmp_path: Path) -> None:
    rows = timed(250_000, 1_000_000, 1 << 20, spread=100_000)
    assert judge(tmp_path, "qemu-could-skip", states=reported(True), samples=rows).verdict == "not decided"


def test_too_few_children_decide_nothing(tmp_path: Path) -> None:
    rows = timed(9_000_000, 1_000_000, 1 << 20, children=5)
    assert judge(tmp_path, "qemu-could-skip", states=reported(True), samples=rows).verdict == "not decided"


def test_cold_samples_decide_nothing(tmp_path: Path) -> None:
    rows = [row | {"cold": True} for row in timed(9_000_000, 1_000_000, 1 << 20)]
    assert judge(tmp_path, "qemu-could-skip", states=reported(True), samples=rows).verdict == "not decided"


def test_times_without_states_decide_nothing(tmp_path: Path) -> None:
    rows = timed(9_000_000, 1_000_000, 1 << 20)
    assert judge(tmp_path, "qemu-could-skip", samples=rows).verdict == "not decided"


# --- how a verdict is shown ------------------------------------------------------------------------------------------


def test_a_verdict_is_plain_json_with_what_readers_need(tmp_path: Path) -> None:
    rows = timed(9_000_000, 1_000_000, 1 << 20)
    found = judge(tmp_path, "qemu-could-skip", states=reported(True), samples=rows).as_dict()
    kept = json.loads(json.dumps(found))
    assert {"id", "verdict", "rule", "evidence", "effect", "interval", "quantity", "dataset"} <= set(kept)
    assert kept == found


def test_a_card_names_the_verdict_in_words_and_escapes_what_it_shows() -> None:
    card = claims.Verdict("x", "holds if", "a < b", "<script>alert(1)</script>")._repr_html_()
    assert 'class="verdict holds-if"' in card
    assert "<strong>holds if</strong>" in card
    assert "<script>" not in card


def test_the_text_table_fits_a_mail(tmp_path: Path) -> None:
    text = claims.text_table(claims.verdicts(dataset(tmp_path / "d")))
    assert max(len(line) for line in text.splitlines()) <= 72
    assert all(claim.id in text for claim in claims.CLAIMS)


def test_the_markdown_table_lists_what_is_decided_and_counts_the_rest(tmp_path: Path) -> None:
    found = claims.verdicts(dataset(tmp_path / "d", states=hugetlb(True, True)))
    text = claims.markdown_table(found)
    assert "(`hugetlb-needs-feature`) | **" in text
    open_ = sum(one.verdict == "not decided" for one in found)
    assert open_ == 20, "hugetlb decides two; costs and the list of attempts are not beside it"
    assert f"{open_} more claims are not decided yet" in text
