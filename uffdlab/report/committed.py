# SPDX-License-Identifier: MIT
"""Write notebooks in their committed form: executed, each figure as a picture, which code hosts show.

``python -m uffdlab.report.committed`` (``make notebooks``) writes it; with ``--check`` it compares the results with
what is committed and changes nothing.
"""

from __future__ import annotations

import argparse
import base64
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat

from uffdlab import outfile
from uffdlab.errors import UffdlabError
from uffdlab.report import browser
from uffdlab.report.execute import execute, read
from uffdlab.report.page import PLOTLY, Header, to_html
from uffdlab.report.render import notebooks_in
from uffdlab.report.widgets import VIEW

ACCEPT = "make notebooks"
LARGEST_PICTURE = 80_000  # bytes
_WIDTH = 1000  # CSS pixels of the page; a figure is as wide as the text column
_SCALES = (1.5, 1.25, 1.0, 0.75)
_RESULT = "result"


def main(argv: Sequence[str] | None = None) -> int:
    """Rewrite the notebooks, or with ``--check`` print what differs; exit status 1 when something does."""
    parser = argparse.ArgumentParser(prog="python -m uffdlab.report.committed", description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", nargs="?", type=Path, default=Path("notebooks"))
    parser.add_argument("--check", action="store_true", help="compare results with what is committed; write nothing")
    parser.add_argument(
        "--picture", nargs=3, metavar=("NOTEBOOK", "CELL", "FILE"), help="copy a committed figure to FILE"
    )
    args = parser.parse_args(argv)
    try:
        if args.picture:
            notebook, cell, file = args.picture
            outfile.write(Path(file), picture(Path(notebook), cell))
            return 0
        if args.check:
            return _check(notebooks_in(args.notebooks))
        for path in notebooks_in(args.notebooks):
            rewrite(path)
            print(path)
    except UffdlabError as error:
        print(f"uffdlab: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("uffdlab: interrupted; notebooks not named above are as they were", file=sys.stderr)
        return 130
    return 0


def _check(paths: Sequence[Path]) -> int:
    differing = [f"{path.name}: {text}" for path in paths for text in compare(read(path), execute(path, {}))]
    for line in differing:
        print(line)
    if differing:
        print(f"to accept what is computed now: {ACCEPT}")
    return 1 if differing else 0


def rewrite(path: Path) -> None:
    """Execute the notebook and write it back in its committed form."""
    notebook = execute(path, {})
    _replace_figures(notebook, path)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    outfile.write(path, (nbformat.writes(notebook) + "\n").encode())


def picture(path: Path, cell_id: str) -> bytes:
    """Return the PNG of a figure in a committed notebook; UffdlabError when that cell has none."""
    for cell in read(path).cells:
        for output in cell.get("outputs", []) if cell.id == cell_id else []:
            if "image/png" in output.get("data", {}):
                return base64.b64decode(output.data["image/png"])
    raise UffdlabError(f"{path.name} has no figure in a cell {cell_id!r}: run {ACCEPT}")


def compare(committed: Any, fresh: Any) -> list[str]:
    """Return one sentence per cell tagged ``result`` whose text differs between two executions."""
    then, now = dict(_results(committed)), dict(_results(fresh))
    return [
        f"cell {cell!r} now gives\n{now.get(cell, 'nothing')}\nwhere committed is\n{then.get(cell, 'nothing')}"
        for cell in dict.fromkeys([*then, *now])
        if then.get(cell) != now.get(cell)
    ]


def _results(notebook: Any) -> Iterator[tuple[str, str]]:
    for cell in notebook.cells:
        if cell.cell_type == "code" and _RESULT in cell.metadata.get("tags", []):
            yield cell.id, "\n".join(_text(output) for output in cell.outputs)


def _text(output: Any) -> str:
    if output.output_type == "stream":
        return str(output.text)
    return str(output.data.get("text/plain", ""))


def _figures(notebook: Any) -> list[Any]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output for output in outputs if any(kind in output.get("data", {}) for kind in (PLOTLY, VIEW))]


def _replace_figures(notebook: Any, path: Path) -> None:
    """Replace the data of each figure and widget with a picture."""
    figures = _figures(notebook)
    page = to_html(notebook, Header("", "", "", "", ""))
    for output, picture in zip(figures, _pictures(page, path) if figures else [], strict=True):
        caption = _caption(output)
        output.data = nbformat.from_dict({"text/plain": caption, "image/png": base64.b64encode(picture).decode()})


def _caption(output: Any) -> str:
    """Return the text that stands for the picture."""
    if VIEW in output.data:
        return str(output.data.get("text/plain", "a widget")).split("(", 1)[0] + ": a widget, live in a notebook"
    return str((output.data[PLOTLY]["layout"].get("meta") or {}).get("caption", "a figure"))


def _pictures(page: str, path: Path) -> list[bytes]:
    with tempfile.TemporaryDirectory() as directory, browser.launched() as chromium:
        file = Path(directory) / "page.html"
        file.write_text(page, encoding="utf-8")
        taken = [_screenshots(chromium, file, scale) for scale in _SCALES]
    return [_largest_allowed(scaled, path) for scaled in zip(*taken, strict=True)]


def _screenshots(chromium: Any, file: Path, scale: float) -> list[bytes]:
    context = chromium.new_context(
        viewport={"width": _WIDTH, "height": 900}, device_scale_factor=scale, offline=True, color_scheme="light"
    )
    try:
        page = context.new_page()
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-drawn]")
        page.add_style_tag(content=".drawing, .ul-plot { background: #fff } .modebar-container { display: none }")
        # Of a widget, its plot without the controls.
        places = [place.query_selector(".ul-plot") or place for place in page.query_selector_all(".drawing")]
        return [place.screenshot(animations="disabled") for place in places]
    finally:
        context.close()


def _largest_allowed(pictures: Sequence[bytes], path: Path) -> bytes:
    for picture in pictures:
        if len(picture) <= LARGEST_PICTURE:
            return picture
    raise UffdlabError(f"a figure of {path.name} takes more than {LARGEST_PICTURE} bytes as a picture: simplify it")


if __name__ == "__main__":
    sys.exit(main())
