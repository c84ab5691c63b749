# SPDX-License-Identifier: MIT
"""Sent and received words of a channel as rows: a bit per line, several slots per row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from uffdlab.probes.schema import count, integer, text

SLOTS_PER_ROW = 50

WORD_FIELDS: list[dict[str, Any]] = [
    integer("slot", None, f"number of the first of the row's slots within the sample; up to {SLOTS_PER_ROW} to a row"),
    text(
        "sent", "bits of the slots, one word after the other, hexadecimal, line 0 lowest; ceil(lines / 4) digits each"
    ),
    text("received", "bits that the receiver took them for"),
]


def wrong_fields(*, required: bool = True) -> list[dict[str, Any]]:
    """Return the columns of :func:`wrong`."""
    return [
        count("missed", "bits sent as 1 and received as 0", required=required),
        count("invented", "bits sent as 0 and received as 1", required=required),
    ]


def in_rows(sent: Sequence[int], received: Sequence[int], lines: int) -> Iterator[dict[str, Any]]:
    """Yield rows of ``WORD_FIELDS`` from words, one per slot, of ``lines`` bits."""
    digits = -(-lines // 4)
    for first in range(0, len(sent), SLOTS_PER_ROW):
        out, back = ("".join(f"{word:0{digits}x}" for word in words[first : first + SLOTS_PER_ROW])
                     for words in (sent, received))  # fmt: skip
        yield {"slot": first, "sent": out, "received": back}


def wrong(sent: Sequence[int], received: Sequence[int]) -> dict[str, int]:
    """Return how many bits of words were ``missed`` (sent as 1, received as 0), and how many ``invented``."""
    both = list(zip(sent, received, strict=True))
    return {
        "missed": sum((out & ~back).bit_count() for out, back in both),
        "invented": sum((back & ~out).bit_count() for out, back in both),
    }
