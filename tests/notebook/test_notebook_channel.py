# SPDX-License-Identifier: MIT
"""Tables of the zeropage as a covert channel, with data and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synthetic_channel import campaign, point

from uffdlab import figures, notebook
from uffdlab.datasets import Dataset
from uffdlab.probes.covert import message

CLEAR, NOISE = [0.0] * 14, [0.5] * 14
_MESSAGE = {
    "memory": "zeropage", "placement": "same", "silent": False, "slot_ns": 10_000, "lines": 8, "copies": 3,
    "text_bytes": 2, "idle_slots": 3, "message_slots": 100, "slots": 106, "bits_on_wire": 848, "outcome": "arrived",
    "reason": None, "sent": "6162", "received": "6162", "preambles": 3, "corrected_bytes": 0, "late_sent": 0,
    "late_received": 0, "missed": 4, "invented": 4, "ones": 400, "cold": True,
}  # fmt: skip


def _messages(out: Path, *changed: dict[str, Any]) -> Dataset:
    rows = [_MESSAGE | {"block": block, "sample": 0} | more for block, more in enumerate(changed)]
    bits = [{"block": 0, "sample": 0, "slot": 0, "sent": "00000003ff", "received": "00000001ff"}]
    return campaign(out, messages=(message.FIELDS, rows), message_bits=(message.BIT_FIELDS, bits))


def test_channel_points_has_share_of_the_limit(tmp_path: Path) -> None:
    data = campaign(tmp_path / "d", point(CLEAR), point(NOISE, silent=True), point(CLEAR, slot_ns=16_000))
    rows = notebook.channel_points(data).frame.to_dict("records")
    assert [(row["point"], row["slot"]) for row in rows] == [("registered", "8 µs, 8 lines"), ("best", "8 µs, 8 lines")]
    assert {row["of the limit"] for row in rows} == {"25%"}
    assert [row["a 1 is faster"] for row in rows] == ["14 of 14", "7 of 7"]
    assert {row["kbit/s then"] for row in rows} == {"none"}


def test_channel_controls_has_silent_senders_and_unshared_memory(tmp_path: Path) -> None:
    data = campaign(tmp_path / "d", point(CLEAR), point(NOISE, silent=True), point(NOISE, "private"))
    rows = notebook.channel_controls(data).frame.to_dict("records")
    assert [row["control"] for row in rows] == ["no sender", "nothing shared"]
    assert all(float(row["p"]) > 0.01 for row in rows)
    assert all(row["below"].endswith("bit/s") for row in rows)


def test_messages_counts_a_changed_text_as_lost(tmp_path: Path) -> None:
    data = _messages(tmp_path / "d", {}, {}, {"received": "6163"}, {"outcome": "no preamble", "received": None})
    [row] = notebook.messages(data).frame.to_dict("records")
    assert row["arrived"] == "2 of 4"
    assert row["lost"] == "1 arrived, 1 no preamble"
    assert row["wrong bits, least to most"] == "0.9% to 0.9%"
    assert row["text"] == "16 kbit/s", "16 bits in 100 slots of 10 µs"


def test_plot_message_draws_each_bit(tmp_path: Path) -> None:
    figure = figures.plot_message(_messages(tmp_path / "d", {}))
    kinds = figure.data[0].z
    assert len(kinds) == 8
    assert [[row[slot] for slot in (3, 4)] for row in kinds] == [[3, 3], [2, 3], *[[0, 3]] * 6]
    names = [trace.name for trace in figure.data[1:]]
    assert names == ["0, received as 0: 30", "0, received as 1: 0", "1, received as 0: 1", "1, received as 1: 9"]
    assert "This one: arrived." in figure.layout.meta["caption"]


def test_plot_message_without_a_message_shows_a_sentence(tmp_path: Path) -> None:
    figure = figures.plot_message(campaign(tmp_path / "d"), "huge zeropage", "two CPUs")
    assert "holds no message" in figure.layout.annotations[0].text


def test_channel_published_has_bits_per_second_and_source() -> None:
    rows = {row["what"]: row for row in notebook.channel_published(notebook.load_published()).frame.to_dict("records")}
    leak = rows["rate of a leak over the network through memory deduplication"]
    assert leak["published"] == "up to 34.41 B/h (0.0765 bit/s)"
    copied = rows["time to send 100 bytes through local copy-on-write deduplication"]
    assert copied["published"] == "below 30 s (at least 26.7 bit/s)"
    assert all(row["how much was read"] for row in rows.values())


def test_channel_tables_without_data_show_not_measured(tmp_path: Path) -> None:
    nothing = campaign(tmp_path / "d")
    for table in (notebook.channel_points, notebook.channel_controls, notebook.messages, notebook.channel_merges,
                  notebook.write_reveals):  # fmt: skip
        assert "not measured" in str(table(nothing))
