# SPDX-License-Identifier: MIT
"""Small datasets of every type of field, and what tests do to them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from uffdlab import datasets
from uffdlab.datasets import Table, write
from uffdlab.errors import UffdlabError

FIELDS: list[dict[str, Any]] = [
    {"name": "block", "type": "integer", "description": "block of samples taken together"},
    {
        "name": "design",
        "type": "string",
        "constraints": {"required": True, "enum": ["preread", "pte_marker"]},
    },
    {"name": "ns", "type": "integer", "unit": "ns", "constraints": {"minimum": 0}},
    {"name": "ratio", "type": "number", "unit": "1"},
    {"name": "cold", "type": "boolean"},
    {"name": "note", "type": "string"},
]
ROWS: list[dict[str, Any]] = [
    {"block": 0, "design": "preread", "ns": 1032, "ratio": 0.1, "cold": True, "note": 'says "hello", twice'},
    {"block": 1, "design": "pte_marker", "ns": 27, "ratio": 1e-300, "cold": False, "note": None},
    {"block": 2, "design": "preread", "ns": None, "ratio": None, "cold": None, "note": "µs – 馬"},
]
MACHINE: dict[str, Any] = {
    "kernel_release": "6.18.5",
    "cpu_model": "AMD EPYC 9B14",
    "thp_enabled": "madvise",
    "mthp_enabled": {"64": "never", "2048": "inherit"},
    "page_size_bytes": 4096,
    "seed": 1,
}


def make(out: Path, id: str = "lab", rows: Any = ROWS, fields: Any = FIELDS, **more: Any) -> datasets.Dataset:
    facts = {**MACHINE, **more.pop("facts", {})}
    tables = [Table("samples", fields, rows)]
    return write(out, id=id, title="A test", tables=tables, provenance=facts, created=date(2026, 1, 2), **more)


@contextmanager
def refused(*parts: str) -> Iterator[pytest.ExceptionInfo[UffdlabError]]:
    """Expect one sentence containing every part."""
    with pytest.raises(UffdlabError) as caught:
        yield caught
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def rows_of(dataset: datasets.Dataset, table: str = "samples") -> list[dict[str, Any]]:
    frame = dataset.table(table)
    names = [str(name) for name in frame.columns]
    columns = [[None if value is pd.NA else value for value in frame[name]] for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def edit(directory: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the descriptor the way somebody with a text editor would."""
    path = directory / "datapackage.json"
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


def files_in(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def drop(*keys: str | int) -> Callable[[Any], Any]:
    def change(raw: Any) -> None:
        for key in keys[:-1]:
            raw = raw[key]
        del raw[keys[-1]]

    return change


def put(value: Any, *keys: str | int) -> Callable[[Any], Any]:
    def change(raw: Any) -> None:
        for key in keys[:-1]:
            raw = raw[key]
        raw[keys[-1]] = value

    return change
