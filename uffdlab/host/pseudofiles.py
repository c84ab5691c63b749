# SPDX-License-Identifier: MIT
"""Reading /proc and /sys: one line or one number, and None for whatever this kernel does not tell.

Every function takes the *root* under which ``proc`` and ``sys`` stand: a test offers another machine there.

These files are bytes, and lines end at ``\\n`` alone: the kernel escapes that one in names that a process chose, and no
other character (``proc_task_name``, ``seq_path``). Carriage returns, form feeds and U+2028 stay what they are; bytes
that are no text become surrogates, as in the names of files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_CHOSEN = re.compile(r"\[([^\]]+)\]")
_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")


def content(root: Path, path: str) -> bytes | None:
    """Return the content of *path*, or None if it cannot be read."""
    try:
        # Some files of /sys open and then fail to read (EINVAL, EIO): that is "not told" as well.
        return (root / path).read_bytes()
    except OSError:
        return None


def text(root: Path, path: str) -> str | None:
    """Return the content of *path* without the white space around it, or None if it cannot be read."""
    found = content(root, path)
    return None if found is None else decoded(found).strip()


def lines(root: Path, path: str) -> list[str]:
    """Return the lines of *path*, each as it stands; none if it cannot be read."""
    return decoded(content(root, path) or b"").removesuffix("\n").split("\n")


def decoded(found: bytes) -> str:
    """Return bytes of the kernel as text, from which ``os.fsencode`` makes the same bytes again."""
    return os.fsdecode(found)


def unescaped(field: str) -> str:
    """Return a field of mountinfo, in which white space, ``#`` and the backslash are octal (``\\040``)."""
    return decoded(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), os.fsencode(field)))


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
    found = text(root, path)
    if not found:
        return None
    chosen = _CHOSEN.search(found)
    return chosen.group(1) if chosen else found


def fields(root: Path, path: str) -> dict[str, str]:
    """Return the ``name: value`` lines of *path*; of a name that comes more than once, the first."""
    found: dict[str, str] = {}
    for line in lines(root, path):
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found


def as_integer(word: str | None) -> int | None:
    """Return *word* as a decimal number, or None if it is not one."""
    return int(word) if word is not None and re.fullmatch(r"-?[0-9]{1,40}", word) else None


def entries(root: Path, path: str) -> list[str]:
    """Return the names in the directory *path*, sorted; none if it cannot be read."""
    try:
        return sorted(entry.name for entry in (root / path).iterdir())
    except OSError:
        return []
