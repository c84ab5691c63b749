# SPDX-License-Identifier: MIT
"""Every committed notebook: executed, readable on a code host, and equal to a new execution."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from making import HEADER, ROOT, executed, opened
from widget_pages import designs_are_equal, moved, plotted, random_designs, random_point, unbaked

from uffdlab import sim
from uffdlab.report import committed
from uffdlab.report.execute import read
from uffdlab.report.page import PLOTLY, to_html
from uffdlab.widgets import DesignExplorer

SEEDED = 20
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIGURE = re.compile(r"\bfigures\.plot_")
ELSEWHERE = re.compile(r"(?<![\w/:.])/(?:home|root|tmp|work|srv|mnt|usr|var|Users|private)/")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]*)(?:#[^)]*)?\)")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def notebook(path: Path) -> Any:
    return read(path)


def _codes(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _outputs(notebook: Any) -> Iterator[tuple[Any, Any]]:
    for cell in _codes(notebook):
        for output in cell.outputs:
            yield cell, output


def _prose(notebook: Any) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_there_are_notebooks_in_a_reading_order() -> None:
    assert NOTEBOOKS
    numbers = [path.stem[:3] for path in NOTEBOOKS]
    assert all(re.fullmatch(r"\d\d_", number) for number in numbers)
    assert len(set(numbers)) == len(numbers)


# --- how it is written ------------------------------------------------------------------------------------------------


def test_notebook_is_valid(notebook: Any) -> None:
    nbformat.validate(notebook)


def test_notebook_opens_with_a_title_and_an_abstract(notebook: Any) -> None:
    title, *abstract = notebook.cells[0].source.split("\n\n")
    assert re.fullmatch(r"# .+", title)
    assert abstract
    assert not re.search(r"(?m)^# ", _prose(notebook).replace(title, "", 1)), "one title"


def test_one_cell_is_tagged_parameters(notebook: Any) -> None:
    tagged = [cell for cell in _codes(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert re.findall(r"(?m)^(\w+) =", tagged[0].source) == ["data", "costs", "this_machine", "beside"]


def test_code_cells_have_at_most_five_lines(notebook: Any) -> None:
    assert {cell.id: cell.source for cell in _codes(notebook) if not 1 <= len(cell.source.split("\n")) <= 5} == {}


def test_cell_ids_are_unique_words(notebook: Any) -> None:
    ids = [cell.id for cell in notebook.cells]
    assert len(ids) == len(set(ids))
    assert [id for id in ids if re.fullmatch(r"[0-9a-f]{8}|[0-9a-f-]{36}", id)] == [], (
        "a random id changes with each save"
    )


def test_prose_is_a_five_to_fifteen_minute_read(notebook: Any) -> None:
    assert 600 <= len(_prose(notebook).split()) <= 3000


def test_prose_precedes_each_figure(notebook: Any) -> None:
    for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
        if cell.cell_type == "code" and FIGURE.search(cell.source):
            assert before.cell_type == "markdown", f"no prose before {cell.id!r}"
            assert len(before.source.split()) >= 20


def test_links_to_notebooks_and_files_resolve(path: Path, notebook: Any) -> None:
    assert [link for link in LINK.findall(_prose(notebook)) if not (path.parent / link).exists()] == []


# --- how it is committed ----------------------------------------------------------------------------------------------


def test_notebook_is_committed_executed(notebook: Any) -> None:
    counts = [cell.execution_count for cell in _codes(notebook)]
    assert counts == [*range(1, len(counts) + 1)], committed.ACCEPT
    results = [cell for cell in _codes(notebook) if "result" in cell.metadata.get("tags", [])]
    assert results
    assert [cell.id for cell in results if not cell.outputs] == []


def test_no_cell_failed_or_wrote_to_stderr(notebook: Any) -> None:
    wrong = [cell.id for cell, one in _outputs(notebook) if one.output_type == "error" or one.get("name") == "stderr"]
    assert wrong == []


def test_figures_are_small_pictures(notebook: Any) -> None:
    drawing = [cell for cell in _codes(notebook) if FIGURE.search(cell.source)]
    for cell in drawing:
        (output,) = cell.outputs
        assert set(output.data) == {"image/png", "text/plain"}
        assert len(base64.b64decode(output.data["image/png"])) <= committed.LARGEST_PICTURE


def test_notebook_holds_no_plot_data_or_widget_state(notebook: Any) -> None:
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert {mime for _, one in _outputs(notebook) for mime in one.get("data", {})} <= {
        "image/png",
        "text/html",
        "text/markdown",
        "text/plain",
    }
    assert PLOTLY not in nbformat.writes(notebook)


def test_notebook_names_no_path_of_its_machine(notebook: Any) -> None:
    for cell, output in _outputs(notebook):
        texts = [output.get("text", ""), *(text for mime, text in output.get("data", {}).items() if "text" in mime)]
        assert not ELSEWHERE.search("\n".join(texts)), cell.id


# --- what it computes now ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_execution_gives_the_committed_results(path: Path, notebook: Any) -> None:
    differing = committed.compare(notebook, executed(path))
    assert not differing, "\n".join([*differing, f"to accept what is computed now: {committed.ACCEPT}"])


@pytest.mark.slow
@pytest.mark.browser
def test_every_control_of_the_page_changes_something(browser: Any, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(to_html(executed(path), HEADER), encoding="utf-8")
    with opened(browser, file) as tab:
        controls = tab.locator(":is(.control, .widget) :is(input[type=range], .ul-controls select):visible:enabled")
        moved = 0
        for number in range(controls.count()):
            control = controls.nth(number)
            for act in (_by_keyboard, _by_mouse):
                before = tab.evaluate(_DRAWN)
                act(tab, control)
                for _ in range(300):  # a busy machine is slow
                    if tab.evaluate(_DRAWN) != before:
                        break
                    tab.wait_for_timeout(100)
                else:
                    pytest.fail(f"{control.get_attribute('id')} of {path.stem} moves nothing {act.__name__}")
            moved += 1
        assert moved > 0


def _by_keyboard(tab: Any, control: Any) -> None:
    control.focus()
    if control.evaluate("one => one.tagName") == "SELECT":
        tab.keyboard.press("ArrowDown")
    else:
        at_the_end = control.evaluate("one => one.valueAsNumber === Number(one.max)")
        tab.keyboard.press("Home" if at_the_end else "End")


def _by_mouse(tab: Any, control: Any) -> None:
    if control.evaluate("one => one.tagName") == "SELECT":
        control.select_option(index=0)  # a list of the system's, which no mouse of a test reaches
        return
    control.scroll_into_view_if_needed()
    box = control.bounding_box()
    in_front = control.evaluate("one => (one.valueAsNumber - one.min) / (one.max - one.min) < 0.5")
    tab.mouse.click(box["x"] + box["width"] * (0.6 if in_front else 0.4), box["y"] + box["height"] / 2)


_DRAWN = """() => JSON.stringify([
    [...document.querySelectorAll(".js-plotly-plot")].map(
      ({data}) => data.map(({x, y, z, visible}) => [x, y, z, visible])),
    [...document.querySelectorAll(".ul-table rect")].map((one) => ["class", "x", "y"].map(
      (key) => one.getAttribute(key)))])"""


@pytest.mark.slow
@pytest.mark.browser
def test_page_draws_the_same_as_python_in_seeded_states(browser: Any, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(to_html(executed(path), HEADER), encoding="utf-8")
    compared = 0
    with opened(browser, file) as tab:
        for name in tab.evaluate(
            "[...document.querySelectorAll('.widget[data-model]')].map((one) => one.dataset.model)"
        ):
            held = tab.evaluate("name => uffdlabWidgets.modelOf(name).state", name)
            for seed in range(SEEDED):
                if held.get("baked"):
                    state, key = random_point(random.Random(seed), held["axes"])
                    moved(tab, name, state)
                    drawn = [(one["x"], one["y"], one["z"]) for one in plotted(tab, name)]
                    expected = unbaked(held["baked"], key)["data"]
                    assert drawn == [(one.get("x"), one.get("y"), one.get("z")) for one in expected], (name, state)
                elif "costs" in held:
                    explorer = DesignExplorer(["pte_marker", "pmd_marker"], priced=sim.load_costs())
                    explorer.state = random_designs(seed, held["state"])
                    moved(tab, name, explorer.state)
                    designs_are_equal(explorer, tab, name)
                else:
                    continue  # page tables are counted, not priced: the same on every page
                compared += 1
    assert compared >= SEEDED


@pytest.mark.slow
@pytest.mark.browser
def test_page_works_offline_and_fits_a_phone(browser: Any, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(to_html(executed(path), HEADER), encoding="utf-8")
    assert file.stat().st_size <= 2_000_000
    with opened(browser, file, width=360) as tab:
        assert tab.locator(".plot").count() == tab.locator(".plot:has(.main-svg)").count()
        assert tab.locator(".failed:visible").count() == 0
        assert tab.locator(".widget").count() == tab.locator(".widget:has(.main-svg, .ul-tables)").count()
        assert tab.locator(".unconverted").count() == 0, "a formula that is none"
        assert "needs the live notebook" not in tab.inner_text("main")
        assert tab.evaluate("document.documentElement.scrollWidth") == 360
