# SPDX-License-Identifier: MIT
"""A JupyterLab of its own on a directory with one notebook, and a reader who runs all of it."""

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
from making import code, notebook

EXPLORE = """import plotly.graph_objects as go, time
from uffdlab.widgets import DesignExplorer, PageTableView, Slider, explore
explore(lambda power: go.Figure(go.Scatter(x=[1, 2, 3], y=[x ** power for x in (1, 2, 3)])), {"power": Slider(1, 5)})"""
FIGURE = "go.Figure(go.Scatter(x=[1, 2], y=[1, 2]))"
NAME = "01_live.ipynb"


@contextlib.contextmanager
def served(directory: Path, designs: str, busy_s: float) -> Iterator[str]:
    """Yield the address of a JupyterLab on a directory with one notebook; its last cell keeps the kernel busy.

    ``designs``: what its design explorer is given, as Python has it. Raises RuntimeError where it does not start.
    """
    cells = [EXPLORE, FIGURE, f"DesignExplorer({designs})", "PageTableView('pmd_marker')"]
    made = notebook("# Live", *map(code, cells), code(f"time.sleep({busy_s})"))
    made.metadata = nbformat.from_dict(
        {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    nbformat.write(made, directory / NAME)
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
        "LabApp.expose_app_in_browser": True,  # for tests to ask which cells there are
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
    raise RuntimeError(f"JupyterLab did not start: {log.read_text()[-2000:]}")


def menu(tab: Any, name: str, item: str) -> None:
    """Choose an item of a menu."""
    tab.get_by_role("menuitem", name=name, exact=True).click()
    tab.get_by_role("menuitem", name=re.compile(f"^{item}$")).click()


def wait_for_kernel(lab: str, tab: Any) -> None:
    """Wait until server and page both have one. Before that every cell that runs opens a dialog: which kernel?"""
    for _ in range(120):
        with urllib.request.urlopen(f"{lab}/api/sessions", timeout=5) as answer:
            kernels = [session["kernel"] for session in json.load(answer)]
        shown = tab.locator(".jp-StatusBar-Left").inner_text()
        connected = [one for one in kernels if one["connections"] and one["execution_state"] == "idle"]
        if connected and "| Idle" in shown:
            return
        tab.wait_for_timeout(500)
    raise RuntimeError(f"JupyterLab has no kernel for the notebook: {kernels}, {shown!r}")


def run_all(tab: Any) -> None:
    """Run all cells; after a restart where JupyterLab took the command before it had its kernel, and dropped it."""
    from playwright.sync_api import TimeoutError as TooLate

    menu(tab, "Run", "Run All Cells")
    for _ in range(4):
        with contextlib.suppress(TooLate):
            tab.wait_for_selector(".uffdlab-widget .ul-tables", timeout=20_000)
            return
        menu(tab, "Kernel", "Restart Kernel and Run All Cells.*")
        tab.get_by_role("button", name="Confirm Kernel Restart").click()
    raise RuntimeError("JupyterLab did not run the notebook")


def opened_and_run(address: str, tab: Any) -> None:
    """Open the notebook as a reader does, run all of it, and wait until it is drawn; then its kernel is busy."""
    tab.goto(f"{address}/lab/tree/{NAME}")
    tab.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    wait_for_kernel(address, tab)
    run_all(tab)
    drawn = "() => document.querySelectorAll('.uffdlab-widget .js-plotly-plot .main-svg').length >= 2"
    tab.wait_for_function(drawn, timeout=60_000)
