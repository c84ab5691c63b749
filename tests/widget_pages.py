# SPDX-License-Identifier: MIT
"""A page with the three widgets, and what tests do with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from making import HEADER, code, parameters, save

from uffdlab.report.execute import execute
from uffdlab.report.page import to_html

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
             ({name, x, y, base, customdata, error_x, xaxis, marker}) => ({
                name, x, y, base, customdata, xaxis: xaxis || "x",
                pattern: marker && marker.pattern && marker.pattern.shape,
                up: error_x && error_x.array, down: error_x && error_x.arrayminus}))""",
        [name, which],
    )
    return found
