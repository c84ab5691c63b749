# SPDX-License-Identifier: MIT
"""Contents of a page-table entry before a touch (zeropage, marker, page), and delivery of its fault."""

from __future__ import annotations

from typing import NamedTuple

from uffdlab.vocabulary.designs import DESIGNS
from uffdlab.vocabulary.looks import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, Look


class Entry(NamedTuple):
    """A short title of an entry's contents, with the delivery unless that is plain, and its look."""

    title: str
    look: Look


def _dashed(colour: str, symbol: str, delivery: str) -> Look:
    return Look(colour, symbol, {"plain": "solid", "async": "dash", "event": "dot"}[delivery])


# By preparation and delivery, in the order of the rows of a figure; a preparation under THP is separate.
ENTRIES: dict[tuple[str, str], Entry] = {
    (preparation, delivery): Entry(title, _dashed(colour, symbol, delivery))
    for preparation, delivery, colour, symbol, title in (
        ("fresh", "plain", *DESIGNS["unprotected"].look[:2], DESIGNS["unprotected"].short),
        ("fresh, THP", "plain", GREY, "triangle-right", "nothing, THP on"),
        ("tables", "plain", GREEN, "square-cross", "empty page tables there"),
        ("discarded_whole", "plain", GREY, "diamond-wide", "discarded, in one call"),
        ("discarded_pieces", "plain", GREEN, "square-x", "discarded, 1 MiB a call"),
        ("zeropage", "plain", VERMILLION, "circle-dot", "zeropage"),
        ("zeropage", "async", VERMILLION, "circle-x", "zeropage, async"),
        ("zeropage", "event", VERMILLION, "circle-cross", "zeropage, event"),
        ("huge_zeropage", "plain", ORANGE, "hexagon", "huge zeropage"),
        ("huge_zeropage", "async", ORANGE, "hexagon2", "huge zeropage, async"),
        ("huge_zeropage", "event", ORANGE, "hexagram", "huge zeropage, event"),
        ("markers", "async", *DESIGNS["pte_marker"].look[:2], "marker, async"),
        ("markers", "event", BLUE, "diamond-x", "marker, event"),
        ("markers, THP", "async", BLUE, "diamond-wide", "marker, async, THP on"),
        ("unregistered", "plain", GREY, "triangle-nw", "nothing, not registered"),
        ("unregistered, THP", "plain", GREY, "triangle-ne", "the same, THP on"),
        ("written", "plain", PURPLE, "hourglass", "page"),
        ("written", "async", PURPLE, "star-square", "page, async"),
        ("written", "event", PURPLE, "star-triangle-up", "page, event"),
        ("missing_wp", "event", *DESIGNS["missing_wp"].look[:2], DESIGNS["missing_wp"].short),
    )
}
HUGE_PAGE = Entry("huge page", Look(GREEN, "diamond-tall"))
