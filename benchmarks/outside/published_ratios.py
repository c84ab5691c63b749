# SPDX-License-Identifier: MIT
"""The thread's benchmark repeated: its two ratios per THP state, beside the published ones.

The protocol is uffd-wp-perf.c's (xzpeter/clibs): one process, the modes DEFAULT, PRE-READ, MADVISE, WP-UNPOPULATE in
this order, nothing unmapped in between. The dataset's table ``published_runs`` holds one time per block (process) and
mode. A ratio is taken within a block, and the median over blocks is given with its interval; the published ones are of
single samples and have none.

Usage: python benchmarks/outside/published_ratios.py [DATASET]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

import pandas as pd

from uffdlab import datasets, summaries
from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError
from uffdlab.stats import Estimate, median_interval
from uffdlab.units import format_ratio, format_size

TOP = ("PRE-READ", "MADVISE")
BOTTOM = "WP-UNPOPULATE"
COLUMNS = ("block", "thp", "mode", "order", "size_kib", "total_ns")
# MADV_HUGEPAGE is never asked for, so that ``madvise`` and ``never`` mean the same for this memory.
SAME_FOR_THIS_MEMORY = {"always": ("always",), "madvise": ("madvise", "off"), "never": ("madvise", "off")}


@dataclass(frozen=True)
class Ratio:
    """One ratio of one THP state: measured, and as published by each source that names such a state."""

    thp: str
    size_kib: int
    top: str
    measured: Estimate
    published: dict[str, float]


def measured(data: Dataset) -> dict[tuple[str, int, str], Estimate]:
    """Return the ratios to WP-UNPOPULATE by THP state, size in KiB and mode; a block that lacks a mode is left out."""
    runs = data.require("published_runs", COLUMNS)
    twice = runs[runs.duplicated(["block", "mode"])]
    if len(twice):
        block, mode = twice.iloc[0][["block", "mode"]]
        raise UffdlabError(f"block {block} of dataset {data.id!r} has mode {mode} more than once: one time each is due")
    found = {}
    for (thp, size_kib), group in runs.groupby(["thp", "size_kib"]):
        wide = group.pivot(index="block", columns="mode", values="total_ns").astype("float64")
        for top in TOP:
            if {top, BOTTOM} <= set(wide.columns):
                quotients = (wide[top] / wide[BOTTOM]).dropna()
                if len(quotients):
                    found[str(thp), int(size_kib), top] = median_interval(list(quotients))
    if not found:
        raise UffdlabError(f"no block of dataset {data.id!r} has both {BOTTOM} and one of {', '.join(TOP)}")
    return found


def published(table: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """Return the published ratios by source, THP state as it names it, and mode."""
    wide = table.pivot(index=["source", "thp"], columns="mode", values="total_ns").astype("float64")
    return {(source, thp, top): row[top] / row[BOTTOM] for (source, thp), row in wide.iterrows() for top in TOP}


def ratios(data: Dataset, thread: Dataset) -> list[Ratio]:
    """Return what was measured beside what was published."""
    told = published(summaries.df_published(thread))
    return [
        Ratio(thp, size, top, estimate, _alike(told, SAME_FOR_THIS_MEMORY.get(thp, ()), top))
        for (thp, size, top), estimate in measured(data).items()
    ]


def unrecorded(thread: Dataset) -> dict[tuple[str, str], float]:
    """Return the published ratios whose THP state nobody wrote down, by source and mode."""
    told = published(summaries.df_published(thread))
    return {(source, top): value for (source, thp, top), value in told.items() if thp == "unknown"}


def table(found: list[Ratio], unknown: dict[tuple[str, str], float]) -> str:
    """Return the comparison as text."""
    lines = [f"{'THP':<8} {'size':>8}  {'ratio':<24} {'measured':>9} {'95 % interval':>17} {'n':>3}  published"]
    for one in sorted(found, key=lambda r: (r.thp, r.size_kib, TOP.index(r.top))):
        told = ", ".join(f"{format_ratio(value)} ({source})" for source, value in one.published.items()) or "-"
        size, interval = format_size(one.size_kib * 1024), _interval(one.measured)
        name = f"{one.top} / {BOTTOM}"
        value = format_ratio(one.measured.value)
        lines.append(f"{one.thp:<8} {size:>8}  {name:<24} {value:>9} {interval:>17} {one.measured.n:>3}  {told}")
    for (source, top), value in unknown.items():
        name = f"{top} / {BOTTOM}"
        lines.append(
            f"{'unknown':<8} {'':>8}  {name:<24} {'-':>9} {'-':>17} {'-':>3}  {format_ratio(value)} ({source})"
        )
    return "\n".join(lines)


def _alike(told: dict[tuple[str, str, str], float], states: tuple[str, ...], top: str) -> dict[str, float]:
    return {source: value for (source, thp, mode), value in told.items() if mode == top and thp in states}


def _interval(one: Estimate) -> str:
    if one.low is None or one.high is None:
        return "too few blocks"
    return f"{format_ratio(one.low)} .. {format_ratio(one.high)}"


def main(arguments: list[str] | None = None) -> int:
    """Print the table of one dataset."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dataset", nargs="?", help="id or directory; by default the newest committed reference")
    asked: Any = parser.parse_args(arguments)
    try:
        data = datasets.load(datasets.locate(asked.dataset))
        thread = datasets.load(datasets.locate("published"))
        print(table(ratios(data, thread), unrecorded(thread)))
        print(data.origin())
    except UffdlabError as error:
        print(f"published_ratios: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
