# SPDX-License-Identifier: MIT
"""One GiB of page tables, drawn entry by entry: the cost of a PMD marker, and of spreading it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets

from uffdlab import sim
from uffdlab.errors import UffdlabError
from uffdlab.figures.predicted import look_of
from uffdlab.sim import Entry, Range, SimDesign
from uffdlab.sim.designs import record_of
from uffdlab.sim.engine import KINDS
from uffdlab.vocabulary.events import EVENTS
from uffdlab.vocabulary.looks import ORANGE
from uffdlab.vocabulary.states import OCCUPANCY
from uffdlab.widgets.base import View, asset
from uffdlab.widgets.views import Rules, number, one_of, record

PAGES = 512 * 512
PTRS = 512
MOST_STEPS = 200
STEPS = {
    "protect": "Protect all", "unprotect": "Un-protect all", "read": "Read the page", "write": "Write the page",
    "fill": "Write all of the 2 MiB", "discard": "Discard the 2 MiB",
}  # fmt: skip
# Custom properties of widgets.css: what an entry holds, and the cursor.
_STATES = {"marker": "marked", "zeropage": "zeropage", "page": "present"}
_COLOURS = {kind: OCCUPANCY[state][0] for kind, state in _STATES.items()} | {"cursor": ORANGE}
_SHOWN = ("protect", "read", "write", "fill", "discard", "unprotect")  # in this order


class PageTableView(View):
    """A range of 1 GiB under a design. ``state`` has ``design``, ``page`` (the cursor) and ``steps``: pairs of a name
    in ``STEPS`` and a page.

    ``protect`` (with the design's prefault) and ``unprotect`` apply to the whole range, ``fill`` (write) and
    ``discard`` to the 2 MiB around the page.

    >>> tables = PageTableView("pmd_marker")
    >>> tables.do("protect", "write")
    >>> tables.ledger()["spread_pmd"]
    1
    """

    kind = "page-tables"
    _esm = asset("page_table_view.js")
    designs: Any = traitlets.List().tag(sync=True)
    steps: Any = traitlets.List([[name, STEPS[name]] for name in _SHOWN]).tag(sync=True)
    most_steps: Any = traitlets.Int(MOST_STEPS).tag(sync=True)
    events: Any = traitlets.List([list(event) for event in EVENTS.items()]).tag(sync=True)
    kinds: Any = traitlets.List(list(KINDS)).tag(sync=True)
    colours: Any = traitlets.Dict(_COLOURS).tag(sync=True)

    def __init__(
        self, design: SimDesign | str = "pmd_marker", *, steps: Sequence[Sequence[Any]] = (), page: int = 0
    ) -> None:
        """Show a design, named or a record of the reader's own, after some steps."""
        own = record_of(design)
        if own.leaf == "pud":
            raise UffdlabError(f"{own.name}: 1 GiB pages map this range by one entry: choose another design")
        self.records = {name: known for name, known in sim.DESIGNS.items() if known.leaf != "pud"} | {own.name: own}
        super().__init__(
            designs=[_as_sent(known) for known in self.records.values()],
            rules=_rules(list(self.records)),
            state={"design": own.name, "page": page, "steps": [list(step) for step in steps]},
        )

    def do(self, *steps: str, page: int | None = None) -> None:
        """Append steps at a page (default: the cursor)."""
        at = self.state["page"] if page is None else page
        self.state = self.state | {"page": at, "steps": [*self.state["steps"], *([step, at] for step in steps)]}

    def _replayed(self) -> Range:
        memory = Range(self.records[self.state["design"]], PAGES * 4096, touches=4 * MOST_STEPS)
        for at, (name, page) in enumerate(self.state["steps"]):
            if at == len(self.state["steps"]) - 1:
                memory.start_phase()
            _take(memory, name, page)
        return memory

    def ledger(self) -> sim.Ledger:
        """Return the ledger of the last step."""
        return self._replayed().ledger()

    def entries(self) -> tuple[list[Entry], list[Entry]]:
        """Return the drawn entries: that which maps each 2 MiB, and that of each page of the chosen 2 MiB."""
        memory = self._replayed()
        first = int(self.state["page"]) // PTRS * PTRS
        return [memory.entry(i * PTRS) for i in range(PTRS)], [memory.entry(first + i) for i in range(PTRS)]


def _rules(designs: Sequence[str]) -> Rules:
    outside = f"page {{value}} is outside of 1 GiB, which has pages 0 to {PAGES - 1}"
    page = number("page", outside, minimum=0, maximum=PAGES - 1, multipleOf=1)
    step = {
        "type": "array",
        "minItems": 2,
        "maxItems": 2,
        "items": [one_of(STEPS, f"step {{value}} is not one of {', '.join(STEPS)} with a page"), page],
        "wrong": f"a step is one of {', '.join(STEPS)} with a page, not {{value}}",
    }
    steps = {
        "type": "array",
        "maxItems": MOST_STEPS,
        "items": step,
        "wrong": f"steps is a list of at most {MOST_STEPS}",
    }
    design = one_of(designs, f"unknown design {{value}}: choose one of {', '.join(designs)}")
    fields = {"design": design, "page": page, "steps": steps}
    return record(fields, "a view of page tables has design, page and steps, not {value}")


# As Tables.step of js/page_table_view.js, which names the test that holds the two together.
def _take(memory: Range, name: str, page: float) -> None:
    page = int(page)
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


def _as_sent(design: SimDesign) -> dict[str, Any]:
    return {"name": design.name, "title": look_of(design.name)[2], "packed": design.numbers()}
