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
from uffdlab.claims.verdict import Tested, Verdict, with_interval
from uffdlab.datasets import Dataset
from uffdlab.sim import Costs, Range
from uffdlab.stats import Estimate
from uffdlab.summaries.medians import ratio_of, ratio_over_sizes, warm_of
from uffdlab.units import format_size, in_sizes

FACTOR = 10.0
_READ = ("block", "size_kib", "protect_ns")
_SPAN_BYTES = 64 << 30  # of the prediction
_GIB = 1 << 20  # in KiB
DEARER = 1.25  # protecting with markers / without must lie above this


@dataclass(frozen=True)
class _Level:
    """A comparison of two levels: measured rows and simulated designs of the lower one over those of the higher one."""

    below: tuple[str, str]  # backing, design
    above: tuple[str, str]
    imagined: tuple[str, str]  # designs of the simulator
    title: str
    proxy: str
    sizes_kib: tuple[int, ...]  # at which time grows in proportion to the size, at both levels


_PMD = _Level(
    ("anon", "pte_marker"),
    ("hugetlb_2m_private", "unprotected"),
    ("pte_marker", "pmd_marker"),
    "PTE markers / PMD markers",
    "hugetlb 2 MiB",
    (1 * _GIB, 16 * _GIB, 64 * _GIB),
)
_PMD_BY_ZEROPAGE = _Level(
    ("anon_thp", "pte_marker"),
    ("anon_thp", "populate_read"),
    ("pte_marker", "pmd_marker"),
    "PTE markers / PMD markers",
    "huge zeropages that are protected",
    (1 * _GIB, 4 * _GIB, 10 * _GIB),
)
_PUD = _Level(
    ("hugetlb_2m_private", "unprotected"),
    ("hugetlb_1g_private", "unprotected"),
    ("pmd_marker", "pud_marker"),
    "PMD markers / PUD markers",
    "hugetlb 1 GiB",
    (16 * _GIB, 64 * _GIB),
)


def pmd_marker_wins(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide, from proxy and prediction, whether PMD markers take a tenth of the time and tables of PTE markers."""
    return _decided(evidence, claim, _PMD, _PMD_BY_ZEROPAGE)


def pud_marker_wins(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide the same for PUD markers against PMD markers."""
    return _decided(evidence, claim, _PUD)


def _decided(evidence: Evidence, claim: Claim, *levels: _Level) -> Verdict:
    costs = sim.costs_of(evidence.costs) if evidence.costs else None
    return decided(evidence, costs, claim, *levels)


def decided(evidence: Evidence, costs: Costs | None, claim: Claim, *levels: _Level) -> Verdict:
    """Decide by time and by page tables, of each proxy and of the prediction."""
    data, level = evidence.campaign, levels[0]
    proxies = {one.proxy: _measured(data, one) for one in levels}
    absent = [name for name, measured in proxies.items() if measured is None]
    if absent:
        return claim.undecided(data, f"not measured at one size as the level below: {'; '.join(absent)}")
    if costs is None:
        return claim.undecided(data, *COSTS_ARE_MISSING)
    predicted, counted = _predicted(costs, level)
    times = {name: measured[0] for name, measured in proxies.items() if measured}
    by_proxy = ", ".join(
        f"{with_interval(measured[0])} by {name} ({in_sizes(measured[1])})"
        for name, measured in proxies.items()
        if measured
    )
    because = borrowed(evidence) + (
        f"{level.title}, to protect: {by_proxy}, {with_interval(predicted)} predicted of {format_size(_SPAN_BYTES)}; "
        "page tables: "
        f"{_times(*counted)}, and none saved where each marker has a table deposited"
    )
    more: dict[str, Any] = {
        "evidence": (f"samples: {because}", f"costs: {costs.id}"),
        "effect": min((*times.values(), predicted), key=_lower_end),
        "quantity": f"{level.title}, time to protect, of proxies and prediction the one with the least lower end"
        f"{borrowed(evidence, ', with costs of {}')}",
        "missing": claim.needs,
        "limits": (
            "proxies and a prediction, and no prototype: no kernel marks anonymous memory above the last level. "
            "hugetlb walks its own way, and no table below it is ever needed. The prediction takes what one entry "
            f"costs from hugetlb as well, so that those two agree in part by construction; {costs.words()}"
        ),
    }
    if any(ratio.below(FACTOR) for ratio in (*times.values(), predicted)) or not _at_least(FACTOR, *counted):
        return claim.ruled(data, "predicted not to hold", because, **more)
    if all(ratio.above(FACTOR) for ratio in (*times.values(), predicted)):
        condition = "no page table is deposited with a marker"
        return claim.ruled(data, "predicted to hold", because, condition=condition, **more)
    tested = (Tested(name, ratio, FACTOR) for name, ratio in {**times, "predicted": predicted}.items())
    missing = "costs with narrower intervals, or more rounds of probe protect"
    return claim.undecided(data, because, missing, more["evidence"], tested=tested)


def _measured(data: Dataset, level: _Level) -> tuple[Estimate, list[int]] | None:
    """Return the ratio of times per KiB, and the sizes (KiB) it is over; None without a common one."""
    lower, higher = (
        warm_of(data, "samples", *_READ, backing=backing, design=design, populated=0)
        for backing, design in (level.below, level.above)
    )
    return ratio_over_sizes("samples", lower, higher, "protect_ns", level.sizes_kib)


def _predicted(costs: Costs, level: _Level) -> tuple[Estimate, tuple[float, float]]:
    ledgers = []
    for name in level.imagined:
        memory = Range(sim.DESIGNS[name], _SPAN_BYTES)
        memory.protect()
        ledgers.append(memory.ledger())
    tables = (sim.table_growth_kib(ledgers[0]), sim.table_growth_kib(ledgers[1]))
    return costs.ratio(*ledgers), tables


def _lower_end(ratio: Estimate) -> float:
    return ratio.value if ratio.low is None else ratio.low


def _at_least(factor: float, below_kib: float, above_kib: float) -> bool:
    """Whether the lower level needs ``factor`` times the tables of the higher one, or any where that needs none."""
    return below_kib >= factor * above_kib if above_kib > 0 else below_kib > 0


def _times(below_kib: float, above_kib: float) -> str:
    pair = f"{format_size(below_kib * 1024)} against {format_size(above_kib * 1024)}"
    return f"{pair} ({below_kib / above_kib:,.0f} times)" if above_kib > 0 else f"{pair}, none at all"


# Share written beforehand, and the pages in a row: empty memory, and 5 % of it in runs of 4 MiB.
_SPARSE = {"empty": (0.0, 1), "5% written in runs of 4 MiB": (0.05, 1024)}
SPARSE_KIB = 256 << 10  # without markers, empty memory takes about as long at any size: the ratio grows with it


def _sparse(data: Dataset, share: float, cluster_pages: int, **at: int) -> Estimate | None:
    """Return protect with markers / without of anonymous memory that is written so far; None where not measured."""
    rows = warm_of(data, "samples", *_READ, "design", "populated", backing="anon", cluster_pages=cluster_pages, **at)
    if rows is None:
        return None
    near = (rows.populated - share).abs() < _NEAR
    marked, without = (rows[(near & (rows.design == name)).fillna(False)] for name in ("pte_marker", "unprotected"))
    return ratio_of("samples", marked, without, "protect_ns", "size_kib")


def always_on_dearer(evidence: Evidence, claim: Claim, size_kib: int | None = SPARSE_KIB) -> Verdict:
    """Decide whether protecting sparse anonymous memory takes longer with markers than without.

    Without ``size_kib`` each case counts at its largest size.
    """
    data = evidence.campaign
    ratios: dict[str, Estimate] = {}
    at = {"size_kib": size_kib} if size_kib else {}
    size = in_sizes([size_kib]) if size_kib else "the largest size"
    for name, how in _SPARSE.items():
        ratio = _sparse(data, *how, **at)
        if ratio is None:
            because = f"protecting {size} of memory that is {name} was not measured with markers and without"
            return claim.undecided(data, because)
        ratios[name] = ratio
    because = f"protect with markers / without, {size}: " + "; ".join(
        f"{n} {with_interval(r)}" for n, r in ratios.items()
    )
    least = min(ratios.values(), key=lambda ratio: ratio.value)
    lines = [f"samples: protect with markers / without, {n}: {with_interval(r)}" for n, r in ratios.items()]
    more: dict[str, Any] = {"effect": least, "quantity": "protect with markers / without, least of the cases"}
    if all(ratio.above(DEARER) for ratio in ratios.values()):
        return claim.ruled(data, "holds", because, lines, **more)
    if any(ratio.below(DEARER) for ratio in ratios.values()):
        return claim.ruled(data, "does not hold", because, lines, **more)
    tested = (Tested(name, ratio, DEARER) for name, ratio in ratios.items())
    return claim.undecided(data, because, f"more rounds of {claim.needs}", lines, tested=tested)


_NEAR = 0.01  # a share that was asked for is met to a whole cluster
