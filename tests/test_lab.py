# SPDX-License-Identifier: MIT
"""The widgets in a real JupyterLab: run all, drag, restart the kernel, open again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from making import code, notebook

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EXPLORE = """import plotly.graph_objects as go, time
from uffdlab.widgets import DesignExplorer, PageTableView, Slider, explore
explore(lambda power: go.Figure(go.Scatter(x=[1, 2, 3], y=[x ** power for x in (1, 2, 3)])), {"power": Slider(1, 5)})"""
BUSY_S = 45


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a JupyterLab on a directory with one notebook; its last cell keeps the kernel busy."""
    directory = tmp_path_factory.mktemp("lab")
    cells = [EXPLORE, "DesignExplorer(['pte_marker', 'pmd_marker'])", "PageTableView('pmd_marker')"]
    made = notebook("# Live", *map(code, cells), code(f"time.sleep({BUSY_S})"))
    made.metadata = nbformat.from_dict(
        {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    nbformat.write(made, directory / "01_live.ipynb")
    # No news are fetched, and nobody is asked whether they should be.
    settings = directory / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "ServerApp.port": port,
        "ServerApp.ip": "127.0.0.1",
        "IdentityProvider.token": "",
        "ServerApp.root_dir": directory,
        "LabApp.user_settings_dir": directory / "settings",
        "LabApp.workspaces_dir": directory / "spaces",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--{name}={value}" for name, value in options.items()]
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(directory / "config"),
        "JUPYTER_DATA_DIR": str(directory / "data"),
    }
    log = (directory / "log").open("w")
    server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        _wait_for(f"http://127.0.0.1:{port}/api/status", server, directory / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def _wait_for(address: str, server: Any, log: Path) -> None:
    for _ in range(120):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"JupyterLab did not start: {log.read_text()[-2000:]}")


def _menu(tab: Any, menu: str, item: str) -> None:
    tab.get_by_role("menuitem", name=menu, exact=True).click()
    tab.get_by_role("menuitem", name=re.compile(f"^{item}$")).click()


def _wait_for_kernel(lab: str, tab: Any) -> None:
    """Wait until server and page both have one. Before that every cell that runs opens a dialog: which kernel?"""
    for _ in range(120):
        with urllib.request.urlopen(f"{lab}/api/sessions", timeout=5) as answer:
            kernels = [session["kernel"] for session in json.load(answer)]
        shown = tab.locator(".jp-StatusBar-Left").inner_text()
        connected = [one for one in kernels if one["connections"] and one["execution_state"] == "idle"]
        if connected and "| Idle" in shown:
            return
        tab.wait_for_timeout(500)
    pytest.fail(f"JupyterLab has no kernel for the notebook: {kernels}, {shown!r}")


def _run_all(tab: Any) -> None:
    """Run all cells; after a restart where JupyterLab took the command before it had its kernel, and dropped it."""
    from playwright.sync_api import TimeoutError as TooLate

    _menu(tab, "Run", "Run All Cells")
    for _ in range(4):
        with contextlib.suppress(TooLate):
            tab.wait_for_selector(".uffdlab-widget .ul-tables", timeout=20_000)
            return
        _menu(tab, "Kernel", "Restart Kernel and Run All Cells.*")
        tab.get_by_role("button", name="Confirm Kernel Restart").click()
    pytest.fail("JupyterLab did not run the notebook")


_PLOT = "document.querySelectorAll('.uffdlab-widget')[%d].querySelector('.js-plotly-plot')"


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
            tab.goto(f"{lab}/lab/tree/01_live.ipynb")
            tab.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
            _wait_for_kernel(lab, tab)
            _run_all(tab)
            tab.wait_for_function(
                "() => document.querySelectorAll('.uffdlab-widget .js-plotly-plot .main-svg').length >= 2",
                timeout=60_000,
            )
            # The kernel sleeps now: what the page computes goes on, what the kernel draws waits.
            drawn = f"JSON.stringify({_PLOT % 1}.data.map((one) => one.x))"
            before = tab.evaluate(drawn)
            tab.get_by_label("Writes afterwards").focus()
            tab.keyboard.press("End")
            tab.wait_for_function(f"old => {drawn} !== old", arg=before, timeout=5_000)
            tab.get_by_role("button", name="Protect all", exact=True).click()
            assert "PMD markers set" in tab.locator(".uffdlab-widget:has(.ul-tables) .ul-verdict").inner_text()
            _menu(tab, "Kernel", "Interrupt Kernel.*")
            tab.get_by_label("power").focus()
            tab.keyboard.press("End")
            tab.wait_for_function(f"() => {_PLOT % 0}.data[0].y[1] === 32", timeout=20_000)
            _menu(tab, "Kernel", "Restart Kernel and Clear Outputs of All Cells.*")
            tab.get_by_role("button", name="Confirm Kernel Restart").click()
            tab.wait_for_function("() => document.querySelectorAll('.uffdlab-widget').length === 0", timeout=30_000)
            tab.keyboard.press("Control+s")
            tab.wait_for_timeout(1000)
        assert elsewhere == []
        assert wrong == []
    finally:
        context.close()
