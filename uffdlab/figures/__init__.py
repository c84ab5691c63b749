# SPDX-License-Identifier: MIT
"""Plotly figures from data frames: one module per topic, one visual language (``style``).

``plot_*`` returns a figure. Measured is a filled marker with its 95 % interval, predicted a hollow marker with a dashed
band, published a cross, unavailable a sentence. Importing this removes plotly's upload buttons (``offline``).
"""

from __future__ import annotations

from uffdlab.figures.faults import APART, plot_faults, plot_latencies, plot_threads
from uffdlab.figures.message import plot_message
from uffdlab.figures.write_timing import STATES, plot_reveals

from .atomicity import plot_atomicity
from .channel import (
    COUNTED,
    MEMORIES,
    PLACEMENTS,
    SHOWN,
    ZEROPAGES,
    plot_capacity,
    plot_channel_loads,
    plot_designs,
    plot_regimes,
)
from .guest import plot_guest
from .occupancy import plot_occupancy
from .offline import keep_offline
from .predicted import plot_stop_time, plot_touched
from .published import plot_published
from .resolve import plot_resolve
from .scale import SCALE_MEASURES, SCALES, plot_scale
from .sequences import SEQUENCES_BEFORE, plot_sequences, sequence_features
from .skip import plot_skip, shares_written
from .snapshot import SAVERS, plot_snapshot
from .trackers import (
    OBJECTIVES,
    TRACKER_COSTS,
    plot_tracker_costs,
    plot_tracker_latencies,
    plot_trackers,
    tracker_shares,
)
from .tracking import plot_tracking
from .zeropages import MOMENTS, plot_zeropages

keep_offline()

__all__ = [
    "APART",
    "COUNTED",
    "MEMORIES",
    "MOMENTS",
    "OBJECTIVES",
    "PLACEMENTS",
    "SAVERS",
    "SCALES",
    "SCALE_MEASURES",
    "SEQUENCES_BEFORE",
    "SHOWN",
    "STATES",
    "TRACKER_COSTS",
    "ZEROPAGES",
    "plot_atomicity",
    "plot_capacity",
    "plot_channel_loads",
    "plot_designs",
    "plot_faults",
    "plot_guest",
    "plot_latencies",
    "plot_message",
    "plot_occupancy",
    "plot_published",
    "plot_regimes",
    "plot_resolve",
    "plot_reveals",
    "plot_scale",
    "plot_sequences",
    "plot_skip",
    "plot_snapshot",
    "plot_stop_time",
    "plot_threads",
    "plot_touched",
    "plot_tracker_costs",
    "plot_tracker_latencies",
    "plot_trackers",
    "plot_tracking",
    "plot_zeropages",
    "sequence_features",
    "shares_written",
    "tracker_shares",
]
