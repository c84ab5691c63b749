# SPDX-License-Identifier: MIT
"""Atomicity: writes lost to discards racing with populate-then-protect (two passes) and with one pass."""

from __future__ import annotations

from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import Evidence
from uffdlab.claims.verdict import Verdict
from uffdlab.datasets import Dataset
from uffdlab.summaries.atomicity import LostWrites, lost_writes
from uffdlab.units import format_ratio

BOUND_PER_MILLION = 1.0
_MILLION = 1e6
_TWO_PASSES = {"two_pass_read": "a read loop", "two_pass_populate": "MADV_POPULATE_READ"}
_NOT_DECIDING = ("shmem", "hugetlb_2m_private", "hugetlb_2m_shared")
_NEEDED = ("block", "backing", "preparation", "interleaving", "judged", "lost")


def _occurs(writes: LostWrites) -> bool:
    return writes.children.above(0)


def _bounded(writes: LostWrites) -> bool:
    return writes.lost == 0 and writes.pooled.below(BOUND_PER_MILLION / _MILLION)


def worth_it(evidence: Evidence, claim: Claim) -> Verdict:
    """Decide whether two passes lose writes where one pass loses none."""
    data = evidence.campaign
    one_pass = _lost(data, "anon", "one_pass")
    two_passes = {name: _lost(data, "anon", name) for name in _TWO_PASSES}
    losing = [name for name, lost in two_passes.items() if lost and _occurs(lost)]
    lines = _evidence_lines(data)
    if one_pass and _occurs(one_pass):
        because = f"one pass loses writes too: {_in_words(one_pass)}"
        return claim.ruled(data, "does not hold", because, lines)
    if all(lost and _bounded(lost) for lost in two_passes.values()):
        because = "discards that race with two passes lose no write either: " + _all_in_words(two_passes)
        return claim.ruled(data, "does not hold", because, lines)
    if one_pass is None or not _bounded(one_pass) or not losing:
        return _undecided(data, claim, one_pass, two_passes)
    return _holds(data, claim, one_pass, {name: lost for name, lost in two_passes.items() if lost}, losing, lines)


def _holds(
    data: Dataset,
    claim: Claim,
    one_pass: LostWrites,
    two_passes: dict[str, LostWrites],
    losing: list[str],
    lines: list[str],
) -> Verdict:
    """Return "holds" when both ways of populating lose writes, "holds if" when one of them does."""
    least = min((two_passes[name].children for name in losing), key=lambda rate: rate.value)
    assert least.low is not None
    assert least.high is not None
    ways = " and ".join(_TWO_PASSES[name] for name in losing)
    everywhere = len(losing) == len(_TWO_PASSES)
    return Verdict(
        claim.id,
        "holds" if everywhere else "holds if",
        claim.rule,
        f"with discards racing, populating by {ways} and then protecting loses writes, and one pass none: "
        f"{_in_words(one_pass)}",
        tuple(lines),
        quantity="lost writes per million judged, two passes on anonymous memory, median of children (the lower one)",
        effect=least.value * _MILLION,
        interval=(least.low * _MILLION, least.high * _MILLION),
        condition=None if everywhere else f"the range is populated by {ways}",
        dataset=data.id,
        limits="how many are lost depends on how often pages are discarded; a discard during or after the one ioctl is "
        "not counted, and can lose the write to its page in either way",
    )


def _undecided(
    data: Dataset, claim: Claim, one_pass: LostWrites | None, two_passes: dict[str, LostWrites | None]
) -> Verdict:
    """Return "not decided", naming what is missing of either way."""
    reasons, missing = [], []
    if one_pass is None:
        reasons.append("one pass was not measured")
        missing.append("probe atomicity, one_pass on anonymous memory")
    elif not _bounded(one_pass):
        reasons.append(f"one pass: {_in_words(one_pass)}")
        missing.append(f"{claim.needs} ({one_pass.judged:,} writes were judged after one pass, {one_pass.lost:,} lost)")
    unsettled = [name for name, lost in two_passes.items() if lost is None or not (_occurs(lost) or _bounded(lost))]
    for name in unsettled:
        lost = two_passes[name]
        reasons.append(f"{_TWO_PASSES[name]}: {_in_words(lost) if lost else 'not measured'}")
        missing.append(f"probe atomicity, {name} on anonymous memory, in at least six children")
    if not reasons:
        reasons.append(_all_in_words(two_passes))
    return claim.undecided(data, "; ".join(reasons), "; ".join(missing) or None)


def _lost(data: Dataset, backing: str, preparation: str) -> LostWrites | None:
    """Return the writes lost in the racing trials; None when none was judged."""
    if "races" not in data.tables:
        return None
    races = data.require("races", _NEEDED)
    here = (races.backing == backing) & (races.preparation == preparation) & (races.interleaving == "racing")
    return lost_writes(races[here.fillna(False)])


def _in_words(lost: LostWrites) -> str:
    if not lost.lost:
        return f"0 of {lost.judged:,} (at most {_per_million(lost.pooled.high)} per million)"
    rate = lost.children
    text = f"{lost.lost:,} of {lost.judged:,}, median of {rate.n} children {_per_million(rate.value)} per million"
    between = f"{_per_million(rate.low)} to {_per_million(rate.high)}"
    return f"{text} ({between if rate.known else 'too few children for an interval'})"


def _per_million(rate: float | None) -> str:
    return "?" if rate is None else format_ratio(rate * _MILLION)


def _all_in_words(two_passes: dict[str, LostWrites | None]) -> str:
    return "; ".join(f"{_TWO_PASSES[name]} {_in_words(lost)}" for name, lost in two_passes.items() if lost)


def _evidence_lines(data: Dataset) -> list[str]:
    lines = []
    for backing in ("anon", *_NOT_DECIDING):
        for preparation in (*_TWO_PASSES, "one_pass"):
            lost = _lost(data, backing, preparation)
            if lost:
                lines.append(f"races: {backing}, {preparation}, racing: lost {_in_words(lost)}")
    return lines + _one_discard_between(data)


def _one_discard_between(data: Dataset) -> list[str]:
    """Return the writes lost to one discard between preparing and protecting, by backing and preparation."""
    if "races" not in data.tables:
        return []
    races = data.require("races", _NEEDED)
    rows = races[(races.interleaving == "deterministic").fillna(False)].dropna(subset=["lost"])
    return [
        f"races: {backing}, {preparation}, one discard between: lost {', '.join(sorted(set(map(str, group.lost))))}"
        for (backing, preparation), group in rows.groupby(["backing", "preparation"])
    ]
