# SPDX-License-Identifier: MIT
"""What a notebook calls: its datasets by name, and the tables that stand between its figures."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import pandas as pd

from uffdlab import claims, datasets, summaries
from uffdlab.claims import Verdict
from uffdlab.claims.rows import at_common_size, children, warm
from uffdlab.datasets import Dataset
from uffdlab.errors import NotMeasuredError, UffdlabError
from uffdlab.stats import Estimate, added, ratio_of_children
from uffdlab.units import format_ns, format_ratio, format_size


class Table:
    """A frame shown as a plain table: the same bytes whenever the same frame is shown."""

    def __init__(self, frame: pd.DataFrame, *, index: bool = True) -> None:
        """Show ``frame``, with its index as row headings unless ``index`` is False."""
        self.frame = frame
        self._index = index

    def _repr_html_(self) -> str:
        told = _told(self.frame)
        shown = told.to_html(
            border=0, index=self._index, na_rep=_LACKING, justify="unset", index_names=False,
            formatters=_formatters(told),
        )  # fmt: skip
        # pandas would give the name of the index a row of its own.
        corner = f"<th>{html.escape(str(self.frame.index.name or ''))}</th>"
        return str(shown.replace("<th></th>", corner, 1) if self._index else shown)

    def __repr__(self) -> str:
        """Return the table as text."""
        told = _told(self.frame)
        return told.to_string(index=self._index, na_rep=_LACKING, formatters=_formatters(told))


_LACKING = "not measured"


def _told(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame as it is shown: that a cell or a heading is missing, or that there are no rows, in words.

    Of what is missing pandas replaces NaN alone, and shows the rest as ``<NA>`` and ``None``.
    """
    if frame.empty:
        return pd.DataFrame({str(next(iter(frame.columns), "rows")): [_LACKING]})
    told = frame.set_axis(_headings(frame.index)).set_axis(_headings(frame.columns), axis=1)
    for at in range(len(told.columns)):
        cells = told.iloc[:, at]
        if cells.isna().any():
            told.isetitem(at, list(cells.astype("float64")) if cells.dtype.kind == "f" else [*map(_cell, cells)])
    return told


def _headings(names: pd.Index) -> pd.Index:
    whole = isinstance(names, pd.MultiIndex) or names.notna().all()
    return names if whole else pd.Index([*map(_cell, names)], name=names.name)


def _cell(value: Any) -> Any:
    if pd.isna(value):
        return _LACKING
    return f"{value:,}" if isinstance(value, Integral) and not isinstance(value, bool) else value


def _formatters(frame: pd.DataFrame) -> dict[Any, Callable[[Any], str]]:
    whole = [name for name in frame if pd.api.types.is_integer_dtype(frame[name])]
    return dict.fromkeys(whole, lambda value: f"{value:,}")


class Said:
    """A sentence that was computed, shown as a paragraph."""

    def __init__(self, text: str) -> None:
        """Show ``text``."""
        self.text = text

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.text)}</p>"

    def __repr__(self) -> str:
        """Return the sentence."""
        return self.text


def load(data: str, costs: str, this_machine: str | None) -> tuple[Dataset, Dataset, Dataset | None]:
    """Return the datasets a notebook's parameters name; ``reference`` is the committed one."""
    chosen = [datasets.load(_locate(name)) for name in (data, costs)]
    return chosen[0], chosen[1], datasets.load(_locate(this_machine)) if this_machine else None


def _locate(name: str) -> Path:
    return datasets.locate(None if name == "reference" else name)


def load_published() -> Dataset:
    """Return the thread's own figures."""
    return datasets.load(datasets.locate("published"))


def load_calibrated() -> Dataset:
    """Return the costs that predictions are priced with, as a dataset: with what they were tried on."""
    return datasets.load(datasets.locate("costs-"))


def load_mthp() -> Dataset | None:
    """Return the dataset measured with huge pages of 64 KiB; None where it is not at hand."""
    try:
        return datasets.load(datasets.locate("mthp"))
    except UffdlabError:
        return None


def load_channel(data: Dataset) -> Dataset:
    """Return the dataset that holds the channel: the one given, where it was measured there, or the committed one.

    Raises UffdlabError when there is neither.
    """
    return data if "channels" in data.tables else datasets.load(datasets.locate("channel-"))


def load_beside(data: Dataset) -> list[Dataset]:
    """Return what decides claims beside the committed reference; beside any other dataset, nothing does."""
    chosen = data.id == datasets.load(datasets.locate(None)).id
    return [datasets.load(path) for path in datasets.companions()] if chosen else []


def published_table(published: Dataset) -> Table:
    """Return the published table as the thread printed it: one row per source, µs for 10 GiB."""
    table = summaries.df_published(published)
    names = table.author.fillna("unknown") + table.thp.map(lambda thp: "" if thp == "unknown" else f", THP={thp}")
    wide = table.assign(source=names).pivot_table(
        index="source", columns="mode", values="protect_us", aggfunc="first", sort=False
    )
    return Table(wide.rename_axis(columns=None))


def published_ratios(published: Dataset) -> Table:
    """Return how many times longer populating first took than markers, in each published row."""
    table = summaries.df_published(published)
    rows = []
    for (author, thp), group in table.groupby(["author", "thp"], sort=False):
        us = dict(zip(group["mode"], group.protect_us.astype(float), strict=True))
        least = us.get("WP-UNPOPULATE", 0.0)
        known = {top: us[top] / least for top in _POPULATING if top in us} if least > 0 else {}
        ratios = {f"{top} / WP-UNPOPULATE": format_ratio(known[top]) if top in known else "–" for top in _POPULATING}
        rows.append({"source": author, "THP": thp} | ratios)
    return Table(pd.DataFrame(rows), index=False)


_POPULATING = ("PRE-READ", "MADVISE")


def versions(published: Dataset) -> Table:
    """Return what became of the patch."""
    columns = ["version", "date", "kernel", "summary"]
    return Table(published.require("versions", columns)[columns].fillna(""), index=False)


def ranking(data: Dataset) -> Table:
    """Return, with THP off and on, how many times longer populating first takes than markers do, with intervals."""
    rows = [
        {"THP": thp, "at": format_size(size_kib * 1024)}
        | {f"{d} / pte_marker": shown(found) for d, found in ratios.items()}
        for thp, size_kib, ratios in _rankings(data)
    ]
    return Table(pd.DataFrame(rows or [{"THP": "not measured"}]), index=False)


def ranking_said(data: Dataset) -> Said:
    """Return which way of protecting is faster, with THP off and on, as far as the intervals tell."""
    sentences = []
    for thp, _, ratios in _rankings(data):
        told = [f"{_verdict(found)} {_NAMES[design]} ({shown(found)})" for design, found in ratios.items()]
        sentences.append(f"With THP {thp} markers are {' and '.join(told)}.")
    return Said(" ".join(sentences) or "Nothing was measured at one size.")


def _verdict(found: Estimate | None) -> str:
    if found is None:
        return "not to be compared with"
    if found.above(1):
        return "faster than"
    return "slower than" if found.below(1) else "neither shown to be faster nor slower than"


def _rankings(data: Dataset) -> Iterator[tuple[str, float, dict[str, Estimate | None]]]:
    """Yield THP, the largest common size and the ratios to markers of untouched anonymous memory."""
    for backing, thp in (("anon", "off"), ("anon_thp", "on")):
        both = at_common_size(*(
            warm(data, "samples", "block", "size_kib", "prepare_ns", "protect_ns", backing=backing, design=design,
                 populated=0) for design in _RANKED
        ))  # fmt: skip
        total = {design: _totals(rows) for design, rows in zip(_RANKED, both, strict=True)} if both else {}
        if both and all(total.values()):
            at = float(both[0].size_kib.iloc[0])
            marked = total["pte_marker"]
            yield thp, at, {design: ratio(total[design], marked) for design in _RANKED[:2]}


_RANKED = ("preread", "populate_read", "pte_marker")
_NAMES = {"preread": "the read loop", "populate_read": "MADV_POPULATE_READ"}


def _totals(rows: pd.DataFrame) -> dict[int, float]:
    return children(rows.assign(total_ns=added(rows.prepare_ns, rows.protect_ns)), "total_ns")


def cold(data: Dataset) -> Table:
    """Return what a first sample in a process takes beside the later ones: anonymous memory, largest size."""
    rows = []
    for point in summaries.records(summaries.df_largest(summaries.df_warm(data), "anon")):
        if pd.isna(point.cold_ns):
            continue
        times = {"first sample": format_ns(point.cold_ns), "later samples": format_ns(point.total_ns)}
        ratio = {"first / later": f"{point.cold_ns / point.total_ns:.2f}" if point.total_ns > 0 else "no value"}
        rows.append({"design": point.design, "at": format_size(point.size_kib * 1024)} | times | ratio)
    return Table(pd.DataFrame(rows), index=False)


def ratio(top: Mapping[int, float], bottom: Mapping[int, float]) -> Estimate | None:
    """Return the ratio of two quantities from their medians by child; None where it has no value."""
    try:
        return ratio_of_children(top, bottom)
    except NotMeasuredError:
        return None


def shown(found: Estimate | None) -> str:
    """Return a ratio with its interval in words."""
    if found is None:
        return "no value: a time of 0 ns"
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
        low, high = cost.ns_per_entry_low, cost.ns_per_entry_high
        between = "" if pd.isna(low) or pd.isna(high) else f" ({format_ns(low)} to {format_ns(high)})"
        rows.append(
            {
                "backing": cost.backing,
                "one entry covers": format_size(cost.entry_kib * 1024),
                "entries per GiB": round(1048576 / cost.entry_kib),
                "to mark one": f"{format_ns(cost.ns_per_entry)}{between}",
                "tables per GiB": format_size(cost.table_kib * 1024 / (cost.size_kib / 1048576)),
            }
        )
    return Table(pd.DataFrame(rows), index=False)
