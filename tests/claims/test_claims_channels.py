# SPDX-License-Identifier: MIT
"""Verdicts on the zeropage as a covert channel, and on markers that close it, from synthetic samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic import dataset
from synthetic_channel import campaign, point

from uffdlab import claims, datasets

Samples = list[dict[str, Any]]
CLEAR, NOISE = [0.05] * 9, [0.5] * 9


def _both(flips: list[float], memory: str, **more: Any) -> Samples:
    """Return the samples of a registered point, its silent control, and written pages at the same point."""
    return point(flips, memory, **more) + point(NOISE, memory, silent=True, **more) + point(NOISE, "private", **more)


def _judged(id_: str, tmp_path: Path, *points: Samples) -> claims.Verdict:
    return claims.verdict(id_, campaign(tmp_path / "d", *points))


# --- zeropage-covert-channel ------------------------------------------------------------------------------------------


def test_covert_channel_holds_when_bits_pass_and_next_to_nothing_through_controls(tmp_path: Path) -> None:
    found = _judged("zeropage-covert-channel", tmp_path, _both(CLEAR, "zeropage"), _both(CLEAR, "huge_zeropage"))
    assert found.verdict == "holds"
    assert found.effect is not None
    assert 600 < found.effect < 1000, "8 bits in 8 µs, less what errors cost"
    assert any("the huge zeropage" in line for line in found.evidence)
    assert "of 2 controls none carries 1 % of that, at most" in found.because


def test_covert_channel_holds_on_one_placement_and_reports_the_null_other(tmp_path: Path) -> None:
    points = (_both(CLEAR, "zeropage"), _both(NOISE, "zeropage", placement="cross"))
    found = _judged("zeropage-covert-channel", tmp_path, *points)
    assert found.verdict == "holds"
    assert "on two CPUs no channel detected (p = " in found.because


def test_capacity_is_that_of_samples_in_which_bits_pass(tmp_path: Path) -> None:
    found = _judged("zeropage-covert-channel", tmp_path, _both(NOISE[:4] + [0.0] * 8, "zeropage"))
    assert "in 8 of 12 samples" in found.because
    assert found.effect is not None
    assert found.effect > 900


def test_covert_channel_holds_when_one_of_two_registered_points_passes(tmp_path: Path) -> None:
    points = (_both(CLEAR, "zeropage"), _both(NOISE, "zeropage", slot_ns=9000))
    assert _judged("zeropage-covert-channel", tmp_path, *points).verdict == "holds"


def test_covert_channel_does_not_hold_below_a_bound_when_nothing_passes(tmp_path: Path) -> None:
    found = _judged("zeropage-covert-channel", tmp_path, _both(NOISE * 3, "zeropage"))
    assert found.verdict == "does not hold"
    assert "below" in found.because


def test_covert_channel_undecided_when_too_few_samples_bound_the_rate(tmp_path: Path) -> None:
    found = _judged("zeropage-covert-channel", tmp_path, _both(NOISE[:1], "zeropage", slots=30))
    assert found.verdict == "not decided"
    assert "more than 1 % could have passed" in found.because


def test_covert_channel_undecided_when_a_control_carries_as_much(tmp_path: Path) -> None:
    found = _judged("zeropage-covert-channel", tmp_path, _both(CLEAR, "zeropage"), point(CLEAR, "private"))
    assert found.verdict == "not decided"
    assert "private" in found.because


def test_covert_channel_undecided_when_a_control_is_too_insensitive(tmp_path: Path) -> None:
    points = point(CLEAR) + point(NOISE, silent=True) + point([0.5], "private", sample=0)
    assert _judged("zeropage-covert-channel", tmp_path, points).verdict == "not decided"
    found = claims.verdict("zeropage-covert-channel", campaign(tmp_path / "e", points))
    assert "may pass a control: private" in found.because


def test_covert_channel_undecided_when_no_sample_passes_alone(tmp_path: Path) -> None:
    found = _judged("zeropage-covert-channel", tmp_path, _both([0.0] * 9, "zeropage", slots=60))
    assert found.verdict == "not decided"
    assert "no sample passes alone" in found.because
    assert "on one CPU bits pass in all samples together" in found.because


def test_one_control_of_many_that_carries_as_much_leaves_the_claim_undecided(tmp_path: Path) -> None:
    many = [_both(CLEAR, "zeropage", slot_ns=8000 + 100 * number) for number in range(6)]
    found = _judged("zeropage-covert-channel", tmp_path, *many, point(CLEAR, "shmem"))
    assert found.verdict == "not decided"
    assert "shmem" in found.because


@pytest.mark.parametrize(
    "points",
    [
        point(CLEAR),
        point(CLEAR) + point(NOISE, silent=True),
        point(CLEAR) + point(NOISE, "private"),
        point(CLEAR) + point(NOISE, "private") + _both(CLEAR, "populated"),
        point(CLEAR) + point(NOISE, silent=True) + point(NOISE, "private", placement="cross"),
    ],
)
def test_covert_channel_undecided_without_both_controls(tmp_path: Path, points: Samples) -> None:
    assert _judged("zeropage-covert-channel", tmp_path, points).verdict == "not decided"


def test_sweep_points_do_not_decide_covert_channel(tmp_path: Path) -> None:
    points = (_both(NOISE * 3, "zeropage"), point(CLEAR, "zeropage", slot_ns=20_000))
    assert _judged("zeropage-covert-channel", tmp_path, *points).verdict == "does not hold"


# --- markers-close-channel --------------------------------------------------------------------------------------------


def test_markers_claim_does_not_hold_when_bits_pass_through_read_markers(tmp_path: Path) -> None:
    points = (_both(CLEAR, "zeropage"), _both(CLEAR, "markers_read"), _both(NOISE, "markers_unread"))
    found = _judged("markers-close-channel", tmp_path, *points)
    assert found.verdict == "does not hold"
    assert "after their first read" in found.because
    assert "never read" not in found.because
    assert found.effect is not None
    assert 0.8 < found.effect < 1.2


def test_markers_claim_holds_when_nothing_passes_through_markers(tmp_path: Path) -> None:
    points = (_both(CLEAR, "zeropage"), _both(NOISE * 3, "markers_read"), _both(NOISE * 3, "markers_unread"))
    assert _judged("markers-close-channel", tmp_path, *points).verdict == "holds"


def test_markers_claim_undecided_with_too_few_samples_of_markers(tmp_path: Path) -> None:
    few = [_both(NOISE[:1], name, slots=30) for name in ("markers_read", "markers_unread")]
    assert _judged("markers-close-channel", tmp_path, _both(CLEAR, "zeropage"), *few).verdict == "not decided"


def test_markers_claim_undecided_when_markers_ran_on_another_placement(tmp_path: Path) -> None:
    far = [_both(NOISE * 3, name, placement="cross") for name in ("markers_read", "markers_unread")]
    assert _judged("markers-close-channel", tmp_path, _both(CLEAR, "zeropage"), *far).verdict == "not decided"


def test_markers_claim_undecided_when_fresh_memory_shows_no_channel(tmp_path: Path) -> None:
    points = (_both(NOISE, "zeropage"), _both(NOISE, "markers_read"), _both(NOISE, "markers_unread"))
    assert _judged("markers-close-channel", tmp_path, *points).verdict == "not decided"


def test_markers_claim_undecided_when_unread_markers_were_not_measured(tmp_path: Path) -> None:
    found = _judged("markers-close-channel", tmp_path, _both(CLEAR, "zeropage"), _both(CLEAR, "markers_read"))
    assert found.verdict == "not decided"
    assert found.missing


@pytest.mark.parametrize("control", [point(CLEAR, "zeropage", silent=True), point(CLEAR, "private")])
def test_markers_claim_undecided_when_a_control_carries_as_much(tmp_path: Path, control: Samples) -> None:
    points = (_both(CLEAR, "zeropage"), _both(CLEAR, "markers_read"), _both(CLEAR, "markers_unread"), control)
    assert _judged("markers-close-channel", tmp_path, *points).verdict == "not decided"


# --- which dataset decides --------------------------------------------------------------------------------------------


def test_channel_campaign_decides_its_claims_and_the_reference_the_others(tmp_path: Path) -> None:
    reference = dataset(tmp_path / "r", id_="reference-made-up")
    channel = campaign(tmp_path / "c", _both(CLEAR, "zeropage"), id_="channel-made-up")
    verdicts = {verdict.id: verdict for verdict in claims.verdicts(claims.Evidence(reference, {"channel": channel}))}
    assert verdicts["zeropage-covert-channel"].verdict == "holds"
    assert verdicts["zeropage-covert-channel"].dataset == "channel-made-up"
    assert verdicts["hugetlb-needs-feature"].dataset == "reference-made-up"
    assert "reference-made-up" not in {verdict.dataset for verdict in claims.verdicts(claims.Evidence(channel))}
    assert datasets.companions(reference, tmp_path) == {"channel": tmp_path / "c"}


# --- what no rule reads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "beside",
    [
        [*_both(CLEAR, "libc")],
        [*point(NOISE, neighbour="traffic_same"), *point(CLEAR, "private", neighbour="traffic_same")],
        [
            *point(CLEAR, silent=True, neighbour="reader_other"),
            *point(NOISE, "markers_read", neighbour="traffic_other"),
        ],
    ],
    ids=["a baseline", "a neighbour", "a neighbour of controls"],
)
@pytest.mark.parametrize("claim", ["zeropage-covert-channel", "markers-close-channel"])
def test_baseline_and_neighbours_change_no_verdict(tmp_path: Path, claim: str, beside: list[dict[str, Any]]) -> None:
    points = [_both(CLEAR, memory) for memory in ("zeropage", "markers_read", "markers_unread")]
    points.append(point(NOISE, "private"))
    without, with_ = (claims.verdict(claim, campaign(tmp_path / name, *points, *more, id_="made-up"))
                      for name, more in (("d", []), ("e", [beside])))  # fmt: skip
    assert with_ == without
    assert with_.verdict in ("holds", "does not hold")
