# SPDX-License-Identifier: MIT
"""Whatever kills a process that has THP's and KSM's settings changed: the next command puts back every one of them.

These tests change this machine's settings, as root, and put them back in any case. ``UFFDLAB_KILLS`` says how often
a campaign is killed, as in ``test_robustness``.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from running import HANGS_S, UFFDLAB, environment, sentence, uffdlab_run, wait_until
from test_robustness import ALLOWED, KILLS, RESUME, home, results  # noqa: F401  (a fixture)

from uffdlab import datasets
from uffdlab.host import ksm, settings

pytestmark = pytest.mark.uffd

OTHERS: dict[str, dict[str, str]] = {
    "thp_enabled": {"always": "madvise", "madvise": "always", "never": "madvise"},
    "thp_use_zero_page": {"0": "1", "1": "0"},
    "mthp_64": {"always": "madvise", "inherit": "madvise", "madvise": "never", "never": "madvise"},
    "ksm_use_zero_pages": {"0": "1", "1": "0"},
    "ksm_pages_to_scan": {},
    "ksm_sleep_millisecs": {},
    "ksm_run": {"0": "1", "2": "1"},
}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make the directory of the journal, in memory like ``/run``, for this process and the commands it starts."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as directory:
        monkeypatch.setenv(settings.STATE_DIR_VARIABLE, f"{directory}/state")
        yield Path(directory) / "state"


@pytest.fixture
def before(state: Path) -> Iterator[dict[str, str]]:
    """Return the settings, and put them back; skip where they may not be changed or KSM is in use."""
    why = ksm.busy() or next(filter(None, map(settings.why_unchangeable, OTHERS)), None)
    if why:
        pytest.skip(f"settings of THP and KSM may not be changed: {why}")
    found = {name: str(settings.current(name)) for name in OTHERS}
    yield found
    for name, value in found.items():
        if settings.current(name) != value:
            Path("/", settings.SETTINGS[name].path).write_text(value)


def now() -> dict[str, str]:
    return {name: str(settings.current(name)) for name in OTHERS}


def _killed_after(calls: int, change: Callable[[], None]) -> bool:
    """Kill a process that makes a change right after so many system calls; False where it makes fewer."""
    child = os.fork()
    if child == 0:
        made = 0

        def count(_: Any, event: str, function: Any) -> None:
            nonlocal made
            made += event == "c_return" and getattr(function, "__module__", None) == "posix"
            if made == calls:
                os.kill(os.getpid(), signal.SIGKILL)

        with suppress(BaseException):
            sys.setprofile(count)
            change()
            sys.setprofile(None)
            os._exit(0)
        os._exit(1)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in (0, -signal.SIGKILL)
    return ended != 0


@pytest.mark.parametrize("kind", ["thp", "ksm"])
def test_settings_are_restored_after_a_kill_at_any_system_call(kind: str, before: dict[str, str], state: Path) -> None:
    names = [name for name in OTHERS if kind in name]
    wanted = {name: OTHERS[name].get(before[name]) or str(int(before[name]) + 7) for name in names}

    def change() -> None:
        with settings.changed(wanted, allow=True):
            assert now() == before | wanted

    calls, put_back = 1, set[str]()
    while _killed_after(calls, change):
        changed = {name for name, value in now().items() if value != before[name]}
        said = settings.restore_leftovers()
        assert now() == before, (calls, said)
        assert {one.split()[0] for one in said} == changed
        assert all(one.endswith(f" was put back to {before[one.split()[0]]}.") for one in said)
        assert not (state / "journal.json").exists()
        put_back |= changed
        calls += 1
    assert now() == before, "undisturbed, it puts everything back itself"
    assert put_back == set(names), "of each, some kill found it changed"
    assert ksm.busy() is None


# --- campaigns -------------------------------------------------------------------------------------------------------

SUITE = """
import os, sys
if "uffdlab.measure.child" not in sys.orig_argv:
    from uffdlab.vocabulary.backings import MIB
    from uffdlab.measure import suites
    from uffdlab.probes.covert.ksm import MergingSpec
    from uffdlab.probes.published import PublishedSpec
    from uffdlab.probes.zeropages import ZeropagesSpec

    work = (
        suites.Work("zeropages", (ZeropagesSpec("anon_thp", huge_zeropage="off", size_bytes=2 * MIB),), {rounds}),
        suites.Work("merging", (MergingSpec(use_zero_pages=True, pages=8, rounds=1),), {rounds}),
        suites.Work("published", (PublishedSpec(2 * MIB, thp={thp!r}),), {rounds}),
    )
    suites.SUITES["tiny"] = suites.Suite("tiny", "for a test", work, settings={{"mthp_64": {mthp!r}}})
"""
ROWS = {"zeropages": 3, "merges": 1, "published_runs": 4}  # of each block of theirs


def _killed_amid_its_blocks(home: Path, *arguments: str, after_s: float) -> int:  # noqa: F811
    """Kill a command so long after it has kept one more block; return how many blocks are kept by then."""
    kept = len(results(home))
    with subprocess.Popen([*UFFDLAB, *arguments], cwd=home, env=environment(), stderr=subprocess.DEVNULL) as running:
        try:
            wait_until(lambda: len(results(home)) > kept, "one more block has finished", HANGS_S)
            time.sleep(after_s)
        finally:
            running.kill()
    return len(results(home))


def test_a_campaign_killed_while_settings_differ_restores_them_and_resumes(
    before: dict[str, str],
    state: Path,
    child_code: Callable[[str], None],
    home: Path,  # noqa: F811
) -> None:
    kills = max(2, KILLS // 5)
    rounds = kills + 1
    moments = random.Random(20230303)
    thp, mthp = OTHERS["thp_enabled"][before["thp_enabled"]], OTHERS["mthp_64"][before["mthp_64"]]
    child_code(SUITE.format(rounds=rounds, thp=thp, mthp=mthp))
    command = ("measure", "--suite=tiny", "--seed=5", "--out=d", ALLOWED)
    done = 0
    for _ in range(kills):
        done = _killed_amid_its_blocks(home, *command, after_s=moments.uniform(0, 0.3))
        command = (*RESUME, ALLOWED)
        assert now() != before, "while blocks are measured, huge pages of 64 KiB are as the suite wants them"
        refusal = uffdlab_run(*RESUME, cwd=home)
        assert "was begun with --allow-host-changes" in sentence(refusal)
        assert f"was put back to {before['mthp_64']}." in refusal.stderr
        assert now() == before
        assert len(results(home)) == done
    resumed = uffdlab_run(*command, cwd=home)
    assert resumed.returncode == 0, resumed.stderr
    assert f"{done} of {3 * rounds} blocks are done: continuing" in resumed.stderr
    assert now() == before
    assert ksm.busy() is None
    kept = datasets.load(home / "d")
    ended = kept.table("outcomes")
    assert list(ended.block) == list(range(3 * rounds))
    assert list(ended.outcome) == ["ok"] * 3 * rounds, list(ended.reason)
    for table, expected in ROWS.items():
        assert set(kept.table(table).groupby("block").size()) == {expected}
        assert kept.table(table).block.nunique() == rounds
    assert kept.provenance["resumed"] == kills
