# SPDX-License-Identifier: MIT
"""How fast the design explorer is in JupyterLab while the kernel is busy: a slider's move until it is drawn again.

    python benchmarks/live.py

Run by hand on an idle machine, in the environment that the tests have; results go to ``results/widgets.csv``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

from widgets import MOVES, TIMED, record, row

from uffdlab.report import browser

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))  # the same JupyterLab as the tests have

from labs import opened_and_run, served

DESIGNS = "['preread', 'pte_marker', 'pmd_marker', 'pud_marker']"
BUSY_S = 120

# What a pointer does to a slider.
_MOVES = f"""([label, moves]) => {{
    const labels = [...document.querySelectorAll(".uffdlab-widget label")];
    const input = labels.find((one) => one.textContent === label).control;
    return ({TIMED})(moves, (i) => {{
        input.value = Number(input.min) + (Number(input.max) - Number(input.min)) * ((i % 20) + 1) / 21;
        return () => input.dispatchEvent(new Event("input", {{ bubbles: true }}));
    }});
}}"""


def main() -> int:
    with (
        tempfile.TemporaryDirectory() as directory,
        served(Path(directory), DESIGNS, BUSY_S) as address,
        browser.launched() as chromium,
    ):
        tab = chromium.new_context(viewport={"width": 1280, "height": 900}).new_page()
        opened_and_run(address, tab)
        times = tab.evaluate(_MOVES, ["Writes afterwards", MOVES])
        busy = "| Busy" in tab.locator(".jp-StatusBar-Left").inner_text()
    if not busy:
        print("the kernel was not busy any more: nothing is recorded", file=sys.stderr)
        return 1
    record([row("JupyterLab, kernel busy", "redraw_ms", median(times), len(times))])
    return 0


if __name__ == "__main__":
    sys.exit(main())
