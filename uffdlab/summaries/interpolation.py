# SPDX-License-Identifier: MIT
"""Linear interpolation between measured sizes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def interpolated(measured: Sequence[tuple[float, ...]], size_kib: float) -> tuple[float, ...]:
    """Return the values at a size, linear between its neighbours; ``measured``: tuples of a size and its values.

    Raises ValueError outside of the measured sizes.
    """
    points = sorted(measured)
    for left, right in pairwise([points[0], *points]):
        if left[0] <= size_kib <= right[0]:
            share = (size_kib - left[0]) / (right[0] - left[0]) if right[0] > left[0] else 1.0
            return tuple(a + (b - a) * share for a, b in zip(left[1:], right[1:], strict=True))
    raise ValueError(f"{size_kib} KiB lies outside of the sizes that were measured")
