# SPDX-License-Identifier: MIT
"""Verdicts on the claims on racing discards and on MADV_FREE, and their frame and figure, from synthetic races."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic_atomicity import dataset, freed, in_between, race

from uffdlab import claims, figures, summaries

READ, POPULATE, ONE = "two_pass_read", "two_pass_populate", "one_pass"
ALL = (ONE, READ, POPULATE)
# Writes lost in each of seven children, of a hundred discards in between.
LOSING, NONE, SOME = [50, 52, 48, 51, 49, 50, 50], [0] * 7, [0, 0, 0, 0, 5, 9, 0]
MILLION = 1_000_000

Rows = list[dict[str, Any]]


def judge(tmp_path: Path, *rows: Rows, claim: str = "atomicity") -> claims.Verdict:
    return claims.verdict(claim, dataset(tmp_path / "d", [row for one in rows for row in one]))


def raced(preparation: str, lost: list[int], discards: int = 100) -> Rows:
    return in_between(preparation, discards, lost)


def test_atomicity_holds_when_both_two_pass_ways_lose_writes_and_one_pass_none(tmp_path: Path) -> None:
    more = [n + 20 for n in LOSING]
    found = judge(tmp_path, raced(READ, more), raced(POPULATE, LOSING), raced(ONE, NONE))
    assert found.verdict == "holds"
    assert found.effect == pytest.approx(0.5), "of the way that loses fewer"
    assert found.interval == (pytest.approx(0.48), pytest.approx(0.52))
    assert "a read loop loses 490 of 700, median of 7 children 0.7 (0.68 to 0.72)" in found.because
    assert "one pass 0 of 700 (at most 0.5%)" in found.because
    assert found.limits is not None


def test_atomicity_tells_excluded_pages_apart_by_when_their_discard_ended(tmp_path: Path) -> None:
    rows = [row | {"excluded_during": 4, "excluded_during_unreported": n % 2} for n, row in enumerate(raced(ONE, NONE))]
    found = judge(tmp_path, raced(READ, LOSING), raced(POPULATE, LOSING), rows)
    wanted = "races: anon, markers: unreported of pages discarded while the ioctl ran 3 of 28, median of 7 children"
    assert any(line.startswith(wanted) and "; after it 32 of 42" in line for line in found.evidence), found.evidence
    older = judge(tmp_path / "older", raced(READ, LOSING), raced(POPULATE, LOSING), raced(ONE, NONE))
    assert not any("while the ioctl ran" in line for line in older.evidence)


def test_atomicity_does_not_hold_when_two_passes_lose_next_to_nothing(tmp_path: Path) -> None:
    found = judge(tmp_path, raced(READ, NONE), raced(POPULATE, NONE), raced(ONE, NONE))
    assert found.verdict == "does not hold"
    assert "a read loop loses 0 of 700" in found.because


def test_atomicity_does_not_hold_when_one_pass_loses_writes_too(tmp_path: Path) -> None:
    found = judge(tmp_path, raced(READ, LOSING), raced(POPULATE, LOSING), raced(ONE, LOSING))
    assert found.verdict == "does not hold"
    assert found.because.endswith("one pass 350 of 700, median of 7 children 0.5 (0.48 to 0.52)")


@pytest.mark.parametrize(
    ("read", "populate", "one"),
    [
        (LOSING, NONE, NONE),  # one way loses, the other does not
        (NONE, LOSING, NONE),
        (LOSING, SOME, NONE),
        (LOSING[:5], LOSING, NONE),  # too few children for an interval
        (LOSING, LOSING, [0]),  # one pass is not bounded by a hundred discards
        (LOSING, LOSING, SOME),  # one pass loses some, though not in the median child
    ],
)
def test_atomicity_undecided_between_its_thresholds(
    tmp_path: Path, read: list[int], populate: list[int], one: list[int]
) -> None:
    found = judge(tmp_path, raced(READ, read), raced(POPULATE, populate), raced(ONE, one))
    assert found.verdict == "not decided"
    assert "at least six children per way of populating" in (found.missing or "")
    assert found.because.startswith("of the discards in between, 3.815 GiB, a read loop loses ")


@pytest.mark.parametrize(
    ("rows", "absent"),
    [
        ([*raced(READ, LOSING), *raced(POPULATE, LOSING)], "markers"),
        ([*raced(READ, LOSING), *raced(ONE, NONE)], "MADV_POPULATE_READ"),
        ([*raced(ONE, NONE), *raced(POPULATE, LOSING)], "a read loop"),
        ([*raced(READ, NONE, 0), *raced(POPULATE, LOSING), *raced(ONE, NONE)], "a read loop"),
    ],
)
def test_atomicity_undecided_without_a_discard_in_between(tmp_path: Path, rows: Rows, absent: str) -> None:
    found = judge(tmp_path, rows)
    assert (found.verdict, found.because) == ("not decided", f"no discard raced with {absent}")


def test_atomicity_undecided_from_other_backings_and_deterministic_trials(tmp_path: Path) -> None:
    ordered = [row | {"interleaving": "deterministic"} for name in ALL for row in raced(name, LOSING)]
    elsewhere = [row for name in ALL for row in in_between(name, 100, LOSING, "shmem")]
    assert judge(tmp_path, ordered, elsewhere).verdict == "not decided"


def test_other_backings_are_listed_as_evidence(tmp_path: Path) -> None:
    beside = in_between(READ, 100, NONE, "shmem")
    found = judge(tmp_path, raced(READ, LOSING), raced(POPULATE, LOSING), raced(ONE, NONE), beside)
    assert "races: shmem, a read loop: lost 0 of 700 (at most 0.5%) discards in between" in found.evidence


# --- madv-free-loses-protection --------------------------------------------------------------------------------------

LOST, KEPT, MOST = [512] * 7, NONE, [507] * 7


def lazily(tmp_path: Path, one: list[int], read: list[int], populate: list[int]) -> claims.Verdict:
    rows = [freed(name, 512, lost) for name, lost in ((ONE, one), (READ, read), (POPULATE, populate))]
    return judge(tmp_path, *rows, claim="madv-free-loses-protection")


@pytest.mark.parametrize(
    ("one", "read", "populate", "words"),
    [
        (LOST, LOST, LOST, "holds"),
        (KEPT, KEPT, KEPT, "does not hold"),
        (LOST, KEPT, KEPT, "depends on the design"),
        (KEPT, LOST, LOST, "depends on the design"),
        (LOST, LOST, MOST, "not decided"),
        (MOST, KEPT, KEPT, "not decided"),
        ([], LOST, LOST, "not decided"),
        (LOST, [], LOST, "not decided"),
        (LOST, LOST, [], "not decided"),
    ],
)
def test_madv_free_by_share_of_unreported_writes(
    tmp_path: Path, one: list[int], read: list[int], populate: list[int], words: str
) -> None:
    assert lazily(tmp_path, one, read, populate).words == words


def test_madv_free_names_designs_that_lose_and_what_was_not_measured(tmp_path: Path) -> None:
    found = lazily(tmp_path / "some", KEPT, LOST, LOST)
    assert found.condition == "the range is protected by a read loop or MADV_POPULATE_READ"
    absent = lazily(tmp_path / "absent", LOST, LOST, [])
    assert absent.because == "writes after MADV_FREE and reclaim were not measured with MADV_POPULATE_READ"


def test_madv_free_ignores_racing_trials(tmp_path: Path) -> None:
    found = judge(tmp_path, *(raced(name, LOSING) for name in ALL), claim="madv-free-loses-protection")
    assert found.verdict == "not decided"


# --- the frame and the figure ----------------------------------------------------------------------------------------


def test_df_atomicity_has_pooled_and_per_child_intervals(tmp_path: Path) -> None:
    rows = in_between(READ, 10_000, range(1000, 8000, 1000)) + in_between(ONE, 10_000, NONE)
    frame = summaries.df_atomicity(dataset(tmp_path / "d", rows)).set_index("preparation")
    two, one = frame.loc[READ], frame.loc[ONE]
    assert (two.children, two.trials, two.judged, two.lost) == (7, 7, 7 * MILLION, 28_000)
    assert (two.child_share, two.child_share_low, two.child_share_high) == (0.4, 0.1, 0.7)
    assert two.lost_share == pytest.approx(0.4)
    assert 0.395 < two.lost_share_low < 0.4 < two.lost_share_high < 0.405
    assert (one.lost_share, one.lost_share_low) == (0, 0)
    assert one.lost_share_high == pytest.approx(3.688879 / 70_000, rel=1e-4)


def test_df_atomicity_counts_trials_of_one_child_as_one_rate(tmp_path: Path) -> None:
    rows = [race("anon", READ, 1000, n, block=0, trial=n) for n in range(10)]
    frame = summaries.df_atomicity(dataset(tmp_path / "d", rows))
    assert (frame.children[0], frame.trials[0]) == (1, 10)
    assert frame.child_share_low.isna().all()


def test_plot_atomicity_draws_rates_as_points_and_bounds_as_arrows(tmp_path: Path) -> None:
    rows = in_between(READ, 1000, LOSING) + in_between(ONE, 1000, NONE) + in_between(READ, 1000, NONE, "shmem")
    data = dataset(tmp_path / "d", rows)
    figure = figures.plot_atomicity(data)
    drawn = {trace.name: trace for trace in figure.data}
    losing, none = drawn["read loop"], drawn["PTE markers: none lost, at most"]
    assert list(losing.x) == [sorted(LOSING)[len(LOSING) // 2] / 1000]
    assert list(none.x) == [pytest.approx(3.688879 / 7000, rel=1e-3)]
    assert (losing.marker.symbol, none.marker.symbol) == ("circle", "triangle-left")
    assert drawn["read loop: none lost, at most"].y[0] == pytest.approx(losing.y[0] - 1)
    assert "made-up" in figure.layout.meta["origin"]
    assert figure.layout.xaxis.title.text == "discards in between that lose the page's next write"


def test_plot_atomicity_without_races_shows_a_sentence(tmp_path: Path) -> None:
    figure = figures.plot_atomicity(dataset(tmp_path / "d"))
    assert [note.text for note in figure.layout.annotations] == ["made-up holds no races"]
