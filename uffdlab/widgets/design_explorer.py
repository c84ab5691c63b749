# SPDX-License-Identifier: MIT
"""Designs side by side: what each would cost, and where one overtakes another. The simulator runs in the page."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import floor, isfinite
from typing import Any

import pandas as pd
import traitlets

from uffdlab import sim
from uffdlab.errors import UffdlabError
from uffdlab.figures.predicted import dash_of, look_of
from uffdlab.sim import Costs, Design, Workload
from uffdlab.sim.decision import MIXED, OBJECTIVES
from uffdlab.sim.designs import choices, record_of
from uffdlab.vocabulary import designs
from uffdlab.vocabulary.looks import GREY
from uffdlab.widgets.base import View, asset
from uffdlab.widgets.views import Rules, number, one_of, record

SLOTS = 4
MOST_TOUCHES = 1 << 30
_GRID = 15  # values of a parameter that a map is drawn for


@dataclass(frozen=True)
class Parameter:
    """A control of a number: its slider goes from ``low`` to ``high``, of powers of two where it is logarithmic.

    A number is then a multiple of ``whole``, less ``plus``. ``format`` puts it into words (see ``shown`` in base.js).
    """

    label: str
    axis: str
    unit: str
    format: str
    low: int
    high: int
    step: float
    log: bool = True
    whole: int = 1
    plus: int = 0

    def grid(self, high: int) -> list[float]:
        """Return the values that a map is drawn for where the slider ends at ``high``."""
        count = min(_GRID, high + 1) if self.step == 1 else _GRID
        at = [self.low + (high - self.low) * i / (count - 1) for i in range(count)]
        if not self.log:
            return at
        powers = [floor(one + 0.5) for one in at] if self.step == 1 else at
        return [floor(2**one / self.whole + 0.5) * self.whole - self.plus for one in powers]


PARAMETERS = {
    "span": Parameter("Size of the range", "size of the range", "B", "size", 21, 44, 0.25, whole=2 << 20),
    "populated": Parameter("Populated beforehand", "populated", "share populated", "percent", 0, 1, 0.005, log=False),
    "cluster": Parameter("Written in a row", "written in a row", "pages in a row", "pages", 0, 18, 1),
    "reads": Parameter("Reads afterwards", "reads afterwards", "reads", "count", 0, 30, 0.25, plus=1),
    "writes": Parameter("Writes afterwards", "writes afterwards", "writes", "count", 0, 30, 0.25, plus=1),
}
_AXES = {"span": "span_bytes", "cluster": "cluster_pages"}  # as a workload calls them
_TITLES = {
    "memory": "memory of tables and pages",
    "tail latency": "slowest 1 % of later writes",
    "mix": "a weighted mix",
}
# What a write finds, by the number of its kind, and where.
_FOUND = {
    "kinds": ["an empty entry", "a marker", "a zeropage", "a protected page"],
    "levels": ["PTE", "PMD", "PUD"],
}
# No design is dotted or crossed, as what several share is.
_TIE = {"name": "tie", "title": "a tie", "glyph": "=", "colour": GREY}
_COMPOSED_LOOK = {"name": "composed", "title": "composed", "glyph": "✕"} | designs.COMPOSED._asdict()
# A reader composes these; the others concern memory that is discarded, of which there is none here, or hugetlb.
_COMPOSED = {
    "empty": "What an empty entry gets",
    "level": "At which level at the highest",
    "spread": "What a touch under a marker does",
    "prefault": "What user space does first",
    "remembers": "The VMA remembers",
    "asynchronous": "The kernel resolves, without an event",
    "thp": "Faults may map huge pages",
    "zeropage": "Reads may map the zeropage",
    "huge_zeropage": "Reads may map the huge zeropage",
    "missing": "Registered for missing pages too",
    "deposit": "A huge entry lays a table by",
    "resolve": "What a handler resolves of a huge entry",
}
_WORDS = {True: "true", False: "false"}


class DesignExplorer(View):
    """Two to four designs, and what is moved: ``state`` has ``designs`` (names, ``composed``, or "" for none),
    ``composed`` (the fields of that one), ``span`` (bytes), ``populated``, ``cluster`` (pages), ``reads``, ``writes``,
    ``costs``; and of the decision map ``x``, ``y``, ``objective``, ``weights``.

    >>> explorer = DesignExplorer(["pte_marker", "pmd_marker"], span=16 << 30)
    >>> explorer.move(writes=1000)
    >>> [row.design for row in explorer.frame().itertuples()]
    ['pte_marker', 'pmd_marker']
    """

    kind = "designs"
    _esm = asset("design_explorer.js")
    designs: Any = traitlets.List().tag(sync=True)
    fields: Any = traitlets.List().tag(sync=True)
    parameters: Any = traitlets.List().tag(sync=True)
    objectives: Any = traitlets.List([[name, _TITLES.get(name, name)] for name in OBJECTIVES]).tag(sync=True)
    found: Any = traitlets.Dict(_FOUND).tag(sync=True)
    tie: Any = traitlets.Dict(_TIE).tag(sync=True)
    costs: Any = traitlets.List().tag(sync=True)
    draws = traitlets.Bytes().tag(sync=True)
    caption = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        designs: Sequence[Design | str] = ("populate_read", "pte_marker", "pmd_marker", "pud_marker"),
        *,
        priced: Costs | None = None,
        **moved: Any,
    ) -> None:
        """Show designs (records of a reader's own among them), priced by the committed costs or others, moved so."""
        if not 1 <= len(designs) <= SLOTS:
            raise UffdlabError(f"{len(designs)} designs: choose 1 to {SLOTS}")
        own = [record_of(one) for one in designs]
        if len({one.name for one in own}) != len(own):
            raise UffdlabError("two of the designs have the same name: name them apart with .replace(name=…)")
        self.records = {name: one for name, one in sim.DESIGNS.items() if one.leaf == "pte"} | {
            one.name: one for one in own
        }
        new = [one.name for one in own if sim.DESIGNS.get(one.name) != one]
        self.priced = (priced or sim.load_costs()).in_unit("ns")
        state = {
            "designs": [one.name for one in own] + [""] * (SLOTS - len(own)),
            "composed": _fields_of(sim.DESIGNS["pmd_marker"].replace(spread="huge page", thp=True, resolve="pmd")),
            "span": 16 << 30,
            "populated": 0.0,
            "cluster": 1,
            "reads": 0,
            "writes": 1000,
            "costs": "warm",
            "tab": "compare",
            "x": "populated",
            "y": "writes",
            "objective": "total work",
            "weights": dict.fromkeys(MIXED, 0.25),
        }
        unknown = [name for name in moved if name not in state]
        if unknown:
            raise UffdlabError(f"nothing is called {unknown[0]!r} here: it has {', '.join(state)}")
        names = sim.events()
        super().__init__(
            designs=[
                *(_as_sent(one, new.index(one.name) if one.name in new else -1) for one in self.records.values()),
                _COMPOSED_LOOK,
            ],
            parameters=[{"name": name} | asdict(one) | {"grids": _grids(name)} for name, one in PARAMETERS.items()],
            fields=[
                {"name": name, "label": _COMPOSED.get(name, ""), "values": list(values)}
                for name, values in choices().items()
            ],
            costs=list(self._vectors()),
            rules=_rules(list(self.records), [one["name"] for one in self._vectors()]),
            draws=b"".join(struct.pack(f"<{len(names)}d", *(d[name] for name in names)) for d in self.priced.draws),
            caption="Hollow: predicted. The band beside a point is its interval: what the data allows of the costs, "
            "widened by the error of predictions. Work is expected work: reads, then writes, spread evenly.",
            state=state | moved,
        )

    def _vectors(self) -> Iterator[dict[str, Any]]:
        names = sim.events()
        known = [("warm", "a process that has used its memory", self.priced)]
        if self.priced.cold:
            known.append(("cold", "the first use in a process (no interval)", self.priced.as_cold()))
        for name, title, costs in known:
            yield {
                "name": name,
                "title": title,
                "drawn_from": bool(costs.draws),
                # JSON has no number for what is not known.
                "p95_error": costs.p95_error if isfinite(costs.p95_error) else None,
                "unpriced": [event for event in names if costs.status.get(event) == "not in the data"],
                "words": f"{costs.words()} | {costs.origin}",
                "vector": [costs.vector[event] for event in names],
            }

    def problem(self, state: dict[str, Any]) -> str | None:
        """Return what is wrong with a state, or None: besides its rules, a composed design agrees with itself."""
        broken = super().problem(state)
        if broken or "composed" not in state["designs"]:
            return broken
        try:
            self._design("composed", state)
        except UffdlabError as error:
            return str(error)
        return None

    def _design(self, name: str, state: dict[str, Any]) -> Design:
        if name != "composed":
            return self.records[name]
        values = {one: {"true": True, "false": False}.get(value, value) for one, value in state["composed"].items()}
        return Design("composed", "composed by switches", **values)

    def workload(self) -> Workload:
        """Return what the controls stand for."""
        state = self.state
        return Workload(
            int(state["span"]),
            state["populated"],
            int(state["cluster"]),
            reads=int(state["reads"]),
            writes=int(state["writes"]),
        )

    def chosen(self) -> list[Design]:
        """Return the designs that are compared."""
        return [self._design(name, self.state) for name in dict.fromkeys(self.state["designs"]) if name]

    def _costs(self) -> Costs:
        return self.priced if self.state["costs"] == "warm" else self.priced.as_cold()

    def decision(self) -> pd.DataFrame:
        """Return what the map draws (see :func:`uffdlab.sim.df_decision`), over the values that it draws it for."""
        x, y = ((_AXES.get(name, name), steps(name, self.state)) for name in (self.state["x"], self.state["y"]))
        return sim.df_decision(
            self._costs(), self.state["objective"], self.chosen(), self.workload(), x, y, self.state["weights"]
        )

    def frame(self) -> pd.DataFrame:
        """Return what the comparison draws: one row per design, times with ``_low`` and ``_high``, memory in KiB."""
        costs = self._costs()
        rows = []
        for design in self.chosen():
            found = sim.expect(design, self.workload())
            row: dict[str, Any] = {"design": design.name}
            for column, ledger in (("stop", found.protect), ("work", found.total)):
                cost = costs.price(ledger)
                ends = {f"{column}_ns_low": cost.low, f"{column}_ns_high": cost.high}
                row |= {f"{column}_ns": cost.value} | ends
            rows.append(row | {"tables_kib": found.tables_kib[2], "pages_kib": found.pages_kib[2]})
        return pd.DataFrame(rows)


def _grids(parameter: str) -> list[list[float]]:
    """Return the values that a map is drawn for; of clusters for each power of two of 2 MiB that a range may have."""
    one = PARAMETERS[parameter]
    return [one.grid(high) for high in (range(9, one.high + 1) if parameter == "cluster" else [one.high])]


def steps(parameter: str, state: dict[str, Any]) -> list[float]:
    """Return the values of a parameter that a map is drawn for in a state."""
    grids = _grids(parameter)
    return grids[min(len(grids) - 1, (int(state["span"]) >> 21).bit_length() - 1)]


def _rules(designs: Sequence[str], costs: Sequence[str]) -> Rules:
    known = [*designs, "composed"]
    slots = {
        "type": "array",
        "minItems": SLOTS,
        "maxItems": SLOTS,
        "items": one_of(["", *known], f"unknown design {{value}}: choose one of {', '.join(known)}", ""),
        "contains": {"enum": known},
        "wrong": f"designs is {{value}}: it names {SLOTS}, of which some may be empty texts",
    }
    composed = {
        name: one_of(values, f"{name} of the composed design is {{value}}, not one of {', '.join(values)}")
        for name, values in choices().items()
    }
    weight = {"type": "number", "minimum": 0, "maximum": 1}
    no_words = "objective, x, y and tab are words"
    pair = f"a map has two of {', '.join(PARAMETERS)}, not"
    axis = one_of(PARAMETERS, f"{pair} {{value}}", no_words)
    span = "span {value} B is not a multiple of 2 MiB up to 16 TiB"
    powers = [1 << power for power in range(19)]
    touches = f"cannot be made here: choose 0 to {MOST_TOUCHES:,}"
    fields: dict[str, Rules] = {
        "designs": slots,
        "composed": record(composed, f"a composed design has {', '.join(composed)}"),
        "span": number("span", span, minimum=2 << 20, maximum=16 << 40, multipleOf=2 << 20),
        "populated": number("populated", "populated fraction {value} is outside 0..1", minimum=0, maximum=1),
        "cluster": number(
            "cluster", f"clusters are of a power of two up to {powers[-1]} pages, not {{value}}", enum=powers
        ),
        **{
            name: number(name, f"{{value}} {name} {touches}", minimum=0, maximum=MOST_TOUCHES, multipleOf=1)
            for name in ("reads", "writes")
        },
        "costs": one_of(costs, f"there are no costs called {{value}} here: choose {' or '.join(costs)}"),
        "tab": one_of(["compare", "map"], "there is no tab {value}: choose compare or map", no_words),
        "x": axis,
        "y": axis,
        "objective": one_of(
            OBJECTIVES, f"unknown objective {{value}}: choose one of {', '.join(OBJECTIVES)}", no_words
        ),
        "weights": record(
            dict.fromkeys(MIXED, weight), f"weights are numbers from 0 to 1, one for each of {', '.join(MIXED)}"
        ),
    }
    both = [{"properties": {"x": {"enum": [name]}, "y": {"enum": [name]}}} for name in PARAMETERS]
    apart = [{"not": {**one, "required": ["x", "y"]}, "wrong": f"{pair} one of them twice"} for one in both]
    return record(fields, f"a view of designs has {', '.join(fields)}, and nothing else", *apart)


def _fields_of(design: Design) -> dict[str, str]:
    values = asdict(design)
    return {name: _WORDS.get(values[name], values[name]) for name in choices()}


def _as_sent(design: Design, own: int) -> dict[str, Any]:
    """Return a design as the page draws it; of a reader's own, the ``own``-th gets a look that no other has."""
    colour, symbol, title = look_of(design.name)
    if own >= 0:
        colour, symbol, _ = designs.OWN[own % len(designs.OWN)]
    look = {"colour": colour, "symbol": symbol, "dash": dash_of(design.name), "glyph": designs.GLYPHS[symbol]}
    return {"name": design.name, "title": title, "packed": design.numbers()} | look
