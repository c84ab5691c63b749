# SPDX-License-Identifier: MIT
"""How large a number of a spec may be: what C can take, a machine can hold and somebody would wait for.

The limits stand in the spec, as data, so that the command line names them when it refuses a word, and a spec that was
made otherwise is held to them as well.
"""

from __future__ import annotations

from dataclasses import field, fields
from typing import Any

from uffdlab.errors import UffdlabError
from uffdlab.units import LARGEST_SEED

MOST_REPEATS = 1_000_000
_MOST_DIGITS_SHOWN = 30


def within(default: float, least: float, most: float) -> Any:
    """Return a field of a spec that goes from ``least`` to ``most``."""
    return field(default=default, metadata={"least": least, "most": most})


def repeated() -> Any:
    """Return the field ``repeats``: how many samples are taken, once unless more are asked for."""
    return within(1, 1, MOST_REPEATS)


def seeded() -> Any:
    """Return the field ``seed``."""
    return within(0, 0, LARGEST_SEED)


def check_limits(spec: Any) -> None:
    """Raise UffdlabError where a number of a spec is above its limit; the spec itself says what is wrong below it."""
    for one in fields(spec):
        value = getattr(spec, one.name)
        if one.metadata and value > one.metadata["most"]:
            least, most = one.metadata["least"], one.metadata["most"]
            raise UffdlabError(f"{one.name} is {_shown(value)}: choose {least} to {most}")


def _shown(value: float) -> str:
    return f"{value}" if value < 10**_MOST_DIGITS_SHOWN else f"a number of more than {_MOST_DIGITS_SHOWN} digits"
