# SPDX-License-Identifier: MIT
"""Made-up things that several tests need: a measured dataset, notebooks, the page of one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from uffdlab import datasets
from uffdlab.report.execute import execute
from uffdlab.report.page import PLOTLY, Header, to_html

ROOT = Path(__file__).resolve().parents[2]
HEADER = Header("made-up", "Linux 6.18.5", "A processor", "madvise", "0123456789ab")

# --- a dataset that knows every backing and design of the figures, with plain numbers --------------------------------

_COLUMNS = {
    "block": "integer",
    "sample": "integer",
    "backing": "string",
    "design": "string",
    "size_kib": "integer",
    "populated": "number",
    "cluster_pages": "integer",
    "cold": "boolean",
    "prepare_ns": "integer",
    "protect_ns": "integer",
    "table_growth_kib": "integer",
    "rss_growth_kib": "integer",
    "hugetlb_growth_kib": "integer",
}
_BACKINGS = ("anon", "anon_thp", "shmem", "hugetlb_2m_private", "hugetlb_2m_shared", "hugetlb_1g_private")
_DESIGNS = {"unprotected": 1, "preread": 90, "populate_read": 30, "pte_marker": 2}
_GIB_IN_KIB = 1 << 20


def measured(out: Path, id: str = "made-up") -> datasets.Dataset:
    """Write a dataset of eight children per point, a cold sample and a warm one each: 1 and 4 GiB, three fractions."""
    points = [
        (backing, design, gib, populated)
        for backing in _BACKINGS
        for design in _DESIGNS
        for gib in (1, 4)
        for populated in (0.0, 0.5, 1.0)
    ]
    children = [(child, point) for child in range(8) for point in points]
    rows = [_sample(block, child, i, *point) for block, (child, point) in enumerate(children) for i in range(2)]
    fields = [{"name": name, "type": kind} for name, kind in _COLUMNS.items()]
    facts = {"kernel_release": "6.18.5", "cpu_model": "A processor", "thp_enabled": "madvise", "page_size_bytes": 4096}
    tables = [datasets.Table("samples", fields, rows)]
    return datasets.write(out, id=id, title="Made up", tables=tables, provenance=facts, created=date(2026, 1, 2))


def _sample(
    block: int, child: int, sample: int, backing: str, design: str, gib: int, populated: float
) -> dict[str, Any]:
    work = gib * (1_000_000 + 100_000 * _BACKINGS.index(backing)) * (100 + child) // 100
    populates = design in ("preread", "populate_read")
    filled = round(gib * _GIB_IN_KIB * (1 - populated)) if populates else 0
    return {
        "block": block,
        "sample": sample,
        "backing": backing,
        "design": design,
        "size_kib": gib * _GIB_IN_KIB,
        "populated": populated,
        "cluster_pages": 1,
        "cold": sample == 0,
        "prepare_ns": round(work * _DESIGNS[design] * (1 - populated)) if populates else 0,
        "protect_ns": work,
        "table_growth_kib": 2048 * gib,
        "rss_growth_kib": filled,
        "hugetlb_growth_kib": 0,
    }


# --- notebooks -------------------------------------------------------------------------------------------------------

TITLE = "# A made-up page\n\nWhat it is about, in [another](01_other.ipynb)."


def code(source: str, *outputs: Any, tags: Sequence[str] = (), id: str | None = None) -> Any:
    metadata = {"tags": list(tags)} if tags else {}
    return new_code_cell(source, outputs=list(outputs), metadata=metadata, **({"id": id} if id else {}))


def parameters(source: str = "data = None\ncosts = None\nthis_machine = None") -> Any:
    return code(source, tags=["parameters"])


def notebook(*cells: Any) -> Any:
    """Return a notebook; a string is a cell of prose."""
    return new_notebook(cells=[new_markdown_cell(one) if isinstance(one, str) else one for one in cells])


def save(path: Path, *cells: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook(*cells), path)
    return path


def shows(mime: str, data: Any) -> Any:
    """Return an output as a kernel sends it."""
    return new_output("display_data", data={mime: data})


def says(text: str, stream: str = "stdout") -> Any:
    return new_output("stream", name=stream, text=text)


def figure(drawn: Any) -> Any:
    """Return the output of a cell that draws a plotly figure."""
    return shows(PLOTLY, json.loads(drawn.to_json()))


def page(*cells: Any, header: Header = HEADER, title: str = TITLE) -> str:
    return to_html(notebook(title, *cells), header)


# --- pages in a browser ----------------------------------------------------------------------------------------------


@contextmanager
def opened(browser: Any, file: Path, *, width: int = 1280, dark: bool = False) -> Iterator[Any]:
    """Yield a page that is offline and drawn; afterwards nothing may have gone wrong or been asked for."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, offline=True, color_scheme="dark" if dark else "light"
    )
    try:
        context.set_default_timeout(60_000)  # twice what it is, for a busy machine
        tab = context.new_page()
        wrong: list[str] = []
        tab.on("request", lambda one: wrong.append(one.url) if not one.url.startswith(("blob:", "data:")) else None)
        tab.on("console", lambda one: wrong.append(one.text) if one.type in ("error", "warning") else None)
        tab.on("pageerror", lambda one: wrong.append(str(one)))
        tab.on("popup", lambda one: wrong.append(f"a window was opened: {one.url}"))
        tab.on("dialog", lambda one: (wrong.append(one.message), one.dismiss()))
        tab.on("websocket", lambda one: wrong.append(one.url))
        tab.goto(file.as_uri())
        tab.wait_for_selector("html[data-drawn]")
        yield tab
        assert wrong == [file.as_uri()]
    finally:
        context.close()


@cache
def executed(path: Path) -> Any:
    """Return the notebook as it runs now, on the reference dataset; run once per session."""
    return execute(path, {})
