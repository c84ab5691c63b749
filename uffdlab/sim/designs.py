# SPDX-License-Identifier: MIT
"""Simulated designs, as data that the core interprets: PTE markers, PMD markers, PUD markers and others.

A design that no kernel has is one line:

>>> from uffdlab.sim import DESIGNS
>>> mine = DESIGNS["pmd_marker"].replace(spread="huge page", resolve="pmd", name="mine", about="a touch fills 2 MiB")
>>> mine.level, mine.spread
('pmd', 'huge page')
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from uffdlab.errors import UffdlabError, check_word
from uffdlab.sim.core import Core, core, why_no_core
from uffdlab.vocabulary import designs
from uffdlab.vocabulary.designs import Prepare

Level = Literal["pte", "pmd", "pud"]
Empty = Literal["stays", "marker", "zeropage"]
Spread = Literal["next", "last", "huge page"]


@dataclass(frozen=True)
class SimDesign:
    """A design as the core takes it: the fields of ``struct ul_design``, with a name.

    :class:`uffdlab.vocabulary.designs.Design` is the published record, with titles and looks: its ``simulated`` holds
    the fields of one of these. A reader's own design has no such record.

    ``leaf``: level of the memory's own pages (pmd and pud: hugetlb of 2 MiB and 1 GiB). ``prefault``: what user space
    does before it protects. ``empty``: what an empty entry gets, at ``level`` at the highest. ``spread``: what a touch
    under a PMD or PUD marker does: fill the next table with markers, all tables down to the last, or allocate a huge
    page. ``remembers``: the VMA remembers the protection, and empty entries stay. ``missing``: registered for missing
    pages too. ``asynchronous``: the kernel resolves, without an event. ``thp``, ``zeropage``, ``huge_zeropage``: what
    faults map. ``deposit``: a huge entry deposits a PTE table. ``pt_reclaim``: a discard of a whole PTE table frees it.
    ``survives``: markers survive a discard (shmem, hugetlb). ``resolve``: what a handler resolves of a huge entry.
    """

    name: str
    about: str
    leaf: Level = "pte"
    prefault: Prepare = "nothing"
    empty: Empty = "stays"
    level: Level = "pte"
    spread: Spread = "next"
    remembers: bool = False
    missing: bool = False
    asynchronous: bool = False
    thp: bool = False
    zeropage: bool = True
    huge_zeropage: bool = True
    deposit: bool = True
    pt_reclaim: bool = True
    survives: bool = False
    resolve: Level = "pte"

    def __post_init__(self) -> None:
        """Raise UffdlabError on a field of no known value, or on fields that contradict one another."""
        for name, known in _WORDS.items():
            if getattr(self, name) not in known:
                raise UffdlabError(
                    f"design {self.name!r}: {name} is {getattr(self, name)!r}, not one of {', '.join(known)}"
                )
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise UffdlabError(f"design {self.name!r}: {name} is {getattr(self, name)!r}, neither True nor False")
        # Without a core nothing can be run; records can still be read.
        problem = problem_of(core(), self.packed()) if why_no_core() is None else None
        if problem:
            raise UffdlabError(f"design {self.name!r}: {problem}")

    def replace(self, **changes: Any) -> SimDesign:
        """Return the design with some fields changed. Raises UffdlabError on an unknown field."""
        known = {field.name for field in fields(self)}
        for name in changes:
            if name not in known:
                raise UffdlabError(f"a design has no field {name!r}: it has {', '.join(sorted(known))}")
        return replace(self, **changes)

    def numbers(self) -> list[int]:
        """Return the fields of ``struct ul_design`` in their order."""
        values = {name: getattr(self, name) for name in choices()}
        return [_WORDS[name].index(value) if name in _WORDS else int(value) for name, value in values.items()]

    def packed(self) -> bytes:
        """Return the record as ``struct ul_design``: 32-bit integers."""
        numbers = self.numbers()
        return struct.pack(f"<{len(numbers)}i", *numbers)


_WORDS: dict[str, tuple[str, ...]] = {
    "leaf": get_args(Level),
    "prefault": get_args(Prepare),
    "empty": get_args(Empty),
    "level": get_args(Level),
    "spread": get_args(Spread),
    "resolve": get_args(Level)[:2],
}
_FLAGS = tuple(field.name for field in fields(SimDesign)[2:] if field.name not in _WORDS)


def choices() -> dict[str, tuple[str, ...]]:
    """Return the values of each field, as words, in the order of the fields."""
    return {field.name: _WORDS.get(field.name, ("false", "true")) for field in fields(SimDesign)[2:]}


def problem_of(engine: Core, packed: bytes) -> str | None:
    """Return the core's error sentence on a packed design, or None."""
    with engine.lent(packed) as design:
        address = engine.call("ul_design_problem", design)
    return engine.text(address) if address else None


# The published designs that can be simulated.
DESIGNS: dict[str, SimDesign] = {
    design.name: SimDesign(design.name, design.about, **design.simulated)
    for design in designs.DESIGNS.values()
    if design.simulated is not None
}


def named(name: str) -> SimDesign:
    """Return a design by name. Raises UffdlabError, listing the names, on an unknown one."""
    check_word("design", name, DESIGNS)
    return DESIGNS[name]


def record_of(design: SimDesign | str) -> SimDesign:
    """Return a design given as a record or by name."""
    return named(design) if isinstance(design, str) else design
