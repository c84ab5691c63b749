# SPDX-License-Identifier: MIT
"""Methods of dirty tracking."""

from __future__ import annotations

from uffdlab.vocabulary.designs import DESIGNS
from uffdlab.vocabulary.looks import GREEN, ORANGE, PURPLE, VERMILLION, Look

_NOT_TRACKED = ("not tracked", DESIGNS["unprotected"].look)
# Of probe *trackers*, in this order everywhere.
TRACKERS = {
    "async_scan": ("PAGEMAP_SCAN (WP_ASYNC)", DESIGNS["async"].look),
    "events": ("events, whole range protected again", Look(VERMILLION, "hexagram")),
    "events_each": ("events, each page protected again", Look(ORANGE, "star-triangle-down")),
    "mprotect": ("mprotect and SIGSEGV", Look(PURPLE, "square", "dash")),
    "soft_dirty": ("soft-dirty bits", Look(GREEN, "bowtie", "dot")),
    "nothing": _NOT_TRACKED,
}
# Of probe *tracking*.
METHODS = {name: TRACKERS[name] for name in ("async_scan", "events", "events_each")} | {"untracked": _NOT_TRACKED}
PATTERNS = {
    "uniform": "single pages at random",
    "zipf": "by Zipf's law, few pages often",
    "sequential": "one page after the other",
}
# What a tracker costs, by column of a summary: its name, and in words what it is.
COSTS = {
    "p99_ns": ("p99 of a write", "99th percentile of the writes of an epoch"),
    "pause_ns": ("pause", "while the writer stands: learning which pages were written, and protecting again"),
    "epoch_ns": (
        "work of an epoch",
        "CPU time of all writes beyond that of writes that are not tracked, and the pause",
    ),
}
