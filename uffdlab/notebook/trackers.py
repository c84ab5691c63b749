# SPDX-License-Identifier: MIT
"""Tables and sentences of trackers side by side, and of sequences of steps that end otherwise than one expects."""

from __future__ import annotations

from typing import Any

import pandas as pd

from uffdlab import datasets, summaries
from uffdlab.datasets import Dataset
from uffdlab.notebook.show import Sentence, Table, ratio_with_interval, size_of_kib, time_with_interval
from uffdlab.summaries.tracker_costs import MODELLED
from uffdlab.units import format_ns, format_share, format_size
from uffdlab.vocabulary.backings import BACKINGS, MIB
from uffdlab.vocabulary.feature_sets import SEQUENCE_SETS
from uffdlab.vocabulary.steps import ENTRY_WORDS
from uffdlab.vocabulary.tracking import COSTS, OUTCOMES, PATTERNS, TRACKERS

_SHARES = (0.001, 0.01, 0.1)
_SIZE_BYTES = 256 * MIB


def tracker_sentence(data: Dataset) -> Sentence:
    """Return which method costs least at three shares written, and from where on the scan does."""
    if summaries.df_trackers(data).empty:
        return Sentence(f"Trackers were not measured side by side in {data.id}.")
    parts = []
    for column in MODELLED:
        rows = summaries.df_cheapest(data, column, _SIZE_BYTES / 1024, _SHARES)
        least = [
            f"with {TRACKERS[str(method)][0]} at {', '.join(map(_share, group.share))}"
            for method, group in rows.groupby("method", sort=False)
        ]
        if least:
            parts.append(f"The {COSTS[column][0]} is predicted to be least {', and '.join(least)} written.")
    evens = summaries.df_break_even(data, "pause_ns")
    parts += [
        f"By the model the pause of the scan is shorter than that of {TRACKERS[row.method][0]}: {_where(row)}."
        for row in summaries.records(evens[evens.method == "events_each"])
    ]
    absent = [name for method, (name, _) in TRACKERS.items() if method not in set(summaries.df_trackers(data).method)]
    parts += [f"Not measured, since this kernel does not have them: {', '.join(absent)}."] if absent else []
    return Sentence(" ".join(parts) or f"Too few points were measured in {data.id} to predict any other.")


def cheapest_trackers(data: Dataset, size_bytes: float = _SIZE_BYTES) -> Table:
    """Return, by cost and share written, the method that costs least of a range, and how much dearer the next is."""
    rows = []
    for column in MODELLED:
        for row in summaries.records(summaries.df_cheapest(data, column, size_bytes / 1024, _SHARES)):
            sure = not pd.isna(row.ratio_low) and row.ratio_low > 1
            case = {"cost": COSTS[column][0], "written": _share(row.share), "least": TRACKERS[row.method][0]}
            case |= {"costs": time_with_interval(row, "cost"), "next": TRACKERS[row.next][0]}
            rows.append(case | {"next / least": ratio_with_interval(row, "ratio"), "sure": "yes" if sure else "no"})
    return _table(rows, "cost")


def tracker_break_even(data: Dataset) -> Table:
    """Return, by cost and other method, the share written from which on, or up to which, the scan costs less."""
    rows = [
        {
            "cost": COSTS[column][0],
            "the scan against": TRACKERS[row.method][0],
            "costs less": _where(row),
        }
        for column in MODELLED
        for row in summaries.records(summaries.df_break_even(data, column))
    ]
    return _table(rows, "cost")


def tracker_break_even_by_dataset() -> Table:
    """Return, by recorded dataset, from which share written on the scan pauses for less time than events page by page.

    By the model, of whatever anonymous ranges each dataset holds.
    """
    rows = []
    for path in datasets.with_table("trackers"):
        data = datasets.load(path)
        evens = summaries.df_break_even(data, "pause_ns")
        where = [_where(row) for row in summaries.records(evens[evens.method == "events_each"])]
        case = {"dataset": data.id, "processor": data.provenance["cpu_model"] or "not known"}
        rows.append(case | {"the scan pauses for less": where[0] if where else "not measured"})
    return _table(rows, "dataset")


def _where(row: Any) -> str:
    """Return in words at which shares the scan costs less."""
    ends = [row.share, row.share_low, row.share_high]
    if row.share >= 1 or row.share <= 0:
        always = (row.cheaper == "up to") == (row.share >= 1)
        sure = all((end >= 1) == (row.share >= 1) and (end <= 0) == (row.share <= 0) for end in ends)
        return (
            f"{'at every share' if always else 'at no share'}{'' if sure else ', but for some of the processes drawn'}"
        )
    low, high = ("none" if end <= 0 else "all" if end >= 1 else _share(end) for end in ends[1:])
    return f"{row.cheaper} {_share(row.share)} written ({low} to {high})"


def tracker_check(data: Dataset) -> Table:
    """Return how far each measured point is from its prediction by all others, by cost and method."""
    rows = []
    for column in MODELLED:
        checks = summaries.df_tracker_check(data, column)
        for method, group in checks.groupby("method", sort=False):
            worst = group.iloc[int(group.error.abs().argmax())]
            where = f"{size_of_kib(worst.size_kib)}, {_share(worst.dirty)} written"
            rows.append({
                "cost": COSTS[column][0], "method": TRACKERS[str(method)][0], "points": len(group),
                "off by, median": format_share(float(group.error.abs().median())),
                "most": f"{worst.error:+.0%} ({where})",
            })  # fmt: skip
    return _table(rows, "cost")


def predicted_parts(data: Dataset) -> Table:
    """Return what each method costs by page of the range and by written page."""
    rows = [
        {
            "cost": COSTS[column][0],
            "method": TRACKERS[method][0],
            "for each page of the range": format_ns(cost.per_page),
            "for each written page": format_ns(cost.per_written),
        }
        for column in MODELLED
        for method, cost in summaries.tracker_costs(data, column).items()
    ]
    return _table(rows, "cost")


def last_pause(data: Dataset) -> Table:
    """Return what a write and the end of tracking cost: a scan stops the writer then, events and mprotect need not."""
    rows = _at(summaries.df_trackers(data))
    found = []
    for row in summaries.records(rows[rows.method != "nothing"]):
        case = {"written": _share(row.dirty), "method": TRACKERS[row.method][0], "median write": _time(row, "p50_ns")}
        case |= {"p99 of a write": _time(row, "p99_ns"), "p99.9": _time(row, "p999_ns")}
        case |= {"at the end: to learn the pages": "known already" if row.collect_ns == 0 else _time(row, "collect_ns")}
        found.append(case | {"to go on: and protect again": _time(row, "pause_ns")})
    return _table(found, "written")


def tracker_cpu(data: Dataset) -> Table:
    """Return, at three shares written, who works for a tracker: the writer, the handler's thread, calls in between."""
    rows = _at(summaries.df_tracker_cpu(data))
    found = []
    for row in summaries.records(rows):
        case = {"written": _share(row.dirty), "method": TRACKERS[row.method][0], "the writer": _time(row, "writer_ns")}
        case |= {"the thread that takes events": "–" if row.handler_ns == 0 else _time(row, "handler_ns")}
        case |= {"arming, collecting, protecting again": _time(row, "calls_ns")}
        found.append(case | {"not the writer": format_share(row.apart_share)})
    return Table(pd.DataFrame(found or [{"written": "not measured: CPU time of the tracker"}]), index=False)


def trackers_by_memory(data: Dataset, dirty: float = 0.3) -> Table:
    """Return the costs of every method on every kind of memory, at the share that is measured of all of them."""
    rows = summaries.df_trackers(data)
    rows = rows[(rows.pattern == "uniform") & (rows.dirty == dirty)]
    sizes = {backing: 256 << 10 if (group.size_kib == 256 << 10).any() else group.size_kib.max()
             for backing, group in rows.groupby("backing")}  # fmt: skip
    rows = rows[rows.size_kib == rows.backing.map(sizes)]
    found = []
    for backing in BACKINGS:
        for row in summaries.records(rows[rows.backing == backing]):
            case = {"memory": f"{BACKINGS[backing].short}, {size_of_kib(row.size_kib)}"}
            found.append(case | {"method": TRACKERS[row.method][0]} | _costs(row))
    return _table(found, "memory")


def trackers_by_pattern(data: Dataset) -> Table:
    """Return the costs of every method by pattern of writing and by size of the range, anonymous pages."""
    rows = summaries.df_trackers(data)
    rows = rows[(rows.backing == "anon") & (rows.dirty == 0.03)]
    uniform = rows.pattern == "uniform"
    rows = rows[uniform | (rows.size_kib == 256 << 10)]
    found = []
    for pattern, words in PATTERNS.items():
        for row in summaries.records(rows[(rows.pattern == pattern) & (rows.method != "nothing")]):
            case = {"writes": f"{words}, {size_of_kib(row.size_kib)}", "pages": f"{row.dirty_pages:,.0f}"}
            found.append(case | {"method": TRACKERS[row.method][0]} | _costs(row))
    return _table(found, "writes")


def _costs(row: Any) -> dict[str, str]:
    return {COSTS[column][0]: "–" if pd.isna(getattr(row, column)) else _time(row, column) for column in COSTS}


def tracker_side_effects(data: Dataset) -> Table:
    """Return what methods do besides: pages reported and not written, mappings and page tables."""
    rows = summaries.df_trackers(data)
    rows = rows[rows.method != "nothing"]
    found = []
    for (backing, method), group in rows.groupby(["backing", "method"]):
        spurious, growth, tables = group.spurious_share, group.mapping_growth, group.table_growth_kib
        gave_up = group[group.gave_up]
        case = {
            "memory": BACKINGS[str(backing)].short,
            "method": TRACKERS[str(method)][0],
            "reported and not written, per written page": _range(spurious, lambda one: f"{one:.2g}"),
            "written and not reported": f"{int(group.missed_pages.sum()):,}",
            "mappings more": _range(growth, lambda one: f"{one:,.0f}"),
            "out of mappings": "no" if gave_up.empty else _exhausted(gave_up),
            "page tables more": _range(tables, size_of_kib),
        }
        found.append((list(BACKINGS).index(str(backing)), list(TRACKERS).index(str(method)), case))
    return _table([case for _, _, case in sorted(found, key=lambda one: one[:2])], "memory")


def _exhausted(gave_up: pd.DataFrame) -> str:
    """Return the least share written at which mappings ran out, and the size it was at."""
    first = gave_up.sort_values(["size_kib", "dirty"]).iloc[0]
    return f"at {format_size(first.size_kib * 1024)}, {_share(float(first.dirty))} written"


def _range(values: pd.Series, said: Any) -> str:
    known = values.dropna()
    if known.empty:
        return "not measured"
    least, most = said(float(known.min())), said(float(known.max()))
    return least if least == most else f"{least} to {most}"


def _at(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the anonymous range whose writes are at random, at three shares."""
    at = (rows.backing == "anon") & (rows.pattern == "uniform") & (rows.size_kib == _SIZE_BYTES // 1024)
    return rows[at & rows.dirty.isin(_SHARES)]


def _time(row: Any, column: str) -> str:
    return time_with_interval(row, column)


def _share(share: float) -> str:
    return f"{share * 100:.3g}%"


def _table(rows: list[dict[str, Any]], first: str) -> Table:
    return Table(pd.DataFrame(rows or [{first: "not measured: trackers side by side"}]), index=False)


# --- sequences ------------------------------------------------------------------------------------------------------

_CHANGE_THE_HOST = {"swapout", "ksm_merge", "khugepaged"}  # a swap file, ksmd, and khugepaged
# What surprises, and where: backing, set of features, steps.
_SURPRISES = (
    ("given up lazily, then reclaimed", "anon", "wp_unpopulated", "write; protect; free; reclaim; write"),
    ("discarded, anonymous", "anon", "wp_unpopulated", "write; protect; discard; write"),
    ("discarded, shmem", "shmem", "wp_unpopulated", "write; protect; discard; write"),
    ("discarded, anonymous, WP_ASYNC", "anon", "wp_async", "write; protect; discard; write"),
    ("moved to another address", "anon", "wp_unpopulated", "write; protect; remap; write"),
    ("moved, with EVENT_REMAP", "anon", "wp_events", "write; protect; remap; write"),
    ("forked", "anon", "wp_unpopulated", "write; protect; fork; write"),
    ("forked, with EVENT_FORK", "anon", "wp_events", "write; protect; fork; write"),
    ("a guard on shmem", "shmem", "wp_unpopulated", "write; protect; guard; write"),
    ("swapped out", "anon", "wp_async", "write; protect; swapout; write"),
    ("merged by KSM", "anon", "wp_unpopulated", "write; protect; ksm_merge; write"),
    ("MADV_COLLAPSE, small pages, protected", "anon_thp", "wp_unpopulated", "write; protect; write; collapse; write"),
    ("a hole, MISSING|WP with WP_ASYNC", "anon", "missing_wp_async", "protect; write"),
)
# What a scan shows at the end, where PAGEMAP_SCAN is the tracker: what happened, backing, set of features, steps.
_SCANNED = (
    ("written", "anon", "wp_async", "write; protect; write"),
    ("written, then swapped out", "anon", "wp_async", "protect; write; swapout"),
    ("the same, and read in again", "anon", "wp_async", "protect; write; swapout; swapin"),
    ("swapped out, not written", "anon", "wp_async", "write; protect; swapout"),
    ("written, then swapped out, memfd", "memfd", "wp_async", "protect; write; swapout"),
    ("one small page written, khugepaged came by", "anon_thp", "wp_async", "write; protect; write; khugepaged"),
    ("the same, all un-protected before", "anon_thp", "wp_async", "write; protect; write; unprotect; khugepaged"),
    ("a hole that the handler filled for a write", "memfd", "missing_wp_async", "protect; write"),
    ("the same for a read", "memfd", "missing_wp_async", "protect; read"),
)


def surprising_sequences(data: Dataset) -> Table:
    """Return sequences whose outcome surprises, as a kernel took them, each with the command that asks this one."""
    known = {(row.backing, row.features, row.sequence): row for row in summaries.records(summaries.df_sequences(data))}
    rows = []
    for what, backing, features, steps in _SURPRISES if known else ():
        row = known.get((backing, features, steps))
        outcome = "not recorded" if row is None else _ended(row)
        command = _command(backing, features, steps)
        rows.append({"what happens": what, "the write": outcome, "ask this kernel": command})
    return Table(pd.DataFrame(rows or [{"what happens": "not recorded: sequences of steps"}]), index=False)


def scanned_sequences(data: Dataset) -> Table:
    """Return what PAGEMAP_SCAN shows after sequences with WP_ASYNC, each with the command that asks this kernel."""
    known = {(row.backing, row.features, row.sequence): row for row in summaries.records(summaries.df_scanned(data))}
    rows = []
    for what, backing, features, steps in _SCANNED if known else ():
        row = known.get((backing, features, steps))
        holds = "not recorded" if row is None else ENTRY_WORDS[row.entry]
        shown = "not recorded" if row is None else row.categories.replace("+", ", ")
        case = {"what happened": what, "the entry holds": holds, "PAGEMAP_SCAN shows": shown}
        rows.append(case | {"ask this kernel": _command(backing, features, steps)})
    return Table(pd.DataFrame(rows or [{"what happened": "not recorded: categories of PAGEMAP_SCAN"}]), index=False)


def _command(backing: str, features: str, steps: str) -> str:
    """Return the command that asks this kernel."""
    options = " --allow-host-changes" if _CHANGE_THE_HOST & set(steps.split("; ")) else ""
    named = (("backing", backing, "anon"), ("features", features, "none"))
    options += "".join(f" --{name} {value}" for name, value, default in named if value != default)
    return f'uffdlab ask{options} "{steps}"'


def _ended(row: Any) -> str:
    words = OUTCOMES[row.outcome][0]
    if row.outcome == "refused":
        words = f"{row.step} is refused with {row.errno}; the protection stays"
    if row.outcome == "no return":
        words = f"{row.step} does not return"
    child = row.child_protected
    if child is None or pd.isna(child):
        return words
    return f"{words}; the child's page is {'protected' if child else 'not protected'}"


def sequences_recorded(data: Dataset) -> Sentence:
    """Return how many sequences were recorded, of which a write is lost in how many, by set of features."""
    rows = summaries.df_sequences(data)
    if rows.empty:
        return Sentence(f"Sequences of steps were not recorded in {data.id}.")
    lost = rows[[OUTCOMES[outcome][2] is True for outcome in rows.outcome]].groupby("features").size()
    counts = rows.groupby("features").size()
    parts = [f"{int(lost.get(name, 0))} of {int(counts[name])} with {one.reads_as}"
             for name, one in SEQUENCE_SETS.items() if name in counts.index]  # fmt: skip
    return Sentence(f"Of {len(rows):,} sequences recorded in {data.id} the last write is lost in {'; '.join(parts)}.")
