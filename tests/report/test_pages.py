# SPDX-License-Identifier: MIT
"""A rendered page in a real browser, offline: figures, controls and accessibility."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from making import HEADER, code, figure, measured, notebook, opened, page, says, shows

from uffdlab import datasets, figures
from uffdlab.report.page import to_single_html

pytestmark = pytest.mark.browser

FIGURES = ("figure-1", "figure-2", "figure-3")


def _stepped(draw: Callable[[Any], go.Figure], values: dict[str, Any], name: str, active: int) -> go.Figure:
    """Return a figure with plotly's own slider over what ``draw`` returns, as readers' figures may have one."""
    every = [draw(value) for value in values.values()]
    figure = every[active]
    keys = ("x", "y", "text", "hovertext", "customdata", "error_x.array", "error_x.arrayminus", "error_y.array",
            "error_y.arrayminus", "marker.symbol")  # fmt: skip
    steps = []
    for label, one in zip(values, every, strict=True):
        moved = {key: [trace[key] for trace in one.data] for key in keys}
        steps.append({"method": "restyle", "label": label, "args": [moved]})
    figure.update_layout(sliders=[{"steps": steps, "active": active, "currentvalue": {"prefix": f"{name}: "}}])
    return figure


TABLE = "<table><thead><tr><th>what</th><th>how much</th></tr></thead><tbody>{}</tbody></table>".format(
    "".join(f"<tr><td>{'a rather long description of it ' * 4}</td><td>{i:,}</td></tr>" for i in (7, 1234567))
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[go.Figure]]:
    """Return a page with three figures of the package, each with a slider of plotly's, and the figures."""
    directory = tmp_path_factory.mktemp("pages")
    data, mine = measured(directory / "data"), measured(directory / "mine", "mine")
    published = datasets.load(datasets.locate("published"))
    sizes = {"10 GiB": 10, "64 GiB": 64, "1 TiB": 1024}
    drawn = [
        _stepped(lambda gib: figures.plot_published(published, data, mine, gib), sizes, "memory to protect", 0),
        _stepped(lambda share: figures.plot_skip(data, mine, share), {"0%": "0%", "50%": "50%"}, "written", 0),
        _stepped(lambda gib: figures.plot_guest(data, data, mine, gib), sizes, "guest RAM", 1),
    ]
    cells = [code("a = 1  # one", figure(one)) for one in drawn]
    cells += [code("f", shows("text/html", TABLE)), code("g", says("said"))]
    file = directory / "page.html"
    file.write_text(page("## A part\n\nProse with `code`.", *cells), encoding="utf-8")
    return file, drawn


@pytest.fixture(scope="module")
def file(made: tuple[Path, list[go.Figure]]) -> Path:
    return made[0]


_AS_IT_WAS = """() => {
    document.querySelectorAll("input[type=range]").forEach(input => {
        if (input.value === input.defaultValue) return;
        input.value = input.defaultValue;
        input.dispatchEvent(new Event("input"));
    });
    document.querySelectorAll("details.code").forEach(code => { code.open = false; });
    if (document.documentElement.dataset.theme === "dark") document.getElementById("theme").click();
    document.activeElement.blur();
}"""


@pytest.fixture(scope="module")
def shared(browser: Any, file: Path) -> Iterator[Any]:
    with opened(browser, file) as tab:
        yield tab


@pytest.fixture
def tab(shared: Any) -> Iterator[Any]:
    """Yield the page, open and drawn; what a test moves is moved back, since drawing takes a second."""
    yield shared
    shared.emulate_media(media="screen", color_scheme="light")
    shared.set_viewport_size({"width": 1280, "height": 900})
    shared.evaluate(_AS_IT_WAS)


def _plotted(tab: Any, id: str) -> list[dict[str, Any]]:
    """Return what the figure draws now, as far as a reader sees it."""
    found: list[dict[str, Any]] = tab.evaluate(
        """id => document.getElementById(id).data.map(({name, x, y, visible, error_x, error_y}) =>
             ({name, x, y, visible, bars: [error_x, error_y].map(bar => bar && [bar.array, bar.arrayminus])}))""",
        id,
    )
    return found


COLOUR = "id => getComputedStyle(document.querySelector(`#${id} .xtick text`)).fill"


def _colour(tab: Any, id: str = "figure-1") -> str:
    return str(tab.evaluate(COLOUR, id))


def _saved(tab: Any, id: str) -> tuple[str, list[dict[str, str]]]:
    with tab.expect_download() as download:
        tab.click(f".csv[data-figure={id}]")
    text = Path(download.value.path()).read_text(encoding="utf-8")
    return download.value.suggested_filename, list(csv.DictReader(io.StringIO(text)))


# --- drawing ----------------------------------------------------------------------------------------------------------


def test_figures_are_drawn_as_python_made_them(tab: Any, made: tuple[Path, list[go.Figure]]) -> None:
    for id, drawn in zip(FIGURES, made[1], strict=True):
        assert tab.locator(f"#{id} .main-svg").count() > 0
        for got, trace in zip(_plotted(tab, id), drawn.data, strict=True):
            assert got["name"] == trace.name
            assert got["x"] == list(trace.x)
            assert got["y"] == list(trace.y)


def test_packed_arrays_are_drawn_and_saved(browser: Any, tmp_path: Path) -> None:
    import numpy as np

    drawn = go.Figure(go.Scatter(x=np.array([1.5, 2.5]), y=np.array([3, 4]), name="packed"))
    (tmp_path / "page.html").write_text(page(code("f", figure(drawn))), encoding="utf-8")
    with opened(browser, tmp_path / "page.html") as tab:
        _, rows = _saved(tab, "figure-1")
        assert [(row["x"], row["y"]) for row in rows] == [("1.5", "3"), ("2.5", "4")]


def test_plotly_slider_is_replaced_by_the_input(tab: Any) -> None:
    assert tab.locator(".slider-container").count() == 0
    assert tab.locator("input[type=range]").count() == 3


def test_damaged_plotly_shows_a_notice(browser: Any, file: Path, tmp_path: Path) -> None:
    damaged = re.sub(r'(id="plotly">.{1000})', r"\1AAAAAAAA", file.read_text(encoding="utf-8"))
    (tmp_path / "page.html").write_text(damaged, encoding="utf-8")
    context = browser.new_context(offline=True)
    tab = context.new_page()
    tab.goto((tmp_path / "page.html").as_uri())
    tab.wait_for_selector(".failed")
    assert tab.locator(".failed:visible").count() == len(FIGURES)
    assert tab.locator(".failed").first.inner_text().startswith("This figure could not be drawn: ")
    assert _saved(tab, "figure-1")[1], "the data is still to be had"
    context.close()


def test_links_work_between_notebooks_of_a_joint_page(browser: Any, tmp_path: Path) -> None:
    drawn = figure(go.Figure(go.Scatter(x=[1, 2], y=[1, 2])))
    prose = "## A part\n\nSee [there](02_two.ipynb#A-part), [all of it](02_two.ipynb) and [here](#A-part)."
    joined = {
        "01_one": notebook("# One\n\nFirst.", prose, code("f", drawn)),
        "02_two": notebook("# Two\n\nSecond.", "## A part\n\nNothing.", code("f", drawn)),
    }
    file = tmp_path / "page.html"
    file.write_text(to_single_html(joined, HEADER), encoding="utf-8")
    with opened(browser, file) as tab:
        assert tab.locator(".plot:has(.main-svg)").count() == 2
        ids = tab.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
        links = tab.evaluate("[...document.querySelectorAll('a')].map((one) => one.getAttribute('href'))")
        assert len(ids) == len(set(ids))
        assert {"#02_two-A-part", "#02_two", "#01_one-A-part"} <= set(links)
        assert [link for link in links if not (link.startswith("#") and link[1:] in ids)] == []
        assert "render --single" in tab.inner_text("footer")


# --- moving sliders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 2])
def test_slider_moves_the_data_to_its_step(tab: Any, made: tuple[Path, list[go.Figure]], number: int) -> None:
    drawn, id = made[1][number], FIGURES[number]
    steps = drawn.layout.sliders[0].steps
    slider = tab.locator(f"#{id}-slider-0")
    slider.focus()
    tab.keyboard.press("End")
    assert slider.input_value() == str(len(steps) - 1)
    assert slider.get_attribute("aria-valuetext") == steps[-1].label
    assert tab.locator(f"output[for={id}-slider-0]").inner_text() == steps[-1].label
    moved, *which = steps[-1].args
    now = _plotted(tab, id)
    for place, trace in enumerate(which[0] if which else range(len(now))):
        for key in moved.keys() & {"x", "y", "visible"}:
            assert now[trace][key] == list(moved[key][place])


def test_slider_follows_the_pointer(tab: Any) -> None:
    before = _plotted(tab, "figure-1")
    tab.locator("#figure-1-slider-0").scroll_into_view_if_needed()
    box = tab.locator("#figure-1-slider-0").bounding_box()
    tab.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    assert tab.locator("#figure-1-slider-0 ~ output").inner_text() == "1 TiB"
    assert _plotted(tab, "figure-1") != before


def test_slider_moved_back_restores_the_figure(tab: Any) -> None:
    before = _plotted(tab, "figure-3")
    tab.focus("#figure-3-slider-0")
    for key in ("ArrowRight", "ArrowLeft"):
        tab.keyboard.press(key)
    assert _plotted(tab, "figure-3") == before


def test_axes_are_fixed_while_a_slider_moves(tab: Any) -> None:
    ranges = "ids => ids.map(id => ['xaxis', 'yaxis'].map(one => document.getElementById(id)._fullLayout[one].range))"
    before = tab.evaluate(ranges, list(FIGURES))
    for id in FIGURES:
        tab.focus(f"#{id}-slider-0")
        tab.keyboard.press("End")
    assert tab.evaluate(ranges, list(FIGURES)) == before


# --- data -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moved", [False, True], ids=["as drawn", "after the slider moved"])
@pytest.mark.parametrize("id", FIGURES)
def test_saved_csv_matches_the_drawn_data(tab: Any, id: str, moved: bool) -> None:
    if moved:
        tab.focus(f"#{id}-slider-0")
        tab.keyboard.press("End")
    drawn = [
        (trace["name"], x, y)
        for trace in _plotted(tab, id)
        if trace["visible"] is not False
        for x, y in zip(trace["x"], trace["y"], strict=True)
    ]
    name, rows = _saved(tab, id)
    assert name == f"a-made-up-page-{id}.csv"
    assert [(row["series"], float(row["x"]), float(row["y"])) for row in rows] == drawn


def test_saved_csv_of_a_heatmap_has_a_row_per_cell(tab: Any) -> None:
    with tab.expect_download() as download:
        tab.evaluate("uffdlabCsv.save([{name: 'map', x: [5, 6], y: [0, 1], z: [[1, 2], [3, 4]]}], {x: 'slot'}, 'map')")
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert [(row["x"], row["y"], row["z"]) for row in rows] == [
        ("5", "0", "1"), ("6", "0", "2"), ("5", "1", "3"), ("6", "1", "4")
    ]  # fmt: skip
    assert {(row["series"], row["x_unit"]) for row in rows} == {("map", "slot")}


def test_saved_csv_names_units_and_samples(tab: Any) -> None:
    units = {(row["x_unit"], row["y_unit"]) for row in _saved(tab, "figure-3")[1]}
    assert units == {("GiB", "ns")}
    row = next(row for row in _saved(tab, "figure-2")[1] if row["x_unit"] == "ns")
    assert (row["label"], row["note"]) == ("anonymous 4 KiB", "n = 8 of 8 processes, measured at 1 GiB")
    assert float(row["x_minus"]) > 0


def test_saved_text_cannot_become_a_formula(browser: Any, tmp_path: Path) -> None:
    texts = ["=1+1", "+2", "@x", "-y", "-1.5", 'say "so", twice', "two\nlines"]
    drawn = go.Figure(go.Scatter(x=[*range(len(texts))], y=texts, name="a,b"))
    (tmp_path / "page.html").write_text(page(code("f", figure(drawn))), encoding="utf-8")
    with opened(browser, tmp_path / "page.html") as tab:
        rows = _saved(tab, "figure-1")[1]
    assert [row["y"] for row in rows] == ["'=1+1", "'+2", "'@x", "'-y", "-1.5", 'say "so", twice', "two\nlines"]
    assert {row["series"] for row in rows} == {"a,b"}


# --- code and theme ---------------------------------------------------------------------------------------------------


def test_code_is_folded_until_clicked(tab: Any) -> None:
    code = tab.locator("details.code").first
    assert not code.locator("pre").is_visible()
    code.locator("summary").click()
    assert code.locator("pre").inner_text().strip() == "a = 1  # one"


def test_code_unfolds_by_keyboard(tab: Any) -> None:
    code = tab.locator("details.code").first
    code.locator("summary").focus()
    tab.keyboard.press("Enter")
    assert code.locator("pre").is_visible()


def test_code_button_shows_and_hides_all_code(tab: Any) -> None:
    button = tab.get_by_role("button", name="Show code")
    button.click()
    assert tab.locator("details.code:not([open])").count() == 0
    tab.get_by_role("button", name="Hide code", pressed=True).click()
    assert tab.locator("details.code[open]").count() == 0


def test_theme_button_recolours_figures_and_back(tab: Any) -> None:
    light = _colour(tab)
    tab.get_by_role("button", name="Dark theme").click()
    assert _colour(tab) != light
    tab.get_by_role("button", name="Light theme").click()
    assert _colour(tab) == light


def test_theme_follows_the_system(browser: Any, file: Path) -> None:
    with opened(browser, file, dark=True) as tab:
        assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
        assert _colour(tab) == "rgb(228, 227, 220)"
        assert tab.evaluate("getComputedStyle(document.body).color") == _colour(tab)


# --- narrow screens and paper -----------------------------------------------------------------------------------------


def test_narrow_page_scrolls_figures_and_not_itself(browser: Any, file: Path) -> None:
    with opened(browser, file, width=360) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") == 360
        for id, least in zip(FIGURES, (700, 640, 620), strict=True):
            assert tab.evaluate("id => document.getElementById(id).scrollWidth", id) == least
            assert tab.get_attribute(f"#{id}", "tabindex") == "0"


@pytest.mark.parametrize("width", [320, 768])
def test_page_made_narrow_does_not_scroll_sideways(tab: Any, width: int) -> None:
    tab.set_viewport_size({"width": width, "height": 900})
    assert tab.evaluate("document.documentElement.scrollWidth") == width


def _legend_is_above_the_plot(tab: Any) -> bool:
    return bool(
        tab.evaluate(
            """() => [...document.querySelectorAll(".plot")].every(plot =>
                plot.querySelector(".legend").getBoundingClientRect().bottom <=
                plot.querySelector(".gridlayer").getBoundingClientRect().top)"""
        )
    )


def test_figures_follow_the_width_of_the_window(tab: Any) -> None:
    wide = tab.evaluate("document.getElementById('figure-1').layout.width")
    tab.set_viewport_size({"width": 800, "height": 900})
    tab.wait_for_function("wide => document.getElementById('figure-1').layout.width < wide", arg=wide)
    assert tab.get_attribute("#figure-1", "tabindex") is None
    assert _legend_is_above_the_plot(tab)
    tab.set_viewport_size({"width": 1280, "height": 900})
    tab.wait_for_function("wide => document.getElementById('figure-3').layout.width === wide", arg=wide)
    assert _legend_is_above_the_plot(tab)


def test_print_has_no_buttons_and_light_figures(tab: Any) -> None:
    tab.emulate_media(media="print", color_scheme="dark")
    # The theme was light before: only the ink of paper says that the figures were drawn again.
    tab.wait_for_function(f"() => ({COLOUR})('figure-1') === 'rgb(0, 0, 0)'")
    assert tab.evaluate("document.documentElement.dataset.theme") == "light"
    assert tab.locator("button:visible, input:visible, nav:visible, summary:visible").count() == 0
    assert tab.locator("output:visible").count() == len(FIGURES), "the step of each slider is still printed"


# --- for everybody ----------------------------------------------------------------------------------------------------


def test_page_has_language_landmarks_and_one_h1(tab: Any) -> None:
    assert tab.get_attribute("html", "lang") == "en"
    assert tab.locator("h1").count() == 1
    for landmark in ("banner", "main", "contentinfo"):
        assert tab.get_by_role(landmark).count() == 1
    assert tab.get_by_role("navigation", name="Contents").count() == 1


def test_every_control_has_a_name(tab: Any) -> None:
    for button in tab.get_by_role("button").all():
        assert button.inner_text().strip() or button.get_attribute("aria-label")
    names = ("memory to protect", "written", "guest RAM")
    assert [tab.get_by_role("slider", name=name).count() for name in names] == [1, 1, 1]


def test_every_figure_has_a_caption_and_its_origin(tab: Any) -> None:
    for caption in tab.locator("figure").locator("figcaption").all():
        assert "made-up · Linux 6.18.5 · A processor · THP madvise" in caption.locator("small").inner_text()
    assert tab.locator("figure").count() == tab.locator("figcaption").count() == len(FIGURES)
    assert tab.locator("img:not([alt])").count() == 0


def test_ids_are_unique_and_labels_point_somewhere(tab: Any) -> None:
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))
    assert set(tab.evaluate("[...document.querySelectorAll('label')].map(one => one.htmlFor)")) <= set(ids)


def test_first_tab_stop_skips_to_the_text(tab: Any) -> None:
    first = tab.locator("a, button, input, summary, [tabindex]").first
    assert first.get_attribute("href") == "#main"
    first.focus()
    assert first.bounding_box()["x"] >= 0


def test_numbers_in_tables_are_right_aligned(tab: Any) -> None:
    assert tab.locator("td.number").all_inner_texts() == ["7", "1,234,567"]
    assert tab.locator("th.number").all_inner_texts() == ["how much"]
