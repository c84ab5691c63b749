# SPDX-License-Identifier: MIT
"""Which committed datasets are campaigns to compare, and which of them belong together."""

from __future__ import annotations

import shutil
from pathlib import Path

from handmade import MACHINE, make

from uffdlab import datasets

FULL = MACHINE | {"suite": "full"}
ELSEWHERE = FULL | {"cpu_model": "Another CPU"}


def test_campaigns_begin_with_the_reference_and_its_machine(tmp_path: Path) -> None:
    for id_ in ("reference-9", "reference-10", "zebra"):
        make(tmp_path / id_, id=id_, facts=FULL)
    make(tmp_path / "antelope", id="antelope", facts=ELSEWHERE)
    make(tmp_path / "quick", id="quick", facts=FULL | {"suite": "quick"})
    make(tmp_path / "published", id="published", facts={}, kind="published")
    make(tmp_path / "broken", id="broken", facts=FULL)
    (tmp_path / "broken" / "datapackage.json").write_text("{")
    found = [path.name for path in datasets.campaigns(tmp_path)]
    assert found == ["reference-10", "reference-9", "zebra", "antelope"]


def test_campaigns_without_a_reference_are_in_the_order_of_their_ids(tmp_path: Path) -> None:
    assert datasets.campaigns(tmp_path) == []
    for id_ in ("b-10", "b-9"):
        make(tmp_path / id_, id=id_, facts=FULL)
    assert [path.name for path in datasets.campaigns(tmp_path)] == ["b-9", "b-10"]


def test_the_newest_companion_of_the_same_machine_belongs_to_a_campaign(tmp_path: Path) -> None:
    here = make(tmp_path / "here", id="here", facts=FULL)
    there = make(tmp_path / "there", id="there", facts=ELSEWHERE)
    for id_, facts in (("channel-9", FULL), ("channel-10", FULL), ("channel-11-b", ELSEWHERE)):
        make(tmp_path / id_, id=id_, facts=facts)
    assert datasets.companions(here, tmp_path) == {"channel": tmp_path / "channel-10"}
    assert datasets.companions(there, tmp_path) == {"channel": tmp_path / "channel-11-b"}


def test_a_dataset_elsewhere_has_no_companions(tmp_path: Path) -> None:
    here = make(tmp_path / "data" / "here", id="here", facts=FULL)
    make(tmp_path / "data" / "channel-9", id="channel-9", facts=FULL)
    shutil.copytree(here.path, tmp_path / "copy")
    assert datasets.companions(datasets.load(tmp_path / "copy"), tmp_path / "data") == {}


def test_committed_campaigns_are_of_two_machines_and_the_reference_is_first() -> None:
    found = [datasets.load(path) for path in datasets.campaigns()]
    assert [data.id for data in found] == [
        "reference-2026-11-28-1932", "replication-2026-11-25-amd", "replication-2026-11-26-amd",
        "replication-2026-11-28-1317-amd", "replication-2026-11-28-1348-amd",
        "intel-2026-11-27", "intel-2026-11-27-busy",
    ]  # fmt: skip
    assert found[0].path == datasets.locate(None)
    assert len({data.provenance["cpu_model"] for data in found}) == 2
    for data in found:
        found_ = {suite: path.name for suite, path in datasets.companions(data).items()}
        kernel = data.provenance["kernel_release"]
        days = {"6.18.44-fc-v669": "2026-11-28", "6.18.44-fc-v657": "2026-11-26", "6.18.44-fc-v595": "2026-11-27-intel"}
        trackers = {"trackers": "trackers-2026-11-28-2007"} if kernel.endswith("v669") else {}
        assert found_ == {"channel": f"channel-{days[kernel]}"} | trackers
