# SPDX-License-Identifier: MIT
"""Sentences, ratios and tables of a notebook follow the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import damaged
import numpy as np
import pandas as pd
import pytest
from synthetic import FACTS, dataset, sample
from synthetic_atomicity import in_between
from synthetic_faults import dataset as faults_dataset
from synthetic_faults import populated, touched

from uffdlab import datasets, notebook
from uffdlab.probes import atomicity, protect


def ranked(backing: str, preread: int, populate: int, marker: int, children: int = 9) -> list[dict[str, Any]]:
    times = {"preread": (preread // 2, preread // 2), "populate_read": (populate // 2, populate // 2)}
    times["pte_marker"] = (0, marker)
    return [sample(backing, design, *ns) for design, ns in times.items() for _ in range(children)]


def test_ranking_sentence_follows_the_intervals(tmp_path: Path) -> None:
    rows = ranked("anon", 1000, 400, 10) + ranked("anon_thp", 10, 2, 10)
    sentence = repr(notebook.ranking_sentence(dataset(tmp_path / "d", rows)))
    assert "With THP off markers are faster than populating by read loop (100 (in each of 9 processes))" in sentence
    assert "With THP on markers are neither shown to be faster nor slower than populating by read loop" in sentence
    assert "and slower than populating by MADV_POPULATE_READ (0.2 (in each of 9 processes))" in sentence


def test_ranking_sentence_is_open_with_too_few_children(tmp_path: Path) -> None:
    sentence = repr(notebook.ranking_sentence(dataset(tmp_path / "d", ranked("anon", 1000, 400, 10, children=6))))
    assert "faster than" not in sentence
    assert "neither shown" in sentence


def test_ranking_sentence_without_samples(tmp_path: Path) -> None:
    assert repr(notebook.ranking_sentence(dataset(tmp_path / "d"))) == "Nothing was measured at one size."


def test_sentence_is_an_escaped_paragraph() -> None:
    assert notebook.Sentence("a < b")._repr_html_() == "<p>a &lt; b</p>"


def test_published_ratios_equal_those_of_the_thread() -> None:
    rows = notebook.published_ratios(notebook.load_published()).frame.set_index(["source", "THP"])
    table = rows.loc[("M. Usama Anjum", "madvise")]
    assert (table["PRE-READ / WP-UNPOPULATE"], table["MADVISE / WP-UNPOPULATE"]) == ("94.9", "23.8")
    assert rows.loc[("M. Usama Anjum", "always"), "MADVISE / WP-UNPOPULATE"] == "0.34"


def ran(thp: str, *children: tuple[int, int, int]) -> list[dict[str, Any]]:
    """Return runs of the published protocol over 2 GiB: ns of PRE-READ, MADVISE and WP-UNPOPULATE, by child."""
    modes = ("PRE-READ", "MADVISE", "WP-UNPOPULATE")
    return [
        {"block": block, "thp": thp, "mode": mode, "order": order, "size_kib": 2 << 20, "total_ns": ns}
        | {"table_growth_kib": 0, "zeropages": 0, "huge_pages": 0}
        for block, times in enumerate(children)
        for order, (mode, ns) in enumerate(zip(modes, times, strict=True))
    ]


def test_the_published_protocol_is_compared_ratio_by_ratio_and_marker_by_marker(tmp_path: Path) -> None:
    here = faults_dataset(tmp_path / "a", published_runs=ran("always", *[(5 << 20, 2 << 20, 10 << 20)] * 7))
    published = notebook.load_published()
    rows = notebook.rerun(published, here).frame.set_index("source")
    told, mine = rows.loc["M. Usama Anjum"], rows.loc["made-up"]
    assert (told["PRE-READ / WP-UNPOPULATE"], told["per PTE marker"]) == ("1.56", "5.51 ns")
    assert mine["PRE-READ / WP-UNPOPULATE"] == "0.5 (in each of 7 processes)"
    assert (mine["per PTE marker"], mine["PRE-READ per 2 MiB"]) == ("20 ns", "5.12 µs")
    sentence = repr(notebook.rerun_sentence(published, here))
    assert "PRE-READ takes 1.56 times as long as WP-UNPOPULATE. No campaign shows it again." in sentence
    assert "The order is the other one in made-up (0.5 (in each of 7 processes)); reference-" in sentence
    assert "A marker took 5.51 ns there and 10.2 ns to 24.8 ns in these campaigns" in sentence


def test_the_published_order_is_seen_again_where_it_is(tmp_path: Path) -> None:
    same = faults_dataset(tmp_path / "a", published_runs=ran("always", *[(30 << 20, 2 << 20, 10 << 20)] * 7))
    assert "It is seen again in made-up (3 (in each of 7 processes)). " in repr(
        notebook.rerun_sentence(notebook.load_published(), same)
    )


def test_one_pass_is_compared_with_two_by_walks_and_by_writes_lost(tmp_path: Path) -> None:
    ways = {"preread": 4000, "populate_read": 3000, "pte_marker": 0}
    rows = [sample("anon", design, ns // 2, ns // 2 or 1000) for design, ns in ways.items() for _ in range(9)]
    ended = {"excluded_during": 4, "excluded_during_unreported": 1}
    races = [
        row | ended
        for name, lost in (("two_pass_read", 40), ("two_pass_populate", 50), ("one_pass", 0))
        for row in in_between(name, 100, [lost] * 7)
    ]
    made = dataset(tmp_path / "d", rows)
    tables = [datasets.Table("samples", protect.FIELDS, made.tables["samples"].to_dict("records"))]
    tables.append(datasets.Table("races", atomicity.FIELDS, races))
    both = datasets.write(tmp_path / "e", id="made-up", title="made up", tables=tables, provenance=FACTS)
    found = notebook.one_pass(both).frame.set_index("reason")
    lost = found.loc["discards between the passes that lose a write"].tolist()
    assert lost == ["280 of 700", "350 of 700", "0 of 700"]
    assert found.iloc[0].tolist()[:2] == ["4 (in each of 9 processes)", "3 (in each of 9 processes)"]
    assert found.loc["pages discarded while the ioctl ran whose next write is not reported"].tolist() == ["7 of 28"] * 3
    assert found.loc["pages discarded after it whose next write is not reported"].tolist() == ["28 of 42"] * 3
    assert set(notebook.one_pass(made).frame.iloc[1:, 1:].to_numpy().ravel()) == {"not measured"}


def test_repairs_say_who_makes_huge_pages_and_when(tmp_path: Path) -> None:
    row = {"sample": 0, "cold": True, "size_kib": 16384, "huge_before_pages": 0, "huge_asked_pages": 0}
    rows = [
        row | {"block": n, "repair": repair, "collapse_errno": 22, "repair_ns": ns, "huge_after_pages": pages}
        for n in range(7)
        for repair, ns, pages in (("khugepaged", 12 * 10**9, 4096), ("khugepaged_unaware", 30 * 10**9, 0))
    ]
    found = notebook.repairs(faults_dataset(tmp_path / "d", collapses=rows)).frame.set_index("huge pages by")
    assert found.loc["khugepaged"].tolist() == ["7 of 7", "7 of 7", "12 s (without spread)"]
    assert found.loc["khugepaged, process unknown to it"].tolist() == ["7 of 7", "0 of 7", "–"]
    assert notebook.repairs(faults_dataset(tmp_path / "e", faults=[])).frame.iloc[0, 0] == "not measured"


def test_page_sizes_takes_each_row_from_its_dataset(tmp_path: Path) -> None:
    small = touched("fresh", "plain", "first write", 1000)
    huge = touched("fresh", "plain", "first write", 400, backing="anon_thp", minor_faults=2)
    middle = touched("fresh", "plain", "first write", 500, backing="anon_thp", minor_faults=63)
    reference = faults_dataset(tmp_path / "a", faults=small + huge, samples=populated("pte_marker", 0, 8_000_000))
    mthp = faults_dataset(tmp_path / "b", faults=middle, samples=populated("pte_marker", 0, 9_000_000, "anon_thp"))
    rows = notebook.page_sizes(reference, mthp).frame.set_index("pages")
    registered = "64 KiB (mTHP), registered"
    assert rows["faults, first write"].dropna().to_dict() == {"4 KiB": "1", registered: "0.063", "2 MiB (THP)": "0.002"}
    assert rows.loc["4 KiB", "pte_marker, 1 GiB"].startswith("8 ms")
    assert rows.loc[registered, "pte_marker, 1 GiB"].startswith("9 ms")
    assert list(notebook.page_sizes(reference, None).frame.pages) == ["4 KiB", "2 MiB (THP)"]


@pytest.mark.parametrize(
    "cells",
    [
        pd.array([1234, pd.NA], dtype="Int64"),
        pd.array([1.5, pd.NA], dtype="Float64"),
        pd.array([True, pd.NA], dtype="boolean"),
        pd.array(["a", pd.NA], dtype="string"),
        np.array([1.5, np.nan]),
        np.array(["a", None], dtype=object),
        np.array(["a", pd.NA], dtype=object),
    ],
    ids=lambda cells: str(cells.dtype),
)
def test_table_shows_missing_cells_and_headings_in_words(cells: Any) -> None:
    for index in (None, pd.Index(["known", None]), pd.Index(["known", pd.NA], dtype="string")):
        table = notebook.Table(pd.DataFrame({"one": cells}, index=index))
        for text in (repr(table), table._repr_html_()):
            assert text.count("not measured") == 1 + (index is not None)
            assert damaged.NO_NUMBER.search(text) is None
            assert "None" not in text
    named = notebook.Table(pd.DataFrame([[1, 2]], columns=["known", None]))
    assert "not measured" in repr(named)
    assert "None" not in named._repr_html_()


def test_table_groups_digits_of_integers_beside_missing_cells() -> None:
    column = pd.array([1234567, pd.NA], dtype="Int64")
    assert "1,234,567" in repr(notebook.Table(pd.DataFrame({"one": column})))
    assert "1,234,567" in repr(notebook.Table(pd.DataFrame({"one": column[:1]})))


@pytest.mark.parametrize("frame", [pd.DataFrame(), pd.DataFrame({"one": []}), pd.DataFrame([], index=[1, 2])])
def test_table_without_rows_shows_not_measured(frame: pd.DataFrame) -> None:
    table = notebook.Table(frame, index=False)
    assert "not measured" in repr(table)
    assert "not measured" in table._repr_html_()
    assert "Empty" not in repr(table)


@pytest.mark.parametrize("table", [notebook.with_tables, notebook.after_discards, notebook.read_faults])
def test_notebook_tables_without_data_show_not_measured(tmp_path: Path, table: Any) -> None:
    assert "not measured" in repr(table(faults_dataset(tmp_path / "d", faults=[])))
