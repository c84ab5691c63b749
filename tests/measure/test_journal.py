# SPDX-License-Identifier: MIT
"""The journal of a campaign: kept results are read back after any truncation, and anything else is refused."""

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
from uffdlab.measure.journal import Journal, Request
from uffdlab.measure.runner import Block, Result
from uffdlab.measure.suites import Suite, Work
from uffdlab.probes.protect import ProtectSpec

FACTS = {"kernel_release": "6.18.5", "thp_enabled": "madvise", "load_1min": 0.25, "uffdlab_version": "0.1.0"}
REQUEST = Request("tiny", ("protect",), 5)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    _plan(monkeypatch, rounds=3)


def _plan(monkeypatch: pytest.MonkeyPatch, rounds: int) -> None:
    specs = (ProtectSpec("anon"), ProtectSpec("shmem"))
    monkeypatch.setitem(suites.SUITES, "tiny", Suite("tiny", "for a test", (Work("protect", specs, rounds),)))


def begun(out: Path, request: Request = REQUEST) -> Journal:
    new = journal.new(out, request)
    new.begin(FACTS, since=0.0)
    return new


def result(block: Block, outcome: str = "ok", rows: int = 2) -> Result:
    kept: list[tuple[str, dict[str, Any]]] = [("samples", {"sample": n, "protect_ns": 10 + n}) for n in range(rows)]
    return Result(block, kept, outcome, None if outcome == "ok" else f"{outcome}, of course", 7)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Begin the dataset of a campaign of six blocks that was killed after three."""
    unfinished = begun(tmp_path / "d")
    for block, outcome in zip(unfinished.blocks, ("ok", "killed", "interrupted"), strict=False):
        unfinished.append(result(block, outcome))
    unfinished.close()
    return tmp_path / "d"


def file_of(out: Path) -> Path:
    return journal.partial_of(out) / journal.NAME


def numbers(blocks: list[Block]) -> list[int]:
    return [block.number for block in blocks]


def test_a_reopened_journal_has_every_result_and_fact(three: Path) -> None:
    reopened = journal.reopen(three)
    assert (reopened.request, reopened.facts, reopened.notice) == (REQUEST, FACTS, None)
    assert [ended.outcome for ended in reopened.results.values()] == ["ok", "killed", "interrupted"]
    assert reopened.results[0] == result(reopened.blocks[0])
    assert numbers(reopened.remaining()) == [2, 3, 4, 5], "a killed block is finished, an interrupted one is not"
    reopened.close()


def test_a_block_measured_again_replaces_its_interrupted_result(three: Path) -> None:
    reopened = journal.reopen(three)
    reopened.begin(FACTS | {"load_1min": 3.5}, since=0.0)
    reopened.append(result(reopened.blocks[2], "ok", rows=5))
    reopened.close()
    again = journal.reopen(three)
    assert (again.continued, again.loads) == (1, [0.25, 3.5])
    assert again.results[2] == result(reopened.blocks[2], "ok", rows=5)
    assert numbers(again.remaining()) == [3, 4, 5]
    again.close()


def test_the_duration_is_the_sum_of_the_parts(three: Path) -> None:
    lines = [json.loads(line) for line in file_of(three).read_text().splitlines()]
    for line, elapsed in zip(lines[1:], (1.0, 2.5, 4.0), strict=True):
        line["elapsed_s"] = elapsed
    lines[3:3] = [{"continued": {"load_1min": None}}]
    file_of(three).write_text("".join(json.dumps(line) + "\n" for line in lines))
    reopened = journal.reopen(three)
    assert reopened.seconds() == pytest.approx(2.5 + 4.0)
    reopened.close()


def test_truncation_at_any_byte_loses_no_complete_line(three: Path) -> None:
    whole = file_of(three).read_bytes()
    lines = whole.splitlines(keepends=True)
    first = len(lines[0])
    for cut in [first, *range(first + 1, len(whole), 7), len(whole) - 1]:
        file_of(three).write_bytes(whole[:cut])
        reopened = journal.reopen(three)
        complete = whole[:cut].count(b"\n") - 1
        assert list(reopened.results) == [0, 1, 2][:complete]
        assert (reopened.notice is None) == (
            cut in (first, first + len(lines[1]), first + len(lines[1]) + len(lines[2]))
        )
        reopened.begin(FACTS, since=0.0)
        reopened.append(result(reopened.blocks[5]))
        reopened.close()
        again = journal.reopen(three)
        assert list(again.results) == [*[0, 1, 2][:complete], 5], "the next line is not appended to the torn one"
        assert again.notice is None
        again.close()


@pytest.mark.parametrize(
    "junk", [b"\0\0\0\0", b'{"block": 3}\n', b"\0\0\0\n", b'{"block": 99, "outcome": "ok"}\n', b"7\n"]
)
def test_a_damaged_last_line_is_dropped_with_a_notice(junk: bytes, three: Path) -> None:
    with file_of(three).open("ab") as file:
        file.write(junk)
    reopened = journal.reopen(three)
    assert reopened.notice is not None
    assert "was cut off" in reopened.notice
    assert list(reopened.results) == [0, 1, 2]
    reopened.close()


def test_damage_before_the_last_line_is_refused_with_its_line_number(three: Path) -> None:
    lines = file_of(three).read_text().splitlines(keepends=True)
    file_of(three).write_text("".join([*lines[:2], "{}\n", *lines[3:]]))
    with refused("journal.jsonl, line 3 is damaged", "restore it, or delete"):
        journal.reopen(three)


@pytest.mark.parametrize("content", ["", "\n", "{}\n", "[]\n", "not JSON\n", '{"format": 1}\n'])
def test_a_journal_without_its_first_line_is_refused(content: str, three: Path) -> None:
    file_of(three).write_text(content)
    with refused("line 1 is damaged"):
        journal.reopen(three)


def test_an_unknown_format_is_refused(three: Path) -> None:
    file_of(three).write_text(file_of(three).read_text().replace('"format":1', '"format":2', 1))
    with refused("has format 2 and this uffdlab reads 1"):
        journal.reopen(three)


def test_a_changed_plan_is_refused(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _plan(monkeypatch, rounds=4)
    with refused("was begun with another plan of the suite tiny", "use uffdlab 0.1.0"):
        journal.reopen(three)


def test_fingerprints_differ_between_plans_only() -> None:
    fingerprints = {journal.fingerprint(Request("tiny", ("protect",), seed).blocks()) for seed in (5, 5, 6)}
    assert len(fingerprints) == 2


def test_a_changed_host_is_refused_with_the_facts_that_differ(three: Path) -> None:
    reopened = journal.reopen(three)
    reopened.check_host(FACTS | {"load_1min": 9.0, "hugetlb_pools": {}})
    reopened.facts["mitigations"] = {"meltdown": "Not affected", "spectre_v2": "Mitigation"}
    other = FACTS | {"kernel_release": "6.19.0", "thp_enabled": "always"}
    other["mitigations"] = {"meltdown": "Not affected", "spectre_v2": "Vulnerable"}
    with refused(
        "kernel_release ('6.18.5' then, '6.19.0' now); thp_enabled ('madvise' then, 'always' now); "
        "mitigations spectre_v2 ('Mitigation' then, 'Vulnerable' now); put that back",
        "--finish'",
    ):
        reopened.check_host(other)
    reopened.close()


def test_an_interrupted_campaign_is_never_overwritten(three: Path) -> None:
    before = file_of(three).read_bytes()
    with refused("2 of 6 blocks are kept in", "--resume'", "--finish'", "or delete that directory"):
        journal.new(three, REQUEST)
    assert file_of(three).read_bytes() == before


def test_the_advice_repeats_allow_host_changes(tmp_path: Path) -> None:
    unfinished = begun(tmp_path / "d", Request("tiny", ("protect",), 5, allow_host_changes=True))
    assert "--resume --allow-host-changes'" in unfinished.advice()
    unfinished.close()


def test_a_journal_in_use_is_locked(tmp_path: Path) -> None:
    unfinished = begun(tmp_path / "d")
    with refused("another process is measuring into", "wait until it ends"):
        journal.reopen(tmp_path / "d")
    unfinished.close()
    journal.reopen(tmp_path / "d").close()


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
        (_fifo, "is not a regular file"),
        (_link, "goes through a symbolic link"),
    ],
)
def test_anything_but_a_journal_is_refused(make: Callable[[Path], None], refusal: str, tmp_path: Path) -> None:
    make(tmp_path / "d.partial")
    with refused(refusal):
        journal.reopen(tmp_path / "d")


def test_no_journal_is_created_if_its_first_line_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with refused("has no space left on its device"):
        begun(tmp_path / "new" / "d")
    assert os.listdir(tmp_path) == []


def test_a_failed_append_leaves_earlier_results_readable(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reopened = journal.reopen(three)
    reopened.begin(FACTS, since=0.0)
    before = file_of(three).read_bytes()

    def full(handle: int, content: bytes, real: Callable[[int, bytes], int] = os.write) -> int:
        if len(content) < 60:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, content[:50])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with refused("has no space left on its device", "2 of 6 blocks are kept in", "--resume"):
            reopened.append(result(reopened.blocks[3]))
    assert file_of(three).read_bytes() == before
    reopened.append(result(reopened.blocks[3]))
    reopened.close()
    again = journal.reopen(three)
    assert list(again.results) == [0, 1, 2, 3]
    again.close()


def test_a_discarded_journal_leaves_no_file(tmp_path: Path) -> None:
    begun(tmp_path / "d").discard()
    assert os.listdir(tmp_path) == []
