# SPDX-License-Identifier: MIT
"""Widgets in a page as readers meet them: views, data, print, a telephone, a screen reader, and hostile texts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from making import HEADER, code, notebook, opened, page, parameters, shows
from widget_pages import DESIGN, DESIGNS, EXPLORE, EXPLORER, TABLES, curve, moved, plotted, settled, written

from uffdlab.notebook import Table
from uffdlab.report.execute import execute
from uffdlab.report.page import to_html
from uffdlab.widgets import DesignExplorer, Slider, explore

pytestmark = pytest.mark.browser


@pytest.fixture
def tab(widgets_tab: Any) -> Any:
    return widgets_tab


@pytest.fixture
def file(widgets_file: Path) -> Path:
    return widgets_file


# --- views -----------------------------------------------------------------------------------------------------------


def test_a_copied_view_restores_itself_in_another_page_and_in_python(browser: Any, tab: Any, file: Path) -> None:
    explorer = DesignExplorer(DESIGNS)
    moved(tab, DESIGN, explorer.state | {"span": 1 << 42, "populated": 0.3, "tab": "map"})
    text = tab.get_by_label("This view as text").nth(1).input_value()
    explorer.view = text
    assert (explorer.state["span"], explorer.state["tab"]) == (1 << 42, "map")
    with opened(browser, file) as other:
        other.locator(f"[data-model={DESIGN}] .ul-view summary").click()
        other.get_by_label("A view to restore").nth(1).fill(explorer.view)
        other.get_by_role("button", name="Restore").click()
        assert other.evaluate("name => uffdlabWidgets.modelOf(name).get('state')", DESIGN) == explorer.state
        assert other.locator("[role=tab][aria-selected=true]").inner_text() == "Decision map"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nonsense", "'nonsense' is not a uffdlab view"),
        ("uffdlab:explore:e30", "a view of another widget (explore)"),
        ("uffdlab:designs:%%%", "this view is damaged"),
        ("uffdlab:designs:e30", "a view of designs has designs, composed, span"),
    ],
)
def test_invalid_view_is_refused_in_a_page(tab: Any, text: str, sentence: str) -> None:
    before = tab.evaluate("name => uffdlabWidgets.modelOf(name).get('state')", DESIGN)
    view = tab.locator(f"[data-model={DESIGN}] .ul-view")
    view.locator("summary").click()
    view.get_by_label("A view to restore").fill(text)
    view.get_by_role("button", name="Restore").click()
    assert sentence in view.locator("[role=status]").inner_text()
    assert tab.evaluate("name => uffdlabWidgets.modelOf(name).get('state')", DESIGN) == before
    view.locator("summary").click()


# --- data, print, narrow screens, themes -----------------------------------------------------------------------------


def test_csv_has_the_drawn_data(tab: Any) -> None:
    moved(tab, EXPLORER, {"power": 3, "side": "up"})
    with tab.expect_download() as download:
        tab.locator(f"[data-model={EXPLORER}] .csv").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[6] for line in lines[1:]] == ["1", "8", "27"]
    with tab.expect_download() as download:
        tab.locator(f"[data-model={TABLES}] .csv").click()
    assert len(Path(download.value.path()).read_text(encoding="utf-8").splitlines()) == 1 + 2 * 512


def _saved(tab: Any, widget: str, which: int = 0) -> list[dict[str, str]]:
    with tab.expect_download() as download:
        tab.locator(f"[data-model={widget}] .csv:visible").nth(which).click()
    return list(csv.DictReader(Path(download.value.path()).read_text(encoding="utf-8").splitlines()))


def test_csv_of_designs_equals_python(tab: Any) -> None:
    explorer = DesignExplorer(DESIGNS)
    moved(tab, DESIGN, explorer.state)
    rows = _saved(tab, DESIGN)
    frame = explorer.frame()
    for series, column in (
        ("stop time, predicted", "stop_ns"),
        ("all work, predicted", "work_ns"),
        ("page tables afterwards, counted", "tables_kib"),
    ):
        own = [row for row in rows if row["series"] == series]
        assert [float(row["x"]) for row in own] == list(frame[column])
        assert {row["x_unit"] for row in own} == {"ns" if column.endswith("_ns") else "KiB"}
    parts = [row for row in rows if row["series"].startswith("of all work: ")]
    assert sum(float(row["x"]) for row in parts) == pytest.approx(100 * len(DESIGNS))
    assert {row["x_unit"] for row in parts} == {"%"}


def test_csv_of_a_map_names_its_axes(tab: Any) -> None:
    moved(tab, DESIGN, DesignExplorer(DESIGNS).state | {"tab": "map", "x": "populated", "y": "writes"})
    rows = _saved(tab, DESIGN)
    assert {(row["x_unit"], row["y_unit"]) for row in rows} == {("share populated", "writes")}
    (here,) = (row for row in rows if row["series"] == "where the controls stand")
    assert (here["x"], here["y"]) == ("0", "1000")
    assert len(rows) == 15 * 15 + 1


def test_view_between_precomputed_values_is_shown_at_the_nearest(tab: Any) -> None:
    between = explore(curve, {"power": Slider(1, 5, grid=5), "side": ["up", "down"]})
    between.state = {"power": 2.3, "side": "up"}
    view = tab.locator(f"[data-model={EXPLORER}] .ul-view")
    view.locator("summary").click()
    view.get_by_label("A view to restore").fill(between.view)
    view.get_by_role("button", name="Restore").click()
    assert "shown at the nearest precomputed value" in view.locator("[role=status]").inner_text()
    assert plotted(tab, EXPLORER)[0]["y"] == [1, 4, 9]
    view.locator("summary").click()


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_scrolls_sideways_on_a_telephone(browser: Any, file: Path, dark: bool) -> None:
    with opened(browser, file, width=360, dark=dark) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        moved(tab, DESIGN, DesignExplorer(DESIGNS).state | {"tab": "map"})
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_figure_follows_the_theme(tab: Any) -> None:
    ink = f"() => getComputedStyle(document.querySelector('[data-model={DESIGN}] .xtick text')).fill"
    before = tab.evaluate(ink)
    tab.click("#theme")
    settled(tab)
    assert tab.evaluate(ink) != before
    tab.click("#theme")
    settled(tab)


def test_printing_gives_the_figure_without_its_controls(tab: Any) -> None:
    tab.emulate_media(media="print")
    assert not tab.locator(f"[data-model={DESIGN}] input[type=range]").first.is_visible()
    assert tab.locator(f"[data-model={DESIGN}] .main-svg").first.is_visible()
    assert tab.locator(f"[data-model={DESIGN}] output").first.is_visible()


def test_every_control_has_a_name_and_a_focus_that_is_seen(tab: Any) -> None:
    nameless = tab.evaluate(
        """() => [...document.querySelectorAll(".widget :is(input, select, button)")].filter((one) =>
             !(one.labels && one.labels.length) && !one.getAttribute("aria-label") && !one.textContent.trim()).map(
               (one) => one.outerHTML)"""
    )
    assert nameless == []
    tab.locator(f"[data-model={DESIGN}] input[type=range]").first.focus()
    tab.keyboard.press("Tab")
    outline = tab.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert outline != "0px"


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(browser: Any, file: Path, dark: bool) -> None:
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(offline=True, bypass_csp=True, color_scheme="dark" if dark else "light")
    try:
        tab = context.new_page()
        tab.goto(file.as_uri())
        tab.wait_for_selector("html[data-drawn]")
        found = Axe().run(tab).response["violations"]
        serious = [
            (one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")
        ]
        assert serious == []
    finally:
        context.close()


# --- hostile and broken things ---------------------------------------------------------------------------------------


def test_hostile_texts_are_shown_as_text(browser: Any, tmp_path: Path) -> None:
    hostile = '</script><script>document.title = "taken"</script>\\x00\\u2028"\'<!--'
    source = (
        "import plotly.graph_objects as go\nfrom uffdlab.widgets import explore\n"
        f'bad = """{hostile}"""\n'
        'def drawn(word): return go.Figure(go.Scatter(x=[1], y=[1], name=bad, text=["x" * 100_000]))\n'
        'explore(drawn, {"word": [bad, "good"]}, title=bad)'
    )
    with opened(browser, written(tmp_path, source)) as tab:
        assert tab.title() != "taken"
        assert tab.locator("option").first.inner_text().startswith("</script><script>")
        assert plotted(tab, EXPLORER)[0]["name"].startswith("</script>")


def test_a_table_of_hostile_cells_is_text(browser: Any, tmp_path: Path) -> None:
    hostile = [
        "</script><script>document.title = 'taken'</script>",
        "\"'><img src=x onerror=alert(1)>",
        "a\x00b\x1b[31m",
        "<!--",
    ]
    frame = pd.DataFrame({"text": [*hostile, "x" * 10_000_000]})
    file = tmp_path / "page.html"
    file.write_text(page(code("t", shows("text/html", Table(frame)._repr_html_()))), encoding="utf-8")
    with opened(browser, file) as tab:
        assert tab.title() != "taken"
        cells = tab.locator("td").all_inner_texts()
        assert [cells[i] for i in (0, 1, 3)] == [hostile[i] for i in (0, 1, 3)]
        assert "\x1b" not in cells[2]
        assert tab.locator("td").last.evaluate("cell => cell.textContent.length") >= 50


def test_foreign_widget_has_a_notice(tmp_path: Path) -> None:
    source = "import ipywidgets\nipywidgets.IntSlider()"
    assert "This output is a widget that needs the live notebook." in written(tmp_path, source).read_text()


def test_boxes_and_labels_around_widgets_are_laid_out(browser: Any, tmp_path: Path) -> None:
    source = (
        "import ipywidgets, plotly.graph_objects as go\nfrom uffdlab.widgets import explore\n"
        "one = explore(lambda word: go.Figure(go.Scatter(x=[1], y=[len(word)])), {'word': ['a', 'bb']})\n"
        "ipywidgets.VBox([ipywidgets.Label('5 < 6'), ipywidgets.HTML('<b>bold</b>'), ipywidgets.HBox([one])])"
    )
    with opened(browser, written(tmp_path, source)) as tab:
        assert tab.locator(".widget .vbox, .widget.vbox").count() == 1
        assert "5 < 6" in tab.locator(".widget").inner_text()
        assert tab.locator(".widget b").inner_text() == "bold"
        assert tab.locator(".js-plotly-plot").count() == 1


def test_the_same_notebook_gives_the_same_page(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "01_widgets.ipynb"
    nbformat.write(notebook("# A\n\nB.", parameters(), code(EXPLORE)), path)
    pages = [to_html(execute(path, {}), HEADER) for _ in range(2)]
    assert pages[0] == pages[1]
