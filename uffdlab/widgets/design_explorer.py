# SPDX-License-Identifier: MIT
"""Designs compared: predicted cost of each, break-even, and decision map. The simulator runs in the page."""

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
from uffdlab.sim import Costs, SimDesign, Workload
from uffdlab.sim.decision import MIXED, OBJECTIVES
from uffdlab.sim.designs import choices, record_of
from uffdlab.vocabulary import designs
from uffdlab.vocabulary.looks import GREY, PARTS
from uffdlab.widgets.base import View, asset, moved
from uffdlab.widgets.views import Rules, number, one_of, record

SLOTS = 4
MOST_TOUCHES = 1 << 30
_GRID = 15  # values of a parameter that a map is drawn for


@dataclass(frozen=True)
class Parameter:
    """A slider from ``low`` to ``high``; logarithmic ones have exponents of 2.

    Values of logarithmic ones are multiples of ``whole``, less ``plus``. ``format`` is a key of FORMATS in base.js.
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

    def grid(self) -> list[float]:
        """Return the values that a map is drawn for."""
        at = [self.low + (self.high - self.low) * i / (_GRID - 1) for i in range(_GRID)]
        if not self.log:
            return at
        powers = [floor(exponent + 0.5) for exponent in at] if self.step == 1 else at
        return [floor(2**exponent / self.whole + 0.5) * self.whole - self.plus for exponent in powers]


PARAMETERS = {
    "span": Parameter("Size of the range", "size of the range", "B", "size", 21, 44, 0.25, whole=2 << 20),
    "populated": Parameter("Populated beforehand", "populated", "share populated", "percent", 0, 1, 0.005, log=False),
    "cluster": Parameter("Populated cluster", "populated cluster", "contiguous pages", "pages", 0, 18, 1),
    "reads": Parameter("Reads afterwards", "reads afterwards", "reads", "count", 0, 30, 0.25, plus=1),
    "writes": Parameter("Writes afterwards", "writes afterwards", "writes", "count", 0, 30, 0.25, plus=1),
}
_AXES = {"span": "span_bytes", "cluster": "cluster_pages"}  # names in a workload
_TITLES = {
    "memory": "memory of tables and pages",
    "tail latency": "slowest 1 % of later writes",
    "mix": "a weighted mix",
}
# The entry that a write finds: contents and level, by number.
_FOUND = {
    "kinds": ["an empty entry", "a marker", "a zeropage", "a protected page"],
    "levels": ["PTE", "PMD", "PUD"],
}
# A tie is dotted or crossed, which no design is.
_TIE = {"name": "tie", "title": "a tie", "glyph": "=", "colour": GREY}
_COMPOSED_LOOK = dict.fromkeys(("name", "title"), "composed") | designs.COMPOSED._asdict()
_COMPOSED_LOOK["glyph"] = designs.GLYPHS[designs.COMPOSED.symbol]
# Switches of a composed design; the other fields concern discarded memory, of which there is none here, or hugetlb.
_COMPOSED = {
    "empty": "Empty entries become",
    "level": "Highest level",
    "spread": "A touch under a marker",
    "prefault": "Prefault",
    "remembers": "The VMA remembers",
    "asynchronous": "Asynchronous (no event)",
    "thp": "Faults may map huge pages",
    "zeropage": "Reads may map the zeropage",
    "huge_zeropage": "Reads may map the huge zeropage",
    "missing": "Registered for missing pages too",
    "deposit": "Huge entries deposit a PTE table",
    "resolve": "A handler resolves, of a huge entry",
}
_WORDS = {True: "true", False: "false"}


class DesignExplorer(View):
    """Comparison of two to four designs. ``state`` has ``designs`` (names, ``composed``, or "" for none), ``composed``
    (its fields), ``span`` (bytes), ``populated``, ``cluster`` (pages), ``reads``, ``writes``, ``costs``; and of the
    decision map ``x``, ``y``, ``objective``, ``weights``.

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
    parts: Any = traitlets.List(list(PARTS)).tag(sync=True)
    costs: Any = traitlets.List().tag(sync=True)
    draws = traitlets.Bytes().tag(sync=True)
    caption = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        designs: Sequence[SimDesign | str] = ("populate_read", "pte_marker", "pmd_marker", "pud_marker"),
        *,
        priced: Costs | None = None,
        **changes: Any,
    ) -> None:
        """Show designs (names or records), priced by the committed costs or others; ``changes`` are of the state."""
        if not 1 <= len(designs) <= SLOTS:
            raise UffdlabError(f"{len(designs)} designs: choose 1 to {SLOTS}")
        own = [record_of(design) for design in designs]
        if len({design.name for design in own}) != len(own):
            raise UffdlabError("two of the designs have the same name: name them apart with .replace(name=…)")
        anonymous = (design for design in sim.DESIGNS.values() if design.leaf == "pte")
        self.records = {design.name: design for design in (*anonymous, *own)}
        new = [design.name for design in own if sim.DESIGNS.get(design.name) != design]
        self.priced = (priced or sim.load_costs()).in_unit("ns")
        state = {
            "designs": [design.name for design in own] + [""] * (SLOTS - len(own)),
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
        state = moved(state, changes)
        names = sim.events()
        super().__init__(
            designs=[
                *(_as_sent(known, new.index(name) if name in new else -1) for name, known in self.records.items()),
                _COMPOSED_LOOK,
            ],
            parameters=[{"name": name} | asdict(axis) | {"grid": axis.grid()} for name, axis in PARAMETERS.items()],
            fields=[
                {"name": name, "label": _COMPOSED.get(name, ""), "values": list(values)}
                for name, values in choices().items()
            ],
            costs=list(self._vectors()),
            rules=_rules(list(self.records), [vector["name"] for vector in self._vectors()]),
            draws=b"".join(struct.pack(f"<{len(names)}d", *(d[name] for name in names)) for d in self.priced.draws),
            caption="Hollow: predicted. Bands: intervals, from the costs that the data allows and the error of "
            "predictions. Work is expected work: reads, then writes, spread evenly.",
            state=state,
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
                # JSON has no infinity.
                "p95_error": costs.p95_error if isfinite(costs.p95_error) else None,
                "ratio_p95_error": costs.error_of_ratios if isfinite(costs.error_of_ratios) else None,
                "unpriced": [event for event in names if costs.status.get(event) == "not in the data"],
                "words": f"{costs.words()} | {costs.origin}",
                "vector": [costs.vector[event] for event in names],
            }

    def problem(self, state: dict[str, Any]) -> str | None:
        """Return the problem of a state, or None; a composed design must not contradict itself."""
        broken = super().problem(state)
        if broken or "composed" not in state["designs"]:
            return broken
        try:
            self._design("composed", state)
        except UffdlabError as error:
            return str(error)
        return None

    def _design(self, name: str, state: dict[str, Any]) -> SimDesign:
        if name != "composed":
            return self.records[name]
        values = {field: {"true": True, "false": False}.get(value, value) for field, value in state["composed"].items()}
        return SimDesign("composed", "composed by switches", **values)

    def workload(self) -> Workload:
        """Return the workload that the controls are set to."""
        state = self.state
        return Workload(
            int(state["span"]),
            state["populated"],
            int(state["cluster"]),
            reads=int(state["reads"]),
            writes=int(state["writes"]),
        )

    def chosen(self) -> list[SimDesign]:
        """Return the compared designs."""
        return [self._design(name, self.state) for name in dict.fromkeys(self.state["designs"]) if name]

    def _costs(self) -> Costs:
        return self.priced if self.state["costs"] == "warm" else self.priced.as_cold()

    def decision(self) -> pd.DataFrame:
        """Return the data of the map (see :func:`uffdlab.sim.df_decision`)."""
        x, y = ((_AXES.get(name, name), PARAMETERS[name].grid()) for name in (self.state["x"], self.state["y"]))
        return sim.df_decision(
            self._costs(), self.state["objective"], self.chosen(), self.workload(), x, y, self.state["weights"]
        )

    def frame(self) -> pd.DataFrame:
        """Return the data of the comparison: one row per design, times with ``_low`` and ``_high``, memory in KiB."""
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


def _rules(designs: Sequence[str], costs: Sequence[str]) -> Rules:
    known = [*designs, "composed"]
    names = f"give {SLOTS} names, some of which may be empty"
    unknown = f"unknown design {{value}}: choose one of {', '.join(known)}"
    slots = {
        "type": "array",
        "minItems": SLOTS,
        "maxItems": SLOTS,
        "items": one_of(["", *known], unknown, f"a design is {{value}}: {names}"),
        "contains": {"enum": known},
        "wrong": f"designs is {{value}}: {names}",
    }
    composed = {
        name: one_of(values, f"{name} of the composed design is {{value}}, not one of {', '.join(values)}")
        for name, values in choices().items()
    }
    weights = f"weights are numbers from 0 to 1, one for each of {', '.join(MIXED)}"
    weight = {"type": "number", "minimum": 0, "maximum": 1, "wrong": weights}
    no_words = "objective, x, y and tab are words"
    pair = f"a map has two of {', '.join(PARAMETERS)}, not"
    axis = one_of(PARAMETERS, f"{pair} {{value}}", no_words)
    span = "span {value} B is not a multiple of 2 MiB up to 16 TiB"
    powers = [1 << power for power in range(19)]
    touches = f"are out of range: choose 0 to {MOST_TOUCHES:,}"
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
        "costs": one_of(costs, f"unknown costs {{value}}: choose {' or '.join(costs)}"),
        "tab": one_of(["compare", "map"], "unknown tab {value}: choose compare or map", no_words),
        "x": axis,
        "y": axis,
        "objective": one_of(
            OBJECTIVES, f"unknown objective {{value}}: choose one of {', '.join(OBJECTIVES)}", no_words
        ),
        "weights": record(dict.fromkeys(MIXED, weight), weights),
    }
    both = [{"properties": {"x": {"enum": [name]}, "y": {"enum": [name]}}} for name in PARAMETERS]
    apart = [{"not": {**same, "required": ["x", "y"]}, "wrong": f"{pair} one of them twice"} for same in both]
    return record(fields, f"a view of designs has {', '.join(fields)}, and nothing else", *apart)


def _fields_of(design: SimDesign) -> dict[str, str]:
    values = asdict(design)
    return {name: _WORDS.get(values[name], values[name]) for name in choices()}


def _as_sent(design: SimDesign, own: int) -> dict[str, Any]:
    """Return a design with its look; the ``own``-th of a reader's own has a look of its own."""
    colour, symbol, title = look_of(design.name)
    if own >= 0:
        colour, symbol, _ = designs.OWN[own % len(designs.OWN)]
    look = {"colour": colour, "symbol": symbol, "dash": dash_of(design.name), "glyph": designs.GLYPHS[symbol]}
    return {"name": design.name, "title": title, "packed": design.numbers()} | look
