# SPDX-License-Identifier: MIT
"""Statistics without a distribution assumed.

``intervals``    medians, ratios and proportions with exact intervals
``undecided``    how far an interval is from deciding
``threshold``    the latency threshold that separates two histograms with the fewest errors
``information``  mutual information of two bits, with the bias of few samples taken off
"""

from __future__ import annotations

from .intervals import (
    CONFIDENCE,
    Estimate,
    child_medians,
    column_ratio,
    column_sum,
    median_interval,
    paired_neighbours,
    proportion_interval,
    ratio_interval,
    ratio_of_children,
    split_confidence,
)
from .threshold import Threshold, best_threshold
from .undecided import decided_at, deciding_values

__all__ = [
    "CONFIDENCE",
    "Estimate",
    "Threshold",
    "best_threshold",
    "child_medians",
    "column_ratio",
    "column_sum",
    "decided_at",
    "deciding_values",
    "median_interval",
    "paired_neighbours",
    "proportion_interval",
    "ratio_interval",
    "ratio_of_children",
    "split_confidence",
]
