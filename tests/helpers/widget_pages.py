# SPDX-License-Identifier: MIT
"""A page with the three widgets, and what tests do with them."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
from latency import latencies
from making import HEADER, code, parameters, save

from uffdlab import sim
from uffdlab.report.execute import execute
from uffdlab.report.page import to_html
from uffdlab.sim.decision import OBJECTIVES
from uffdlab.widgets import DesignExplorer

DESIGNS = ["preread", "pte_marker", "pmd_marker", "pud_marker"]
EXPLORE = """import plotly.graph_objects as go
from uffdlab.widgets import Slider, explore
def curve(power, side):
    return go.Figure(go.Scatter(x=[1, 2, 3], y=[x ** power * (1 if side == "up" else -1) for x in (1, 2, 3)]))
explore(curve, {"power": Slider(1, 5, grid=5), "side": ["up", "down"]})"""
THREE = (
    EXPLORE,
    f"from uffdlab.widgets import DesignExplorer, PageTableView\nDesignExplorer({DESIGNS})",
    'PageTableView("pmd_marker", steps=[("protect", 0), ("write", 0)])',
)
EXPLORER, DESIGN, TABLES = NAMES = ("widget-1", "widget-2", "widget-3")


def curve(power: float, side: str) -> go.Figure:
    """Draw what EXPLORE draws."""
    return go.Figure(go.Scatter(x=[1, 2, 3], y=[x**power * (1 if side == "up" else -1) for x in (1, 2, 3)]))


def written(directory: Path, *sources: str) -> Path:
    """Return the page of a notebook with these cells."""
    path = save(directory / "01_widgets.ipynb", "# Widgets\n\nAll of them.", parameters(), *map(code, sources))
    file = directory / "page.html"
    file.write_text(to_html(execute(path, {}), HEADER), encoding="utf-8")
    return file


def moved(tab: Any, name: str, state: dict[str, Any]) -> None:
    """Set a widget's state as a control would, and wait until it is drawn."""
    tab.evaluate(
        """([name, state]) => {
            const model = uffdlabWidgets.modelOf(name);
            model.set("state", state);
            model.save_changes();
        }""",
        [name, state],
    )
    settled(tab)


def settled(tab: Any) -> None:
    tab.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 80))))"
    )


def plotted(tab: Any, name: str, which: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tab.evaluate(
        """([name, which]) => document.querySelectorAll(`[data-model=${name}] .js-plotly-plot`)[which].data.map(
             ({name, x, y, z, base, customdata, hovertext, error_x, xaxis, marker}) => ({
                name, x, y, z: z || null, base, customdata, hovertext: hovertext || null, xaxis: xaxis || "x",
                pattern: marker && marker.pattern && marker.pattern.shape,
                up: error_x && error_x.array, down: error_x && error_x.arrayminus}))""",
        [name, which],
    )
    return found


# --- seeded states, and what Python has at them -----------------------------------------------------------------------


def random_designs(seed: int, state: dict[str, Any]) -> dict[str, Any]:
    """Return a state of the design explorer."""
    rng = random.Random(seed)
    named = rng.sample([name for name, one in sim.DESIGNS.items() if one.leaf == "pte"], rng.randint(2, 4))
    span = (1 << rng.randint(21, 44)) * rng.choice([1, 3]) // rng.choice([1, 2])
    span = min(max(span // (2 << 20) * (2 << 20), 2 << 20), 16 << 40)
    cluster = 1 << rng.randint(0, min(18, (span // 4096).bit_length() - 1))
    return state | {
        "designs": named + [""] * (4 - len(named)),
        "span": span,
        "populated": rng.choice([0.0, 1.0, rng.random()]),
        "cluster": cluster,
        "reads": rng.choice([0, rng.randint(1, 10**6)]),
        "writes": rng.choice([0, rng.randint(1, 10**8)]),
        "costs": rng.choice(["warm", "warm", "cold"]),
        "objective": rng.choice(OBJECTIVES[:4]),
    }


def designs_are_equal(explorer: DesignExplorer, tab: Any, name: str) -> None:
    """Hold what a page drew to what Python computes, to the bit."""
    state, frame, drawn = explorer.state, explorer.frame(), plotted(tab, name)
    for axis, column in (("x", "stop_ns"), ("x2", "work_ns"), ("x3", "tables_kib")):
        (points,) = (one for one in drawn if one["xaxis"] == axis)
        assert points["x"] == list(frame[column]), (state, column)
        if column != "tables_kib" and state["costs"] == "warm":
            low, high = (list(frame[f"{column}_{end}"]) for end in ("low", "high"))
            assert points["up"] == [end - value for end, value in zip(high, frame[column], strict=True)], state
            assert points["down"] == [value - end for end, value in zip(low, frame[column], strict=True)], state
    _latencies_are_equal(explorer, [one for one in drawn if one["xaxis"] == "x4"])
    _work_is_equal(explorer, tab, name)


def _work_is_equal(explorer: DesignExplorer, tab: Any, name: str) -> None:
    """Hold the bars to what all work consists of: each part's share, and the boxes as wide as the shares say."""
    bars: list[list[list[Any]]] = tab.evaluate(
        """(name) => [...document.querySelectorAll(`[data-model=${name}] .ul-bars .bar`)].map((bar) => {
             const wide = (one) => one.getBoundingClientRect().width;
             return [...bar.children].map((box) => [box.dataset.part, Number(box.dataset.share),
                                                    100 * wide(box) / wide(bar)]);
           })""",
        name,
    )
    chosen = explorer.chosen()
    work = _df_waterfall(explorer._costs(), chosen, explorer.workload())
    assert len(bars) == len(chosen)
    for bar, design in zip(bars, chosen, strict=True):
        costs = work[work.design == design.name].groupby("event").cost.sum()
        shares = {event.replace("_", " "): 100 * cost / costs.sum() for event, cost in costs.items() if cost > 0}
        named = {part: share for part, share, _ in bar if part != "everything else"}
        assert named == pytest.approx({part: shares[part] for part in named})
        assert sum(share for _, share, _ in bar) == pytest.approx(100)
        assert [width for _, _, width in bar] == pytest.approx([share for _, share, _ in bar], abs=0.5)


def _latencies_are_equal(explorer: DesignExplorer, lines: list[dict[str, Any]]) -> None:
    work, costs = explorer.workload(), explorer._costs()
    asking = [one for one in explorer.chosen() if latencies(sim.expect(one, work), costs)]
    lines = [line for line in lines if line["x"]]
    assert len(lines) == len(asking)
    for line, design in zip(lines, asking, strict=True):
        frame = _df_latency(costs, [design], work)
        assert line["x"] == list(frame.cost)
        assert line["y"] == list(frame.slower)


def random_point(rng: random.Random, axes: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """Return a state of an ``explore`` in a page, and the key of the figure that Python computed for it."""
    at = [rng.randrange(len(axis["values" if axis["kind"] == "choice" else "grid"])) for axis in axes]
    state = {
        axis["name"]: axis["values" if axis["kind"] == "choice" else "grid"][i]
        for axis, i in zip(axes, at, strict=True)
    }
    return state, ",".join(map(str, at))


def unbaked(baked: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the figure that Python computed for a point of the grid."""
    figure: dict[str, Any] = copy.deepcopy(baked["first"])
    for path, value in baked["patches"][key]:
        at: Any = figure
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value
    return figure


# --- what a page draws, in plain Python ------------------------------------------------------------------------------


def _df_latency(costs: sim.Costs, designs: list[sim.SimDesign], workload: sim.Workload) -> pd.DataFrame:
    """Return how many writes of a workload cost how much, by design: ``cost`` with its interval, ``share``, ``slower``.

    Writes that find their page ask nothing of the kernel, and are left out. ``slower`` is the share of the others that
    cost as much or more; ``found`` the level at which the entry was found.
    """
    rows = []
    for design in designs:
        found = latencies(sim.expect(design, workload), costs)
        for one in found:
            cost = {"cost": one.cost.value, "cost_low": one.cost.low, "cost_high": one.cost.high}
            words = {"design": design.name, "found": one.shape.found, "kind": one.shape.kind}
            rows.append(words | cost | {"share": one.share, "slower": one.slower})
    return pd.DataFrame(rows)


def _df_waterfall(costs: sim.Costs, designs: list[sim.SimDesign], workload: sim.Workload) -> pd.DataFrame:
    """Return of what the total work consists: one row per design and event that costs something."""
    rows = []
    for design in designs:
        result = sim.expect(design, workload)
        for phase, ledger in (("protect", result.protect), ("touches", result.touches)):
            for event, count, cost in costs.dearest(ledger, most=len(ledger)):
                rows.append({"design": design.name, "phase": phase, "event": event, "count": count, "cost": cost})
    return pd.DataFrame(rows, columns=["design", "phase", "event", "count", "cost"])
