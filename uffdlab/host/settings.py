# SPDX-License-Identifier: MIT
"""Host settings, changed only when allowed and always restored.

Before a setting is changed, its old value is written to a journal; it is restored when the ``with`` block
ends, on SIGTERM and SIGHUP too, and after a SIGKILL by the next command (``restore_leftovers``)::

    with settings.changed({"hugetlb_2048": 64}, allow=allow_host_changes):
        measure()

A setting that another process changed meanwhile is left alone and reported. One process changes settings at a
time; blocks may be nested, each restoring its own.

The journal, ``/run/uffdlab/journal.json`` (``UFFDLAB_STATE_DIR`` names another directory), is::

    {"format": 1, "boot_id": "…", "pid": 4711, "start_time": 123456,
     "entries": [{"setting": "hugetlb_2048", "old": "0", "wanted": "64", "set": "64"}]}

``set`` is the value read back after the write, null before. A journal names settings, never paths:
a forged one can at most choose among the values in SETTINGS.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from uffdlab.errors import UffdlabError
from uffdlab.host import errnos, pseudofiles, swap
from uffdlab.host import state as state_files
from uffdlab.host.changeable import SETTINGS, Setting, beside, current, named, why_unchangeable
from uffdlab.host.signals import OrderlyExit
from uffdlab.host.state import STATE_DIR_VARIABLE

__all__ = ["SETTINGS", "STATE_DIR_VARIABLE", "changed", "current", "restore_leftovers", "why_unchangeable"]

_JOURNAL = "journal.json"
_FORMAT = 1

# --- changing ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def changed(
    wanted: Mapping[str, str | int | bool], *, allow: bool, root: Path = Path("/")
) -> Iterator[Mapping[str, str]]:
    """Apply the settings in *wanted* for the block, restore the old values afterwards, and yield the values in force.

    *wanted* maps names of SETTINGS to values. If nothing has to change, neither permission nor root is needed.

    Raises UffdlabError when a change is needed and *allow* is false, when it is refused, when the kernel
    grants fewer huge pages than requested (the old values are restored by then), and while another process
    has settings changed.
    """
    changes = _plan(wanted, root)
    if not changes:
        _refuse_temporary_values()
        yield {name: current(name, root) or "" for name in wanted}
        return
    if not allow:
        raise UffdlabError(_needs_permission(changes))
    owner = os.getpid()
    depth: int | None = None  # how many changes of enclosing blocks stand in the journal
    with OrderlyExit() as signals:
        try:
            with signals.held():
                depth = _begin(wanted, root)
            yield {name: current(name, root) or "" for name in wanted}
        finally:
            # A child forked inside the block also gets here; the settings are its parent's.
            if depth is not None and os.getpid() == owner:
                with signals.held():
                    _end(depth, root)


@dataclass(frozen=True)
class _Change:
    """One entry of the journal. ``set`` is None until the value has been read back."""

    setting: Setting
    old: str
    wanted: str
    set: str | None = None


def _plan(wanted: Mapping[str, str | int | bool], root: Path) -> list[_Change]:
    """Return the changes that lead from the current values to *wanted*."""
    changes = []
    for name, value in wanted.items():
        setting = named(name)
        old = current(name, root)
        if old is None:
            raise UffdlabError(f"{setting} cannot be set: this kernel has no such setting")
        target = _target(setting, value, old, root)
        if target != old:
            changes.append(_Change(setting, old, target))
    return changes


def _target(setting: Setting, value: str | int | bool, old: str, root: Path) -> str:
    """Return the text to write so that the setting has *value*."""
    text = str(int(value)) if isinstance(value, bool) else str(value)
    if setting.kind == "choice":
        if text not in setting.values:
            raise UffdlabError(f"{setting} takes {', '.join(setting.values)}; {text!r} is none of them")
        return text
    if not text.isascii() or not text.isdecimal():
        what = "a number of pages" if setting.kind == "pool" else "a number from 0"
        raise UffdlabError(f"{setting} takes {what}; {text!r} is none")
    if setting.kind in ("number", "swap"):
        return str(int(text))
    missing = int(text) - _available(setting, root)
    return str(int(old) + missing) if missing > 0 else old


def _available(setting: Setting, root: Path) -> int:
    free = pseudofiles.integer(root, beside(setting, "free_hugepages")) or 0
    reserved = pseudofiles.integer(root, beside(setting, "resv_hugepages")) or 0
    return max(0, free - reserved)


def _needs_permission(changes: list[_Change]) -> str:
    lines = "; ".join(f"{c.setting} from {c.old} to {c.wanted}" for c in changes)
    return (
        f"a host setting would have to change: {lines}; "
        "give --allow-host-changes to let uffdlab do it and put it back, or change it yourself"
    )


def _begin(wanted: Mapping[str, str | int | bool], root: Path) -> int:
    """Journal the changes, then make them; if one fails, undo all and raise UffdlabError.

    Returns how many changes of enclosing blocks stand before them in the journal.
    """
    with _state() as state:
        outer = _own(state)
        if not outer:
            _refuse_if_taken(state)
        # Planned again under the lock: the values read before may have been another run's temporary ones.
        changes = _plan(wanted, root)
        state.write([*outer, *changes])
        try:
            for index, change in enumerate(changes):
                _write(change.setting, change.wanted, root)
                got = current(change.setting.name, root)
                changes[index] = replace(change, set=got)
                state.write([*outer, *changes])
                if got != change.wanted:
                    raise UffdlabError(_fell_short(change, got))
        except BaseException as error:
            sentences = _restore(state, changes, root, outer)
            if isinstance(error, UffdlabError) and sentences.problems:
                raise UffdlabError(" ".join([str(error), *sentences.problems])) from error
            raise
        return len(outer)


def _own(state: _State) -> list[_Change]:
    """Return the changes that enclosing blocks of this process have journalled."""
    journal = state.read(None)
    ours = journal is not None and (journal.boot_id, journal.pid, journal.start_time) == (_boot_id(), *_me())
    return list(journal.changes) if journal is not None and ours else []


def _fell_short(change: _Change, got: str | None) -> str:
    sentence = f"{change.setting}: asked for {change.wanted}, got {got}"
    if change.setting.kind != "pool":
        return f"{sentence}; the kernel did not take the value, and the old one is back."
    return (
        f"{sentence}: too little memory is free in one piece. The pool is as it was; free memory, ask for "
        "fewer pages, or reserve them at boot (hugepagesz= and hugepages= on the kernel's command line)."
    )


def _end(depth: int, root: Path) -> None:
    """Restore the changes of the innermost block; raise UffdlabError for those that failed."""
    with _state() as state:
        journal = state.read(root)
        if journal is None or (journal.pid, journal.start_time) != _me():
            return  # another command restored it as a leftover
        outer, changes = list(journal.changes[:depth]), list(journal.changes[depth:])
        problems = _restore(state, changes, root, outer).problems
    if problems:
        raise UffdlabError(" ".join(problems))


def _refuse_temporary_values() -> None:
    """Raise UffdlabError while another run has settings changed: its values go when it ends."""
    if os.name != "posix" or not _journal_may_be_ours():
        return
    with _state() as state:
        journal = state.read(None)
        if journal is not None and (journal.pid, journal.start_time) != _me():
            _refuse_if_taken(state)


def _refuse_if_taken(state: _State) -> None:
    journal = state.read(None)
    if journal is None or journal.boot_id != _boot_id():
        return
    if _alive(journal.pid, journal.start_time):
        raise UffdlabError(
            f"process {journal.pid} has host settings changed right now; wait until it ends, then try again"
        )
    raise UffdlabError(
        "an earlier run left host settings changed; 'uffdlab doctor' puts them back: run it, then try again"
    )


# --- restoring --------------------------------------------------------------------------------------------


def restore_leftovers(root: Path = Path("/")) -> list[str]:
    """Restore the settings that a killed run left changed and return one sentence per setting.

    Every command calls this. Does nothing while that run is alive, or after a reboot, which resets these
    settings. Another user's journal is left for that user's next command.

    Raises UffdlabError when the journal cannot be read, naming the settings to check.
    """
    if os.name != "posix" or not _journal_may_be_ours():
        return []
    with OrderlyExit() as signals, signals.held(), _state() as state:
        journal = state.read(root)
        if journal is None:
            return []
        if journal.boot_id != _boot_id():
            state.remove()
            return []
        if _alive(journal.pid, journal.start_time):
            return []
        result = _restore(state, list(journal.changes), root)
    return result.restored + result.problems


def _journal_may_be_ours() -> bool:
    try:
        status = os.lstat(_state_dir())
    except OSError:
        return False
    foreign = stat.S_ISDIR(status.st_mode) and status.st_uid != os.geteuid()
    return not foreign or os.geteuid() == 0


@dataclass(frozen=True)
class _Restored:
    restored: list[str]
    problems: list[str]


def _restore(state: _State, changes: list[_Change], root: Path, outer: Sequence[_Change] = ()) -> _Restored:
    """Restore the old values, last change first; failed ones stay in the journal behind ``outer``."""
    restored: list[str] = []
    problems: list[str] = []
    left: list[_Change] = []
    for change in reversed(changes):
        now = current(change.setting.name, root)
        if now == change.old:
            if change.setting.kind == "swap" and change.old == "0":
                swap.switch(0, root)  # a file that was made and not yet in use
            continue
        if not _ours(change, now):
            problems.append(
                f"{change.setting} is {now} and not {change.set or change.wanted} as uffdlab set it: "
                f"another process changed it since, so it was left alone (it was {change.old} before)."
            )
            continue
        try:
            first = change.setting.on_the_way_to(change.old)
            if first is not None:
                _write(change.setting, first, root)
            _write(change.setting, change.old, root)
        except UffdlabError as error:
            problems.append(f"{error} It is still {now} and was {change.old} before.")
            left.insert(0, change)
            continue
        now = current(change.setting.name, root)
        if now == change.old:
            restored.append(f"{change.setting} was put back to {change.old}.")
        else:
            problems.append(f"{change.setting} is {now} after it was put back to {change.old}.")
    if outer or left:
        state.write([*outer, *left])
    else:
        state.remove()
    return _Restored(restored, problems)


def _ours(change: _Change, now: str | None) -> bool:
    """Return whether this change can have led to the current value."""
    if now is not None and now == change.setting.on_the_way_to(change.old):
        return True  # killed while restoring; or another process wrote it, with the same effect
    if change.set is not None:
        return now == change.set
    if change.setting.kind != "pool":
        return now == change.wanted
    # Killed while the kernel was allocating: a pool grows page by page and stops at a signal.
    return now is not None and int(change.old) <= int(now) <= int(change.wanted)


def _write(setting: Setting, value: str, root: Path) -> None:
    if setting.kind == "swap":
        swap.switch(int(value), root)
        return
    try:
        file = os.open(root / setting.path, os.O_WRONLY | os.O_CLOEXEC | os.O_TRUNC)
        try:
            os.write(file, f"{value}\n".encode("ascii"))
        finally:
            os.close(file)
    except OSError as error:
        raise UffdlabError(
            errnos.explain("write setting", error.errno or 0, root=root, setting=setting, value=value)
        ) from error


# --- the journal ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Journal:
    boot_id: str
    pid: int
    start_time: int
    changes: tuple[_Change, ...]


@dataclass(frozen=True)
class _State:
    """The open, locked state directory."""

    path: Path
    directory: int

    def read(self, root: Path | None) -> _Journal | None:
        """Return the journal, or None if there is none; raises UffdlabError if it is invalid."""
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            file = os.open(_JOURNAL, flags, dir_fd=self.directory)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UffdlabError(self._unreadable(os.strerror(error.errno or 0), root)) from error
        with os.fdopen(file, encoding="utf-8", errors="replace") as stream:
            status = os.fstat(file)  # the directory may have been open to other users
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                raise UffdlabError(self._unreadable("it is not a regular file of this user", root))
            text = stream.read()
        try:
            return _parsed(text)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UffdlabError(self._unreadable(f"it is damaged ({error})", root)) from error

    def write(self, changes: list[_Change]) -> None:
        """Write the journal atomically: whatever interrupts it, the old or the new one is complete."""
        pid, start_time = _me()
        content = {
            "format": _FORMAT,
            "boot_id": _boot_id(),
            "pid": pid,
            "start_time": start_time,
            "entries": [{"setting": c.setting.name, "old": c.old, "wanted": c.wanted, "set": c.set} for c in changes],
        }
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{_JOURNAL}.new", dir_fd=self.directory)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            file = os.open(f"{_JOURNAL}.new", flags, 0o600, dir_fd=self.directory)
            with os.fdopen(file, "w", encoding="utf-8") as stream:
                json.dump(content, stream, indent=1)
                stream.flush()
                os.fsync(file)
            os.rename(f"{_JOURNAL}.new", _JOURNAL, src_dir_fd=self.directory, dst_dir_fd=self.directory)
            os.fsync(self.directory)
        except OSError as error:
            raise UffdlabError(
                f"the journal of host settings cannot be written to {self.path} ({error.strerror}), "
                "so nothing further is changed; free space there, "
                f"or name another directory in {STATE_DIR_VARIABLE}"
            ) from error

    def remove(self) -> None:
        """Remove the journal: nothing is left to restore."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_JOURNAL, dir_fd=self.directory)
        os.fsync(self.directory)

    def _unreadable(self, why: str, root: Path | None) -> str:
        values = ", ".join(
            f"/{s.path} (now {current(s.name, root or Path('/')) or 'absent'})" for s in SETTINGS.values()
        )
        return (
            f"the journal {self.path / _JOURNAL} cannot be used: {why}. An earlier run may have left "
            f"host settings changed: check {values}, set what is not as you want it, then delete the journal."
        )


def _parsed(text: str) -> _Journal:
    """Return the journal in *text*; raises ValueError, KeyError or TypeError for anything unexpected."""
    data = json.loads(text)
    if data["format"] != _FORMAT:
        raise ValueError(f"format {data['format']!r} instead of {_FORMAT}")
    return _Journal(
        _typed(data["boot_id"], str),
        _typed(data["pid"], int),
        _typed(data["start_time"], int),
        tuple(_parsed_change(entry) for entry in _typed(data["entries"], list)),
    )


def _parsed_change(entry: Any) -> _Change:
    setting = SETTINGS[_typed(entry["setting"], str)]
    values = [entry["old"], entry["wanted"], *([] if entry["set"] is None else [entry["set"]])]
    for value in values:
        valid = value in setting.values if setting.kind == "choice" else _typed(value, str).isdecimal()
        if not valid:
            raise ValueError(f"{value!r} is not a value of {setting.name}")
    return _Change(setting, entry["old"], entry["wanted"], entry["set"])


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not of type {kind.__name__}")
    return value


def _state_dir() -> Path:
    return state_files.directory()


@contextlib.contextmanager
def _state() -> Iterator[_State]:
    """Open and lock the state directory.

    The lock is held briefly. The journal names the process that has settings changed: a lock would pass to every
    child forked inside the block.
    """
    with state_files.locked() as (path, directory):
        yield _State(path, directory)


# --- the process of a journal -----------------------------------------------------------------------------


def _boot_id() -> str:
    return pseudofiles.text(Path("/"), "proc/sys/kernel/random/boot_id") or ""


def _me() -> tuple[int, int]:
    pid = os.getpid()
    return pid, _start_time(pid) or 0


def _alive(pid: int, start_time: int) -> bool:
    """Return whether the process that wrote the journal lives; its PID alone may have been reused."""
    return _start_time(pid) == start_time


def _start_time(pid: int) -> int | None:
    """Return when *pid* started, in clock ticks since boot; None if it has exited, zombies included."""
    content = pseudofiles.text(Path("/"), f"proc/{pid}/stat")
    if content is None:
        return None
    # The name, in parentheses, may hold spaces and parentheses.
    after_name = content.rpartition(")")[2].split()
    return None if after_name[0] in "ZX" else int(after_name[19])
