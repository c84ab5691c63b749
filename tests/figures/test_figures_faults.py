# SPDX-License-Identifier: MIT
"""Frames, figures and tables of later faults, zeropages, resolves and equal page states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from synthetic_faults import dataset, filled, latencies, populated, protocol, resolved, same, touched

from uffdlab import figures, notebook, summaries
from uffdlab.datasets import Dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    faults: list[dict[str, Any]] = []
    for stride in (4, 2048):
        for threads in (1, 2):
            for touch in ("first read", "first write", "second read", "write after reads"):
                at = {"stride_kib": stride, "threads": threads}
                faults += touched("fresh", "plain", touch, 1000, **at)
                faults += touched("tables", "plain", touch, 600, **at)
                faults += touched("discarded_whole", "plain", touch, 1000, **at, table_growth_kib=128)
                faults += touched("discarded_pieces", "plain", touch, 500, **at)
    shot = touched("zeropage", "plain", "first write", 9000, threads=2, tlb_ipis=970)
    timed = [row for row in faults if row["touch"] == "first write" and row["threads"] == 1]
    return dataset(
        tmp_path_factory.mktemp("d") / "d",
        faults=faults + shot,
        fault_latencies=latencies(timed, (512, 90), (1024, 9), (4096, 1)),
        zeropages=filled("shmem", "populate_read", 1) + filled("shmem", "pte_marker", 0)
        + filled("anon_thp", "pte_marker", 0, "off"),
        resolves=resolved("zeropage", 4, 4, "first", 800) + resolved("zeropage", 2048, 2048, "first", 51200)
        + resolved("huge_page", 4, 2048, "first", 5000) + resolved("huge_page", 4, 2048, "second", 1000),
        equality=[same("anon", "markers, read", 4096), same("anon", "read loop", 1024)],
        samples=[
            row | {"size_kib": 1 << 18, "populated": share, "cluster_pages": run}
            for share, run in ((0.0, 1), (0.5, 1024))
            for row in populated("preread", 900, 100)
        ],
        published_runs=protocol("madvise", "PRE-READ", 1, 3_000_000) + protocol("always", "PRE-READ", 1, 30_000),
    )  # fmt: skip


FIGURES = (
    "plot_faults", "plot_latencies", "plot_threads", "plot_zeropages", "plot_resolve",
)  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_figure_meta_has_origin_and_units(data: Dataset, name: str) -> None:
    figure: go.Figure = getattr(figures, name)(data)
    assert "made-up · Linux 6.18.0-test" in figure.layout.meta["origin"]
    assert figure.layout.meta["caption"]
    assert any(len(trace.x) for trace in figure.data)
    for trace in figure.data:
        assert len(trace.x) == len(trace.y) == len(trace.customdata) == len(trace.hovertext)


@pytest.mark.parametrize("name", FIGURES)
def test_figure_without_rows_shows_a_sentence(tmp_path: Path, name: str) -> None:
    tables_ = ("samples", "faults", "fault_latencies", "zeropages", "resolves", "equality")
    figure: go.Figure = getattr(figures, name)(dataset(tmp_path / "d", **{table: [] for table in tables_}))
    assert any("made-up holds no" in note.text for note in figure.layout.annotations)


@pytest.mark.parametrize("name", [*FIGURES, "plot_atomicity", "plot_tracking", "plot_occupancy"])
def test_figure_of_a_campaign_without_the_probe_shows_a_sentence(tmp_path: Path, name: str) -> None:
    figure: go.Figure = getattr(figures, name)(dataset(tmp_path / "d", samples=[]))
    assert any("made-up holds no" in note.text for note in figure.layout.annotations)


def test_every_preparation_of_the_probe_can_be_drawn(tmp_path: Path) -> None:
    faults = touched("written", "plain", "first write", 5) + touched("fresh", "plain", "first write", 9)
    faults += touched("markers", "async", "first write", 7) + touched("unregistered", "plain", "first write", 8)
    thp = [row | {"backing": "anon_thp"} for row in faults if row["preparation"] != "written"]
    made = dataset(tmp_path / "d", faults=faults + thp, zeropages=filled("anon_thp", "pte_marker", 0, "as found"))
    drawn = [x for trace in figures.plot_faults(made).data for x in trace.customdata]
    assert len(set(drawn)) == 7, "none is drawn as another"
    assert any(len(trace.x) for trace in figures.plot_zeropages(made).data)


def test_tail_is_the_quantile_of_each_process(data: Dataset) -> None:
    rows = summaries.df_tails(data)
    [row] = rows[(rows.preparation == "fresh") & (rows.stride_kib == 4)].to_dict("records")
    assert (row["tail_ns"], row["children"]) == (1024, 9), "90 at 512, 9 at 1024 and 1 at 4096: the 99th is at 1024"


def test_times_are_per_touch_and_medians_over_children(data: Dataset) -> None:
    rows = summaries.df_faults(data)
    [row] = rows[(rows.preparation == "tables") & (rows.touch == "first read") & (rows.stride_kib == 4)
                 & (rows.threads == 1)].to_dict("records")  # fmt: skip
    assert (row["ns_per_touch"], row["n"], row["children"]) == (604, 9, 9)
    assert row["ns_per_touch_low"] < 604 < row["ns_per_touch_high"]


def test_share_slower_starts_at_1_and_ends_at_the_slowest_touch(data: Dataset) -> None:
    rows = summaries.df_latencies(data, 4, "first write")
    rows = rows[rows.preparation == "fresh"]
    assert list(rows.slower) == [1.0, pytest.approx(0.1), pytest.approx(0.01)]
    assert set(rows.timed) == {900}


def test_each_stride_draws_its_own_rows(data: Dataset) -> None:
    drawn = {}
    for apart in figures.APART:
        figure = figures.plot_faults(data, apart=apart)
        drawn[apart] = [list(trace.x) for trace in figure.data]
    first, second, third = (drawn[apart] for apart in figures.APART)
    assert first
    assert second
    assert third == []
    assert [note.text for note in figure.layout.annotations][-1] == "made-up holds no later faults, one per 1 GiB"


def test_plot_threads_draws_tlb_shootdowns_per_touch(data: Dataset) -> None:
    figure = figures.plot_threads(data)
    drawn = {name: x for trace in figure.data if trace.xaxis == "x2"
             for name, x in zip(trace.customdata, trace.x, strict=True)}  # fmt: skip
    assert drawn["zeropage, 2 threads, a half each"] == pytest.approx(0.97)


def test_plot_zeropages_draws_memory_as_a_share_of_the_range(data: Dataset) -> None:
    drawn = {
        name: x for trace in figures.plot_zeropages(data).data
        for name, x in zip(trace.customdata, trace.x, strict=True)
    }  # fmt: skip
    assert drawn["shmem: MADV_POPULATE_READ"] == 100
    assert drawn["shmem: PTE markers"] == 0


def test_plot_resolve_draws_time_per_page_by_batch(data: Dataset) -> None:
    rows = summaries.df_resolves(data).set_index(["state", "piece_kib", "pass"])
    assert rows.loc[("zeropage", 4, "first"), "ns_per_page"] == pytest.approx(800, abs=1)
    assert rows.loc[("zeropage", 2048, "first"), "ns_per_page"] == pytest.approx(100, abs=1)
    assert rows.loc[("huge_page", 4, "second"), "ns_per_call"] == pytest.approx(1000, abs=1)


def test_published_protocol_is_drawn_at_its_own_size_only(data: Dataset) -> None:
    figure = figures.plot_published(notebook.load_published(), data)
    runs = [trace for trace in figure.data if "protocol" in trace.name]
    assert [list(trace.x) for trace in runs] == [[3_000_004], [30_004]]
    moved = figures.plot_published(notebook.load_published(), data, gib=64)
    assert [list(trace.x) for trace in moved.data if "protocol" in trace.name] == [[], []]


def test_notebook_tables_show_ratios_counts_and_bounds(data: Dataset) -> None:
    assert "0.602 (" in repr(notebook.with_tables(data))
    assert "0.502 (" in repr(notebook.after_discards(data))
    assert "128 KiB" in repr(notebook.after_discards(data))
    least = notebook.least_work(data).frame.set_index(["touch", "page table holds"])
    assert "8 KiB zeroed, 2 entries" in least.loc[("first write", "fresh (plain)"), "least"]
    assert "1 faults" in least.loc[("first write", "fresh (plain)"), "counted"]
    assert list(least.loc[("first write", "markers (async)"), ["counted", "time"]]) == ["not measured"] * 2
    assert "shmem" in repr(notebook.range_contents(data))
    assert "off" in repr(notebook.without_huge_zeropage(data))
    assert "fresh (plain)" in repr(notebook.read_faults(data))


def test_attempts_table_lists_sources() -> None:
    listed = notebook.attempts(notebook.load_published()).frame
    assert {"merged", "posted"} == set(listed.outcome)
    assert listed.source.str.len().gt(0).all()
