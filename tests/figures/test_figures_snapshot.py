# SPDX-License-Identifier: MIT
"""The timeline of a snapshot equals the simulation, and is marked as predicted."""

from __future__ import annotations

from functools import cache

import plotly.graph_objects as go
import pytest

from uffdlab import figures, sim
from uffdlab.errors import UffdlabError


@cache
def _drawn(saver: str, populated: float, writes_per_s: float) -> dict[str, tuple[go.Scatter, go.Scatter]]:
    figure = figures.plot_snapshot(sim.load_costs(), saver, populated, writes_per_s)
    groups = [trace.legendgroup for trace in figure.data]
    return {name: tuple(trace for trace in figure.data if trace.legendgroup == name) for name in groups}  # type: ignore[misc]


def test_only_a_saver_that_reads_everything_spreads_high_markers() -> None:
    everything, skipping = (_drawn(saver, 0.25, 0) for saver in figures.SAVERS)
    for name in ("pmd_marker", "pud_marker"):
        read, skipped = everything[name][0].y, skipping[name][0].y
        assert read[0] == skipped[0] == skipped[-1] < read[-1] == everything["pte_marker"][0].y[-1]


def test_plot_snapshot_lines_equal_the_simulation() -> None:
    tables, events = _drawn("skips holes", 0.25, 1000)["pmd_marker"]
    memory = sim.Workload(4 << 30, 0.25, 512)
    moments = sim.run_snapshot(sim.DESIGNS["pmd_marker"], sim.Snapshot(memory, "skips holes", 1000, 1e9)).moments[::2]
    assert list(tables.y) == [moment.tables_kib / 1024 for moment in moments]
    assert list(events.y) == [moment.events for moment in moments]
    assert list(tables.x) == pytest.approx([moment.elapsed_s for moment in moments], abs=1e-4)
    assert moments[-1].passed == 1, "the end is drawn"


def test_plot_snapshot_points_are_hollow() -> None:
    figure = figures.plot_snapshot(sim.load_costs())
    assert all(trace.marker.symbol.endswith("-open") for trace in figure.data)
    assert "predicted" in figure.layout.meta["origin"]
    assert figure.layout.meta["caption"].startswith("Predicted")


def test_guest_without_writes_raises_no_events() -> None:
    assert {event for _, events in _drawn("reads everything", 0.25, 0).values() for event in events.y} == {0}


def test_unknown_saver_is_refused() -> None:
    with pytest.raises(UffdlabError, match="unknown saver 'sleeps': choose one of reads everything, skips holes"):
        figures.plot_snapshot(sim.load_costs(), "sleeps")
