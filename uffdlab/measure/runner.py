# SPDX-License-Identifier: MIT
"""Run blocks, one child process each, with a deadline. However a child ends is a recorded outcome.

A block is the unit of work: it is kept when it has ended, and run again as a whole if it was interrupted.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import IO, Any

from uffdlab import starting
from uffdlab.errors import UffdlabError
from uffdlab.host import asking, deaths, errnos, memory, settings
from uffdlab.host.conditions import Request
from uffdlab.host.signals import OrderlyExit
from uffdlab.measure.registry import PROBES
from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import integer, one_of, text
from uffdlab.probes.userfault import request_of
from uffdlab.vocabulary.backings import SEQUENCE_BACKINGS

OUTCOMES = ("ok", "refused", "failed", "killed", "hung", "skipped", "interrupted")
GRACE_S = 5.0
CTRL_C = "Ctrl-C"
Ending = tuple[str, str | None]


@dataclass(frozen=True)
class Block:
    """The work of one child: a probe and its spec, with a deadline in seconds for each row."""

    number: int
    probe: str
    spec: dict[str, Any]
    deadline_s: float = 120.0

    def needs(self) -> Needs:
        """Return what the block holds at its peak."""
        needs: Needs = PROBES[self.probe].spec(**self.spec).needs()
        return needs

    def title(self) -> str:
        """Return a short name for a progress line."""
        return " ".join([self.probe, *(str(v) for k, v in self.spec.items() if k not in ("seed", "repeats"))])


OUTCOME_FIELDS: list[dict[str, Any]] = [
    integer("block", None, "number of the block, in the order they ran", required=False),
    {"name": "probe", "type": "string", "description": "which probe", "constraints": {"enum": list(PROBES)}},
    text("spec", "spec of the block, as JSON"),
    one_of("outcome", OUTCOMES, "how it ended"),
    text("reason", "why, when it did not end well"),
    {"name": "duration_ms", "type": "integer", "unit": "ms", "description": "life of the child process"},
]


@dataclass
class Result:
    """The result of one block: its rows with their tables, and how it ended (``outcome`` is None until then)."""

    block: Block
    rows: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    outcome: str | None = None
    reason: str | None = None
    duration_ms: int = 0

    @property
    def finished(self) -> bool:
        """Whether the block ended by itself, successfully or not; it is not run again."""
        return self.outcome not in (None, "interrupted")

    def outcome_row(self) -> dict[str, Any]:
        """Return the row of the table ``outcomes``."""
        spec = json.dumps(self.block.spec, sort_keys=True)
        key = {"block": self.block.number, "probe": self.block.probe, "spec": spec}
        return key | {"outcome": self.outcome, "reason": self.reason, "duration_ms": self.duration_ms}


@dataclass
class Measurements:
    """The rows of a campaign by table, and whether it was interrupted."""

    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    interrupted: bool = False

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Append a row to a table."""
        self.tables.setdefault(table, []).append(row)


def run(
    blocks: Sequence[Block],
    progress: Callable[[Block], None] = lambda block: None,
    *,
    allow_host_changes: bool = False,
    earlier: Iterable[Result] = (),
    on_result: Callable[[Result], None] = lambda result: None,
) -> Measurements:
    """Run the blocks in the order given; on Ctrl-C keep the results so far and mark the rest interrupted.

    A block that needs host settings runs with them in force if they may be changed, and is skipped otherwise. Blocks
    that ``earlier`` results finished are not run again. ``on_result`` gets each result as soon as its block has ended,
    and the rows of an interrupted one; no signal interrupts it.
    """
    results = {result.block.number: result for result in earlier}
    current: Result | None = None
    interrupted = False
    with OrderlyExit() as signals:
        try:
            for block in blocks:
                if block.number in results and results[block.number].finished:
                    continue
                current = Result(block)
                progress(block)
                _run_block(current, allow_host_changes)
                with signals.held():
                    on_result(current)
                    results[block.number], current = current, None
        except (KeyboardInterrupt, SystemExit) as end:
            interrupted = True
            if current is not None and _interrupt(current, end):
                with signals.held():
                    on_result(current)
                    results[current.block.number] = current
            if isinstance(end, SystemExit):  # SIGTERM, SIGHUP: whoever sent it does not wait for a dataset
                raise
    return collect(blocks, results.values(), CTRL_C, interrupted=interrupted)


def _interrupt(result: Result, end: BaseException) -> bool:
    """Mark a block as interrupted unless it has ended; return whether there is anything to keep."""
    if result.outcome is None:
        result.outcome, result.reason = "interrupted", CTRL_C if isinstance(end, KeyboardInterrupt) else "terminated"
    return result.finished or bool(result.rows)


def collect(blocks: Sequence[Block], results: Iterable[Result], why: str, *, interrupted: bool) -> Measurements:
    """Return the rows of all results in block order; a block without one is interrupted, for the reason ``why``."""
    by_number = {result.block.number: result for result in results}
    measured = Measurements(interrupted=interrupted)
    for block in blocks:
        result = by_number.get(block.number) or Result(block, outcome="interrupted", reason=why)
        for table, row in result.rows:
            measured.add(table, {"block": block.number} | row)
        measured.add("outcomes", result.outcome_row())
    return measured


def table_fields(probes: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the fields of every table of the named probes, and of ``outcomes``."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for name in probes:
        tables |= PROBES[name].tables
    return tables | {"outcomes": OUTCOME_FIELDS}


def _run_block(result: Result, allow_host_changes: bool) -> None:
    needs = result.block.needs()
    wanted, taken = needs.settings, needs.taken()
    if taken:
        result.outcome, result.reason = "skipped", taken
        return
    try:
        with settings.changed(wanted, allow=allow_host_changes) if wanted else contextlib.nullcontext():
            _run_if_possible(result)
    except UffdlabError as error:  # a setting that could not be changed, or not be put back
        if result.outcome is None:
            result.outcome, result.reason = "skipped", str(error)
        else:
            result.reason = f"{result.reason}; {error}" if result.reason else str(error)


def _run_if_possible(result: Result) -> None:
    lacking = result.block.needs().missing()
    if lacking:
        result.outcome, result.reason = "skipped", lacking
    else:
        _run_child(result)


def _run_child(result: Result) -> None:
    started = time.monotonic()
    try:
        ending = _run_to_end(result)
    finally:
        result.duration_ms = round((time.monotonic() - started) * 1000)
    result.outcome, result.reason = ending


def _run_to_end(result: Result) -> Ending:
    """Start the child, collect its rows, return how it ended."""
    ooms = memory.oom_kills()
    with _stderr_file() as stderr:
        try:
            started = _start(stderr)
        except OSError as error:
            return "refused", errnos.explain(asking.START_PROCESS, error.errno or 0)
        with started as child:
            try:
                return _read_rows(child, result) or _post_mortem(child, result.block, stderr, ooms)
            finally:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)


def _stderr_file() -> IO[bytes]:
    """Return a file for a child's standard error. Raises UffdlabError if none can be created."""
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise UffdlabError(
            f"no temporary file can be made ({error.strerror}): free space, or name another directory in TMPDIR"
        ) from error


def _start(stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        starting.python("uffdlab.measure.child"),
        env=starting.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,  # a file: a pipe could fill up and block the child
        start_new_session=True,  # Ctrl-C is the runner's to handle
    )


def _read_rows(child: subprocess.Popen[bytes], result: Result) -> Ending | None:
    """Collect rows until the child closes its output; return None if it reported no outcome."""
    assert child.stdin is not None
    assert child.stdout is not None
    block = result.block
    with contextlib.suppress(BrokenPipeError), child.stdin as request:
        request.write(json.dumps(asdict(block) | {"runner": os.getpid()}).encode())
    deadline = time.monotonic() + block.deadline_s
    ended: Ending | None = None
    pending = b""
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ)
        while True:
            if not ready.select(max(0.0, deadline - time.monotonic())):
                return "hung", f"no answer within {block.deadline_s:g} s{_why_silent()}"
            chunk = os.read(child.stdout.fileno(), 1 << 16)
            if not chunk:
                break
            deadline = time.monotonic() + block.deadline_s  # for the next row: a long block is not a hung one
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                ending = _parse_line(line, result)
                ended = ended or ending
    return ended


def _why_silent() -> str:
    """Return why a child may not answer: a seccomp filter that kills a thread leaves the others waiting."""
    deadly = asking.fatal_operations()
    if not deadly:
        return ""
    return f": a seccomp filter kills a thread that calls {', '.join(deadly)}, and may have killed one of it"


def _parse_line(line: bytes, result: Result) -> Ending | None:
    try:
        message = json.loads(line)
        if "table" in message:
            result.rows.append((message["table"], dict(message["row"])))
            return None
        return message["outcome"], message["reason"]
    except (ValueError, TypeError, KeyError):  # a library printed something: no reason to lose the campaign
        return "failed", f"the child wrote invalid output: {line[:60].decode(errors='replace')!r}"


def _post_mortem(child: subprocess.Popen[bytes], block: Block, stderr: IO[bytes], ooms: Mapping[str, int]) -> Ending:
    """Return the outcome of a child that reported none."""
    try:
        status = child.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        return "hung", f"closed its output and was still running {GRACE_S:g} s later"
    if status == -signal.SIGKILL:
        return "killed", f"by signal SIGKILL{_why_sigkill(ooms, memory.oom_kills())}"
    if status < 0:
        deadly = asking.fatal_operations() if status == -signal.SIGSYS else ()
        return "killed", f"by signal {deaths.name(-status)}{deaths.clause(-status, _memory_of(block), deadly)}"
    stderr.seek(0)
    last = stderr.read().decode(errors="replace").strip().rsplit("\n", 1)[-1]
    if status == 0:  # as when the runner is not the parent that it sees
        return "failed", f"it exited without reporting an outcome: {last or _SILENT}"
    return "failed", f"exit status {status}: {last or _SILENT}"


_SILENT = "nothing on standard error"


def _memory_of(block: Block) -> Request:
    """Return the memory the block requested, as far as its spec says."""
    backing = SEQUENCE_BACKINGS.get(str(block.spec.get("backing")))
    if backing is not None:
        return replace(request_of(backing, int(block.spec.get("size_bytes", backing.page_bytes)), ()), gone=True)
    pools = block.needs().hugepages
    if pools:
        size, count = max(pools.items())
        return Request(
            kind="hugetlb", pool_kib=size, length_bytes=count * size * 1024, file=False, features=(), gone=True
        )
    return Request(kind="anon", features=(), gone=True)


def _why_sigkill(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Return the likely cause of a SIGKILL that uffdlab did not send, from the kernel's oom_kill counters."""
    risen = [where for where, count in after.items() if count > before.get(where, count)]
    if risen:
        return (
            f": out of memory, most likely (oom_kill in {' and '.join(risen)} has risen); free memory, raise its "
            "limit, or choose a smaller size"
        )
    if after:
        return f", and not for lack of memory (oom_kill in {' and '.join(after)} is unchanged): another process sent it"
    return ": out of memory? See whether oom_kill has risen in /proc/vmstat or in the control group's memory.events"
