# SPDX-License-Identifier: MIT
"""A directory that we wrote and may write anew: how that is told, and how the new one takes its place.

A directory is ours when it holds the files that we say we wrote there and nothing else, is no symbolic link, and
belongs to who asks. Whatever a reader has put beside them makes it theirs. Old and new change places in one step, so
that at every moment, whatever ends us, one of the two stands there whole.
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
_SHOWN = 3  # names

# Of a directory that has been looked at: the names of what we wrote there; UffdlabError where that cannot be told.
NamesOf = Callable[[Path], Collection[str]]


def why_kept(place: Path, names_of: NamesOf) -> str | None:
    """Return why what stands at ``place`` is not ours to replace, as a clause; None where nothing stands there or it
    is. Raises OSError where it cannot be looked at.
    """
    try:
        status = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(status.st_mode) or not stat.S_ISDIR(status.st_mode):
        return "it is a symbolic link" if stat.S_ISLNK(status.st_mode) else "it is not a directory"
    with os.scandir(place) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    if not entries:
        return None
    if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        return "it belongs to another user"
    try:
        ours = names_of(place)
    except UffdlabError as error:
        return str(error)
    strange = [one.name for one in entries if one.name not in ours or not one.is_file(follow_symlinks=False)]
    if strange:
        more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
        return f"it holds {', '.join(map(ascii, strange[:_SHOWN]))}{more}, which uffdlab did not write"
    return None


@contextmanager
def replaced(place: Path, names_of: NamesOf) -> Iterator[Path]:
    """Yield where to make the directory that takes the place of ``place`` when the block ends well.

    What stood there is deleted only where it is ours, as ``names_of`` tells, and still is at the end. Raises
    UffdlabError, with everything as it was, where it is not; OSError where it cannot be done.
    """
    stage = place.with_name(f".{place.name}.{secrets.token_hex(6)}.tmp")
    begun = False
    try:
        yield stage
        _refuse_what_is_kept(place, place, names_of)
        begun = True
        if _is_empty(place):
            os.rename(stage, place)
            return
        exchange(stage, place)
        try:
            _refuse_what_is_kept(stage, place, names_of)  # somebody may have come in between
        except UffdlabError:
            exchange(stage, place)
            raise
    finally:
        # From here on one of the two stands at ``stage``: the old one, or the new one.
        if not begun or (stage.is_dir() and why_kept(stage, names_of) is None):
            shutil.rmtree(stage, ignore_errors=True)


def exchange(one: Path, other: Path) -> None:
    """Let two directories change places in one step, or where the system has none, in three. Raises OSError."""
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
    """Use renameat2 (Linux 3.15, glibc 2.28); return whether there is one here."""
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


def _refuse_what_is_kept(looked_at: Path, place: Path, names_of: NamesOf) -> None:
    why = why_kept(looked_at, names_of)
    if why:
        raise UffdlabError(f"{place} is kept as it is: {why}")


def _is_empty(place: Path) -> bool:
    with suppress(FileNotFoundError):
        return not any(place.iterdir())
    return True
