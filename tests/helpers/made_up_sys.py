# SPDX-License-Identifier: MIT
"""A made-up /sys that behaves as the kernel's: to open a file truncates nothing, and what is written replaces it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Written = list[tuple[str, str]]


@contextmanager
def kernel(root: Path, answer: Callable[[str, str], str | int | None] = lambda *_: None) -> Iterator[Written]:
    """Yield what is written to files under a root, as pairs of path and value.

    ``answer`` is asked before each write is done: another value is what the kernel takes instead, a number the errno
    that it refuses with.
    """
    real_open, real_write, written = os.open, os.write, Written()

    def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
        inside = os.fspath(path).startswith(f"{root}{os.sep}") if not isinstance(path, bytes) else False
        return real_open(path, flags & ~os.O_TRUNC if inside else flags, *more, **named)

    def write(file: int, data: Any) -> int:
        path = str(Path(f"/proc/self/fd/{file}").readlink())
        if not path.startswith(f"{root}{os.sep}"):
            return real_write(file, data)
        written.append((os.path.relpath(path, root), bytes(data).decode().strip()))
        taken = answer(*written[-1])
        if isinstance(taken, int):
            raise OSError(taken, os.strerror(taken))
        os.ftruncate(file, 0)
        real_write(file, data if taken is None else f"{taken}\n".encode())
        return len(data)

    os.open, os.write = opened, write
    try:
        yield written
    finally:
        os.open, os.write = real_open, real_write
