# SPDX-License-Identifier: MIT
"""A swap file of uffdlab's own: made and switched on for a measurement, switched off and deleted after it.

It is ``/var/tmp/uffdlab.swap``: a file system in memory, which ``/run`` and ``/tmp`` may be, cannot hold one. The file
holds what was swapped out, so that only root may read it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
from pathlib import Path

from uffdlab.errors import UffdlabError
from uffdlab.host import errnos

FILE = "var/tmp/uffdlab.swap"
_SIGNATURE = b"SWAPSPACE2"  # at the end of the first page: include/linux/swap.h, union swap_header
_HEADER_AT = 1024
_VERSION = 1
_LABEL, _LABEL_AT = b"uffdlab", _HEADER_AT + 28  # 16 bytes of volume name, behind three numbers and the UUID
_CHUNK = 1 << 20


def areas(root: Path = Path("/")) -> dict[str, int]:
    """Return the swap areas in use: path → size in KiB, from /proc/swaps."""
    try:
        lines = (root / "proc/swaps").read_text("utf-8", errors="replace").splitlines()[1:]
    except OSError:
        return {}
    fields = [line.split() for line in lines]
    return {line[0]: int(line[2]) for line in fields if len(line) >= 3 and line[2].isdecimal()}


def own_kib(root: Path = Path("/")) -> int:
    """Return the size of uffdlab's swap file in KiB, rounded up to MiB; 0 where it is not in use."""
    size = areas(root).get(f"/{FILE}", 0)
    return -(-size // 1024) * 1024


def switch(size_kib: int, root: Path = Path("/")) -> None:
    """Switch the swap file on with a size, or off with 0, and delete it.

    Raises UffdlabError with the kernel's reason.
    """
    path = root / FILE
    if size_kib == 0:
        if own_kib(root):
            _call("swapoff", os.fsencode(path))
        if _is_ours(path):
            _delete(path)
        return
    if not own_kib(root) and _is_ours(path):
        _delete(path)  # left by a run that was killed before the machine was started anew
    _make(path, size_kib * 1024)
    try:
        _call("swapon", os.fsencode(path), 0)
    except UffdlabError:
        _delete(path)
        raise


def _is_ours(path: Path) -> bool:
    """Return whether a file of this user has uffdlab's label, or has not got that far. Anybody may put one there."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            return False
        with path.open("rb") as file:
            head = file.read(_LABEL_AT + len(_LABEL))
    except OSError:
        return False
    return not head or head[_LABEL_AT:] == _LABEL


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _make(path: Path, size: int) -> None:
    """Write an empty swap area without holes. Refuses a file that is there: it is not known whose it is."""
    page = os.sysconf("SC_PAGE_SIZE")
    header = bytearray(page)
    struct.pack_into("=III", header, _HEADER_AT, _VERSION, size // page - 1, 0)
    header[_LABEL_AT : _LABEL_AT + len(_LABEL)] = _LABEL
    header[-len(_SIGNATURE) :] = _SIGNATURE
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UffdlabError(f"{path} is there, and not a swap file that uffdlab made: move it away") from None
    except OSError as error:
        raise _no_file(path, error) from error
    try:
        os.write(file, header)
        left = size - page
        while left:
            left -= os.write(file, bytes(min(left, _CHUNK)))
        os.fsync(file)
    except OSError as error:
        _delete(path)
        raise _no_file(path, error) from error
    finally:
        os.close(file)


def _no_file(path: Path, error: OSError) -> UffdlabError:
    return UffdlabError(f"no swap file could be made at {path} ({error.strerror}): free space there")


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    function = getattr(libc, name, None)
    if function is None:
        raise UffdlabError(f"this C library has no {name}")
    if function(*arguments):
        raise UffdlabError(errnos.explain(name, ctypes.get_errno()))
