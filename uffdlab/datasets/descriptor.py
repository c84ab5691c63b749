# SPDX-License-Identifier: MIT
"""``datapackage.json``: from untrusted text to checked records, and back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from uffdlab import outfile
from uffdlab.datasets import provenance
from uffdlab.datasets.csv import Fingerprint
from uffdlab.errors import UffdlabError

from . import standard
from .cells import CellError, column, control_character, show
from .files import check_directory, printable, read_plain

FILE_NAME = "datapackage.json"
FORMAT_VERSION = 1
KINDS = ("measured", "published", "calibrated")
MAX_DESCRIPTOR = 4 << 20  # bytes

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}\Z")
_TABLE = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_CREATED = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z\Z", re.ASCII)
_HASH = re.compile(r"sha256:[0-9a-f]{64}\Z")
_OURS = {"format_version", "kind", "seal"}
_RESOURCE = {
    "name",
    "path",
    "format",
    "mediatype",
    "encoding",
    "bytes",
    "hash",
    "schema",
    "dialect",
    "fields",
    "rows",
    *standard.RESOURCE,
    *standard.RESOURCE_NOTES,
}
_SCHEMA = {"fields", "primaryKey", *standard.SCHEMA, *standard.SCHEMA_NOTES}
_SOURCE = {"title", "path", "version"}
_TYPES = {str: "a text", int: "an integer", dict: "an object", list: "a list"}
T = TypeVar("T")


@dataclass(frozen=True)
class Resource:
    """One table as the descriptor tells it; the fingerprint is None only while a dataset is being sealed."""

    name: str
    fields: list[dict[str, Any]]
    recorded: Fingerprint | None

    @property
    def path(self) -> str:
        """The bare file name."""
        return f"{self.name}.csv"


@dataclass(frozen=True)
class Descriptor:
    """A checked ``datapackage.json``."""

    id: str
    title: str
    kind: str
    created: str
    resources: list[Resource]
    provenance: dict[str, Any]
    sources: list[dict[str, str]]
    merged_from: list[dict[str, Any]]


def check_id(name: object) -> str:
    """Return ``name`` if it can be the id of a dataset. Raises UffdlabError."""
    if not isinstance(name, str) or not _ID.match(name):
        raise UffdlabError(
            f"{show(name)} cannot be the id of a dataset: use lower-case letters, digits, '.', '_' and '-', "
            "at most 100, beginning with a letter or digit"
        )
    return name


def read_raw(directory: Path) -> dict[str, Any]:
    """Return the object in the descriptor of ``directory``, otherwise unchecked. Raises UffdlabError."""
    check_directory(directory)
    path = directory / FILE_NAME
    text = read_plain(path, MAX_DESCRIPTOR, "does not exist: the directory is not a dataset")
    try:
        raw = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
        json.dumps(raw, ensure_ascii=False).encode("utf-8")  # half a surrogate pair could be read but not printed
    except RecursionError:
        raise UffdlabError(f"{printable(path)} is nested too deeply: it is not a dataset's descriptor") from None
    except ValueError as error:
        raise UffdlabError(f"{printable(path)} is not valid JSON ({error}): restore it") from None
    if not isinstance(raw, dict):
        raise UffdlabError(f"{printable(path)} holds {show(raw)}, not an object: restore it")
    return raw


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {show(next(n for n in names if names.count(n) > 1))} occurs twice")
    return made


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]} is too large")
    return value


def seal_of(raw: Mapping[str, Any]) -> str:
    """Return the seal that belongs into the descriptor ``raw``, whatever seal it has now."""
    ours = {key: value for key, value in raw["uffdlab"].items() if key != "seal"}
    text = json.dumps(
        {**raw, "uffdlab": ours}, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return "sha256:" + hashlib.sha256(text.encode("utf-8")).hexdigest()


def sealed(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the descriptor with the seal that belongs to it."""
    return {**raw, "uffdlab": {**raw["uffdlab"], "seal": seal_of(raw)}}


def to_bytes(raw: Mapping[str, Any]) -> bytes:
    """Return the file for a descriptor."""
    return (json.dumps(raw, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def rewrite(directory: Path, raw: dict[str, Any]) -> None:
    """Replace the descriptor of a dataset, sealed anew, whole or not at all. Raises UffdlabError."""
    outfile.write(directory / FILE_NAME, to_bytes(sealed(raw)))


def compose(
    *,
    id: str,
    title: str,
    kind: str,
    created: str,
    resources: Sequence[Resource],
    provenance: Mapping[str, Any],
    sources: Sequence[Mapping[str, str]],
    merged_from: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return an unsealed descriptor; nothing is checked here, parse() does."""
    raw: dict[str, Any] = {
        "name": id,
        "title": title,
        "created": created,
        "uffdlab": {"format_version": FORMAT_VERSION, "kind": kind},
        "provenance": {key: provenance[key] for key in sorted(provenance)},
        "sources": [dict(source) for source in sources],
        "merged_from": [dict(origin) for origin in merged_from],
        "resources": [_resource(r) for r in resources],
    }
    return {key: value for key, value in raw.items() if value or key not in ("sources", "merged_from")}


def _resource(resource: Resource) -> dict[str, Any]:
    recorded = resource.recorded
    return {
        "name": resource.name,
        "path": resource.path,
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        **({"bytes": recorded.size, "hash": recorded.hash} if recorded else {}),
        "schema": {"fields": resource.fields},
    }


def parse(raw: Mapping[str, Any], directory: Path, *, sealing: bool = False) -> Descriptor:
    """Check a descriptor read from ``directory``.

    While ``sealing``, fingerprints and seal may be absent or stale. Raises UffdlabError naming the key that
    is wrong.
    """
    return _Parser(directory, sealing).descriptor(raw)


def check_seal(raw: Mapping[str, Any], directory: Path) -> None:
    """Raise UffdlabError if the descriptor is not as it was sealed."""
    ours = raw.get("uffdlab")
    if not isinstance(ours, dict) or ours.get("seal") != seal_of(raw):
        raise UffdlabError(
            f"{printable(directory / FILE_NAME)} differs from what was sealed: restore it, or if the edit "
            f"was meant run `uffdlab data seal {printable(directory)}`"
        )


class _Parser:
    """Takes a descriptor apart; every failure is a sentence beginning with the file and the key."""

    def __init__(self, directory: Path, sealing: bool) -> None:
        self._directory = directory
        self._file = printable(directory / FILE_NAME)
        self._sealing = sealing

    def descriptor(self, raw: Mapping[str, Any]) -> Descriptor:
        ours = self._take(raw, "uffdlab", dict, "")
        self._check_version(ours)
        kind = self._take(ours, "kind", str, "uffdlab.")
        self._require(kind in KINDS, "uffdlab.kind", f"is {show(kind)}, not one of {', '.join(KINDS)}")
        self._check_keys(ours, _OURS, "uffdlab")
        made = Descriptor(
            id=self._id(self._take(raw, "name", str, ""), "name"),
            title=self._line(raw, "title", ""),
            kind=kind,
            created=self._created(raw),
            resources=self._resources(raw),
            provenance=self._provenance(self._take(raw, "provenance", dict, ""), "provenance"),
            sources=self._sources(raw),
            merged_from=self._merged_from(raw),
        )
        if not self._sealing:
            check_seal(raw, self._directory)
        return made

    def _check_version(self, ours: Mapping[str, Any]) -> None:
        version = self._take(ours, "format_version", int, "uffdlab.")
        if version > FORMAT_VERSION:
            remedy = f"is {version}, newer than the {FORMAT_VERSION} this uffdlab reads; update uffdlab"
        else:
            remedy = f"is {version}, older than the {FORMAT_VERSION} this uffdlab reads; measure again"
        self._require(version == FORMAT_VERSION, "uffdlab.format_version", remedy)

    def _resources(self, raw: Mapping[str, Any]) -> list[Resource]:
        listed = self._take(raw, "resources", list, "")
        self._require(bool(listed), "resources", "is empty; a dataset has at least one table")
        resources = [self._table(entry, f"resources[{i}]") for i, entry in enumerate(listed)]
        names = [resource.name for resource in resources]
        for name in names:
            self._require(names.count(name) == 1, "resources", f"has the table {name!r} twice")
        return resources

    def _table(self, entry: object, where: str) -> Resource:
        entry = self._object(entry, where)
        self._check_keys(entry, _RESOURCE, where)
        name = self._take(entry, "name", str, where + ".")
        self._require(
            bool(_TABLE.match(name)),
            f"{where}.name",
            f"is {show(name)}; use lower-case letters, digits and underscores",
        )
        expected = {"path": f"{name}.csv", "format": "csv", "mediatype": "text/csv", "encoding": "utf-8"}
        said = {"mediatype": standard.is_csv, "encoding": standard.is_utf8}  # in more ways than one
        for key, value in expected.items():
            if key != "path" and key not in entry:
                continue  # the standard has no other default for a file of that name
            found = self._take(entry, key, str, where + ".")
            inside = ", a bare name, so that it cannot lead out of the directory" if key == "path" else ""
            same = said[key](found) if key in said else found == value
            self._require(same, f"{where}.{key}", f"is {show(found)} and must be {value!r}{inside}")
        schema = self._take(entry, "schema", dict, where + ".")
        self._check_keys(schema, _SCHEMA, f"{where}.schema")
        fields = self._fields(self._take(schema, "fields", list, f"{where}.schema."), f"{where}.schema.fields")
        names = [field["name"] for field in fields]
        for key, said, must in standard.of_resource(entry, schema, names):
            self._fail(f"{where}.{key}", f"is {show(said)} and {must}")
        return Resource(name, fields, None if self._sealing else self._fingerprint(entry, where))

    def _fields(self, listed: list[Any], where: str) -> list[dict[str, Any]]:
        self._require(bool(listed), where, "is empty; a table has at least one column")
        seen: set[str] = set()
        for number, field in enumerate(listed):
            try:
                name = column(field).name
            except CellError as error:
                self._fail(f"{where}[{number}]", str(error))
            self._require(name not in seen, f"{where}[{number}]", f"declares the column {name!r} a second time")
            seen.add(name)
        return listed

    def _fingerprint(self, entry: Mapping[str, Any], where: str) -> Fingerprint:
        size = self._take(entry, "bytes", int, where + ".")
        digest = self._take(entry, "hash", str, where + ".")
        self._require(bool(_HASH.match(digest)), f"{where}.hash", "is not 'sha256:' and 64 hexadecimal digits")
        return Fingerprint(size, digest)

    def _provenance(self, facts: dict[str, Any], where: str) -> dict[str, Any]:
        for problem in provenance.problems(facts):
            self._fail(where, f"is refused: {problem}; run `uffdlab data scrub {printable(self._directory)}`")
        return facts

    def _sources(self, raw: Mapping[str, Any]) -> list[dict[str, str]]:
        listed = self._take(raw, "sources", list, "") if "sources" in raw else []
        for number, entry in enumerate(listed):
            where = f"sources[{number}]"
            source = self._object(entry, where)
            self._check_keys(source, _SOURCE, where)
            self._take(source, "title", str, where + ".")
            for key in source:
                self._line(source, key, where + ".")
        return listed

    def _merged_from(self, raw: Mapping[str, Any]) -> list[dict[str, Any]]:
        listed = self._take(raw, "merged_from", list, "") if "merged_from" in raw else []
        for number, entry in enumerate(listed):
            where = f"merged_from[{number}]"
            origin = self._object(entry, where)
            self._check_keys(origin, {"id", "provenance"}, where)
            self._id(self._take(origin, "id", str, where + "."), f"{where}.id")
            self._provenance(self._take(origin, "provenance", dict, where + "."), f"{where}.provenance")
        return listed

    def _created(self, raw: Mapping[str, Any]) -> str:
        created = self._take(raw, "created", str, "")
        self._require(bool(_CREATED.match(created)), "created", f"is {show(created)}, not like 2023-02-16T00:00:00Z")
        return created

    def _id(self, name: str, where: str) -> str:
        self._require(bool(_ID.match(name)), where, f"is {show(name)}, which cannot be the id of a dataset")
        return name

    def _line(self, holder: Mapping[str, Any], key: str, prefix: str) -> str:
        text = self._take(holder, key, str, prefix)
        self._require(not control_character(text), prefix + key, "holds a line break or another control character")
        return text

    def _object(self, value: object, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._fail(where, f"is {show(value)}, not an object")
        return value

    def _take(self, holder: Mapping[str, Any], key: str, kind: type[T], prefix: str) -> T:
        if key not in holder:
            self._fail(prefix + key, "is missing")
        value = holder[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            self._fail(prefix + key, f"is {show(value)}, not {_TYPES[kind]}")
        return value

    def _check_keys(self, holder: Mapping[str, Any], known: set[str], where: str) -> None:
        for key in holder:
            self._require(key in known, where, f"has a key {show(key)}, which this format does not know")

    def _require(self, holds: bool, where: str, otherwise: str) -> None:
        if not holds:
            self._fail(where, otherwise)

    def _fail(self, where: str, what: str) -> NoReturn:
        raise UffdlabError(f"{self._file}: {where} {what}")
