# SPDX-License-Identifier: MIT
"""What the suite *scale* measures: each way of sharing page tables, with as many threads as there are CPUs."""

from __future__ import annotations

from uffdlab.host import cpus
from uffdlab.probes.scale import THREADS, ScaleSpec
from uffdlab.vocabulary.backings import GIB, KIB, MIB
from uffdlab.vocabulary.threads import SHARINGS

# Every page of little memory, and one page in each 2 MiB of much: with 16 threads 1024 and 256 of them each.
_EVERY_PAGE, _ONE_PER_TABLE = (64 * MIB, 4 * KIB), (8 * GIB, 2 * MIB)


def most_threads() -> int:
    """Return the largest measured number of threads that have a CPU each here."""
    allowed = len(cpus.allowed())
    return max(number for number in THREADS if number <= max(1, allowed))


def measured() -> tuple[ScaleSpec, ...]:
    """Return the specs, of a cold and a warm sample each."""
    return tuple(
        ScaleSpec(sharing, size, stride, most_threads(), repeats=2)
        for size, stride in (_EVERY_PAGE, _ONE_PER_TABLE)
        for sharing in SHARINGS
        if stride == 4 * KIB or sharing != "same_2mib"
    )
