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
# How a write ends that may be one to a protected page: in words, a word for a cell, and whether a tracker misses it.
OUTCOMES = {
    "reported": ("it raises a write-protect event", "reported", False),
    "seen by a scan": ("it raises no event, and PAGEMAP_SCAN shows the page as written from then on", "scan", False),
    "shown before": ("it raises no event, and PAGEMAP_SCAN showed the page as written before", "scan, early", False),
    "missing event": ("it raises a missing event, and no write-protect event", "missing", False),
    "refused": ("a step before it is refused", "refused", None),
    "no return": ("a step before it does not return", "hangs", None),
    "signal": ("it raises a signal", "signal", None),
    "unprotected": ("it raises no event, and the protection had been taken off", "as asked", None),
    "moved away": (
        "it raises no event; the new place is not registered, and a scan that protects again skips it",
        "moved away",
        True,
    ),
    "lost": ("it raises no event", "lost", True),
}
