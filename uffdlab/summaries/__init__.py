# SPDX-License-Identifier: MIT
"""Data frames from raw samples: medians over child processes with intervals, for figures, tables and claims.

``df_*`` returns a frame. Intervals are those of ``uffdlab.stats``; a column ``*_low`` or ``*_high`` is missing where
there are too few children for one.
"""

from __future__ import annotations

from uffdlab.summaries.capacities import df_capacities, df_noise
from uffdlab.summaries.channel import best_point, df_channels, df_samples, df_shuffled
from uffdlab.summaries.ksm import df_merges
from uffdlab.summaries.marker_costs import df_entry_costs, df_marker_times, df_prediction_check, predict_protect_ns
from uffdlab.summaries.protect import (
    df_at_size,
    df_largest,
    df_protect,
    df_published,
    df_restating_check,
    df_warm,
    growth_with_size,
)
from uffdlab.summaries.semantics import df_reported, df_states
from uffdlab.summaries.write_timing import df_reveals

from .atomicity import df_atomicity
from .collapses import df_collapses
from .faults import df_faults, df_latencies, df_tails, per_touch
from .occupancy import OCCUPANCY_STATES, df_occupancy
from .published import df_published_runs
from .records import records
from .resolve import df_resolves
from .scale import df_scale, df_scale_against
from .sequences import df_scanned, df_sequences
from .tracker_costs import df_break_even, df_cheapest, df_tracker_check, tracker_costs
from .tracker_cpu import df_tracker_cpu
from .trackers import df_tracker_latencies, df_trackers
from .tracking import df_tracking
from .work import df_work
from .zeropages import df_zeropages

__all__ = [
    "OCCUPANCY_STATES",
    "best_point",
    "df_at_size",
    "df_atomicity",
    "df_break_even",
    "df_capacities",
    "df_channels",
    "df_cheapest",
    "df_collapses",
    "df_entry_costs",
    "df_faults",
    "df_largest",
    "df_latencies",
    "df_marker_times",
    "df_merges",
    "df_noise",
    "df_occupancy",
    "df_prediction_check",
    "df_protect",
    "df_published",
    "df_published_runs",
    "df_reported",
    "df_resolves",
    "df_restating_check",
    "df_reveals",
    "df_samples",
    "df_scale",
    "df_scale_against",
    "df_scanned",
    "df_sequences",
    "df_shuffled",
    "df_states",
    "df_tails",
    "df_tracker_check",
    "df_tracker_cpu",
    "df_tracker_latencies",
    "df_trackers",
    "df_tracking",
    "df_warm",
    "df_work",
    "df_zeropages",
    "growth_with_size",
    "per_touch",
    "predict_protect_ns",
    "records",
    "tracker_costs",
]
