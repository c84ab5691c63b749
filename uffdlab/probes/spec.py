# SPDX-License-Identifier: MIT
"""What a probe is asked to measure: words and numbers, each held to what its field says.

The words that are known, and how large a number may be (what C can take, a machine can hold and somebody would wait
for), stand in the fields, as data: the command line names them when it refuses a word, and a spec that was made
otherwise is held to them as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from uffdlab.errors import UffdlabError, check_word
from uffdlab.probes.requirements import Needs
from uffdlab.units import LARGEST_SEED, format_size

MOST_REPEATS = 1_000_000
_MOST_DIGITS_SHOWN = 30


def word(default: str, known: Iterable[str]) -> Any:
    """Return a field of a spec that is one of the words known."""
    return field(default=default, metadata={"known": tuple(known)})


def within(default: float, least: float, most: float) -> Any:
    """Return a field of a spec that goes from ``least`` to ``most``."""
    return field(default=default, metadata={"least": least, "most": most})


def repeated() -> Any:
    """Return the field ``repeats``: how many samples are taken, once unless more are asked for."""
    return within(1, 1, MOST_REPEATS)


def seeded() -> Any:
    """Return the field ``seed``."""
    return within(0, 0, LARGEST_SEED)


@dataclass(frozen=True)
class Spec:
    """One configuration of a probe."""

    def __post_init__(self) -> None:
        """Refuse what cannot be measured, in one sentence: first fields by themselves, then what they are together."""
        for one in fields(self):
            value, limits = getattr(self, one.name), one.metadata
            if "known" in limits:
                check_word(one.name, value, limits["known"])
            elif limits and not limits["least"] <= value <= limits["most"]:
                raise UffdlabError(f"{one.name} is {_shown(value)}: choose {limits['least']} to {limits['most']}")
        self.check()

    def check(self) -> None:
        """Raise UffdlabError where the fields do not fit each other."""

    def needs(self) -> Needs:
        """Return what one run holds at its peak."""
        raise NotImplementedError


def check_size(size_bytes: int, unit_bytes: int, most_bytes: int, unit: str = "") -> None:
    """Refuse a length that is not a positive multiple of a ``unit``, or longer than what is measured."""
    if not 0 < size_bytes <= most_bytes or size_bytes % unit_bytes:
        of = f"{unit}'s {format_size(unit_bytes)} page" if unit else format_size(unit_bytes)
        raise UffdlabError(f"size {size_bytes} B is not a positive multiple of {of} up to {format_size(most_bytes)}")


def _shown(value: float) -> str:
    return f"a number of more than {_MOST_DIGITS_SHOWN} digits" if abs(value) >= 10**_MOST_DIGITS_SHOWN else f"{value}"
