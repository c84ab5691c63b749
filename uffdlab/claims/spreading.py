# SPDX-License-Identifier: MIT
"""Markers above the last level: what spreading them does to the fault that has to, and to the work in all."""

from __future__ import annotations

from typing import Any

from uffdlab import datasets, sim
from uffdlab.claims.claim import Claim
from uffdlab.claims.rows import said
from uffdlab.claims.verdict import Verdict
from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError
from uffdlab.sim import Range
from uffdlab.sim.engine import PAGE_BYTES

DEARER = 1.25  # a spreading fault over a fault on a PTE marker
_PMDS = 512  # 1 GiB


def _written(design: str, share: float) -> sim.Ledger:
    """Return the ledger of protecting an empty GiB and writing one page in so many of its 2 MiB."""
    memory = Range(sim.DESIGNS[design], _PMDS * 512 * PAGE_BYTES, touches=_PMDS)
    memory.protect()
    for pmd in range(round(share * _PMDS)):
        memory.touch(pmd * 512, write=True)
    return memory.ledger()


def _first_write(design: str) -> sim.Ledger:
    """Return the ledger of the first write to an empty, protected 2 MiB."""
    memory = Range(sim.DESIGNS[design], _PMDS * 512 * PAGE_BYTES, touches=2)
    memory.protect()
    memory.touch(0, write=True)  # so that a PUD marker above is gone
    memory.start_phase()
    memory.touch(512, write=True)
    return memory.ledger()


def break_even(costs: sim.Costs) -> float | None:
    """Return which share of all 2 MiB has to be written before a PMD marker has cost as much as PTE markers.

    0 if it is dearer from the start, None if it never is: work grows in proportion to what is written, so that one
    comparison at the end decides.
    """
    start = [costs.price(_written(name, 0)).value for name in ("pmd_marker", "pte_marker")]
    end = [costs.price(_written(name, 1)).value for name in ("pmd_marker", "pte_marker")]
    saved, lost = start[1] - start[0], (end[0] - start[0]) - (end[1] - start[1])
    if saved <= 0:
        return 0.0 if lost > 0 else None
    return saved / lost if lost >= saved else None


def spread_cost_later(data: Dataset, claim: Claim) -> Verdict:
    """Decide from the committed costs, and not from the campaign that is looked at."""
    try:
        calibrated = datasets.load(datasets.locate(sim.COSTS_PREFIX))
    except UffdlabError as error:
        return claim.undecided(data, str(error))
    return decided(sim.costs_of(calibrated), calibrated, claim)


def decided(costs: sim.Costs, calibrated: Dataset, claim: Claim) -> Verdict:
    """Decide, from a prediction, whether markers above the last level make later faults and all work dearer."""
    tail = costs.ratio(_first_write("pmd_marker"), _first_write("pte_marker"))
    work = costs.ratio(_written("pmd_marker", 1), _written("pte_marker", 1))
    even = break_even(costs)
    because = (
        f"a write that spreads a PMD marker / one to a PTE marker: {said(tail)} predicted; all work with every 2 MiB "
        f"written once: {said(work)}"
    )
    at = f"break-even at {even:.1%} of all 2 MiB written" if even is not None else "the work never breaks even"
    more: dict[str, Any] = {
        "evidence": (f"costs: {because}", f"costs: {at}"),
        "effect": tail,
        "quantity": "a write that spreads / one that need not",
        "limits": (
            "a prediction: no kernel has PMD markers for ordinary memory. A marker that spreads is priced as the table "
            "and the markers that take its place, and the spreading itself as nothing: the break-even can only lie "
            f"lower; a PMD marker is priced as hugetlb's; {costs.words()}"
        ),
    }
    if tail.below(DEARER):
        return claim.ruled(calibrated, "does not hold", because, **more)
    if not tail.above(DEARER):
        return claim.undecided(calibrated, because, "costs with narrower intervals")
    if work.above(1):
        return claim.ruled(calibrated, "holds", because, **more)
    condition = "the tail of later faults is what counts" + (
        f", or more than {even:.0%} of all 2 MiB are written later" if even is not None else ""
    )
    return claim.ruled(calibrated, "holds if", because, condition=condition, **more)
