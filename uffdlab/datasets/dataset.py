# SPDX-License-Identifier: MIT
"""A dataset in memory: frames, descriptions of their columns, and provenance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uffdlab.errors import NotMeasuredError, UffdlabError

from .column_kinds import kind_of

if TYPE_CHECKING:
    import pandas as pd

# By the kind of dtype that reading a dataset gives a column: Int64 and Float64, boolean, string.
_KINDS: dict[str, Callable[[Any], bool]] = {
    "number": lambda dtype: dtype.kind in "iuf",
    "boolean": lambda dtype: dtype.kind == "b",
    "text": lambda dtype: dtype.kind not in "iufb",
}
_EMPTY = {"number": "Float64", "boolean": "boolean", "text": "string"}

# Samples that differ in one of these facts are from different machines.
DECISIVE = (
    "kernel_release",
    "architecture",
    "page_size_bytes",
    "cpu_model",
    "thp_enabled",
    "thp_defrag",
    "thp_use_zero_page",
    "thp_shrink_underused",
    "thp_shmem_enabled",
    "mthp_enabled",
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A validated dataset. Frames have nullable types (Int64, Float64, boolean, string): missing is never
    zero.

    ``fields`` holds the field descriptors of each table (units, descriptions); ``merged_from`` is empty
    unless the dataset came out of a merge.
    """

    path: Path
    id: str
    title: str
    kind: str
    created: str
    tables: Mapping[str, pd.DataFrame] = field(repr=False)
    fields: dict[str, list[dict[str, Any]]] = field(repr=False)
    provenance: dict[str, Any] = field(repr=False)
    sources: list[dict[str, str]] = field(repr=False)
    merged_from: list[dict[str, Any]] = field(repr=False, default_factory=list)
    called: str | None = None

    @property
    def label(self) -> str:
        """Return the short name by which figures tell two datasets apart: the id, unless it is called otherwise."""
        return self.called or self.id

    def table(self, name: str) -> pd.DataFrame:
        """Return one table. Raises UffdlabError naming the existing tables."""
        if name not in self.tables:
            names = ", ".join(self.tables)
            raise UffdlabError(f"dataset {self.id!r} has no table {name!r}; it has {names}")
        return self.tables[name]

    def require(self, table: str, columns: Sequence[str]) -> pd.DataFrame:
        """Return one table with at least these columns, each of its expected kind.

        Raises UffdlabError if there is no such table, NotMeasuredError naming missing columns.
        """
        frame = self.table(table)
        lacking = [f"`{table}.{name}`" for name in dict.fromkeys(columns) if name not in frame.columns]
        if lacking:
            were = "was" if len(lacking) == 1 else "were"
            raise NotMeasuredError(f"{' and '.join(lacking)} {were} not measured (dataset {self.id!r})")
        for name in columns:
            kind = kind_of(table, name)
            if not _KINDS[kind](frame[name].dtype):
                raise UffdlabError(f"`{table}.{name}` of dataset {self.id!r} does not hold {kind}s: restore the column")
        return frame

    def rows(self, table: str, columns: Sequence[str]) -> pd.DataFrame:
        """Return one table with at least these columns, or an empty frame if there is no such table.

        A campaign need not have run every probe. Raises NotMeasuredError naming missing columns of an existing table.
        """
        if table in self.tables:
            return self.require(table, columns)
        import pandas as pd

        return pd.DataFrame({name: pd.Series(dtype=_EMPTY[kind_of(table, name)]) for name in columns})

    def origin(self) -> str:
        """Return the line below every figure drawn from this dataset."""
        return origin_line(self.id, self.kind, self.provenance, self.merged_from)


def same_machine(data: Dataset, other: Dataset) -> bool:
    """Whether two datasets were measured on the same kind of machine, with the same kernel and huge-page settings."""
    return alike(data.provenance, other.provenance)


def alike(facts: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two provenances are of the same kind of machine, with the same kernel and huge-page settings."""
    return all(facts.get(fact) == other.get(fact) for fact in DECISIVE)


def origin_line(id: str, kind: str, facts: Mapping[str, Any], merged_from: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return one line: dataset id, kernel, CPU, THP setting, mTHP on or off; ``unknown`` if not recorded."""
    if kind == "published":
        return f"{id} · published figures, machines not named"
    machines = [origin["provenance"] for origin in merged_from] or [facts]
    parts = (("Linux ", kernel), ("", cpu), ("THP ", thp), ("mTHP ", mthp))
    facts_ = [label + " / ".join(dict.fromkeys(fact(machine) for machine in machines)) for label, fact in parts]
    return " · ".join([id, *facts_])


def kernel(facts: Mapping[str, Any]) -> str:
    """Return the kernel release."""
    return facts.get("kernel_release") or "unknown"


def cpu(facts: Mapping[str, Any]) -> str:
    """Return the CPU model."""
    return facts.get("cpu_model") or "unknown CPU"


def thp(facts: Mapping[str, Any]) -> str:
    """Return the THP setting, also from the kernel's notation ``always [madvise] never``."""
    text: str = facts.get("thp_enabled") or "unknown"
    return text.split("[", 1)[1].split("]")[0] if "[" in text else text


def mthp(facts: Mapping[str, Any]) -> str:
    """Return whether any huge page smaller than a PMD is enabled: ``on``, ``off`` or ``unknown``."""
    settings = facts.get("mthp_enabled")
    if settings is None:
        return "unknown"
    page = facts.get("page_size_bytes") or 4096
    pmd_kib = str(page * (page // 8) >> 10)  # that size is THP proper: a table of 8-byte entries maps it
    values = {str(value) for size, value in settings.items() if size != pmd_kib}
    inherited = "inherit" in values and thp(facts) != "never"
    return "on" if inherited or values - {"never", "inherit", "False", "None"} else "off"
