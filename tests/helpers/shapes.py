# SPDX-License-Identifier: MIT
"""Shapes of touches: their numbers decoded, and what one touch of each counts."""

from __future__ import annotations

from dataclasses import dataclass

from uffdlab.sim import Ledger, SimDesign, events
from uffdlab.sim import ledger as ledgers
from uffdlab.sim.core import core
from uffdlab.sim.engine import KINDS, LEVELS


@dataclass(frozen=True)
class Shape:
    """What a touch found and where, and where it left its page."""

    write: bool
    kind: str
    protected: bool
    owed: bool
    found: str
    left: str

    @classmethod
    def of(cls, code: int) -> Shape:
        """Return the shape with this number."""
        kind = KINDS[code >> 1 & 3]
        return cls(bool(code & 1), kind, bool(code & 8), bool(code & 16), LEVELS[code >> 5 & 3], LEVELS[code >> 7 & 3])


def shape_ledger(design: SimDesign, code: int, other_cpus: int = 0) -> Ledger:
    """Return what one touch of a shape counts."""
    at = core()
    with at.lent(design.packed()) as packed, at.lent(bytes(8 * len(events()))) as address:
        at.call("ul_shape_ledger", packed, other_cpus, code, address)
        return ledgers.unpack(at, address, exact=True)
