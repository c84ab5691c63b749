# SPDX-License-Identifier: MIT
"""Open untrusted files without blocking, read them within bounds, and write directories whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from uffdlab.errors import UffdlabError, printable, refusal
from uffdlab.outfile import beside_of, sync

__all__ = ["check_directory", "check_out", "open_plain", "printable", "read_plain", "refusal", "staged"]

MAX_FILE = 64 << 20  # bytes of one table; the largest campaign so far needs a tenth

# Absent where the system has no such flag (Windows); lstat has already refused what they guard against.
_OPEN = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)


def check_directory(path: Path, expected: str = "the directory of a dataset") -> None:
    """Raise UffdlabError unless ``path`` is a directory; ``expected`` is what the error asks for."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise UffdlabError(f"{printable(path)} does not exist: name {expected}") from None
    except (OSError, ValueError) as error:
        raise refusal(path, error) from None
    if not stat.S_ISDIR(mode):
        raise UffdlabError(f"{printable(path)} is {_kind(mode)}, not a directory: name {expected}")


@contextmanager
def open_plain(path: Path, missing: str = "does not exist") -> Iterator[BinaryIO]:
    """Open a regular file of at most 64 MiB for reading; never wait, never follow a link.

    Raises UffdlabError for anything else; ``missing`` continues the sentence about a file that is not there.
    """
    try:
        _check_plain(path, os.lstat(path))  # before opening: opening a device may already do something
        handle = os.open(path, _OPEN)
    except FileNotFoundError:
        raise UffdlabError(f"{printable(path)} {missing}") from None
    except (OSError, ValueError) as error:
        raise refusal(path, error) from None
    with os.fdopen(handle, "rb") as file:
        _check_plain(path, os.fstat(handle))  # the file may have been replaced since lstat
        try:
            yield file
        except OSError as error:
            raise refusal(path, error) from None


def read_plain(path: Path, cap: int, missing: str) -> bytes:
    """Return the content of a regular file of at most ``cap`` bytes. Raises UffdlabError."""
    with open_plain(path, missing) as file:
        content = file.read(cap + 1)
    if len(content) > cap:
        raise UffdlabError(f"{printable(path)} is larger than {cap >> 10} KiB: it is not what it should be")
    return content


def check_out(out: Path | str) -> None:
    """Raise UffdlabError unless a dataset can be written at ``out``; call this before measuring."""
    out = _absolute(out)
    try:
        _check_vacant(out)
        above = out.parent
        while not os.path.lexists(above):
            above = above.parent
        if not above.is_dir():
            raise UffdlabError(f"{printable(out)} cannot be created: {printable(above)} is not a directory")
        if not os.access(above, os.W_OK | os.X_OK):
            raise UffdlabError(f"{printable(out)} cannot be created: {printable(above)} is not writable")
    except (OSError, ValueError) as error:
        raise refusal(out, error) from None


@contextmanager
def staged(out: Path | str) -> Iterator[Path]:
    """Yield an empty directory beside ``out`` that becomes ``out`` if the block ends well, and vanishes if
    not.

    Missing parents are created, and removed again on failure. Raises UffdlabError like check_out().
    """
    out = _absolute(out)
    check_out(out)
    made: list[Path] = []
    stage = beside_of(out)
    try:
        _make_parents(out.parent, made)
        stage.mkdir()
        yield stage
        for path in (*stage.iterdir(), stage):
            sync(path)
        os.rename(stage, out)
        made.clear()
    except FileNotFoundError:  # as in /proc
        raise UffdlabError(f"{printable(out)} cannot be created there: choose another directory") from None
    except OSError as error:
        raise refusal(out, error) from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)  # nothing there any more after the rename
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir()
    with suppress(OSError):  # the dataset is complete; only its name may not be durable yet
        sync(out.parent)


def _check_plain(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UffdlabError(f"{printable(path)} is {_kind(status.st_mode)}; a dataset holds plain files only")
    if status.st_size > MAX_FILE:
        raise UffdlabError(
            f"{printable(path)} has {status.st_size >> 20} MiB, more than the {MAX_FILE >> 20} MiB a file of "
            "a dataset may have: split the campaign"
        )


def _kind(mode: int) -> str:
    for test, name in (
        (stat.S_ISREG, "a file"),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if test(mode):
            return name
    return "a device"


def _absolute(out: Path | str) -> Path:
    # Not resolve(): a link in the last place is to be seen, not followed.
    return Path(os.path.abspath(out))


def _check_vacant(out: Path) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        os.lstat(out)  # raises on an invalid name, which is_symlink() ignores
    if out.is_symlink():
        raise UffdlabError(f"{printable(out)} is a symbolic link: name the directory itself")
    if out.is_dir():
        if any(out.iterdir()):
            raise UffdlabError(f"{printable(out)} exists and is not empty: choose another directory")
    elif os.path.lexists(out):
        raise UffdlabError(f"{printable(out)} exists and is not a directory: choose another name")


def _make_parents(directory: Path, made: list[Path]) -> None:
    """Create the directory and its missing parents, adding each to ``made``."""
    if not directory.exists():
        _make_parents(directory.parent, made)
        directory.mkdir()
        made.append(directory)
