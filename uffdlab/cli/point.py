# SPDX-License-Identifier: MIT
"""Print the measurements of one point: each quantity's median with its interval, then the rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from uffdlab.units import format_ns, shown

_MANY_COLUMNS = 30  # with more, print a row per line instead of a column per row
_RAW = ("latencies", "slots", "bits", "_writes")  # too long to print; see --json and --out
_HEXADECIMAL = {"messages": ("sent", "received")}  # columns of texts
_NUMBERING = {
    "sample",
    "trial",
    "round",
    "order",
    "number",
    "turn",
    "thread",
    "cpu",
}  # tables with one of these hold a sample per row
_GROUPING = {"granularity_kib", "mapping", "threads"}  # numeric columns that group rows, as text columns do
_RESULTS = {"outcome", "reason", "sent", "received", "late"}  # text columns that hold results
_FEWEST = 6  # samples with a 95 % interval
_MOST_SHOWN = 100  # characters of a text


@dataclass(frozen=True)
class Quantity:
    """One column of one table: the median of its warm samples, and its 95 % interval (None with too few).

    ``of`` names the group of rows, if there are several. ``cold``: there was no warm sample.
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
            return f"{self._text(self.median)}  (no interval: {self.samples} {kind} sample{'s' * (self.samples != 1)})"
        return f"{self._text(self.median)}  ({self._text(self.low)} to {self._text(self.high)})"

    def _text(self, value: float) -> str:
        if self.unit == "ns":
            return format_ns(value)
        return f"{value:,.4g}" if self.unit == "1" else f"{value:,.10g} {self.unit}"


def quantities(measured: Any) -> list[Quantity]:
    """Return the quantities by table, group of rows and column."""
    found: list[Quantity] = []
    inputs = _inputs(measured)
    for table in measured.tables():
        names = [field["name"] for field in table.fields]
        if table.rows and _NUMBERING & set(names) and not table.name.endswith(_RAW):
            found += _of_table(table, inputs)
    return found


def _inputs(measured: Any) -> set[str]:
    """Return the columns that repeat fields of the spec."""
    (outcome,) = measured.measurements.tables["outcomes"]
    names = json.loads(outcome["spec"])
    return {*names, *(f"{name.removesuffix('_bytes')}_kib" for name in names if name.endswith("_bytes"))}


def _of_table(table: Any, inputs: set[str]) -> Iterator[Quantity]:
    import pandas as pd

    from uffdlab.summaries import medians

    numbers = [
        field
        for field in table.fields
        if field["type"] in ("integer", "number")
        if field["name"] not in inputs | _NUMBERING | _GROUPING | {"block", "size_kib"}
        if not field["name"].removesuffix("_kib").endswith("_before")  # a starting value, not a result
    ]
    words = [f["name"] for f in table.fields if f["type"] == "string" and f["name"] not in _RESULTS]
    grouping = [name for name in (*words, *_GROUPING) if len({row.get(name) for row in table.rows}) > 1]
    for of, rows in _by(table.rows, grouping):
        frame = pd.DataFrame(rows, columns=[field["name"] for field in table.fields])
        taken = medians.warm_or_cold(frame) if "cold" in frame else frame
        cold = "cold" in frame and not len(medians.warm(frame))
        for field in numbers:
            values = list(taken[field["name"]].dropna())
            if values and (field.get("unit") == "ns" or any(values)):
                yield _quantity(table.name, field, of, values, cold=cold)


def _by(rows: Iterable[dict[str, Any]], names: Sequence[str]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    for key, group in groups.items():
        yield dict(zip(names, key, strict=True)), group


def _quantity(
    table: str, field: dict[str, Any], of: dict[str, Any], values: Sequence[float], *, cold: bool
) -> Quantity:
    from uffdlab.stats import median_interval

    median = median_interval(values)
    unit = field.get("unit") or "1"
    return Quantity(table, field["name"], unit, of, median.value, median.low, median.high, median.n, cold)


def _format_group(name: str, value: Any) -> str:
    return f"{name} {value}" if name in _GROUPING else str(value)


def show(measured: Any) -> None:
    """Print medians with intervals, then the rows."""
    summary = quantities(measured)
    if summary:
        print(f"median (95 % interval, from {_FEWEST} warm samples on; all of one process):")
    width = max((len(quantity.column) for quantity in summary), default=0)
    of: dict[str, Any] = {}
    for quantity in summary:
        if quantity.of != of:
            of = quantity.of
            print(f"  {', '.join(_format_group(name, value) for name, value in of.items())}:")
        print(f"  {'  ' * bool(of)}{quantity.column:<{width}}  {quantity}")
    print("\n" * bool(summary), end="")
    show_rows(measured.measurements.tables)


def show_rows(tables: Mapping[str, list[dict[str, Any]]]) -> None:
    """Print the rows of each table except outcomes and those too long to print."""
    import pandas as pd

    for name, rows in tables.items():
        if rows and name != "outcomes" and not name.endswith(_RAW):
            frame = pd.DataFrame([_readable(name, row) for row in rows]).drop(columns="block")
            wide = len(rows) > _MANY_COLUMNS
            print(frame.to_string(index=False, na_rep="–") if wide else frame.T.to_string(header=False, na_rep="–"))


def show_json(measured: Any) -> None:
    """Print all rows and the provenance as JSON; for a point also its medians."""
    summary = (
        {} if measured.facts.get("suite") else {"summary": [asdict(quantity) for quantity in quantities(measured)]}
    )
    print(json.dumps(measured.measurements.tables | summary | {"provenance": measured.facts}, indent=1))


def _readable(table: str, row: dict[str, Any]) -> dict[str, Any]:
    texts = {column: row[column] for column in _HEXADECIMAL.get(table, ()) if row[column] is not None}
    return row | {column: _quoted(text) for column, text in texts.items()}


def _quoted(text: str) -> str:
    """Decode a text from hexadecimal UTF-8 and escape control characters."""
    return shown(bytes.fromhex(text).decode("utf-8", errors="backslashreplace"), most=_MOST_SHOWN)
