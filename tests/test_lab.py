# SPDX-License-Identifier: MIT
"""The widgets in a real JupyterLab: run all, drag, restart the kernel, open again."""

from __future__ import annotations

from collections.abc import Iterator
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
    """Take a slider where it stands and pull it to the right, as a pointer does."""
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    share = slider.evaluate("one => (one.valueAsNumber - one.min) / (one.max - one.min)")
    y = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + 8 + share * (box["width"] - 16), y)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.9, y, steps=6)
    tab.mouse.up()


def test_run_all_drag_restart_and_open_again(lab: str, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    tab = context.new_page()
    elsewhere: list[str] = []
    wrong: list[str] = []
    tab.on(
        "request", lambda one: None if one.url.startswith((lab, "ws", "blob:", "data:")) else elsewhere.append(one.url)
    )
    tab.on("pageerror", lambda one: wrong.append(str(one)))
    try:
        for _ in range(2):  # the second time, as a reader who comes back
            opened_and_run(lab, tab)
            # The kernel sleeps now: what the page computes goes on, what the kernel draws waits.
            drawn = f"JSON.stringify({_PLOT % 1}.data.map((one) => one.x))"
            before = tab.evaluate(drawn)
            _drag(tab, tab.get_by_label("Writes afterwards"))
            tab.wait_for_function(f"old => {drawn} !== old", arg=before, timeout=5_000)
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
        assert elsewhere == []
        assert wrong == []
    finally:
        context.close()
