# SPDX-License-Identifier: MIT
"""Each kind of instability of a campaign gives one sentence with a remedy; a quiet campaign gives none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic import FACTS, dataset, sample, state

from uffdlab import datasets
from uffdlab.measure.quality import sentences

QUIET = FACTS | {"load_1min": 0.4, "cores_online": 2, "seed": 5}
SIZES = tuple(1 << power for power in range(15, 25))  # ten points
Time = Callable[[int, int], int]  # of round and point


def steady(round_: int, point: int) -> int:
    return (1000 + 100 * point) * (100 + (3 * round_ + point) % 5)


def samples(time: Time = steady, rounds: int = 7) -> list[dict[str, Any]]:
    """Return a cold sample and three warm ones per child, each point once a round; the cold one is far off."""
    rows = []
    for round_ in range(rounds):
        for point, size in enumerate(SIZES):
            key = {"block": round_ * len(SIZES) + point, "size_kib": size}
            for number in range(4):
                ns = time(round_, point) * (10 if number == 0 else 1) + number
                rows.append(sample("anon", "pte_marker", 0, ns, sample=number, cold=number == 0, **key))
    return rows


def others(rows: list[dict[str, Any]], ns: int) -> list[dict[str, Any]]:
    """Return rows as of other child processes, which registered ``ns`` more slowly."""
    return [row | {"register_ns": row["register_ns"] + ns} for row in rows]


def warnings(tmp_path: Path, rows: list[dict[str, Any]], facts: dict[str, Any] = QUIET, id_: str = "d") -> list[str]:
    return sentences(dataset(tmp_path / id_, samples=rows, facts=facts, id_=id_))


def test_a_quiet_campaign_has_no_warning(tmp_path: Path) -> None:
    assert warnings(tmp_path, samples()) == []


def test_wide_intervals_are_reported_with_their_count(tmp_path: Path) -> None:
    def disturb_one_child(round_: int, point: int) -> int:
        return steady(round_, point) * (2 if (round_, point % 3) == (3, 0) else 1)

    assert warnings(tmp_path, samples(disturb_one_child)) == [
        "4 of 10 points have intervals wider than ±25 % of the median: close other programs and measure again with "
        "--seed 6, or 'uffdlab data merge' that second campaign with this one"
    ]


def test_repetitions_are_counted_by_child_and_not_by_sample(tmp_path: Path) -> None:
    rows = samples()
    for row in rows:
        if row["sample"] == 3:  # one of three warm samples of every child: each child's median hardly moves
            row["protect_ns"] *= 5
    assert warnings(tmp_path, rows) == []


def test_too_few_children_are_reported(tmp_path: Path) -> None:
    (sentence,) = warnings(tmp_path, samples(rounds=6))
    assert sentence.startswith("10 of 10 points have fewer than 7 child processes")
    assert "'uffdlab data merge' the two" in sentence


def test_a_single_point_is_reported_in_the_singular(tmp_path: Path) -> None:
    (sentence,) = warnings(tmp_path, [sample("anon", "preread", 0, 1000)])
    assert sentence.startswith("1 of 1 point has fewer")


@pytest.mark.parametrize(("factor", "ratio"), [(1.15, "1.15 times"), (0.85, "0.85 times")])
def test_a_drift_of_all_points_is_reported(factor: float, ratio: str, tmp_path: Path) -> None:
    (sentence,) = warnings(
        tmp_path, samples(lambda round_, point: round((1000 + point) * (factor if round_ > 3 else 1)))
    )
    assert sentence.startswith(f"the second half of the campaign took {ratio} as long as the first")
    assert "let the machine settle" in sentence


def test_a_change_of_few_points_is_not_a_drift(tmp_path: Path) -> None:
    assert warnings(tmp_path, samples(lambda r, point: 1000 + (200 if r > 3 and point == 0 else 0))) == []


def test_a_high_load_at_the_start_is_reported(tmp_path: Path) -> None:
    (sentence,) = warnings(tmp_path, samples(), facts=QUIET | {"load_1min": 1.5})
    assert sentence.startswith("the load was 0.75 per core when the campaign started")


@pytest.mark.parametrize("unknown", ["load_1min", "cores_online"])
def test_an_unknown_load_is_not_reported(unknown: str, tmp_path: Path) -> None:
    assert warnings(tmp_path, samples(), facts=QUIET | {"load_1min": 9.0, unknown: None}) == []


def test_drift_and_load_of_a_merge_are_checked_per_campaign(tmp_path: Path) -> None:
    slower = others(samples(lambda round_, point: round(steady(round_, point) * 1.12), rounds=7), 1)
    parts = [
        dataset(tmp_path / "a", samples=samples(), facts=QUIET, id_="a"),
        dataset(tmp_path / "b", samples=slower, facts=QUIET | {"seed": 6}, id_="b"),
    ]
    merged = datasets.merge(parts, tmp_path / "m", id="m")
    assert sentences(merged) == [], "one campaign after another on a slower day is no drift"
    busy = dataset(tmp_path / "c", samples=others(samples(rounds=3), 2), facts=QUIET | {"load_1min": 2.0}, id_="c")
    (sentence,) = sentences(datasets.merge([parts[0], busy], tmp_path / "n", id="n"))
    assert sentence.startswith("the load was 1.00 per core")


def test_a_merge_can_supply_the_missing_children(tmp_path: Path) -> None:
    rows = samples(rounds=4)
    parts = [dataset(tmp_path / id_, samples=others(rows, n), facts=QUIET, id_=id_) for n, id_ in enumerate("ab")]
    assert all("fewer than 7" in sentences(part)[0] for part in parts)
    assert sentences(datasets.merge(parts, tmp_path / "m", id="m")) == []


def test_a_dataset_without_samples_has_no_warning(tmp_path: Path) -> None:
    assert sentences(dataset(tmp_path / "d", states=[state("anon", "none", False)], facts=QUIET)) == []


def test_cold_samples_alone_are_not_a_point(tmp_path: Path) -> None:
    assert warnings(tmp_path, [sample("anon", "preread", 0, 1000, cold=True)]) == []
