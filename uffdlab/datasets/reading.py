# SPDX-License-Identifier: MIT
"""Load and validate a dataset."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uffdlab.datasets.csv import check, decode

from .cells import Value
from .dataset import Dataset
from .descriptor import Descriptor, Resource, read_checked

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Contents:
    """A validated dataset as plain lists, without pandas: all that listing, merging and looking up need."""

    path: Path
    descriptor: Descriptor
    tables: dict[str, dict[str, list[Value]]]


def read(path: Path | str, only: Collection[str] | None = None) -> Contents:
    """Read and validate the dataset in the directory ``path``. Raises UffdlabError like load().

    With ``only``, files of other tables are not opened; a table that the dataset lacks is left out.
    """
    path = Path(path)
    descriptor = read_checked(path)
    chosen = [r for r in descriptor.resources if only is None or r.name in only]
    return Contents(path, descriptor, {r.name: decode(path / r.path, r.fields, r.recorded)[0] for r in chosen})


def count(path: Path) -> tuple[Descriptor, dict[str, int]]:
    """Read and validate a dataset like read(), a table at a time; return its descriptor and its tables' rows."""
    descriptor = read_checked(path)
    return descriptor, {r.name: _rows(decode(path / r.path, r.fields, r.recorded)[0]) for r in descriptor.resources}


def _rows(columns: dict[str, list[Value]]) -> int:
    return len(next(iter(columns.values())))


class _OnUse(Mapping[str, "pd.DataFrame"]):
    """The tables of a dataset, each decoded when it is looked up first."""

    def __init__(self, path: Path, resources: Sequence[Resource]) -> None:
        self._path = path
        self._resources = {resource.name: resource for resource in resources}
        self._frames: dict[str, pd.DataFrame] = {}

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self._frames:
            self._frames[name] = _decoded(self._path, self._resources[name])
        return self._frames[name]

    def __contains__(self, name: object) -> bool:
        return name in self._resources

    def __iter__(self) -> Iterator[str]:
        return iter(self._resources)

    def __len__(self) -> int:
        return len(self._resources)


def _decoded(path: Path, resource: Resource) -> pd.DataFrame:
    return _frame(resource.fields, decode(path / resource.path, resource.fields, resource.recorded)[0])


def load(path: Path | str, *, on_use: bool = False) -> Dataset:
    """Load the dataset in the directory ``path``.

    Raises UffdlabError, one sentence naming file, line, column and remedy, if anything breaks the contract of
    the directory. ``on_use`` is for datasets that were valid when they were committed: the SHA-256 of each file is
    checked, and its rows are decoded when the table is used first. As long as the descriptor is the same, so is the
    dataset.
    """
    path = Path(path)
    descriptor = read_checked(path)
    if not on_use:
        return _dataset(path, descriptor, {r.name: _decoded(path, r) for r in descriptor.resources})
    for r in descriptor.resources:
        check(path / r.path, r.fields, r.recorded)
    return _on_use(path, descriptor)


@lru_cache(maxsize=64)
def _on_use(path: Path, descriptor: Descriptor) -> Dataset:
    return _dataset(path, descriptor, _OnUse(path, descriptor.resources))


def _dataset(path: Path, descriptor: Descriptor, tables: Mapping[str, pd.DataFrame]) -> Dataset:
    return Dataset(
        path=path,
        id=descriptor.id,
        title=descriptor.title,
        kind=descriptor.kind,
        created=descriptor.created,
        tables=tables,
        fields={r.name: r.fields for r in descriptor.resources},
        provenance=descriptor.provenance,
        sources=descriptor.sources,
        merged_from=descriptor.merged_from,
    )


def _frame(fields: Sequence[dict[str, Any]], values: dict[str, list[Value]]) -> pd.DataFrame:
    import pandas as pd  # here, so that listing datasets and --help stay quick

    return pd.DataFrame({field["name"]: _array(field["type"], values[field["name"]]) for field in fields})


def _array(kind: str, values: list[Value]) -> Any:
    import numpy as np
    import pandas as pd

    if kind == "string":
        return pd.Series(values, dtype="string").array
    # Values and mask apart: floating point would round integers beyond 2**53.
    mask = np.array([value is None for value in values], dtype=bool)
    filled = [0 if value is None else value for value in values]
    if kind == "integer":
        return pd.arrays.IntegerArray(np.array(filled, dtype=np.int64), mask)
    if kind == "number":
        return pd.arrays.FloatingArray(np.array(filled, dtype=np.float64), mask)
    return pd.arrays.BooleanArray(np.array(filled, dtype=bool), mask)
