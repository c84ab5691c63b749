# SPDX-License-Identifier: MIT
"""Reading /proc and /sys: one line or one number, and None for whatever this kernel does not tell.

Every function takes the *root* under which ``proc`` and ``sys`` stand: a test offers another machine there.
"""

from __future__ import annotations

import re
from pathlib import Path

_CHOSEN = re.compile(r"\[([^\]]+)\]")


def text(root: Path, path: str) -> str | None:
    """Return the content of *path* without the white space around it, or None if it cannot be read."""
    try:
        # Some files of /sys open and then fail to read (EINVAL, EIO): that is "not told" as well.
        return (root / path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def integer(root: Path, path: str) -> int | None:
    """Return the number in *path*, or None if there is none."""
    return as_integer(text(root, path))


def boolean(root: Path, path: str) -> bool | None:
    """Return whether *path* holds a number other than 0, or None if it holds no number."""
    number = integer(root, path)
    return None if number is None else number != 0


def choice(root: Path, path: str) -> str | None:
    """Return the word in brackets of a file such as ``always [madvise] never``; all of it if none is
    marked.
    """
    content = text(root, path)
    if not content:
        return None
    chosen = _CHOSEN.search(content)
    return chosen.group(1) if chosen else content


def fields(root: Path, path: str) -> dict[str, str]:
    """Return the ``name: value`` lines of *path*; of a name that comes more than once, the first."""
    found: dict[str, str] = {}
    for line in (text(root, path) or "").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def as_integer(content: str | None) -> int | None:
    """Return *content* as a decimal number, or None if it is not one."""
    return int(content) if content is not None and re.fullmatch(r"-?[0-9]+", content) else None


def entries(root: Path, path: str) -> list[str]:
    """Return the names in the directory *path*, sorted; none if it cannot be read."""
    try:
        return sorted(entry.name for entry in (root / path).iterdir())
    except OSError:
        return []
