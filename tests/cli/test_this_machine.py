# SPDX-License-Identifier: MIT
"""The measurement that render draws over the reference: reused while fresh, replaced if render made it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blocks import block

from uffdlab import datasets
from uffdlab.cli import this_machine
from uffdlab.cli.common import say
from uffdlab.cli.this_machine import PLACE, measured
from uffdlab.host import facts
from uffdlab.measure import campaign

pytestmark = pytest.mark.uffd
SECOND = PLACE.with_name("this-machine-2")


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to an empty directory, with one real block as the quick suite and a clean checkout."""
    monkeypatch.chdir(tmp_path)
    collect = facts.collect
    monkeypatch.setattr(facts, "collect", lambda *args, **more: collect(*args, **more) | {"uffdlab_dirty": False})
    monkeypatch.setattr(this_machine, "_measure", lambda notices: taken("quick"))
    monkeypatch.setattr(this_machine, "report_decisions", lambda data: say(f"decided by {data.id}"))


def taken(suite: str) -> campaign.Campaign:
    taken_ = campaign.measure([block()], suite=None, seed=1, allow_host_changes=False, say=lambda text: None)
    return replace(taken_, facts=taken_.facts | {"suite": suite})


def again(*, anew: bool = False) -> datasets.Dataset:
    data = measured([], anew=anew)
    assert data is not None
    return data


def contents(place: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(place.rglob("*")) if file.is_file()}


def lines(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_a_fresh_measurement_is_reused_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    first = again()
    before = contents(PLACE)
    assert "written to build/this-machine" in lines(capsys)
    assert again().provenance == first.provenance
    printed = lines(capsys)
    assert "build/this-machine was measured here 0 min ago, and nothing has changed since: drawn;" in printed
    assert "--measure measures anew" in printed
    assert contents(PLACE) == before


def test_decided_claims_are_reported_for_new_and_reused_measurements(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        again()
        assert "uffdlab: decided by this-machine\n" in lines(capsys)


def test_measure_forces_a_new_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    again()
    before = contents(PLACE)
    again(anew=True)
    assert "written to build/this-machine\n" in lines(capsys)
    assert contents(PLACE) != before
    assert os.listdir("build") == ["this-machine"]


def _older(monkeypatch: pytest.MonkeyPatch) -> None:
    yesterday = time.time() - 25 * 3600
    os.utime(PLACE / "datapackage.json", (yesterday, yesterday))


def _from_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    tomorrow = time.time() + 25 * 3600
    os.utime(PLACE / "datapackage.json", (tomorrow, tomorrow))


def _booted(monkeypatch: pytest.MonkeyPatch) -> None:
    an_hour_ago = time.time() - 3600
    os.utime(PLACE / "datapackage.json", (an_hour_ago, an_hour_ago))
    monkeypatch.setattr(time, "clock_gettime", lambda clock: 60.0)


def _fact(name: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    def change(monkeypatch: pytest.MonkeyPatch) -> None:
        now = facts.collect()
        monkeypatch.setattr(facts, "collect", lambda *args, **more: now | {name: value})

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_older, "it is older than 24 hours"),
        (_from_the_future, "it is older than 24 hours"),
        (_booted, "the machine was rebooted since it was measured"),
        (_fact("kernel_release", "7.0.0"), "what has changed since it was measured: kernel_release ("),
        (_fact("uffdlab_commit", "0" * 40), "what has changed since it was measured: uffdlab_commit ("),
        (_fact("thp_enabled", "changed"), "what has changed since it was measured: thp_enabled ("),
        (_fact("cores_online", 64), "what has changed since it was measured: cores_online ("),
        (_fact("uffdlab_dirty", True), "the package has uncommitted changes"),
    ],
)
def test_a_stale_measurement_is_replaced_by_a_new_one(
    change: Callable[[pytest.MonkeyPatch], None],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    again()
    before = contents(PLACE)
    change(monkeypatch)
    again()
    assert f"build/this-machine is not drawn: {why}" in lines(capsys)
    assert contents(PLACE) != before
    assert os.listdir("build") == ["this-machine"]


def test_a_fresh_campaign_of_the_user_is_drawn_and_never_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    campaign.save(taken("full"), PLACE, id_="this-machine", title="uffdlab full measurement")
    before = contents(PLACE)
    assert again().path == PLACE
    assert again(anew=True).path == SECOND
    assert (
        "build/this-machine is kept as it is: it holds 'uffdlab full measurement', which render did not make"
        in lines(capsys)
    )
    assert contents(PLACE) == before


def _notes() -> None:
    again()
    (PLACE / "notes.txt").write_text("mine")


def _only_notes() -> None:
    PLACE.mkdir(parents=True)
    (PLACE / "notes.txt").write_text("mine")


def _edited() -> None:
    again()
    rows = (PLACE / "samples.csv").read_text()
    (PLACE / "samples.csv").write_text(rows.replace("anon", "shmem", 1))


def _described() -> None:
    again()
    raw = json.loads((PLACE / "datapackage.json").read_text())
    (PLACE / "datapackage.json").write_text(json.dumps(raw | {"title": "uffdlab quick measurement, mine"}))


def _nested() -> None:
    again()
    shutil.copytree(PLACE, PLACE / "copy")


def _linked() -> None:
    again()
    PLACE.rename(PLACE.with_name("elsewhere"))
    PLACE.symlink_to("elsewhere")


def _other_suite() -> None:
    campaign.save(taken("mthp"), PLACE, id_="this-machine", title="uffdlab mthp measurement")


def _partial_table() -> None:
    again()
    (PLACE / "states.csv").unlink(missing_ok=True)
    (PLACE / "samples.csv").unlink()


def _file() -> None:
    PLACE.parent.mkdir()
    PLACE.write_text("mine")


@pytest.mark.parametrize(
    "keep", [_notes, _only_notes, _edited, _described, _nested, _linked, _other_suite, _partial_table, _file]
)
def test_other_files_of_the_user_stay_and_the_next_place_is_used(
    keep: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    keep()
    before = contents(Path("build"))
    lines(capsys)
    assert again(anew=True).path == SECOND
    assert "build/this-machine is kept as it is: " in lines(capsys)
    assert before.items() <= contents(Path("build")).items()
    again(anew=True)
    assert not (Path("build") / "this-machine-3").exists(), "what render made beside it is replaced"


def test_a_fresh_measurement_in_the_next_place_is_reused(capsys: pytest.CaptureFixture[str]) -> None:
    _only_notes()
    assert again().path == SECOND
    lines(capsys)
    assert again().path == SECOND
    assert "build/this-machine-2 was measured here 0 min ago" in lines(capsys)


def test_a_directory_that_cannot_be_written_is_refused_before_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("build").write_text("a file")
    monkeypatch.setattr(this_machine, "_measure", lambda notices: pytest.fail("it measured"))
    with pytest.raises(Exception, match="is not a directory"):
        again()
