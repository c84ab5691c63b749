# SPDX-License-Identifier: MIT
"""One sentence on a campaign: how many claims it decides, whether as the reference does, and what the others need."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from uffdlab.claims.evidence import Evidence
from uffdlab.claims.register import verdicts
from uffdlab.claims.verdict import Verdict

_UNDECIDED = "not decided"
# Short names of missing measurements, by a pattern in what a verdict needs; the first match counts.
_SHORT_NAMES = (
    (r"more rounds|measured again|narrower intervals", "more samples"),
    (r"--suite channel", "the covert channel"),
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
    """Return how many claims ``evidence`` decides, whether as ``reference`` does, and what the others need."""
    here = verdicts(evidence)
    there = verdicts(reference) if reference else []
    decided = sum(verdict.verdict != _UNDECIDED for verdict in here)
    parts = [f"{decided} of {len(here)} claims {'is' if decided == 1 else 'are'} decided here"]
    if there and decided:
        parts[0] += f", {_agreement(here, there)}"
    if decided < len(here):
        parts.append(f"{len(here) - decided} need: {_needs(here, there, reference)}")
    return "; ".join(parts)


def short_name(missing: str) -> str:
    """Return the short name of a missing measurement, or ``missing`` itself where it has none."""
    return next((words for pattern, words in _SHORT_NAMES if re.search(pattern, missing)), missing)


def _agreement(here: Iterable[Verdict], there: Iterable[Verdict]) -> str:
    differing = [
        f"{verdict.id} ({verdict.verdict} here, {other.verdict} there)"
        for verdict, other in zip(here, there, strict=True)
        if verdict.verdict not in (_UNDECIDED, other.verdict)
    ]
    return f"all as in the reference but {', '.join(differing)}" if differing else "all as in the reference"


def _needs(here: Sequence[Verdict], there: Sequence[Verdict], reference: Evidence | None) -> str:
    """Return what undecided claims need, by the suite that decided them in the reference."""
    beside = (reference.campaign, reference.channel) if reference else ()
    suites = {dataset.id: dataset.provenance.get("suite") for dataset in beside if dataset is not None}
    by_suite: dict[str | None, list[str]] = {}
    for number, verdict in enumerate(here):
        if verdict.verdict == _UNDECIDED:
            other = there[number] if there else None
            suite = suites.get(other.dataset or "") if other and other.verdict != _UNDECIDED else None
            by_suite.setdefault(suite, []).append(short_name(verdict.missing or ""))
    known = [
        f"{', '.join(dict.fromkeys(words))} (--suite {suite} --allow-host-changes)"
        for suite, words in by_suite.items()
        if suite
    ]
    rest = ", ".join(dict.fromkeys(by_suite.get(None, [])))
    return "; ".join([*known, *([f"{rest} (in no suite yet)" if there else rest] if rest else [])])
