# SPDX-License-Identifier: MIT
"""Methods of dirty tracking."""

from __future__ import annotations

from uffdlab.vocabulary.designs import DESIGNS
from uffdlab.vocabulary.looks import ORANGE, VERMILLION, Look

METHODS = {
    "async_scan": ("PAGEMAP_SCAN (WP_ASYNC)", DESIGNS["async"].look),
    "events": ("events, whole range protected again", Look(VERMILLION, "hexagram")),
    "events_each": ("events, each page protected again", Look(ORANGE, "star-triangle-down")),
    "untracked": ("not tracked", DESIGNS["unprotected"].look),
}
