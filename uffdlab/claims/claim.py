# SPDX-License-Identifier: MIT
"""A claim and its rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from uffdlab.claims.verdict import Verdict
from uffdlab.datasets import Dataset


@dataclass(frozen=True)
class Claim:
    """One claim: who made it, what it says, the rule that decides it, where it is argued, and how it is decided.

    ``needs`` names the measurement without which it stays undecided.
    """

    id: str
    who: str
    says: str
    rule: str
    notebook: str
    needs: str
    decide: Callable[[Dataset, Claim], Verdict] | None = field(default=None, repr=False)

    def verdict(self, data: Dataset) -> Verdict:
        """Return what the dataset says; "not decided" when it lacks what the rule needs."""
        if self.decide is None:
            return self.undecided(data, "no probe of this version measures it")
        return self.decide(data, self)

    def undecided(self, data: Dataset, because: str, missing: str | None = None) -> Verdict:
        """Return "not decided", naming the missing measurement."""
        return Verdict(self.id, "not decided", self.rule, because, missing=missing or self.needs, dataset=data.id)
