# SPDX-License-Identifier: MIT
"""Populating in user space: does it leave the page states that the patch would, and at which cost?"""

from __future__ import annotations

from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import Evidence
from uffdlab.claims.verdict import Verdict, with_interval
from uffdlab.datasets import Dataset
from uffdlab.stats import Estimate
from uffdlab.summaries.medians import ratio_of, warm_of

WAYS = ("read loop", "MADV_POPULATE_READ")
ONE_IS_SLOWER = 1.25
THP_OFF = "THP is off for the memory"


def _equal(data: Dataset, backing: str) -> dict[str, bool] | None:
    """Return, per way of populating, whether every page is in the state of a marker after its first read."""
    rows = warm_of(data, "equality", "way", "state", "pages", "equal_pages", backing=backing)
    if rows is None or not set(WAYS) <= set(rows.way.dropna()):
        return None
    same = rows.pages == rows.equal_pages
    if same.isna().any():
        return None  # unknown for some pages
    return {way: bool(same[rows.way == way].all()) for way in WAYS}


def _evidence_lines(data: Dataset) -> tuple[str, ...]:
    equal = {backing: _equal(data, backing) for backing in ("anon", "anon_thp", "shmem")}
    return tuple(
        f"equality: {backing}, {way}: every page {'as' if same else 'not as'} after markers that were read"
        for backing, ways in equal.items()
        for way, same in (ways or {}).items()
    )


def _states(data: Dataset, backing: str) -> str:
    """Return the states of pages after populating."""
    rows = warm_of(data, "equality", "way", "state", backing=backing)
    assert rows is not None
    return " or ".join(sorted(set(rows[rows.way.isin(WAYS)].state.fillna("unknown"))))


def _costs(data: Dataset) -> Estimate | None:
    """Return read loop / MADV_POPULATE_READ, untouched anonymous memory, THP off, at the largest common size."""
    loop, call = (
        warm_of(data, "samples", "block", "size_kib", "prepare_ns", backing="anon", design=design, populated=0)
        for design in ("preread", "populate_read")
    )
    return ratio_of("samples", loop, call, "prepare_ns", "size_kib")


def userspace_has_choice(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether both ways of populating leave every page as the patch would."""
    data = evidence.campaign
    small, huge = _equal(data, "anon"), _equal(data, "anon_thp")
    if small is None or huge is None:
        return claim.undecided(data, "states after populating were not compared page by page, with THP off and on")
    ratio = _costs(data)
    if ratio is None:
        return claim.undecided(data, "the two ways of populating were not timed at one size")
    cost = f"; the read loop takes {with_interval(ratio)} times as long as MADV_POPULATE_READ"
    if not all(small.values()):
        because = f"with THP off not every page ends in that state{cost}"
        return claim.ruled(data, "does not hold", because, _evidence_lines(data))
    if all(huge.values()):
        because = f"every page ends in that state, with THP off and on{cost}"
        return claim.ruled(data, "holds", because, _evidence_lines(data))
    because = f"with THP off every page ends in that state; with THP on pages are {_states(data, 'anon_thp')}{cost}"
    limits = "markers that were read stand for the patch, which no kernel has: both are a protected zeropage per PTE"
    return claim.ruled(data, "holds if", because, _evidence_lines(data), condition=THP_OFF, limits=limits)


def patch_equals_populate(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether populate + protect does what the patch does, and MADV_POPULATE_READ beats the read loop."""
    data = evidence.campaign
    same, ratio = _equal(data, "anon"), _costs(data)
    if same is None or ratio is None:
        return claim.undecided(data, "states were not compared, or the two ways of populating not timed")
    because = f"read loop / MADV_POPULATE_READ: {with_interval(ratio)}, THP off"
    quantity = "read loop / MADV_POPULATE_READ, THP off"
    if not all(same.values()) or ratio.below(ONE_IS_SLOWER):
        why = because if all(same.values()) else "not every page ends in the same state"
        return claim.ruled(data, "does not hold", why, _evidence_lines(data), effect=ratio, quantity=quantity)
    if not ratio.above(ONE_IS_SLOWER):
        return claim.undecided(data, because, f"more rounds of {claim.needs}")
    return claim.ruled(
        data,
        "holds if",
        f"every page ends in the same state; {because}",
        _evidence_lines(data),
        quantity=quantity,
        effect=ratio,
        condition=f"{THP_OFF}, and a real snapshot's set-up consists of populating as the probe's does",
        limits="a real snapshot's set-up, the third part of the rule, is not measured yet",
    )
