# SPDX-License-Identifier: MIT
"""A text through flush+reload between two processes of our own: it arrives whole, or the row says why it is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from quiet import tried
from running import forks, sentence, uffdlab_run
from test_channel import RECEIVING, dies_amid_its_message, live

from uffdlab.cli.point import show_rows
from uffdlab.errors import UffdlabError
from uffdlab.probes.covert import flush_reload, message
from uffdlab.probes.covert.codec import ARRIVED, NO_PREAMBLE
from uffdlab.probes.covert.message import BIT_FIELDS, FIELDS, MOST_IDLE, SENDER_ENDED, MessageSpec
from uffdlab.stats.threshold import Threshold

Rows = dict[str, list[dict[str, Any]]]


def _rows(spec: MessageSpec) -> Rows:
    tables: Rows = {"messages": [], "message_bits": []}
    for table, row in message.run(spec):
        tables[table].append(row)
    return tables


# --- two real processes ----------------------------------------------------------------------------------------------


@live
def test_a_message_arrives_through_the_zeropage_on_one_cpu() -> None:
    spec = MessageSpec(text="Grüße: both read it.", slot_ns=60_000, copies=9, repeats=3, seed=2)

    def attempt() -> set[str]:
        rows = _rows(spec)["messages"]
        assert {row["sent"] for row in rows} == {spec.sent.hex()}
        assert {row["received"] for row in rows} <= {spec.sent.hex(), None}, "whole, or not at all"
        return {row["outcome"] for row in rows}

    # With the CPU to themselves 30 of 30 messages arrived, so that fewer than 1 in 10 are lost (with 95 % confidence):
    # all 15 of five tries would be with a probability below 1e-15. Where nothing passes, none arrives.
    tried(attempt, lambda outcomes: ARRIVED in outcomes, {RECEIVING}, "a message arrives")


@live
@pytest.mark.parametrize("control", [{"silent": True}, {"memory": "private"}, {"memory": "shmem"}])
def test_no_message_arrives_without_a_shared_page_or_a_sender(control: dict[str, Any]) -> None:
    (row,) = _rows(MessageSpec(seed=7, **control))["messages"]
    assert (row["outcome"], row["received"], row["preambles"]) == (NO_PREAMBLE, None, 0)
    assert "no preamble" in row["reason"]


@live
def test_the_tables_are_consistent_and_match_their_fields() -> None:
    spec = MessageSpec(lines=6, copies=2, repeats=2, seed=3)
    tables = _rows(spec)
    assert [row["sample"] for row in tables["messages"]] == [0, 1]
    assert [row["cold"] for row in tables["messages"]] == [True, False]
    assert {row["sample"] for row in tables["message_bits"]} == {0}
    for rows, fields in ((tables["messages"], FIELDS), (tables["message_bits"], BIT_FIELDS)):
        assert all({"block", *row} == {field["name"] for field in fields} for row in rows)
    first, second = tables["messages"]
    assert first["slots"] == first["message_slots"] + MOST_IDLE == spec.point.slots
    assert first["bits_on_wire"] == 6 * first["slots"]
    assert first["idle_slots"] != second["idle_slots"]
    sent, received = (
        [
            int(text[at : at + 2], 16)
            for row in tables["message_bits"]
            for text in (row[name],)
            for at in range(0, len(text), 2)
        ]
        for name in ("sent", "received")
    )
    assert len(sent) == len(received) == first["slots"]
    assert sent == [0] * first["idle_slots"] + spec.code.encode(spec.sent) + [0] * (MOST_IDLE - first["idle_slots"])
    both = list(zip(sent, received, strict=True))
    assert sum(word.bit_count() for word in sent) == first["ones"]
    assert sum((out & ~back).bit_count() for out, back in both) == first["missed"]
    assert sum((back & ~out).bit_count() for out, back in both) == first["invented"]


@live
def test_a_message_whose_sender_ends_is_lost_and_the_next_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flush_reload, "_send", dies_amid_its_message)
    tables = _rows(MessageSpec(repeats=2))
    assert [row["outcome"] for row in tables["messages"]] == [SENDER_ENDED] * 2
    assert {row["reason"] for row in tables["messages"]} == {"the sender ended before its message was through"}
    unknown = ("received", "preambles", "corrected_bytes", "late_sent", "late_received", "missed", "invented")
    assert {row[name] for row in tables["messages"] for name in unknown} == {None}
    assert tables["message_bits"] == []
    assert forks() == []


class _Wire:
    """A wire that changes nothing, and remembers the words of each sample."""

    def __init__(self) -> None:
        self.sent: list[list[int]] = []

    def __call__(self, point: flush_reload.Point, _: int, words: list[int], *, silent: bool) -> flush_reload.Reception:
        assert not silent
        self.sent.append(words)
        parted = Threshold(2)
        return flush_reload.Reception(words, [], [0] * point.slots, [1], [2], {True: [1], False: [2]}, parted, 1, 1, 0)


@pytest.mark.parametrize("text", ["a", "Grüße 🐧\n\0\x1b[31m", "8" * 700])
def test_an_error_free_channel_delivers_any_text_at_any_offset(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    perfect = _Wire()
    monkeypatch.setattr(message, "transmit", perfect)
    monkeypatch.setattr(message, "check_supported", lambda: None)
    rows = _rows(MessageSpec(text=text, repeats=4))["messages"]
    assert [bytes.fromhex(row["received"]).decode("utf-8") for row in rows] == [text] * 4
    assert {(row["outcome"], row["reason"], row["missed"], row["invented"]) for row in rows} == {(ARRIVED, None, 0, 0)}
    assert len({row["idle_slots"] for row in rows}) > 1
    assert len({len(words) for words in perfect.sent}) == 1, "how long it takes does not tell where it begins"


# --- what is asked for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"memory": "shared"}, "choose one of zeropage, huge_zeropage, private"),
        ({"placement": "far"}, "choose one of same, cross"),
        ({"lines": 9}, "room for 1 to 8"),
        ({"slot_ns": 10}, "slot_ns is 10: choose 1000 to 100000000"),
        ({"copies": 0}, "copies is 0: choose 1 to 15"),
        ({"text": ""}, "text is empty"),
        ({"text": "\udcff"}, "is not Unicode"),
        ({"text": "é" * 40_000}, "text has 80000 bytes in UTF-8, and 65535 fit"),
        ({"slot_ns": 100_000_000}, "text has 46 bytes in UTF-8, and 0 fit"),
        ({"repeats": 0}, "choose 1 to 1000000"),
    ],
)
def test_an_invalid_spec_is_refused(wrong: dict[str, Any], refusal: str) -> None:
    with pytest.raises(UffdlabError, match=refusal):
        MessageSpec(**wrong)


@pytest.mark.parametrize("where", [{"slot_ns": 10_000_000}, {"memory": "markers_unread", "slot_ns": 200_000}])
def test_the_longest_text_named_by_the_refusal_fits(where: dict[str, Any]) -> None:
    with pytest.raises(UffdlabError, match=r"and [1-9][0-9]* fit") as caught:
        MessageSpec(text="x" * 65536, **where)
    most = int(str(caught.value).split(" fit:")[0].rsplit(" ", 1)[1])
    assert 0 < most < 65535
    assert MessageSpec(text="x" * most, **where).needs()
    with pytest.raises(UffdlabError, match=f"text has {most + 1} bytes in UTF-8, and {most} fit"):
        MessageSpec(text="x" * (most + 1), **where)


def test_two_cpus_are_needed_only_for_cross_placement() -> None:
    assert [MessageSpec(placement=one).needs().cpus for one in flush_reload.PLACEMENTS] == [1, 2]
    assert MessageSpec(memory="huge_zeropage").needs().thp


# --- the command -----------------------------------------------------------------------------------------------------


@live
def test_the_command_sends_the_given_text(tmp_path: Path) -> None:
    point = ("measure", "message", "--text", "päge\x1b[2J", "--set", "silent=true", "--repeats", "1")
    shown = uffdlab_run(*point, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert repr("päge\x1b[2J") in shown.stdout, "and a terminal does not obey it"
    (row,) = json.loads(uffdlab_run(*point, "--json", cwd=tmp_path).stdout)["messages"]
    assert (row["sent"], row["outcome"]) == ("päge\x1b[2J".encode().hex(), NO_PREAMBLE)


def test_the_command_refuses_an_empty_text(tmp_path: Path) -> None:
    assert "text is empty" in sentence(uffdlab_run("measure", "message", "--text", "", cwd=tmp_path))


def test_the_command_prints_arrived_and_lost_messages(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"block": 0, "outcome": "arrived", "sent": "c3a9", "received": "c3a9"},
        {"block": 0, "outcome": "no preamble", "sent": "c3a9", "received": None},
    ]
    show_rows({"messages": rows})
    shown = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert [name for name, _ in shown] == ["outcome", "sent", "received"]
    assert shown[2][1].split() == ["'é'", "–"]
