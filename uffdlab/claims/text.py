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
        lines.append(f"{verdict.id:<28}{verdict.words}")
        for label, text in (
            ("because", verdict.because),
            ("if", verdict.condition),
            ("needs", verdict.missing),
            ("fixed", verdict.rule_fixed),
        ):
            if text:
                lines += textwrap.wrap(text, 72, initial_indent=f"  {label}: ", subsequent_indent="    ")
    return "\n".join(lines)


def markdown_table(verdicts: Iterable[Verdict]) -> str:
    """Return the answer so far as a Markdown table: a line for each decided claim, and the number of the others."""
    listed = list(verdicts)
    decided = [verdict for verdict in listed if verdict.verdict != "not decided"]
    lines = ["| claim | verdict | key number (95 % interval) |", "|---|---|---|"]
    for verdict in decided:
        says = find(verdict.id).says
        lines.append(f"| {says} (`{verdict.id}`) | **{verdict.words}** | {verdict.key_number() or '–'} |")
    still_open = len(listed) - len(decided)
    ledger = "[the ledger](notebooks/00_the_thread.ipynb)"
    return "\n".join(
        [
            *lines,
            "",
            f"{still_open} more claims are not decided yet. Why, under which condition, and what would decide the "
            f"others: {ledger}, or `uffdlab claims`.",
        ]
    )
