# SPDX-License-Identifier: MIT
"""Real children that succeed, are refused, raise, hang or die: each outcome is recorded, and no row is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from blocks import AFTER_TWO_SAMPLES, Misbehave, block, outcomes, reason, samples
from running import alive, environment, wait_until

from uffdlab.host import asking, memory
from uffdlab.measure import runner
from uffdlab.measure.runner import Block
from uffdlab.probes.protect import ProtectSpec
from uffdlab.probes.semantics import SemanticsSpec
from uffdlab.vocabulary.backings import GIB, MIB

pytestmark = pytest.mark.uffd


def test_a_successful_block_has_rows_and_outcome_ok() -> None:
    rows = runner.run([block(0), Block(1, "semantics", asdict(SemanticsSpec("anon", "none")))])
    assert outcomes(rows) == ["ok", "ok"]
    assert {row["block"] for row in rows.tables["samples"]} == {0}
    assert {row["block"] for row in rows.tables["states"]} == {1}
    assert (samples(rows), rows.interrupted) == (5, False)


def test_an_outcome_row_holds_the_spec() -> None:
    (row,) = runner.run([block(4)]).tables["outcomes"]
    assert (row["block"], row["probe"], row["reason"]) == (4, "protect", None)
    assert ProtectSpec(**json.loads(row["spec"])) == ProtectSpec("anon", "pte_marker", 2 * MIB, repeats=5)
    assert set(row) == {field["name"] for field in runner.OUTCOME_FIELDS}


def test_a_block_past_its_deadline_is_hung() -> None:
    rows = runner.run([block(deadline_s=0.0), block(1)])
    assert outcomes(rows) == ["hung", "ok"], "the next one runs"
    assert rows.tables["outcomes"][0]["reason"] == "no answer within 0 s"


def test_a_hung_child_is_killed_when_its_block_ends(child_code: Misbehave, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    child_code(
        AFTER_TWO_SAMPLES.format(misbehaviour=f"open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    )
    rows = runner.run([block(deadline_s=2.0)])
    assert outcomes(rows) == ["hung"]
    if pid.exists():  # a very slow machine may not have got that far
        assert samples(rows) == 2, "what it measured before is kept"
        assert not alive(int(pid.read_text()))


def test_a_child_that_closes_its_output_and_stays_is_hung(
    child_code: Misbehave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "GRACE_S", 0.1)
    child_code(AFTER_TWO_SAMPLES.format(misbehaviour="sys.stdout.flush(); os.close(1); time.sleep(60)"))
    rows = runner.run([block()])
    assert outcomes(rows) == ["hung"]
    assert "closed its output and was still running" in reason(rows)


@pytest.mark.parametrize(("number", "name"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV, "SIGSEGV"), (40, "40")])
def test_a_child_that_is_killed_keeps_its_earlier_rows(child_code: Misbehave, number: int, name: str) -> None:
    child_code(AFTER_TWO_SAMPLES.format(misbehaviour=f"os.kill(os.getpid(), {int(number)})"))
    rows = runner.run([block()])
    assert outcomes(rows) == ["killed"]
    assert reason(rows).startswith(f"by signal {name}")
    assert samples(rows) == 2


def test_a_child_killed_within_a_line_keeps_its_earlier_rows(child_code: Misbehave) -> None:
    cut = 'sys.stdout.write(\'{{"table": "samp\'); sys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)'
    child_code(AFTER_TWO_SAMPLES.format(misbehaviour=cut.replace("{{", "{")))
    rows = runner.run([block()])
    assert outcomes(rows) == ["killed"]
    assert samples(rows) == 2


def test_a_child_that_raises_has_failed_with_the_exception_as_reason(child_code: Misbehave) -> None:
    child_code(AFTER_TWO_SAMPLES.format(misbehaviour="raise RuntimeError('boom')"))
    rows = runner.run([block()])
    assert (outcomes(rows), reason(rows)) == (["failed"], "exit status 1: RuntimeError: boom")
    assert samples(rows) == 2


def test_a_child_that_raises_an_uffdlab_error_has_failed_with_its_sentence(child_code: Misbehave) -> None:
    child_code(AFTER_TWO_SAMPLES.format(misbehaviour="raise UffdlabError('do this instead')"))
    rows = runner.run([block()])
    assert (outcomes(rows), reason(rows)) == (["failed"], "do this instead")


def test_a_child_that_exits_silently_has_failed(child_code: Misbehave) -> None:
    child_code(AFTER_TWO_SAMPLES.format(misbehaviour="os._exit(3)"))
    rows = runner.run([block()])
    assert (outcomes(rows), reason(rows)) == (["failed"], "exit status 3: nothing on standard error")


def test_a_child_that_exits_0_without_an_outcome_has_failed(child_code: Misbehave) -> None:
    child_code(AFTER_TWO_SAMPLES.format(misbehaviour="os._exit(0)"))
    rows = runner.run([block()])
    assert outcomes(rows) == ["failed"]
    assert reason(rows).startswith("it exited without reporting an outcome")


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (signal.SIGSYS, "a seccomp filter answers one of its system calls with death"),
        (signal.SIGBUS, "a page was poisoned"),
        (signal.SIGXCPU, "a limit on CPU time (ulimit -t) was reached"),
    ],
)
def test_a_fatal_signal_is_explained_by_its_likely_cause(
    child_code: Misbehave, number: signal.Signals, why: str
) -> None:
    child_code(AFTER_TWO_SAMPLES.format(misbehaviour=f"os.kill(os.getpid(), {int(number)})"))
    rows = runner.run([block()])
    assert outcomes(rows) == ["killed"]
    assert reason(rows).startswith(f"by signal {number.name}: {why}")
    assert "hugetlb" not in reason(rows), "no such memory was asked for"


def test_a_hung_child_under_a_thread_killing_seccomp_filter_names_the_filter(
    child_code: Misbehave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "fatal_operations", lambda: ["UFFDIO_COPY"])
    child_code(AFTER_TWO_SAMPLES.format(misbehaviour="time.sleep(60)"))
    rows = runner.run([block(deadline_s=2.0)])
    assert outcomes(rows) == ["hung"]
    assert reason(rows).endswith(
        "a seccomp filter kills a thread that calls UFFDIO_COPY, and may have killed one of it"
    )


def test_a_child_that_fills_stderr_is_not_blocked(child_code: Misbehave) -> None:
    child_code(AFTER_TWO_SAMPLES.format(misbehaviour="sys.stderr.write('x' * (1 << 20))"))
    assert outcomes(runner.run([block()])) == ["ok"]


def test_a_child_with_invalid_output_has_failed_and_keeps_its_rows(child_code: Misbehave) -> None:
    child_code(AFTER_TWO_SAMPLES.format(misbehaviour="print('not JSON'); yield from real(spec)"))
    rows = runner.run([block(0), block(1)])
    assert outcomes(rows) == ["failed", "failed"]
    assert samples(rows) == 2 * (2 + 5), "no row is lost"
    assert "the child wrote invalid output: 'not JSON'" in rows.tables["outcomes"][0]["reason"]


def test_a_kernel_refusal_is_an_outcome_with_its_cause(child_code: Misbehave) -> None:
    lacking = "designs.STOCK['pte_marker'] = dataclasses.replace(designs.STOCK['pte_marker'], features=('bit40',))"
    child_code(AFTER_TWO_SAMPLES.format(misbehaviour="pass") + lacking)
    rows = runner.run([block()])
    assert outcomes(rows) == ["refused"]
    assert "not offered by this kernel" in reason(rows)


def test_a_block_that_needs_more_memory_than_available_is_skipped() -> None:
    rows = runner.run([Block(0, "protect", asdict(ProtectSpec("shmem", "preread", 32 << 40)))])
    assert outcomes(rows) == ["skipped"]
    assert "choose a smaller --size" in reason(rows)


def test_a_block_that_needs_more_huge_pages_than_free_is_skipped() -> None:
    pool = memory.hugepages(2048)
    if pool is None or (pool.available or 0) >= 512:
        pytest.skip("this kernel has no huge pages of 2 MiB, or plenty")
    rows = runner.run([Block(0, "protect", asdict(ProtectSpec("hugetlb_2m_private", "preread", GIB)))])
    assert outcomes(rows) == ["skipped"]
    assert "--allow-host-changes" in reason(rows)


def test_ctrl_c_keeps_finished_blocks_and_marks_the_rest_interrupted() -> None:
    def progress(running: Block) -> None:
        if running.number == 1:
            raise KeyboardInterrupt

    rows = runner.run([block(0), block(1), block(2)], progress)
    assert outcomes(rows) == ["ok", "interrupted", "interrupted"]
    assert [row["block"] for row in rows.tables["outcomes"]] == [0, 1, 2]
    assert (samples(rows), rows.interrupted) == (5, True)


def test_a_child_dies_with_its_runner(child_code: Misbehave, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    write = f"open({str(pid)!r} + '.new', 'w').write(str(os.getpid())); os.rename({str(pid)!r} + '.new', {str(pid)!r})"
    child_code(AFTER_TWO_SAMPLES.format(misbehaviour=f"{write}; time.sleep(60)"))
    code = f"from uffdlab.measure import runner; runner.run([runner.Block(0, 'protect', {block().spec!r})])"
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment()) as parent:
        try:
            wait_until(pid.exists, "the child measures")
            child = int(pid.read_text())
            assert alive(child)
        finally:
            os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: not alive(child), "the child is gone")


def test_table_fields_cover_the_named_probes_and_outcomes() -> None:
    assert list(runner.table_fields(["semantics"])) == ["states", "outcomes"]
    assert list(runner.table_fields(["protect"])) == ["samples", "latencies", "outcomes"]
