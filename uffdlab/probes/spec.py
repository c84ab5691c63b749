# SPDX-License-Identifier: MIT
"""Specs of probes: words and numbers, each checked against its field.

The valid words and the limits of numbers (by C types, memory and time) are metadata of the fields: the command line and
every other way to make a spec check and report the same ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from uffdlab.errors import UffdlabError, check_word
from uffdlab.probes.requirements import Needs
from uffdlab.units import LARGEST_SEED, format_size

MOST_REPEATS = 1_000_000
_MOST_DIGITS_SHOWN = 30


def word(default: str, known: Iterable[str]) -> Any:
    """Return a field of a spec that is one of the known words."""
    return field(default=default, metadata={"known": tuple(known)})


def within(default: float, least: float, most: float) -> Any:
    """Return a field of a spec from ``least`` to ``most``."""
    return field(default=default, metadata={"least": least, "most": most})


def repeated() -> Any:
    """Return the field ``repeats``: the number of samples, by default 1."""
    return within(1, 1, MOST_REPEATS)


def seeded() -> Any:
    """Return the field ``seed``."""
    return within(0, 0, LARGEST_SEED)


def seed_of(spec: Any, index: int) -> int:
    """Return the seed of a sample by its number, drawn from that of its spec."""
    return int(spec.seed * 1_000_003 + index) % 2**63


@dataclass(frozen=True)
class Spec(ABC):
    """One configuration of a probe."""

    def __post_init__(self) -> None:
        """Raise UffdlabError for an invalid field, then for an invalid combination."""
        for field_ in fields(self):
            value, limits = getattr(self, field_.name), field_.metadata
            if "known" in limits:
                check_word(field_.name, value, limits["known"])
            elif limits and not limits["least"] <= value <= limits["most"]:
                raise UffdlabError(f"{field_.name} is {_format(value)}: choose {limits['least']} to {limits['most']}")
        self.check()

    def check(self) -> None:  # noqa: B027 - most specs have nothing to check
        """Raise UffdlabError for an invalid combination of fields."""

    @abstractmethod
    def needs(self) -> Needs:
        """Return what one run holds at its peak."""


def check_size(size_bytes: int, unit_bytes: int, most_bytes: int, unit: str = "") -> None:
    """Raise UffdlabError unless a length is a positive multiple of a ``unit``, up to ``most_bytes``."""
    if not 0 < size_bytes <= most_bytes or size_bytes % unit_bytes:
        of = f"{unit}'s {format_size(unit_bytes)} page" if unit else format_size(unit_bytes)
        raise UffdlabError(f"size {size_bytes} B is not a positive multiple of {of} up to {format_size(most_bytes)}")


def _format(value: float) -> str:
    return f"a number of more than {_MOST_DIGITS_SHOWN} digits" if abs(value) >= 10**_MOST_DIGITS_SHOWN else f"{value}"
