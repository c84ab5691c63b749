# SPDX-License-Identifier: MIT
"""Convert between a value of a declared field and the text of its cell."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

from .column_kinds import NEVER_NEGATIVE

FieldDescriptor: TypeAlias = Mapping[str, Any]
Value: TypeAlias = int | float | bool | str | None

MAX_TEXT = 10_000  # characters; a log excerpt, not a log
DATASET_COLUMN = "dataset"  # after a merge: the dataset a row was measured in

_INTEGER = re.compile(r"(?:0|-?[1-9][0-9]{0,18})\Z")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
# C0, C1 and the two Unicode line ends: each breaks the rule "one row, one line" for some reader.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INT64 = 2**63


class CellError(ValueError):
    """An invalid value of a cell; the message ends a sentence that names file, line and column."""


def show(value: object) -> str:
    """Return a short form of any value that is safe to print within one line."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a very large integer"
    return text if len(text) <= 60 else text[:58] + "…" + text[:1] * (text[:1] in "'\"")


def one_line(text: str, limit: int = 2000) -> str:
    """Return free text, such as an error message, as one valid line of a cell, cut to ``limit``."""
    plain = _CONTROL.sub(" ", text.encode("utf-8", "replace").decode("utf-8"))
    return " ".join(plain.split())[:limit]


def control_character(text: str) -> str | None:
    """Return the name of the first control character in ``text``, such as ``U+000D``, or None."""
    match = _CONTROL.search(text)
    return f"U+{ord(match[0]):04X}" if match else None


@dataclass(frozen=True)
class Column:
    """A field descriptor prepared to check many cells."""

    name: str
    type: str
    required: bool = False
    enum: tuple[Value, ...] = ()
    minimum: float | int | None = None
    maximum: float | int | None = None

    def parse(self, text: str) -> Value:
        """Return the value of ``text``. Raises CellError."""
        value = _PARSERS[self.type](text) if text else None
        self._check(value)
        return value

    def format(self, value: object) -> str:
        """Return the text for ``value``; ``None`` and ``""`` are both missing. Raises CellError."""
        if value is None or (isinstance(value, str) and value == ""):
            self._check(None)
            return ""
        plain = _PLAIN[self.type](value)
        self._check(plain)
        if isinstance(plain, bool):
            return "true" if plain else "false"
        return plain if isinstance(plain, str) else repr(plain)

    def _check(self, value: Value) -> None:
        if value is None:
            if self.required:
                raise CellError("is empty, but a value is required")
            return
        if self.enum and value not in self.enum:
            raise CellError(f"{show(value)} is not one of {', '.join(show(v) for v in self.enum)}")
        if self.minimum is not None and isinstance(value, (int, float)) and value < self.minimum:
            raise CellError(f"{show(value)} is below the minimum {self.minimum}")
        if self.maximum is not None and isinstance(value, (int, float)) and value > self.maximum:
            raise CellError(f"{show(value)} is above the maximum {self.maximum}")


def column(field: FieldDescriptor) -> Column:
    """Return the column of a valid field descriptor. Raises CellError if a constraint does not fit the type of
    the field.
    """
    name, kind, constraints = field["name"], field["type"], field.get("constraints", {})
    bounds = [constraints.get("minimum"), constraints.get("maximum")]
    numeric = kind in ("integer", "number")
    if not numeric and bounds != [None, None]:
        raise CellError(f"{name!r} is a {kind}, which can have neither minimum nor maximum")
    try:
        values = tuple(_PLAIN[kind](v) for v in constraints.get("enum", ()))
        least, most = (None if b is None else _PLAIN[kind](b) for b in bounds)
    except CellError as error:
        raise CellError(f"{name!r} has a constraint of the wrong type: {error}") from None
    if numeric and name in NEVER_NEGATIVE:
        least = 0 if least is None else max(least, 0)
    return Column(name, kind, constraints.get("required", False), values, least, most)


# Text → value


def _parse_integer(text: str) -> int:
    if not _INTEGER.match(text):
        digits = text.lstrip("+-")
        if digits.isdecimal() and len(digits) > 19:
            raise CellError(f"{show(text)} does not fit a 64-bit integer")
        raise CellError(f"{show(text)} is not an integer")
    return _in_range(int(text))


def _parse_number(text: str) -> float:
    if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        raise CellError(f"{show(text)} is not a finite number; leave the cell empty if the value is unknown")
    if not _NUMBER.match(text):
        raise CellError(f"{show(text)} is not a number")
    return _finite(float(text))


def _parse_boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise CellError(f"{show(text)} is neither true nor false")
    return text == "true"


# Any value of Python, or of numpy, → a plain value


def _plain_integer(value: Any) -> int:
    try:
        plain = operator.index(value)  # takes numpy's integers, refuses floats
    except TypeError:
        raise CellError(f"{show(value)} is not an integer") from None
    if isinstance(value, bool):
        raise CellError(f"{show(value)} is not an integer")
    return _in_range(plain)


def _in_range(value: int) -> int:
    if not -_INT64 <= value < _INT64:
        raise CellError(f"{show(value)} does not fit a 64-bit integer")
    return value


def _plain_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise CellError(f"{show(value)} is not a number")
    try:
        plain = float(value)
    except OverflowError:
        raise CellError(f"{show(value)} is too large for a number") from None
    if isinstance(value, int) and plain != value:
        raise CellError(f"{show(value)} cannot be held exactly; declare the field as an integer")
    return _finite(plain)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise CellError(f"{show(value)} is not a finite number; leave the value out if it is unknown")
    return value


def _plain_boolean(value: Any) -> bool:
    if type(value).__name__ not in ("bool", "bool_"):  # by name, so that numpy need not be imported
        raise CellError(f"{show(value)} is neither true nor false")
    return bool(value)


def _plain_string(value: Any) -> str:
    if not isinstance(value, str):
        raise CellError(f"{show(value)} is not a text")
    if len(value) > MAX_TEXT:
        raise CellError(f"{show(value)} has {len(value)} characters, more than {MAX_TEXT}")
    control = control_character(value)
    if control:
        raise CellError(f"{show(value)} holds the control character {control}; a cell is one plain line")
    if _SURROGATE.search(value):
        raise CellError(f"{show(value)} cannot be written as UTF-8")
    return str(value)


_PARSERS: dict[str, Any] = {
    "integer": _parse_integer,
    "number": _parse_number,
    "boolean": _parse_boolean,
    "string": _plain_string,
}
_PLAIN: dict[str, Any] = {
    "integer": _plain_integer,
    "number": _plain_number,
    "boolean": _plain_boolean,
    "string": _plain_string,
}
