# SPDX-License-Identifier: MIT
"""What one campaign decides, in a sentence: how many claims, whether as the reference does, what the rest needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from uffdlab.claims.evidence import Evidence
from uffdlab.claims.register import verdicts
from uffdlab.claims.verdict import Verdict

_OPEN = "not decided"
# What a missing measurement is called in a list; the first that fits. What a verdict says it needs is the source.
_CALLED = (
    (r"more rounds|measured again|narrower intervals", "more samples"),
    (r"--suite channel", "the zeropage as a wire"),
    (r"atomicity", "racing discards"),
    (r"page-by-page", "page-by-page states"),
    (r"use_zero_page", "the huge zeropage switched off"),
    (r"\b(two pinned|2) threads", "two threads"),
    (r"reads after each preparation", "later reads"),
    (r"each backing", "every backing"),
    (r"live guests", "scans of live guests"),
    (r"proxy", "hugetlb as a proxy"),
    (r"prototype", "a prototype kernel"),
    (r"THP on", "huge pages"),
    (r"calibrated prediction", "costs per entry"),
    (r"hugetlb|huge page", "huge pages"),
    (r"snapshot", "a real snapshot"),
)


def sentence(evidence: Evidence, reference: Evidence | None = None) -> str:
    """Return how many claims evidence decides, whether as the committed reference does, and what the others need."""
    here = verdicts(evidence)
    there = verdicts(reference) if reference else []
    decided = sum(one.verdict != _OPEN for one in here)
    parts = [f"{decided} of {len(here)} claims {'is' if decided == 1 else 'are'} decided here"]
    if there and decided:
        parts[0] += f", {_agreement(here, there)}"
    if decided < len(here):
        parts.append(f"{len(here) - decided} need: {_needs(here, there, reference)}")
    return "; ".join(parts)


def called(missing: str) -> str:
    """Return what a missing measurement is called in a list: a few words, or what was said of it."""
    return next((words for pattern, words in _CALLED if re.search(pattern, missing)), missing)


def _agreement(here: Iterable[Verdict], there: Iterable[Verdict]) -> str:
    differing = [
        f"{one.id} ({one.verdict} here, {other.verdict} there)"
        for one, other in zip(here, there, strict=True)
        if one.verdict not in (_OPEN, other.verdict)
    ]
    return f"all as in the reference but {', '.join(differing)}" if differing else "all as in the reference"


def _needs(here: Sequence[Verdict], there: Sequence[Verdict], reference: Evidence | None) -> str:
    """Return what open claims need, by the suite that decided them in a reference."""
    beside = (reference.campaign, reference.channel) if reference else ()
    suites = {one.id: one.provenance.get("suite") for one in beside if one is not None}
    by_suite: dict[str | None, list[str]] = {}
    for number, one in enumerate(here):
        if one.verdict == _OPEN:
            other = there[number] if there else None
            suite = suites.get(other.dataset or "") if other and other.verdict != _OPEN else None
            by_suite.setdefault(suite, []).append(called(one.missing or ""))
    known = [
        f"{', '.join(dict.fromkeys(words))} (--suite {suite} --allow-host-changes)"
        for suite, words in by_suite.items()
        if suite
    ]
    rest = ", ".join(dict.fromkeys(by_suite.get(None, [])))
    return "; ".join([*known, *([f"{rest} (in no suite yet)" if there else rest] if rest else [])])
