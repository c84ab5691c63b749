# SPDX-License-Identifier: MIT
"""Verdicts as text: 72 columns to mail, or the table of README."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from uffdlab.claims.register import find
from uffdlab.claims.verdict import Verdict


def text_table(found: Iterable[Verdict]) -> str:
    """Return verdicts as plain text of at most 72 columns, to mail."""
    lines = []
    for one in found:
        lines.append(f"{one.id:<28}{one.verdict}")
        for label, text in (("because", one.because), ("if", one.condition), ("needs", one.missing)):
            if text:
                lines += textwrap.wrap(text, 72, initial_indent=f"  {label}: ", subsequent_indent="    ")
    return "\n".join(lines)


def markdown_table(found: Iterable[Verdict]) -> str:
    """Return the answer so far as a Markdown table: a line for each decided claim, and how many others there are."""
    verdicts_ = list(found)
    decided = [one for one in verdicts_ if one.verdict != "not decided"]
    lines = ["| claim | verdict | key number (95 % interval) |", "|---|---|---|"]
    lines += [
        f"| {find(one.id).says} (`{one.id}`) | **{one.verdict}** | {one.key_number() or '–'} |" for one in decided
    ]
    still_open = len(verdicts_) - len(decided)
    ledger = "[the ledger](notebooks/00_the_thread.ipynb)"
    return "\n".join(
        [
            *lines,
            "",
            f"{still_open} more claims are not decided yet. Why, under which condition, and what would decide the "
            f"others: {ledger}, or `uffdlab claims`.",
        ]
    )
