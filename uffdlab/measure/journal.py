# SPDX-License-Identifier: MIT
"""A campaign on disk while it is being measured, so that nothing finished is lost, whatever ends it.

Beside the future dataset ``mine`` stands ``mine.partial/journal.jsonl``, one JSON object per line, appended and synced
to disk when a block ends::

    {"format": 1, "suite": "full", "only": ["protect"], "seed": 5, "allow_host_changes": true,
     "plan": "sha256:…", "facts": {…}}                    the request, and the host: always the first line
    {"block": 0, "outcome": "ok", "reason": null, "duration_ms": 210, "elapsed_s": 0.4, "rows": [["samples", {…}], …]}
    {"continued": {"load_1min": 0.1}}                     results from here on are another process's

The directory appears with its first line or not at all, and is locked while a process measures into it. A last line
that a power failure cut off is dropped; any other damage is refused. An interrupted block keeps its rows, and is run
again as a whole when the campaign is continued.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shlex
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from uffdlab.datasets import files
from uffdlab.datasets.cells import show
from uffdlab.datasets.dataset import DECISIVE
from uffdlab.errors import UffdlabError
from uffdlab.measure import suites
from uffdlab.measure.runner import OUTCOMES, Block, Result

FORMAT = 1
NAME = "journal.jsonl"

# A campaign whose parts differ in one of these would be two campaigns.
SAME = (*DECISIVE, "uffdlab_version", "uffdlab_commit", "cpu_microcode", "cores_online", "clock_source", "mitigations")


@dataclass(frozen=True)
class Request:
    """What determines the plan, and whether host settings may be changed."""

    suite: str
    only: tuple[str, ...]
    seed: int
    allow_host_changes: bool = False

    def blocks(self) -> list[Block]:
        """Return the plan. Raises UffdlabError on an unknown suite or probe."""
        return suites.plan(self.suite, self.only, self.seed)


@dataclass
class Journal:
    """What a campaign has finished so far. Made by ``new`` or ``reopen``; a new one is on disk from ``begin`` on."""

    out: Path
    request: Request
    blocks: list[Block]
    facts: dict[str, Any] = field(default_factory=dict)  # of the first part
    results: dict[int, Result] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)  # at the start of each part
    continued: int = 0
    notice: str | None = None
    _file: int | None = None
    _sound: int = 0  # bytes up to the end of the last line that can be read
    _earlier_s: float = 0.0
    _began: float | None = None

    @property
    def partial(self) -> Path:
        """Return the directory beside the dataset."""
        return partial_of(self.out)

    @property
    def on_disk(self) -> bool:
        """Whether there is anything to continue."""
        return self._file is not None

    def remaining(self) -> list[Block]:
        """Return the blocks that have not finished."""
        return [b for b in self.blocks if b.number not in self.results or not self.results[b.number].finished]

    def seconds(self) -> float:
        """Return how long all parts took together, until now."""
        return self._earlier_s + self._elapsed()

    def check_host(self, facts: Mapping[str, Any]) -> None:
        """Raise UffdlabError naming what differs from the host the campaign began on."""
        if not self.on_disk:
            return
        changed = changes(self.facts, facts)
        if changed:
            raise UffdlabError(
                f"{files.printable(self.partial)} cannot be continued, because of what has changed since: "
                f"{'; '.join(changed)}; put that back, or {self._finish()}"
            )

    def begin(self, facts: Mapping[str, Any], since: float) -> None:
        """Write the first line of this part, which counts its time from ``since`` (monotonic, in s).

        Raises UffdlabError.
        """
        self._began = since
        load = facts.get("load_1min")
        if self._file is None:
            self.facts = dict(facts)
            plan = {"plan": fingerprint(self.blocks), "facts": self.facts}
            self._file, self._sound = _create(self.partial, {"format": FORMAT} | asdict(self.request) | plan)
        else:
            self.continued += 1
            self._append_line({"continued": {"load_1min": load}})
        self.loads += [] if load is None else [load]

    def append(self, result: Result) -> None:
        """Append one result, on disk when this returns. Raises UffdlabError; earlier lines stay readable."""
        outcome = {"outcome": result.outcome, "reason": result.reason, "duration_ms": result.duration_ms}
        times = {"elapsed_s": round(self._elapsed(), 1)}
        self._append_line({"block": result.block.number} | outcome | times | {"rows": result.rows})
        self.results[result.block.number] = result

    def discard(self) -> str | None:
        """Remove the journal from disk. Return a sentence if its directory holds anything else and stays."""
        kept = None
        if self._file is not None:
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(self._file), os.lstat(self.partial / NAME)):
                    (self.partial / NAME).unlink()
            try:
                self.partial.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                kept = f"{files.printable(self.partial)} is kept: it holds files that are not this campaign's journal"
        self.close()
        return kept

    def close(self) -> None:
        """Close the file, which releases its lock."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def advice(self) -> str:
        """Return how many blocks are kept, where, and how to continue or finish."""
        done, more = (
            len(self.blocks) - len(self.remaining()),
            " --allow-host-changes" if self.request.allow_host_changes else "",
        )
        return (
            f"{done} of {len(self.blocks)} blocks are kept in {files.printable(self.partial)}: continue with "
            f"'{self._command()} --resume{more}', or {self._finish()}"
        )

    def _finish(self) -> str:
        return f"make a dataset of what is there with '{self._command()} --finish'"

    def _command(self) -> str:
        return f"uffdlab measure --out {shlex.quote(files.printable(self.out))}"

    def _elapsed(self) -> float:
        return 0.0 if self._began is None else time.monotonic() - self._began

    def _append_line(self, line: Mapping[str, Any]) -> None:
        assert self._file is not None, "begin() comes first"
        try:
            os.ftruncate(self._file, self._sound)  # what a power failure or a full disk left of a line
            self._sound += _write(self._file, line)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._sound)
            raise UffdlabError(f"{files.refusal(self.partial / NAME, error)}; {self.advice()}") from None


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return one phrase per fact in SAME that differs between two descriptions of the host."""
    return [text for key in SAME for text in _changes(key, then.get(key), now.get(key))]


def _changes(name: str, then: Any, now: Any) -> list[str]:
    if isinstance(then, dict) and isinstance(now, dict):
        keys = sorted(then.keys() | now.keys())
        return [text for key in keys for text in _changes(f"{name} {key}", then.get(key), now.get(key))]
    return [] if then == now else [f"{name} ({show(then)} then, {show(now)} now)"]


def partial_of(out: Path) -> Path:
    """Return the directory that holds the journal while ``out`` is being measured."""
    whole = Path(os.path.abspath(out))
    return whole.with_name(f"{whole.name}.partial")


def fingerprint(blocks: Sequence[Block]) -> str:
    """Return the SHA-256 of a plan."""
    plan = json.dumps([asdict(block) for block in blocks], sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(plan.encode()).hexdigest()


def check_absent(out: Path) -> None:
    """Raise UffdlabError, saying how to continue, if an interrupted campaign for ``out`` exists."""
    partial = partial_of(out)
    if os.path.lexists(partial):
        journal = reopen(out)
        journal.close()
        raise UffdlabError(f"an earlier campaign was interrupted, {journal.advice()}, or delete that directory")


def new(out: Path, request: Request) -> Journal:
    """Return a journal that is not on disk yet. Raises UffdlabError if one exists: it is never overwritten."""
    check_absent(out)
    return Journal(out, request, request.blocks())


def reopen(out: Path) -> Journal:
    """Return the journal of a campaign that was interrupted, locked; ``notice`` says what could not be read.

    Raises UffdlabError if there is none, it is locked, it is damaged, or the suite's plan has changed since.
    """
    partial = partial_of(out)
    where = files.printable(partial)
    if not os.path.lexists(partial):
        raise UffdlabError(
            f"there is nothing to continue: {where} does not exist; start with --suite, without --resume"
        )
    try:
        handle = os.open(partial / NAME, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise UffdlabError(
            f"{where} holds no campaign to continue: choose another directory, or remove it if nothing in it is yours"
        ) from None
    except OSError as error:
        raise files.refusal(partial / NAME, error) from None
    try:
        _lock(handle, where)
        return _read(handle, out)
    except BaseException:
        os.close(handle)
        raise


def _lock(handle: int, where: str) -> None:
    import fcntl  # only where something can be measured: this module is imported on Windows too

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UffdlabError(f"another process is measuring into {where} right now: wait until it ends") from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):  # some file systems have no locks
            raise


def _create(partial: Path, first: Mapping[str, Any]) -> tuple[int, int]:
    """Make the directory and its journal's first line, whole or not at all; return the locked file and its size."""
    with contextlib.ExitStack() as failed:
        with files.staged(partial) as stage:
            handle = os.open(stage / NAME, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            failed.callback(os.close, handle)
            _lock(handle, files.printable(partial))
            size = _write(handle, first)
        failed.pop_all()
    return handle, size


def _write(handle: int, line: Mapping[str, Any]) -> int:
    """Append a line, on disk when this returns; return its length."""
    content = json.dumps(line, separators=(",", ":")).encode() + b"\n"
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(handle, rest) :]
    os.fsync(handle)
    return len(content)


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(handle: int, out: Path) -> Journal:
    path = partial_of(out) / NAME
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise UffdlabError(f"{files.printable(path)} is not a regular file: delete {files.printable(path.parent)}")
    with open(handle, "rb", closefd=False) as file:
        content = file.read()
    *lines, torn = content.split(b"\n")
    first, rest = (lines or [torn])[0], lines[1:]
    journal: Journal = _parsed(first, lambda header: _parse_header(header, out, path), path, 1)
    journal._file, journal._sound = handle, len(content) - len(torn)
    applied = _Lines(journal)
    for number, line in enumerate(rest, 2):
        try:
            _parsed(line, applied.add, path, number)
        except UffdlabError:
            if torn or number <= len(rest):
                raise
            torn = line  # after a power failure any bytes may stand where the last line was being written
            journal._sound -= len(line) + 1
    applied.end_part()
    if torn:
        journal.notice = f"the last line of {files.printable(path)} was cut off: its block is measured again"
    return journal


def _parsed(line: bytes, parse: Callable[[Any], Any], path: Path, number: int) -> Any:
    try:
        return parse(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UffdlabError(
            f"{files.printable(path)}, line {number} is damaged ({type(error).__name__}: {show(str(error))}): restore "
            f"it, or delete {files.printable(path.parent)} and measure anew"
        ) from None


def _parse_header(header: Any, out: Path, path: Path) -> Journal:
    """Return the journal that a first line describes."""
    if header["format"] != FORMAT:
        raise UffdlabError(
            f"{files.printable(path)} has format {show(header['format'])} and this uffdlab reads {FORMAT}: continue it "
            "with the version that began it"
        )
    suite, only = _typed(header["suite"], str), [_typed(name, str) for name in _typed(header["only"], list)]
    request = Request(
        suite,
        tuple(name for name in only if name in suites.probes_of(suite)),  # once, "all" was the probes of all suites
        _typed(header["seed"], int),
        bool(header["allow_host_changes"]),
    )
    facts = _typed(header["facts"], dict)
    blocks = request.blocks()
    if fingerprint(blocks) != header["plan"]:
        raise UffdlabError(
            f"{files.printable(path.parent)} was begun with another plan of the suite {request.suite}: use uffdlab "
            f"{facts.get('uffdlab_version')} (commit {facts.get('uffdlab_commit') or 'unknown'}), or "
            "delete that directory"
        )
    load = facts.get("load_1min")
    return Journal(out, request, blocks, facts=facts, loads=[] if load is None else [load])


class _Lines:
    """Apply the lines after the first to a journal; each part of a campaign counts its time from 0."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._numbers = {block.number: block for block in journal.blocks}
        self._elapsed_s = 0.0

    def add(self, line: Any) -> None:
        if "continued" in line:
            self.end_part()
            load = line["continued"].get("load_1min")
            self._journal.loads += [] if load is None else [_typed(load, float)]
            self._journal.continued += 1
            return
        if line["outcome"] not in OUTCOMES:
            raise ValueError(f"unknown outcome {line['outcome']!r}")
        rows = [(_typed(table, str), _typed(row, dict)) for table, row in line["rows"]]
        reason = None if line["reason"] is None else _typed(line["reason"], str)
        elapsed_s = float(line["elapsed_s"])
        block = self._numbers[_typed(line["block"], int)]
        result = Result(block, rows, line["outcome"], reason, _typed(line["duration_ms"], int))
        self._journal.results[block.number] = result
        self._elapsed_s = elapsed_s

    def end_part(self) -> None:
        self._journal._earlier_s += self._elapsed_s
        self._elapsed_s = 0.0


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{show(value)} is not of type {kind.__name__}")
    return value
