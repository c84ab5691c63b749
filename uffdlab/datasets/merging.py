# SPDX-License-Identifier: MIT
"""Merge datasets, keeping the origin of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uffdlab.errors import UffdlabError

from .cells import DATASET_COLUMN, Value, show
from .dataset import DECISIVE, Dataset
from .descriptor import Resource
from .files import check_out
from .reading import Contents, read
from .writing import Table, write

BLOCK_COLUMN = "block"

_DATASET_FIELD: dict[str, Any] = {
    "name": DATASET_COLUMN,
    "type": "string",
    "description": "id of the dataset this row was measured in",
    "constraints": {"required": True},
}


def differing(data: Dataset) -> list[str]:
    """Return the facts in which the campaigns of a merged dataset differ, such as ``kernel_release``."""
    return [fact for fact in DECISIVE if len(_distinct([o["provenance"].get(fact) for o in data.merged_from])) > 1]


def merge(
    datasets: Sequence[Dataset | Path | str],
    out: Path | str,
    *,
    id: str,
    title: str | None = None,
    allow_mixed: bool = False,
) -> Dataset:
    """Write one dataset holding the rows of several, and return it.

    Every table gets a column ``dataset``; block numbers of later datasets are shifted (block names prefixed)
    so that no two blocks share one. Facts that all datasets share stay in the provenance, others become null;
    ``merged_from`` keeps each dataset's own. Rows are read from disk again: a frame changed in memory is not
    merged.

    Raises UffdlabError, listing what differs, if the datasets come from different kernels, CPUs or huge-page
    settings, unless ``allow_mixed``; and always if they are of different kinds, share an origin or a child process,
    or if a table has other fields in one than in another: no null could stand for that difference.
    """
    if len(datasets) < 2:
        raise UffdlabError("a merge needs at least two datasets: name another")
    check_out(out)
    parts = [read(d.path if isinstance(d, Dataset) else d) for d in datasets]
    _check_origins(parts)
    _check_kinds(parts)
    _check_children(parts)
    if not allow_mixed:
        _check_machines(parts)
    return write(
        out,
        id=id,
        title=title or "Merged: " + ", ".join(part.descriptor.id for part in parts),
        tables=_tables(parts),
        provenance=_shared(parts),
        kind=parts[0].descriptor.kind,
        sources=_sources(parts),
        merged_from=[origin for part in parts for origin in _origins(part)],
    )


def _origins(part: Contents) -> list[dict[str, Any]]:
    descriptor = part.descriptor
    return descriptor.merged_from or [{"id": descriptor.id, "provenance": descriptor.provenance}]


def _check_origins(parts: Sequence[Contents]) -> None:
    seen: set[str] = set()
    for part in parts:
        for name in dict.fromkeys(origin["id"] for origin in _origins(part)):
            if name in seen:
                raise UffdlabError(f"dataset {name!r} would go into the merge twice: leave one out")
            seen.add(name)


def _check_children(parts: Sequence[Contents]) -> None:
    """Refuse the same child process twice: copies would narrow every interval over children."""
    known: dict[Any, tuple[str, Value]] = {}
    for part in parts:
        for block, times in _timed(part).items():
            other, copied = known.setdefault(times, (part.descriptor.id, block))
            if other != part.descriptor.id:
                raise UffdlabError(
                    f"block {block} of {part.descriptor.id!r} holds the same times as block {copied} of {other!r}: "
                    "leave out the dataset that is a copy"
                )


_ENOUGH_TIMES = 4  # two processes agree by chance in fewer


def _timed(part: Contents) -> dict[Value, Any]:
    """Return all times of each block, by table, where there are enough of them to be told from any other's."""
    times: dict[Value, list[Any]] = {}
    for name, columns in part.tables.items():
        for column in (column for column in columns if column.endswith("_ns") and BLOCK_COLUMN in columns):
            for block, value in zip(columns[BLOCK_COLUMN], columns[column], strict=True):
                if value:
                    times.setdefault(block, []).append((name, column, value))
    return {block: tuple(values) for block, values in times.items() if len(values) >= _ENOUGH_TIMES}


def _check_kinds(parts: Sequence[Contents]) -> None:
    kinds = sorted({part.descriptor.kind for part in parts})
    if len(kinds) > 1:
        raise UffdlabError(f"datasets that are {' and '.join(kinds)} cannot be merged: keep them side by side")


def _check_machines(parts: Sequence[Contents]) -> None:
    differing = []
    for key in DECISIVE:
        values = _distinct([part.descriptor.provenance.get(key) for part in parts])
        if len(values) > 1:
            differing.append(f"{key} ({', '.join('unknown' if v is None else show(v) for v in values)})")
    if differing:
        raise UffdlabError(f"the datasets differ in {'; '.join(differing)}: merge like with like, or allow mixed ones")


def _distinct(values: Sequence[Any]) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        if value not in kept:
            kept.append(value)
    return kept


def _shared(parts: Sequence[Contents]) -> dict[str, Any]:
    facts = [part.descriptor.provenance for part in parts]
    keys = sorted({key for each in facts for key in each})
    values = {key: _distinct([each.get(key) for each in facts]) for key in keys}
    return {key: distinct[0] if len(distinct) == 1 else None for key, distinct in values.items()}


def _sources(parts: Sequence[Contents]) -> list[dict[str, str]]:
    return _distinct([source for part in parts for source in part.descriptor.sources])


@dataclass(frozen=True)
class _Piece:
    """The rows of one table from one dataset, and how its blocks are renamed."""

    part: Contents
    resource: Resource
    shift: int

    def rows(self) -> list[dict[str, Value]]:
        columns = self.part.tables[self.resource.name]
        names = list(columns)
        rows = [dict(zip(names, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
        own = self.part.descriptor.id
        prefix = "" if DATASET_COLUMN in columns else own + ":"  # a merged part has its prefixes already
        for row in rows:
            row.setdefault(DATASET_COLUMN, own)
            block = row.get(BLOCK_COLUMN)
            if isinstance(block, int):
                row[BLOCK_COLUMN] = block + self.shift
            elif isinstance(block, str):
                row[BLOCK_COLUMN] = prefix + block
        return rows


def _tables(parts: Sequence[Contents]) -> list[Table]:
    shifts = _shifts(parts)
    pieces: dict[str, list[_Piece]] = {}
    for part, shift in zip(parts, shifts, strict=True):
        for resource in part.descriptor.resources:
            pieces.setdefault(resource.name, []).append(_Piece(part, resource, shift))
    return [_table(name, parts) for name, parts in pieces.items()]


def _table(name: str, pieces: Sequence[_Piece]) -> Table:
    first = pieces[0]
    for other in pieces[1:]:
        if _meaning(first.resource) != _meaning(other.resource):
            raise UffdlabError(
                f"table {name!r} has different fields in {first.part.descriptor.id!r} and "
                f"{other.part.descriptor.id!r} ({_difference(first.resource, other.resource)}): "
                "they cannot be one table"
            )
    fields = [_DATASET_FIELD, *(f for f in first.resource.fields if f["name"] != DATASET_COLUMN)]
    return Table(name, fields, [row for piece in pieces for row in piece.rows()])


def _meaning(resource: Resource) -> list[tuple[Any, ...]]:
    """Return the keys in which fields must agree to be one column; titles and descriptions may differ."""
    return [
        (f["name"], f["type"], f.get("unit"), f.get("constraints", {}))
        for f in resource.fields
        if f["name"] != DATASET_COLUMN
    ]


def _difference(first: Resource, other: Resource) -> str:
    mine, theirs = ({field[0]: field for field in _meaning(r)} for r in (first, other))
    names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
    return ", ".join(names) or "their order"


def _shifts(parts: Sequence[Contents]) -> list[int]:
    """Return for each dataset the offset of its block numbers that makes all blocks distinct."""
    shifts: list[int] = []
    free = 0
    for part in parts:
        columns = [table[BLOCK_COLUMN] for table in part.tables.values() if BLOCK_COLUMN in table]
        blocks = [block for column in columns for block in column if isinstance(block, int)]
        shift = free - min(blocks) if blocks and shifts else 0
        shifts.append(shift)
        free = max([free, *(block + shift + 1 for block in blocks)])
    return shifts
