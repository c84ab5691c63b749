# SPDX-License-Identifier: MIT
"""Which sequences the suite *sequences* records: each step between protecting and writing, on each kind of memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from uffdlab.probes.sequence import SequenceSpec, parse
from uffdlab.vocabulary.backings import BACKINGS, SEQUENCE_BACKINGS
from uffdlab.vocabulary.steps import STEPS

# WP_HUGETLBFS_SHMEM alone changes nothing that is not in the table of states.
_ASYNC = ("wp_async", "missing_wp_async")
_FEATURES = ("none", "wp_unpopulated", "missing_wp", "missing_wp_unpopulated", "wp_events", *_ASYNC)
_KERNEL = ("kernel_wp", "kernel_missing_wp")
_BEFORE = ("protect", "write; protect")  # of empty memory, and of memory that is written
_AFTER = ("write", "read; write")
_BETWEEN = ("", *(name for name in STEPS if name not in ("write", "read", "protect")))
# What takes more than one step: reclaim of what was given up, swap, a guard that goes again, protecting anew.
_LONGER = (
    *("free; reclaim", "cold; reclaim", "swapout; swapin", "guard; unguard", "discard; protect", "fork; discard"),
    *("ksm_merge; ksm_unmerge", "ksm_merge; protect"),
)
# A write to a protected huge page splits it: all small pages are there then, and all the others protected, or none.
_COLLAPSED = tuple(
    f"write; protect; {before}; {how}; write"
    for how in ("collapse", "khugepaged")
    for before in ("write", "write; unprotect")
)
# Without a write at the end: what a scan shows of a page that was written and then swapped out.
_SWAPPED = ("protect; write; swapout", "protect; write; swapout; swapin", "write; protect; swapout")
_OF_THE_KERNEL = ("", "swapin", "lock", "pin")  # where the kernel itself touches the page


def recorded() -> Iterator[SequenceSpec]:
    """Yield the sequences: those that the memory can take."""
    for backing in (*BACKINGS, "memfd"):
        for features in _FEATURES:
            yield from _possible(backing, features, (*_BETWEEN, *_LONGER))
            further = (*(_SWAPPED if features in _ASYNC else ()), *(_COLLAPSED if backing == "anon_thp" else ()))
            yield from (SequenceSpec(backing, features, text) for text in further if _takes(backing, text))
    for backing in ("anon", "shmem", "hugetlb_2m_private", "hugetlb_2m_shared"):
        for features in _KERNEL:
            yield from _possible(backing, features, _OF_THE_KERNEL)
    # A registered range has no huge pages of 64 KiB: short sequences show that.
    for features in ("none", "wp_unpopulated"):
        yield from (spec for spec in _possible("anon_mthp", features, _BETWEEN) if len(spec.names) <= 3)
    for features in _FEATURES:
        if features != "wp_async":  # which alone registers memory of a regular file, and not with MISSING
            yield SequenceSpec("file_private", features, "protect; write")
    yield from _possible("file_private", "wp_async", (*_BETWEEN, *_LONGER))


def _possible(backing: str, features: str, between: Iterable[str]) -> Iterator[SequenceSpec]:
    for middle in between:
        for before in _BEFORE:
            for after in _AFTER:
                text = "; ".join(part for part in (before, middle, after) if part)
                if _takes(backing, text):
                    yield SequenceSpec(backing, features, text)


def _takes(backing: str, text: str) -> bool:
    """Return whether memory of that backing can take all the steps."""
    return not any(STEPS[name].why_not(SEQUENCE_BACKINGS[backing]) for name in parse(text))
