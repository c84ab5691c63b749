# SPDX-License-Identifier: MIT
"""Runs blocks: one child process each, with a deadline; whatever happens to it is a recorded outcome."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from uffdlab.probes.needs import Needs
from uffdlab.probes.registry import PROBES

OUTCOMES = ("ok", "refused", "failed", "killed", "hung", "skipped", "interrupted")
GRACE_S = 5.0
Ending = tuple[str, str | None]


@dataclass(frozen=True)
class Block:
    """One child's work: a probe and the values of its spec, with a deadline in seconds for each row it measures."""

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
    {"name": "block", "type": "integer", "description": "number of the block, in the order they ran"},
    {"name": "probe", "type": "string", "description": "which probe", "constraints": {"enum": list(PROBES)}},
    {"name": "spec", "type": "string", "description": "what it was asked, as JSON"},
    {
        "name": "outcome",
        "type": "string",
        "description": "how it ended",
        "constraints": {"required": True, "enum": list(OUTCOMES)},
    },
    {"name": "reason", "type": "string", "description": "why, when it did not end well"},
    {"name": "duration_ms", "type": "integer", "unit": "ms", "description": "life of the child process"},
]


@dataclass
class Rows:
    """What a campaign has measured so far: rows by table, and whether it was cut short."""

    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    interrupted: bool = False

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Append a row to a table."""
        self.tables.setdefault(table, []).append(row)


def run(blocks: Sequence[Block], progress: Callable[[Block], None] = lambda block: None) -> Rows:
    """Run the blocks in the order given; on Ctrl-C keep what is there and mark the rest interrupted."""
    rows = Rows()
    done = 0
    try:
        for block in blocks:
            progress(block)
            _run_one(block, rows)
            done += 1
    except KeyboardInterrupt:
        rows.interrupted = True
        for block in blocks[done:]:
            _record(rows, block, "interrupted", "Ctrl-C", 0)
    return rows


def table_fields(probes: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the fields of every table the named probes fill, and of ``outcomes``."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for name in probes:
        tables |= PROBES[name].tables
    return tables | {"outcomes": OUTCOME_FIELDS}


def _run_one(block: Block, rows: Rows) -> None:
    lacking = block.needs().missing()
    if lacking:
        _record(rows, block, "skipped", lacking, 0)
        return
    started = time.monotonic()
    outcome, reason = _converse(block, rows)
    _record(rows, block, outcome, reason, round((time.monotonic() - started) * 1000))


def _record(rows: Rows, block: Block, outcome: str, reason: str | None, duration_ms: int) -> None:
    spec = json.dumps(block.spec, sort_keys=True)
    row = {"block": block.number, "probe": block.probe, "spec": spec, "outcome": outcome, "reason": reason}
    rows.add("outcomes", row | {"duration_ms": duration_ms})


def _converse(block: Block, rows: Rows) -> Ending:
    """Start the child, collect its rows as they come, return how it ended."""
    with tempfile.TemporaryFile() as complaints, _started(complaints) as child:
        try:
            return _listen(child, block, rows) or _post_mortem(child, complaints)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)


def _started(complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "uffdlab.probes.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,  # a file: a pipe could fill up and block the child
        start_new_session=True,  # Ctrl-C is the runner's to handle
    )


def _listen(child: subprocess.Popen[bytes], block: Block, rows: Rows) -> Ending | None:
    """Collect rows until the child closes its output; None when it did not say how it ended."""
    assert child.stdin is not None
    assert child.stdout is not None
    with contextlib.suppress(BrokenPipeError), child.stdin as request:
        request.write(json.dumps(asdict(block) | {"runner": os.getpid()}).encode())
    deadline = time.monotonic() + block.deadline_s
    ended: Ending | None = None
    pending = b""
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ)
        while True:
            if not ready.select(max(0.0, deadline - time.monotonic())):
                return "hung", f"no answer within {block.deadline_s:g} s"
            chunk = os.read(child.stdout.fileno(), 1 << 16)
            if not chunk:
                break
            deadline = time.monotonic() + block.deadline_s  # for the next row: a long block is not a hung one
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                said = _take(line, block, rows)
                ended = ended or said
    return ended


def _take(line: bytes, block: Block, rows: Rows) -> Ending | None:
    try:
        message = json.loads(line)
        if "table" in message:
            rows.add(message["table"], {"block": block.number} | message["row"])
            return None
        return message["outcome"], message["reason"]
    except (ValueError, TypeError, KeyError):  # a library printed something: no reason to lose the campaign
        return "failed", f"its output holds something that is no row: {line[:60].decode(errors='replace')!r}"


def _post_mortem(child: subprocess.Popen[bytes], complaints: IO[bytes]) -> Ending:
    """Say how a child ended that did not say so itself."""
    try:
        status = child.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        return "hung", f"closed its output and was still there {GRACE_S:g} s later"
    if status < 0:
        return "killed", f"by signal {_signal_name(-status)}"
    complaints.seek(0)
    last = complaints.read().decode(errors="replace").strip().rsplit("\n", 1)[-1]
    return "failed", f"exit status {status}: {last or 'nothing on standard error'}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return str(number)
