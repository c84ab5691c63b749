# SPDX-License-Identifier: MIT
"""Sequences of steps on one page: what this kernel, a recorded one, and the documentation say becomes of it."""

from .answer import Answer, Taken
from .documented import Entry, Expected, expected

__all__ = ["Answer", "Entry", "Expected", "Taken", "expected"]
