# SPDX-License-Identifier: MIT
"""Functions for notebooks: load their datasets, and return the tables and sentences between their figures."""

from __future__ import annotations

from .channel import channel_controls, channel_merges, channel_points, channel_published, messages, write_reveals
from .channel_rates import channel_compared, channel_losses, channel_noise, channel_sentence
from .faults import after_discards, least_work, page_sizes, read_faults, repairs, tails, with_tables
from .hugetlb import entry_costs, one_pass, prediction_check, reported_table, states
from .load import (
    load,
    load_calibrated,
    load_channel,
    load_evidence,
    load_mthp,
    load_published,
    load_sequences,
    load_trackers,
)
from .markers import locks, validation
from .show import Sentence, Table
from .thread import (
    cold,
    ledger,
    matrix,
    published_ratios,
    published_table,
    ranking,
    ranking_sentence,
    rerun,
    rerun_sentence,
    versions,
)
from .trackers import (
    cheapest_trackers,
    last_pause,
    predicted_parts,
    sequences_recorded,
    surprising_sequences,
    tracker_break_even,
    tracker_check,
    tracker_sentence,
    tracker_side_effects,
    trackers_by_memory,
    trackers_by_pattern,
)
from .zeropages import attempts, range_contents, without_huge_zeropage

__all__ = [
    "Sentence",
    "Table",
    "after_discards",
    "attempts",
    "channel_compared",
    "channel_controls",
    "channel_losses",
    "channel_merges",
    "channel_noise",
    "channel_points",
    "channel_published",
    "channel_sentence",
    "cheapest_trackers",
    "cold",
    "entry_costs",
    "last_pause",
    "least_work",
    "ledger",
    "load",
    "load_calibrated",
    "load_channel",
    "load_evidence",
    "load_mthp",
    "load_published",
    "load_sequences",
    "load_trackers",
    "locks",
    "matrix",
    "messages",
    "one_pass",
    "page_sizes",
    "predicted_parts",
    "prediction_check",
    "published_ratios",
    "published_table",
    "range_contents",
    "ranking",
    "ranking_sentence",
    "read_faults",
    "repairs",
    "reported_table",
    "rerun",
    "rerun_sentence",
    "sequences_recorded",
    "states",
    "surprising_sequences",
    "tails",
    "tracker_break_even",
    "tracker_check",
    "tracker_sentence",
    "tracker_side_effects",
    "trackers_by_memory",
    "trackers_by_pattern",
    "validation",
    "versions",
    "with_tables",
    "without_huge_zeropage",
    "write_reveals",
]
