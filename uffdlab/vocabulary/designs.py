# SPDX-License-Identifier: MIT
"""Designs: ways of write-protecting a range, with titles, look, a stock kernel's features and the simulator's fields.

Probes, simulator, figures, tables, claims and widgets read these; a design is added only here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from uffdlab.vocabulary.looks import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, Look

Prepare = Literal["nothing", "read loop", "MADV_POPULATE_READ"]


@dataclass(frozen=True)
class Stock:
    """A design on a stock kernel: uffd features, preparation, and whether missing pages are registered too."""

    features: tuple[str, ...] = ()
    prepare: Prepare = "nothing"
    missing: bool = False


@dataclass(frozen=True)
class Design:
    """A way of write-protecting, as it is published.

    ``title`` describes it, ``short`` names it in a legend, ``label`` on an axis. ``stock`` is None where no kernel has
    it; ``simulated`` holds the fields of :class:`uffdlab.sim.SimDesign` that are not the default, or None where the
    simulator has no such design; ``about`` is the simulator's description.
    """

    name: str
    title: str
    short: str
    look: Look
    stock: Stock | None = None
    about: str = ""
    simulated: Mapping[str, Any] | None = field(default=None, hash=False)
    label: str = ""


def _fields(**fields: Any) -> Mapping[str, Any]:
    return MappingProxyType(fields)


DESIGNS: dict[str, Design] = {
    design.name: design
    for design in (
        Design(
            "unprotected",
            "nothing prepared, features 0: anon's default on every kernel",
            "nothing",
            Look(GREY, "triangle-up", "dot"),
            Stock(),
            "nothing for empty entries: anonymous memory's default, and a write to them is lost",
            _fields(),
            "nothing<br>(unprotected)",
        ),
        Design(
            "preread",
            "one byte read per page first, as QEMU does",
            "read loop",
            Look(VERMILLION, "circle"),
            Stock(prepare="read loop"),
            "user space reads a byte of each page, then protects: QEMU today",
            _fields(prefault="read loop"),
            "read loop,<br>then protect",
        ),
        Design(
            "populate_read",
            "MADV_POPULATE_READ first, as proposed for QEMU",
            "MADV_POPULATE_READ",
            Look(ORANGE, "square", "dash"),
            Stock(prepare="MADV_POPULATE_READ"),
            "MADV_POPULATE_READ, then protect: proposed for QEMU",
            _fields(prefault="MADV_POPULATE_READ"),
            "MADV_POPULATE_READ,<br>then protect",
        ),
        Design(
            "wp_zeropage",
            "protected zeropages for empty pages: the patch",
            "zeropages (the patch)",
            Look(SKY, "hexagon", "dashdot"),
            None,
            "one pass that maps protected zeropages, never the huge one: the patch",
            _fields(empty="zeropage"),
        ),
        Design(
            "pte_marker",
            "markers for empty pages, merged in 6.4",
            "PTE markers",
            Look(BLUE, "diamond"),
            Stock(features=("WP_UNPOPULATED",)),
            "a marker in every PTE: merged in Linux 6.4",
            _fields(empty="marker"),
            "PTE markers<br>(WP_UNPOPULATED)",
        ),
        Design(
            "pmd_marker",
            "markers for empty 2 MiB",
            "PMD markers",
            Look(GREEN, "triangle-down", "dash"),
            None,
            "one marker for each empty 2 MiB",
            _fields(empty="marker", level="pmd"),
        ),
        Design(
            "pud_marker",
            "markers for empty 1 GiB",
            "PUD markers",
            Look(PURPLE, "pentagon", "dot"),
            None,
            "one marker for each empty 1 GiB",
            _fields(empty="marker", level="pud"),
        ),
        Design(
            "protect_on_fault",
            "the VMA remembers the protection",
            "protect on fault",
            Look(GREY, "star-diamond", "longdash"),
            None,
            "nothing in the tables: the VMA remembers the protection",
            _fields(remembers=True),
        ),
        Design(
            "missing_wp",
            "registered MISSING|WP: holes raise events, on any kernel",
            "MISSING|WP",
            Look(PURPLE, "cross", "longdashdot"),
            Stock(missing=True),
            "registered for missing pages too: a handler fills them, on any kernel",
            _fields(missing=True),
            "MISSING|WP, nothing filled",
        ),
        Design(
            "async",
            "markers, faults resolved by the kernel",
            "PTE markers, async",
            Look(SKY, "hexagon2"),
            Stock(features=("WP_UNPOPULATED", "WP_ASYNC")),
        ),
        Design(
            "hugetlb_2m",
            "hugetlb of 2 MiB: markers in PMD entries",
            "hugetlb_2m",
            Look(ORANGE, "triangle-down", "dot"),
            None,
            "hugetlb of 2 MiB, mapped shared: its markers are real PMD entries",
            _fields(leaf="pmd", empty="marker", level="pmd", survives=True),
        ),
        Design(
            "hugetlb_1g",
            "hugetlb of 1 GiB: markers in PUD entries",
            "hugetlb_1g",
            Look(VERMILLION, "pentagon", "dot"),
            None,
            "hugetlb of 1 GiB, mapped shared: its markers are real PUD entries",
            _fields(leaf="pud", empty="marker", level="pud", survives=True),
        ),
    )
}
# Designs of a stock kernel, in the order in which they are measured.
STOCK: dict[str, Stock] = {name: design.stock for name, design in DESIGNS.items() if design.stock is not None}


class Way(NamedTuple):
    """A way of populating: the design that does so first, its name in a sentence, and in the table of races."""

    design: str
    phrase: str
    race: str


# In user space, before protecting, by ``Stock.prepare``.
WAYS: dict[str, Way] = {
    "read loop": Way("preread", "a read loop", "two_pass_read"),
    "MADV_POPULATE_READ": Way("populate_read", "MADV_POPULATE_READ", "two_pass_populate"),
}

# No design of this list: one that a reader composes with switches, and those that a reader wrote.
COMPOSED = Look(GREY, "x", "dot")
OWN = (Look(GREY, "square"), Look(SKY, "triangle-up"), Look(ORANGE, "pentagon"), Look(GREEN, "hexagon"))
# Symbols as characters, where a design is named in text.
GLYPHS = {
    "circle": "●", "square": "■", "diamond": "◆", "triangle-up": "▲", "triangle-down": "▼", "hexagon": "⬢",
    "pentagon": "⬟", "star-diamond": "✦", "cross": "✚", "x": "✕",
}  # fmt: skip
