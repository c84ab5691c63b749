# SPDX-License-Identifier: MIT
"""Share a range out to threads, so that they meet at page tables of one level or at none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from uffdlab.vocabulary.backings import GIB, KIB, MIB

PAGE = 4 * KIB
PTE_TABLE_BYTES = 2 * MIB  # mapped by one PTE table
PMD_TABLE_BYTES = GIB  # mapped by one PMD table


@dataclass(frozen=True)
class Share:
    """The steps of one thread: ``runs`` runs, each of ``steps`` steps, in bytes from the start of the range."""

    first: int
    runs: int
    run_step: int
    steps: int
    step: int

    def offsets(self) -> Iterator[int]:
        """Yield the offset of each step, in order."""
        for run in range(self.runs):
            start = self.first + run * self.run_step
            yield from range(start, start + self.steps * self.step, self.step)

    def coarse(self, piece: int) -> Share:
        """Return the same share in steps of ``piece`` bytes, which its runs are multiples of."""
        return Share(self.first, self.runs, self.run_step, self.steps * self.step // piece, piece)


def unit_of(sharing: str, stride: int) -> int:
    """Return how many bytes a thread takes at a time."""
    return stride if sharing == "same_2mib" else PTE_TABLE_BYTES


def shares(sharing: str, size: int, stride: int, threads: int) -> list[Share]:
    """Share ``size`` bytes, a step per ``stride`` of them, out to threads evenly; an element for each.

    ``sharing`` is a word of ``uffdlab.vocabulary.threads.SHARINGS``. The range starts at a multiple of 1 GiB, and its
    size is one of threads times ``unit_of``.
    """
    each = size // threads
    if sharing == "own_1gib":
        apart = _rounded(each)
        return [Share(number * apart, 1, 0, each // stride, stride) for number in range(threads)]
    unit = unit_of(sharing, stride)
    return [Share(number * unit, each // unit, threads * unit, unit // stride, stride) for number in range(threads)]


def extents(sharing: str, size: int, threads: int) -> list[tuple[int, int]]:
    """Return the offset and the length of each contiguous piece of memory that the shares cover together."""
    if sharing != "own_1gib":
        return [(0, size)]
    each = size // threads
    return [(number * _rounded(each), each) for number in range(threads)]


def extent_of_all(sharing: str, size: int, threads: int) -> int:
    """Return the length of the range in bytes, with what lies between the shares."""
    offset, length = extents(sharing, size, threads)[-1]
    return offset + length


def _rounded(length: int) -> int:
    return -(-length // PMD_TABLE_BYTES) * PMD_TABLE_BYTES
