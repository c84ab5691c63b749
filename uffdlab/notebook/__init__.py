# SPDX-License-Identifier: MIT
"""Functions for notebooks: load their datasets, and return the tables and sentences between their figures."""

from __future__ import annotations

from .channel import channel_controls, channel_merges, channel_points, channel_published, messages, write_reveals
from .channel_rates import channel_compared, channel_losses, channel_noise, channel_sentence
from .faults import after_discards, least_work, page_sizes, read_faults, repairs, tails, with_tables
from .hugetlb import entry_costs, one_pass, populate_speeds, prediction_check, reported_table, states
from .load import load, load_calibrated, load_channel, load_channel_beside, load_evidence, load_mthp, load_published
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
    "cold",
    "entry_costs",
    "least_work",
    "ledger",
    "load",
    "load_calibrated",
    "load_channel",
    "load_channel_beside",
    "load_evidence",
    "load_mthp",
    "load_published",
    "locks",
    "matrix",
    "messages",
    "one_pass",
    "page_sizes",
    "populate_speeds",
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
    "states",
    "tails",
    "validation",
    "versions",
    "with_tables",
    "without_huge_zeropage",
    "write_reveals",
]
