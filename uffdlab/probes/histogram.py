# SPDX-License-Identifier: MIT
"""Log-binned latency counts: exact below 4 ns, then four bins per octave (``ul_bin`` in touch.c)."""

from __future__ import annotations

from collections.abc import Iterator

from uffdlab.probes.schema import Field, integer

EDGE_FIELDS: list[Field] = [
    integer("from_ns", "ns", "lower edge of the bin (inclusive)"),
    integer("below_ns", "ns", "upper edge of the bin (exclusive); four bins per octave"),
]


def bin_edges_ns(bin_: int) -> tuple[int, int]:
    """Return the edges of a latency bin in ns, the lower one inclusive."""
    return _start(bin_), _start(bin_ + 1)


def bin_rows(bins: dict[int, int]) -> Iterator[dict[str, int]]:
    """Yield one row per bin that is not empty: ``from_ns``, ``below_ns``, ``count``."""
    for bin_, count in sorted(bins.items()):
        low, high = bin_edges_ns(bin_)
        yield {"from_ns": low, "below_ns": high, "count": count}


def _start(bin_: int) -> int:
    if bin_ < 8:  # bins 4..7 are never used: 4 ns opens the first full octave, bin 8
        return min(bin_, 4)
    return (4 + bin_ % 4) << (bin_ // 4 - 2)
