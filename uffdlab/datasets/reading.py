# SPDX-License-Identifier: MIT
"""Load and validate a dataset."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uffdlab.datasets.csv import decode

from .cells import Value
from .dataset import Dataset
from .descriptor import Descriptor, parse, read_raw

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
    descriptor = parse(read_raw(path), path)
    chosen = [r for r in descriptor.resources if only is None or r.name in only]
    return Contents(path, descriptor, {r.name: decode(path / r.path, r.fields, r.recorded)[0] for r in chosen})


def count(path: Path) -> tuple[Descriptor, dict[str, int]]:
    """Read and validate a dataset like read(), a table at a time; return its descriptor and its tables' rows."""
    descriptor = parse(read_raw(path), path)
    return descriptor, {r.name: _rows(decode(path / r.path, r.fields, r.recorded)[0]) for r in descriptor.resources}


def _rows(columns: dict[str, list[Value]]) -> int:
    return len(next(iter(columns.values())))


def load(path: Path | str) -> Dataset:
    """Load the dataset in the directory ``path``.

    Raises UffdlabError, one sentence naming file, line, column and remedy, if anything breaks the contract of
    the directory.
    """
    contents = read(path)
    descriptor = contents.descriptor
    return Dataset(
        path=contents.path,
        id=descriptor.id,
        title=descriptor.title,
        kind=descriptor.kind,
        created=descriptor.created,
        tables={r.name: _frame(r.fields, contents.tables[r.name]) for r in descriptor.resources},
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
