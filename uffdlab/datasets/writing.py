# SPDX-License-Identifier: MIT
"""Write a dataset's directory, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from uffdlab.datasets import provenance as allow_list
from uffdlab.datasets.csv import encode, fingerprint
from uffdlab.errors import UffdlabError

from .cells import FieldDescriptor
from .dataset import Dataset
from .descriptor import FILE_NAME, Resource, compose, parse, sealed, to_bytes
from .files import printable, staged
from .reading import load


@dataclass(frozen=True)
class Table:
    """A table to be written. A row maps columns to values; an absent column, None and ``""`` are missing."""

    name: str
    fields: Sequence[FieldDescriptor]
    rows: Sequence[Mapping[str, Any]]


def write(
    out: Path | str,
    *,
    id: str,
    title: str,
    tables: Sequence[Table],
    provenance: Mapping[str, Any],
    kind: str = "measured",
    sources: Sequence[Mapping[str, str]] = (),
    merged_from: Sequence[Mapping[str, Any]] = (),
    created: date | None = None,
) -> Dataset:
    """Write a dataset into the directory ``out``, which must be absent or empty, and return it as loaded.

    The same arguments give the same bytes; ``created`` defaults to today (UTC). The directory appears whole
    or not at all. Raises UffdlabError if it cannot be written, or if a value breaks the contract: naming
    table, row (from 1) and column.
    """
    target = Path(out)
    _check_provenance(id, provenance, merged_from)
    day = created or datetime.now(UTC).date()
    raw = compose(
        id=id,
        title=title,
        kind=kind,
        created=f"{day.isoformat()[:10]}T00:00:00Z",
        resources=[Resource(table.name, _plain_fields(table), None) for table in tables],
        provenance=provenance,
        sources=sources,
        merged_from=merged_from,
    )
    parse(raw, target, sealing=True)  # before anything touches the disk
    files = {}
    for table, entry in zip(tables, raw["resources"], strict=True):
        content = encode(entry["schema"]["fields"], table.rows, f"table {table.name!r}")
        files[entry["path"]] = content
        recorded = fingerprint(content)
        entry |= {"bytes": recorded.size, "hash": recorded.hash}
    files[FILE_NAME] = _descriptor_bytes(raw, target)
    with staged(target) as stage:
        for name, content in files.items():
            (stage / name).write_bytes(content)
        written = load(stage)  # do not publish what cannot be read back
    return replace(written, path=target)


def _check_provenance(id: str, facts: Mapping[str, Any], merged_from: Sequence[Mapping[str, Any]]) -> None:
    for machine in (facts, *(origin["provenance"] for origin in merged_from)):
        for problem in allow_list.problems(machine):
            raise UffdlabError(f"provenance of {id!r} is refused: {problem}; leave it out")


def _plain_fields(table: Table) -> list[dict[str, Any]]:
    """Return the fields as plain JSON values. Raises UffdlabError."""
    try:
        plain: list[dict[str, Any]] = json.loads(json.dumps([dict(f) for f in table.fields], default=_mapping))
    except (TypeError, ValueError) as error:
        raise UffdlabError(f"table {table.name!r} has a field that JSON cannot hold: {error}") from None
    return plain


def _mapping(value: object) -> object:
    if isinstance(value, Mapping):  # a read-only view, say
        return dict(value)
    raise TypeError(f"{value!r} is not a plain value")


def _descriptor_bytes(raw: dict[str, Any], out: Path) -> bytes:
    try:
        return to_bytes(sealed(raw))
    except (TypeError, ValueError) as error:  # NaN, half a surrogate pair, a numpy scalar
        raise UffdlabError(f"{printable(out / FILE_NAME)} cannot be written: {error}") from None
