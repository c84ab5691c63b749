# SPDX-License-Identifier: MIT
"""One GiB of page tables, drawn entry by entry: why a PMD marker is cheap, and what spreading one means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets

from uffdlab import sim
from uffdlab.errors import UffdlabError
from uffdlab.figures.predicted import look_of
from uffdlab.sim import Design, Entry, Range
from uffdlab.sim.designs import record_of
from uffdlab.widgets.base import View, module

PAGES = 512 * 512
PTRS = 512
MOST_STEPS = 200
STEPS = ("protect", "unprotect", "read", "write", "fill", "discard")


class PageTableView(View):
    """A range of 1 GiB under a design. ``state`` has ``design``, ``page`` (where the cursor stands) and ``steps``:
    pairs of what was done and at which page.

    ``protect`` and ``unprotect`` are of everything (protecting does first what user space does first), ``fill`` (write)
    and ``discard`` of the 2 MiB that a page lies in.

    >>> tables = PageTableView("pmd_marker")
    >>> tables.do("protect", "write")
    >>> tables.ledger()["spread_pmd"]
    1
    """

    kind = "page-tables"
    _esm = module("core.js", "page_table_view.js")
    designs: Any = traitlets.List().tag(sync=True)

    def __init__(
        self, design: Design | str = "pmd_marker", *, steps: Sequence[Sequence[Any]] = (), page: int = 0
    ) -> None:
        """Show a design (one of a reader's own as well) after some steps."""
        own = record_of(design)
        if own.leaf == "pud":
            raise UffdlabError(f"{own.name}: memory of 1 GiB pages is one entry, and nothing to draw: choose another")
        self.records = {name: one for name, one in sim.DESIGNS.items() if one.leaf != "pud"} | {own.name: own}
        super().__init__(
            designs=[_as_sent(one) for one in self.records.values()],
            state={"design": own.name, "page": page, "steps": [list(one) for one in steps]},
        )

    def problem(self, state: dict[str, Any]) -> str | None:
        """Return what is wrong with a state, or None."""
        if set(state) != {"design", "page", "steps"}:
            return f"a view of page tables has design, page and steps, not {', '.join(map(str, state))}"
        if state["design"] not in self.records:
            return f"unknown design {state['design']!r}: choose one of {', '.join(self.records)}"
        if not _is_page(state["page"]):
            return f"page {state['page']!r} is outside of 1 GiB, which has pages 0 to {PAGES - 1}"
        steps = state["steps"]
        if not isinstance(steps, list) or len(steps) > MOST_STEPS:
            return f"steps is a list of at most {MOST_STEPS}"
        for one in steps:
            if not isinstance(one, list) or len(one) != 2 or one[0] not in STEPS or not _is_page(one[1]):
                return f"step {one!r} is not one of {', '.join(STEPS)} with a page"
        return None

    def do(self, *steps: str, page: int | None = None) -> None:
        """Take steps at a page (default: where the cursor stands)."""
        at = self.state["page"] if page is None else page
        self.state = self.state | {"page": at, "steps": [*self.state["steps"], *([step, at] for step in steps)]}

    def _replayed(self) -> Range:
        memory = Range(self.records[self.state["design"]], PAGES * 4096, touches=4 * MOST_STEPS)
        for number, (name, page) in enumerate(self.state["steps"]):
            if number == len(self.state["steps"]) - 1:
                memory.start_phase()
            _take(memory, name, page)
        return memory

    def ledger(self) -> sim.Ledger:
        """Return what the last step counted."""
        return self._replayed().ledger()

    def entries(self) -> tuple[list[Entry], list[Entry]]:
        """Return what is drawn: the entry by which each 2 MiB is found, and that of each page of the chosen 2 MiB."""
        memory = self._replayed()
        first = self.state["page"] // PTRS * PTRS
        return [memory.entry(i * PTRS) for i in range(PTRS)], [memory.entry(first + i) for i in range(PTRS)]


def _is_page(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < PAGES


def _take(memory: Range, name: str, page: int) -> None:
    block = page // PTRS * PTRS
    if name == "protect":
        memory.prefault()
        memory.protect()
    elif name == "unprotect":
        memory.unprotect()
    elif name == "fill":
        memory.touch_all(block, PTRS, write=True)
    elif name == "discard":
        memory.discard(block, PTRS)
    else:
        memory.touch(page, write=name == "write")


def _as_sent(design: Design) -> dict[str, Any]:
    return {"name": design.name, "title": look_of(design.name)[2], "packed": design.numbers()}
