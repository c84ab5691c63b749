# SPDX-License-Identifier: MIT
"""What was measured at one point, printed: each quantity's median with its interval, then the rows themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from uffdlab.units import format_ns, shown

_MANY_COLUMNS = 30  # beyond, a row a line is easier to read than a column each
_RAW = ("latencies", "slots", "bits", "_writes")  # too long to print: --json and --out have them
_HEXADECIMAL = {"messages": ("sent", "received")}  # columns of texts
_NUMBERING = {"sample", "trial", "round", "order"}  # a row of a table that has one of these is a sample
_PARTING = {"granularity_kib", "mapping"}  # numbers that say of what a row is, as words do elsewhere
_RESULTS = {"outcome", "reason", "sent", "received", "late"}  # words that are what was measured
_FEWEST = 6  # samples with a 95 % interval
_MOST_SHOWN = 100  # characters of a text: --json and --out have the whole


@dataclass(frozen=True)
class Quantity:
    """One column of one table: the median of its warm samples with a 95 % interval, which is None with too few.

    ``of`` names the rows where a table holds several kinds. ``cold`` says that there was no warm sample.
    """

    table: str
    column: str
    unit: str
    of: dict[str, Any]
    median: float
    low: float | None
    high: float | None
    samples: int
    cold: bool

    def __str__(self) -> str:
        """Return the median with unit, and its interval or how many samples there are."""
        if self.low is None or self.high is None:
            kind = "cold" if self.cold else "warm"
            return f"{self._said(self.median)}  (no interval: {self.samples} {kind} sample{'s' * (self.samples != 1)})"
        return f"{self._said(self.median)}  ({self._said(self.low)} to {self._said(self.high)})"

    def _said(self, value: float) -> str:
        if self.unit == "ns":
            return format_ns(value)
        return f"{value:,.4g}" if self.unit == "1" else f"{value:,.10g} {self.unit}"


def quantities(measured: Any) -> list[Quantity]:
    """Return what was measured, by table, kind of row and column."""
    found: list[Quantity] = []
    asked = _asked(measured)
    for table in measured.tables():
        names = [field["name"] for field in table.fields]
        if table.rows and _NUMBERING & set(names) and not table.name.endswith(_RAW):
            found += _of_table(table, asked)
    return found


def _asked(measured: Any) -> set[str]:
    """Return the columns that repeat what was asked for, by the values of the spec."""
    (outcome,) = measured.measurements.tables["outcomes"]
    names = json.loads(outcome["spec"])
    return {*names, *(f"{name.removesuffix('_bytes')}_kib" for name in names if name.endswith("_bytes"))}


def _of_table(table: Any, asked: set[str]) -> Iterator[Quantity]:
    numbers = [
        field
        for field in table.fields
        if field["type"] in ("integer", "number")
        if field["name"] not in asked | _NUMBERING | _PARTING | {"block", "size_kib"}
        if not field["name"].removesuffix("_kib").endswith("_before")  # where it started from, not what it came to
    ]
    words = [f["name"] for f in table.fields if f["type"] == "string" and f["name"] not in _RESULTS]
    parting = [name for name in (*words, *_PARTING) if len({row.get(name) for row in table.rows}) > 1]
    for of, rows in _by(table.rows, parting):
        warm = [row for row in rows if not row.get("cold")]
        for field in numbers:
            values = [row[field["name"]] for row in warm or rows if row.get(field["name"]) is not None]
            if values and (field.get("unit") == "ns" or any(values)):
                yield _quantity(table.name, field, of, values, cold=not warm)


def _by(rows: Iterable[dict[str, Any]], names: Sequence[str]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    for key, some in found.items():
        yield dict(zip(names, key, strict=True)), some


def _quantity(
    table: str, field: dict[str, Any], of: dict[str, Any], values: Sequence[float], *, cold: bool
) -> Quantity:
    from uffdlab.stats import median_interval

    found = median_interval(values)
    unit = field.get("unit") or "1"
    return Quantity(table, field["name"], unit, of, found.value, found.low, found.high, found.n, cold)


def _named(name: str, value: Any) -> str:
    return f"{name} {value}" if name in _PARTING else str(value)


def show(measured: Any) -> None:
    """Print medians with intervals, then the rows."""
    found = quantities(measured)
    if found:
        print(f"median (95 % interval, from {_FEWEST} warm samples on; all of one process):")
    width = max((len(one.column) for one in found), default=0)
    of: dict[str, Any] = {}
    for one in found:
        if one.of != of:
            of = one.of
            print(f"  {', '.join(_named(name, value) for name, value in of.items())}:")
        print(f"  {'  ' * bool(of)}{one.column:<{width}}  {one}")
    print("\n" * bool(found), end="")
    show_rows(measured.measurements.tables)


def show_rows(tables: Mapping[str, list[dict[str, Any]]]) -> None:
    """Print the rows of each table that is no outcome and not too long to print."""
    import pandas as pd

    for name, rows in tables.items():
        if rows and name != "outcomes" and not name.endswith(_RAW):
            frame = pd.DataFrame([_readable(name, row) for row in rows]).drop(columns="block")
            wide = len(rows) > _MANY_COLUMNS
            print(frame.to_string(index=False, na_rep="–") if wide else frame.T.to_string(header=False, na_rep="–"))


def show_json(measured: Any) -> None:
    """Print all rows as JSON, with where they were measured, and for a point with its medians."""
    summary = {} if measured.facts.get("suite") else {"summary": [asdict(one) for one in quantities(measured)]}
    print(json.dumps(measured.measurements.tables | summary | {"provenance": measured.facts}, indent=1))


def _readable(table: str, row: dict[str, Any]) -> dict[str, Any]:
    texts = {column: row[column] for column in _HEXADECIMAL.get(table, ()) if row[column] is not None}
    return row | {column: _quoted(text) for column, text in texts.items()}


def _quoted(text: str) -> str:
    """Return a text that is kept as UTF-8 in hexadecimal, on one line and without what a terminal would obey."""
    return shown(bytes.fromhex(text).decode("utf-8", errors="backslashreplace"), most=_MOST_SHOWN)
