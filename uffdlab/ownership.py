# SPDX-License-Identifier: MIT
"""Replace a directory that uffdlab wrote, and refuse to replace any other.

A directory is ours when it holds the files that uffdlab wrote there and nothing else, is no symbolic link, and belongs
to this user. Old and new are exchanged in one step, so that whenever the process is killed, one of the two is complete.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from uffdlab.errors import UffdlabError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
_MOST_NAMES = 3  # in a message

# Returns the names that uffdlab wrote into a directory; raises UffdlabError where they are unknown.
NamesOf = Callable[[Path], Collection[str]]


def why_kept(place: Path, names_of: NamesOf) -> str | None:
    """Return why ``place`` may not be replaced, as a clause; None where it may, or does not exist.

    Raises OSError where it cannot be read.
    """
    try:
        status = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(status.st_mode) or not stat.S_ISDIR(status.st_mode):
        return "it is a symbolic link" if stat.S_ISLNK(status.st_mode) else "it is not a directory"
    with os.scandir(place) as scanned:
        entries = sorted(scanned, key=lambda entry: entry.name)
    if not entries:
        return None
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        return "it belongs to another user"
    try:
        ours = names_of(place)
    except UffdlabError as error:
        return str(error)
    foreign = [entry.name for entry in entries if entry.name not in ours or not entry.is_file(follow_symlinks=False)]
    if foreign:
        more = f" and {len(foreign) - _MOST_NAMES} more" if len(foreign) > _MOST_NAMES else ""
        return f"it holds {', '.join(map(ascii, foreign[:_MOST_NAMES]))}{more}, which uffdlab did not write"
    return None


@contextmanager
def replaced(place: Path, names_of: NamesOf) -> Iterator[Path]:
    """Yield the path of a new directory that replaces ``place`` when the block ends without an exception.

    The old one is deleted only if it is ours by ``names_of`` at the end, too. Otherwise raises UffdlabError, with
    nothing changed; OSError where a system call fails.
    """
    stage = place.with_name(f".{place.name}.{secrets.token_hex(6)}.tmp")
    begun = False
    try:
        yield stage
        _refuse_kept(place, place, names_of)
        begun = True
        if _is_empty(place):
            os.rename(stage, place)
            return
        exchange(stage, place)
        try:
            _refuse_kept(stage, place, names_of)  # it may have changed since
        except UffdlabError:
            exchange(stage, place)
            raise
    finally:
        # ``stage`` is now the old directory, or the new one.
        if not begun or (stage.is_dir() and why_kept(stage, names_of) is None):
            shutil.rmtree(stage, ignore_errors=True)


def exchange(one: Path, other: Path) -> None:
    """Exchange two directories in one step, or in three where the system cannot. Raises OSError."""
    if _exchanged_at_once(one, other):
        return
    aside = other.with_name(f".{other.name}.{secrets.token_hex(6)}.old")
    try:
        os.rename(other, aside)
        os.rename(one, other)
        os.rename(aside, one)
    except BaseException:
        if os.path.lexists(aside):
            os.rename(aside, one if os.path.lexists(other) else other)
        raise


def _exchanged_at_once(one: Path, other: Path) -> bool:
    """Use renameat2 (Linux 3.15, glibc 2.28); return False where it is missing."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = [os.fsencode(path) for path in (one, other)]
    if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_RENAME_EXCHANGE)) == 0:
        return True
    failed = ctypes.get_errno()
    if failed in (errno.EINVAL, errno.ENOSYS):  # this file system cannot, or this kernel
        return False
    raise OSError(failed, os.strerror(failed), str(other))


def _refuse_kept(current: Path, place: Path, names_of: NamesOf) -> None:
    why = why_kept(current, names_of)
    if why:
        raise UffdlabError(f"{place} is kept as it is: {why}")


def _is_empty(place: Path) -> bool:
    with suppress(FileNotFoundError):
        return not any(place.iterdir())
    return True
