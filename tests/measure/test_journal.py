# SPDX-License-Identifier: MIT
"""The journal of a campaign: what was kept is there again, whatever became of the file, and nothing else passes."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handmade import refused

from uffdlab.measure import journal, suites
from uffdlab.measure.journal import Asked, Journal
from uffdlab.measure.runner import Block, Result
from uffdlab.measure.suites import Suite, Work
from uffdlab.probes.protect import ProtectSpec

FACTS = {"kernel_release": "6.18.5", "thp_enabled": "madvise", "load_1min": 0.25, "uffdlab_version": "0.1.0"}
ASKED = Asked("tiny", ("protect",), 5)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    _plan(monkeypatch, rounds=3)


def _plan(monkeypatch: pytest.MonkeyPatch, rounds: int) -> None:
    specs = (ProtectSpec("anon"), ProtectSpec("shmem"))
    monkeypatch.setitem(suites.SUITES, "tiny", Suite("tiny", "for a test", (Work("protect", specs, rounds),)))


def begun(out: Path, asked: Asked = ASKED) -> Journal:
    made = journal.new(out, asked)
    made.begin(FACTS, since=0.0)
    return made


def result(block: Block, outcome: str = "ok", rows: int = 2) -> Result:
    kept: list[tuple[str, dict[str, Any]]] = [("samples", {"sample": n, "protect_ns": 10 + n}) for n in range(rows)]
    return Result(block, kept, outcome, None if outcome == "ok" else f"{outcome}, of course", 7)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """The dataset to be of a campaign of six blocks that was killed after three."""
    made = begun(tmp_path / "d")
    for block, outcome in zip(made.blocks, ("ok", "killed", "interrupted"), strict=False):
        made.keep(result(block, outcome))
    made.close()
    return tmp_path / "d"


def file_of(out: Path) -> Path:
    return journal.partial_of(out) / journal.NAME


def numbers(blocks: list[Block]) -> list[int]:
    return [block.number for block in blocks]


def test_what_was_kept_is_there_again(three: Path) -> None:
    found = journal.reopened(three)
    assert (found.asked, found.facts, found.notice) == (ASKED, FACTS, None)
    assert [one.outcome for one in found.results.values()] == ["ok", "killed", "interrupted"]
    assert found.results[0] == result(found.blocks[0])
    assert numbers(found.left()) == [2, 3, 4, 5], "killed is an end; interrupted is none"
    found.close()


def test_what_is_measured_again_replaces_what_was_interrupted(three: Path) -> None:
    found = journal.reopened(three)
    found.begin(FACTS | {"load_1min": 3.5}, since=0.0)
    found.keep(result(found.blocks[2], "ok", rows=5))
    found.close()
    again = journal.reopened(three)
    assert (again.continued, again.loads) == (1, [0.25, 3.5])
    assert again.results[2] == result(found.blocks[2], "ok", rows=5)
    assert numbers(again.left()) == [3, 4, 5]
    again.close()


def test_the_time_is_the_sum_of_the_parts(three: Path) -> None:
    lines = [json.loads(line) for line in file_of(three).read_text().splitlines()]
    for line, elapsed in zip(lines[1:], (1.0, 2.5, 4.0), strict=True):
        line["elapsed_s"] = elapsed
    lines[3:3] = [{"continued": {"load_1min": None}}]
    file_of(three).write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = journal.reopened(three)
    assert found.seconds() == pytest.approx(2.5 + 4.0)
    found.close()


def test_a_cut_anywhere_loses_no_line_before_it(three: Path) -> None:
    whole = file_of(three).read_bytes()
    lines = whole.splitlines(keepends=True)
    first = len(lines[0])
    for cut in [first, *range(first + 1, len(whole), 7), len(whole) - 1]:
        file_of(three).write_bytes(whole[:cut])
        found = journal.reopened(three)
        complete = whole[:cut].count(b"\n") - 1
        assert list(found.results) == [0, 1, 2][:complete]
        assert (found.notice is None) == (cut in (first, first + len(lines[1]), first + len(lines[1]) + len(lines[2])))
        found.begin(FACTS, since=0.0)
        found.keep(result(found.blocks[5]))
        found.close()
        again = journal.reopened(three)
        assert list(again.results) == [*[0, 1, 2][:complete], 5], "and the next line does not stick to the torn one"
        assert again.notice is None
        again.close()


@pytest.mark.parametrize(
    "junk", [b"\0\0\0\0", b'{"block": 3}\n', b"\0\0\0\n", b'{"block": 99, "outcome": "ok"}\n', b"7\n"]
)
def test_any_bytes_in_the_place_of_the_last_line_are_dropped_with_a_notice(junk: bytes, three: Path) -> None:
    with file_of(three).open("ab") as file:
        file.write(junk)
    found = journal.reopened(three)
    assert found.notice is not None
    assert "was cut off" in found.notice
    assert list(found.results) == [0, 1, 2]
    found.close()


def test_damage_before_the_last_line_is_refused_with_the_place(three: Path) -> None:
    lines = file_of(three).read_text().splitlines(keepends=True)
    file_of(three).write_text("".join([*lines[:2], "{}\n", *lines[3:]]))
    with refused("journal.jsonl, line 3 is damaged", "restore it, or delete"):
        journal.reopened(three)


@pytest.mark.parametrize("content", ["", "\n", "{}\n", "[]\n", "not JSON\n", '{"format": 1}\n'])
def test_a_journal_without_its_first_line_is_refused(content: str, three: Path) -> None:
    file_of(three).write_text(content)
    with refused("line 1 is damaged"):
        journal.reopened(three)


def test_another_format_is_refused(three: Path) -> None:
    file_of(three).write_text(file_of(three).read_text().replace('"format":1', '"format":2', 1))
    with refused("has format 2 and this uffdlab reads 1"):
        journal.reopened(three)


def test_another_plan_is_refused(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _plan(monkeypatch, rounds=4)
    with refused("was begun with another plan of the suite tiny", "take uffdlab 0.1.0"):
        journal.reopened(three)


def test_a_plan_has_its_own_fingerprint() -> None:
    found = {journal.fingerprint(Asked("tiny", ("protect",), seed).blocks()) for seed in (5, 5, 6)}
    assert len(found) == 2


def test_another_host_is_refused_with_what_differs(three: Path) -> None:
    found = journal.reopened(three)
    found.check_host(FACTS | {"load_1min": 9.0, "hugetlb_pools": {}})
    found.facts["mitigations"] = {"meltdown": "Not affected", "spectre_v2": "Mitigation"}
    other = FACTS | {"kernel_release": "6.19.0", "thp_enabled": "always"}
    other["mitigations"] = {"meltdown": "Not affected", "spectre_v2": "Vulnerable"}
    with refused(
        "kernel_release ('6.18.5' then, '6.19.0' now); thp_enabled ('madvise' then, 'always' now); "
        "mitigations spectre_v2 ('Mitigation' then, 'Vulnerable' now); put that back",
        "--finish'",
    ):
        found.check_host(other)
    found.close()


def test_an_interrupted_campaign_is_never_overwritten(three: Path) -> None:
    before = file_of(three).read_bytes()
    with refused("2 of 6 blocks are kept in", "--resume'", "--finish'", "or delete that directory"):
        journal.new(three, ASKED)
    assert file_of(three).read_bytes() == before


def test_permission_to_change_the_host_is_part_of_the_advice(tmp_path: Path) -> None:
    made = begun(tmp_path / "d", Asked("tiny", ("protect",), 5, allow_host_changes=True))
    assert "--resume --allow-host-changes'" in made.advice()
    made.close()


def test_only_one_process_measures_into_it(tmp_path: Path) -> None:
    made = begun(tmp_path / "d")
    with refused("another process is measuring into", "wait until it ends"):
        journal.reopened(tmp_path / "d")
    made.close()
    journal.reopened(tmp_path / "d").close()


def _nothing(partial: Path) -> None:
    pass


def _file(partial: Path) -> None:
    partial.touch()


def _empty(partial: Path) -> None:
    partial.mkdir()


def _fifo(partial: Path) -> None:
    partial.mkdir()
    os.mkfifo(partial / journal.NAME)


def _link(partial: Path) -> None:
    partial.mkdir()
    (partial / journal.NAME).symlink_to("/dev/null")


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (_nothing, "there is nothing to continue"),
        (_file, "holds no campaign to continue: choose another directory"),
        (_empty, "holds no campaign to continue: choose another directory"),
        (_fifo, "is no plain file"),
        (_link, "goes through a symbolic link"),
    ],
)
def test_what_is_no_journal_is_refused(make: Callable[[Path], None], refusal: str, tmp_path: Path) -> None:
    make(tmp_path / "d.partial")
    with refused(refusal):
        journal.reopened(tmp_path / "d")


def test_it_appears_with_its_first_line_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with refused("has no space left on its device"):
        begun(tmp_path / "new" / "d")
    assert os.listdir(tmp_path) == []


def test_a_result_that_cannot_be_kept_leaves_those_before_it(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = journal.reopened(three)
    found.begin(FACTS, since=0.0)
    before = file_of(three).read_bytes()

    def full(handle: int, content: bytes, real: Callable[[int, bytes], int] = os.write) -> int:
        if len(content) < 60:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, content[:50])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with refused("has no space left on its device", "2 of 6 blocks are kept in", "--resume"):
            found.keep(result(found.blocks[3]))
    assert file_of(three).read_bytes() == before
    found.keep(result(found.blocks[3]))
    found.close()
    again = journal.reopened(three)
    assert list(again.results) == [0, 1, 2, 3]
    again.close()


def test_nothing_is_left_of_a_discarded_one(tmp_path: Path) -> None:
    begun(tmp_path / "d").discard()
    assert os.listdir(tmp_path) == []
