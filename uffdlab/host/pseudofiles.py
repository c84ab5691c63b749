# SPDX-License-Identifier: MIT
"""Read /proc and /sys: a line, a number or a field, and None for what this kernel does not have.

Every function takes the *root* of ``proc`` and ``sys``, which tests replace.

These files are bytes, and lines end at ``\\n`` alone: in names that a process chose the kernel escapes that one and no
other character (``proc_task_name``, ``seq_path``). Carriage returns, form feeds and U+2028 are kept; bytes that are not
UTF-8 become surrogates, as in the names of files.
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
        # Some files of /sys open and then fail to read (EINVAL, EIO).
        return (root / path).read_bytes()
    except OSError:
        return None


def text(root: Path, path: str) -> str | None:
    """Return the content of *path* without the white space around it, or None if it cannot be read."""
    raw = content(root, path)
    return None if raw is None else decoded(raw).strip()


def lines(root: Path, path: str) -> list[str]:
    """Return the lines of *path*, each as it stands; none if it cannot be read."""
    return decoded(content(root, path) or b"").removesuffix("\n").split("\n")


def decoded(raw: bytes) -> str:
    """Return bytes of the kernel as text; ``os.fsencode`` is the inverse."""
    return os.fsdecode(raw)


def unescaped(field: str) -> str:
    """Return a field of mountinfo, in which white space, ``#`` and the backslash are octal (``\\040``)."""
    return decoded(_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), os.fsencode(field)))


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
    words = text(root, path)
    if not words:
        return None
    chosen = _CHOSEN.search(words)
    return chosen.group(1) if chosen else words


def fields(root: Path, path: str) -> dict[str, str]:
    """Return the ``name: value`` lines of *path*; of a repeated name, the first."""
    values: dict[str, str] = {}
    for line in lines(root, path):
        name, colon, value = line.partition(":")
        if colon:
            values.setdefault(name.strip(), value.strip())
    return values


def as_integer(word: str | None) -> int | None:
    """Return *word* as a decimal number, or None if it is not one."""
    return int(word) if word is not None and re.fullmatch(r"-?[0-9]{1,40}", word) else None


def entries(root: Path, path: str) -> list[str]:
    """Return the names in the directory *path*, sorted; none if it cannot be read."""
    try:
        return sorted(entry.name for entry in (root / path).iterdir())
    except OSError:
        return []
