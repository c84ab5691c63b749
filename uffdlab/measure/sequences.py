# SPDX-License-Identifier: MIT
"""Which sequences the suite *sequences* records: each step between protecting and writing, on each kind of memory."""

from __future__ import annotations

from collections.abc import Iterator

from uffdlab.probes.sequence import SequenceSpec, parse
from uffdlab.vocabulary.backings import SEQUENCE_BACKINGS
from uffdlab.vocabulary.steps import STEPS

# WP_HUGETLBFS_SHMEM alone changes nothing that is not in the table of states.
_FEATURES = ("none", "wp_unpopulated", "wp_async", "missing_wp", "wp_events")
_BEFORE = ("protect", "write; protect")  # of empty memory, and of memory that is written
_AFTER = ("write", "read; write")
_BETWEEN = ("", *(name for name in STEPS if name not in ("write", "read", "protect")))
# What takes more than one step: reclaim of what was given up, swap, a guard that goes again, protecting anew.
_LONGER = ("free; reclaim", "cold; reclaim", "swapout; swapin", "guard; unguard", "discard; protect", "fork; discard")


def recorded() -> Iterator[SequenceSpec]:
    """Yield the sequences: those that the memory can take."""
    for backing in SEQUENCE_BACKINGS:
        for features in _FEATURES:
            for between in (*_BETWEEN, *_LONGER):
                for before in _BEFORE:
                    for after in _AFTER:
                        text = "; ".join(part for part in (before, between, after) if part)
                        if not any(STEPS[name].why_not(SEQUENCE_BACKINGS[backing]) for name in parse(text)):
                            yield SequenceSpec(backing, features, text)
