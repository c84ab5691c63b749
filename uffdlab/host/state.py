# SPDX-License-Identifier: MIT
"""The state directory that runs which change this host share: ``/run/uffdlab``, opened and locked."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from uffdlab.errors import UffdlabError

STATE_DIR_VARIABLE = "UFFDLAB_STATE_DIR"
_STATE_DIR = "/run/uffdlab"


def directory() -> Path:
    """Return its path; UFFDLAB_STATE_DIR names another one."""
    return Path(os.environ.get(STATE_DIR_VARIABLE) or _STATE_DIR)


@contextlib.contextmanager
def locked() -> Iterator[tuple[Path, int]]:
    """Open and lock the directory, creating it, and yield its path and descriptor.

    Raises UffdlabError unless it is a directory of our own.
    """
    import fcntl  # not at the top: this module is imported on Windows too

    path = directory()
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(0o700)
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise UffdlabError(
            f"{path} cannot be used for the journal of host settings ({error.strerror}): "
            f"it must be a directory of your own, not a symbolic link; {_another()}"
        ) from error
    try:
        status = os.fstat(opened)
        if status.st_uid != os.geteuid():
            raise UffdlabError(
                f"{path} belongs to another user, so its journal of host settings is not trusted; "
                f"delete it, or name another directory in {STATE_DIR_VARIABLE}"
            )
        if stat.S_IMODE(status.st_mode) & 0o077:
            os.fchmod(opened, 0o700)
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield path, opened
    finally:
        os.close(opened)


def _another() -> str:
    other = f"name another directory in {STATE_DIR_VARIABLE}"
    return other if os.geteuid() == 0 else f"run as root, or {other}"
