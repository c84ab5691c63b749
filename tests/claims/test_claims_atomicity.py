# SPDX-License-Identifier: MIT
"""Verdicts on the claim *atomicity*, its frame and its figure, from synthetic races."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic_atomicity import dataset, race, races

from uffdlab import claims, figures, summaries

READ, POPULATE, ONE = "two_pass_read", "two_pass_populate", "one_pass"
LOSING, NONE, SOME = [3000, 3100, 2900, 3050, 2950, 3010, 2990], [0] * 7, [0, 0, 0, 0, 5, 9, 0]
MILLION = 1_000_000
ENOUGH = 600_000  # judged in each of seven children


def judge(tmp_path: Path, *rows: list[dict[str, Any]]) -> claims.Verdict:
    return claims.verdict("atomicity", dataset(tmp_path / "d", [row for one in rows for row in one]))


def anon(preparation: str, lost: list[int], judged: int = ENOUGH) -> list[dict[str, Any]]:
    return races("anon", preparation, judged, lost)


def test_atomicity_holds_when_both_two_pass_ways_lose_writes_and_one_pass_none(tmp_path: Path) -> None:
    more = [7 * n for n in LOSING]
    found = judge(tmp_path, anon(READ, more), anon(POPULATE, LOSING), anon(ONE, NONE))
    assert found.verdict == "holds"
    assert found.effect == pytest.approx(3000 / ENOUGH * MILLION), "of the way that loses fewer"
    assert found.interval == (pytest.approx(2900 / ENOUGH * MILLION), pytest.approx(3100 / ENOUGH * MILLION))
    assert "0 of 4,200,000 (at most 0.878 per million)" in found.because
    assert found.limits is not None


@pytest.mark.parametrize("other", [NONE, SOME, None])
def test_atomicity_holds_if_only_one_way_of_populating_loses_writes(tmp_path: Path, other: list[int] | None) -> None:
    found = judge(tmp_path, anon(READ, LOSING), anon(POPULATE, other or []), anon(ONE, NONE))
    assert found.verdict == "holds if"
    assert found.condition == "the range is populated by a read loop"


def test_atomicity_does_not_hold_when_two_passes_lose_none_of_enough_writes(tmp_path: Path) -> None:
    found = judge(tmp_path, anon(READ, NONE), anon(POPULATE, NONE), anon(ONE, NONE))
    assert found.verdict == "does not hold"
    assert "a read loop 0 of 4,200,000" in found.because


def test_atomicity_does_not_hold_when_one_pass_loses_writes_too(tmp_path: Path) -> None:
    found = judge(tmp_path, anon(READ, LOSING), anon(POPULATE, LOSING), anon(ONE, LOSING))
    assert found.verdict == "does not hold"
    assert found.because.startswith("one pass loses writes too: 21,000 of 4,200,000, median of 7 children 5,000 per m")


@pytest.mark.parametrize(
    ("two", "one", "missing"),
    [
        # too few writes after one pass to bound them
        (anon(READ, LOSING), anon(ONE, NONE, 10_000), "70,000 writes were judged after one pass, 0 lost"),
        # one pass lost some, not in the median child
        (anon(READ, LOSING), anon(ONE, SOME), "4,200,000 writes were judged after one pass, 14 lost"),
        # no one pass at all
        (anon(READ, LOSING), [], "probe atomicity, one_pass on anonymous memory"),
        # two passes in too few children for an interval
        (
            anon(READ, LOSING[:5]),
            anon(ONE, NONE),
            "probe atomicity, two_pass_read on anonymous memory, in at least six",
        ),
        # two passes lose nothing, among too few writes
        (
            anon(READ, NONE, 1000),
            anon(ONE, NONE),
            "probe atomicity, two_pass_read on anonymous memory, in at least six",
        ),
        # losses in some children only
        (anon(READ, SOME), anon(ONE, NONE), "probe atomicity, two_pass_read on anonymous memory, in at least six"),
        # nothing on two passes
        ([], anon(ONE, NONE), "two_pass_populate on anonymous memory"),
    ],
)
def test_atomicity_undecided_names_the_missing_trials(
    tmp_path: Path, two: list[dict[str, Any]], one: list[dict[str, Any]], missing: str
) -> None:
    found = judge(tmp_path, two, one)
    assert found.verdict == "not decided"
    assert missing in (found.missing or "")


def test_atomicity_undecided_from_other_backings_and_deterministic_trials(tmp_path: Path) -> None:
    ordered = [row | {"interleaving": "deterministic"} for row in anon(READ, LOSING) + anon(ONE, NONE)]
    elsewhere = races("shmem", READ, ENOUGH, LOSING) + races("shmem", ONE, ENOUGH, NONE)
    assert judge(tmp_path, ordered, elsewhere).verdict == "not decided"


def test_other_backings_and_deterministic_trials_are_listed_as_evidence(tmp_path: Path) -> None:
    ordered = [race("anon", READ, 256, 1, interleaving="deterministic")]
    beside = races("shmem", READ, 1000, NONE)
    found = judge(tmp_path, anon(READ, LOSING), anon(POPULATE, LOSING), anon(ONE, NONE), ordered, beside)
    assert "races: anon, two_pass_read, one discard between: lost 1" in found.evidence
    assert "races: shmem, two_pass_read, racing: lost 0 of 7,000 (at most 527 per million)" in found.evidence


# --- the frame and the figure ----------------------------------------------------------------------------------------


def test_df_atomicity_has_pooled_and_per_child_intervals(tmp_path: Path) -> None:
    rows = anon(READ, [1000, 2000, 3000, 4000, 5000, 6000, 7000], MILLION) + anon(ONE, NONE, MILLION)
    frame = summaries.df_atomicity(dataset(tmp_path / "d", rows)).set_index("preparation")
    two, one = frame.loc[READ], frame.loc[ONE]
    assert (two.children, two.trials, two.judged, two.lost) == (7, 7, 7 * MILLION, 28_000)
    assert (two.child_per_million, two.child_per_million_low, two.child_per_million_high) == (4000, 1000, 7000)
    assert two.lost_per_million == pytest.approx(4000)
    assert 3950 < two.lost_per_million_low < 4000 < two.lost_per_million_high < 4050
    assert (one.lost_per_million, one.lost_per_million_low) == (0, 0)
    assert one.lost_per_million_high == pytest.approx(3.688879 / 7, rel=1e-4)


def test_df_atomicity_counts_trials_of_one_child_as_one_rate(tmp_path: Path) -> None:
    rows = [race("anon", READ, 1000, n, block=0, trial=n) for n in range(10)]
    frame = summaries.df_atomicity(dataset(tmp_path / "d", rows))
    assert (frame.children[0], frame.trials[0]) == (1, 10)
    assert frame.child_per_million_low.isna().all()


def test_plot_atomicity_draws_rates_as_points_and_bounds_as_arrows(tmp_path: Path) -> None:
    data = dataset(tmp_path / "d", anon(READ, LOSING) + anon(ONE, NONE) + races("shmem", READ, 1000, NONE))
    figure = figures.plot_atomicity(data)
    drawn = {trace.name: trace for trace in figure.data}
    losing, none = drawn["read loop"], drawn["PTE markers: none lost, at most"]
    assert list(losing.x) == [pytest.approx(5000)]
    assert list(none.x) == [pytest.approx(3.688879 / 4.2, rel=1e-4)]
    assert (losing.marker.symbol, none.marker.symbol) == ("circle", "triangle-left")
    assert drawn["read loop: none lost, at most"].y[0] == pytest.approx(losing.y[0] - 1)
    assert "made-up" in figure.layout.meta["origin"]
    assert figure.layout.xaxis.title.text == "lost writes per million judged"


def test_plot_atomicity_without_races_shows_a_sentence(tmp_path: Path) -> None:
    figure = figures.plot_atomicity(dataset(tmp_path / "d"))
    assert [note.text for note in figure.layout.annotations] == ["made-up holds no races"]
