# SPDX-License-Identifier: MIT
"""The one exception a reader is meant to see."""

from __future__ import annotations

from collections.abc import Iterable


class UffdlabError(Exception):
    """Something the caller can mend: one sentence saying what was wrong, where, and what to do.

    The command line prints the sentence after ``uffdlab: error:`` and exits with status 2, without a
    traceback. Anything else that escapes is a bug of ours and keeps its traceback.
    """


class NotMeasuredError(UffdlabError):
    """What a question needs was not measured, or is no value: the sentence completes "not decided: …"."""


def check_word(what: str, value: str, known: Iterable[str]) -> None:
    """Refuse a word that is none of those known: raises UffdlabError, which lists them."""
    known = list(known)
    if value not in known:
        raise UffdlabError(f"unknown {what} {value[:60]!r}: choose one of {', '.join(known)}")
