# SPDX-License-Identifier: MIT
"""Build a probe's spec from command-line text: fields by name, each parsed by its type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from uffdlab.errors import UffdlabError, check_word
from uffdlab.measure.registry import PROBES
from uffdlab.units import parse_number, parse_size, parse_whole, shown

REPEATS = "9"  # of a single point, where the probe repeats: enough for an interval without the cold sample


def spec_of(probe: str, given: Mapping[str, str], seed: int, called: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the spec of one point as plain JSON types; what is not given keeps the spec's default.

    ``given`` maps field names to text; a field ``size_bytes`` is called ``size``, as in ``1GiB``. Raises UffdlabError
    on an unknown probe, an unknown field, or an invalid value. ``called`` maps fields to option names where those
    are not ``--field``.
    """
    check_word("probe", probe, PROBES)
    spec: Any = PROBES[probe].spec
    kinds = {field.name.removesuffix("_bytes"): field for field in fields(spec) if field.name != "seed"}
    unknown = [name for name in given if name not in kinds]
    if unknown:
        raise UffdlabError(f"probe {probe} takes no {unknown[0]!r}: it takes {', '.join(kinds)}")
    words = ({"repeats": REPEATS} if "repeats" in kinds else {}) | dict(given)
    options = {name: f"--{name}" for name in words} | dict(called or {})
    values: dict[str, Any] = {kinds[name].name: _read(options[name], kinds[name], text) for name, text in words.items()}
    if "seed" in {field.name for field in fields(spec)}:
        values["seed"] = seed
    return asdict(spec(**values))


def _read(option: str, field: Any, text: str) -> Any:
    if field.name.endswith("_bytes"):
        return parse_size(text, option)
    if field.type == "bool":
        if text not in ("true", "false"):
            raise UffdlabError(f"{option} {shown(text)} is neither true nor false")
        return text == "true"
    if field.type in ("int", "float"):
        parse = parse_whole if field.type == "int" else parse_number
        return parse(text, option, field.metadata["least"], field.metadata["most"])
    return text
