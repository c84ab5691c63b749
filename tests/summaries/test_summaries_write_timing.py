# SPDX-License-Identifier: MIT
"""Error rate of telling two page states apart by the latency of one write."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd
from synthetic import FACTS

from uffdlab import datasets, figures, notebook, summaries
from uffdlab.datasets import Dataset
from uffdlab.probes.covert import write_timing
from uffdlab.stats.threshold import best_threshold

Child = dict[str, Sequence[int]]  # state → times of its writes


def _campaign(
    out: Path, children: Sequence[Child | tuple[Child, ...]], *, cold: Child | None = None, backing: str = "anon"
) -> Dataset:
    """Return a dataset of each child's warm samples, two alike where one is given; before them a ``cold`` one."""
    rows, writes = [], []
    for block, child in enumerate(children):
        warm = child if isinstance(child, tuple) else (child, child)
        for sample, times in enumerate([cold, *warm] if cold else warm):
            key = {"block": block, "sample": sample}
            for state, took in times.items():
                ranked = sorted(took)
                low, middle, high = (ranked[len(ranked) * tenths // 10] for tenths in (1, 5, 9))
                row: dict[str, Any] = key | {"cold": bool(cold) and sample == 0, "backing": backing, "state": state}
                rows.append(row | {"pages": len(took), "median_ns": middle, "low_ns": low, "high_ns": high})
                writes += [key | {"state": state, "ns": ns, "writes": n} for ns, n in Counter(took).items()]
    return _written(out, rows, writes)


def _written(out: Path, rows: list[dict[str, Any]], writes: list[dict[str, Any]]) -> Dataset:
    tables = [
        datasets.Table("reveals", write_timing.FIELDS, rows),
        datasets.Table("reveal_writes", write_timing.WRITE_FIELDS, writes),
    ]
    return datasets.write(out, id="made-up", title="made up for a test", tables=tables, provenance=FACTS)


def _one(data: Dataset) -> dict[str, Any]:
    (row,) = summaries.df_reveals(data).to_dict("records")
    return {str(name): value for name, value in row.items()}


# --- over children ---------------------------------------------------------------------------------------------------


def test_df_reveals_has_the_error_of_later_samples_and_both_times(tmp_path: Path) -> None:
    children: list[Child] = [{"marker": [4000 + i, 4200 + i], "empty": [2600 + i, 2700 + i]} for i in range(14)]
    row = _one(_campaign(tmp_path / "d", children))
    assert (row["backing"], row["state"], row["other"]) == ("anon", "empty", "marker")
    assert (row["error"], row["error_low"], row["error_high"], row["children"]) == (0, 0, 0, 14)
    assert 2700 < row["threshold_ns"] <= 4000
    assert (row["state_ns"], row["other_ns"]) == (2706.5, 4206.5)
    assert row["other_ns_low"] < 4206.5 < row["other_ns_high"]


def test_df_reveals_error_ignores_the_sample_that_chose_the_threshold(tmp_path: Path) -> None:
    lucky: Child = {"empty": [100] * 10, "private": [200] * 10}
    turned: Child = {"empty": [200] * 10, "private": [100] * 10}
    alike: Child = {"empty": [100, 200] * 5, "private": [100, 200] * 5}
    assert _one(_campaign(tmp_path / "alike", [(lucky, alike)] * 6))["error"] == 0.5
    assert _one(_campaign(tmp_path / "turned", [(lucky, turned)] * 6))["error"] == 1


def test_df_reveals_error_of_noise_is_one_half(tmp_path: Path) -> None:
    rng = random.Random(11)
    reported, flattered = [], []
    for number in range(12):
        children: list[Child] = [
            {state: [rng.randrange(1000, 9000) for _ in range(30)] for state in ("empty", "marker")} for _ in range(2)
        ]
        reported.append(_one(_campaign(tmp_path / str(number), [(children[0], children[1])]))["error"])
        state, other = (Counter(children[1][name]) for name in ("empty", "marker"))
        flattered.append(best_threshold(state, other).error(state, other))
    assert mean(flattered) < 0.42
    assert 0.45 < mean(reported) < 0.55


def test_df_reveals_has_a_row_per_pair_of_states_of_a_backing(tmp_path: Path) -> None:
    times: Child = {"empty": [5], "marker": [9], "private": [1]}
    data = _campaign(tmp_path / "a", [times] * 8)
    rows = data.table("reveals").to_dict("records")
    more = [row | {"block": row["block"] + 100, "backing": "shmem"} for row in rows if row["state"] != "marker"]
    writes = data.table("reveal_writes").to_dict("records")
    other = [row | {"block": row["block"] + 100} for row in writes if row["state"] != "marker"]
    frame = summaries.df_reveals(_written(tmp_path / "b", rows + more, writes + other))
    assert list(frame[["backing", "state", "other"]].itertuples(index=False, name=None)) == [
        ("anon", "empty", "marker"),
        ("anon", "empty", "private"),
        ("anon", "marker", "private"),
        ("shmem", "empty", "private"),
    ]
    assert set(frame.children) == {8}


def test_df_reveals_uses_cold_samples_only_without_warm_ones(tmp_path: Path) -> None:
    cold: Child = {"empty": [100], "marker": [100]}
    warm: Child = {"empty": [20], "marker": [70]}
    row = _one(_campaign(tmp_path / "d", [warm] * 4, cold=cold))
    assert (row["error"], row["state_ns"], row["other_ns"]) == (0, 20, 70)
    data = _campaign(tmp_path / "e", [cold] * 4)
    rows = [row | {"cold": True} for row in data.table("reveals").to_dict("records")]
    only = _written(tmp_path / "f", rows, data.table("reveal_writes").to_dict("records"))
    assert (_one(only)["error"], _one(only)["state_ns"]) == (0.5, 100)


def test_df_reveals_ignores_writes_of_an_interrupted_sample(tmp_path: Path) -> None:
    data = _campaign(tmp_path / "d", [{"empty": [20], "marker": [70]}] * 4)
    rows = data.table("reveals").to_dict("records")
    writes = data.table("reveal_writes").to_dict("records")
    torn = [{"block": 1, "sample": 2, "state": "empty", "ns": 5000, "writes": 900}]
    with_torn = summaries.df_reveals(_written(tmp_path / "e", rows, writes + torn))
    pd.testing.assert_frame_equal(with_torn, summaries.df_reveals(data))


def test_df_reveals_has_no_error_with_one_sample(tmp_path: Path) -> None:
    row = _one(_campaign(tmp_path / "d", [({"empty": [20], "marker": [70]},)]))
    assert row["children"] == 0
    assert row["error"] != row["error"], "not a number"
    assert (row["state_ns"], row["other_ns"]) == (20, 70)


def test_df_reveals_without_samples_is_empty(tmp_path: Path) -> None:
    frame = summaries.df_reveals(_written(tmp_path / "d", [], []))
    assert frame.empty
    assert {"backing", "state", "other", "error", "children"} <= set(frame.columns)


# --- as drawn --------------------------------------------------------------------------------------------------------


def test_plot_reveals_draws_two_states_and_their_error(tmp_path: Path) -> None:
    data = _campaign(tmp_path / "d", [{"zeropage": [3000, 3000, 9000, 3000], "private": [200] * 4}] * 14)
    figure = figures.plot_reveals(data, "zeropage", "private")
    fast, slow = figure.data[1], figure.data[0]
    assert [share for share in fast.y if share] == [100]
    assert [share for share in slow.y if share] == [75, 25]
    assert "in 0.0% of cases" in figure.layout.meta["caption"]
    shown = notebook.write_reveals(data).frame
    assert shown.loc["zeropage", "private"] == "0.0% (0.0–0.0)"
    assert shown.loc["private", "private"] == "–"
    assert shown.loc["private", "median write"] == "200 ns"


def test_plot_reveals_without_writes_shows_a_sentence(tmp_path: Path) -> None:
    figure = figures.plot_reveals(_written(tmp_path / "d", [], []))
    assert "holds no single writes" in figure.layout.annotations[0].text
