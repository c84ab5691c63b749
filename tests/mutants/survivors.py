# SPDX-License-Identifier: MIT
"""Reads ``survivors.toml``: mutants that no test notices, each with a reason."""

from __future__ import annotations

import tomllib
from pathlib import Path

FILE = Path(__file__).with_name("survivors.toml")


def reasons() -> dict[tuple[str, str, str, str], str]:
    """Return the reason by mutant: file, function, what stood there and what does then."""
    groups = tomllib.loads(FILE.read_text(encoding="utf-8")).get("survived", [])
    return {
        (group["file"], where, before, after): group["reason"]
        for group in groups
        for where, before, after in group["mutants"]
    }
