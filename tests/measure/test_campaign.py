# SPDX-License-Identifier: MIT
"""A campaign on this host: refused before it starts, or run and saved whatever its blocks did."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import pytest
from blocks import AFTER_TWO_SAMPLES, Misbehave, block
from running import uffdlab_run

from uffdlab import datasets
from uffdlab.errors import UffdlabError
from uffdlab.host import cpus, exclusive, memory
from uffdlab.measure import campaign
from uffdlab.measure.runner import Block
from uffdlab.probes.protect import ProtectSpec
from uffdlab.probes.scale import ScaleSpec
from uffdlab.probes.semantics import SemanticsSpec
from uffdlab.vocabulary.backings import GIB, MIB

pytestmark = pytest.mark.uffd


def measured(*blocks: Block, allow: bool = False) -> tuple[campaign.Campaign, list[str]]:
    messages: list[str] = []
    return campaign.measure(blocks, suite=None, seed=1, allow_host_changes=allow, say=messages.append), messages


def hugetlb_block(number: int = 0) -> Block:
    return Block(number, "protect", asdict(ProtectSpec("hugetlb_2m_private", "preread", 4 * MIB)))


def test_needs_are_reported_before_measuring() -> None:
    _, messages = measured(block())
    assert messages == ["1 blocks; needs 4 KiB of memory"]


def test_needs_include_the_settings_that_will_change() -> None:
    specs = [{"huge_zeropage": state, "backing": "anon_thp"} for state in ("on", "off", "on")]
    blocks = [Block(number, "zeropages", spec) for number, spec in enumerate(specs)]
    assert campaign.needs_text(blocks).endswith("of memory and thp_use_zero_page at 0 and 1")


def test_needs_include_huge_pages() -> None:
    assert campaign.needs_text([hugetlb_block()]) == "0 B of memory and 2 huge pages of 2 MiB"


def test_a_campaign_is_saved_with_its_provenance(tmp_path: Path) -> None:
    kept, _ = measured(block(0), Block(1, "semantics", asdict(SemanticsSpec("anon", "none"))))
    campaign.save(kept, tmp_path / "d", id_="d", title="A test")
    loaded = datasets.load(tmp_path / "d")
    assert {name: len(frame) for name, frame in loaded.tables.items()} == {
        "samples": 5,
        "latencies": 0,
        "states": 6,
        "outcomes": 2,
    }
    assert loaded.provenance["seed"] == 1
    assert loaded.provenance["kernel_release"]
    assert kept.summary() == "11 rows; blocks: 2 ok"
    assert kept.reasons() == []


def test_control_characters_from_a_dying_child_do_not_break_the_dataset(child_code: Misbehave, tmp_path: Path) -> None:
    words = "\\t\\x1b[31mred\\udcff" + "!" * 20
    child_code(AFTER_TWO_SAMPLES.format(misbehaviour=f"raise RuntimeError('{words}' * 1000)"))
    kept, _ = measured(block())
    campaign.save(kept, tmp_path / "d", id_="d", title="A test")
    (row,) = datasets.load(tmp_path / "d").table("outcomes").to_dict("records")
    assert row["outcome"] == "failed"
    assert row["reason"].startswith("exit status 1: RuntimeError: [31mred")
    assert kept.reasons()[0].startswith("1 x protect failed: exit status 1")


def test_a_campaign_none_of_whose_blocks_can_run_is_refused() -> None:
    with pytest.raises(UffdlabError, match=r"nothing can be measured: needs .* choose a smaller --size"):
        measured(Block(0, "protect", asdict(ProtectSpec("shmem", "preread", 32 << 40))))


@pytest.mark.parametrize("allow", [False, True])
def test_what_no_change_of_the_host_helps_is_refused_before_anything_is_said(
    allow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "allowed", lambda: [0])
    monkeypatch.setattr(exclusive, "claimed", nullcontext)  # another run may have claimed the host
    said: list[str] = []
    blocks = [Block(0, "scale", asdict(ScaleSpec(threads=2)))]
    with pytest.raises(UffdlabError, match=r"^nothing can be measured: needs 2 CPUs to pin threads to"):
        campaign.measure(blocks, suite=None, seed=1, allow_host_changes=allow, say=said.append)
    assert said == []


def test_a_block_that_cannot_run_is_skipped_and_the_others_run() -> None:
    kept, _ = measured(block(0), Block(1, "protect", asdict(ProtectSpec("shmem", "preread", 32 << 40))))
    assert [row["outcome"] for row in kept.measurements.tables["outcomes"]] == ["ok", "skipped"]
    assert "choose a smaller --size" in kept.reasons()[0]


def test_the_hugetlb_pool_is_restored_after_the_campaign(changeable_pool: None) -> None:
    before = memory.hugepages(2048)
    kept, _ = measured(hugetlb_block(), allow=True)
    assert [row["outcome"] for row in kept.measurements.tables["outcomes"]] == ["ok"]
    assert memory.hugepages(2048) == before


def test_the_hugetlb_pool_is_unchanged_without_permission() -> None:
    before = memory.hugepages(2048)
    if before is None or (before.available or 0) >= GIB // (2 * MIB):
        pytest.skip("this kernel has no huge pages of 2 MiB, or plenty")
    with pytest.raises(UffdlabError, match="--allow-host-changes"):
        measured(Block(0, "protect", asdict(ProtectSpec("hugetlb_2m_private", "preread", GIB))))
    assert memory.hugepages(2048) == before


@pytest.mark.uffd
def test_trackers_without_soft_dirty_bits_are_said_to_be_without(tmp_path: Path) -> None:
    done = uffdlab_run("measure", "trackers", "--size=2MiB", "--repeats=1", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    methods = {row["method"] for row in json.loads(done.stdout)["trackers"]}
    assert ("soft-dirty bits are left out: this kernel" in done.stderr) == ("soft_dirty" not in methods)
