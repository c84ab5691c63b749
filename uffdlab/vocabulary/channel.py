# SPDX-License-Identifier: MIT
"""Covert channel: memory shared by two processes, placement of both ends, loads and bits, with titles and looks."""

from __future__ import annotations

from typing import NamedTuple

from uffdlab.vocabulary.entries import ENTRIES
from uffdlab.vocabulary.looks import BLUE, GREEN, GREY, LIGHT, ORANGE, SKY, VERMILLION, Look

POINT = ("memory", "placement", "silent", "slot_ns", "lines")  # columns that name an operating point


class Memory(NamedTuple):
    """Memory of both ends: its preparation, its name in a table, and in a sentence.

    ``shared``: whether both may read one page through it; unshared memory is a control.
    """

    title: str
    short: str
    phrase: str
    shared: bool = True


MEMORIES = {
    "zeropage": Memory("fresh memory, read: zeropage", "zeropage", "the zeropage"),
    "huge_zeropage": Memory("fresh memory with THP, read: huge zeropage", "huge zeropage", "the huge zeropage"),
    "empty_unread": Memory(
        "fresh memory, each load the first of its page", "fresh, unread", "fresh memory never read before"
    ),
    "populated": Memory("populated zeropages, protected", "populated", "populated zeropages, protected"),
    "huge_populated": Memory(
        "populated huge zeropage, protected", "populated, huge", "the populated huge zeropage, protected"
    ),
    "markers_read": Memory("markers after their first read", "markers, read", "markers after their first read"),
    "markers_unread": Memory(
        "markers, each load the first of its page", "markers, unread", "markers never read before"
    ),
    "libc": Memory("the C library's file, mapped by both (baseline)", "C library", "a page of the C library"),
    "shmem": Memory("shmem, read", "shmem", "shmem", shared=False),
    "hugetlb": Memory("hugetlb 2 MiB, read", "hugetlb", "hugetlb", shared=False),
    "private": Memory("written pages (control)", "written pages", "written pages", shared=False),
}
SHARED = tuple(name for name, memory in MEMORIES.items() if memory.shared)
ZEROPAGES = {name: ENTRIES[name, "plain"].look for name in ("zeropage", "huge_zeropage")}

PLACEMENTS = {"same": "one CPU", "cross": "two CPUs"}
# What a third process does meanwhile: traffic is stores to memory of its own, more than the caches hold.
NEIGHBOURS = {
    "none": "no neighbour",
    "traffic_same": "memory traffic on the receiver's CPU",
    "traffic_other": "memory traffic on another CPU",
    "reader_other": "a reader of the same page on another CPU",
}
# By placement and by which load is a 1, where bits pass.
ENDS = {
    ("same", "faster"): ("one CPU", Look(GREEN, "octagon")),
    ("same", "slower"): ("one CPU, a 1 is the slower load", Look(GREEN, "circle-cross")),
    ("cross", "faster"): ("two CPUs, a 1 is the faster load", Look(SKY, "star-diamond")),
    ("cross", "slower"): ("two CPUs, a 1 is the slower load", Look(SKY, "diamond-cross")),
}
SLOWER_SYMBOL, SILENT_SYMBOL = "triangle-se", "asterisk"  # of samples: a 1 is the slower load; nothing passes

# Loads by what they were for: colour, dash, words.
LOADS = {
    "loaded before": (GREY, "dot", "calibration: line cached"),
    "flushed before": (GREY, "dash", "calibration: line flushed"),
    "known 1": (BLUE, "longdashdot", "training: a 1"),
    "known 0": (ORANGE, "longdashdot", "training: a 0"),
    "sent 1": (BLUE, "solid", "a 1 was sent"),
    "sent 0": (ORANGE, "solid", "a 0 was sent"),
}
# Bits of a message by 2 * sent + received, from light to dark, so that they differ in grey as well.
BITS = (
    (LIGHT, "0, received as 0"),
    (SKY, "0, received as 1"),
    (VERMILLION, "1, received as 0"),
    (BLUE, "1, received as 1"),
)
