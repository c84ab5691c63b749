# SPDX-License-Identifier: MIT
"""The answer on top of each page: five sentences, computed, on any dataset."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import damaged
import pandas as pd
import pytest
import synthetic
import synthetic_trackers
from synthetic_faults import dataset, interrupts, touched
from test_notebook import ranked

from uffdlab import claims, datasets, notebook
from uffdlab.claims import Evidence
from uffdlab.errors import UffdlabError

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
PAGES = [path.name[:2] for path in NOTEBOOKS]
LABELS = ["Claimed", "Answer", "Number", "Condition", "What to do"]


@cache
def of_reference(page: str) -> notebook.Answer:
    return notebook.answer(page, claims.evidence_of(datasets.load(datasets.locate(None))))


# --- the committed data ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_an_answer_has_five_sentences(page: str) -> None:
    said = of_reference(page).sentences
    assert list(said) == LABELS
    for text in said.values():
        assert re.fullmatch(r"[A-Z].*[^.]\.", text), text
        assert not damaged.NO_NUMBER.search(text)
        assert len(text.split()) <= 60
    assert re.search(r"[0-9]", said["Number"])
    assert "not measured" not in said["Number"].lower()


@pytest.mark.parametrize("page", PAGES)
def test_an_answer_spells_names_out(page: str) -> None:
    claimed = of_reference(page).sentences["Claimed"]
    assert re.search(r"David Hildenbrand|Peter Xu|Nobody in the thread", claimed)
    assert not re.search(r"\b(?:DH|PX)\b", repr(of_reference(page)))


def test_numbers_are_those_of_the_verdicts() -> None:
    evidence = claims.evidence_of(datasets.load(datasets.locate(None)))
    for page, id_ in (("01", "qemu-could-skip"), ("02", "no-huge-zeropage-needed"), ("03", "pmd-marker-wins"),
                      ("04", "zeropage-covert-channel")):  # fmt: skip
        assert str(claims.verdict(id_, evidence).number) in of_reference(page).sentences["Number"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_page_begins_with_its_answer(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert "".join(cells[2]["source"]) == f'notebook.answer("{path.name[:2]}", evidence)'


# --- other data ------------------------------------------------------------------------------------------------------


def writes(preparation: str, ns: float, threads: int) -> list[dict[str, Any]]:
    return touched(preparation, "async", "first write", ns, threads=threads)


def test_two_threads_are_compared_with_one(tmp_path: Path) -> None:
    rows = writes("zeropage", 1000, 1) + writes("zeropage", 6000, 2)
    rows += writes("markers", 1000, 1) + writes("markers", 1000, 2)
    number = notebook.answer("05", Evidence(dataset(tmp_path / "d", faults=rows))).sentences["Number"]
    assert number.startswith("With two threads in place of one, a first write to a filled zeropage takes 5.98 (")
    assert "times as long, and to a marker no longer: 1 (" in number


def test_a_marker_that_threads_slow_down_is_said_to_take_longer(tmp_path: Path) -> None:
    rows = writes("markers", 1000, 1) + writes("markers", 3000, 2)
    number = notebook.answer("05", Evidence(dataset(tmp_path / "d", faults=rows))).sentences["Number"]
    assert re.fullmatch(r"With two threads in place of one, a first write to a marker takes 2\.99 .* as long\.", number)


@pytest.mark.parametrize(
    ("with_thp", "answer", "number"),
    [
        ((10, 2, 10), "The order turns over with transparent huge pages (THP): with THP off markers are faster, with "
         "THP on populating is faster.",
         "markers take 5 (in each of 9 processes) times as long as populating with THP on"),
        ((10, 400, 10), "With THP off markers are faster, with THP on markers are faster.",
         "populating takes 40 (in each of 9 processes) times as long as markers with THP on"),
    ],
)  # fmt: skip
def test_the_ranking_turns_over_only_where_it_does(
    tmp_path: Path, with_thp: tuple[int, int, int], answer: str, number: str
) -> None:
    data = synthetic.dataset(tmp_path / "d", ranked("anon", 1000, 400, 10) + ranked("anon_thp", *with_thp))
    said = notebook.answer("00", Evidence(data)).sentences
    assert said["Answer"] == answer
    assert number in said["Number"]
    assert "To protect 1 GiB, populating takes 40 (in each of 9 processes) times as long" in said["Number"]


def test_advice_follows_the_verdict(tmp_path: Path) -> None:
    quiet = dataset(tmp_path / "quiet", faults=interrupts(filled=1, unread=1, read=1, nothing=1))
    loud = dataset(tmp_path / "loud", faults=interrupts(filled=990, unread=1, read=1, nothing=1))
    assert notebook.answer("05", Evidence(quiet)).sentences["What to do"].startswith("On such a machine threads are no")
    said = notebook.answer("05", Evidence(loud)).sentences
    assert said["What to do"].startswith("In a program with threads leave memory empty")
    assert said["Answer"].startswith("A marker avoids the interrupt; whether ")


# --- data that lack something ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_without_data_it_says_what_is_not_measured(tmp_path: Path, page: str) -> None:
    said = notebook.answer(page, Evidence(synthetic.dataset(tmp_path / "d"))).sentences
    assert said["Number"] == "Not measured in made-up."
    assert said["Condition"] == "Not measured in made-up."
    assert "is not decided" in said["Answer"]
    assert said["What to do"].startswith("Wait: what would decide it is ")


def worse(data: datasets.Dataset, table: str) -> Iterator[datasets.Dataset]:
    """Yield a dataset without a table, without its rows, without its values, and without its last column."""
    rows = data.tables[table]
    others = {name: kept for name, kept in data.tables.items() if name != table}
    unknown = rows.copy()
    unknown[:] = pd.NA
    for changed in (None, rows.iloc[:0], unknown, rows.iloc[:, :-1]):
        yield replace(data, tables=others if changed is None else others | {table: changed})


# By page: the dataset that it is computed from, and its tables.
READ = (
    ("00", "campaign", "samples"),
    ("01", "campaign", "samples states"),
    ("02", "campaign", "zeropages"),
    ("03", "costs", "costs draws"),
    ("04", "channel", "channels channel_slots"),
    ("05", "campaign", "faults"),
    ("08", "trackers", "trackers"),
)


def evidences(tmp_path: Path) -> Iterator[tuple[Evidence, str]]:
    reference, costs, channel = (damaged.thin(name) for name in ("reference-", "costs-", "channel-2026-11-28"))
    trackers = synthetic_trackers.dataset(
        tmp_path / "t", synthetic_trackers.epochs(lambda m, d: 1000, lambda m, d: 1e6, lambda m, d: 1e6)
    )
    companions = {"channel": channel, "trackers": trackers}
    whole = Evidence(reference, companions, costs, damaged.thin("published"))
    for page, of, tables in READ:
        for table in tables.split():
            for changed in worse(companions[of] if of in companions else getattr(whole, of), table):
                beside = {"companions": companions | {of: changed}} if of in companions else {of: changed}
                yield replace(whole, **beside), page
    for without in ({"companions": {}}, {"costs": None}, {"published": None}):
        yield replace(whole, **without), " ".join(PAGES)


@pytest.mark.slow
def test_damaged_data_raise_nothing_and_show_no_odd_numbers(tmp_path: Path) -> None:
    for evidence, pages in evidences(tmp_path):
        for page in pages.split():
            said = notebook.answer(page, evidence)
            assert not damaged.NO_NUMBER.search(repr(said)), said


def test_an_unknown_page_is_named() -> None:
    with pytest.raises(UffdlabError, match="no page is called '99': choose one of 00, 01"):
        notebook.answer("99", Evidence(damaged.thin("published")))


# --- how it is shown -------------------------------------------------------------------------------------------------


class Cells(HTMLParser):
    """The texts of terms and of what they say."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_it_is_one_escaped_block(tmp_path: Path) -> None:
    data = synthetic.dataset(tmp_path / "d", ranked("anon", 1000, 400, 10))
    odd = replace(data, provenance=data.provenance | {"cpu_model": "<script>alert(1)</script>"})
    said = notebook.answer("00", Evidence(odd))
    shown = Cells()
    shown.feed(said._repr_html_())
    assert said._repr_html_().startswith('<div class="answers"><dl>')
    assert shown.tags == ["div", "dl", *["dt", "dd"] * 5]
    assert shown.texts[::2] == LABELS
    assert shown.texts[1::2] == list(said.sentences.values())
    assert "<script>" in said.sentences["Condition"]


def test_as_text_it_has_a_line_for_each_sentence() -> None:
    assert [line.partition(":")[0] for line in repr(of_reference("01")).splitlines()] == LABELS
