# SPDX-License-Identifier: MIT
"""Spreading PMD markers into PTE markers at a later fault: the cost of that fault, and the break-even of all work."""

from __future__ import annotations

from typing import Any

from uffdlab import sim
from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import COSTS_ARE_MISSING, Evidence, borrowed
from uffdlab.claims.verdict import Verdict, with_interval
from uffdlab.sim import Range
from uffdlab.sim.engine import PAGE_BYTES

DEARER = 1.25  # a spreading fault over a fault on a PTE marker
_PMDS = 512  # 1 GiB


def _written(design: str, share: float) -> sim.Ledger:
    """Return the ledger of protecting an empty GiB and writing one page in a share of its 2 MiB ranges."""
    memory = Range(sim.DESIGNS[design], _PMDS * 512 * PAGE_BYTES, touches=_PMDS)
    memory.protect()
    for pmd in range(round(share * _PMDS)):
        memory.touch(pmd * 512, write=True)
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


def break_even(costs: sim.Costs) -> float | None:
    """Return the share of all 2 MiB ranges whose writing makes PMD markers as expensive as PTE markers.

    0 if they are dearer from the start, None if they never are: work is linear in what is written, so one comparison at
    the end decides.
    """
    start = [costs.price(_written(name, 0)).value for name in ("pmd_marker", "pte_marker")]
    end = [costs.price(_written(name, 1)).value for name in ("pmd_marker", "pte_marker")]
    saved, lost = start[1] - start[0], (end[0] - start[0]) - (end[1] - start[1])
    if saved <= 0:
        return 0.0 if lost > 0 else None
    return saved / lost if lost >= saved else None


def spread_cost_later(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide, from a prediction, whether PMD markers make later faults and total work dearer."""
    if evidence.costs is None:
        return claim.undecided(evidence.campaign, *COSTS_ARE_MISSING)
    return decided(evidence, sim.costs_of(evidence.costs), claim)


def decided(evidence: Evidence, costs: sim.Costs, claim: Claim) -> Verdict:
    """Decide the same from loaded costs."""
    calibrated = evidence.costs or evidence.campaign
    tails = {case: costs.ratio(_first_touch("pmd_marker", case), _first_touch("pte_marker", case)) for case in CASES}
    work = costs.ratio(_written("pmd_marker", 1), _written("pte_marker", 1))
    even = break_even(costs)
    because = borrowed(evidence) + (
        "a touch that spreads a PMD marker / one to a PTE marker, predicted: "
        f"{'; '.join(f'{case} {with_interval(ratio)}' for case, ratio in tails.items())}; all work with every 2 MiB "
        f"written once: {with_interval(work)}"
    )
    at = f"break-even at {even:.1%} of all 2 MiB written" if even is not None else "the work never breaks even"
    dearer = [case for case, ratio in tails.items() if ratio.above(DEARER)]
    least = min((tails[case] for case in dearer or tails), key=lambda ratio: ratio.value)
    more: dict[str, Any] = {
        "evidence": (f"costs: {because}", f"costs: {at}"),
        "effect": least,
        "quantity": "a touch that spreads / one that need not, the least of those that are dearer"
        f"{borrowed(evidence, ', with costs of {}')}",
        "limits": (
            "a prediction: no kernel has PMD markers for ordinary memory. A marker that spreads is priced as the table "
            "and the markers that take its place, and the spreading itself as nothing: the break-even can only lie "
            "lower; a PMD marker is priced as hugetlb's. The three cases were separated after the campaign was "
            f"measured: an earlier rule tested the last of them alone; {costs.words()}"
        ),
    }
    if all(ratio.below(DEARER) for ratio in tails.values()):
        return claim.ruled(calibrated, "does not hold", because, **more)
    if not dearer:
        return claim.undecided(calibrated, because, "costs with narrower intervals")
    if len(dearer) == len(tails) and work.above(1):
        return claim.ruled(calibrated, "holds", because, **more)
    which = "" if len(dearer) == len(tails) else f"the touch is {' or '.join(dearer)}, and "
    condition = f"{which}the tail of later faults is what counts" + (
        f", or more than {even:.0%} of all 2 MiB are written later" if even is not None else ""
    )
    return claim.ruled(calibrated, "holds if", because, condition=condition, **more)
