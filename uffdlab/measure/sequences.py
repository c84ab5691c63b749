# SPDX-License-Identifier: MIT
"""Which sequences the suite *sequences* records: each step between protecting and writing, on each kind of memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from uffdlab.probes.sequence import SequenceSpec, parse
from uffdlab.vocabulary.backings import BACKINGS, SEQUENCE_BACKINGS
from uffdlab.vocabulary.steps import STEPS

# WP_HUGETLBFS_SHMEM alone changes nothing that is not in the table of states.
_FEATURES = ("none", "wp_unpopulated", "wp_async", "missing_wp", "wp_events")
_KERNEL = ("kernel_wp", "kernel_missing_wp")
_BEFORE = ("protect", "write; protect")  # of empty memory, and of memory that is written
_AFTER = ("write", "read; write")
_BETWEEN = ("", *(name for name in STEPS if name not in ("write", "read", "protect")))
# What takes more than one step: reclaim of what was given up, swap, a guard that goes again, protecting anew.
_LONGER = (
    *("free; reclaim", "cold; reclaim", "swapout; swapin", "guard; unguard", "discard; protect", "fork; discard"),
    *("ksm_merge; ksm_unmerge", "ksm_merge; protect"),
)
_OF_THE_KERNEL = ("", "swapin", "lock", "pin")  # where the kernel itself touches the page


def recorded() -> Iterator[SequenceSpec]:
    """Yield the sequences: those that the memory can take."""
    for backing in BACKINGS:
        for features in _FEATURES:
            yield from _possible(backing, features, (*_BETWEEN, *_LONGER))
    for backing in ("anon", "shmem", "hugetlb_2m_private", "hugetlb_2m_shared"):
        for features in _KERNEL:
            yield from _possible(backing, features, _OF_THE_KERNEL)
    # A memfd does as shmem does, and a registered range has no huge pages of 64 KiB: short sequences show that.
    for backing, of_it in (("memfd", _FEATURES), ("anon_mthp", ("none", "wp_unpopulated"))):
        for features in of_it:
            yield from (spec for spec in _possible(backing, features, _BETWEEN) if len(spec.names) <= 3)
    for features in _FEATURES:
        if features != "wp_async":  # which alone registers memory of a regular file
            yield SequenceSpec("file_private", features, "protect; write")
    yield from _possible("file_private", "wp_async", (*_BETWEEN, *_LONGER))


def _possible(backing: str, features: str, between: Iterable[str]) -> Iterator[SequenceSpec]:
    for middle in between:
        for before in _BEFORE:
            for after in _AFTER:
                text = "; ".join(part for part in (before, middle, after) if part)
                if not any(STEPS[name].why_not(SEQUENCE_BACKINGS[backing]) for name in parse(text)):
                    yield SequenceSpec(backing, features, text)
