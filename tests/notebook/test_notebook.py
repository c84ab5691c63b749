# SPDX-License-Identifier: MIT
"""What a notebook says in words is computed: sentences and ratios follow the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import damaged
import numpy as np
import pandas as pd
import pytest
from synthetic import dataset, sample
from synthetic_later import dataset as later
from synthetic_later import populated, touched

from uffdlab import notebook


def ranked(backing: str, preread: int, populate: int, marker: int, children: int = 9) -> list[dict[str, Any]]:
    times = {"preread": (preread // 2, preread // 2), "populate_read": (populate // 2, populate // 2)}
    times["pte_marker"] = (0, marker)
    return [sample(backing, design, *ns) for design, ns in times.items() for _ in range(children)]


def test_the_ranking_is_said_as_the_intervals_tell(tmp_path: Path) -> None:
    rows = ranked("anon", 1000, 400, 10) + ranked("anon_thp", 10, 2, 10)
    said = repr(notebook.ranking_said(dataset(tmp_path / "d", rows)))
    assert "With THP off markers are faster than the read loop (100 (100 to 100))" in said
    assert "With THP on markers are neither shown to be faster nor slower than the read loop" in said
    assert "and slower than MADV_POPULATE_READ (0.2 (0.2 to 0.2))" in said


def test_too_few_children_say_nothing_of_a_ranking(tmp_path: Path) -> None:
    said = repr(notebook.ranking_said(dataset(tmp_path / "d", ranked("anon", 1000, 400, 10, children=6))))
    assert "faster than" not in said
    assert "neither shown" in said


def test_a_ranking_of_nothing_is_said(tmp_path: Path) -> None:
    assert repr(notebook.ranking_said(dataset(tmp_path / "d"))) == "Nothing was measured at one size."


def test_a_sentence_is_shown_as_a_paragraph_of_text() -> None:
    assert notebook.Sentence("a < b")._repr_html_() == "<p>a &lt; b</p>"


def test_the_published_ratios_are_those_of_the_thread() -> None:
    rows = notebook.published_ratios(notebook.load_published()).frame.set_index(["source", "THP"])
    shown = rows.loc[("M. Usama Anjum", "madvise")]
    assert (shown["PRE-READ / WP-UNPOPULATE"], shown["MADVISE / WP-UNPOPULATE"]) == ("94.9", "23.8")
    assert rows.loc[("M. Usama Anjum", "always"), "MADVISE / WP-UNPOPULATE"] == "0.34"


def test_page_sizes_stand_side_by_side_each_from_its_own_dataset(tmp_path: Path) -> None:
    small = touched("fresh", "plain", "first write", 1000)
    huge = touched("fresh", "plain", "first write", 400, backing="anon_thp", minor_faults=2)
    middle = touched("fresh", "plain", "first write", 500, backing="anon_thp", minor_faults=63)
    reference = later(tmp_path / "a", faults=small + huge, samples=populated("pte_marker", 0, 8_000_000))
    mthp = later(tmp_path / "b", faults=middle, samples=populated("pte_marker", 0, 9_000_000, "anon_thp"))
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
def test_a_missing_cell_or_heading_is_told_in_words(cells: Any) -> None:
    for index in (None, pd.Index(["known", None]), pd.Index(["known", pd.NA], dtype="string")):
        shown = notebook.Table(pd.DataFrame({"one": cells}, index=index))
        for text in (repr(shown), shown._repr_html_()):
            assert text.count("not measured") == 1 + (index is not None)
            assert damaged.NO_NUMBER.search(text) is None
            assert "None" not in text
    named = notebook.Table(pd.DataFrame([[1, 2]], columns=["known", None]))
    assert "not measured" in repr(named)
    assert "None" not in named._repr_html_()


def test_a_whole_number_has_separators_beside_a_missing_one_too() -> None:
    column = pd.array([1234567, pd.NA], dtype="Int64")
    assert "1,234,567" in repr(notebook.Table(pd.DataFrame({"one": column})))
    assert "1,234,567" in repr(notebook.Table(pd.DataFrame({"one": column[:1]})))


@pytest.mark.parametrize("frame", [pd.DataFrame(), pd.DataFrame({"one": []}), pd.DataFrame([], index=[1, 2])])
def test_a_table_without_cells_says_not_measured(frame: pd.DataFrame) -> None:
    shown = notebook.Table(frame, index=False)
    assert "not measured" in repr(shown)
    assert "not measured" in shown._repr_html_()
    assert "Empty" not in repr(shown)


@pytest.mark.parametrize("table", [notebook.with_tables, notebook.after_discards, notebook.read_faults])
def test_a_table_of_nothing_says_not_measured(tmp_path: Path, table: Any) -> None:
    assert "not measured" in repr(table(later(tmp_path / "d", faults=[])))
