# SPDX-License-Identifier: MIT
"""Write one file whole or not at all, by what its name leads to:

- nothing, or a plain file: a temporary file beside it, synced and then renamed over it; mode and owner stay;
- a device or a FIFO: written through, never replaced; a FIFO waits some seconds for a reader;
- ``/dev/stdout`` and the like: this process's own descriptor;
- a symbolic link: followed, also to a name that does not exist yet; not one that another user put into a
  world-writable sticky directory, whatever the kernel's ``fs.protected_symlinks`` says;
- a directory, a socket, a loop of links: refused.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from uffdlab.errors import UffdlabError, printable

READER_S = 10.0  # how long a FIFO waits for its reader
_MOST_LINKS = 40  # MAXSYMLINKS of the kernel
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True)
class _Place:
    """The target of a name: a path that is no link, with its status; or one of this process's descriptors."""

    path: Path
    status: os.stat_result | None = None
    descriptor: int | None = None


def write(path: Path, content: bytes, what: str = "") -> None:
    """Write the file. Raises UffdlabError, calling it ``what``, on failure; an old file is then unchanged."""
    with _refusals(path, what):
        place = _followed(path)
        _writer(place)(place, content)


def beside_of(path: Path) -> Path:
    """Return a free temporary name beside ``path``, to be renamed over it."""
    return path.parent / f".uffdlab-{secrets.token_hex(6)}.tmp"


def sync(path: Path) -> None:
    """Flush a file or directory to disk. Raises OSError."""
    if os.name == "nt":  # no descriptor of a directory there
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check(path: Path, what: str = "") -> None:
    """Raise UffdlabError where a file cannot be written, before a long computation. Opens nothing."""
    with _refusals(path, what):
        place = _followed(path)
        writer = _writer(place)
        if place.descriptor is not None:
            import fcntl  # not at the top: this module is imported on Windows too

            if fcntl.fcntl(place.descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(errno.EBADF, "it is not open for writing")
        elif writer is _through:
            if not os.access(place.path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        elif not place.path.parent.is_dir() or not os.access(place.path.parent, os.W_OK | os.X_OK):
            raise UffdlabError(
                f"cannot be written: {printable(place.path.parent)} is not a directory that this user may write"
            )
        elif len(os.fsencode(place.path.name)) > os.pathconf(place.path.parent, "PC_NAME_MAX"):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


@contextlib.contextmanager
def _refusals(path: Path, what: str) -> Iterator[None]:
    """Turn errors into UffdlabError, whose sentence begins with the file's name."""
    named = f"{what} {printable(path)}".lstrip()
    try:
        yield
    except UffdlabError as error:
        raise UffdlabError(f"{named} {error}") from error.__cause__
    except BrokenPipeError:
        raise UffdlabError(f"{named} lost its reader before all was written") from None
    except OSError as error:
        raise UffdlabError(f"{named} cannot be written: {error.strerror or error}") from error
    except ValueError as error:
        raise UffdlabError(f"{named} holds a character that no file name can have") from error


def _followed(path: Path) -> _Place:
    """Follow symbolic links. Raises OSError, UffdlabError."""
    place = path
    for _ in range(_MOST_LINKS):
        try:
            status = os.lstat(place)
        except FileNotFoundError:
            if _own_descriptor(place) is not None:
                raise OSError(errno.EBADF, f"descriptor {place.name} is not open") from None
            return _Place(place)
        if not stat.S_ISLNK(status.st_mode):
            return _Place(place, status)
        own = _own_descriptor(place)
        if own is not None:
            return _Place(place, descriptor=own)
        _refuse_foreign_link(place, status)
        place = place.parent / place.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _own_descriptor(link: Path) -> int | None:
    """Return the descriptor of a link in ``/proc/self/fd``, or None for other links."""
    process = f"/proc/{os.getpid()}/"
    directory = os.path.realpath(link.parent)
    own = directory == f"{process}fd" or (directory.startswith(f"{process}task/") and directory.endswith("/fd"))
    return int(link.name) if own and link.name.isdecimal() else None


def _refuse_foreign_link(link: Path, status: os.stat_result) -> None:
    around = link.parent.stat()
    open_to_all = around.st_mode & stat.S_IWOTH and around.st_mode & stat.S_ISVTX
    if open_to_all and status.st_uid not in (os.geteuid(), around.st_uid):
        raise UffdlabError(
            f"goes through {printable(link)}, a symbolic link that another user put into a directory open to all: "
            "remove it, or name the file that it leads to"
        )


def _writer(place: _Place) -> Callable[[_Place, bytes], None]:
    if place.descriptor is not None:
        return _to_descriptor
    if place.status is None or stat.S_ISREG(place.status.st_mode):
        return _replace
    mode = place.status.st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISFIFO(mode):
        return _through
    what = "a directory" if stat.S_ISDIR(mode) else "a socket" if stat.S_ISSOCK(mode) else "neither a file nor a device"
    raise UffdlabError(f"is {what}: name a file")


def _replace(place: _Place, content: bytes) -> None:
    """Write a new file and rename it over a plain one, or to a free name."""
    beside = beside_of(place.path)
    handle = os.open(beside, _NEW, 0o666 if place.status is None else 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            if place.status is not None:
                _keep_owner_and_mode(beside, place.status)
            file.write(content)
            file.flush()
            os.fsync(handle)
        os.replace(beside, place.path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the file is complete; only its name may not be on disk yet
        sync(place.path.parent)


def _keep_owner_and_mode(path: Path, status: os.stat_result) -> None:
    with contextlib.suppress(OSError, AttributeError):  # only root may, and Windows has no chown
        os.chown(path, status.st_uid, status.st_gid)
    path.chmod(status.st_mode & 0o777)


def _through(place: _Place, content: bytes) -> None:
    """Write into a device or a FIFO, creating and truncating nothing."""
    handle = _opened(place)
    try:
        now = os.fstat(handle)
        assert place.status is not None
        if (stat.S_IFMT(now.st_mode), now.st_ino) != (stat.S_IFMT(place.status.st_mode), place.status.st_ino):
            raise UffdlabError("was replaced by another process meanwhile: nothing was written")
        os.set_blocking(handle, True)
        _write_all(handle, content)
        if stat.S_ISBLK(now.st_mode):
            os.fsync(handle)
    finally:
        os.close(handle)


def _opened(place: _Place) -> int:
    assert place.status is not None
    fifo = stat.S_ISFIFO(place.status.st_mode)
    flags = os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_NONBLOCK if fifo else 0)
    deadline = time.monotonic() + READER_S
    while True:
        try:
            return os.open(place.path, flags)
        except OSError as error:
            if not fifo or error.errno != errno.ENXIO:
                raise
            if time.monotonic() > deadline:
                raise UffdlabError(
                    f"is a FIFO that no process has opened for reading within {READER_S:g} s: start its reader first"
                ) from None
            time.sleep(0.02)


def _to_descriptor(place: _Place, content: bytes) -> None:
    """Write to an open descriptor, after flushing standard output and error."""
    assert place.descriptor is not None
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    _write_all(place.descriptor, content)


def _write_all(handle: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(handle, rest) :]
