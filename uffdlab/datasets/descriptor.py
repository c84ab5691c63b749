# SPDX-License-Identifier: MIT
"""Parse, check and write ``datapackage.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from uffdlab import outfile
from uffdlab.datasets import provenance
from uffdlab.datasets.csv import Fingerprint
from uffdlab.errors import UffdlabError

from . import schema
from .cells import CellError, column, show
from .files import check_directory, printable, read_plain

FILE_NAME = "datapackage.json"
FORMAT_VERSION = 1
MAX_DESCRIPTOR = 4 << 20  # bytes


@dataclass(frozen=True)
class Resource:
    """One table of the descriptor; the fingerprint is None only while sealing."""

    name: str
    fields: list[dict[str, Any]]
    recorded: Fingerprint | None

    @property
    def path(self) -> str:
        """The bare file name."""
        return f"{self.name}.csv"


@dataclass(frozen=True, eq=False)
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


def read_raw(directory: Path) -> dict[str, Any]:
    """Return the object in the descriptor of ``directory``, otherwise unchecked. Raises UffdlabError."""
    return _object(_content(directory), directory)


def read_checked(directory: Path) -> Descriptor:
    """Return the checked descriptor of ``directory``. Raises UffdlabError.

    It is read each time and checked once as long as it is the same: a command may look through all datasets often.
    """
    return _checked(_content(directory), directory)


@lru_cache(maxsize=256)
def _checked(content: bytes, directory: Path) -> Descriptor:
    return parse(_object(content, directory), directory)


def _content(directory: Path) -> bytes:
    check_directory(directory)
    missing = "does not exist: the directory is not a dataset"
    return read_plain(directory / FILE_NAME, MAX_DESCRIPTOR, missing)


def _object(content: bytes, directory: Path) -> dict[str, Any]:
    path = directory / FILE_NAME
    try:
        text = content.decode("utf-8")
        raw = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
        json.dumps(raw, ensure_ascii=False).encode("utf-8")  # refuse lone surrogates, which cannot be printed
    except RecursionError:
        raise UffdlabError(f"{printable(path)} is nested too deeply: it is not a dataset's descriptor") from None
    except ValueError as error:
        raise UffdlabError(f"{printable(path)} is not valid JSON ({error}): restore it") from None
    if not isinstance(raw, dict):
        raise UffdlabError(f"{printable(path)} holds {show(raw)}, not an object: restore it")
    return raw


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {show(next(n for n in names if names.count(n) > 1))} occurs twice")
    return unique


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]} is too large")
    return value


def seal_of(raw: Mapping[str, Any]) -> str:
    """Return the correct seal of the descriptor ``raw``, whatever its present seal."""
    ours = {key: value for key, value in raw["uffdlab"].items() if key != "seal"}
    text = json.dumps(
        {**raw, "uffdlab": ours}, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return "sha256:" + hashlib.sha256(text.encode("utf-8")).hexdigest()


def sealed(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the descriptor with its correct seal."""
    return {**raw, "uffdlab": {**raw["uffdlab"], "seal": seal_of(raw)}}


def to_bytes(raw: Mapping[str, Any]) -> bytes:
    """Return the content of the descriptor's file."""
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
    """Return a descriptor without seal and fingerprints; nothing is checked here, parse() does."""
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
    return {
        "name": resource.name,
        "path": resource.path,
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "bytes": None,
        "hash": None,
        "schema": {"fields": resource.fields},
    }


def parse(raw: Mapping[str, Any], directory: Path, *, sealing: bool = False) -> Descriptor:
    """Check a descriptor read from ``directory``.

    While ``sealing``, fingerprints and seal may be absent or stale. Raises UffdlabError naming the key that
    is wrong.
    """
    for problem in _problems(raw, directory, sealing):
        raise UffdlabError(f"{printable(directory / FILE_NAME)}: {problem}")
    if not sealing:
        check_seal(raw, directory)
    return Descriptor(
        id=raw["name"],
        title=raw["title"],
        kind=raw["uffdlab"]["kind"],
        created=raw["created"],
        resources=[_recorded(entry, sealing) for entry in raw["resources"]],
        provenance=raw["provenance"],
        sources=raw.get("sources", []),
        merged_from=raw.get("merged_from", []),
    )


def _recorded(entry: Mapping[str, Any], sealing: bool) -> Resource:
    recorded = None if sealing else Fingerprint(entry["bytes"], entry["hash"])
    return Resource(entry["name"], entry["schema"]["fields"], recorded)


def check_seal(raw: Mapping[str, Any], directory: Path) -> None:
    """Raise UffdlabError if the seal of the descriptor is wrong."""
    ours = raw.get("uffdlab")
    if not isinstance(ours, dict) or ours.get("seal") != seal_of(raw):
        raise UffdlabError(
            f"{printable(directory / FILE_NAME)} differs from what was sealed: restore it, or if the edit "
            f"was meant run `uffdlab data seal {printable(directory)}`"
        )


def _problems(raw: Mapping[str, Any], directory: Path, sealing: bool) -> Iterator[str]:
    """Yield the problems, each beginning with the key: those of the schema first, on which the others rely."""
    ours = raw.get("uffdlab")
    version = ours.get("format_version") if isinstance(ours, dict) else None
    if isinstance(version, int) and not isinstance(version, bool) and version != FORMAT_VERSION:
        than, remedy = ("newer", "update uffdlab") if version > FORMAT_VERSION else ("older", "measure again")
        yield (
            f"uffdlab.format_version is {show(version)}, {than} than the {FORMAT_VERSION} this uffdlab reads; {remedy}"
        )
    if (broken := schema.problem(raw)) is not None:
        yield broken
    machines = [("provenance", raw["provenance"])]
    machines += [
        (f"merged_from[{i}].provenance", part["provenance"]) for i, part in enumerate(raw.get("merged_from", []))
    ]
    for where, facts in machines:
        for refused in provenance.problems(facts):
            yield f"{where} is refused: {refused}; run `uffdlab data scrub {printable(directory)}`"
    names = [entry["name"] for entry in raw["resources"]]
    for number, entry in enumerate(raw["resources"]):
        if names.count(entry["name"]) > 1:
            yield f"resources has the table {entry['name']!r} twice"
        yield from _of_table(entry, f"resources[{number}]", sealing)


def _of_table(entry: Mapping[str, Any], where: str, sealing: bool) -> Iterator[str]:
    path = f"{entry['name']}.csv"
    if entry["path"] != path:
        yield (
            f"{where}.path is {show(entry['path'])} and must be {path!r}, a bare name, so that it cannot lead out of "
            "the directory"
        )
    if not sealing and (broken := schema.problem(entry, where, "fingerprint")) is not None:
        yield broken
    names: list[str] = []
    for number, field in enumerate(entry["schema"]["fields"]):
        at = f"{where}.schema.fields[{number}]"
        try:
            column(field)
        except CellError as error:
            yield f"{at} {error}"
        if field["name"] in names:
            yield f"{at} declares the column {field['name']!r} a second time"
        names.append(field["name"])
    counted = entry.get("fields", len(names))
    if counted != len(names):
        yield f"{where}.fields is {show(counted)} and must be {len(names)}, as many as are declared"
    primary = entry["schema"].get("primaryKey", [])
    listed = [primary] if isinstance(primary, str) else primary
    if not isinstance(listed, list) or not all(name in names for name in listed):
        yield f"{where}.schema.primaryKey is {show(primary)} and must name fields of the table: {', '.join(names)}"
