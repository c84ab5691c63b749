# SPDX-License-Identifier: MIT
"""``uffdlab ask`` as users run it: here, from recorded answers, and with impossible requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from running import sentence, uffdlab_run
from synthetic import FACTS

from uffdlab import datasets
from uffdlab.host import settings
from uffdlab.probes import sequence
from uffdlab.sequences import asking

LOST = "Answer: the write is not reported."


def row(number: int, step: str, entry: str, protected: bool, **more: Any) -> dict[str, Any]:
    return {
        "block": 3, "backing": "anon", "features": "none", "sequence": "write; protect; discard; write",
        "number": number, "step": step, "result": "done", "errno": None, "wp_events": 0, "missing_events": 0,
        "other_events": 0, "entry": entry, "uffd_wp": protected, "written": not protected, "child_entry": None,
        "child_uffd_wp": None,
    } | more  # fmt: skip


RECORDED = [
    row(1, "write", "page", False),
    row(2, "protect", "page", True),
    row(3, "discard", "empty", False),
    row(4, "write", "page", False),
]


def made_up(out: Path, rows: list[dict[str, Any]]) -> Path:
    datasets.write(out, id="made-up", title="made up", provenance=FACTS,
                   tables=[datasets.Table("sequences", sequence.FIELDS, rows)])  # fmt: skip
    return out


def test_the_help_fits_a_screen(tmp_path: Path) -> None:
    lines = uffdlab_run("ask", "--help", cwd=tmp_path).stdout.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80


@pytest.mark.uffd
def test_an_answer_of_this_kernel_in_words_and_as_json(tmp_path: Path) -> None:
    done = uffdlab_run("ask", "write; protect; discard; write", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == LOST
    assert max(map(len, done.stdout.splitlines())) <= 78
    printed = json.loads(uffdlab_run("ask", "--json", "write; protect; discard; write", cwd=tmp_path).stdout)
    assert [step["entry"] for step in printed["steps"]] == ["page", "page", "empty", "page"]
    assert printed["answer"] == "the write is not reported."


@pytest.mark.uffd
def test_huge_pages_are_put_into_the_pool_where_that_is_allowed(tmp_path: Path) -> None:
    reason = settings.why_unchangeable("hugetlb_2048")
    if reason:
        pytest.skip(f"the pool cannot be filled: {reason}")
    before = settings.current("hugetlb_2048")
    steps = ("ask", "--backing", "hugetlb_2m_private", "write; protect; discard; write")
    done = uffdlab_run(*steps, "--allow-host-changes", cwd=tmp_path)
    if "has host settings changed right now" in done.stderr or "too little memory" in done.stderr:
        pytest.skip(done.stderr)
    assert done.stdout.splitlines()[-1] == "Answer: the write is reported."
    assert settings.current("hugetlb_2048") == before


def test_a_recorded_answer_needs_no_kernel(tmp_path: Path) -> None:
    data = made_up(tmp_path / "d", RECORDED)
    done = uffdlab_run("ask", "--recorded", "--data", data, "write; protect; discard; write", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "recorded in made-up" in done.stdout
    assert done.stdout.splitlines()[-1] == LOST
    shorter = uffdlab_run("ask", "--recorded", "--data", data, "write; protect", cwd=tmp_path)
    assert shorter.stdout.splitlines()[-1] == "Answer: after protect the entry holds a page, protected."


def test_where_a_kernel_differs_from_the_documentation_both_are_shown(tmp_path: Path) -> None:
    kept = [*RECORDED[:2], row(3, "discard", "marker", True), row(4, "write", "page", False, wp_events=1)]
    done = uffdlab_run("ask", "--recorded", "--data", made_up(tmp_path / "d", kept), "write;protect;discard;write",
                       cwd=tmp_path)  # fmt: skip
    assert "documented is another outcome: done, empty, not protected" in " ".join(done.stdout.split())
    assert done.stdout.splitlines()[-1] == "Answer: the write is reported."


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (("protect; fly",), "no step is called 'fly': choose from write read protect unprotect discard"),
        (("",), "a sequence has 1 to 6 steps, and this one 0"),
        (("read;" * 7,), "a sequence has at most 6 steps, and this one 7"),
        (("--backing", "tmpfs", "write"), "unknown backing 'tmpfs': choose one of anon, anon_thp, shmem"),
        (("--features", "all", "write"), "unknown features 'all': choose one of none"),
        (("--backing", "hugetlb_2m_private", "reclaim"), "huge pages of a pool are never reclaimed"),
        (("--data", "x", "write"), "--data names recorded answers: use it with --recorded"),
        (("--recorded", "--data", "nowhere", "write"), "nowhere"),
    ],
)
def test_impossible_requests_get_one_sentence(tmp_path: Path, arguments: tuple[str, ...], refusal: str) -> None:
    assert refusal in sentence(uffdlab_run("ask", *arguments, cwd=tmp_path))


def test_what_is_not_recorded_is_said_with_what_to_do(tmp_path: Path) -> None:
    said = sentence(uffdlab_run("ask", "--recorded", "--data", made_up(tmp_path / "d", RECORDED), "write; fork",
                                cwd=tmp_path))  # fmt: skip
    assert "'write; fork' on anon with features none is not recorded in d: ask this kernel" in said


def test_the_committed_answers_are_as_documented_and_show_what_is_not() -> None:
    data = datasets.load(datasets.locate("sequences-2026-11-28-2048"))
    found = list(asking.answers(data))
    assert len(found) == 4575
    assert [one.sentence for one in found if not all(step.agrees for step in one.steps)] == []
    hung = {(one.backing, one.steps[-1].step) for one in found if one.steps[-1].result == "hung"}
    assert hung == {(backing, "guard") for backing in ("shmem", "memfd", "file_private")}
