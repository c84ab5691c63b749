# SPDX-License-Identifier: MIT
"""Write an executed notebook as one self-contained HTML file: no network, no kernel, no server."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from math import isfinite
from typing import Any

from jinja2 import Environment, StrictUndefined
from nbconvert.filters.highlight import Highlight2HTML

from uffdlab import __version__, native
from uffdlab.report import prose
from uffdlab.report.foreign import harmless, own_pictures
from uffdlab.report.policy import policy
from uffdlab.report.widgets import VIEW, Widgets
from uffdlab.widgets import base as widgets

PLOTLY = "application/vnd.plotly.v1+json"
_HEADING = re.compile(r'<h([1-3]) id="([^"]*)">(.*?)<a class="anchor-link"[^>]*>.*?</a></h\1>', re.S)
_TAG = re.compile(r"<[^>]+>")
_DRAWN = ("data", "layout", "frames")  # the parts of a figure that plotly draws
_SLIDER_HEIGHT = 100  # pixels of a figure's height that plotly's own slider would take
# Characters invalid in HTML or UTF-8, and control characters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Header:
    """The origin of a page's numbers: dataset, machine, overlay, and notices of what could not be done."""

    dataset_id: str
    kernel: str
    cpu: str
    thp: str
    commit: str
    overlay: str | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Link:
    """A sibling page: file name and title."""

    href: str
    title: str


@dataclass
class _Page:
    """The template's input, by cell. ``part``: the notebook's name in a joint page, put before anchors."""

    blocks: list[dict[str, Any]] = field(default_factory=list)
    contents: list[dict[str, Any]] = field(default_factory=list)
    widgets: Widgets = field(default_factory=Widgets)
    figures: int = 0
    part: str = ""

    def anchor(self, name: str) -> str:
        return f"{self.part}-{name}" if self.part else name


def title(notebook: Any) -> str:
    """Return the text of the first heading."""
    return _opening(notebook).split("\n", 1)[0][2:].strip()


def abstract(notebook: Any) -> str:
    """Return the first paragraph after the title, as HTML."""
    return next((prose.to_html(part) for part in _opening(notebook).split("\n\n")[1:] if part.strip()), "")


def _opening(notebook: Any) -> str:
    """Return the text of the cell that begins with the title."""
    texts = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return next((str(text) for text in texts if text.startswith("# ")), "# Untitled")


def to_html(notebook: Any, header: Header, *, previous: Link | None = None, following: Link | None = None) -> str:
    """Return the page of an executed notebook: the same bytes for the same outputs."""
    page = _Page()
    _add_notebook(page, notebook)
    return _filled(page, title(notebook), header, previous=previous, following=following, single=False)


def to_single_html(notebooks: Mapping[str, Any], header: Header) -> str:
    """Return all executed notebooks, by their names without ending, in one page."""
    page = _Page()
    for name, notebook in notebooks.items():
        page.part = name
        page.contents.append({"anchor": name, "text": title(notebook), "part": True})
        page.blocks.append({"kind": "part", "anchor": name})
        _add_notebook(page, notebook)
    return _filled(page, "The thread, in one page", header, previous=None, following=None, single=True)


def _add_notebook(page: _Page, notebook: Any) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            _add_prose(page, cell.source)
        elif cell.cell_type == "code":
            _add_code(page, notebook, cell)


def _filled(
    page: _Page, heading: str, header: Header, *, previous: Link | None, following: Link | None, single: bool
) -> str:
    shown = page.widgets
    plotly = _plotly() if page.figures or shown.models else None
    start = _asset("start.js")
    last = "\n".join([widgets.config_js(), widgets.asset("csv.js"), _asset("host.js"), _asset("page.js")])
    text: str = _template("page.html.j2").render(
        policy=policy([start, last] if plotly else [last], unpacks=bool(plotly), computes=bool(shown.models)),
        title=heading,
        header=header,
        blocks=page.blocks,
        contents=page.contents,
        previous=previous,
        following=following,
        single=single,
        plotly=plotly,
        wasm=_wasm() if shown.models else None,
        widgets=in_script(shown.as_json()) if shown.models else None,
        widgets_css=shown.css.replace("</", "<\\/"),  # so that nothing in it ends the element
        start=start,
        last=last,
        **_shared(),
    )
    return _printable(text)


def index_html(entries: Sequence[tuple[Link, str]], header: Header) -> str:
    """Return the page that lists the others: link and abstract (HTML) of each."""
    last = _asset("page.js")
    text: str = _template("index.html.j2").render(
        policy=policy([last]), entries=entries, header=header, last=last, **_shared()
    )
    return _printable(text)


def in_script(value: Any) -> str:
    """Return JSON that is safe inside a script element: nothing in it ends the element or a line."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
    except ValueError:  # NaN or infinity, which JSON lacks: plotly draws nothing there
        return in_script(_finite(value))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _finite(value: Any) -> Any:
    """Return the value with null in place of NaN and infinity."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _printable(page: str) -> str:
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", page)


def _add_prose(page: _Page, source: str) -> None:
    body = prose.to_html(source, page.part)
    for level, anchor, text in _HEADING.findall(body):
        if level == "2":
            entry = {"anchor": page.anchor(anchor), "text": html.unescape(_TAG.sub("", text))}
            page.contents.append(entry | {"part": False})
    body = _HEADING.sub(lambda m: f'<h{m[1]} id="{page.anchor(m[2])}">{m[3]}</h{m[1]}>', body)
    page.blocks.append({"kind": "prose", "html": body})


def _add_code(page: _Page, notebook: Any, cell: Any) -> None:
    highlighted: str = Highlight2HTML(pygments_lexer="python3")(cell.source)
    page.blocks.append({"kind": "code", "html": highlighted})
    for output in cell.get("outputs", []):
        page.blocks.extend(_output(page, notebook, output))


def _output(page: _Page, notebook: Any, output: Any) -> Iterator[dict[str, Any]]:
    if output.output_type == "stream":
        yield {"kind": output.name, "text": _ANSI.sub("", output.text)}
        return
    data = output.get("data", {})
    if PLOTLY in data:
        page.figures += 1
        yield _figure(page.figures, data[PLOTLY])
    elif VIEW in data:
        name = page.widgets.add(notebook, output)
        yield {"kind": "widget", "id": name} if name else {"kind": "live"}
    elif "text/html" in data:
        yield {"kind": "html", "html": prose.scrolling(harmless(data["text/html"]))}
    elif "text/markdown" in data:
        yield {"kind": "prose", "html": prose.to_html(data["text/markdown"])}
    elif "image/png" in data:
        yield {"kind": "image", "data": "".join(data["image/png"]).replace("\n", "")}
    elif "text/plain" in data:
        yield {"kind": "text", "text": _ANSI.sub("", data["text/plain"])}


def _figure(number: int, figure: Any) -> dict[str, Any]:
    layout = figure.get("layout", {})
    meta = layout.get("meta") if isinstance(layout.get("meta"), dict) else {}  # plotly accepts any value there
    height = layout.get("height") if isinstance(layout.get("height"), int | float) else 450
    drawn = {key: own_pictures(figure.get(key, {} if key == "layout" else [])) for key in _DRAWN}
    moved = [slider for slider in layout.get("sliders") or () if slider.get("steps")]
    if "sliders" in layout:
        drawn["layout"]["sliders"] = moved
    sliders = [_slider(slider) for slider in moved]
    return {
        "kind": "figure",
        "id": f"figure-{number}",
        "height": height - _SLIDER_HEIGHT * len(sliders),
        "min_width": meta.get("min_width", 560),
        "json": in_script(drawn),
        "sliders": sliders,
        "caption": meta.get("caption", ""),
        "origin": meta.get("origin", ""),
    }


def _slider(slider: Any) -> dict[str, Any]:
    """Return the fields of the input that replaces plotly's slider, which no keyboard reaches."""
    labels = [str(step.get("label", "")) for step in slider["steps"]]
    prefix = str(slider.get("currentvalue", {}).get("prefix", ""))
    active = slider.get("active")
    active = active if isinstance(active, int) and 0 <= active < len(labels) else 0
    return {"name": prefix.strip().rstrip(":") or "Step", "labels": labels, "active": active}


def _shared() -> dict[str, Any]:
    return {"css": _asset("page.css"), "version": __version__}


@cache
def _asset(name: str) -> str:
    return (files("uffdlab.report") / "assets" / name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    return base64.b64encode(widgets.plotly_gz()).decode("ascii")


@cache
def _wasm() -> str:
    return base64.b64encode(native.simulator_wasm()).decode("ascii")


@cache
def _template(name: str) -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset(name))
