# SPDX-License-Identifier: MIT
"""The content of a page: its policy, its scripts, every kind of output and every field."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import nbformat
import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import HEADER, TITLE, code, figure, notebook, page, says, shows
from nbformat.v4 import new_output

from uffdlab import __version__, native
from uffdlab.report import page as pages
from uffdlab.report.page import Header, Link, in_script, index_html, to_html, to_single_html

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
PLOTLY = "application/vnd.plotly.v1+json"


class Tree(HTMLParser):
    """What a page is made of: each element's tag, attributes and all text within."""

    VOID = ("meta", "link", "img", "input", "br", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in self.VOID:
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self.elements[self._open.pop()][0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for one in self._open:
            self.elements[one][2].append(data)

    def find(self, tag: str, **attributes: str) -> list[tuple[dict[str, str | None], str]]:
        return [
            (found, "".join(text).strip())
            for name, found, text in self.elements
            if name == tag
            and all(found.get(key.rstrip("_").replace("_", "-")) == value for key, value in attributes.items())
        ]

    def texts(self, tag: str, **attributes: str) -> list[str]:
        return [text for _, text in self.find(tag, **attributes)]


def drawn(data: Any = (), **layout: Any) -> Any:
    return shows(PLOTLY, {"data": list(data), "layout": layout, "frames": [], "config": {"plotlyServerURL": "x"}})


def with_widget(*extra: Any) -> Any:
    """Return a notebook that shows a widget with a module of its own."""
    made = notebook(TITLE, code("w", shows(VIEW, {"model_id": "abc"}), *extra))
    state = {"_esm": "export default {}; // <b>", "_css": ".mine { color: red }", "value": "</script>"}
    made.metadata["widgets"] = {WIDGET_STATE: {"state": {"abc": {"model_name": "AnyModel", "state": state}}}}
    return made


# --- what is let in --------------------------------------------------------------------------------------------------


def policies() -> dict[str, str]:
    return {
        name: next(one["content"] or "" for one, _ in Tree(text).find("meta", http_equiv="Content-Security-Policy"))
        for name, text in made().items()
    }


def made() -> dict[str, str]:
    """Return a page of each kind."""
    return {
        "bare": page("text"),
        "figure": page(code("f", drawn())),
        "widget": to_html(with_widget(), HEADER),
        "single": to_single_html({"00_a": notebook(TITLE)}, HEADER),
        "index": index_html([(Link("a.html", "A"), "<p>about</p>")], HEADER),
    }


INSIDE = re.compile(r"'none'|'wasm-unsafe-eval'|blob:|data:|'sha(256|384|512)-[A-Za-z0-9+/=]+'|'nonce-[A-Za-z0-9+/=]+'")


@pytest.mark.parametrize("name", ["bare", "figure", "widget", "single", "index"])
def test_policy_allows_only_sources_inside_the_page(name: str) -> None:
    directives = {
        first: rest for first, *rest in (part.split() for part in policies()[name].split(";") if part.strip())
    }
    assert directives["default-src"] == ["'none'"]
    assert directives["base-uri"] == ["'none'"]
    assert directives["form-action"] == ["'none'"]
    inline = {"style-src", "style-src-elem", "style-src-attr"}
    for directive, sources in directives.items():
        assert sources, directive
        for source in sources:
            allowed = INSIDE.fullmatch(source) or (directive in inline and source == "'unsafe-inline'")
            assert allowed, f"{directive} lets in {source}"
    known = {
        *inline,
        "default-src",
        "script-src",
        "img-src",
        "script-src-attr",
        "connect-src",
        "worker-src",
        "base-uri",
        "form-action",
    }
    assert directives.keys() <= known | {"object-src", "frame-src", "child-src", "navigate-to", "sandbox"}
    assert directives["connect-src"] == ["'none'"], "a page has nothing to fetch, not even of its own"


@pytest.mark.parametrize(
    ("name", "more"),
    [("bare", []), ("figure", ["blob:"]), ("widget", ["blob:", "'wasm-unsafe-eval'"]), ("single", []), ("index", [])],
)
def test_policy_allows_blob_scripts_and_wasm_where_used(name: str, more: list[str]) -> None:
    text = made()[name]
    (named,) = re.findall(r"script-src ([^;]*);", policies()[name])
    digests = [hashlib.sha256(one.encode()).digest() for one in re.findall(r"<script>(.*?)</script>", text, re.S)]
    assert sorted(named.split()) == sorted([*(f"'sha256-{base64.b64encode(one).decode()}'" for one in digests), *more])


# --- JSON in scripts -------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=50)
@given(JSON)
def test_in_script_round_trips_and_ends_no_element(value: Any) -> None:
    text = in_script(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")


def test_in_script_is_compact_and_deterministic() -> None:
    assert in_script({"b": [1, 2], "a": "é<&>"}) == '{"a":"é\\u003c\\u0026\\u003e","b":[1,2]}'
    assert in_script("\u2028\u2029") == '"\\u2028\\u2029"'
    assert in_script({"x": [1.5, float("nan"), {"y": float("inf")}]}) == '{"x":[1.5,null,{"y":null}]}'


@pytest.mark.parametrize("hostile", ["<!--<script>", "</script>", "]]>", "&lt;", "<", "\u2028"])
def test_no_script_holds_its_end_tag(hostile: str) -> None:
    trace = go.Scatter(x=[1], y=[2], name=hostile, text=[hostile])
    made = with_widget(figure(go.Figure(trace, {"title": hostile, "meta": {"caption": hostile}})))
    made.metadata["widgets"][WIDGET_STATE]["state"]["abc"]["state"]["value"] = hostile
    text = to_html(made, HEADER)
    held = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.S)
    assert len(held) == 2
    for one in held:
        assert not set(one) & set("<>&\u2028\u2029")
        json.loads(one)


# --- a figure --------------------------------------------------------------------------------------------------------


def slider(*labels: str, **more: Any) -> dict[str, Any]:
    return {"steps": [{"label": label, "method": "skip", "args": []} for label in labels]} | more


def plots(text: str) -> list[dict[str, str | None]]:
    return [found for found, _ in Tree(text).find("div", class_="plot")]


def test_figure_block_has_id_data_and_caption() -> None:
    meta = {"caption": "What it <shows>", "origin": "made-up · Linux", "min_width": 700}
    text = page(code("f", drawn([{"y": [1]}], height=300, meta=meta, sliders=[slider("a", "b"), slider("c")])))
    (place,) = plots(text)
    assert (place["id"], place["data-height"], place["data-min-width"]) == ("figure-1", "100", "700")
    assert place["style"] == "min-height:100px"
    (held,) = Tree(text).texts("script", id="figure-1-json")
    assert json.loads(held)["data"] == [{"y": [1]}]
    assert json.loads(held)["layout"]["height"] == 300
    assert sorted(json.loads(held)) == ["data", "frames", "layout"], "and nothing that only plotly's own servers want"
    (caption,) = Tree(text).texts("figcaption")
    assert caption.startswith("What it <shows> made-up · Linux")
    assert Tree(text).find("button", class_="csv", data_figure="figure-1")


def test_figure_without_meta_gets_defaults() -> None:
    (place,) = plots(page(code("f", shows(PLOTLY, {"layout": {"meta": None}}))))
    assert (place["data-height"], place["data-min-width"]) == ("450", "560")
    text = page(code("f", shows(PLOTLY, {})))
    (held,) = Tree(text).texts("script", id="figure-1-json")
    assert json.loads(held) == {"data": [], "frames": [], "layout": {}}
    (caption,) = Tree(text).texts("figcaption")
    assert caption.split() == ["Data", "(CSV)"]
    (moved,) = plots(page(code("f", drawn(sliders=[slider("a")]))))
    assert moved["data-height"] == "350"


def test_figures_are_numbered_across_notebooks() -> None:
    text = page(code("f", drawn(), drawn()), code("g", drawn()))
    assert [place["id"] for place in plots(text)] == ["figure-1", "figure-2", "figure-3"]
    single = to_single_html(
        {"00_a": notebook(TITLE, code("f", drawn())), "01_b": notebook(TITLE, code("g", drawn()))}, HEADER
    )
    assert [place["id"] for place in plots(single)] == ["figure-1", "figure-2"]
    assert single.count('id="plotly"') == 1


def test_slider_has_the_name_and_step_of_the_figure() -> None:
    first = slider("10 %", "20 %", "30 %", active=2, currentvalue={"prefix": " Share written: "})
    text = page(code("f", drawn(sliders=[first, slider("x", "y")])))
    inputs = [found for found, _ in Tree(text).find("input")]
    assert [one["id"] for one in inputs] == ["figure-1-slider-0", "figure-1-slider-1"]
    attributes = ("data-figure", "data-slider", "min", "max", "step", "value", "aria-valuetext", "type")
    assert [inputs[0][name] for name in attributes] == ["figure-1", "0", "0", "2", "1", "2", "30 %", "range"]
    assert [inputs[1][name] for name in attributes] == ["figure-1", "1", "0", "1", "1", "0", "x", "range"]
    assert Tree(text).texts("label") == ["Share written", "Step"]
    assert Tree(text).texts("span", class_="end") == ["10 %", "30 %", "x", "y"]
    assert Tree(text).texts("output") == ["30 %", "x"]
    assert [found["for"] for found, _ in Tree(text).find("output")] == ["figure-1-slider-0", "figure-1-slider-1"]
    bare = page(code("f", drawn(sliders=[{"steps": [{}, {"label": 7}], "currentvalue": {"prefix": " : "}}])))
    assert Tree(bare).texts("label") == ["Step"]
    named = page(code("f", drawn(sliders=[slider("a", currentvalue={"prefix": "Axis X: "})])))
    assert Tree(named).texts("label") == ["Axis X"]
    assert Tree(bare).texts("span", class_="end") == ["", "7"]


@pytest.mark.parametrize(
    ("active", "stands"), [(0, "a"), (1, "b"), (2, "c"), (3, "a"), (-1, "a"), (1.0, "a"), ("1", "a"), (None, "a")]
)
def test_slider_without_valid_step_starts_at_the_first(active: Any, stands: str) -> None:
    text = page(code("f", drawn(sliders=[slider("a", "b", "c", active=active)])))
    assert Tree(text).texts("output") == [stands]


# --- other outputs ---------------------------------------------------------------------------------------------------


def both(*kinds: tuple[str, Any]) -> Any:
    return new_output("display_data", data=dict(kinds))


def test_richest_output_form_is_shown() -> None:
    forms = [
        (PLOTLY, {"data": []}), ("text/html", "<i>html</i>"), ("text/markdown", "*markdown*"), ("image/png", "AA\nAA"),
        ("text/plain", "plain"),
    ]  # fmt: skip
    rendered = []
    for first in range(len(forms)):
        text = Tree(page(code("f", both(*forms[first:]))))
        kinds = [("div", "plot"), ("div", "html"), ("pre", "text")]
        rendered.append([kind for tag, kind in kinds if text.find(tag, class_=kind)] + text.texts("em") + [
            one["src"] for one, _ in text.find("img")])  # fmt: skip
    assert rendered == [["plot"], ["html"], ["markdown"], ["data:image/png;base64,AAAA"], ["text"]]
    assert not Tree(page(code("f", both(("application/x-unknown", "1"))))).find("pre", tabindex="0")


def test_program_output_is_shown_without_ansi_colours() -> None:
    text = page(
        code(
            "f",
            says("\x1b[1;31mred\x1b[0m\x1b[2K <so>"),
            says("careful", "stderr"),
            shows("text/plain", "\x1b[?25hdone\x1b[m"),
        )
    )
    assert Tree(text).texts("pre", class_="stdout") == ["red <so>"]
    assert Tree(text).texts("pre", class_="stderr") == ["careful"]
    assert Tree(text).texts("pre", class_="text") == ["done"]
    assert not Tree(page(code("f"))).find("pre", tabindex="0")


def test_code_is_folded_and_highlighted() -> None:
    text = page(code("print('a<b')  # so"))
    (code_text,) = Tree(text).texts("details", class_="code")
    assert code_text.startswith("Code")
    assert "print('a<b')  # so" in code_text
    assert re.search(r'<span class="[a-z0-9]+">print</span>', text)


def test_unexecuted_code_has_no_output() -> None:
    made = notebook(TITLE, code("never_ran"))
    del made.cells[1]["outputs"]
    assert "never_ran" in to_html(made, HEADER)


def test_cells_that_are_neither_prose_nor_code_are_left_out() -> None:
    made = notebook(TITLE)
    made.cells.append(nbformat.v4.new_raw_cell("raw and unseen"))
    assert "raw and unseen" not in to_html(made, HEADER)


# --- prose and contents ----------------------------------------------------------------------------------------------


def test_contents_list_the_headings_of_the_second_level() -> None:
    text = page("## One and *two*\n\ntext\n\n### Deeper\n\n## Third `x`")
    anchors = [
        attrs["href"] for attrs, text_ in Tree(text).find("a") if attrs["href"] and attrs["href"].startswith("#")
    ]
    listed = [text_ for attrs, text_ in Tree(text).find("a") if attrs["href"] in anchors]
    assert listed == ["Skip to the text", "One and two", "Third x"]
    assert anchors == ["#main", "#One-and-two", "#Third-x"]
    headings = [(attrs["id"], text_) for attrs, text_ in Tree(text).find("h2")]
    assert [f"#{anchor}" for anchor, _ in headings] == anchors[1:]
    assert [text_ for _, text_ in headings] == ["One and two", "Third x"]
    assert [text_ for _, text_ in Tree(text).find("h3")] == ["Deeper"]
    assert "anchor-link" not in re.sub(r"<style>.*?</style>", "", text, flags=re.S)
    assert "¶" not in text


def test_title_is_the_first_heading() -> None:
    made = notebook("no heading", "## second level", "#  Spaced out \n\nAbout *it*.\n\nMore.", "# Later\n\nNot this.")
    assert pages.title(made) == "Spaced out"
    assert pages.abstract(made) == "<p>About <em>it</em>.</p>\n"
    assert "<title>Spaced out · uffdlab</title>" in to_html(made, HEADER)
    assert (pages.title(notebook("text")), pages.abstract(notebook("text"))) == ("Untitled", "")
    assert pages.abstract(notebook("# Alone")) == ""
    assert pages.abstract(notebook("# A\n\n \n\nb")) == "<p>b</p>\n"
    assert pages.title(notebook(code("# not a heading"), "# A")) == "A"
    assert pages.abstract(notebook(code("# not\n\na heading"), "# A\n\nb")) == "<p>b</p>\n"


def test_page_shows_origin_previous_and_next() -> None:
    header = Header("the-id", "Linux 7", "A <CPU>", "always", "abc123", overlay=None, notices=("one", "two"))
    text = to_html(notebook(TITLE), header, previous=Link("0.html", "Zero"), following=Link("2.html", "Two"))
    tree = Tree(text)
    assert tree.texts("dd") == ["the-id", "Linux 7", "A <CPU>", "always", "commit abc123"]
    assert tree.texts("p", class_="notice")[:2] == ["one", "two"]
    assert tree.texts("a", rel="prev") == ["← Zero"]
    assert tree.texts("a", rel="next") == ["Two →"]
    assert [found["href"] for found, _ in tree.find("a", rel="next")] == ["2.html"]
    assert [found["content"] for found, _ in tree.find("meta", name="generator")] == [f"uffdlab {__version__}"]
    assert f"in a checkout of uffdlab\n  {__version__}." in text
    assert "--data the-id" in text
    assert "--single" not in text


def test_page_without_neighbours_has_no_links() -> None:
    tree = Tree(to_html(notebook(TITLE), HEADER))
    assert not tree.find("a", rel="prev")
    assert not tree.find("a", rel="next")
    assert tree.texts("a", href="index.html") == ["uffdlab", "All pages"]


def test_joint_page_holds_every_notebook_as_a_part() -> None:
    made = {
        "00_a": notebook("# First\n\n[other](01_b.ipynb#deep), [here](#deep)", "## Deep\n\ntext"),
        "01_b": notebook("# Second", "## Deep"),
    }
    text = to_single_html(made, Header("the-id", "k", "c", "t", "f", notices=("once",)))
    tree = Tree(text)
    assert [attrs["id"] for attrs, _ in tree.find("div", class_="part")] == ["00_a", "01_b"]
    assert [(attrs["href"], text_) for attrs, text_ in tree.find("a") if (attrs["href"] or "").startswith("#")] == [
        ("#main", "Skip to the text"), ("#00_a", "First"), ("#00_a-Deep", "Deep"), ("#01_b", "Second"),
        ("#01_b-Deep", "Deep"), ("#01_b-deep", "other"), ("#00_a-deep", "here"),
    ]  # fmt: skip
    assert [attrs.get("class") for attrs, _ in tree.find("li")] == ["part", None, "part", None]
    assert [attrs["id"] for attrs, _ in tree.find("h2")] == ["00_a-Deep", "01_b-Deep"]
    assert "<title>The thread, in one page · uffdlab</title>" in text
    assert text.count('<p class="notice">once</p>') == 1
    assert "render --single --data the-id" in text
    assert not tree.find("a", href="index.html")


def test_index_names_the_dataset_and_the_render_command() -> None:
    text = index_html([(Link("a.html", "A <1>"), "<p>about</p>")], HEADER)
    assert Tree(text).texts("a", href="a.html") == ["A <1>"]
    assert Tree(text).texts("dd")[0] == "made-up"
    assert f"{__version__}." in text
    assert [found["content"] for found, _ in Tree(text).find("meta", name="generator")] == [f"uffdlab {__version__}"]


# --- what a page carries ---------------------------------------------------------------------------------------------


def test_page_carries_plotly_and_wasm_only_where_used() -> None:
    bare, plain, lively = page("text"), page(code("f", drawn())), to_html(with_widget(), HEADER)
    held = {name: [name_ for name_ in ("plotly", "wasm", "widgets") if Tree(text).find("script", id=name_)]
            for name, text in (("bare", bare), ("plain", plain), ("lively", lively))}  # fmt: skip
    assert held == {"bare": [], "plain": ["plotly"], "lively": ["plotly", "wasm", "widgets"]}
    (packed,) = Tree(plain).texts("script", id="plotly")
    assert b"Plotly" in gzip.decompress(base64.b64decode(packed))
    (wasm,) = Tree(lively).texts("script", id="wasm")
    assert base64.b64decode(wasm) == native.simulator_wasm()
    (widgets,) = Tree(lively).texts("script", id="widgets")
    (module,) = json.loads(widgets)["modules"].values()
    assert module == "export default {}; // <b>"
    (place,) = Tree(lively).find("div", class_="widget")
    assert place[0]["data-model"] in json.loads(widgets)["models"]
    assert ".mine { color: red }" in lively
    assert ".mine" not in plain


def test_page_carries_its_styles_and_scripts() -> None:
    text = page(code("f", drawn()))
    for asset in ("page.css", "page.js", "start.js"):
        (line, *_) = [one for one in pages._asset(asset).splitlines() if len(one) > 40 and "{" in one]
        assert line in text, asset
    widget = to_html(with_widget(), HEADER)
    for asset in ("host.js", "page.js", "start.js"):
        (line, *_) = [one for one in pages._asset(asset).splitlines() if len(one) > 40 and "{" in one]
        assert line in widget, asset
    assert "uffdlabCsv" in text
    (line, *_) = [one for one in pages._asset("page.js").splitlines() if len(one) > 40 and "{" in one]
    assert line in index_html([], HEADER)


def test_unprintable_characters_are_replaced_everywhere() -> None:
    text = page("prose \x07", header=Header("\x01", "k", "c", "t", "f"))
    assert "prose \ufffd" in text
    assert Tree(text).texts("dd")[0] == "\ufffd"
    assert "\ufffd" in index_html([(Link("a.html", "A\x0b"), "")], HEADER)
    assert "\ud800" not in page("half \ud800")
    assert "tab\tand\r\nline" in page(code("f", says("tab\tand\r\nline")))


# --- figures of anybody's --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layout",
    [
        {"meta": "hello"},
        {"meta": [1]},
        {"height": None},
        {"sliders": [{}, {"steps": []}, {"steps": [{"label": "a", "method": "skip"}], "active": 9}]},
    ],
)
def test_any_valid_plotly_figure_renders(layout: dict[str, Any]) -> None:
    anybodys = {"data": [{"type": "scatter", "x": [1.0, float("nan")], "y": [float("inf"), 2]}], "layout": layout}
    found = page(code("figure", shows("application/vnd.plotly.v1+json", anybodys)))
    assert found.count('class="plot"') == 1
    assert '"x":[1.0,null],"y":[null,2]' in found
