# SPDX-License-Identifier: MIT
"""Tables between the figures of a notebook, beyond those of its first two: one function each, a dataset in."""

from __future__ import annotations

from .channel import (
    channel_controls,
    channel_merges,
    channel_points,
    channel_published,
    messages,
    write_reveals,
)
from .memory import (
    accounts,
    after_discards,
    attempts,
    least_work,
    locks,
    page_sizes,
    prediction_check,
    read_faults,
    tails,
    validation,
    with_tables,
    without_huge_zeropage,
)

__all__ = [
    "accounts",
    "after_discards",
    "attempts",
    "channel_controls",
    "channel_merges",
    "channel_points",
    "channel_published",
    "least_work",
    "locks",
    "messages",
    "page_sizes",
    "prediction_check",
    "read_faults",
    "tails",
    "validation",
    "with_tables",
    "without_huge_zeropage",
    "write_reveals",
]
