# SPDX-License-Identifier: MIT
"""From raw samples to the frames that figures draw: medians with intervals, never a sum over what was not measured.

``df_*`` returns a frame. Intervals are those of ``uffdlab.stats``; a column ``*_low`` or ``*_high`` is missing where
there are too few children for one.
"""

from __future__ import annotations

from .entries import df_entry_costs, df_marker_times, predict_protect_ns
from .occupancy import OCCUPANCY_STATES, df_occupancy
from .points import df_at_size, df_largest, df_protect, df_published, df_warm, growth_with_size
from .records import records
from .states import df_reported, df_states

__all__ = [
    "OCCUPANCY_STATES",
    "df_at_size",
    "df_entry_costs",
    "df_largest",
    "df_marker_times",
    "df_occupancy",
    "df_protect",
    "df_published",
    "df_reported",
    "df_states",
    "df_warm",
    "growth_with_size",
    "predict_protect_ns",
    "records",
]
