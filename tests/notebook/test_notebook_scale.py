# SPDX-License-Identifier: MIT
"""Sentences and the table of operations of several threads, with data and without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic_scale

from uffdlab import datasets, notebook
from uffdlab.datasets import Dataset
from uffdlab.probes.scale import OPERATIONS
from uffdlab.vocabulary.threads import SCALED, SCALED_TOGETHER, SHARING_LOOKS, SHARINGS

SENTENCES = (notebook.scale_sentence, notebook.scale_reasons)


def _rows() -> list[dict[str, Any]]:
    """Return samples of 1 and 4 threads: reads scale, writes to zeropages do as markers, protecting does not."""
    found = []
    for operation, several, ipis in (
        ("read_nothing", 250, 0), ("write_markers", 500, 0), ("write_zeropages", 1000, 3000),
        ("protect_nothing", 2000, 3000),
    ):  # fmt: skip
        found += synthetic_scale.children(operation, {1: 1000, 4: several}, sharing="same_1gib", tlb_ipis=ipis)
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return synthetic_scale.dataset(tmp_path_factory.mktemp("d") / "data", _rows())


@pytest.fixture(scope="module")
def committed() -> Dataset:
    return datasets.load(datasets.locate("scale-2026-11-28"))


def test_operations_and_ways_of_sharing_have_names() -> None:
    assert SCALED.keys() == OPERATIONS.keys()
    assert SHARING_LOOKS.keys() == SHARINGS.keys()
    assert {name for operations, _ in SCALED_TOGETHER.values() for name in operations} == SCALED.keys()


def test_the_sentence_sorts_operations_by_their_intervals(data: Dataset) -> None:
    said = notebook.scale_sentence(data).text
    faster, slower = said.split("Slower: ")
    assert "How many times as fast 4 threads are as one, " in faster
    assert "Faster: first touches, 4 (4 to 4); first writes to a marker, 2 (2 to 2)." in faster
    assert slower.startswith("UFFDIO_WRITEPROTECT page by page, 0.5 (0.5 to 0.5). Neither for sure: first writes to")
    assert "takes 1 (1 to 1) times as long with one thread, and 2 (2 to 2) times as long with 4." in slower
    assert "2 MiB at a time" not in said, "not measured"
    assert "Measured on made-up (A CPU)." in said


def test_an_interval_around_one_is_neither(tmp_path: Path) -> None:
    rows = synthetic_scale.children("read_nothing", {1: 1000})
    rows += [synthetic_scale.sample(child, 2, 970 + 20 * child, operation="read_nothing") for child in range(7)]
    said = notebook.scale_sentence(synthetic_scale.dataset(tmp_path / "d", rows)).text
    assert "Neither for sure: first touches, 1" in said
    assert "Faster" not in said


def test_few_processes_have_no_interval_and_prove_nothing(tmp_path: Path) -> None:
    rows = synthetic_scale.children("read_nothing", {1: 1000, 2: 500}, count=2)
    said = notebook.scale_sentence(synthetic_scale.dataset(tmp_path / "d", rows)).text
    assert "Neither for sure: first touches, 2 (too few processes)." in said


def test_reasons_are_what_was_counted(data: Dataset, tmp_path: Path) -> None:
    said = notebook.scale_reasons(data).text
    assert (
        "with 4 threads: 3 for a first write to a zeropage, 3 for a page protected by a call of its own, 0 for" in said
    )
    assert "Threads went to sleep 0 times a page." in said
    assert "How often they waited for spinlocks was not recorded." in said
    rows = synthetic_scale.children("read_nothing", {1: 1000, 2: 500}, spin_waits=2000, cpu_ns=500_000)
    said = notebook.scale_reasons(synthetic_scale.dataset(tmp_path / "d", rows)).text
    assert "TLB shootdown interrupts were not recorded." in said
    assert "They waited for spinlocks 2 times a page." in said


def test_the_table_has_the_ends_of_sharing(committed: Dataset) -> None:
    rows = notebook.scale_table(committed).frame
    assert list(dict.fromkeys(rows.operation)) == [
        "first read", "first read, a new table for each", "first write", "first write, a new table for each",
        "first write to a protected zeropage", "first write to a marker", "protecting 4 KiB, nothing there",
        "protecting 4 KiB, nothing there, a new table for each", "protecting 4 KiB, a zeropage",
        "protecting 2 MiB, nothing there", "protecting 2 MiB, zeropages",
    ]  # fmt: skip
    assert len(rows) == 2 * len(set(rows.operation))
    assert set(rows["page tables"]) == {title for title, _ in SHARING_LOOKS.values()}
    assert list(rows)[2:] == ["page, 1 thread", "page, 16 threads", "times as fast", "IPIs a page", "sleeps"]


def test_the_table_says_what_was_not_recorded(tmp_path: Path) -> None:
    rows = synthetic_scale.children("read_nothing", {1: 1000, 2: 500})
    (row,) = notebook.scale_table(synthetic_scale.dataset(tmp_path / "d", rows)).frame.to_dict("records")
    assert row["IPIs a page"] == "not recorded"
    assert row["sleeps"] == "0"
    assert row["page, 1 thread"] == "1.03 µs (1 µs to 1.06 µs)"


@pytest.mark.parametrize("rows", [[], synthetic_scale.children("read_nothing", {1: 1000})], ids=["none", "one thread"])
def test_without_several_threads_a_sentence_says_so(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    nothing = synthetic_scale.dataset(tmp_path / "d", rows)
    for sentence in SENTENCES:
        assert sentence(nothing).text == "Operations of several threads were not measured in made-up."
    assert "not measured: several threads" in str(notebook.scale_table(nothing))
    assert "No other committed dataset" in notebook.scale_repeated(nothing).text


def test_the_committed_sentence_says_what_scales(committed: Dataset) -> None:
    said = notebook.scale_sentence(committed).text
    faster, slower = said.split(" Slower: ")
    assert "first writes to a marker, " in faster
    assert slower.startswith("UFFDIO_WRITEPROTECT page by page, 0.")
    assert "first writes to a zeropage under the same PTE tables, 0.9" in slower
    assert "(16 CPUs, Intel(R) Xeon(R) Processor)" in slower


def test_the_second_dataset_repeats_the_speedups(committed: Dataset) -> None:
    said = notebook.scale_repeated(committed).text
    assert said.startswith("In replication-scale-2026-11-28 the intervals of ")
    assert said.endswith(" of 28 speedups meet those of scale-2026-11-28.")
    elsewhere = replace(committed, provenance=committed.provenance | {"cpu_model": "another"})
    assert "No other committed dataset" in notebook.scale_repeated(elsewhere).text


def test_scale_is_loaded_from_the_data_or_of_another_machine(data: Dataset, committed: Dataset) -> None:
    assert notebook.load_scale(data) is data
    reference, _, _ = notebook.load()
    assert notebook.load_scale(reference).id == committed.id
