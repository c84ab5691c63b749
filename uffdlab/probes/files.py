# SPDX-License-Identifier: MIT
"""Files without a name, to map: a memfd, and one on a disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from uffdlab import native
from uffdlab.errors import UffdlabError

_FILES = "/var/tmp"  # on a disk as a rule, where /tmp often is a tmpfs
_TMPFS, _RAMFS = 0x01021994, 0x858458F6  # statfs(2)


@contextmanager
def nameless(kind: str, length: int) -> Iterator[int]:
    """Yield the descriptor of a file of that length without a name: a memfd, or one on a disk.

    Raises UffdlabError where none can be made.
    """
    ffi, lib = native.probe()
    if kind == "file" and lib.ul_filesystem(_FILES.encode(), ffi.new("uint64_t *")) in (_TMPFS, _RAMFS):
        raise UffdlabError(f"needs a file on a disk, and {_FILES} is kept in memory: mount a file system there")
    try:
        with tempfile.TemporaryFile(dir=_FILES) if kind == "file" else nullcontext() as file:
            fd = file.fileno() if file else os.memfd_create("uffdlab")
            try:
                os.ftruncate(fd, length)
                yield fd
            finally:
                if not file:
                    os.close(fd)
    except OSError as error:
        where = f"in {_FILES}" if kind == "file" else "by memfd_create"
        raise UffdlabError(f"no file can be made {where}: {error.strerror}") from error
