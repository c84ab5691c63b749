# SPDX-License-Identifier: MIT
"""Tables of trackers and of sequences, with data and without."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic_trackers

from uffdlab import datasets, notebook, summaries
from uffdlab.datasets import Dataset
from uffdlab.vocabulary.tracking import TRACKERS


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    def pause(method: str, dirty: float) -> float:
        page, each = {"async_scan": (2, 50), "events": (90, 30), "events_each": (0, 800), "mprotect": (1, 2000)}[method]
        return 65_536 * (page + each * dirty)

    def work(method: str, dirty: float) -> float:
        return 65_536 * (1 if method == "async_scan" else 8) * 1000 * dirty

    rows = synthetic_trackers.epochs(lambda method, dirty: 1000, pause, work)
    return synthetic_trackers.dataset(tmp_path_factory.mktemp("d") / "data", rows)


TABLES = (
    notebook.last_pause, notebook.predicted_parts, notebook.tracker_check, notebook.cheapest_trackers,
    notebook.tracker_break_even, notebook.trackers_by_memory, notebook.trackers_by_pattern,
    notebook.tracker_side_effects,
)  # fmt: skip


def test_tables_without_data_are_one_line_that_says_so(tmp_path: Path) -> None:
    nothing = synthetic_trackers.dataset(tmp_path / "d", [])
    for table in TABLES:
        assert len(table(nothing).frame) == 1
        assert "not measured: trackers side by side" in str(table(nothing))
    assert "not measured side by side in made-up" in repr(notebook.tracker_sentence(nothing))
    assert "not measured: CPU time of the tracker" in str(notebook.tracker_cpu(nothing))
    assert "not recorded" in str(notebook.surprising_sequences(nothing))
    assert "not recorded" in str(notebook.scanned_sequences(nothing))
    assert "not recorded in made-up" in repr(notebook.sequences_recorded(nothing))


def test_tables_with_data_have_a_row_per_method(data: Dataset) -> None:
    for table in TABLES:
        assert len(table(data).frame) >= 4
        assert "nan" not in str(table(data))


def test_the_sentence_names_the_cheapest_and_the_break_even(data: Dataset) -> None:
    said = repr(notebook.tracker_sentence(data))
    assert f"The pause is predicted to be least with {TRACKERS['events_each'][0]} at 0.1%, and with" in said
    assert "from 0.267% written (" in said, "2 / 750"


def test_break_even_says_where_the_scan_costs_less(data: Dataset) -> None:
    rows = notebook.tracker_break_even(data).frame
    pause = rows[rows.cost == "pause"].set_index("the scan against")["costs less"]
    assert pause[TRACKERS["events"][0]] == "at every share"
    assert pause[TRACKERS["events_each"][0]].startswith("from 0.267% written")


def test_only_the_scan_has_to_learn_the_pages_at_the_end(data: Dataset) -> None:
    rows = notebook.last_pause(data).frame
    column = "at the end: to learn the pages"
    assert set(rows[rows.method != TRACKERS["async_scan"][0]][column]) == {"known already"}


def test_sequences_have_the_command_that_asks_this_kernel() -> None:
    recorded = datasets.load(datasets.locate("sequences-"))
    rows = notebook.surprising_sequences(recorded).frame.set_index("what happens")
    assert rows.loc["discarded, anonymous", "the write"] == "it raises no event"
    assert rows.loc["discarded, shmem", "the write"] == "it raises a write-protect event"
    assert "showed the page as written before" in rows.loc["discarded, anonymous, WP_ASYNC", "the write"]
    assert rows.loc["a guard on shmem", "the write"] == "guard does not return"
    assert rows.loc["merged by KSM", "the write"] == "it raises no event"
    assert "--allow-host-changes" in rows.loc["merged by KSM", "ask this kernel"]
    assert rows.loc["forked", "the write"].endswith("the child's page is not protected")
    asked = rows.loc["discarded, shmem", "ask this kernel"]
    assert asked == 'uffdlab ask --backing shmem --features wp_unpopulated "write; protect; discard; write"'


def test_only_what_moved_away_is_lost_where_a_scan_looks() -> None:
    recorded = datasets.load(datasets.locate("sequences-"))
    rows = summaries.df_sequences(recorded)
    moved = rows[rows.outcome == "moved away"]
    assert set(moved.features) == {"wp_async", "missing_wp_async"}
    assert all("remap" in sequence for sequence in moved.sequence)
    said = repr(notebook.sequences_recorded(recorded))
    lost, of = ((frame.features == "wp_async").sum() for frame in (moved, rows))
    assert f"{lost} of {of} with features WP_UNPOPULATED, WP_ASYNC, registered WP" in said


def test_trackers_are_loaded_from_the_data_or_beside_it(data: Dataset, tmp_path: Path) -> None:
    assert notebook.load_trackers(data) is data
    reference, _, _ = notebook.load()
    assert notebook.load_trackers(reference).id.startswith("trackers-")
    assert notebook.load_sequences(data).id.startswith("sequences-"), "of any kernel: the newest committed"
