# SPDX-License-Identifier: MIT
"""Page states: those of occupancy scans (bars), with the scanned workloads, and those before a timed write (lines)."""

from __future__ import annotations

from typing import NamedTuple

from uffdlab.vocabulary.entries import ENTRIES
from uffdlab.vocabulary.looks import GREEN, LIGHT, ORANGE, SKY

# Colour, and a pattern for readers who cannot see it: from empty to full.
OCCUPANCY = {
    "untouched": (LIGHT, ""),
    "zeropage": (ENTRIES["zeropage", "plain"].look.colour, "."),
    "marked": (ENTRIES["markers", "async"].look.colour, "/"),
    "mixed": (SKY, "x"),
    "swapped": (GREEN, "-"),
    "guard": (ORANGE, "|"),
    "present": (ENTRIES["written", "plain"].look.colour, ""),
}


class Workload(NamedTuple):
    """A scanned process: its backing, placement of the written pages, state of the others."""

    title: str
    backing: str = "anon"
    clustered: bool = False
    read: bool = False
    marked: bool = False


INTERPRETER = "interpreter"
WORKLOADS = {
    "anon_uniform": Workload("anonymous, written uniformly"),
    "anon_clustered": Workload("anonymous, in clusters of 2 MiB", clustered=True),
    "anon_thp": Workload("the same, THP on", "anon_thp", clustered=True),
    "anon_preread": Workload("anonymous, read, then uniformly", read=True),
    "anon_marked": Workload("anonymous, uniformly, then marked", marked=True),
    "shmem_uniform": Workload("shmem, written uniformly", "shmem"),
    INTERPRETER: Workload("a Python interpreter"),
}
# Colour and dash: dotted where a write raises an event.
WRITTEN = {
    "zeropage": ENTRIES["zeropage", "plain"].look,
    "protected zeropage": ENTRIES["zeropage", "event"].look,
    "marker": ENTRIES["markers", "event"].look,
    "empty": ENTRIES["fresh", "plain"].look,
    "private": ENTRIES["written", "plain"].look,
    "protected private": ENTRIES["written", "event"].look,
}
