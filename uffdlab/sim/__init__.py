# SPDX-License-Identifier: MIT
"""Page tables for kernels that do not exist: what a design would count, exactly; what it would cost, with an interval.

A :class:`Design` is a record; :func:`run` counts what it makes of a :class:`Workload`; :func:`expect` says the same on
average, at once; a vector of costs turns counts into time.
"""

from __future__ import annotations

from .costs import PREFIX as COSTS_PREFIX
from .costs import Costs, costs_of, df_checks, df_counts, df_ratios, load_costs
from .decision import df_decision
from .designs import DESIGNS, Design, named
from .engine import Entry, Memory, Range
from .ledger import Ledger, events, faults, filled_kib, price, table_growth_kib
from .replay import OBJECTIVES, Replayed, ranked, recommendation, replay, replayable, replays
from .snapshot import Snapshot, run_snapshot
from .sweeps import df_stop_time, df_touched
from .workloads import Result, Workload, expect, run, sweep

__all__ = [
    "COSTS_PREFIX",
    "DESIGNS",
    "OBJECTIVES",
    "Costs",
    "Design",
    "Entry",
    "Ledger",
    "Memory",
    "Range",
    "Replayed",
    "Result",
    "Snapshot",
    "Workload",
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
