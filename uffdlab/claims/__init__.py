# SPDX-License-Identifier: MIT
"""The thread's claims, the rule that decides each, and the function from data to verdict.

A rule is written before its data is looked at: a quantity, a threshold and an interval. An effect counts when its
95 % interval lies wholly beyond the threshold; otherwise the verdict is "not decided", with the measurement that
would decide it. A verdict belongs to a dataset: another machine may get another one.

DH is David Hildenbrand, PX is Peter Xu, – means that it follows from the thread; the number is that of the argument in
the mail of 16 Feb 2023. Claims are paraphrased.
"""

from __future__ import annotations

from uffdlab.claims.text import markdown_table, text_table

from .claim import Claim
from .evidence import Evidence, evidence_of
from .register import CLAIMS, find, verdict, verdicts
from .verdict import Ruling, Verdict

__all__ = [
    "CLAIMS",
    "Claim",
    "Evidence",
    "Ruling",
    "Verdict",
    "evidence_of",
    "find",
    "markdown_table",
    "text_table",
    "verdict",
    "verdicts",
]
