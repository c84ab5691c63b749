# SPDX-License-Identifier: MIT
"""Synthetic event costs: 0 but for the named events."""

from __future__ import annotations

from uffdlab.sim import Costs, events

EVENT = {"traps": 500.0, "faults_marker": 500.0, "events_wp": 5000.0}
SURE = {"tables_pte": 500.0}


def costs(**some: float) -> Costs:
    return Costs("made-up", "ns", dict.fromkeys(events(), 0.0) | some)
