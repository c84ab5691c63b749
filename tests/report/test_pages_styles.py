# SPDX-License-Identifier: MIT
"""Style sheets of a notebook apply to their own output, never to the page, and fetch nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from making import code, figure, opened, page, shows

from uffdlab.report.foreign import harmless

TABLE = '<table id="T_1"><tbody><tr><td id="cell">1</td></tr></tbody></table>'


def test_style_sheet_is_scoped_to_its_element() -> None:
    """As pandas writes one beside its table."""
    sheet = '<style type="text/css">\n#T_1 td { color: red }\n</style>'
    assert harmless(sheet + TABLE) == (
        f'<div class="own"><div><style>@scope {{ #T_1 td {{ color: red }} }}</style>{TABLE}</div></div>'
    )


@pytest.mark.parametrize(
    "css",
    [
        "",
        "@import url(x);",
        "} body { color: red }",
        "@media print { p { color: red } }",
        "<!-- -->",
        "p",
        "{",
        "a)b{}",
    ],
)
def test_style_sheet_without_rules_is_dropped(css: str) -> None:
    assert harmless(f"<p>a</p><style>{css}</style>") == "<p>a</p>"


@pytest.mark.parametrize(
    "style",
    ["position: fixed", "z-index: 9", "margin: -9em", "transform: scale(9)", "background: url(x)", "x", "}", "inset:0"],
)
def test_positioning_properties_are_dropped(style: str) -> None:
    assert harmless(f'<p style="{style}">a</p>') == "<p>a</p>"
    assert harmless(f'<p style="{style}; color: red">a</p>') == '<p style="color: red">a</p>'


@pytest.mark.parametrize("around", ["{}", "<svg>{}</svg>", "<svg><desc>{}</desc></svg>", '<p title="{}">a</p>'])
@pytest.mark.parametrize("css", [r"p{content:'\3c meta http-equiv=refresh\3e'}", "p{content:'</style><meta>'}"])
def test_style_sheet_text_cannot_become_an_element(around: str, css: str) -> None:
    """An escape is a character once more where a sheet is written anew; within a drawing it would be read as HTML."""
    clean = harmless(around.format(f"<style>{css}</style>"))
    assert "<meta" not in clean


OVER_ALL = (
    "p, body, main, .top, * { display: none !important } :scope, div { position: fixed; inset: 0; z-index: 99; "
    "contain: none !important; background: red; min-height: 9999px } }} * { display: none !important }",
    '@layer a { * { display: none } } * { content: "</style><style>* { display: none }" }',
    ":scope, :root, html, body { display: none !important }",
)


@pytest.mark.browser
@pytest.mark.parametrize("css", OVER_ALL)
def test_style_sheet_of_a_notebook_does_not_change_the_page(browser: Any, tmp_path: Path, css: str) -> None:
    file = tmp_path / "page.html"
    sheet = f"<style>{css} #cell {{ color: rgb(1, 2, 3) }}</style>"
    outputs = [shows("text/html", html) for html in (sheet + TABLE, "<p id=after>after</p>")]
    file.write_text(page(sheet + "\n\nprose", code("f", *outputs)), encoding="utf-8")
    with opened(browser, file) as tab:
        at = "id => { const r = document.querySelector(id).getBoundingClientRect(); return [r.x + 4, r.y + 9]; }"
        for place in (".site a", "#theme", "#after"):
            x, y = tab.evaluate(at, place)
            hit = tab.evaluate("([x, y]) => document.elementFromPoint(x, y).outerHTML", [x, y])
            assert hit == tab.evaluate("id => document.querySelector(id).outerHTML", place)


@pytest.mark.browser
def test_styled_table_has_its_colours(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    sheet = "<style>#T_1 td { color: rgb(1, 2, 3) }</style>"
    file.write_text(page(code("f", shows("text/html", sheet + TABLE), shows("text/html", TABLE))), encoding="utf-8")
    with opened(browser, file) as tab:
        colours = tab.evaluate("[...document.querySelectorAll('td')].map(cell => getComputedStyle(cell).color)")
    assert colours[0] == "rgb(1, 2, 3)"
    assert colours[1] != colours[0]


# --- pictures in figures ---------------------------------------------------------------------------------------------


def test_figure_keeps_embedded_pictures_only(tmp_path: Path) -> None:
    carried, fetched = "data:image/png;base64,AA==", "https://example.org/picture.png"
    drawn = go.Figure(go.Scatter(x=[1], y=[2]))
    for source in (carried, fetched, "//example.org/x.png"):
        drawn.add_layout_image(source=source, x=0, y=1)
    drawn.frames = [go.Frame(layout={"images": [{"source": fetched}]})]
    made = page(code("f", figure(drawn)))
    assert carried in made
    assert "example.org" not in made
    assert made.count('"x":0,"y":1') == 3, "where each would have been is left as it was"
