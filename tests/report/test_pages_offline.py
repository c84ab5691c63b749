# SPDX-License-Identifier: MIT
"""A page loads nothing and sends nothing, whatever is pressed in it and whatever a notebook holds."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import plotly.graph_objects as go
import plotly.io
import pytest
from making import HEADER, ROOT, code, executed, figure, measured, notebook, opened, page, says, shows
from widget_pages import NAMES

from uffdlab import figures
from uffdlab.figures.offline import CONFIG
from uffdlab.report import page as pages
from uffdlab.report import prose
from uffdlab.report import widgets as report_widgets
from uffdlab.report.foreign import harmless
from uffdlab.report.page import Header, Link, abstract, in_script, index_html, title, to_html, to_single_html
from uffdlab.report.policy import policy
from uffdlab.report.widgets import VIEW
from uffdlab.widgets.base import plotly_gz

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# --- every button ----------------------------------------------------------------------------------------------------

PRESS_ALL = """async () => {
    const buttons = "button, summary, [role=button], [role=tab], [role=menuitem], input[type=button], .modebar-btn,"
      + ".updatemenu-header, .updatemenu-button, .plotly-notifier *";
    const frame = () => new Promise((done) => setTimeout(done, 5));
    const pressed = new Map();
    for (let more = true; more;) {
        more = false;
        for (const one of document.querySelectorAll(buttons)) {
            if (pressed.has(one)) continue;
            more = true;
            const words = ["title", "data-title", "aria-label"].map((name) => one.getAttribute(name) || "");
            pressed.set(one, [one.textContent, ...words].join(" ").trim());
            if (one.tagName === "A") continue; // a link is no button, and is checked below
            one.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
            await frame();
        }
    }
    for (const select of document.querySelectorAll(".widget select")) {
        const before = select.value;
        for (const { value } of [...select.options].slice(0, 4)) {
            pressed.set(`${select.id} ${value}`, value);
            select.value = value;
            select.dispatchEvent(new Event("input", { bubbles: true }));
            await frame();
        }
        select.value = before;
        select.dispatchEvent(new Event("input", { bubbles: true }));
    }
    await new Promise((done) => setTimeout(done, 300)); // a picture takes a while
    return [...pressed.values()];
}"""
TOLD = """() => [...document.querySelectorAll("[title], [data-title], [aria-label]")].flatMap((one) =>
    ["title", "data-title", "aria-label"].map((name) => one.getAttribute(name)).filter(Boolean))"""
LINKS = """() => [...document.querySelectorAll("a, area, form, iframe, object, embed, base, link")].map(
    (one) => one.outerHTML)"""
OFFERS = re.compile(r"\b(share(?! of)|sharing|upload|cloud|plotly|studio|publish|sign in|log in|edit in)\b", re.I)


def press_everything(tab: Any) -> list[str]:
    """Press every button of a page, and hold that none offers to send anything. ``opened`` holds that none does."""
    pressed: list[str] = tab.evaluate(PRESS_ALL)
    assert [name for name in pressed if OFFERS.search(name)] == []
    assert [text for text in tab.evaluate(TOLD) if OFFERS.search(text)] == []
    drawn = [link for link in tab.evaluate(LINKS) if re.search(r"https?:", link) and "plotly" in link.lower()]
    assert drawn == []
    assert tab.locator(":is(.plot, .ul-plot) a").count() == 0
    return pressed


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_button_of_a_page_opens_a_site(browser: Any, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(to_html(executed(path), HEADER), encoding="utf-8")
    with opened(browser, file) as tab:
        pressed = press_everything(tab)
    assert any("Download plot" in name for name in pressed), "the buttons of figures were pressed"


@pytest.mark.browser
@pytest.mark.slow
def test_no_button_of_a_joint_page_opens_a_site(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    whole = {path.stem: executed(path) for path in NOTEBOOKS}
    file.write_text(to_single_html(whole, HEADER), encoding="utf-8")
    with opened(browser, file) as tab:
        assert len(press_everything(tab)) > 100


@pytest.mark.browser
def test_no_button_of_the_index_opens_a_site(browser: Any, tmp_path: Path) -> None:
    made = [nbformat.read(path, as_version=4) for path in NOTEBOOKS]
    entries = [
        (Link(f"{path.stem}.html", title(one)), abstract(one)) for path, one in zip(NOTEBOOKS, made, strict=True)
    ]
    file = tmp_path / "index.html"
    file.write_text(index_html(entries, HEADER), encoding="utf-8")
    with opened(browser, file) as tab:
        assert press_everything(tab) == ["Dark theme"]


@pytest.mark.browser
def test_no_button_of_a_widget_opens_a_site(browser: Any, widgets_file: Path) -> None:
    with opened(browser, widgets_file) as tab:
        pressed = press_everything(tab)
        assert sum("Download plot" in name for name in pressed) >= len(NAMES) - 1


@pytest.mark.browser
def test_figure_config_cannot_add_the_send_button(browser: Any, tmp_path: Path) -> None:
    bar = {"add": ["sendChartToCloud", "downloadJson"]}
    drawn = go.Figure(go.Scatter(x=[1, 2], y=[1, 2]), layout={"modebar": bar})
    file = tmp_path / "page.html"
    file.write_text(page(code("f", figure(drawn))), encoding="utf-8")
    with opened(browser, file) as tab:
        assert any("JSON" in name for name in press_everything(tab)), "what a figure asks for is there"


# --- live figures ----------------------------------------------------------------------------------------------------


def _live(name: str) -> str:
    """Return what a renderer of plotly sends to a front end, or writes into a file, for a figure."""
    renderer = plotly.io.renderers[name]
    drawn = go.Figure(go.Scatter(x=[1], y=[2])).to_dict()
    if hasattr(renderer, "to_mimebundle"):
        return str(renderer.to_mimebundle(drawn))
    return str(plotly.io.to_html(drawn, config=renderer.config, include_plotlyjs=False))


@pytest.mark.parametrize("name", ["plotly_mimetype", "jupyterlab", "vscode", "notebook_connected", "browser"])
def test_live_figure_has_no_send_button(name: str) -> None:
    sent = _live(name).replace('"', "'").replace("false", "False")
    for one in ("'showSendToCloud': False", "'displaylogo': False"):
        assert one in sent
    assert re.search(r"'modeBarButtonsToRemove': \[[^]]*'sendChartToCloud'", sent)
    assert "cloud.plotly.com" not in sent


def test_figure_config_disables_sending(tmp_path: Path) -> None:
    data = measured(tmp_path / "data")
    drawn = [figures.plot_skip(data), figures.plot_guest(data, data)]
    for one in drawn:
        assert "sendChartToCloud" in one.layout.modebar.remove
        assert "sendChartToCloud" in one.to_json()
    assert CONFIG["plotlyServerURL"] == ""


# --- a notebook that means harm --------------------------------------------------------------------------------------

TAKE = "document.documentElement.dataset.taken = 1"
ELSEWHERE = "https://elsewhere.example"
HARM = {
    "script": f"<script>{TAKE}</script>",
    "module": f"<script type=module>{TAKE}</script>",
    "source": f"<script src='{ELSEWHERE}/x.js'></script>",
    "data": f"<script src='data:text/javascript,{TAKE}'></script>",
    "image": f'<img src=x onerror="{TAKE}">',
    "picture": f'<img src="{ELSEWHERE}/x.png" srcset="{ELSEWHERE}/y.png">',
    "drawing": f'<svg onload="{TAKE}"><script>{TAKE}</script><image href="{ELSEWHERE}/x.png"/></svg>',
    "animation": f'<svg><animate onbegin="{TAKE}" attributeName=x dur=1s /></svg>',
    "use": f'<svg><use href="{ELSEWHERE}/x.svg#a"/><foreignObject><script>{TAKE}</script></foreignObject></svg>',
    "details": f'<details open ontoggle="{TAKE}"><summary>x</summary></details>',
    "focus": f'<input autofocus onfocus="{TAKE}">',
    "link": f'<a href="javascript:{TAKE}" id=harm>press</a>',
    "hidden link": f'<a href=" java&#10;script:{TAKE}" id=harm>press</a>',
    "formula": f'<math href="javascript:{TAKE}" id=harm><mi>x</mi></math>',
    "document link": f'<a href="data:text/html,<script>{TAKE}</script>" id=harm>press</a>',
    "frame": f"<iframe src='{ELSEWHERE}'></iframe>",
    "frame of text": f"<iframe srcdoc='<script>parent.{TAKE}</script>'></iframe>",
    "frame that leads": f"<iframe srcdoc='<meta http-equiv=refresh content=\"0;{ELSEWHERE}\">'></iframe>",
    "object": f'<object data="{ELSEWHERE}"></object><embed src="{ELSEWHERE}">',
    "refresh": f'<meta http-equiv="refresh" content="0;url={ELSEWHERE}">',
    "base": f'<base href="{ELSEWHERE}/" target=_blank>',
    "form": f'<form action="{ELSEWHERE}"><button id=harm>press</button></form>',
    "other form": f'<form id=f></form><button form=f formaction="{ELSEWHERE}" id=harm>x</button>',
    "stylesheet": f'<link rel=stylesheet href="{ELSEWHERE}/x.css">',
    "connection": f'<link rel=preconnect href="{ELSEWHERE}"><link rel=dns-prefetch href="{ELSEWHERE}">',
    "prefetch": f'<link rel=prefetch href="{ELSEWHERE}/x"><link rel=manifest href="{ELSEWHERE}/x">',
    "video": f'<video src="{ELSEWHERE}/x.mp4" poster="{ELSEWHERE}/x.png" autoplay onerror="{TAKE}"></video>',
    "sound": f'<audio autoplay src="{ELSEWHERE}/x.mp3"><track src="{ELSEWHERE}/x.vtt"></audio>',
    "ping": f'<a href="#main" ping="{ELSEWHERE}" id=harm>press</a>',
    "comment": f"<!--><script>{TAKE}</script>-->",
    "noscript": f'<noscript><p title="</noscript><img src=x onerror={TAKE}>">',
    "end of page": f"</div></main></body></html><script>{TAKE}</script>",
    "swallowed": "<template><textarea><title><plaintext>",
    "select": f"<select><style><!--</style><script>{TAKE}</script>--></select>",
    "stolen widget": f'<div id="widgets">{{"modules": {{"x": "{TAKE}"}}}}</div>',
    "stolen script": f'<script type="application/json" id="widgets">{{"modules": {{"x": "{TAKE}"}}}}</script>',
    "speculation": f'<script type="speculationrules">{{"prefetch": [{{"urls": ["{ELSEWHERE}"]}}]}}</script>',
    "import map": f'<script type="importmap">{{"imports": {{"x": "{ELSEWHERE}"}}}}</script>',
    "names": "<a id=uffdlabPlotly></a><a id=theme></a><a id=plotly></a><a id=wasm></a><a id=figure-1></a>",
}  # fmt: skip
# What no policy of a page stops, so that only leaving it out does.
UNSTOPPED = {"refresh", "connection", "swallowed"}


def _cells(html: str) -> list[Any]:
    """Return cells that have the HTML wherever a notebook may put some."""
    table = f"* {html}\n\n| a |\n|---|\n| {html} |\n"
    outputs = [shows("text/html", html), shows("text/markdown", html), shows("text/plain", html), says(html)]
    return [html, table, code(html, *outputs)]


def _page(directory: Path, *htmls: str, drawn: bool) -> Path:
    """Return the page of a notebook that holds all that; ``drawn``: with figures and widgets around it."""
    everything = " ".join(htmls)
    made = notebook("# A page\n\nAbout.", *(cell for html in htmls for cell in _cells(html)))
    if drawn:
        meta = {"meta": {"caption": everything, "origin": everything}}
        harmed = figure(go.Figure(go.Scatter(x=[1, 2], y=[1, 2], name=everything), meta))
        views = [shows(VIEW, {"model_id": name}) for name in ("html", "label")]
        made.cells = [*notebook("## widgets", code("f", harmed), code("w", *views)).cells, *made.cells]
        made.cells.append(code("g", figure(go.Figure(go.Scatter(x=[3], y=[4])))))
        state = {
            "html": {"model_name": "HTMLModel", "state": {"value": everything}},
            "label": {"model_name": "LabelModel", "state": {"value": everything}},
        }
        made.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": state}}
    header = Header(*[everything] * 5, overlay=everything, notices=(everything,))
    file = directory / "page.html"
    file.write_text(to_html(made, header), encoding="utf-8")
    return file


def _harmed(tab: Any) -> bool:
    """Whether a script of the notebook ran, at once or when its link or button is pressed."""
    for one in tab.locator("#harm").all():
        one.dispatch_event("click")
    tab.wait_for_timeout(50)
    # A locator looks again where a page that is going elsewhere takes its script's context along.
    return tab.locator("html").get_attribute("data-taken") is not None


@pytest.mark.browser
def test_hostile_notebook_runs_nothing(browser: Any, tmp_path: Path) -> None:
    file = _page(tmp_path, *HARM.values(), drawn=True)
    with opened(browser, file) as tab:
        assert not _harmed(tab)
        assert tab.locator(".plot:has(.main-svg)").count() == tab.locator(".plot").count() == 2
        assert tab.locator("footer").inner_text().endswith("sends nothing.")
        acting = "script, meta, link, base, iframe, object, embed, form, video, audio"
        assert tab.locator(f"main :is({acting}):not([type='application/json'])").count() == 0
        tab.locator("header #theme").click()
        assert tab.evaluate("document.documentElement.dataset.theme") == "dark"


@dataclass
class Server:
    """A server elsewhere, with the request of each connection, if any."""

    address: str
    connected: list[list[str]] = field(default_factory=list)


@pytest.fixture
def elsewhere() -> Iterator[Server]:
    found = Server("")

    class Notes(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            request: list[str] = []
            found.connected.append(request)
            text = self.request.recv(200).decode(errors="replace")
            request += [text] if text else []

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Notes) as server:
        found.address = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield found
        server.shutdown()


def _visit(browser: Any, file: Path, elsewhere: Server) -> tuple[bool, list[str]]:
    """Open a page that could reach others, and press what its notebook has to press. Return whether a script of the
    notebook ran, and what was opened instead of the page or besides.
    """
    text = file.read_text(encoding="utf-8").replace(ELSEWHERE, elsewhere.address)
    file.write_text(text, encoding="utf-8")
    elsewhere.connected.clear()
    context = browser.new_context()
    try:
        tab = context.new_page()
        opened: list[str] = []
        context.on("page", lambda one: opened.append(one.url))
        tab.goto(file.as_uri())
        ran = _harmed(tab)
        return ran, opened + ([tab.url] if tab.url.split("#")[0] != file.as_uri() else [])
    finally:
        context.close()


def _trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the sanitizer."""
    for module in (pages, prose, report_widgets):
        monkeypatch.setattr(module, "harmless", lambda html: html)


@pytest.mark.browser
@pytest.mark.parametrize("what", [what for what in HARM if what not in UNSTOPPED])
def test_policy_alone_stops_hostile_scripts(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Server, what: str
) -> None:
    _trusting(monkeypatch)
    file = _page(tmp_path, HARM[what], drawn=what.startswith("stolen"))
    assert HARM[what] in file.read_text(encoding="utf-8")
    assert _visit(browser, file, elsewhere) == (False, [])
    # Before it asks the policy Chromium connects where a frame or a form would lead, and asks for nothing.
    assert [request for request in elsewhere.connected if request] == []


@pytest.mark.browser
def test_hostile_notebook_acts_without_policy_and_sanitizer(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Server
) -> None:
    _trusting(monkeypatch)
    _visit(browser, _page(tmp_path, HARM["refresh"], drawn=False), elsewhere)
    assert any(elsewhere.connected), "no policy stops this"
    monkeypatch.setattr(pages, "policy", lambda *_, **__: "")
    assert _visit(browser, _page(tmp_path, HARM["script"], drawn=False), elsewhere)[0]
    _visit(browser, _page(tmp_path, HARM["picture"], drawn=False), elsewhere)
    assert any(elsewhere.connected)


@pytest.mark.browser
def test_hostile_notebook_opens_no_connection(browser: Any, tmp_path: Path, elsewhere: Server) -> None:
    assert _visit(browser, _page(tmp_path, *HARM.values(), drawn=True), elsewhere) == (False, [])
    assert elsewhere.connected == []


@pytest.mark.browser
def test_style_sheet_of_a_notebook_fetches_nothing(browser: Any, tmp_path: Path, elsewhere: Server) -> None:
    rules = f"@import url({ELSEWHERE}/x.css); p {{ background: url({ELSEWHERE}/x.png) }}"
    style = f"<style>{rules}</style>"
    file = tmp_path / "page.html"
    file.write_text(page(code("f", shows("text/html", style + "<p id=styled>styled</p>"))), encoding="utf-8")
    assert _visit(browser, file, elsewhere) == (False, [])
    assert elsewhere.connected == []


@pytest.mark.parametrize(
    "html",
    [
        "<p>text, <em>so</em> and <code>a &lt; b</code></p>",
        '<table class="dataframe"><thead><tr style="text-align: left"><th>a</th></tr></thead>'
        '<tbody><tr><td colspan="2">1</td></tr></tbody></table>',
        '<div class="verdict holds"><dl><dt>rule</dt><dd>x</dd></dl></div>',
        '<a href="01_other.html#part">there</a> <a href="https://example.org/?a=1&amp;b">here</a>',
        '<img src="data:image/png;base64,AA==" alt="a picture">',
        '<svg viewBox="0 0 9 9"><path d="M0 0L9 9" stroke="red"></path></svg>',
        '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"><mfrac><mi>a</mi><mn>2</mn></mfrac></math>',
        '<p style="color:red; text-align: right !important">text</p>',
        '<details open=""><summary>more</summary>text</details>',
    ],
)
def test_harmless_html_is_unchanged(html: str) -> None:
    assert harmless(html) == html


# --- the policy ------------------------------------------------------------------------------------------------------


def _directives(made: str) -> dict[str, list[str]]:
    (found,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', made)
    return {name: sources for name, *sources in (part.split() for part in found.split("; "))}


def _digests(made: str) -> set[str]:
    """Return the hashes of the scripts in a page that run."""
    scripts = re.findall(r"<script>(.*?)</script>", made, re.S)
    return {f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts}


def test_policy_allows_the_page_s_own_scripts_only(widgets_file: Path) -> None:
    drawn = figure(go.Figure(go.Scatter(x=[1], y=[2])))
    made = {
        "index": index_html([(Link("a.html", "A"), "<p>about</p>")], HEADER),
        "prose": page("text"),
        "figure": page(code("f", drawn)),
        "widgets": widgets_file.read_text(encoding="utf-8"),
        "single": to_single_html({"a": notebook("# A", code("f", drawn))}, HEADER),
    }
    besides = {"index": set(), "prose": set(), "figure": {"blob:"}, "single": {"blob:"}}
    besides["widgets"] = {"blob:", "'wasm-unsafe-eval'"}
    for name, text in made.items():
        directives = _directives(text)
        assert set(directives.pop("script-src")) == _digests(text) | besides[name], name
        assert directives.pop("style-src") == ["'unsafe-inline'"]
        assert directives.pop("img-src") == ["data:", "blob:"]
        assert {source for sources in directives.values() for source in sources} == {"'none'"}, name
        assert directives.keys() >= {"default-src", "connect-src", "frame-src", "object-src", "base-uri", "form-action"}


def test_policy_has_the_hash_of_each_script() -> None:
    one, two = policy(["a"]), policy(["a", "b"], unpacks=True, computes=True)
    assert one != policy(["b"])
    assert "blob:" not in one.split("script-src-attr")[0]
    for wrong in ("unsafe-inline'", "unsafe-eval'", "*", "https:", "'self'"):
        assert wrong not in two.replace("style-src 'unsafe-inline'", "").replace("'wasm-unsafe-eval'", "")


@pytest.mark.parametrize("text", ["</script>", "<!--", "a & b", "]]>", "\u2028\u2029", "<ScRiPt>"])
def test_nothing_in_a_script_element_ends_it(text: str) -> None:
    made = in_script({text: [text]})
    assert not set(made) & set("<>&\u2028\u2029")
    assert json.loads(made) == {text: [text]}


def test_widget_css_ends_no_element(tmp_path: Path) -> None:
    css = f"</style><script>{TAKE}</script>"
    model = {"model_name": "AnyModel", "state": {"_esm": "export default {}", "_css": css}}
    made = notebook("# A", code("w", shows(VIEW, {"model_id": "own"})))
    made.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {"own": model}}}
    text = to_html(made, HEADER)
    assert "</style><script>" not in text
    assert text.count("</style>") == 1


def test_plotly_has_no_new_way_to_send() -> None:
    """A newer plotly.js may have another way out: look for what opens, posts or fetches before this is changed."""
    library = gzip.decompress(plotly_gz()).decode()
    ways = (
        r"window\.open\(|postMessage\(|\bfetch\(|XMLHttpRequest|sendBeacon|WebSocket|EventSource|importScripts|\beval\("
    )
    assert sorted(re.findall(ways, library)) == ["XMLHttpRequest", "postMessage(", "window.open(", "window.open("]
    sites = set(re.findall(r"https?://([a-z.]+\.[a-z]+)", library))
    assert {site for site in sites if "plot" in site} == {"cloud.plotly.com", "plotly.com", "cdn.plot.ly"}
