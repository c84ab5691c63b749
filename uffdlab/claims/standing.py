# SPDX-License-Identifier: MIT
"""One sentence on a campaign: how many claims it decides, whether as the reference does, and what the others need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from uffdlab.claims.claim import Claim
from uffdlab.claims.evidence import Evidence
from uffdlab.claims.register import find, verdicts
from uffdlab.claims.verdict import Verdict

_UNDECIDED = "not decided"


def sentence(evidence: Evidence, reference: Evidence | None = None) -> str:
    """Return how many claims ``evidence`` decides, whether as ``reference`` does, and what the others need.

    A claim that gets an answer is not counted: no measurement decides it.
    """
    here = [verdict for verdict in verdicts(evidence) if verdict.verdict != "answer"]
    there = {verdict.id: verdict for verdict in verdicts(reference)} if reference else {}
    decided = sum(verdict.verdict != _UNDECIDED for verdict in here)
    parts = [f"{decided} of {len(here)} claims {'is' if decided == 1 else 'are'} decided here"]
    if there and decided:
        parts[0] += f", {_agreement(here, there)}"
    if decided < len(here):
        parts.append(f"{len(here) - decided} need: {_needs(here, there, reference)}")
    return "; ".join(parts)


def short_name(verdict: Verdict, claim: Claim) -> str:
    """Return the short name of what an undecided claim needs."""
    return "more samples" if verdict.short_of == "certainty" else claim.lacks


def _agreement(here: Iterable[Verdict], there: Mapping[str, Verdict]) -> str:
    differing = [
        f"{verdict.id} ({verdict.words} here, {there[verdict.id].words} there)"
        for verdict in here
        if verdict.words != there[verdict.id].words and _UNDECIDED not in (verdict.words, there[verdict.id].words)
    ]
    return f"all as in the reference but {', '.join(differing)}" if differing else "all as in the reference"


def _needs(here: Iterable[Verdict], there: Mapping[str, Verdict], reference: Evidence | None) -> str:
    """Return what undecided claims need, by the suite that decided them in the reference."""
    beside = (reference.campaign, *reference.companions.values()) if reference else ()
    suites = {dataset.id: dataset.provenance.get("suite") for dataset in beside}
    by_suite: dict[str | None, list[str]] = {}
    for verdict in here:
        if verdict.verdict == _UNDECIDED:
            other = there.get(verdict.id)
            suite = suites.get(other.dataset or "") if other and other.verdict != _UNDECIDED else None
            by_suite.setdefault(suite, []).append(short_name(verdict, find(verdict.id)))
    known = [
        f"{', '.join(dict.fromkeys(words))} (--suite {suite} --allow-host-changes)"
        for suite, words in by_suite.items()
        if suite
    ]
    rest = ", ".join(dict.fromkeys(by_suite.get(None, [])))
    return "; ".join([*known, *([f"{rest} (in no suite yet)" if there else rest] if rest else [])])
