# SPDX-License-Identifier: MIT
"""PMD markers and PUD markers, by proxy (hugetlb, which has them) and by the simulator's prediction.

No kernel has either design for anonymous memory: what proxy and prediction agree on is predicted, and no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uffdlab import sim
from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import COSTS_ARE_MISSING, Evidence, borrowed
from uffdlab.claims.verdict import Verdict, with_interval
from uffdlab.datasets import Dataset
from uffdlab.sim import Costs, Range
from uffdlab.stats import Estimate
from uffdlab.summaries.medians import at_common_size, ratio_of, warm_of
from uffdlab.units import format_size

FACTOR = 10.0
_READ = ("block", "size_kib", "protect_ns", "table_growth_kib")
_SPAN_BYTES = 256 << 30  # of the prediction


@dataclass(frozen=True)
class _Level:
    """A comparison of two levels: measured rows and simulated designs of the lower one over those of the higher one."""

    below: tuple[str, str]  # backing, design
    above: tuple[str, str]
    imagined: tuple[str, str]  # designs of the simulator
    title: str
    proxy: str


_PMD = _Level(
    ("anon", "pte_marker"),
    ("hugetlb_2m_private", "unprotected"),
    ("pte_marker", "pmd_marker"),
    "PTE markers / PMD markers",
    "hugetlb 2 MiB",
)
_PUD = _Level(
    ("hugetlb_2m_private", "unprotected"),
    ("hugetlb_1g_private", "unprotected"),
    ("pmd_marker", "pud_marker"),
    "PMD markers / PUD markers",
    "hugetlb 1 GiB",
)


def pmd_marker_wins(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide, from proxy and prediction, whether PMD markers take a tenth of the time and tables of PTE markers."""
    return _decided(evidence, claim, _PMD)


def pud_marker_wins(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide the same for PUD markers against PMD markers."""
    return _decided(evidence, claim, _PUD)


def _decided(evidence: Evidence, claim: Claim, level: _Level) -> Verdict:
    return decided(evidence, sim.costs_of(evidence.costs) if evidence.costs else None, claim, level)


def decided(evidence: Evidence, costs: Costs | None, claim: Claim, level: _Level) -> Verdict:
    """Decide by time and by page tables, of both the proxy and the prediction."""
    data = evidence.campaign
    measured = _measured(data, level)
    if measured is None:
        return claim.undecided(data, f"empty anonymous memory and {level.proxy} were not measured at one size")
    if costs is None:
        return claim.undecided(data, *COSTS_ARE_MISSING)
    time, tables, size = measured
    predicted, counted = _predicted(costs, level)
    because = borrowed(evidence) + (
        f"{level.title}, to protect: {with_interval(time)} by proxy ({level.proxy}, {size}), "
        f"{with_interval(predicted)} predicted; page tables: {_times(*tables)} by proxy, {_times(*counted)} counted"
    )
    more: dict[str, Any] = {
        "evidence": (f"samples: {because}", f"costs: {costs.id}"),
        "effect": predicted,
        "quantity": f"{level.title}, time to protect, predicted{borrowed(evidence, ' with costs of {}')}",
        "limits": (
            "a proxy and a prediction, and no prototype: no kernel marks anonymous memory above the last level. "
            "hugetlb walks its own way, and no table below it is ever needed. The prediction takes what one entry "
            f"costs from hugetlb as well, so that the two times agree in part by construction; {costs.words()}"
        ),
    }
    if time.below(FACTOR) or predicted.below(FACTOR):
        return claim.ruled(data, "predicted not to hold", because, **more)
    if not (time.above(FACTOR) and predicted.above(FACTOR)):
        return claim.undecided(data, because, "costs with narrower intervals, or more rounds of probe protect")
    if not (_at_least(FACTOR, *tables) and _at_least(FACTOR, *counted)):
        return claim.ruled(data, "predicted not to hold", because, **more)
    return claim.ruled(data, "predicted to hold", because, missing=claim.needs, **more)


def _measured(data: Dataset, level: _Level) -> tuple[Estimate, tuple[float, float], str] | None:
    """Return the ratio of times, the page tables (KiB) of both, and the size; None without a common size."""
    lower, higher = (
        warm_of(data, "samples", *_READ, backing=backing, design=design, populated=0)
        for backing, design in (level.below, level.above)
    )
    both = at_common_size(lower, higher)
    if both is None:
        return None
    ratio = ratio_of("samples", both[0], both[1], "protect_ns", "size_kib")
    grown = [rows.table_growth_kib.dropna().astype("float64") for rows in both]
    if ratio is None or not all(map(len, grown)):
        return None
    tables = (float(grown[0].median()), float(grown[1].median()))
    return ratio, tables, format_size(float(both[0].size_kib.iloc[0]) * 1024)


def _predicted(costs: Costs, level: _Level) -> tuple[Estimate, tuple[float, float]]:
    ledgers = []
    for name in level.imagined:
        memory = Range(sim.DESIGNS[name], _SPAN_BYTES)
        memory.protect()
        ledgers.append(memory.ledger())
    tables = (sim.table_growth_kib(ledgers[0]), sim.table_growth_kib(ledgers[1]))
    return costs.ratio(*ledgers), tables


def _at_least(factor: float, below_kib: float, above_kib: float) -> bool:
    """Whether the lower level needs ``factor`` times the tables of the higher one, or any where that needs none."""
    return below_kib >= factor * above_kib if above_kib > 0 else below_kib > 0


def _times(below_kib: float, above_kib: float) -> str:
    pair = f"{format_size(below_kib * 1024)} against {format_size(above_kib * 1024)}"
    return f"{pair} ({below_kib / above_kib:,.0f} times)" if above_kib > 0 else f"{pair}, none at all"
