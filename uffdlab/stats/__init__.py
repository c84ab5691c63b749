# SPDX-License-Identifier: MIT
"""Statistics without a distribution assumed.

``intervals``  medians, ratios and proportions with exact intervals
``threshold``  the latency threshold that separates two histograms with the fewest errors
"""

from __future__ import annotations

from .intervals import (
    CONFIDENCE,
    Estimate,
    added,
    adjoining,
    child_medians,
    each,
    median_interval,
    proportion_interval,
    ratio_interval,
    ratio_of_children,
)
from .threshold import Threshold, best_threshold

__all__ = [
    "CONFIDENCE",
    "Estimate",
    "Threshold",
    "added",
    "adjoining",
    "best_threshold",
    "child_medians",
    "each",
    "median_interval",
    "proportion_interval",
    "ratio_interval",
    "ratio_of_children",
]
