# SPDX-License-Identifier: MIT
"""Flush+reload between two processes of our own: what goes through shared zeropages, and what through nothing."""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from quiet import ahead_of_others, tried
from running import forks

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.measure.registry import PROBES
from uffdlab.probes.covert import channel, flush_reload, memory, neighbour
from uffdlab.probes.covert.channel import ChannelSpec
from uffdlab.probes.covert.endpoints import Ends
from uffdlab.probes.covert.flush_reload import steady
from uffdlab.probes.covert.neighbour import beside
from uffdlab.probes.userfault import KernelRefused, PageState
from uffdlab.stats.threshold import best_threshold
from uffdlab.vocabulary.channel import NEIGHBOURS

Rows = dict[str, list[dict[str, Any]]]


def _able() -> str | None:
    if native.why_missing():
        return native.why_missing()
    if native.probe()[1].ul_channel_supported():
        return "user space cannot flush a cache line here"
    return None if steady() else "the time stamp counter is not invariant here"


live = pytest.mark.skipif(_able() is not None, reason=str(_able()))
CPUS = sorted(os.sched_getaffinity(0))
RECEIVING = CPUS[-1]  # and on one CPU sending, too


def _rows(spec: ChannelSpec) -> Rows:
    rows: Rows = {name: [] for name in PROBES["channel"].tables}
    for table, row in channel.run(spec):
        rows[table].append(row)
    return rows


def _separation(row: dict[str, Any]) -> float:
    """Return by how much likelier a 1 is received where one was sent: 1 without an error, 0 where nothing passes."""
    zeros = row["bits"] - row["ones"]
    return float((row["ones"] - row["missed"]) / row["ones"] - row["invented"] / zeros)


# --- two real processes ----------------------------------------------------------------------------------------------

# What is sent is drawn anew for each sample, and is independent of what is received where nothing passes. There
# `_separation` is 0 with a standard deviation of at most 1/sqrt(bits), whatever else the machine does: 0.035 for the
# 800 bits of the shortest samples here. That one of up to 15 samples exceeds 0.3, over eight of these, by chance, has a
# probability below 1e-13. Where bits pass, all of 80 samples with the CPU to themselves exceeded it, most with 0.98, so
# that fewer than 1 in 20 do not (with 95 % confidence): all 10 samples of five tries fall short with less than 1e-13.
PASSES = 0.3


def _passing(spec: ChannelSpec) -> list[dict[str, Any]]:
    """Return the samples of the first try in which bits pass on one CPU."""
    if spec.needs().missing():
        pytest.skip(str(spec.needs().missing()))
    return tried(
        lambda: _rows(spec)["channels"],
        lambda rows: max(map(_separation, rows)) > PASSES,
        {RECEIVING},
        f"bits pass through {spec.memory}",
    )


@live
@pytest.mark.parametrize(("memory", "lines"), [("zeropage", 8), ("huge_zeropage", 32), ("libc", 8)])
def test_bits_pass_through_a_shared_page_on_one_cpu(memory: str, lines: int) -> None:
    spec = ChannelSpec(memory=memory, lines=lines, slots=500, slot_ns=100_000, repeats=3, seed=5)
    assert [row["memory"] for row in _passing(spec)] == [memory] * 3


@live
@pytest.mark.parametrize("memory", ["populated", "markers_read", "markers_unread", "empty_unread", "huge_populated"])
def test_every_preparation_with_a_zeropage_is_recorded_under_its_name(memory: str) -> None:
    spec = ChannelSpec(memory, slots=100, slot_ns=200_000, repeats=2, seed=1)
    if "unread" not in memory:
        rows = _passing(spec)
    else:
        rows = _rows(spec)["channels"]
        assert min(row["hit_cycles"] for row in rows) > 400, "each load faults"
    assert [row["memory"] for row in rows] == [memory] * 2


def test_the_page_of_the_c_library_is_a_present_page_of_its_file_and_no_zeropage() -> None:
    if native.why_missing():
        pytest.skip(str(native.why_missing()))
    with memory.prepared("libc", 1) as page:
        assert page.length == memory.PAGE
        state = page.state(0)
        assert state.present
        assert "FILE" in (state.categories or ("FILE",))
        assert page.zeropages() in (0, None)


def test_without_a_c_library_among_its_mappings_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    anonymous = [
        "55d0-55d1 r-xp 0 08:01 7   /usr/bin/static",
        "7f00-7f01 rw-p 0 00:00 0",
        "7ff0-7ff1 r-xp 0 00:00 0 [vdso]",
    ]
    monkeypatch.setattr(memory.pseudofiles, "lines", lambda *_: anonymous)
    with pytest.raises(UffdlabError, match="names no file of a C library"), memory.prepared("libc", 1):
        pass


def test_memory_without_the_expected_zeropage_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.Range, "zeropages", lambda _: 0)
    with pytest.raises(UffdlabError, match="512 should"), memory.prepared("zeropage", 1):
        pass


def test_memory_without_the_expected_protection_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = PageState(present=True, swap=False, uffd_wp=False, categories=None)
    monkeypatch.setattr(memory.Range, "state", lambda *_: bare)
    with pytest.raises(UffdlabError, match="is not protected as expected"), memory.prepared("populated", 1):
        pass


@live
@pytest.mark.parametrize("control", [{"memory": "private"}, {"memory": "shmem"}, {"silent": True}])
def test_no_bits_pass_without_a_shared_page_or_a_sender(control: dict[str, Any]) -> None:
    with ahead_of_others():  # where something would pass
        (row,) = _rows(ChannelSpec(slots=1000, seed=7, **control))["channels"]
    assert abs(_separation(row)) < 0.06  # more than five standard deviations of 8000 bits


# --- a noisy neighbour -----------------------------------------------------------------------------------------------

NOISY = [one for one in NEIGHBOURS if one != "none"]


@live
@pytest.mark.parametrize("noise", NOISY)
def test_a_sample_beside_a_neighbour_goes_to_tables_of_its_own(noise: str) -> None:
    spec = ChannelSpec(neighbour=noise, slots=60, slot_ns=20_000, repeats=2, seed=4)
    if spec.needs().missing():
        pytest.skip(str(spec.needs().missing()))
    rows = _rows(spec)
    assert {name: len(found) for name, found in rows.items() if found} == {"noisy_channels": 2, "noisy_slots": 4}
    for row in rows["noisy_channels"]:
        assert set(row) | {"block"} == {field["name"] for field in PROBES["channel"].tables["noisy_channels"]}
        assert (row["neighbour"], row["bits"]) == (noise, 480)
    assert forks() == []


@live
@pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs")
@pytest.mark.parametrize(("noise", "where"), [("traffic_same", CPUS[-1]), ("reader_other", CPUS[0])])
def test_a_neighbour_keeps_its_cpu_busy_until_the_sample_ends(noise: str, where: int) -> None:
    with beside(noise, "zeropage", 8, CPUS[-1], CPUS[:1]):
        (pid,) = forks()
        began = time.monotonic()
        while _cpu_ticks(pid) < 10 and time.monotonic() < began + 30:
            time.sleep(0.05)
        assert _cpu_ticks(pid) >= 10, "it works all the time"
        assert os.sched_getaffinity(pid) == {where}
    assert forks() == []


def _cpu_ticks(pid: int) -> int:
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(after_name[11])


@live
def test_a_neighbour_that_ends_early_gives_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour, "_store", lambda _: None)
    with pytest.raises(UffdlabError, match="memory traffic on the receiver's CPU\\) ended before the sample"):
        _rows(ChannelSpec(neighbour="traffic_same", slots=50))
    assert forks() == []


@live
def test_a_neighbour_that_dies_amid_the_sample_gives_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour, "_store", lambda writing: os.write(writing, b"r"))
    with pytest.raises(UffdlabError, match="nothing of it is kept"):
        _rows(ChannelSpec(neighbour="traffic_same", slots=2000, slot_ns=200_000))
    assert forks() == []


@live
def test_a_neighbour_without_a_range_to_walk_is_refused() -> None:
    _, lib = native.probe()
    for length, step in ((0, 64), (4096, 0)):
        assert lib.ul_channel_disturb(0, length, step, 0, 1) == -errno.EINVAL


def test_a_neighbour_elsewhere_needs_a_second_cpu_and_traffic_its_memory() -> None:
    alone = ChannelSpec().needs()
    needs = {one: ChannelSpec(neighbour=one).needs() for one in NOISY}
    assert {one: need.cpus for one, need in needs.items()} == {"traffic_same": 1, "traffic_other": 2, "reader_other": 2}
    more = {one: need.memory_kib - alone.memory_kib for one, need in needs.items()}
    assert more == {"traffic_same": 64 << 10, "traffic_other": 64 << 10, "reader_other": 0}


# --- two CPUs --------------------------------------------------------------------------------------------------------


def _in_time(rows: list[dict[str, Any]]) -> bool:
    """Whether in some sample neither end came too late for more than a tenth of its slots."""
    return any(max(row["late_sent"], row["late_received"]) <= row["slots"] / 10 for row in rows)


@live
@pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs")
def test_two_cpus_stay_synchronised_and_bits_pass_through_a_shared_cache() -> None:
    """That bits pass cannot be had: a host may run the two CPUs where neither sees what the other one has loaded."""
    spec = ChannelSpec(placement="cross", slot_ns=20_000, repeats=8, seed=11)
    distinguished = []

    def attempt() -> list[dict[str, Any]]:
        rows = _rows(spec)["channels"]
        distinguished.extend(map(_separation, rows))
        return rows

    tried(attempt, _in_time, {CPUS[0], CPUS[-1]}, "the ends on two CPUs keep time")
    while max(distinguished) < 0.1 and len(distinguished) < 40:  # six standard deviations of 4000 bits
        attempt()
    if max(distinguished) < 0.1:
        pytest.skip(f"of {len(distinguished)} samples none passed: the host runs CPUs {CPUS[0]} and {CPUS[-1]} apart")


@live
def test_the_longest_slot_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flush_reload, "TRAINING", 4)
    spec = ChannelSpec(slot_ns=100_000_000, slots=3)
    assert _rows(spec)["channels"][0]["slots"] == 3


@live
def test_the_tables_are_consistent() -> None:
    rows = _rows(ChannelSpec(slots=100, repeats=2, seed=3))
    assert [row["sample"] for row in rows["channels"]] == [0, 1]
    assert [row["cold"] for row in rows["channels"]] == [True, False]
    for one in rows["channels"]:
        slots = [row for row in rows["channel_slots"] if row["sample"] == one["sample"]]
        assert [row["slot"] for row in slots] == [0, 50]
        both = [(int(row["sent"], 16), int(row["received"], 16)) for row in slots]
        assert {len(row[name]) for row in slots for name in ("sent", "received")} == {50 * one["lines"] // 4}
        assert sum((sent & ~seen).bit_count() for sent, seen in both) == one["missed"]
        assert sum((seen & ~sent).bit_count() for sent, seen in both) == one["invented"]
        assert sum(int(row["late"], 16).bit_count() for row in slots) == one["late_received"]
        assert one["hit_cycles"] < one["miss_cycles"]
    loads = Counter[str]()
    for row in rows["channel_latencies"]:
        loads[row["kind"]] += row["loads"]
    assert {row["sample"] for row in rows["channel_latencies"]} == {0}
    assert loads["sent 1"] == rows["channels"][0]["ones"]
    assert loads["sent 1"] + loads["sent 0"] == rows["channels"][0]["bits"]
    assert loads["loaded before"] == loads["flushed before"]
    assert loads["known 1"] == loads["known 0"] == flush_reload.TRAINING * 8 / 2
    first, second = ([row["sent"] for row in rows["channel_slots"] if row["sample"] == n] for n in (0, 1))
    assert first != second


@live
def test_the_receiver_restores_its_cpu_affinity() -> None:
    before = os.sched_getaffinity(0)
    _rows(ChannelSpec(slots=10))
    assert os.sched_getaffinity(0) == before


def _dies_at_once(*_: Any) -> None:
    os._exit(3)


def dies_amid_its_message(_: Any, __: int, ___: Any, ends: Ends, ____: int) -> bool:
    ends.send(b"r")
    ends.receive(24)
    os.kill(os.getpid(), 9)
    return True


@live
@pytest.mark.parametrize(
    ("sender", "how"), [(_dies_at_once, "ended with status 3"), (dies_amid_its_message, "was killed by signal 9")]
)
def test_a_dying_sender_gives_one_sentence_and_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch, sender: Any, how: str
) -> None:
    monkeypatch.setattr(flush_reload, "_send", sender)
    with pytest.raises(UffdlabError, match=how):
        _rows(ChannelSpec(slots=50))
    assert forks() == []


@live
def test_a_counter_that_is_not_steady_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flush_reload, "steady", lambda: False)
    with pytest.raises(KernelRefused, match="not invariant"):
        _rows(ChannelSpec(slots=10))


# --- requests, and the threshold between loads -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"memory": "shared"}, "choose one of zeropage, huge_zeropage, private"),
        ({"placement": "far"}, "choose one of same, cross"),
        ({"neighbour": "loud"}, "choose one of none, traffic_same"),
        ({"lines": 0}, "lines is 0: choose 1 to 128"),
        ({"lines": 9}, "room for 1 to 8"),
        ({"slot_ns": 10}, "slot_ns is 10: choose 1000 to 100000000"),
        ({"slots": 0}, "slots is 0: choose 1 to"),
        ({"slots": 1_000_000}, "send less or choose shorter slots"),
        ({"memory": "markers_unread", "slots": 140_000}, "need a page for each load"),
        ({"repeats": 0}, "choose 1 to 1000000"),
    ],
)
def test_an_invalid_spec_is_refused(wrong: dict[str, Any], refusal: str) -> None:
    with pytest.raises(UffdlabError, match=refusal):
        ChannelSpec(**wrong)


def test_two_cpus_are_needed_only_for_cross_placement() -> None:
    assert [ChannelSpec(placement=one).needs().cpus for one in flush_reload.PLACEMENTS] == [1, 2]
    assert ChannelSpec(memory="huge_zeropage").needs().thp


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("flags\t\t: fpu constant_tsc nonstop_tsc", True), ("flags : fpu constant_tsc", False), ("Features : fp", False)],
)
def test_a_steady_counter_is_recognised_by_its_cpu_flags(tmp_path: Path, flags: str, expected: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{flags}\n")
    assert steady(tmp_path / "cpuinfo") is expected
    assert steady(tmp_path / "none") is False


def test_a_slower_line_is_a_1_if_training_showed_so() -> None:
    parted = best_threshold({440: 1, 441: 1, 450: 1}, {390: 1, 392: 1, 391: 1})
    assert flush_reload.word_of([450, 380, 441], parted) == 0b101
