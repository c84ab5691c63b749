# SPDX-License-Identifier: MIT
"""Verdicts as text: plain text of 72 columns, or the Markdown table of README."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from uffdlab.claims.register import find
from uffdlab.claims.verdict import Verdict


def text_table(verdicts: Iterable[Verdict]) -> str:
    """Return verdicts as plain text of at most 72 columns."""
    lines = []
    for verdict in verdicts:
        lines.append(f"{verdict.id:<28}{verdict.verdict}")
        for label, text in (("because", verdict.because), ("if", verdict.condition), ("needs", verdict.missing)):
            if text:
                lines += textwrap.wrap(text, 72, initial_indent=f"  {label}: ", subsequent_indent="    ")
    return "\n".join(lines)


def markdown_table(verdicts: Iterable[Verdict]) -> str:
    """Return the decided claims as a Markdown table, and the number of undecided ones in one line."""
    listed = list(verdicts)
    decided = [verdict for verdict in listed if verdict.verdict != "not decided"]
    lines = ["| claim | who | says | verdict | because |", "|---|---|---|---|---|"]
    for verdict in decided:
        claim = find(verdict.id)
        because = verdict.because + (f"; holds if {verdict.condition}" if verdict.condition else "")
        lines.append(f"| `{verdict.id}` | {claim.who} | {claim.says} | **{verdict.verdict}** | {because} |")
    still_open = len(listed) - len(decided)
    return "\n".join(
        [*lines, "", f"{still_open} more claims are not decided yet: `uffdlab claims` names what each needs."]
    )
