# SPDX-License-Identifier: MIT
"""Check a descriptor against ``datapackage.schema.json``, with a sentence per problem.

Uses fastjsonschema, imported on first use: jsonschema takes half a second longer to import.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

from .cells import show

_MANY_KEYS = 15  # more are not listed
_TYPES = {
    "string": "a text",
    "integer": "an integer",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
}


def problem(value: object, where: str = "", definition: str | None = None) -> str | None:
    """Return the problem of a descriptor, or of its part at ``where`` by a definition of the schema; None if valid.

    The sentence begins with the key.
    """
    import fastjsonschema

    try:
        _compiled(definition)(value)
    except fastjsonschema.JsonSchemaValueException as error:
        below = (error.name or "").removeprefix("data").lstrip("." * (not where))
        return _sentence(where + below, error.value, error.rule, error.definition)
    except RecursionError:
        return f"{where} is nested too deeply".lstrip()
    return None


@cache
def _compiled(definition: str | None) -> Callable[[object], object]:
    import fastjsonschema

    schema = json.loads(resources.files(__package__).joinpath("datapackage.schema.json").read_text("utf-8"))
    if definition:
        schema = {"$ref": f"#/definitions/{definition}"} | {key: schema[key] for key in ("$schema", "definitions")}
    formats = {"name of UTF-8": is_utf8, "media type of CSV": is_csv}
    compiled: Callable[[object], object] = fastjsonschema.compile(schema, formats=formats, use_default=False)
    return compiled


def _sentence(where: str, value: Any, rule: str | None, broken: Any) -> str:
    if rule == "required":
        lacking = next(key for key in broken["required"] if key not in value)
        return f"{where}.{lacking} is missing".lstrip(".")
    if rule == "additionalProperties":
        known = list(broken["properties"])
        stray = show(next(key for key in value if key not in known))
        those = f": it has {', '.join(known)}" if len(known) <= _MANY_KEYS else ""
        return f"{where} has a key {stray}, which this format does not have{those}"
    if rule == "type":
        return f"{where} is {show(value)}, not {_TYPES[broken['type']]}"
    reason = broken.get("description")
    if rule == "const":
        only = broken["const"]
        must = (str(only).lower() if isinstance(only, bool) else repr(only)) + (f": {reason}" if reason else "")
    else:
        must = reason or f"one of {', '.join(map(str, broken['enum']))}"
    return f"{where} is {show(value)} and must be {must}"


def is_utf8(name: str) -> bool:
    """Return whether an encoding name, in any spelling, is UTF-8."""
    try:
        return codecs.lookup(name).name == "utf-8"
    except (LookupError, ValueError):
        return False


def is_csv(mediatype: str) -> bool:
    """Return whether a media type is CSV, with no parameters but UTF-8 and a header."""
    name, *parameters = (part.strip() for part in mediatype.split(";"))
    return name.lower() == "text/csv" and all(map(_holds, parameters))


def _holds(parameter: str) -> bool:
    """Return whether a parameter of ``text/csv`` (RFC 4180) is UTF-8 or that there is a header."""
    name, _, value = parameter.lower().partition("=")
    value = value.removeprefix('"').removesuffix('"')
    return is_utf8(value) if name == "charset" else (name, value) == ("header", "present")
