# SPDX-License-Identifier: MIT
"""How fast pages and their widgets are: sizes, time to the first complete drawing, slider to redraw, WASM per step.

    python benchmarks/widgets.py            # a report that is there already: build/report, build/single

Run by hand on an idle machine; results are recorded in ``results/widgets.csv`` and in README.md.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from uffdlab.report import browser

RESULTS = Path(__file__).parent / "results" / "widgets.csv"
DRAWS, MOVES = 7, 60
GOALS = {"page_mb": 2.0, "single_mb": 6.0, "first_draw_ms": 1500.0, "redraw_ms": 25.0, "wasm_ms": 10.0}

# Times of moves in ms, one by one: each acts, and then the widget marks that it has drawn.
TIMED = """async (moves, ready) => {
    const times = [];
    for (let i = 0; i < moves; i += 1) {
        const before = performance.getEntriesByName("uffdlab-moved").length;
        const act = ready(i);
        const start = performance.now();
        act();
        while (performance.getEntriesByName("uffdlab-moved").length === before) {
            await new Promise((next) => setTimeout(next));
        }
        times.push(performance.getEntriesByName("uffdlab-moved").pop().startTime - start);
        await new Promise((next) => requestAnimationFrame(next));
    }
    return times;
}"""
_MOVES = f"""([name, moves]) => {{
    const model = uffdlabWidgets.modelOf(name);
    const state = model.get("state");
    return ({TIMED})(moves, (i) => () => {{
        model.set("state", {{ ...state, writes: 2000 + 997 * i, populated: (i % 20) / 20 }});
        model.save_changes();
    }});
}}"""

# Set beside the page's own mark: when everything on it was drawn for the first time.
_TELL = """<script>
addEventListener("load", () => {
  const asking = setInterval(() => {
    const [mark] = performance.getEntriesByName("uffdlab-drawn");
    if (!mark) return;
    clearInterval(asking);
    console.error("DRAWN", mark.startTime);
  }, 20);
});
</script>"""
_POLICY = r'<meta http-equiv="Content-Security-Policy"[^>]*>'
_WARM = '<meta http-equiv="refresh" content="2;url=page.html">'

_EXPLORER = """() => typeof uffdlabWidgets === "undefined" ? null : [...document.querySelectorAll(".widget")].map(
    (one) => one.dataset.model).find((name) => Array.isArray(uffdlabWidgets.modelOf(name).get("costs")))"""


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    asked.add_argument("--report", type=Path, default=Path("build/report"))
    asked.add_argument("--single", type=Path, default=Path("build/single/uffdlab.html"))
    given = asked.parse_args()
    rows = []
    with browser.launched() as chromium:
        for file in sorted(given.report.glob("[0-9]*.html")):
            rows += list(_page(chromium, file, "page_mb"))
        if given.single.exists():
            rows += list(_page(chromium, given.single, "single_mb"))
    record(rows)
    return 0


def record(rows: list[dict[str, Any]]) -> None:
    """Print what was measured, and add it to the results."""
    for one in rows:
        print(f"{one['page']:<28} {one['measure']:<14} {one['value']:>9.3f}   goal {one['goal']:g}   {one['met']}")
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        if new:
            writer.writeheader()
        writer.writerows(rows)


def row(page: str, measure: str, value: float, n: int) -> dict[str, Any]:
    """Return a row of the results: what was measured of a page, and whether it meets its goal."""
    met = "met" if value <= GOALS[measure] else "not met"
    return {"date": date.today().isoformat(), "page": page, "measure": measure, "value": round(value, 3), "n": n,
            "goal": GOALS[measure], "met": met}  # fmt: skip


def _first_draw_ms(file: Path) -> float:
    """Return when a page is drawn in a browser that has started and has no debugger attached.

    With one, as the tests have it, plotly takes some 0.2 s longer: each Error it makes has its place looked up.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        page = re.sub(_POLICY, "", file.read_text(), count=1)  # which lets no script in but the page's own
        (Path(directory) / "page.html").write_text(page.replace("</body>", f"{_TELL}</body>"))
        (warm := Path(directory) / "warm.html").write_text(_WARM)
        command = [browser.find() or "chromium", "--headless", *browser.ARGUMENTS, "--window-size=1280,900"]
        command += ["--remote-debugging-port=0", "--enable-logging=stderr", f"--user-data-dir={directory}/profile"]
        chromium = subprocess.Popen([*command, warm.as_uri()], stderr=subprocess.PIPE, text=True)
        assert chromium.stderr is not None
        try:
            return next(float(told[1]) for line in chromium.stderr if (told := re.search(r"DRAWN ([\d.]+)", line)))
        finally:
            chromium.kill()
            chromium.wait()


def _page(chromium: Any, file: Path, size: str) -> Any:
    yield row(file.name, size, file.stat().st_size / 1e6, 1)
    drawn = [_first_draw_ms(file) for _ in range(DRAWS)]
    if size == "page_mb":
        yield row(file.name, "first_draw_ms", median(drawn), DRAWS)
    context = chromium.new_context(offline=True, viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(file.resolve().as_uri())
    tab.wait_for_selector("html[data-drawn]", timeout=60_000)
    found = tab.evaluate(_EXPLORER)
    if found:
        times = tab.evaluate(_MOVES, [found, MOVES])
        yield row(file.name, "redraw_ms", median(times), MOVES)
        computed = tab.evaluate(
            "() => performance.getEntriesByName('uffdlab-computed').slice(-60).map((one) => one.duration)"
        )
        yield row(file.name, "wasm_ms", median(computed), len(computed))
    context.close()


if __name__ == "__main__":
    sys.exit(main())
