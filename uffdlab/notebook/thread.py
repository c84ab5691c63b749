# SPDX-License-Identifier: MIT
"""Tables of the mail thread: published times and ratios, versions of the patch, and the ledger of claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from uffdlab import claims, datasets, summaries
from uffdlab.claims import Verdict
from uffdlab.claims.verdict import author as author_of
from uffdlab.datasets import Dataset
from uffdlab.notebook.show import Sentence, Table, ratio_with_interval, with_interval
from uffdlab.stats import Estimate, median_interval
from uffdlab.summaries.medians import at_common_size, children, ratio_or_none, warm_of, with_total
from uffdlab.units import format_ns, format_ratio, format_size
from uffdlab.vocabulary.designs import DESIGNS


def published_table(published: Dataset) -> Table:
    """Return the thread's table: one row per source, µs for 10 GiB."""
    table = summaries.df_published(published)
    names = table.author.fillna("unknown") + table.thp.map(lambda thp: "" if thp == "unknown" else f", THP={thp}")
    wide = table.assign(source=names).pivot_table(
        index="source", columns="mode", values="protect_us", aggfunc="first", sort=False
    )
    return Table(wide.rename_axis(columns=None))


def published_ratios(published: Dataset) -> Table:
    """Return how many times longer populating first took than markers, in each published row."""
    return Table(
        pd.DataFrame([{"source": run.source, "THP": run.thp} | run.to_markers() for run in _as_published(published)]),
        index=False,
    )


_POPULATING = ("PRE-READ", "MADVISE")
_MARKERS = "WP-UNPOPULATE"


def rerun(published: Dataset, *campaigns: Dataset | None) -> Table:
    """Return the protocol with THP=always, as published and as run again: ratios to markers, and what one marker took.

    ``campaigns`` stand beside every committed one.
    """
    runs = [run for run in [*_as_published(published), *_run_again(campaigns)] if run.thp == "always"]
    rows = [
        {"source": run.source, "per PTE marker": run.marker(), "PRE-READ per 2 MiB": run.preread()} | run.to_markers()
        for run in runs
    ]
    return Table(pd.DataFrame(rows), index=False)


def rerun_sentence(published: Dataset, *campaigns: Dataset | None) -> Sentence:
    """Return whether the published ranking with THP=always is seen again, and what a marker cost where."""
    told = next((run for run in _as_published(published) if run.thp == "always"), None)
    again = [run for run in _run_again(campaigns) if run.thp == "always" and run.ratio is not None]
    if told is None or told.ratio is None or not again:
        return Sentence("The published protocol was not run again with THP=always.")
    orders: dict[str, list[str]] = {"is": [], "is the other one": [], "is not shown either way": []}
    for run in again:
        assert run.ratio is not None
        order = "is" if run.ratio.above(1) else "is the other one" if run.ratio.below(1) else "is not shown either way"
        orders[order].append(f"{run.source} ({with_interval(run.ratio)})")
    seen = f"It is seen again in {'; '.join(orders.pop('is'))}. " if orders["is"] else "No campaign shows it again. "
    others = "".join(f"The order {order} in {'; '.join(found)}. " for order, found in orders.items() if found)
    return Sentence(
        f"As published, with THP=always PRE-READ takes {format_ratio(told.ratio.value)} times as long as "
        f"WP-UNPOPULATE. {seen}{others}A marker took {told.marker()} there and {_from_to(again, _Run.marker_ns)} in "
        f"these campaigns; to read 2 MiB, which maps a huge zeropage, and to protect it took {told.preread()} there "
        f"and {_from_to(again, _Run.preread_ns)} here."
    )


def _from_to(runs: Iterable[_Run], time_ns: Callable[[_Run], float | None]) -> str:
    known = [ns for ns in map(time_ns, runs) if ns is not None]
    return f"{format_ns(min(known))} to {format_ns(max(known))}" if known else "not measured"


@dataclass(frozen=True)
class _Run:
    """The protocol under one THP setting: times for the whole range, published or medians over processes."""

    source: str
    thp: str
    pages: float
    times: dict[str, Estimate]
    ratios: Mapping[str, Estimate | None]

    @property
    def ratio(self) -> Estimate | None:
        return self.ratios.get("PRE-READ")

    def per_page_ns(self, mode: str) -> float | None:
        return self.times[mode].value / self.pages if mode in self.times else None

    def marker_ns(self) -> float | None:
        return self.per_page_ns(_MARKERS)

    def preread_ns(self) -> float | None:
        ns = self.per_page_ns("PRE-READ")
        return None if ns is None else ns * 512

    def marker(self) -> str:
        return _ns(self.marker_ns())

    def preread(self) -> str:
        return _ns(self.preread_ns())

    def to_markers(self) -> dict[str, str]:
        return {f"{top} / {_MARKERS}": _of_runs(self.ratios[top]) if top in self.ratios else "–" for top in _POPULATING}


def _ns(ns: float | None) -> str:
    return "–" if ns is None else format_ns(ns)


def _of_runs(ratio: Estimate | None) -> str:
    """Return a ratio in words; a published one is of a single run, and has no interval to lack."""
    return format_ratio(ratio.value) if ratio and ratio.n == 1 else with_interval(ratio)


def _as_published(published: Dataset) -> Iterator[_Run]:
    for (author, thp), group in summaries.df_published(published).groupby(["author", "thp"], sort=False):
        ns = dict(zip(group["mode"], group.total_ns.astype(float), strict=True))
        times = {mode: Estimate(value, None, None, 1) for mode, value in ns.items()}
        least = ns.get(_MARKERS, 0.0)
        ratios = {top: Estimate(ns[top] / least, None, None, 1) for top in _POPULATING if top in ns and least > 0}
        yield _Run(str(author), str(thp), float(group.size_kib.iloc[0]) / 4, times, ratios)


def _run_again(campaigns: Iterable[Dataset | None]) -> Iterator[_Run]:
    for data in _with_committed(campaigns):
        if "published_runs" not in data.tables:
            continue
        runs = data.require("published_runs", ("block", "thp", "mode", "size_kib", "total_ns"))
        for thp, group in runs.groupby("thp"):
            by_mode = {str(mode): children(rows, "total_ns") for mode, rows in group.groupby("mode")}
            pages = float(group.size_kib.iloc[0]) / 4
            known = {mode: median_interval(list(ns.values())) for mode, ns in by_mode.items() if ns}
            ratios = {top: ratio_or_none(by_mode.get(top, {}), by_mode.get(_MARKERS, {})) for top in _POPULATING}
            yield _Run(data.id, str(thp), pages, known, ratios)


def versions(published: Dataset) -> Table:
    """Return the versions of the patch."""
    columns = ["version", "date", "kernel", "summary"]
    return Table(published.require("versions", columns)[columns].fillna(""), index=False)


def ranking(data: Dataset) -> Table:
    """Return, with THP off and on, how many times longer populating first takes than markers do, with intervals."""
    rows = [
        {"THP": thp, "at": format_size(size_kib * 1024)}
        | {f"{d} / pte_marker": with_interval(ratio) for d, ratio in ratios.items()}
        for thp, size_kib, ratios in rankings(data)
    ]
    return Table(pd.DataFrame(rows or [{"THP": "not measured"}]), index=False)


def ranking_sentence(data: Dataset) -> Sentence:
    """Return which way of protecting is faster by its interval, with THP off and on."""
    sentences = []
    for thp, _, ratios in rankings(data):
        comparisons = [
            f"{_comparison(ratio)} populating by {DESIGNS[design].short} ({with_interval(ratio)})"
            for design, ratio in ratios.items()
        ]
        sentences.append(f"With THP {thp} markers are {' and '.join(comparisons)}.")
    return Sentence(" ".join(sentences) or "Nothing was measured at one size.")


def _comparison(ratio: Estimate | None) -> str:
    if ratio is None:
        return "not to be compared with"
    if ratio.above(1):
        return "faster than"
    return "slower than" if ratio.below(1) else "neither shown to be faster nor slower than"


def rankings(data: Dataset, divisor: str = "pte_marker") -> Iterator[tuple[str, float, dict[str, Estimate | None]]]:
    """Yield THP, the largest common size and the ratios to a design, by default markers, of untouched anonymous memory.

    Designs are two ways of populating, and markers.
    """
    for backing, thp in (("anon", "off"), ("anon_thp", "on")):
        both = at_common_size(*(
            warm_of(data, "samples", "block", "size_kib", "prepare_ns", "protect_ns", backing=backing, design=design,
                 populated=0) for design in _RANKED
        ))  # fmt: skip
        total = {design: _totals(rows) for design, rows in zip(_RANKED, both, strict=True)} if both else {}
        if both and all(total.values()):
            at = float(both[0].size_kib.iloc[0])
            below = total[divisor]
            yield thp, at, {one: ratio_or_none(total[one], below) for one in _RANKED if one != divisor}


_RANKED = ("preread", "populate_read", "pte_marker")


def _totals(rows: pd.DataFrame) -> dict[int, float]:
    return children(with_total(rows), "total_ns")


def cold(data: Dataset) -> Table:
    """Return the times of cold (first) and warm samples of a process: anonymous memory, largest size."""
    rows = []
    for point in summaries.records(summaries.df_largest(summaries.df_warm(data), "anon")):
        if pd.isna(point.cold_ns):
            continue
        times = {"first sample": format_ns(point.cold_ns), "later samples": format_ns(point.total_ns)}
        ratio = {"first / later, by process": ratio_with_interval(point, "cold_ratio")}
        rows.append({"design": point.design, "at": format_size(point.size_kib * 1024)} | times | ratio)
    return Table(pd.DataFrame(rows), index=False)


_BETWEEN = "between campaigns on the first one's processor"


def ledger(verdicts: Iterable[Verdict]) -> Table:
    """Return one row per claim: who made it, what it says, the verdict, and where it is argued."""
    rows = []
    for verdict in verdicts:
        claim = claims.find(verdict.id)
        where = claim.notebook.split("_", 1)[0] + (" (planned)" if claim.notebook in claims.PLANNED else "")
        who = author_of(claim.who)
        rows.append({"claim": verdict.id, "who": who, "says": claim.says, "verdict": verdict.words, "in": where})
    return Table(pd.DataFrame(rows), index=False)


def _with_committed(campaigns: Iterable[Dataset | None]) -> list[Dataset]:
    """Return these campaigns, each once, and the committed ones that are not among them."""
    named = {data.id: data for data in campaigns if data is not None}
    others = [path for path in datasets.campaigns() if path.name not in named]
    return [*named.values(), *(datasets.load(path, on_use=True) for path in others)]


def matrix(*campaigns: Dataset | None) -> Table:
    """Return the verdicts of these campaigns beside those of every committed one, a row per claim that any decides.

    A campaign that is named twice, or is committed itself, is there once.
    """
    compared = claims.matrix([claims.evidence_of(data) for data in _with_committed(campaigns)])
    rows = [
        {"claim": row.claim.id} | dict(zip(row.ids, row.cells(), strict=True)) | {_BETWEEN: row.between() or "–"}
        for row in compared.rows
        if row.decided
    ]
    return Table(pd.DataFrame(rows), index=False)
