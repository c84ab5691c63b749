# SPDX-License-Identifier: MIT
"""Descriptions of columns: Table Schema fields with unit, meaning and constraints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Field = dict[str, Any]


def integer(name: str, unit: str | None, description: str, *, required: bool = True) -> Field:
    """Return a column of whole numbers."""
    return _field(name, "integer", description, required) | ({"unit": unit} if unit else {})


def count(name: str, description: str, *, required: bool = True) -> Field:
    """Return a column of whole numbers that are never negative."""
    return _field(name, "integer", description, required, minimum=0)


def fraction(name: str, description: str, *, required: bool = True) -> Field:
    """Return a column of numbers from 0 to 1."""
    return _field(name, "number", description, required, minimum=0, maximum=1)


def boolean(name: str, description: str, *, required: bool = True) -> Field:
    """Return a column of true and false."""
    return _field(name, "boolean", description, required)


def one_of(name: str, values: Iterable[str], description: str) -> Field:
    """Return a column that holds one of the words."""
    return _field(name, "string", description, enum=list(values))


def text(name: str, description: str) -> Field:
    """Return a column of words that may be missing."""
    return _field(name, "string", description, required=False)


def _field(name: str, type_: str, description: str, required: bool = True, **others: Any) -> Field:
    constraints = ({"required": True} if required else {}) | others
    field: Field = {"name": name, "type": type_, "description": description}
    return field | ({"constraints": constraints} if constraints else {})


BLOCK = integer("block", None, "child process that measured it")
SAMPLE = integer("sample", None, "number of the sample within its block, from 0")
COLD = boolean("cold", "first sample of its child process")
