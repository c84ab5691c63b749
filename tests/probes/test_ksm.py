# SPDX-License-Identifier: MIT
"""Two processes of our own tell each other what KSM merges: what passes, what does not, and who is left in peace."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from running import forks

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.host import ksm, settings
from uffdlab.measure import runner
from uffdlab.measure.runner import Block
from uffdlab.probes.covert import ksm as probe
from uffdlab.probes.covert.endpoints import Ends
from uffdlab.probes.covert.ksm import MergingSpec
from uffdlab.probes.requirements import Needs, peak
from uffdlab.probes.userfault import mapped
from uffdlab.vocabulary.backings import BACKINGS

Rows = dict[str, list[dict[str, Any]]]
KSM = "sys/kernel/mm/ksm"


def _unable() -> str | None:
    if native.why_missing():
        return native.why_missing()
    return None if ksm.number("run") is not None else "this kernel has no KSM"


mergeable = pytest.mark.skipif(_unable() is not None, reason=str(_unable()))


@pytest.fixture
def idle() -> Iterator[dict[str, str | None]]:
    """KSM that may be changed and that nobody uses; it has to be as it was when the test is over."""
    why = _unable() or ksm.busy()
    for name in MergingSpec().needs().settings:
        why = why or settings.why_unchangeable(name)
    if why:
        pytest.skip(f"KSM may not be changed: {why}")
    before = {name: settings.current(name) for name in settings.SETTINGS if name.startswith("ksm_")}
    yield before
    assert {name: settings.current(name) for name in before} == before
    assert ksm.busy() is None, "nothing stays merged"


def _rows(spec: MergingSpec) -> Rows:
    rows: Rows = {"merges": [], "merge_writes": []}
    for table, row in probe.run(spec):
        rows[table].append(row)
    return rows


def _measured(spec: MergingSpec) -> Rows:
    with settings.changed(spec.needs().settings, allow=True):
        return _rows(spec)


def _separation(rows: Rows) -> float:
    """Return by how much likelier a 1 is received where one was sent: 1 without an error, 0 where nothing passes."""
    total = Counter[str]()
    for row in rows["merges"]:
        total.update({name: row[name] for name in ("ones", "bits", "missed", "invented")})
    return (total["ones"] - total["missed"]) / total["ones"] - total["invented"] / (total["bits"] - total["ones"])


# --- two real processes ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize("use_zero_pages", [False, True])
def test_bits_pass_through_agreed_contents(use_zero_pages: bool) -> None:
    assert _separation(_measured(MergingSpec(use_zero_pages=use_zero_pages, rounds=8, seed=5))) > 0.8


@pytest.mark.usefixtures("idle")
def test_no_bits_pass_if_the_sender_has_no_equal_page() -> None:
    assert abs(_separation(_measured(MergingSpec(rounds=8, silent=True, seed=5)))) < 0.2


@pytest.mark.usefixtures("idle")
def test_zeros_carry_bits_unless_they_merge_with_the_zeropage() -> None:
    shared = _measured(MergingSpec("zeros", pages=1, rounds=30, seed=7))
    assert _separation(shared) > 0.7
    apart = _measured(MergingSpec("zeros", use_zero_pages=True, pages=1, rounds=30, seed=7))
    assert abs(_separation(apart)) < 0.4
    assert all(row["ksm_zero_pages"] != 0 for row in apart["merges"])
    assert not any(row["ksm_zero_pages"] for row in shared["merges"])


@pytest.mark.usefixtures("idle")
def test_the_tables_are_consistent() -> None:
    rows = _measured(MergingSpec(pages=40, rounds=3, repeats=2, seed=3))
    assert [(row["sample"], row["round"]) for row in rows["merges"]] == [(s, r) for s in (0, 1) for r in (0, 1, 2)]
    assert [row["cold"] for row in rows["merges"]] == [True] * 3 + [False] * 3
    for one in rows["merges"]:
        sent, seen = int(one["sent"], 16), int(one["received"], 16)
        assert (sent & ~seen).bit_count() == one["missed"]
        assert (seen & ~sent).bit_count() == one["invented"]
        assert sent.bit_count() == one["ones"]
        assert one["bits"] == one["pages"] == 40
        assert one["private_ns"] < one["threshold_ns"] <= one["merged_ns"]
        assert one["scans"] >= probe.SCANS
        writes, slow = Counter[str](), 0
        for row in rows["merge_writes"]:
            if (row["sample"], row["round"]) == (one["sample"], one["round"]):
                writes[row["kind"]] += row["writes"]
                slow += row["writes"] if row["kind"].startswith("sent") and row["ns"] >= one["threshold_ns"] else 0
        assert (writes["sent 1"], writes["sent 0"]) == (one["ones"], 40 - one["ones"])
        assert writes["merged"] == writes["private"] > 0
        assert slow == seen.bit_count()
    first, second = ([row["sent"] for row in rows["merges"] if row["sample"] == n] for n in (0, 1))
    assert first != second


def _dies_at_once(*_: Any) -> None:
    os._exit(3)


def _dies_amid_its_message(_: Any, __: int, ___: list[int], ends: Ends) -> bool:
    ends.receive(1)
    ends.send(b"r")
    os.kill(os.getpid(), 9)
    return True


@mergeable
@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize(
    ("sender", "how"), [(_dies_at_once, "ended with status 3"), (_dies_amid_its_message, "was killed by signal 9")]
)
def test_a_dying_sender_gives_one_sentence_and_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch, sender: Any, how: str, rounds: int
) -> None:
    monkeypatch.setattr(probe, "_send", sender)
    monkeypatch.setattr(probe, "_wait_for_scans", lambda: probe.SCANS)
    with pytest.raises(UffdlabError, match=how):
        _rows(MergingSpec(rounds=rounds))
    assert forks() == []


@mergeable
def test_missing_ksm_scans_give_one_sentence_and_leave_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    if settings.current("ksm_run") == "1":
        pytest.skip("somebody has KSM running")
    monkeypatch.setattr(probe, "SCAN_S", 0.05)
    with pytest.raises(UffdlabError, match=r"KSM finished 0 full scans.*/sys/kernel/mm/ksm/run is 1"):
        _rows(MergingSpec())
    assert forks() == []


@mergeable
def test_memory_that_cannot_be_merged_or_filled_is_refused() -> None:
    ffi, lib = native.probe()
    with mapped(BACKINGS["anon"], 4096) as memory:
        assert lib.ul_advise(memory.address + 1, 4096, lib.UL_MADV_MERGEABLE, ffi.new("uint64_t *")) == -errno.EINVAL
        for size in (0, 12):
            assert lib.ul_fill_pages(memory.address, size, ffi.new("uint64_t[1]", [1]), 1) == -errno.EINVAL
        assert memory.present_pages() in (0, None), "not a byte was written"


# --- blocks, and who else uses KSM ------------------------------------------------------------------------------------


def _outcome(*, allow: bool) -> tuple[dict[str, Any], int]:
    rows = runner.run([Block(0, "merging", asdict(MergingSpec(pages=8, rounds=2)))], allow_host_changes=allow)
    return rows.tables["outcomes"][0], len(rows.tables.get("merges", []))


@pytest.mark.usefixtures("idle")
def test_ksm_runs_during_a_block_and_is_restored_after_it() -> None:
    outcome, rounds = _outcome(allow=True)
    assert (outcome["outcome"], outcome["reason"], rounds) == ("ok", None, 2)


@pytest.mark.usefixtures("idle")
def test_without_permission_the_block_is_skipped_and_the_option_named() -> None:
    outcome, rounds = _outcome(allow=False)
    assert (outcome["outcome"], rounds) == ("skipped", 0)
    assert "--allow-host-changes" in outcome["reason"]
    assert f"/{KSM}/run" in outcome["reason"]


@pytest.mark.usefixtures("idle")
def test_a_block_is_skipped_if_ksm_is_in_use() -> None:
    with settings.changed({"ksm_run": "1", "ksm_pages_to_scan": 321}, allow=True):
        outcome, rounds = _outcome(allow=True)
        assert (outcome["outcome"], rounds) == ("skipped", 0)
        assert "KSM is in use here" in outcome["reason"]
        assert settings.current("ksm_run") == "1"
        assert settings.current("ksm_pages_to_scan") == "321"


def _made_up(root: Path, **files: str) -> Path:
    (root / KSM).mkdir(parents=True)
    for name, content in files.items():
        (root / KSM / name).write_text(content + "\n")
    return root


@pytest.mark.parametrize(
    ("files", "refusal"),
    [
        ({"run": "1"}, "run is 1, so nothing was changed: .* by writing 0"),
        ({"run": "0", "advisor_mode": "none [scan-time]"}, "advisor_mode is scan-time.*write none there"),
        ({"run": "0", "pages_shared": "7"}, "pages_shared is 7.*write 2 and then 0"),
        ({"run": "2", "ksm_zero_pages": "9"}, "ksm_zero_pages is 9"),
    ],
)
def test_ksm_in_use_is_reported_in_one_sentence(tmp_path: Path, files: dict[str, str], refusal: str) -> None:
    with pytest.raises(UffdlabError, match=refusal):
        raise UffdlabError(str(ksm.busy(_made_up(tmp_path, **files))))


@pytest.mark.parametrize("run", ["0", "2"])
def test_stopped_ksm_is_not_in_use(tmp_path: Path, run: str) -> None:
    files = {"run": run, "advisor_mode": "[none] scan-time", "pages_shared": "0", "ksm_zero_pages": "0"}
    assert ksm.busy(_made_up(tmp_path / "new", **files)) is None
    assert ksm.busy(_made_up(tmp_path / "old", run=run, pages_shared="0")) is None


def test_a_kernel_without_ksm_is_reported(tmp_path: Path) -> None:
    (tmp_path / "sys/kernel/mm").mkdir(parents=True)
    assert ksm.busy(tmp_path) is None
    with (
        pytest.raises(UffdlabError, match=rf"/{KSM}/\w+\) cannot be set: this kernel has no such setting"),
        settings.changed(MergingSpec().needs().settings, allow=True, root=tmp_path),
    ):
        pytest.fail("the block ran")


# --- what is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"contents": "text"}, "choose one of agreed, zeros"),
        ({"contents": "zeros"}, "merge with one another"),
        ({"contents": "zeros", "pages": 2}, "pages=1"),
        ({"pages": 0}, "1 to 1024"),
        ({"pages": 1025}, "1 to 1024"),
        ({"rounds": 0}, "1 to 1000"),
        ({"rounds": 1001}, "1 to 1000"),
        ({"repeats": 0}, "choose 1 to 1000000"),
    ],
)
def test_an_invalid_spec_is_refused(wrong: dict[str, Any], refusal: str) -> None:
    with pytest.raises(UffdlabError, match=refusal):
        MergingSpec(**wrong)


def test_needs_are_exclusive_running_ksm_with_the_requested_zeropage_setting() -> None:
    off, on = MergingSpec().needs(), MergingSpec(use_zero_pages=True).needs()
    assert (off.settings["ksm_use_zero_pages"], on.settings["ksm_use_zero_pages"]) == ("0", "1")
    assert off.settings["ksm_run"] == "1"
    assert set(off.settings) <= set(settings.SETTINGS)
    assert peak([Needs(), off]).ksm
    assert not peak([Needs()]).ksm
    assert Needs().taken() is None


def test_one_ksm_scan_covers_all_pages() -> None:
    needs = MergingSpec(pages=probe.MOST_PAGES).needs()
    assert needs.memory_kib // 4 // 2 <= int(needs.settings["ksm_pages_to_scan"])
