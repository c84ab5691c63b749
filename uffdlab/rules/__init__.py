# SPDX-License-Identifier: MIT
"""The register of rules: what each claim's rule was, since when, and whether a dataset was measured before or after it.

``register.json`` only grows. A test recomputes the SHA-256 of each claim's deciding source and constants, and fails on
a change that is not registered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

REGISTER = Path(__file__).with_name("register.json")

FIXED_BEFORE = "rule fixed before the data"

# "wording" changes source or text, or what a kind of verdict is called, and decides nothing anew; "rule" may.
Change = Literal["rule", "wording"]


@dataclass(frozen=True)
class Registration:
    """One entry of the register: a claim's rule as it was registered.

    ``number`` counts from 0 over all claims. ``commit`` is the commit that brought the rule, or the one it was
    registered on top of; ``date`` is its time (UTC). ``sha256`` is None where the rule had no code yet.
    """

    number: int
    claim: str
    change: Change
    date: str
    commit: str
    text: str
    constants: dict[str, Any]
    sha256: str | None
    reason: str

    @property
    def day(self) -> str:
        """The day of registration (UTC)."""
        return self.date[:10]


@cache
def _register() -> dict[str, Any]:
    return dict(json.loads(REGISTER.read_text("utf-8")))


@cache
def registrations(claim: str) -> tuple[Registration, ...]:
    """Return the entries of a claim, oldest first; none for a claim that is not registered."""
    entries = enumerate(_register()["entries"])
    return tuple(Registration(number, **entry) for number, entry in entries if entry["claim"] == claim)


def count() -> int:
    """Return the number of entries: what a campaign records when it starts (``rules_registered``)."""
    return len(_register()["entries"])


def known_to(provenance: Mapping[str, Any]) -> int | None:
    """Return how many entries there were when a dataset of that provenance was measured; None where not known."""
    recorded = provenance.get("rules_registered")
    if recorded is not None:
        return int(recorded)
    measured: str | None = _register()["campaigns"].get(provenance.get("uffdlab_commit"))
    if measured is None:
        return None
    return sum(str(entry["date"]) <= measured for entry in _register()["entries"])


@dataclass(frozen=True)
class Precedence:
    """Whether the rule in force was fixed before a dataset was measured.

    ``former`` is the rule that was in force then; None where it is the present one, or where there was none.
    """

    before: bool
    present: Registration
    former: Registration | None = None

    def words(self) -> str:
        """Return the fact as a sentence without its full stop."""
        if self.before:
            return f"{FIXED_BEFORE}, on {self.present.day}"
        if self.former is None:
            return f"rule registered after the data, on {self.present.day}"
        return f"rule changed after the data, on {self.present.day}"


def precedence(claim: str, provenance: Mapping[str, Any]) -> Precedence | None:
    """Return whether a claim's rule was fixed before a dataset; None where that is not known."""
    known, entries = known_to(provenance), [entry for entry in registrations(claim) if entry.change == "rule"]
    if known is None or not entries:
        return None
    then = [entry for entry in entries if entry.number < known]
    if then and then[-1] == entries[-1]:
        return Precedence(True, entries[-1])
    return Precedence(False, entries[-1], then[-1] if then else None)
