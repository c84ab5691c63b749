# SPDX-License-Identifier: MIT
"""From a scan to the bitmap file that a simulator replays: shapes only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from uffdlab.datasets import bitmap
from uffdlab.errors import UffdlabError
from uffdlab.occupancy.reading import HUGE_BYTES, LARGE_BYTES
from uffdlab.occupancy.scanning import Occupancy, Scan


def bitmap_of(scan: Scan) -> bitmap.Bitmap:
    """Return the bitmap of a scan that kept its runs.

    Raises UffdlabError when there is no mapping in it, or the scan did not keep them.
    """
    if not scan.mappings:
        raise UffdlabError("there is nothing to write into a bitmap: no mapping is large enough for --min-size")
    page = os.sysconf("SC_PAGE_SIZE")
    known = all(one.granularities[0].whole["zeropage"] is not None for one in scan.mappings)
    return bitmap.Bitmap(page, page, known, tuple(_placed(scan.mappings)))


def _placed(seen: Sequence[Occupancy]) -> Iterator[bitmap.Mapping]:
    """Yield the mappings with offsets that keep their place within 2 MiB, and lose where they really were."""
    end = previous_end = 0
    for one in sorted(seen, key=lambda one: one.mapping.start):
        mapped = one.mapping
        if one.runs is None:
            raise ValueError("BUG: the scan kept no runs")
        if not end or mapped.start != previous_end:
            end = -(-end // HUGE_BYTES) * HUGE_BYTES + mapped.start % LARGE_BYTES
        yield bitmap.Mapping(
            mapped.kind, end, mapped.length, mapped.page_bytes, mapped.shared, mapped.accessible, one.runs
        )
        end, previous_end = end + mapped.length, mapped.end
