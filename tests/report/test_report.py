# SPDX-License-Identifier: MIT
"""A report is written whole or not at all, names the origin of its numbers, and escapes its text."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from making import HEADER, ROOT, code, figure, measured, notebook, page, parameters, save, says, shows

from uffdlab.errors import UffdlabError
from uffdlab.report import page as pages
from uffdlab.report import render
from uffdlab.report.execute import execute, read, with_parameters
from uffdlab.report.page import Header, Link, index_html, to_html

HERE = Path("here.ipynb")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    "<img src=x onerror=alert(1)>",
    "\"quoted\" 'quoted' &amp; & <b>",
    "line\u2028separator\u2029",
    "bell\x07 escape\x1b[31m null\x00 half\ud800",
]


class Elements(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and the text in each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.texts.append([])

    def handle_data(self, data: str) -> None:
        if self.texts:
            self.texts[-1].append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]

    def text(self) -> str:
        return "".join("".join(parts) for parts in self.texts)


def drawn(text: str, number: int = 1) -> Any:
    found = re.search(rf'<script type="application/json" id="figure-{number}-json">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])


# --- parameters ------------------------------------------------------------------------------------------------------


def test_parameters_are_replaced_and_their_comments_kept() -> None:
    source = 'data = "reference"   # what is drawn\ncosts = "µ"  # µs\nhere = None'
    assert with_parameters(source, {"data": "/a b", "costs": None}, HERE) == (
        "data = '/a b'   # what is drawn\ncosts = None  # µs\nhere = None"
    )


def test_multi_line_parameter_is_replaced() -> None:
    source = "data = (\n    1 +\n    2\n)  # three\nlast = 0"
    assert with_parameters(source, {"last": 9, "data": 3}, HERE).endswith("last = 9")
    namespace: dict[str, Any] = {}
    exec(with_parameters(source, {"data": [1], "last": 9}, HERE), namespace)
    assert (namespace["data"], namespace["last"]) == ([1], 9)


def test_two_parameters_on_one_line_are_both_replaced() -> None:
    assert with_parameters("a = 1; b = 2", {"a": 10, "b": 20}, HERE) == "a = 10; b = 20"


def test_unknown_parameter_error_lists_the_known_ones() -> None:
    with pytest.raises(UffdlabError, match=r"here\.ipynb has no parameter 'size'; it has data, costs"):
        with_parameters("data = 1\ncosts = 2", {"size": 1}, HERE)


def test_parameter_cell_with_a_syntax_error_is_refused() -> None:
    with pytest.raises(UffdlabError, match=r"here\.ipynb tagged 'parameters' is not Python"):
        with_parameters("data = = 1", {"data": 1}, HERE)


@pytest.mark.parametrize("count", [0, 2])
def test_notebook_needs_exactly_one_parameter_cell(tmp_path: Path, count: int) -> None:
    path = save(tmp_path / "01_a.ipynb", "# A", *[parameters() for _ in range(count)])
    with pytest.raises(UffdlabError, match=f"01_a.ipynb has {count} cells tagged 'parameters'"):
        execute(path, {})


@pytest.mark.parametrize("text", ["", "{}", "[]", "not JSON", '{"cells": 1, "nbformat": 4, "nbformat_minor": 5}'])
def test_invalid_notebook_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "01_a.ipynb").write_text(text)
    with pytest.raises(UffdlabError, match=r"01_a\.ipynb is not a notebook"):
        read(tmp_path / "01_a.ipynb")


# --- execution -------------------------------------------------------------------------------------------------------


def test_notebook_runs_with_parameters_and_shows_others(tmp_path: Path) -> None:
    path = save(
        tmp_path / "01_a.ipynb", "# A", parameters("data = 1  # kept"), code("import os\nprint(data, os.getcwd())")
    )
    done = execute(path, {"data": "/secret/place"}, shown={"data": "made-up"})
    assert done.cells[1].source == "data = 'made-up'  # kept"
    assert done.cells[2].outputs[0].text == f"/secret/place {tmp_path}\n"
    assert "execution" not in done.cells[2].metadata
    assert read(path).cells[1].source == "data = 1  # kept"


def test_failing_cell_error_has_the_last_traceback_line(tmp_path: Path) -> None:
    path = save(tmp_path / "01_a.ipynb", "# A", parameters(), code("1 / 0"))
    with pytest.raises(UffdlabError, match=r"^01_a\.ipynb, cell 2: ZeroDivisionError: division by zero$"):
        execute(path, {})


def test_dead_kernel_is_one_sentence(tmp_path: Path) -> None:
    path = save(tmp_path / "01_a.ipynb", "# A", parameters(), code("import os\nos._exit(1)"))
    with pytest.raises(UffdlabError, match=r"01_a\.ipynb: the kernel died"):
        execute(path, {})


# --- one page --------------------------------------------------------------------------------------------------------


def test_page_forbids_the_network_and_loads_nothing() -> None:
    found = Elements(page(code("f", figure(go.Figure(go.Scatter(x=[1], y=[2]))))))
    policy = next(meta["content"] or "" for meta in found.of("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    outside = [(tag, one) for tag, one in found.found if tag != "a" and {"src", "href", "data", "poster"} & one.keys()]
    assert all((one.get("src") or "").startswith("data:") for _, one in outside)
    assert not found.of("link")
    assert "@import" not in found.text()
    assert "url(" not in pages._asset("page.css")


def _full_of(text: str) -> str:
    """Return a page with the text in every place that takes one."""
    trace = go.Scatter(x=[1], y=[2], name=text, text=[text], customdata=[text])
    layout = {"meta": {"caption": text, "origin": text}, "xaxis": {"title": {"text": text}}}
    header = Header(text, text, text, text, text, overlay=text, notices=(text,))
    return page(code("f", figure(go.Figure(trace, layout)), shows("text/plain", text), says(text)), header=header)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    made, calm = _full_of(text), _full_of("calm")
    made.encode()
    assert [tag for tag, _ in Elements(made).found] == [tag for tag, _ in Elements(calm).found]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_reach_the_figure_unchanged(text: str) -> None:
    assert drawn(_full_of(text))["data"][0]["name"] == text.replace("\ud800", "\ufffd")


def test_unprintable_characters_are_replaced() -> None:
    made = page(code("f", shows("text/plain", "null\x00 half\ud800 bell\x07")))
    assert "null\ufffd half\ufffd bell\ufffd" in made


def test_ansi_colours_are_dropped() -> None:
    assert ">red<" in page(code("f", shows("text/plain", "\x1b[31mred\x1b[0m")))


def test_page_carries_the_arrays_of_its_figures() -> None:
    x, y = [0.1, 1e-300, 3], [None, -2.5, 1e300]
    assert drawn(page(code("f", figure(go.Figure(go.Scatter(x=x, y=y))))))["data"][0]["x"] == x
    assert drawn(page(code("f", figure(go.Figure(go.Scatter(x=x, y=y))))))["data"][0]["y"] == y


def test_caption_and_origin_follow_the_figure() -> None:
    made = page(code("f", figure(go.Figure(layout={"meta": {"caption": "What it shows", "origin": "where from"}}))))
    assert re.search(r"<figcaption>What it shows <small>where from</small>", made)


def test_figure_slider_becomes_a_named_input() -> None:
    steps = [{"label": label, "method": "restyle", "args": [{}]} for label in ("one", "two")]
    slider = {"steps": steps, "active": 1, "currentvalue": {"prefix": "how many: "}}
    found = Elements(page(code("f", figure(go.Figure(layout={"sliders": [slider]})))))
    made = next(one for one in found.of("input"))
    assert (made["type"], made["max"], made["value"], made["aria-valuetext"]) == ("range", "1", "1", "two")
    assert [one["for"] for one in found.of("label")] == [made["id"]]
    assert "how many" in found.text()


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (shows("text/html", "<table><tr><td>7</td></tr></table>"), '<div class="scroll" tabindex="0"><table>'),
        (shows("text/markdown", "*so*"), "<em>so</em>"),
        (shows("text/plain", "plain <1>"), "plain &lt;1&gt;</pre>"),
        (shows("image/png", PIXEL + "\n"), f'<img alt="Figure" src="data:image/png;base64,{PIXEL}">'),
        (shows("application/vnd.jupyter.widget-view+json", {"model_id": "1"}), "a widget that needs the live notebook"),
    ],
    ids=["html", "markdown", "text", "png", "widget"],
)
def test_every_output_type_is_rendered(output: Any, expected: str) -> None:
    assert expected in page(code("f", output))


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_streams_are_shown_by_name(name: str) -> None:
    from nbformat.v4 import new_output

    assert f'<pre class="{name}" tabindex="0">said &lt;so&gt;' in page(
        code("f", new_output("stream", name=name, text="said <so>"))
    )


def test_the_same_outputs_give_the_same_bytes() -> None:
    def made() -> str:
        return page(code("f", figure(go.Figure(go.Scatter(x=[1], y=[2]))), id="same"))

    assert made() == made()


def test_plotly_is_included_once_and_only_for_figures() -> None:
    one = figure(go.Figure(go.Scatter(x=[1], y=[2])))
    many = page(code("f", one), code("g", one), code("h", one))
    assert many.count('id="plotly"') == 1
    assert len(many) <= 2_000_000
    without = page("Nothing to draw.")
    assert 'id="plotly"' not in without
    assert len(without) <= 60_000


def test_links_between_notebooks_become_links_between_pages() -> None:
    made = page("[next](02_b.ipynb), [part](02_b.ipynb#part), [there](https://example.org/c.ipynb)")
    hrefs = [one["href"] for one in Elements(made).of("a")]
    assert {"02_b.html", "02_b.html#part", "https://example.org/c.ipynb", "01_other.html"} <= set(hrefs)


def test_formulas_are_mathml_and_leave_no_dollar() -> None:
    text = to_html(notebook("# A", "A share $p^{512}$ of it.", "$$\\sum_x p(x) \\log_2 p(x)$$"), HEADER)
    elements = Elements(text)
    assert [one.get("display") for one in elements.of("math")] == ["inline", "block"]
    assert elements.of("msup")
    assert "$" not in re.sub(r"<(script|style)>.*?</\1>", "", text, flags=re.S)


@pytest.mark.parametrize("latex", ["a^", "\\left( x", "x \\notacommand", "<img src=x onerror=alert(1)>^"])
def test_invalid_formula_is_shown_as_source(latex: str) -> None:
    elements = Elements(to_html(notebook("# A", f"Here ${latex}$ stands."), HEADER))
    assert [one for one in elements.of("code") if one.get("class") == "unconverted"]
    assert latex in elements.text()
    assert not elements.of("img")


def test_neighbours_are_linked_and_contents_listed() -> None:
    made = to_html(notebook("# A", "## First *part*\n\ntext"), HEADER, previous=Link("00.html", "Zero <0>"))
    assert '<a rel="prev" href="00.html">← Zero &lt;0&gt;</a>' in made
    assert 'rel="next"' not in made
    assert ">First part</a></li>" in made


def test_notices_and_overlay_are_shown() -> None:
    header = Header("d", "k", "c", "t", "f", overlay="mine · Linux 7", notices=("Nothing was measured here",))
    for made in (page("text", header=header), index_html([(Link("a.html", "A"), "<p>about</p>")], header)):
        assert "mine · Linux 7" in made
        assert '<p class="notice">Nothing was measured here</p>' in made


def test_index_lists_every_page_with_its_abstract() -> None:
    entries = [(Link(f"0{i}.html", f"Title {i}"), f"<p>abstract {i}</p>") for i in range(3)]
    made = index_html(entries, HEADER)
    for i in range(3):
        assert f'<a href="0{i}.html">Title {i}</a></h2><p>abstract {i}</p>' in made


# --- colours ---------------------------------------------------------------------------------------------------------


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_contrast_is_sufficient(theme: int) -> None:
    block = re.findall(r":root[^{]*\{(.*?)\n\}", pages._asset("page.css"), re.S)[theme]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    for ground in ("paper", "wash"):
        for text in ("ink", "soft", "link", "keyword", "string", "comment", "number"):
            light, dark = sorted((_luminance(colours[text]), _luminance(colours[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


# --- a directory of pages --------------------------------------------------------------------------------------------


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render notebooks without executing them."""
    monkeypatch.setattr(render, "execute", lambda path, parameters, shown, progress: read(path))


def _notebooks(tmp_path: Path) -> Path:
    save(tmp_path / "notebooks" / "00_a.ipynb", "# First\n\nAbout the *first*.", parameters())
    save(tmp_path / "notebooks" / "01_b.ipynb", "# Second\n\nAbout the second.", parameters())
    save(tmp_path / "notebooks" / "scratch.ipynb", "# Not numbered", parameters())
    return tmp_path / "notebooks"


def _render(notebooks: Path, out: Path) -> render.Rendered:
    return render.render(notebooks, out, parameters={}, header=HEADER)


@pytest.mark.usefixtures("executed")
def test_every_numbered_notebook_becomes_a_page(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "report"
    done = _render(_notebooks(tmp_path), out)
    assert sorted(os.listdir(out)) == [".uffdlab-report", "00_a.html", "01_b.html", "index.html"]
    assert done.pages == (out / "00_a.html", out / "01_b.html")
    assert "About the <em>first</em>." in done.index.read_text()
    assert os.listdir(out.parent) == ["report"]


@pytest.mark.usefixtures("executed")
def test_earlier_report_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "report"
    gone = save(_notebooks(tmp_path) / "99_gone.ipynb", "# Gone", parameters())
    _render(gone.parent, out)
    before = (out / "00_a.html").read_bytes()
    assert (out / "99_gone.html").exists()
    gone.unlink()
    _render(gone.parent, out)
    assert not (out / "99_gone.html").exists()
    assert sorted(os.listdir(tmp_path)) == ["notebooks", "report"]
    assert (out / "00_a.html").read_bytes() == before


def _notes(out: Path) -> None:
    (out / "notes.txt").write_text("mine")


def _edited(out: Path) -> None:
    with (out / "00_a.html").open("a") as page:
        page.write("<p>What I think of it.</p>")


def _without_a_list(out: Path) -> None:
    (out / render.MARKER).write_text("")


def _list_that_leads_elsewhere(out: Path) -> None:
    (out / "link").symlink_to("/etc/hostname")
    with (out / render.MARKER).open("a") as marker:
        marker.write(f"{'0' * 64}  link\n{'0' * 64}  ../notebooks\n")


@pytest.mark.usefixtures("executed")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_notes, "it holds 'notes.txt', which uffdlab did not write"),
        (_edited, "00_a.html in it was changed after render wrote it"),
        (_without_a_list, "it holds '00_a.html', '01_b.html', 'index.html', which uffdlab did not write"),
        (_list_that_leads_elsewhere, "it holds 'link', which uffdlab did not write"),
    ],
)
def test_report_changed_by_a_reader_is_kept(change: Callable[[Path], None], reason: str, tmp_path: Path) -> None:
    out = tmp_path / "report"
    _render(_notebooks(tmp_path), out)
    change(out)
    before = {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}
    with pytest.raises(
        UffdlabError, match=f"report is kept as it is, since {re.escape(reason)}: choose a new directory"
    ):
        _render(tmp_path / "notebooks", out)
    assert {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()} == before


@pytest.mark.usefixtures("executed")
def test_report_passes_sha256sum_check(tmp_path: Path) -> None:
    _render(_notebooks(tmp_path), tmp_path / "report")
    command = ["sha256sum", "--check", "--strict", render.MARKER]
    done = subprocess.run(command, cwd=tmp_path / "report", capture_output=True, text=True)
    assert (done.returncode, done.stdout.count("OK")) == (0, 3), done.stdout + done.stderr


def test_failing_notebook_leaves_the_earlier_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "report"
    with monkeypatch.context() as patched:
        patched.setattr(render, "execute", lambda path, parameters, shown, progress: read(path))
        _render(_notebooks(tmp_path), out)
    before = (out / "00_a.html").read_bytes()
    notebooks = save(tmp_path / "notebooks" / "00_a.ipynb", "# A", parameters(), code("raise ValueError('no')")).parent
    with pytest.raises(UffdlabError, match="ValueError: no"):
        _render(notebooks, out)
    assert (out / "00_a.html").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["notebooks", "report"]


@pytest.mark.usefixtures("executed")
def test_report_is_kept_when_it_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "report"
    _render(_notebooks(tmp_path), out)

    def fails(self: Path, *_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fails)
    with pytest.raises(UffdlabError, match="report cannot be written: No space left on device"):
        _render(tmp_path / "notebooks", out)
    assert (out / "index.html").exists()
    assert sorted(os.listdir(tmp_path)) == ["notebooks", "report"]


@pytest.mark.usefixtures("executed")
def test_foreign_files_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "thesis.html").write_text("mine")
    with pytest.raises(UffdlabError, match="holds files that render did not write"):
        _render(_notebooks(tmp_path), tmp_path / "report")
    assert os.listdir(tmp_path / "report") == ["thesis.html"]


@pytest.mark.usefixtures("executed")
def test_file_as_report_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("mine")
    with pytest.raises(UffdlabError, match="is not a directory"):
        _render(_notebooks(tmp_path), tmp_path / "report")


@pytest.mark.usefixtures("executed")
@pytest.mark.parametrize("out", ["/proc/nowhere/report", "/dev/null/report"])
def test_unwritable_report_directory_is_one_sentence(tmp_path: Path, out: str) -> None:
    with pytest.raises(UffdlabError, match=f"{out} cannot be written"):
        _render(_notebooks(tmp_path), Path(out))


def test_directory_without_notebooks_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UffdlabError, match="holds no notebook named like"):
        _render(tmp_path, tmp_path / "report")


# --- installed without the repository --------------------------------------------------------------------------------


def _elsewhere(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line from a copy of the package that has neither notebooks nor data beside it."""
    ignored = shutil.ignore_patterns("__pycache__", "*.c", "*.so")
    shutil.copytree(ROOT / "uffdlab", tmp_path / "site" / "uffdlab", ignore=ignored)
    command = [sys.executable, "-m", "uffdlab", *arguments]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)


def test_without_a_checkout_data_is_required(tmp_path: Path) -> None:
    done = _elsewhere(tmp_path, "render")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "uffdlab: error: the reference dataset is not installed with the package: pass --data"
    )


def test_without_a_checkout_notebooks_are_required(tmp_path: Path) -> None:
    data = measured(tmp_path / "mine")
    done = _elsewhere(tmp_path, "render", "--data", str(data.path), "--this-machine", str(data.path))
    assert done.returncode == 2
    assert "notebooks/ is not installed with the package" in done.stderr
    assert "Traceback" not in done.stderr
