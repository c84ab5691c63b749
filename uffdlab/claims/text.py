# SPDX-License-Identifier: MIT
"""Verdicts as text, of one campaign or of several: plain text of 72 columns, a wide table, or Markdown for README."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from uffdlab.claims.matrix import Matrix, Row
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
            ("short by", "; ".join(verdict.tested)),
            ("needs", verdict.missing),
            ("fixed", verdict.rule_fixed),
        ):
            if text:
                lines += textwrap.wrap(text, 72, initial_indent=f"  {label}: ", subsequent_indent="    ")
    return "\n".join(lines)


def markdown_table(verdicts: Iterable[Verdict], campaigns: Matrix | None = None) -> str:
    """Return the answer so far as a Markdown table: a line for each decided claim, and the number of the others.

    With several ``campaigns``, whose first the verdicts are of, a column says how far apart they are.
    """
    listed = list(verdicts)
    decided = [verdict for verdict in listed if verdict.verdict != "not decided"]
    between = {row.claim.id: row.between() for row in campaigns.rows} if campaigns else None
    head = ["claim", "verdict", "key number (95 % interval unless said)"]
    head += ["between campaigns on this processor"] * bool(between) + ["rule"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for verdict in decided:
        cells = [f"{find(verdict.id).says} (`{verdict.id}`)", f"**{verdict.words}**", verdict.key_number() or "–"]
        cells += [between.get(verdict.id) or "–"] if between else []
        lines.append(f"| {' | '.join([*cells, _when_fixed(verdict)])} |")
    undecided = [verdict for verdict in listed if verdict.verdict == "not decided"]
    ledger = "[the ledger](notebooks/00_the_thread.ipynb)"
    still_open = "; ".join(f"`{verdict.id}` ({_when_fixed(verdict)})" for verdict in undecided)
    why = f"Why, under which condition, and what would decide the others: {ledger}, or `uffdlab claims`."
    return "\n".join([*lines, "", *([f"Not decided yet: {still_open}.", ""] if undecided else []), why])


def _when_fixed(verdict: Verdict) -> str:
    """Return when the rule was fixed, and what the one before it says, without the reason of the change."""
    if verdict.rule_fixed is None:
        return "–"
    when, _, rest = verdict.rule_fixed.removeprefix("rule ").partition(", with the reason: ")
    former = rest.rpartition("By the former rule: ")[2]
    return f"{when}; by the former rule: {former}" if former else when


def wide_matrix(matrix: Matrix) -> str:
    """Return campaigns side by side as a plain table, and below it why verdicts differ."""
    head = ["claim", *matrix.ids]
    lines = [head, *([row.claim.id, *row.cells()] for row in matrix.rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    differences = [f"{id_}: {text}" for id_, text in matrix.differences().items()]
    apart = {row.claim.id: row.between() for row in matrix.rows}
    differences += [f"{id_}: {text}, on one processor" for id_, text in apart.items() if text]
    return "\n".join([*table, "", *differences, matrix.summary(), "", *matrix.machines()])


def text_matrix(matrix: Matrix) -> str:
    """Return campaigns claim by claim as plain text of at most 72 columns."""
    lines = [line for row in matrix.rows for line in _stacked(row)]
    for text in ("", matrix.summary(), *matrix.machines()):
        lines += textwrap.wrap(text, 72, subsequent_indent="  ") or [""]
    return "\n".join(lines)


def _stacked(row: Row) -> Iterable[str]:
    yield from textwrap.wrap(f"{row.claim.id}: {' / '.join(row.quantities)}".rstrip(": "), 72, subsequent_indent="    ")
    for id_, cell in zip(row.ids, row.cells(), strict=True):
        yield from textwrap.wrap(f"  {id_:<27} {cell}", 72, subsequent_indent="    ")
    for label, text in (("between campaigns on one processor", row.between()), ("differ", row.difference())):
        yield from textwrap.wrap(text or "", 72, initial_indent=f"  {label}: ", subsequent_indent="    ")


def markdown_matrix(matrix: Matrix) -> str:
    """Return campaigns side by side as a Markdown table: claims that any of them decides, and why verdicts differ."""
    lines = [f"| claim | {' | '.join(matrix.ids)} |", "|---" * (1 + len(matrix.ids)) + "|"]
    for row in matrix.rows:
        if row.decided:
            cells = [_emphasised(*pair) for pair in zip(row.cells(), row.of_campaigns, strict=True)]
            lines.append(f"| `{row.claim.id}` | {' | '.join(cells)} |")
    differences = [f"- `{id_}`: {text}" for id_, text in matrix.differences().items()]
    machines = [f"- {line}" for line in matrix.machines()]
    return "\n".join([*lines, "", matrix.summary(), *(["", *differences] if differences else []), "", *machines])


def _emphasised(cell: str, verdict: Verdict) -> str:
    """Return a cell with its verdict in bold, unless that stands in another column."""
    rest = cell.removeprefix(verdict.words)
    return cell if rest == cell else f"**{verdict.words}**{rest}"
