# SPDX-License-Identifier: MIT
"""Page states: those of occupancy scans (bars), and those that one write is timed from (lines)."""

from __future__ import annotations

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
# Colour and dash: dotted where a write raises an event.
WRITTEN = {
    "zeropage": ENTRIES["zeropage", "plain"].look,
    "protected zeropage": ENTRIES["zeropage", "event"].look,
    "marker": ENTRIES["markers", "event"].look,
    "empty": ENTRIES["fresh", "plain"].look,
    "private": ENTRIES["written", "plain"].look,
    "protected private": ENTRIES["written", "event"].look,
}
