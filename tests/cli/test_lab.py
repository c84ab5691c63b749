# SPDX-License-Identifier: MIT
"""The widgets in a real JupyterLab: run all, drag, press keys, restart the kernel, open again; nothing leads out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from labs import menu, opened_and_run, served

pytestmark = [pytest.mark.browser, pytest.mark.slow]

BUSY_S = 45


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("lab"), "['pte_marker', 'pmd_marker']", BUSY_S) as address:
        yield address


_PLOT = "document.querySelectorAll('.uffdlab-widget')[%d].querySelector('.js-plotly-plot')"


def _drag(tab: Any, slider: Any) -> None:
    """Drag a slider to the right with the pointer."""
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    share = slider.evaluate("one => (one.valueAsNumber - one.min) / (one.max - one.min)")
    y = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + 8 + share * (box["width"] - 16), y)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.9, y, steps=6)
    tab.mouse.up()


@contextmanager
def _reader(lab: str, browser: Any) -> Iterator[Any]:
    """Yield a tab; fail on errors in it and on requests to any other server."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    tab = context.new_page()
    wrong: list[str] = []
    known = (lab, "ws", "blob:", "data:")
    tab.on("request", lambda one: None if one.url.startswith(known) else wrong.append(one.url))
    tab.on("pageerror", lambda one: wrong.append(str(one)))
    tab.on("popup", lambda one: wrong.append(f"a window was opened: {one.url}"))
    try:
        yield tab
        assert wrong == []
    finally:
        context.close()


def test_widgets_work_after_run_all_drag_restart_and_reopen(lab: str, browser: Any) -> None:
    with _reader(lab, browser) as tab:
        for _ in range(2):  # the second time, as a reader who comes back
            opened_and_run(lab, tab)
            # The kernel sleeps now: what the page computes goes on, what the kernel draws waits.
            drawn = f"JSON.stringify({_PLOT % 1}.data.map((one) => one.x))"
            before = tab.evaluate(drawn)
            _drag(tab, tab.get_by_label("Writes afterwards"))
            tab.wait_for_function(f"old => {drawn} !== old", arg=before, timeout=30_000)
            tab.get_by_role("button", name="Protect all", exact=True).click()
            assert "PMD markers set" in tab.locator(".uffdlab-widget:has(.ul-tables) .ul-verdict").inner_text()
            menu(tab, "Kernel", "Interrupt Kernel.*")
            tab.get_by_label("power").focus()
            tab.keyboard.press("End")
            tab.wait_for_function(f"() => {_PLOT % 0}.data[0].y[1] === 32", timeout=20_000)
            menu(tab, "Kernel", "Restart Kernel and Clear Outputs of All Cells.*")
            tab.get_by_role("button", name="Confirm Kernel Restart").click()
            tab.wait_for_function("() => document.querySelectorAll('.uffdlab-widget').length === 0", timeout=30_000)
            tab.keyboard.press("Control+s")
            tab.wait_for_timeout(1000)


# --- keys ------------------------------------------------------------------------------------------------------------

_NOTEBOOK = """() => {
    const { content } = jupyterapp.shell.currentWidget;
    const selected = content.widgets.filter((cell) => content.isSelected(cell)).length;
    const cells = Array.from(content.model.cells, (cell) => [cell.type, cell.sharedModel.getSource()]);
    return JSON.stringify([cells, selected]);
}"""
_LETTERS = ("a", "b", "d", "d", "x", "c", "v", "z", "m", "y", "r", "j", "k", "1", "Shift+A", "Shift+M", "Delete")
_SHORTCUTS = (*_LETTERS, "Shift+ArrowUp", "Shift+ArrowDown", "Shift+End")


def _presses(tab: Any, control: Any, *keys: str) -> None:
    """Press keys on a control, which keeps the focus while the notebook stays as it is."""
    control.scroll_into_view_if_needed()
    control.focus()
    before = tab.evaluate(_NOTEBOOK)
    for key in keys:
        tab.keyboard.press(key)
        assert tab.evaluate(_NOTEBOOK) == before, f"{key} changed the notebook"
        assert control.evaluate("one => one === document.activeElement"), f"{key} took the focus away"


def _value(slider: Any) -> float:
    return float(slider.evaluate("one => one.valueAsNumber"))


@pytest.fixture(scope="module")
def running(lab: str, browser: Any) -> Iterator[Any]:
    """Yield a notebook that has run, with no cell being edited."""
    with _reader(lab, browser) as tab:
        opened_and_run(lab, tab)
        menu(tab, "Kernel", "Interrupt Kernel.*")
        assert tab.evaluate("jupyterapp.shell.currentWidget.content.mode") == "command"
        yield tab


SLIDERS = ["power", "Size of the range", "Populated beforehand", "Writes afterwards", "Which 2 MiB", "Which page of it"]


@pytest.mark.parametrize("name", SLIDERS)
def test_keys_on_a_slider_move_it_and_leave_the_cells(running: Any, name: str) -> None:
    slider = running.get_by_label(name, exact=True)
    _presses(running, slider, "End")
    most = _value(slider)
    for back, forth in (("ArrowLeft", "ArrowRight"), ("ArrowDown", "ArrowUp"), ("PageDown", "PageUp")):
        _presses(running, slider, back)
        assert _value(slider) < most, back
        _presses(running, slider, forth)
        assert _value(slider) == pytest.approx(most), forth
    _presses(running, slider, "Home")
    least = _value(slider)
    assert least < most
    _presses(running, slider, *_LETTERS)
    assert _value(slider) == least


def test_a_slider_that_was_clicked_is_moved_by_keys(running: Any) -> None:
    slider = running.get_by_label("Which 2 MiB", exact=True)
    slider.scroll_into_view_if_needed()
    slider.click()
    now = _value(slider)
    running.keyboard.press("ArrowRight")
    running.keyboard.press("ArrowRight")
    assert _value(slider) == now + 2


def test_keys_on_a_list_choose_and_leave_the_cells(running: Any) -> None:
    chosen = running.get_by_label("Design 1", exact=True)
    chosen.select_option(index=1)
    _presses(running, chosen, "ArrowDown")
    assert chosen.evaluate("one => one.selectedIndex") == 2
    _presses(running, chosen, "ArrowUp", "Home", "End", "a", "b", "d", "d", "m", "x", "z")


def test_keys_on_buttons_leave_the_cells(running: Any) -> None:
    arrows = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp", "PageDown", "Home", "End"]
    step = running.get_by_role("button", name="Protect all", exact=True)
    verdict = running.locator(".uffdlab-widget:has(.ul-tables) .ul-verdict")
    before = verdict.inner_text()
    _presses(running, step, "Enter")
    assert verdict.inner_text() != before
    _presses(running, step, *arrows, *_SHORTCUTS)
    # A part that scrolls has a place in the order of the keyboard, too.
    for one in (running.locator(".uffdlab-widget summary").first, running.locator(".uffdlab-widget .scroll").first):
        _presses(running, one, *arrows, *_SHORTCUTS)
    tabs = [running.get_by_role("tab", name=name, exact=True) for name in ("Compare", "Decision map")]
    before = running.evaluate(_NOTEBOOK)
    tabs[0].focus()
    running.keyboard.press("ArrowRight")
    assert tabs[1].get_attribute("aria-selected") == "true"
    running.keyboard.press("ArrowLeft")
    assert tabs[0].get_attribute("aria-selected") == "true"
    assert running.evaluate(_NOTEBOOK) == before


def test_keys_in_a_text_edit_the_text(running: Any) -> None:
    view = running.locator(".uffdlab-widget:has(.ul-tables) .ul-view")
    view.locator("summary").click()
    shown, given = view.get_by_label("This view as text"), view.get_by_label("A view to restore")
    _presses(running, shown, "Control+a", "Control+c", "ArrowLeft", "Home", "Control+a", *_SHORTCUTS)
    _presses(running, shown, "Control+a")
    assert shown.evaluate("one => one.selectionEnd - one.selectionStart === one.value.length")
    given.fill("")
    _presses(running, given, "a", "b", "d", "d", "Control+a", "x", "y", "ArrowLeft", "z")
    assert given.input_value() == "xzy"


def test_global_shortcuts_still_reach_jupyterlab(running: Any) -> None:
    running.get_by_label("Which 2 MiB", exact=True).focus()
    with running.expect_request(lambda one: one.method == "PUT" and "/api/contents/" in one.url):
        running.keyboard.press("Control+s")


# --- nothing leads out -----------------------------------------------------------------------------------------------


def test_no_button_of_a_figure_or_widget_opens_another_site(running: Any) -> None:
    assert running.locator(".jp-RenderedPlotly .modebar-btn").count() > 0, "a figure that plotly itself shows"
    buttons = running.locator(".modebar-btn")
    names = [one.get_attribute("data-title") for one in buttons.all()]
    assert not [name for name in names if re.search("share|cloud|upload|plotly|send", name, re.I)]
    buttons.evaluate_all("all => all.forEach((one) => one.dispatchEvent(new MouseEvent('click', { bubbles: true })))")
    running.wait_for_timeout(500)
    assert len(running.context.pages) == 1
