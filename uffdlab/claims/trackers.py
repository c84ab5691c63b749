# SPDX-License-Identifier: MIT
"""Which tracker for which dirty rate: WP_ASYNC and PAGEMAP_SCAN against mprotect, events and soft-dirty bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import exp, log

from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import Evidence
from uffdlab.claims.verdict import Tested, Verdict, with_interval
from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate, split_confidence
from uffdlab.summaries import medians
from uffdlab.summaries.trackers import TABLE, samples
from uffdlab.units import format_share
from uffdlab.vocabulary.tracking import COSTS, TRACKERS

DEARER, CHEAPER = 1.25, 0.8  # scan / another tracker, above and below
SIZE_KIB = 256 << 10
DIRTY = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
OTHERS = ("mprotect", "events", "events_each")  # and soft_dirty, where the kernel has it
_SCAN, _SOFT_DIRTY = "async_scan", "soft_dirty"
_LIMITS = (
    "one program that stands while its pages are collected, tracker and writer on one CPU, memory that is written "
    "beforehand; the pause is one after which tracking goes on: at the last one events and mprotect know the pages "
    "already, and have none"
)

Case = tuple[str, float, str]  # cost, dirty share, other tracker


def ratios(data: Dataset) -> dict[Case, Estimate]:
    """Return, by cost, dirty share and other tracker, what the scan costs / what the other one does.

    Each child measured both, in turns. The intervals hold together at 95 %. A comparison with what was not measured is
    left out. Raises NotMeasuredError where another tracker costs nothing.
    """
    rows = medians.warm(samples(data))
    at = (rows.backing == "anon") & (rows.size_kib == SIZE_KIB) & (rows.pattern == "uniform")
    rows = rows[at.fillna(False)]
    others = (*OTHERS, *((_SOFT_DIRTY,) if (rows.method == _SOFT_DIRTY).fillna(False).any() else ()))
    level = split_confidence(len(COSTS) * len(DIRTY) * len(others))
    found: dict[Case, Estimate] = {}
    for dirty in DIRTY:
        here = rows[(rows.dirty == dirty).fillna(False)]
        by_method = {method: here[(here.method == method).fillna(False)] for method in (_SCAN, *others)}
        for cost in COSTS:
            for other in others:
                ratio = medians.ratio_of(TABLE, by_method[_SCAN], by_method[other], cost, confidence=level)
                if ratio is not None:
                    found[cost, dirty, other] = ratio
    return found


def break_even(by_share: Mapping[float, Estimate]) -> Estimate | None:
    """Return the dirty share from which on a ratio that falls with it is below 1, between measured shares.

    Linear in the logarithms of both. The interval is between where its lower and where its upper ends cross, an end
    being the least or greatest share where they do not cross. None where the ratio itself does not.
    """
    shares = sorted(by_share)
    value = _crossing([(share, by_share[share].value) for share in shares])
    if value is None:
        return None
    some = by_share[shares[0]]
    lows = [(share, estimate.low) for share in shares if (estimate := by_share[share]).low is not None]
    highs = [(share, estimate.high) for share in shares if (estimate := by_share[share]).high is not None]
    if len(lows) < len(shares):
        return Estimate(value, None, None, some.n, some.confidence)
    low = _crossing([(share, end or 0) for share, end in lows]) or shares[0]
    high = _crossing([(share, end or 0) for share, end in highs]) or shares[-1]
    return Estimate(value, min(low, value), max(high, value), some.n, some.confidence)


def _crossing(points: Sequence[tuple[float, float]]) -> float | None:
    """Return the share from which on the values are below 1; None where they are nowhere, or everywhere."""
    for (share, above), (next_share, below) in pairwise(points):
        rest = [value for at, value in points if at >= next_share]
        if above >= 1 and all(0 < value < 1 for value in rest):
            return exp(log(share) + (log(next_share) - log(share)) * log(above) / (log(above) - log(below)))
    return None


def tracker_choice(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether the scan is the tracker to choose at every dirty share, by each of three costs."""
    data = evidence.holding(TABLE)
    if TABLE not in data.tables:
        return claim.undecided(data, "trackers were not timed side by side")
    found = ratios(data)
    others = tuple(dict.fromkeys(other for _, _, other in found))
    cases = len(COSTS) * len(DIRTY) * max(len(others), len(OTHERS))
    if len(found) < cases:
        return claim.undecided(data, f"timed side by side in {len(found)} of {cases} cases")
    lines = [f"{TABLE}: {_line(found, cost, other)}" for cost in COSTS for other in others]
    dearest = max(found, key=lambda case: found[case].value)
    dearer = {cost: [c for c in found if c[0] == cost and found[c].above(DEARER)] for cost in COSTS}
    wins = {cost: [d for d in DIRTY if all(found[cost, d, o].below(CHEAPER) for o in others)] for cost in COSTS}
    because = f"{'; '.join(_in_words(found, cost, dearer[cost], wins[cost], others) for cost in COSTS)}"
    if all(ratio.below(DEARER) for ratio in found.values()):
        what = f"scan / the other tracker, greatest of the cases ({_named(dearest)})"
        return claim.ruled(data, "holds", because, lines, effect=found[dearest], quantity=what, limits=_LIMITS)
    if all({d for _, d, _ in cases_} == set(DIRTY) for cases_ in dearer.values()):
        what = f"scan / the other tracker, greatest of the cases ({_named(dearest)})"
        return claim.ruled(data, "does not hold", because, lines, effect=found[dearest], quantity=what, limits=_LIMITS)
    turning = [cost for cost in COSTS if dearer[cost] and wins[cost]]
    if turning:
        cost = turning[0]
        other = max(dearer[cost], key=lambda case: found[case].value)[2]
        even = break_even({share: found[cost, share, other] for share in DIRTY})
        what = f"dirty share from which on the scan's {COSTS[cost][0]} is the less, against {TRACKERS[other][0]}"
        condition = f"{COSTS[cost][0]}: from {format_share(min(wins[cost]), 1)} dirty on"
        more = {"depends_on": "dirty rate", "condition": condition, "limits": _LIMITS}
        return claim.ruled(data, "depends", because, lines, effect=even, quantity=what if even else None, **more)
    tested = [
        Tested(_named(case), ratio, DEARER if ratio.value > 1 else CHEAPER)
        for case, ratio in found.items()
        if not (ratio.above(DEARER) or ratio.below(CHEAPER))
    ]
    return claim.undecided(data, because, f"more rounds of {claim.needs}", tested=tested, short_of="certainty")


def _named(case: Case) -> str:
    cost, dirty, other = case
    return f"{COSTS[cost][0]}, {format_share(dirty, 1)} dirty, against {TRACKERS[other][0]}"


def _line(found: Mapping[Case, Estimate], cost: str, other: str) -> str:
    values = ", ".join(f"{format_share(dirty, 1)}: {with_interval(found[cost, dirty, other])}" for dirty in DIRTY)
    return f"{COSTS[cost][0]}, scan / {TRACKERS[other][0]}, by dirty share: {values}"


def _in_words(
    found: Mapping[Case, Estimate], cost: str, dearer: Sequence[Case], wins: Sequence[float], others: Sequence[str]
) -> str:
    """Return where the scan costs most and least by one cost."""
    parts = [f"less than all of {len(others)} others at {_shares(wins)} dirty"] if wins else []
    if dearer:
        names = dict.fromkeys(other for _, _, other in dearer)
        parts += [
            f"more than {TRACKERS[o][0]} at {_shares([d for _, d, other in dearer if other == o])}" for o in names
        ]
    return f"{COSTS[cost][0]} of the scan: {', '.join(parts) or 'neither the least nor more than another'}"


def _shares(shares: Sequence[float]) -> str:
    least, most = min(shares), max(shares)
    return format_share(least, 1) if least == most else f"{format_share(least, 1)} to {format_share(most, 1)}"
