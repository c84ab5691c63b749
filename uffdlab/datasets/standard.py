# SPDX-License-Identifier: MIT
"""Keys of the Data Package standard (versions 1 and 2) that a descriptor may have besides ours.

Some say nothing about how a table is read, and may say anything. Others would change what a cell means: those are
accepted where they say what holds here anyway, and otherwise refused in a sentence.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping
from typing import Any

# Who wrote it, what it is called, where it came from: nothing of how it is read.
RESOURCE_NOTES = frozenset(("$schema", "description", "homepage", "licenses", "profile", "sources", "title"))
SCHEMA_NOTES = frozenset(("$schema", "description", "foreignKeys", "name", "title", "uniqueKeys"))
FIELD_NOTES = frozenset(("example", "rdfType"))

_MISSING = "must be [''], since an empty cell, and nothing else, is a missing value here"


def _is(*expected: Any) -> Callable[[Any], bool]:
    """Return whether a value is one of these; 1 is not true here."""
    return lambda value: any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in expected)


def is_utf8(name: str) -> bool:
    """Return whether a name of an encoding, however spelt, is that of UTF-8."""
    try:
        return codecs.lookup(name).name == "utf-8"
    except (LookupError, ValueError):
        return False


def is_csv(mediatype: str) -> bool:
    """Return whether a media type is that of CSV, with no parameter but those that say what holds here anyway."""
    name, *parameters = (part.strip() for part in mediatype.split(";"))
    return name.lower() == "text/csv" and all(map(_holds, parameters))


def _holds(parameter: str) -> bool:
    """Whether a parameter of ``text/csv`` (RFC 4180 has two) says UTF-8, or that there is a header."""
    name, _, value = parameter.lower().partition("=")
    value = value.removeprefix('"').removesuffix('"')
    return is_utf8(value) if name == "charset" else (name, value) == ("header", "present")


def _empty_is_missing(values: Any) -> bool:
    """Whether missing values are the empty cell alone; version 2 may give each a label."""
    if not isinstance(values, list) or len(values) != 1:
        return False
    return bool((values[0].get("value") if isinstance(values[0], dict) else values[0]) == "")


Rule = tuple[Callable[[Any], bool], str]
# What a table is: the only value that each of these may have, and how it is told.
RESOURCE: dict[str, Rule] = {
    "type": (_is("table"), "must be 'table'"),
    "scheme": (_is("file"), "must be 'file': a dataset is one directory"),
    "compression": (_is(None, "no"), "must be absent: tables are not compressed"),
    "innerpath": (_is(None), "must be absent: tables are not compressed"),
    "extrapaths": (_is(None, []), "must be empty: a table is one file"),
    "hashing": (_is("sha256"), "must be 'sha256'"),
}
SCHEMA: dict[str, Rule] = {
    "missingValues": (_empty_is_missing, _MISSING),
    "fieldsMatch": (_is("exact", ["exact"]), "must be 'exact': the header names the fields in order"),
}
FIELD: dict[str, Rule] = {
    "missingValues": (_empty_is_missing, _MISSING),
    "format": (_is("default", None), "must be 'default': no other form of a value is read"),
    "decimalChar": (_is("."), "must be '.'"),
    "groupChar": (_is(None, ""), "must be absent: no character groups digits"),
    "bareNumber": (_is(True), "must be true: nothing stands around a number"),
    "trueValues": (
        lambda values: isinstance(values, list) and "true" in values and "false" not in values,
        "must have 'true' in it, and not 'false'",
    ),
    "falseValues": (
        lambda values: isinstance(values, list) and "false" in values and "true" not in values,
        "must have 'false' in it, and not 'true'",
    ),
}
CONSTRAINTS: dict[str, Rule] = {
    "unique": (_is(False), "must be false or absent: it is not checked here"),
}
_ESCAPE = (_is(None), "must be absent: a quote is doubled, and nothing else is escaped")
# What the standard has where nothing is said; a line may end as it likes to be called, since readers take either.
_DIALECT: dict[str, Rule] = {
    "delimiter": (_is(","), "must be ','"),
    "lineTerminator": (_is("\n", "\r\n"), "must be '\\n'"),
    "quoteChar": (_is('"'), "must be '\"'"),
    "doubleQuote": (_is(True), "must be true"),
    "escapeChar": _ESCAPE,
    "nullSequence": (_is(None), "must be absent: an empty cell, and nothing else, is a missing value here"),
    "skipInitialSpace": (_is(False), "must be false: a space is a character of its cell"),
    "header": (_is(True), "must be true: the first line names the fields"),
    "headerRows": (_is([1]), "must be [1]: the first line names the fields"),
    "headerJoin": (_is(" "), "must be ' '"),
    "headerCase": (_is(True), "must be true"),
    "caseSensitiveHeader": (lambda value: isinstance(value, bool), "must be true or false"),
    "commentRows": (_is(None, []), "must be empty: no line is a comment"),
    "commentChar": (_is(None), "must be absent: no line is a comment"),
    "skipBlankRows": (_is(False), "must be false: no line is left out"),
}
_DIALECT_NOTES = frozenset(("$schema", "csv", "csvddfVersion", "description", "name", "profile", "title", "type"))


Problem = tuple[str, Any, str]  # the key, what it says, and what it must say


def problems(given: Mapping[str, Any], rules: Mapping[str, Rule], where: str = "") -> Iterator[Problem]:
    """Yield what is wrong with those keys of ``given`` that have a rule."""
    for key, value in given.items():
        if key in rules and not rules[key][0](value):
            yield where + key, value, rules[key][1]


def of_resource(entry: Mapping[str, Any], schema: Mapping[str, Any], names: list[str]) -> Iterator[Problem]:
    """Yield what a table's entry and schema say that is not so here; ``names`` are its fields."""
    yield from problems(entry, RESOURCE)
    yield from _of_dialect(entry.get("dialect", {}), "dialect")
    yield from problems(schema, SCHEMA, "schema.")
    counted = entry.get("fields", len(names))
    if counted != len(names):
        yield "fields", counted, f"must be {len(names)}, as many as are declared"
    primary = schema.get("primaryKey", [])
    listed = [primary] if isinstance(primary, str) else primary
    if not isinstance(listed, list) or not all(name in names for name in listed):
        yield "schema.primaryKey", primary, f"must name fields of the table: {', '.join(names)}"


def _of_dialect(dialect: Any, where: str) -> Iterator[Problem]:
    """Yield what a dialect says that is not so here; Frictionless nests what is of CSV under ``csv``."""
    if not isinstance(dialect, dict):
        yield where, dialect, "must be an object"
        return
    if "csv" in dialect:
        yield from _of_dialect(dialect["csv"], f"{where}.csv")
    yield from problems(dialect, _DIALECT, f"{where}.")
    for key in dialect.keys() - _DIALECT.keys() - _DIALECT_NOTES:
        yield f"{where}.{key}", dialect[key], "must be absent: this format does not know it"
