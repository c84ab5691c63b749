# SPDX-License-Identifier: MIT
"""Page-table simulator for designs that no kernel has, such as PMD markers: exact event counts, costs with intervals.

:func:`run` counts the events of a :class:`Workload` under a :class:`SimDesign` page by page; :func:`expect` computes
their expected values in closed form; :class:`Costs` turn counts into time.
"""

from __future__ import annotations

from .costs import Costs, costs_of, df_checks, df_counts, df_ratios, load_costs
from .decision import break_even, df_decision
from .designs import DESIGNS, SimDesign, named
from .engine import Entry, Memory, Range
from .ledger import Ledger, events, faults, filled_kib, price, table_growth_kib
from .replay import OBJECTIVES, Replayed, ranked, recommendation, replay, replayable, replays
from .snapshot import Snapshot, run_snapshot
from .sweeps import df_stop_time, df_touched
from .workloads import Result, Workload, expect, run, sweep

__all__ = [
    "DESIGNS",
    "OBJECTIVES",
    "Costs",
    "Entry",
    "Ledger",
    "Memory",
    "Range",
    "Replayed",
    "Result",
    "SimDesign",
    "Snapshot",
    "Workload",
    "break_even",
    "costs_of",
    "df_checks",
    "df_counts",
    "df_decision",
    "df_ratios",
    "df_stop_time",
    "df_touched",
    "events",
    "expect",
    "faults",
    "filled_kib",
    "load_costs",
    "named",
    "price",
    "ranked",
    "recommendation",
    "replay",
    "replayable",
    "replays",
    "run",
    "run_snapshot",
    "sweep",
    "table_growth_kib",
]
