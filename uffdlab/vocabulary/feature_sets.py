# SPDX-License-Identifier: MIT
"""Sets of features that are asked of UFFDIO_API, each with what is registered and delivered besides."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FeatureSet:
    """The features requested of UFFDIO_API, and whether missing events are registered.

    ``kernel``: the descriptor is not UFFD_USER_MODE_ONLY, so that faults of the kernel's own raise events, too.
    """

    name: str
    features: tuple[str, ...]
    missing: bool = False
    kernel: bool = False

    @property
    def reads_as(self) -> str:
        """The set in words: ``features WP_UNPOPULATED, registered MISSING|WP``."""
        delivered = ", the kernel's own faults delivered" if self.kernel else ""
        registered = "MISSING|WP" if self.missing else "WP"
        return f"features {', '.join(self.features) or '0'}, registered {registered}{delivered}"


def _by_name(*sets: FeatureSet) -> dict[str, FeatureSet]:
    return {set_.name: set_ for set_ in sets}


# Of the table of states.
FEATURE_SETS = _by_name(
    FeatureSet("none", ()),
    FeatureSet("wp_hugetlbfs_shmem", ("WP_HUGETLBFS_SHMEM",)),
    FeatureSet("wp_unpopulated", ("WP_UNPOPULATED",)),
    FeatureSet("wp_async", ("WP_UNPOPULATED", "WP_ASYNC")),
    FeatureSet("missing_wp", (), missing=True),
)
# Of sequences of steps, besides: those that a fork, a move and a discard tell a handler of, and where the kernel's own
# accesses are reported.
SEQUENCE_SETS = FEATURE_SETS | _by_name(
    FeatureSet("missing_wp_unpopulated", ("WP_UNPOPULATED",), missing=True),
    FeatureSet("missing_wp_async", ("WP_UNPOPULATED", "WP_ASYNC"), missing=True),
    FeatureSet("wp_events", ("WP_UNPOPULATED", "EVENT_FORK", "EVENT_REMAP", "EVENT_REMOVE", "EVENT_UNMAP")),
    FeatureSet("kernel_wp", ("WP_UNPOPULATED",), kernel=True),
    FeatureSet("kernel_missing_wp", ("WP_UNPOPULATED",), missing=True, kernel=True),
)
