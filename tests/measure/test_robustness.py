# SPDX-License-Identifier: MIT
"""Whatever ends a campaign or one of its children: nothing finished is lost, nothing hangs, the host is as it was.

``UFFDLAB_KILLS`` says how many children are killed at random moments: few here, a hundred in ``make lab-full``.
"""

from __future__ import annotations

import json
import math
import os
import random
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from blocks import AFTER_TWO_SAMPLES, Misbehave, block, outcomes, reason, samples
from handmade import files_in
from running import UFFDLAB, alive, environment, sentence, uffdlab_run, wait_until

from uffdlab import datasets
from uffdlab.host import memory
from uffdlab.measure import runner
from uffdlab.measure.runner import Block
from uffdlab.probes.protect import ProtectSpec
from uffdlab.probes.requirements import Needs
from uffdlab.vocabulary.backings import MIB

pytestmark = pytest.mark.uffd

KILLS = int(os.environ.get("UFFDLAB_KILLS", "10"))
BLOCKS, SAMPLES = 4, 3

# Comes before the command's own code, but not before its children's: a suite of four blocks of three samples each.
TINY = """
import os, signal, sys
if "uffdlab.measure.child" not in sys.orig_argv:
    from uffdlab.measure import campaign, journal
    from uffdlab.datasets import writing
    from uffdlab.measure import runner, suites
    from uffdlab.probes.protect import ProtectSpec

    specs = tuple(ProtectSpec(*point, repeats=3) for point in {points})
    suites.SUITES["tiny"] = suites.Suite("tiny", "for a test", (suites.Work("protect", specs, rounds={rounds}),))
"""


def tiny(*points: tuple[str, str, int], rounds: int = 2) -> str:
    return TINY.format(points=points, rounds=rounds)


ANON, SHMEM = ("anon", "pte_marker", 2 * MIB), ("shmem", "pte_marker", 2 * MIB)
ORDINARY = tiny(ANON, SHMEM)


def huge() -> str:
    """Return a suite that needs one huge page more than are free."""
    pool = memory.hugepages(2048)
    assert pool is not None
    return tiny(ANON, ("hugetlb_2m_private", "preread", ((pool.available or 0) + 1) * 2 * MIB))


MEASURE = ("measure", "--suite=tiny", "--only=protect", "--seed=5", "--out=d")
RESUME = ("measure", "--out=d", "--resume")
FINISH = ("measure", "--out=d", "--finish")
ALLOWED = "--allow-host-changes"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def behave(home: Path, code: str = ORDINARY) -> None:
    """Let the commands to come run this first, instead of what a test put in with ``child_code``."""
    (home.parent / "misbehaviour" / "misbehaviour.py").write_text(code)


def journalled(home: Path) -> list[dict[str, Any]]:
    """Return the lines of the journal after its first."""
    try:
        lines = (home / "d.partial" / "journal.jsonl").read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines[1:] if line.endswith("\n")]


def results(home: Path) -> list[dict[str, Any]]:
    """Return the results that the journal holds."""
    return [line for line in journalled(home) if "block" in line]


def assert_whole(home: Path, resumed: int, blocks: int = BLOCKS) -> None:
    """Every block ended well once, each sample is there once, and nothing else is left."""
    kept = datasets.load(home / "d")
    assert list(kept.table("outcomes").block) == list(range(blocks))
    assert set(kept.table("outcomes").outcome) == {"ok"}
    taken = kept.table("samples")
    found = list(zip(taken["block"], taken["sample"], strict=True))
    assert found == [(number, sample) for number in range(blocks) for sample in range(SAMPLES)]
    assert kept.provenance["resumed"] == resumed
    assert os.listdir(home) == ["d"]


# --- children --------------------------------------------------------------------------------------------------------


def _lived_s(pid: int) -> float:
    """Return the CPU time of a process, which does not grow while others run; the whole of it, once it has ended."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except (OSError, IndexError):
        return math.inf


def _kill_at(child: subprocess.Popen[bytes], moment_s: float) -> None:
    while _lived_s(child.pid) < moment_s:
        time.sleep(0.001)
    child.kill()


def test_children_killed_at_random_times_lose_no_finished_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = asdict(ProtectSpec("anon", "preread", 32 * MIB, repeats=30))  # half of its life it measures
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    undisturbed = runner.run([Block(0, "protect", spec)])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    life_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    moments = random.Random(20230216)
    started: list[int] = []

    def doomed(stderr: Any, real: Callable[..., Any] = runner._start) -> subprocess.Popen[bytes]:
        child: subprocess.Popen[bytes] = real(stderr)
        started.append(child.pid)
        threading.Thread(target=_kill_at, args=(child, moments.uniform(0, life_s)), daemon=True).start()
        return child

    with monkeypatch.context() as patched:
        patched.setattr(runner, "_start", doomed)
        rows = runner.run([Block(number, "protect", spec) for number in range(KILLS)])
    ended = Counter(outcomes(rows))
    assert set(ended) <= {"ok", "killed"}
    assert ended["killed"] >= KILLS // 5, ended
    assert len(started) == KILLS
    assert not any(alive(pid) for pid in started)
    for row in rows.tables["outcomes"]:
        mine = [taken["sample"] for taken in rows.tables.get("samples", []) if taken["block"] == row["block"]]
        assert mine == list(range(len(mine))), "from the first one on, none twice"
        assert row["outcome"] == "killed" or len(mine) == samples(undisturbed)
        assert (row["reason"] or "by signal SIGKILL").startswith("by signal SIGKILL")
    assert outcomes(runner.run([block()])) == ["ok"], "the next one is not disturbed"


@pytest.fixture
def small_group() -> Iterator[Path]:
    """Make a memory control group of 96 MiB below this process's own."""
    own = next(memory._memory_cgroups(Path("/")), None)
    if own is None:
        pytest.skip("this process is in no memory control group")
    group = Path("/") / own.directory / f"uffdlab-test-{secrets.token_hex(4)}"
    try:
        group.mkdir()
        (group / own.limit).write_text(str(96 * MIB))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"no memory control group can be made here: {error.strerror}")
    with suppress(OSError):  # where there is no swap there is nothing to forbid
        (group / "memory.swap.max").write_text("0")
    yield group
    wait_until(lambda: not (group / "cgroup.procs").read_text(), "its processes are gone")
    group.rmdir()


def test_a_control_group_without_swap_is_named(small_group: Path) -> None:
    limit = small_group / "memory.swap.max"
    if not limit.exists() or limit.read_text().strip() != "0":
        pytest.skip("this control group has no memory.swap.max")
    code = (
        f"import os; open({str(small_group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
        "from uffdlab.probes.sequence import SequenceSpec\n"
        "print(SequenceSpec('anon', 'none', 'protect; swapout').needs().missing())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"needs swap, and {limit} is 0: write max there, or measure in another control group\n"


def test_an_oom_killed_child_has_out_of_memory_as_reason(small_group: Path, child_code: Misbehave) -> None:
    join = f"open({str(small_group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))"
    child_code(AFTER_TWO_SAMPLES.format(misbehaviour=f"{join}; hoard = [os.urandom(1 << 20) for _ in range(512)]"))
    rows = runner.run([block()])
    assert outcomes(rows) == ["killed"]
    assert reason(rows).startswith("by signal SIGKILL: out of memory, most likely (oom_kill in /proc/vmstat")
    assert samples(rows) == 2, "what it measured before is kept"


def test_a_child_killed_by_another_process_is_not_called_out_of_memory(child_code: Misbehave) -> None:
    if "/proc/vmstat" not in memory.oom_kills():
        pytest.skip("this kernel does not count what it kills for want of memory")
    child_code(AFTER_TWO_SAMPLES.format(misbehaviour="os.kill(os.getpid(), signal.SIGKILL)"))
    assert "and not for lack of memory" in reason(runner.run([block()]))


def test_the_oom_kill_counter_that_rose_is_named(tmp_path: Path) -> None:
    assert memory.oom_kills(tmp_path) == {}
    assert runner._why_sigkill({}, {}).startswith(": out of memory? See whether oom_kill has risen")
    for path, content in {
        "proc/vmstat": "nr_free_pages 5\noom_kill 3\n",
        "proc/self/cgroup": "0::/mine\n",
        "sys/fs/cgroup/mine/memory.events": "oom 9\noom_kill 2\noom_group_kill 0\n",
        "sys/fs/cgroup/memory.events": "oom_kill 7\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    counted = memory.oom_kills(tmp_path)
    assert counted == {"/proc/vmstat": 3, "memory.events": 2}
    assert "(oom_kill in memory.events has risen)" in runner._why_sigkill(counted | {"memory.events": 1}, counted)


# --- no huge pages ---------------------------------------------------------------------------------------------------


def test_a_suite_without_its_huge_pages_is_refused_before_writing(child_code: Misbehave, home: Path) -> None:
    pool = memory.hugepages(2048)
    if pool is None or pool.available:
        pytest.skip("this kernel has no huge pages of 2 MiB, or some are free")
    child_code(tiny(*((kind, "preread", 2 * MIB) for kind in ("hugetlb_2m_private", "hugetlb_2m_shared"))))
    refusal = sentence(uffdlab_run(*MEASURE, cwd=home, env=environment()))
    assert refusal.startswith(
        "nothing can be measured: needs 1 free huge pages of 2048 KiB and the pool has 0: let uffdlab"
    )
    assert os.listdir(home) == []


def test_a_kernel_without_huge_pages_is_not_reported_as_an_empty_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "hugepages", lambda size_kib: None)
    assert Needs(hugepages={2048: 1}).missing() == "this kernel has no huge pages of 2048 KiB"


# --- SIGKILL of the command ------------------------------------------------------------------------------------------


def measure_until_killed(home: Path, *arguments: str, after_s: float) -> int:
    """Kill a command so many seconds after it has kept one more block; return how many there are by then."""
    before = len(results(home))
    with subprocess.Popen([*UFFDLAB, *arguments], cwd=home, env=environment(), stderr=subprocess.DEVNULL) as running:
        try:
            wait_until(lambda: len(results(home)) > before, "one more block has finished")
            time.sleep(after_s)
        finally:
            running.kill()
    return len(results(home))


def test_a_campaign_killed_repeatedly_measures_every_block_once(child_code: Misbehave, home: Path) -> None:
    kills = max(2, KILLS // 5)
    blocks = 2 * 3 * kills
    moments = random.Random(20230227)
    child_code(tiny(ANON, SHMEM, rounds=3 * kills))
    done = measure_until_killed(home, *MEASURE, after_s=moments.uniform(0, 0.2))
    refusal = sentence(uffdlab_run(*MEASURE, cwd=home, env=environment()))
    assert f"{done} of {blocks} blocks are kept in" in refusal
    assert len(results(home)) == done, "a campaign begun anew overwrites nothing"
    refusal = sentence(uffdlab_run(*RESUME, "--seed=6", cwd=home, env=environment()))
    assert refusal == "the campaign was begun with --seed 5: omit --seed to continue it"
    for _ in range(kills - 1):
        done = measure_until_killed(home, *RESUME, after_s=moments.uniform(0, 0.2))
        assert done < blocks
    with (home / "d.partial" / "journal.jsonl").open("a") as file:
        file.write('{"block": 4, "outc')
    resumed = uffdlab_run(*RESUME, cwd=home, env=environment())
    assert resumed.returncode == 0, resumed.stderr
    assert "was cut off: its block is measured again" in resumed.stderr
    assert f"{done} of {blocks} blocks are done: continuing" in resumed.stderr
    assert_whole(home, resumed=kills, blocks=blocks)


def test_the_pool_of_a_killed_campaign_is_restored_and_refilled_on_resume(
    changeable_pool: None, child_code: Misbehave, home: Path
) -> None:
    suite = huge()
    child_code(suite + WITHIN_A_BLOCK.replace("SIGINT", "SIGKILL"))
    env = environment(UFFDLAB_STATE_DIR=str(home.parent / "state"))
    before = memory.hugepages(2048)
    assert before is not None
    assert uffdlab_run(*MEASURE, ALLOWED, cwd=home, env=env).returncode == -signal.SIGKILL
    behave(home, suite)
    refusal = uffdlab_run(*RESUME, cwd=home, env=env)
    assert "was begun with --allow-host-changes: continue it with that option" in sentence(refusal)
    assert f"was put back to {before.total}." in refusal.stderr
    wait_until(lambda: memory.hugepages(2048) == before, "the pool is as it was")
    resumed = uffdlab_run(*RESUME, ALLOWED, cwd=home, env=env)
    assert resumed.returncode == 0, resumed.stderr
    assert_whole(home, resumed=1)
    wait_until(lambda: memory.hugepages(2048) == before, "the pool is as it was")


# --- Ctrl-C at every phase -------------------------------------------------------------------------------------------

PRESS = "os.kill(os.getpid(), signal.SIGINT)"
BEFORE_THE_FIRST_BLOCK = f"""
    campaign._refuse_if_hopeless = lambda blocks: {PRESS}
"""
AS_THE_FIRST_STARTS = f"""
    runner._run_block = lambda result, allow: {PRESS}
"""
WITHIN_A_BLOCK = f"""
    def parse_line(line, result, real=runner._parse_line):
        ending = real(line, result)
        if (result.block.number, len(result.rows)) == (2, 2):
            {PRESS}
        return ending
    runner._parse_line = parse_line
"""
BETWEEN_BLOCKS = f"""
    def append(self, result, real=journal.Journal.append):
        if result.block.number == 1:
            {PRESS}
        real(self, result)
    journal.Journal.append = append
"""
WHILE_SAVING = f"""
    def load(path, real=writing.load):
        {PRESS}
        return real(path)
    writing.load = load
"""
AFTER_SAVING = f"""
    def save(*arguments, real=campaign.save, **more):
        real(*arguments, **more)
        {PRESS}
    campaign.save = save
"""


def pressed(home: Path, phase: str, *arguments: str, suite: str = ORDINARY, env: dict[str, str] | None = None) -> str:
    """Measure until the phase presses Ctrl-C; return what was said. The commands to come run undisturbed."""
    behave(home, suite + phase)
    done = uffdlab_run(*MEASURE, *arguments, cwd=home, env=env or environment())
    behave(home, suite)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    return str(done.stderr)


@pytest.mark.parametrize("phase", [BEFORE_THE_FIRST_BLOCK, AS_THE_FIRST_STARTS], ids=["earlier", "starting"])
def test_ctrl_c_before_the_first_row_leaves_no_journal(phase: str, child_code: Misbehave, home: Path) -> None:
    child_code(ORDINARY)
    assert "uffdlab: interrupted" in pressed(home, phase)
    assert os.listdir(home) == []


@pytest.mark.parametrize(
    ("phase", "finished", "resumed"),
    [(WITHIN_A_BLOCK, 2, 1), (BETWEEN_BLOCKS, 2, 1), (WHILE_SAVING, BLOCKS, 0)],
    ids=["within a block", "between blocks", "while saving"],
)
def test_a_campaign_can_be_resumed_after_ctrl_c(
    phase: str, finished: int, resumed: int, child_code: Misbehave, home: Path
) -> None:
    child_code(ORDINARY)
    advice = (
        f"{finished} of {BLOCKS} blocks are kept in {home}/d.partial: continue with 'uffdlab measure --out d --resume'"
    )
    assert advice in pressed(home, phase)
    assert os.listdir(home) == ["d.partial"]
    done = uffdlab_run(*RESUME, cwd=home, env=environment())
    assert done.returncode == 0, done.stderr
    assert_whole(home, resumed)


def test_ctrl_c_after_the_dataset_is_written_keeps_it(child_code: Misbehave, home: Path) -> None:
    child_code(ORDINARY)
    assert "continue with" not in pressed(home, AFTER_SAVING)
    assert_whole(home, resumed=0)


def test_finish_writes_a_dataset_with_the_rows_of_the_interrupted_block(child_code: Misbehave, home: Path) -> None:
    child_code(ORDINARY)
    pressed(home, WITHIN_A_BLOCK)
    done = uffdlab_run(*FINISH, cwd=home, env=environment())
    assert done.returncode == 0, done.stderr
    kept = datasets.load(home / "d")
    assert list(kept.table("outcomes").outcome) == ["ok", "ok", "interrupted", "interrupted"]
    assert list(kept.table("samples").groupby("block").size()) == [3, 3, 2]
    assert os.listdir(home) == ["d"]


def test_ctrl_c_restores_the_hugetlb_pool(changeable_pool: None, child_code: Misbehave, home: Path) -> None:
    suite = huge()
    child_code(suite)
    before = memory.hugepages(2048)
    env = environment(UFFDLAB_STATE_DIR=str(home.parent / "state"))
    assert f"--resume {ALLOWED}'" in pressed(home, WITHIN_A_BLOCK, ALLOWED, suite=suite, env=env)
    assert os.listdir(home.parent / "state") == [], "the pool was changed, and nothing is left to put back"
    wait_until(lambda: memory.hugepages(2048) == before, "the pool is as it was")


def test_a_terminated_campaign_prints_the_resume_command(child_code: Misbehave, home: Path) -> None:
    child_code(ORDINARY + WITHIN_A_BLOCK.replace("SIGINT", "SIGTERM"))
    done = uffdlab_run(*MEASURE, cwd=home, env=environment())
    assert done.returncode == 128 + signal.SIGTERM
    assert "2 of 4 blocks are kept in" in done.stderr
    assert [len(one["rows"]) for one in journalled(home)] == [3, 3, 2]


# --- a full disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "uffdlab-test", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def filled(disk: Path, but: int) -> Path:
    """Fill a file system but for so many bytes."""
    left = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(b"x" * (left.f_bavail * left.f_bsize - but))
    return filler


def test_a_full_disk_loses_no_kept_result(child_code: Misbehave, small_disk: Path) -> None:
    blocks = 12
    child_code(tiny(ANON, SHMEM, rounds=blocks // 2))
    env = environment()
    filler = filled(small_disk, but=8 << 10)
    refusal = sentence(uffdlab_run(*MEASURE, cwd=small_disk, env=env))
    assert "d.partial/journal.jsonl has no space left on its device: free some" in refusal
    kept = results(small_disk)
    assert 1 <= len(kept) < blocks
    assert f"{len(kept)} of {blocks} blocks are kept in" in refusal
    assert "continue with" in refusal

    before = files_in(small_disk / "d.partial")
    refusal = sentence(uffdlab_run(*FINISH, cwd=small_disk, env=env))
    assert "d has no space left on its device: free some" in refusal
    assert f"{len(kept)} of {blocks} blocks are kept in" in refusal
    assert sorted(os.listdir(small_disk)) == ["d.partial", "filler"], "nothing half-written"
    assert files_in(small_disk / "d.partial") == before

    filler.unlink()
    resumed = uffdlab_run(*RESUME, cwd=small_disk, env=env)
    assert resumed.returncode == 0, resumed.stderr
    assert_whole(small_disk, resumed=1, blocks=blocks)


def test_a_disk_that_is_full_at_the_start_is_reported(child_code: Misbehave, small_disk: Path) -> None:
    child_code(ORDINARY)
    filled(small_disk, but=0)
    refusal = sentence(uffdlab_run(*MEASURE, cwd=small_disk, env=environment()))
    assert "d.partial has no space left on its device" in refusal
    assert os.listdir(small_disk) == ["filler"]
