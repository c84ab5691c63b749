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


def test_channel_losses_names_what_slots_and_errors_take(tmp_path: Path) -> None:
    data = campaign(tmp_path / "d", point([0.1] * 7), point(NOISE, silent=True), point(CLEAR, slot_ns=16_000))
    [row] = notebook.channel_losses(data).frame.to_dict("records")
    assert row["through"] == "zeropage, one CPU"
    assert row["a reload and flush per bit"] == "4,000 kbit/s"
    assert row["sent: bits of a slot by its length"] == "1,000 kbit/s (25%)"
    assert row["wrong bits"].startswith("10.8% (")
    assert row["arrives: rate × (1 − H)"] == "505 kbit/s (51%)", "1 - H(0.108)"


def test_channel_losses_of_unmeasured_limits_are_not_zero(tmp_path: Path) -> None:
    data = campaign(tmp_path / "d", point(CLEAR, probe_cycles=0), point(NOISE, silent=True))
    assert "not measured" in str(notebook.channel_losses(data))


def test_channel_compared_has_one_unit_and_says_what_is_published(tmp_path: Path) -> None:
    points = [p for one in ("zeropage", "libc") for p in (point(CLEAR, one), point(NOISE, one, silent=True))]
    data = campaign(tmp_path / "d", *points)
    rows = {
        row["channel"]: row
        for row in notebook.channel_compared(data, notebook.load_published()).frame.to_dict("records")
    }
    ours = [row for row in rows.values() if row["origin"].startswith("measured: ")]
    assert list(rows)[: len(ours)] == ["zeropage, one CPU, 8 lines", "C library, one CPU, 8 lines"]
    for row in ours:
        assert row["origin"] == "measured: 14 of 14 samples pass"
        assert row["rate × (1 − H), kbit/s"] == "1,000 (without spread)"
        assert row["mutual information, kbit/s"].startswith("999 (")
    published = [row for row in rows.values() if row not in ours]
    assert all("Adversarial Prefetch" in row["origin"] for row in published)
    assert all(row["origin"].startswith("published: ") for row in published)
    assert [row["rate × (1 − H), kbit/s"] for row in published] == [
        "2,384 (298 kB/s)",
        "up to 6,720 (840 kB/s)",
        "up to 5,440 (680 kB/s)",
    ]


def test_channel_compared_says_in_one_line_that_the_baseline_was_not_measured(tmp_path: Path) -> None:
    data = campaign(tmp_path / "d", point(CLEAR), point(NOISE, silent=True))
    rows = notebook.channel_compared(data, notebook.load_published()).frame.set_index("channel")
    assert rows.loc["C library", "origin"] == "was not measured (dataset made-up)"


def test_channel_sentence_follows_the_data(tmp_path: Path) -> None:
    points = [p for one in ("zeropage", "huge_zeropage") for p in (point(CLEAR, one), point(NOISE, one, silent=True))]
    published = notebook.load_published()
    sentence = repr(notebook.channel_sentence(campaign(tmp_path / "d", *points[:2]), published))
    assert sentence == (
        "On one CPU there arrive through the zeropage 1,000 (without spread) kbit/s (0.419 times flush+reload as "
        "published)."
    )
    sentence = repr(notebook.channel_sentence(campaign(tmp_path / "e", *points), published))
    assert " and through the huge zeropage 1,000 (" in sentence
    assert "was not measured" in repr(notebook.channel_sentence(campaign(tmp_path / "f"), published))


def test_channel_noise_has_a_row_per_neighbour_and_a_column_per_slot(tmp_path: Path) -> None:
    noisy = [point([0.2] * 7, neighbour="traffic_same", slot_ns=length) for length in (8_000, 20_000)]
    noisy.append(point(NOISE[:7], neighbour="reader_other"))
    data = campaign(tmp_path / "d", point(CLEAR), point(CLEAR, slot_ns=20_000), point(CLEAR, slot_ns=99_000), *noisy)
    frame = notebook.channel_noise(data).frame.set_index("beside")
    assert list(frame.columns) == ["8 µs", "20 µs"]
    assert list(frame.index) == [
        "no neighbour",
        "memory traffic on the receiver's CPU",
        "a reader of the same page on another CPU",
    ]
    assert frame.loc["no neighbour", "8 µs"] == "1,000 (without spread); 14 of 14"
    assert frame.loc["memory traffic on the receiver's CPU", "8 µs"].startswith("28")
    assert frame.loc["a reader of the same page on another CPU", "8 µs"].endswith("of 7")
    assert frame.loc["a reader of the same page on another CPU", "20 µs"] == "not measured"


def test_channel_noise_of_a_dataset_without_neighbours_is_one_line(tmp_path: Path) -> None:
    table = notebook.channel_noise(campaign(tmp_path / "d", point(CLEAR)))
    assert len(table.frame) == 1
    assert "was not measured (dataset made-up)" in str(table)


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
                  notebook.write_reveals, notebook.channel_losses, notebook.channel_noise):  # fmt: skip
        assert "not measured" in str(table(nothing))
