# SPDX-License-Identifier: MIT
"""The claims of the mail thread, each with its rule and the function that decides it from data.

A rule is written before its data is looked at: a quantity, a threshold and an interval. An effect counts when its
95 % interval lies wholly beyond the threshold; otherwise the verdict is "not decided", with the measurement that
would decide it. A verdict belongs to a dataset: another machine may get a different one.

DH is David Hildenbrand, PX is Peter Xu, – marks what follows from the thread; a number is that of the argument in the
mail of 16 Feb 2023. Claims are paraphrased.
"""

from __future__ import annotations

from uffdlab.claims.text import markdown_matrix, markdown_table, text_matrix, text_table, wide_matrix

from .claim import Claim
from .evidence import Evidence, evidence_of
from .matrix import Matrix, matrix
from .register import CLAIMS, PLANNED, find, verdict, verdicts
from .verdict import Ruling, Verdict

__all__ = [
    "CLAIMS",
    "PLANNED",
    "Claim",
    "Evidence",
    "Matrix",
    "Ruling",
    "Verdict",
    "evidence_of",
    "find",
    "markdown_matrix",
    "markdown_table",
    "matrix",
    "text_matrix",
    "text_table",
    "verdict",
    "verdicts",
    "wide_matrix",
]
