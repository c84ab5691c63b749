# SPDX-License-Identifier: MIT
"""Convert a scan to the bitmap that the simulator replays, without addresses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from uffdlab.datasets import bitmap
from uffdlab.errors import UffdlabError
from uffdlab.occupancy.reading import HUGE_BYTES, LARGE_BYTES
from uffdlab.occupancy.scanning import Occupancy, Scan


def bitmap_of(scan: Scan) -> bitmap.Bitmap:
    """Return the bitmap of a scan that kept its runs.

    Raises UffdlabError when it has no mapping.
    """
    if not scan.mappings:
        raise UffdlabError("there is nothing to write into a bitmap: no mapping is large enough for --min-size")
    page = os.sysconf("SC_PAGE_SIZE")
    known = all(occupancy.granularities[0].whole["zeropage"] is not None for occupancy in scan.mappings)
    return bitmap.Bitmap(page, page, known, tuple(_placed(scan.mappings)))


def _placed(seen: Sequence[Occupancy]) -> Iterator[bitmap.Mapping]:
    """Yield the mappings at offsets that keep only their alignment within 2 MiB."""
    end = previous_end = 0
    for occupancy in sorted(seen, key=lambda occupancy: occupancy.mapping.start):
        mapped = occupancy.mapping
        if occupancy.runs is None:
            raise ValueError("BUG: the scan kept no runs")
        if not end or mapped.start != previous_end:
            end = -(-end // HUGE_BYTES) * HUGE_BYTES + mapped.start % LARGE_BYTES
        yield bitmap.Mapping(
            mapped.kind, end, mapped.length, mapped.page_bytes, mapped.shared, mapped.accessible, occupancy.runs
        )
        end, previous_end = end + mapped.length, mapped.end
