# SPDX-License-Identifier: MIT
"""What a notebook calls: its datasets by name, and the tables that stand between its figures."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from uffdlab import claims, datasets, summaries
from uffdlab.claims import Verdict
from uffdlab.datasets import Dataset
from uffdlab.stats import child_medians, ratio_interval
from uffdlab.units import format_ns, format_ratio, format_size


class Table:
    """A frame shown as a plain table: the same bytes whenever the same frame is shown."""

    def __init__(self, frame: pd.DataFrame, *, index: bool = True) -> None:
        """Show ``frame``, with its index as row headings unless ``index`` is False."""
        self.frame = frame
        self._index = index

    def _repr_html_(self) -> str:
        shown = self.frame.to_html(
            border=0, index=self._index, na_rep="not measured", justify="unset", index_names=False,
            formatters=self._formatters(),
        )  # fmt: skip
        # pandas would give the name of the index a row of its own.
        corner = f"<th>{html.escape(str(self.frame.index.name or ''))}</th>"
        return str(shown.replace("<th></th>", corner, 1) if self._index else shown)

    def _formatters(self) -> dict[Any, Callable[[Any], str]]:
        whole = [name for name in self.frame if pd.api.types.is_integer_dtype(self.frame[name])]
        return dict.fromkeys(whole, "{:,}".format)

    def __repr__(self) -> str:
        """Return the table as text."""
        return self.frame.to_string(index=self._index, na_rep="not measured", formatters=self._formatters())


def load(data: str, costs: str, this_machine: str | None) -> tuple[Dataset, Dataset, Dataset | None]:
    """Return the datasets a notebook's parameters name; ``reference`` is the committed one."""
    chosen = [datasets.load(_locate(name)) for name in (data, costs)]
    return chosen[0], chosen[1], datasets.load(_locate(this_machine)) if this_machine else None


def _locate(name: str) -> Path:
    return datasets.locate(None if name == "reference" else name)


def load_published() -> Dataset:
    """Return the thread's own figures."""
    return datasets.load(datasets.locate("published"))


def published_table(published: Dataset) -> Table:
    """Return the published table as the thread printed it: one row per source, µs for 10 GiB."""
    table = summaries.df_published(published)
    names = table.author + table.thp.map(lambda thp: "" if thp == "unknown" else f", THP={thp}")
    wide = table.assign(source=names).pivot_table(
        index="source", columns="mode", values="protect_us", aggfunc="first", sort=False
    )
    return Table(wide.rename_axis(columns=None))


def versions(published: Dataset) -> Table:
    """Return what became of the patch."""
    return Table(published.table("versions")[["version", "date", "kernel", "summary"]].fillna(""), index=False)


def ranking(data: Dataset) -> Table:
    """Return, with THP off and on, how many times longer populating first takes than markers do, with intervals."""
    samples = data.table("samples")
    rows = []
    for backing, thp in (("anon", "off"), ("anon_thp", "on")):
        warm = samples[(samples.backing == backing) & ~samples.cold & (samples.populated == 0)]
        sizes = [set(warm[warm.design == design].size_kib) for design in _RANKED]
        common = set.intersection(*sizes)
        if not common:
            continue
        total = {d: _totals(warm[(warm.design == d) & (warm.size_kib == max(common))]) for d in _RANKED}
        row = {"THP": thp, "at": format_size(float(max(common)) * 1024)}
        row |= {f"{d} / pte_marker": _ratio(total[d], total["pte_marker"]) for d in _RANKED[:2]}
        rows.append(row)
    return Table(pd.DataFrame(rows or [{"THP": "not measured"}]), index=False)


_RANKED = ("preread", "populate_read", "pte_marker")


def _totals(rows: pd.DataFrame) -> list[float]:
    return child_medians(list(rows.prepare_ns + rows.protect_ns), list(rows.block))


def cold(data: Dataset) -> Table:
    """Return what a first sample in a process takes beside the later ones: anonymous memory, largest size."""
    rows = []
    for point in summaries.records(summaries.df_largest(data, "anon")):
        if pd.isna(point.cold_ns):
            continue
        times = {"first sample": format_ns(point.cold_ns), "later samples": format_ns(point.total_ns)}
        ratio = {"first / later": f"{point.cold_ns / point.total_ns:.2f}"}
        rows.append({"design": point.design, "at": format_size(point.size_kib * 1024)} | times | ratio)
    return Table(pd.DataFrame(rows), index=False)


def _ratio(top: list[float], bottom: list[float]) -> str:
    found = ratio_interval(top, bottom)
    interval = (
        f" ({format_ratio(found.low)} to {format_ratio(found.high)})"
        if found.low is not None and found.high is not None
        else " (too few processes)"
    )
    return f"{format_ratio(found.value)}{interval}"


def ledger(verdicts: Iterable[Verdict]) -> Table:
    """Return one row per claim: who made it, what it says, the verdict, and where it is argued."""
    rows = []
    for one in verdicts:
        claim = claims.find(one.id)
        where = claim.notebook.split("_", 1)[0]
        rows.append({"claim": one.id, "who": claim.who, "says": claim.says, "verdict": one.verdict, "in": where})
    return Table(pd.DataFrame(rows), index=False)


def reported_table(data: Dataset) -> Table:
    """Return what became of a write to empty, protected memory, by backing and feature set."""
    return Table(summaries.df_reported(data))


def states(data: Dataset, backing: str, features: str) -> Table:
    """Return what the kernel says of one page of empty memory at each moment of its life."""
    return Table(summaries.df_states(data, backing, features))


def entry_costs(costs: Dataset) -> Table:
    """Return what one marked entry costs at each level, with its interval, and how much of it a GiB needs."""
    rows = []
    for cost in summaries.records(summaries.df_entry_costs(costs)):
        low, high = format_ns(cost.ns_per_entry_low), format_ns(cost.ns_per_entry_high)
        rows.append(
            {
                "backing": cost.backing,
                "one entry covers": format_size(cost.entry_kib * 1024),
                "entries per GiB": round(1048576 / cost.entry_kib),
                "to mark one": f"{format_ns(cost.ns_per_entry)} ({low} to {high})",
                "tables per GiB": format_size(cost.table_kib * 1024 / (cost.size_kib / 1048576)),
            }
        )
    return Table(pd.DataFrame(rows), index=False)
