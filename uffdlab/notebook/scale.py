# SPDX-License-Identifier: MIT
"""Sentences and a table of operations of several threads: what scales, what does not, and what was counted of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from uffdlab import datasets, summaries
from uffdlab.datasets import Dataset
from uffdlab.notebook.show import Sentence, Table, ratio_with_interval, time_with_interval
from uffdlab.units import format_ratio, format_share
from uffdlab.vocabulary.threads import SCALED, SHARING_LOOKS

_EVERY_PAGE, _ONE_PER_TABLE = 4, 2048  # strides in KiB
_NEW_TABLE = ", a new table for each"
_KEYS = ["operation", "stride_kib", "sharing", "threads"]


@dataclass(frozen=True)
class _Group:
    """Operations that are told together: in words, their names, strides in KiB, and ways of sharing (none: all)."""

    words: str
    operations: tuple[str, ...]
    strides: tuple[int, ...] = (_EVERY_PAGE,)
    sharings: tuple[str, ...] = tuple(SHARING_LOOKS)

    def of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a summary that belong to the group."""
        here = rows.operation.isin(self.operations) & rows.sharing.isin(self.sharings)
        return rows[here & rows.stride_kib.isin(self.strides)]


_BY_PAGE = _Group("UFFDIO_WRITEPROTECT page by page", ("protect_nothing", "protect_zeropages"))
_GROUPS = (
    _Group("first touches", ("read_nothing", "write_nothing"), (_EVERY_PAGE, _ONE_PER_TABLE)),
    _Group("first writes to a marker", ("write_markers",)),
    _Group("first writes to a zeropage under PTE tables of their own", ("write_zeropages",),
           sharings=("same_1gib", "own_1gib")),
    _Group("first writes to a zeropage under the same PTE tables", ("write_zeropages",), sharings=("same_2mib",)),
    _BY_PAGE,
    _Group("UFFDIO_WRITEPROTECT page by page" + _NEW_TABLE, ("protect_nothing",), (_ONE_PER_TABLE,)),
    _Group("UFFDIO_WRITEPROTECT 2 MiB at a time", ("protect_nothing_by_2mib", "protect_zeropages_by_2mib")),
)  # fmt: skip
_VERDICTS = ("Faster", "Slower", "Neither for sure")
_ZEROPAGES = _Group("a first write to a zeropage", ("write_zeropages",))
_INTERRUPTING = (_ZEROPAGES, _Group("a page protected by a call of its own", _BY_PAGE.operations))
_QUIET = _Group("a first touch or a first write to a marker", ("read_nothing", "write_nothing", "write_markers"))


def scale_sentence(data: Dataset) -> Sentence:
    """Return what the most threads do faster than one, and what slower, as far as intervals tell."""
    rows = _of_most_threads(data)
    if rows.empty:
        return _not_measured(data)
    found: dict[str, list[str]] = {verdict: [] for verdict in _VERDICTS}
    for group in _GROUPS:
        members = group.of(rows)
        if len(members):
            found[_verdict(members)].append(f"{group.words}, {_span(members, 'speedup')}")
    most = int(rows.threads.iloc[0])
    parts = [f"{verdict}: {'; '.join(members)}." for verdict, members in found.items() if members]
    return Sentence(
        f"How many times as fast {most} threads are as one, with 95 % intervals in brackets. {' '.join(parts)}"
        f"{_zeropages_to_markers(data, most)} Measured on {_machine(data)}."
    )


def _verdict(rows: pd.DataFrame) -> str:
    """Return one of ``_VERDICTS``: the side of 1 on which all intervals of the speedup lie."""
    above, below, neither = _VERDICTS
    return above if (rows.speedup_low > 1).all() else below if (rows.speedup_high < 1).all() else neither


def _zeropages_to_markers(data: Dataset, most: int) -> str:
    """Return how much longer a first write to a zeropage takes than one to a marker, by one thread and by the most."""
    ratios = summaries.df_scale_against(data, "write_zeropages", "write_markers")
    ratios = ratios[ratios.ratio.notna()]
    parts = [
        f"{_span(group, 'ratio')} times as long with {'one thread' if threads == 1 else str(threads)}"
        for threads, group in ratios[ratios.threads.isin([1, most])].groupby("threads")
    ]
    return f" Beside one to a marker a first write to a zeropage takes {', and '.join(parts)}." if parts else ""


def scale_reasons(data: Dataset) -> Sentence:
    """Return what was counted while the most threads ran: interrupts, sleeps, CPU time, and waits for spinlocks."""
    rows = _of_most_threads(data)
    if rows.empty:
        return _not_measured(data)
    parts = [
        f"{_range(members.ipis_per_page)} for {group.words}"
        for group in (*_INTERRUPTING, _QUIET)
        if (members := group.of(rows)).ipis_per_page.notna().any()
    ]
    said = [f"TLB shootdown interrupts with {int(rows.threads.iloc[0])} threads: {', '.join(parts)}." if parts else
            "TLB shootdown interrupts were not recorded."]  # fmt: skip
    slept, shares = rows.sleeps_per_page.dropna(), rows.cpu_share.dropna()
    if len(slept):
        said.append(f"Threads went to sleep {_range(slept)} times a page.")
    if len(shares):
        least, most = format_share(min(shares)), format_share(max(shares))
        said.append(f"Of their time {least} to {most} was CPU time.")
    spun = rows.spin_waits_per_page.dropna()
    said.append(f"They waited for spinlocks {_range(spun)} times a page." if len(spun) else
                "How often they waited for spinlocks was not recorded.")  # fmt: skip
    return Sentence(" ".join(said))


def scale_table(data: Dataset) -> Table:
    """Return the time of a page with one thread and with the most, by operation: sharing most tables, and fewest."""
    rows = _of_most_threads(data)
    alone = {tuple(getattr(row, key) for key in _KEYS[:-1]): row for row in _records(summaries.df_scale(data), 1)}
    found = []
    for operation, title in SCALED.items():
        for stride in (_EVERY_PAGE, _ONE_PER_TABLE):
            members = rows[(rows.operation == operation) & (rows.stride_kib == stride)]
            sharings = [name for name in SHARING_LOOKS if name in set(members.sharing)]
            for sharing in dict.fromkeys([*sharings[:1], *sharings[-1:]]):
                (row,) = summaries.records(members[members.sharing == sharing])
                one = alone.get((operation, stride, sharing))
                case = {"operation": f"{title}{_NEW_TABLE if stride == _ONE_PER_TABLE else ''}"}
                case |= {"page tables": SHARING_LOOKS[sharing][0]}
                case |= {"page, 1 thread": "not measured" if one is None else time_with_interval(one, "ns_per_page")}
                case |= {f"page, {row.threads} threads": time_with_interval(row, "ns_per_page")}
                case |= {"times as fast": ratio_with_interval(row, "speedup")}
                found.append(case | {"IPIs a page": _count(row.ipis_per_page), "sleeps": _count(row.sleeps_per_page)})
    return Table(pd.DataFrame(found or [{"operation": "not measured: several threads"}]), index=False)


def scale_repeated(data: Dataset) -> Sentence:
    """Return in how many cases another committed dataset of the same machine shows the same speedup."""
    rows = _of_most_threads(data)
    said = []
    for path in datasets.with_table("scale") if len(rows) else ():
        other = datasets.load(path)
        if other.id == data.id or not datasets.same_machine(other, data):
            continue
        both = rows.merge(summaries.df_scale(other), on=_KEYS, suffixes=("", "_again"))
        known = both[both.speedup_low.notna() & both.speedup_low_again.notna()]
        alike = (known.speedup_low <= known.speedup_high_again) & (known.speedup_low_again <= known.speedup_high)
        said.append(
            f"In {other.id} the intervals of {int(alike.sum())} of {len(known)} speedups meet those of {data.id}."
        )
    return Sentence(" ".join(said) or f"No other committed dataset holds these speedups of the machine of {data.id}.")


def _of_most_threads(data: Dataset) -> pd.DataFrame:
    """Return the rows of the largest number of threads that was set against one thread."""
    rows = summaries.df_scale(data)
    rows = rows[(rows.speedup > 0) & rows.sharing.isin(list(SHARING_LOOKS))]
    return rows[rows.threads == rows.threads.max()] if len(rows) else rows


def _records(rows: pd.DataFrame, threads: int) -> Iterator[Any]:
    return summaries.records(rows[rows.threads == threads])


def _not_measured(data: Dataset) -> Sentence:
    return Sentence(f"Operations of several threads were not measured in {data.id}.")


def _machine(data: Dataset) -> str:
    """Return the CPUs of a dataset in words."""
    cpus, model = data.provenance.get("cores_online"), data.provenance.get("cpu_model")
    known = [f"{cpus} CPUs" if cpus else "", str(model or "")]
    return f"{data.id} ({', '.join(filter(None, known)) or 'a machine not named'})"


def _span(rows: pd.DataFrame, column: str) -> str:
    """Return from where to where medians reach, and in brackets from where to where their intervals do."""
    value, low, high = (rows[f"{column}{end}"] for end in ("", "_low", "_high"))
    least, most = format_ratio(min(value)), format_ratio(max(value))
    said = least if least == most else f"{least} to {most}"
    if low.isna().any() or high.isna().any():
        return f"{said} (too few processes)"
    return f"{said} ({format_ratio(min(low))} to {format_ratio(max(high))})"


def _range(values: pd.Series) -> str:
    known = values.dropna()
    least, most = format_ratio(min(known)), format_ratio(max(known))
    return least if least == most else f"{least} to {most}"


def _count(value: float) -> str:
    return "not recorded" if pd.isna(value) else format_ratio(value)
