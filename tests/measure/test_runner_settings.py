# SPDX-License-Identifier: MIT
"""A block that needs another host setting runs with it if it may be changed, and is skipped otherwise."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from uffdlab.host import settings
from uffdlab.measure import runner
from uffdlab.measure.runner import Block
from uffdlab.probes.published import PublishedSpec
from uffdlab.probes.zeropages import ZeropagesSpec
from uffdlab.vocabulary.backings import MIB

pytestmark = pytest.mark.uffd
ZERO = "thp_use_zero_page"


@pytest.fixture
def _changeable() -> None:
    why = settings.why_unchangeable(ZERO)
    if why:
        pytest.skip(f"use_zero_page may not be changed: {why}")
    if settings.current("thp_enabled") == "never":
        pytest.skip("transparent huge pages are off")


def _blocks() -> list[Block]:
    specs = [ZeropagesSpec("anon_thp", "populate_read", state, 2 * MIB) for state in ("on", "off")]
    return [Block(number, "zeropages", asdict(spec)) for number, spec in enumerate(specs)]


@pytest.mark.usefixtures("_changeable")
def test_a_setting_is_in_force_for_its_block_and_restored_after_it() -> None:
    before = settings.current(ZERO)
    rows = runner.run(_blocks(), allow_host_changes=True)
    assert [row["outcome"] for row in rows.tables["outcomes"]] == ["ok", "ok"]
    assert settings.current(ZERO) == before
    first = {row["block"]: row for row in rows.tables["zeropages"] if row["step"] == "protected"}
    assert first[0]["zeropages"] in (512, None), "with the huge zeropage a read maps it"
    assert first[1]["zeropages"] in (0, None), "without it a read fills a huge page"
    assert first[1]["rss_growth_kib"] >= 2048 - 256


@pytest.mark.usefixtures("_changeable")
def test_without_permission_the_block_is_skipped_and_the_option_named() -> None:
    now = settings.current(ZERO)
    other = [block for block in _blocks() if (block.spec["huge_zeropage"] == "on") != (now == "1")]
    (row,) = runner.run(other).tables["outcomes"]
    assert row["outcome"] == "skipped"
    assert "--allow-host-changes" in row["reason"]
    assert settings.current(ZERO) == now


@pytest.mark.usefixtures("_changeable")
def test_a_setting_changed_by_another_process_loses_no_finished_block(monkeypatch: pytest.MonkeyPatch) -> None:
    real = runner._run_child

    def disturbed(result: runner.Result) -> None:
        real(result)
        settings._write(
            settings.SETTINGS[ZERO], str((result.block.spec["huge_zeropage"] == "off" and 1) or 0), Path("/")
        )

    before = settings.current(ZERO)
    monkeypatch.setattr(runner, "_run_child", disturbed)
    other = [block for block in _blocks() if (block.spec["huge_zeropage"] == "on") != (before == "1")]
    try:
        rows = runner.run(other, allow_host_changes=True)
    finally:
        settings._write(settings.SETTINGS[ZERO], before or "1", Path("/"))
    (outcome,) = rows.tables["outcomes"]
    assert outcome["outcome"] == "ok"
    assert len(rows.tables["zeropages"]) == 3


def test_the_published_protocol_needs_its_thp_state_as_a_setting() -> None:
    assert PublishedSpec(thp="always").needs().settings == {"thp_enabled": "always"}
