# SPDX-License-Identifier: MIT
"""Spreading PMD markers into PTE markers at a later fault: the cost of that fault, and the break-even of all work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uffdlab import sim
from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import COSTS_ARE_MISSING, Evidence, borrowed
from uffdlab.claims.verdict import Tested, Verdict, with_interval
from uffdlab.datasets import Dataset
from uffdlab.sim import Range
from uffdlab.sim.engine import PAGE_BYTES
from uffdlab.stats import Estimate
from uffdlab.summaries.medians import ratio_of, warm_of

DEARER = 1.25  # a spreading fault over a fault on a PTE marker
_PMDS = 512  # 1 GiB


def _written(design: str) -> sim.Ledger:
    """Return the ledger of protecting an empty GiB and writing one page in each of its 2 MiB ranges."""
    memory = Range(sim.DESIGNS[design], _PMDS * 512 * PAGE_BYTES, touches=_PMDS)
    memory.protect()
    memory.touch_stride(512, write=True)
    return memory.ledger()


# First touch → whether it is a write, and whether the kernel resolves it without an event (WP_ASYNC).
CASES = {
    "a read": (False, False),
    "a write that the kernel resolves": (True, True),
    "a write that a handler receives": (True, False),
}


def _first_touch(design: str, case: str) -> sim.Ledger:
    """Return the ledger of the first touch of an empty, protected 2 MiB."""
    write, asynchronous = CASES[case]
    memory = Range(sim.DESIGNS[design].replace(asynchronous=asynchronous), _PMDS * 512 * PAGE_BYTES, touches=2)
    memory.protect()
    memory.touch(0, write=write)  # so that a PUD marker above is gone
    memory.start_phase()
    memory.touch(512, write=write)
    return memory.ledger()


def break_even(costs: sim.Costs) -> tuple[float, bool] | None:
    """Return the share of all 2 MiB ranges that are written, in expectation, when later writes spread over the GiB make
    PMD markers more expensive than PTE markers, and whether their interval decides it; None if they never are.
    """
    found = sim.break_even(costs, "pmd_marker", "pte_marker", sim.Workload(_PMDS * 512 * PAGE_BYTES))
    return (1 - (1 - 1 / _PMDS) ** found[0], found[1]) if found else None


def spread_cost_later(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide, from a prediction, whether PMD markers make later faults and total work dearer."""
    if evidence.costs is None:
        return claim.undecided(evidence.campaign, *COSTS_ARE_MISSING)
    return decided(evidence, sim.costs_of(evidence.costs), claim)


@dataclass(frozen=True)
class Compared:
    """PMD markers / PTE markers, predicted: the first touch of 2 MiB by case, and all work with each 2 MiB written."""

    tails: dict[str, Estimate]
    work: Estimate


def compared(costs: sim.Costs) -> Compared:
    """Return what spreading costs the touch that has to, and in all."""
    tails = {case: costs.ratio(_first_touch("pmd_marker", case), _first_touch("pte_marker", case)) for case in CASES}
    return Compared(tails, costs.ratio(_written("pmd_marker"), _written("pte_marker")))


def decided(evidence: Evidence, costs: sim.Costs, claim: Claim) -> Verdict:
    """Decide the same from loaded costs: the later write that a handler receives, and all work."""
    calibrated = evidence.costs or evidence.campaign
    found = compared(costs)
    tail, work = found.tails[DECIDING], found.work
    because = borrowed(evidence) + (
        f"{_TAIL}, {DECIDING}: {with_interval(tail)} predicted; all work with every 2 MiB of 1 GiB written once: "
        f"{with_interval(work)}"
    )
    analogue = _split_measured(evidence.campaign)
    if analogue:
        what = "un-protecting 4 KiB of a huge zeropage / of one split before"
        because += f". The measured analogue, {what}: {with_interval(analogue)}"
    even = break_even(costs)
    share, sure = even or (0.0, True)
    at = f"break-even at {share:.1%} of all 2 MiB written{'' if sure else ', though nothing is decided'}"
    lines = [f"costs: {_TAIL}, {case}: {with_interval(r)}" for case, r in found.tails.items()]
    lines.append(f"costs: {at if even else 'the work never breaks even'}")
    less_work = work.below(1) and not tail.below(DEARER)  # then this decides
    all_work = "all work of PMD markers / of PTE markers, every 2 MiB written once"
    quantity = all_work if less_work else f"{_TAIL}, {DECIDING}"
    more: dict[str, Any] = {
        "evidence": lines,
        "effect": work if less_work else tail,
        "quantity": quantity + borrowed(evidence, ", with costs of {}"),
        "missing": claim.needs,
        "limits": (
            "a prediction: no kernel has PMD markers for ordinary memory. A marker that spreads is priced as the table "
            "and the markers that take its place, and the spreading itself as nothing; a PMD marker is priced as "
            f"hugetlb's; {costs.words()}"
        ),
    }  # fmt: skip
    if tail.below(DEARER) or work.below(1):
        return claim.ruled(calibrated, "predicted not to hold", because, **more)
    if tail.above(DEARER) and work.above(1):
        condition = f"more than {share:.1%} of all 2 MiB are written later" if share else None
        return claim.ruled(calibrated, "predicted to hold", because, condition=condition, **more)
    tested = (Tested("first touch", tail, DEARER), Tested("all work", work, 1))
    missing = "costs with narrower intervals, or a prototype of PMD markers"
    return claim.undecided(calibrated, because, missing, lines, tested=tested)


DECIDING = "a write that a handler receives"
_TAIL = "first touch of a PMD marker / of a PTE marker"


def _split_measured(data: Dataset) -> Estimate | None:
    """Return the measured analogue: un-protecting 4 KiB of a huge zeropage / of one that was split before."""
    how = {"state": "huge_zeropage", "piece_kib": 4, "stride_kib": 2048}
    first, second = (
        warm_of(data, "resolves", "block", "size_kib", "calls", "resolve_ns", **how, **{"pass": which})
        for which in ("first", "second")
    )
    return ratio_of("resolves", first, second, "resolve_ns", "calls")
