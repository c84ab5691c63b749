# SPDX-License-Identifier: MIT
"""Alternate two configurations in one process: differences between processes exceed some ratios."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any, TypeVar

Spec = TypeVar("Spec", bound=Any)


def in_turns(spec: Spec, field: str, index: int) -> list[Spec]:
    """Return the specs of turn ``index``: the spec, and if ``beside`` names another value of ``field``, the spec with
    that value; they alternate in order.
    """
    if not spec.beside:
        return [spec]
    both = [replace(spec, beside=""), replace(spec, beside="", **{field: spec.beside})]
    return both[:: -1 if index % 2 else 1]


def samples(spec: Spec, field: str) -> Iterator[tuple[int, int, Spec]]:
    """Yield the number, the turn (0 is cold) and the spec of each sample."""
    numbers = count()
    for index in range(spec.repeats):
        for turn in in_turns(spec, field, index):
            yield next(numbers), index, turn
