# SPDX-License-Identifier: MIT
"""Saved data matches the visible data, and each kind of entry has its own pattern, in a real browser."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from making import code, figure, opened, page
from widget_pages import TABLES, moved

from uffdlab.widgets import PageTableView

pytestmark = pytest.mark.browser


def test_traces_hidden_by_the_legend_are_not_saved(browser: Any, tmp_path: Path) -> None:
    seen = {"seen": True, "hidden": False, "switched off": "legendonly", "unsaid": None}
    drawn = go.Figure([go.Scatter(x=[1], y=[2], name=name, visible=value) for name, value in seen.items()])
    file = tmp_path / "page.html"
    file.write_text(page(code("f", figure(drawn))), encoding="utf-8")
    with opened(browser, file) as tab:
        with tab.expect_download() as download:
            tab.click(".csv[data-figure=figure-1]")
        text = Path(download.value.path()).read_text(encoding="utf-8")
    assert [row["series"] for row in csv.DictReader(io.StringIO(text))] == ["seen", "unsaid"]


def test_markers_and_zeropages_have_different_patterns(widgets_tab: Any) -> None:
    view = PageTableView("pte_marker")
    for step, at in (("protect", 0), ("read", 3), ("write", 4)):
        view.do(step, page=at)  # type: ignore[arg-type]
    moved(widgets_tab, TABLES, view.state)
    fills = widgets_tab.evaluate(
        """name => Object.fromEntries([...document.querySelectorAll(
             `[data-model=${name}] svg rect.marker, [data-model=${name}] svg rect.zeropage`)].map((cell) => {
               const pattern = document.querySelector(cell.style.fill.match(/#[^")]+/)[0]);
               return [cell.getAttribute("class").split(" ")[0], pattern.lastElementChild.tagName];
             }))""",
        TABLES,
    )
    assert fills == {"marker": "path", "zeropage": "circle"}
