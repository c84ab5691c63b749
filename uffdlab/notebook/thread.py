# SPDX-License-Identifier: MIT
"""Tables of the mail thread: published times and ratios, versions of the patch, and the ledger of claims."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from uffdlab import claims, datasets, summaries
from uffdlab.claims import Verdict
from uffdlab.datasets import Dataset
from uffdlab.notebook.show import Sentence, Table, ratio_with_interval, with_interval
from uffdlab.stats import Estimate
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
    """Return the versions of the patch."""
    columns = ["version", "date", "kernel", "summary"]
    return Table(published.require("versions", columns)[columns].fillna(""), index=False)


def ranking(data: Dataset) -> Table:
    """Return, with THP off and on, how many times longer populating first takes than markers do, with intervals."""
    rows = [
        {"THP": thp, "at": format_size(size_kib * 1024)}
        | {f"{d} / pte_marker": with_interval(ratio) for d, ratio in ratios.items()}
        for thp, size_kib, ratios in _rankings(data)
    ]
    return Table(pd.DataFrame(rows or [{"THP": "not measured"}]), index=False)


def ranking_sentence(data: Dataset) -> Sentence:
    """Return which way of protecting is faster by its interval, with THP off and on."""
    sentences = []
    for thp, _, ratios in _rankings(data):
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


def _rankings(data: Dataset) -> Iterator[tuple[str, float, dict[str, Estimate | None]]]:
    """Yield THP, the largest common size and the ratios to markers of untouched anonymous memory."""
    for backing, thp in (("anon", "off"), ("anon_thp", "on")):
        both = at_common_size(*(
            warm_of(data, "samples", "block", "size_kib", "prepare_ns", "protect_ns", backing=backing, design=design,
                 populated=0) for design in _RANKED
        ))  # fmt: skip
        total = {design: _totals(rows) for design, rows in zip(_RANKED, both, strict=True)} if both else {}
        if both and all(total.values()):
            at = float(both[0].size_kib.iloc[0])
            marked = total["pte_marker"]
            yield thp, at, {design: ratio_or_none(total[design], marked) for design in _RANKED[:2]}


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


def ledger(verdicts: Iterable[Verdict]) -> Table:
    """Return one row per claim: who made it, what it says, the verdict, and where it is argued."""
    rows = []
    for verdict in verdicts:
        claim = claims.find(verdict.id)
        where = claim.notebook.split("_", 1)[0] + (" (planned)" if claim.notebook in claims.PLANNED else "")
        rows.append({"claim": verdict.id, "who": claim.who, "says": claim.says, "verdict": verdict.words, "in": where})
    return Table(pd.DataFrame(rows), index=False)


def matrix(*campaigns: Dataset | None) -> Table:
    """Return the verdicts of these campaigns beside those of every committed one, a row per claim that any decides.

    A campaign that is named twice, or is committed itself, is there once.
    """
    found = {data.id: data for data in reversed(campaigns) if data is not None}
    named = list(reversed(found.values()))
    committed = [datasets.load(path) for path in datasets.campaigns() if path.name not in found]
    compared = claims.matrix(claims.evidence_of_each([*named, *committed]))
    rows = [
        {"claim": row.claim.id} | dict(zip(row.ids, row.cells(), strict=True)) for row in compared.rows if row.decided
    ]
    return Table(pd.DataFrame(rows), index=False)
