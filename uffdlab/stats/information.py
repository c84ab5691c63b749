# SPDX-License-Identifier: MIT
"""Mutual information of two bits (channel capacity) from a table of counts, less the bias of few samples.

Beside it, the capacity of a binary symmetric channel, which needs the share of wrong bits alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, log2

import numpy as np


def mutual_information(counts: Sequence[Sequence[int]]) -> float:
    """Return the bits of information received per bit sent, less the Miller-Madow bias; never below 0.

    ``counts[i][j]``: how often i was sent and j received. Raises ValueError when nothing was sent.
    """
    return max(0.0, corrected_information(counts))


def corrected_information(counts: Sequence[Sequence[int]]) -> float:
    """Return the same, but below 0 where less was counted than chance yields on average. Raises ValueError likewise."""
    table = np.asarray(counts, dtype=float)
    total = table.sum()
    if not total > 0:
        raise ValueError("nothing was sent: no information can be counted")
    rows, columns = table.sum(axis=1, keepdims=True), table.sum(axis=0, keepdims=True)
    seen = table > 0
    naive = float((table[seen] * np.log2((table * total)[seen] / (rows @ columns)[seen])).sum() / total)
    freedom = (np.count_nonzero(rows) - 1) * (np.count_nonzero(columns) - 1)
    return naive - float(freedom / (2 * total * log(2)))


def symmetric_capacity(error: float) -> float:
    """Return 1 - H(error): the bits received per bit sent where a 0 and a 1 are wrong equally often.

    Raises ValueError unless ``error`` is a share.
    """
    if not 0 <= error <= 1:
        raise ValueError(f"a share of wrong bits is from 0 to 1, and not {error}")
    return 1.0 + sum(share * log2(share) for share in (error, 1 - error) if share > 0)
