# SPDX-License-Identifier: MIT
"""Which memory and writing the suite *trackers* measures."""

from __future__ import annotations

from uffdlab.probes.trackers import TrackersSpec
from uffdlab.vocabulary.backings import GIB, MIB

# The points that the rule of tracker-choice names.
DECIDING = {"backing": "anon", "size_bytes": 256 * MIB, "pattern": "uniform"}
DIRTY = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
_SOME = (0.003, 0.03, 0.3)


def _spec(backing: str, size_bytes: int, dirty: float, pattern: str = "uniform") -> TrackersSpec:
    return TrackersSpec(backing, size_bytes, dirty, pattern, repeats=3)


DECIDING_SPECS = tuple(_spec("anon", 256 * MIB, dirty) for dirty in DIRTY)
OTHER_SPECS = (
    *(_spec("anon", 256 * MIB, dirty, pattern) for pattern in ("zipf", "sequential") for dirty in _SOME),
    *(_spec("anon", size, dirty) for size in (64 * MIB, GIB) for dirty in _SOME),
    *(_spec(backing, 256 * MIB, dirty) for backing in ("anon_thp", "shmem") for dirty in _SOME),
    *(_spec("hugetlb_2m_private", GIB, dirty) for dirty in (0.01, 0.1, 0.3)),
)
