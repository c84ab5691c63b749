# SPDX-License-Identifier: MIT
"""The exception whose message users see, and the sentences for failed system calls."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

_OPEN_FILES = "too many files are open: raise the limit (ulimit -n), or end what holds them"
_PERMISSIONS = "may not be accessed: check its permissions and those of the directories above"
_REASONS = {
    errno.ENOENT: "does not exist",
    errno.EACCES: _PERMISSIONS,
    errno.EPERM: _PERMISSIONS,
    errno.ENOSPC: "has no space left on its device: free some, or choose another place",
    errno.EDQUOT: "would exceed your disk quota: free some space, or choose another place",
    errno.EFBIG: "would be larger than a file may be here (ulimit -f)",
    errno.EROFS: "is on a read-only file system: choose another place",
    errno.ENOTDIR: "has a component that is a file, not a directory",
    errno.EISDIR: "is a directory, not a file",
    errno.ENAMETOOLONG: "is too long for a path: choose a shorter name",
    errno.ELOOP: "goes through a symbolic link that may not be followed, or that leads back to itself",
    errno.ENOTEMPTY: "was filled by another process meanwhile: choose another place",
    errno.EEXIST: "was created by another process meanwhile: choose another place",
    errno.EBUSY: "is in use as a mount point or a device: choose another place",
    errno.EMFILE: f"cannot be opened: {_OPEN_FILES}",
    errno.ENFILE: f"cannot be opened: {_OPEN_FILES}",
}
_MOST_CHARACTERS = 200  # of a path in a sentence
# Of calls that name no file.
_OTHERWISE = {
    errno.EMFILE: _OPEN_FILES,
    errno.ENFILE: _OPEN_FILES,
    errno.ENOMEM: "there is not enough memory: free some, raise the limit (ulimit -v), or choose smaller sizes",
    errno.EAGAIN: "no process or thread can be started: too many are there already (ulimit -u, pids.max)",
    errno.ENOENT: "the working directory does not exist any more: change to one that does",
    errno.ENOSPC: "there is no space left on a device that is written to: free some",
}


class UffdlabError(Exception):
    """An error that the caller can fix: one sentence on what was wrong, where, and what to do.

    The command line prints the sentence after ``uffdlab: error:`` and exits with status 2, without a
    traceback. Any other exception is a bug of ours and keeps its traceback.
    """


class NotMeasuredError(UffdlabError):
    """Data is missing or has no value: the sentence completes "not decided: …"."""


def check_word(what: str, value: str, known: Iterable[str]) -> None:
    """Raise UffdlabError, which lists the known words, unless ``value`` is one of them."""
    known = list(known)
    if value not in known:
        raise UffdlabError(f"unknown {what} {value[:60]!r}: choose one of {', '.join(known)}")


def printable(path: Path | str) -> str:
    """Return the path, escaped if it is not printable, and shortened if it is long."""
    text = str(path)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:60]}…{text[-20:]}"


def refusal(path: Path | str, error: OSError | ValueError) -> UffdlabError:
    """Return the sentence for a failed system call on ``path`` (ValueError: a name no file can have)."""
    if isinstance(error, OSError):
        why = _REASONS.get(error.errno or 0) or f"cannot be used: {error.strerror or error}"
    else:
        why = "holds a character that no file name can have"
    return UffdlabError(f"{printable(path)} {why}")


def refused_by_the_system(error: OSError) -> UffdlabError:
    """Return the sentence for a failed system call, with or without a path."""
    if error.filename is None:
        why = _OTHERWISE.get(error.errno or 0)
        return UffdlabError(why or f"the system refused: {error.strerror or error}")
    return refusal(os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename), error)
