# SPDX-License-Identifier: MIT
"""Argument types for argparse: each function parses a text, or raises UffdlabError."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from uffdlab.errors import UffdlabError
from uffdlab.units import parse_number, parse_size, parse_whole, shown

_MOST_DIGITS = 10  # more than a process ID ever has


def path(text: str) -> Path:
    """Return the path that an argument names; refuse an empty one, which would be the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty: write the path of a file or directory")
    return Path(text)


def process_id(text: str) -> int:
    """Return the process ID that an argument gives."""
    digits = text.lstrip("0") if text.isascii() and text.isdecimal() else ""
    if not digits:
        raise UffdlabError(f"{shown(text)} is not a process ID: write a whole number above 0, as 'ps' shows it")
    if len(digits) > _MOST_DIGITS:
        raise UffdlabError(f"process ID {shown(text)} is too large: Linux has up to 4194304, see 'ps'")
    return int(digits)


def assignment(text: str, form: str) -> tuple[str, str]:
    """Return the name and the value that ``--set`` gives."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UffdlabError(f"--set {shown(text)} is not {form}")
    return name, value


def add_size(parser: argparse.ArgumentParser, option: str, help_: str, **more: Any) -> None:
    """Add an option for a size, such as ``4GiB``."""
    parser.add_argument(option, type=partial(parse_size, option=option), metavar="SIZE", help=help_, **more)


def add_whole(
    parser: argparse.ArgumentParser, option: str, least: int, most: int, help_: str, metavar: str = "N", **more: Any
) -> None:
    """Add an option for a whole number from ``least`` to ``most``, such as ``1e6``."""
    kind = partial(parse_whole, option=option, least=least, most=most)
    parser.add_argument(option, type=kind, metavar=metavar, help=help_, **more)


def add_number(
    parser: argparse.ArgumentParser, option: str, least: float, most: float, help_: str, metavar: str, of: str = "",
    **more: Any,
) -> None:  # fmt: skip
    """Add an option for a number from ``least`` to ``most``; ``of`` names its unit."""
    kind = partial(parse_number, option=option, least=least, most=most, of=of)
    parser.add_argument(option, type=kind, metavar=metavar, help=help_, **more)
