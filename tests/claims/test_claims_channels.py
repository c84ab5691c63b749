# SPDX-License-Identifier: MIT
"""Every way the verdicts on the zeropage as a wire can come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic import dataset
from synthetic_channel import campaign, point

from uffdlab import claims, datasets

Samples = list[dict[str, Any]]
CLEAR, DEAF = [0.05] * 9, [0.5] * 9


def _both(flips: list[float], memory: str, **more: Any) -> Samples:
    """Return the samples of a registered point, its silent control, and written pages at the same point."""
    return point(flips, memory, **more) + point(DEAF, memory, silent=True, **more) + point(DEAF, "private", **more)


def _judged(id_: str, tmp_path: Path, *points: Samples) -> claims.Verdict:
    return claims.verdict(id_, campaign(tmp_path / "d", *points))


# --- zeropage-covert-channel ------------------------------------------------------------------------------------------


def test_bits_that_pass_beside_null_controls_are_a_channel(tmp_path: Path) -> None:
    found = _judged("zeropage-covert-channel", tmp_path, _both(CLEAR, "zeropage"), _both(CLEAR, "huge_zeropage"))
    assert found.verdict == "holds"
    assert found.effect is not None
    assert 600 < found.effect < 1000, "8 bits in 8 µs, less what errors cost"
    assert any("the huge zeropage" in line for line in found.evidence)
    assert "of 2 controls none carries any" in found.because


def test_one_placement_is_enough_and_the_other_is_said_to_be_deaf(tmp_path: Path) -> None:
    points = (_both(CLEAR, "zeropage"), _both(DEAF, "zeropage", placement="cross"))
    found = _judged("zeropage-covert-channel", tmp_path, *points)
    assert found.verdict == "holds"
    assert "on two CPUs no channel detected (p = " in found.because


def test_samples_that_pass_are_not_averaged_with_those_that_do_not(tmp_path: Path) -> None:
    found = _judged("zeropage-covert-channel", tmp_path, _both(DEAF[:4] + [0.0] * 8, "zeropage"))
    assert "in 8 of 12 samples" in found.because
    assert found.effect is not None
    assert found.effect > 900


def test_every_registered_point_of_a_placement_counts(tmp_path: Path) -> None:
    points = (_both(CLEAR, "zeropage"), _both(DEAF, "zeropage", slot_ns=9000))
    assert _judged("zeropage-covert-channel", tmp_path, *points).verdict == "holds"


def test_nothing_that_passes_is_no_channel_below_a_rate(tmp_path: Path) -> None:
    found = _judged("zeropage-covert-channel", tmp_path, _both(DEAF * 3, "zeropage"))
    assert found.verdict == "does not hold"
    assert "below" in found.because


def test_too_few_samples_do_not_say_that_nothing_passes(tmp_path: Path) -> None:
    found = _judged("zeropage-covert-channel", tmp_path, _both(DEAF[:1], "zeropage", slots=30))
    assert found.verdict == "not decided"
    assert "more than 1 % could have passed" in found.because


def test_a_control_that_is_not_null_decides_nothing(tmp_path: Path) -> None:
    found = _judged("zeropage-covert-channel", tmp_path, _both(CLEAR, "zeropage"), point(CLEAR, "private"))
    assert found.verdict == "not decided"
    assert "private" in found.because


def test_a_control_that_could_not_have_noticed_anything_decides_nothing(tmp_path: Path) -> None:
    points = point(CLEAR) + point(DEAF, silent=True) + point([0.5], "private", sample=0)
    assert _judged("zeropage-covert-channel", tmp_path, points).verdict == "not decided"
    found = claims.verdict("zeropage-covert-channel", campaign(tmp_path / "e", points))
    assert "could have passed it unnoticed: private" in found.because


def test_samples_too_short_to_pass_alone_have_no_capacity(tmp_path: Path) -> None:
    found = _judged("zeropage-covert-channel", tmp_path, _both([0.0] * 9, "zeropage", slots=60))
    assert found.verdict == "not decided"
    assert "no sample passes alone" in found.because
    assert "on one CPU bits pass in all samples together" in found.because


def test_among_many_controls_one_that_is_not_null_is_seen(tmp_path: Path) -> None:
    many = [_both(CLEAR, "zeropage", slot_ns=8000 + 100 * number) for number in range(6)]
    found = _judged("zeropage-covert-channel", tmp_path, *many, point(CLEAR, "shmem"))
    assert found.verdict == "not decided"
    assert "shmem" in found.because


@pytest.mark.parametrize(
    "points",
    [
        point(CLEAR),
        point(CLEAR) + point(DEAF, silent=True),
        point(CLEAR) + point(DEAF, "private"),
        point(CLEAR) + point(DEAF, "private") + _both(CLEAR, "populated"),
        point(CLEAR) + point(DEAF, silent=True) + point(DEAF, "private", placement="cross"),
    ],
)
def test_a_channel_without_both_its_controls_decides_nothing(tmp_path: Path, points: Samples) -> None:
    assert _judged("zeropage-covert-channel", tmp_path, points).verdict == "not decided"


def test_a_sweep_decides_nothing(tmp_path: Path) -> None:
    points = (_both(DEAF * 3, "zeropage"), point(CLEAR, "zeropage", slot_ns=20_000))
    assert _judged("zeropage-covert-channel", tmp_path, *points).verdict == "does not hold"


# --- markers-close-channel --------------------------------------------------------------------------------------------


def test_markers_that_carry_bits_do_not_close_it(tmp_path: Path) -> None:
    points = (_both(CLEAR, "zeropage"), _both(CLEAR, "markers_read"), _both(DEAF, "markers_unread"))
    found = _judged("markers-close-channel", tmp_path, *points)
    assert found.verdict == "does not hold"
    assert "after their first read" in found.because
    assert "never read" not in found.because
    assert found.effect is not None
    assert 0.8 < found.effect < 1.2


def test_markers_that_carry_nothing_close_it(tmp_path: Path) -> None:
    points = (_both(CLEAR, "zeropage"), _both(DEAF * 3, "markers_read"), _both(DEAF * 3, "markers_unread"))
    assert _judged("markers-close-channel", tmp_path, *points).verdict == "holds"


def test_markers_measured_too_little_do_not_close_it(tmp_path: Path) -> None:
    few = [_both(DEAF[:1], name, slots=30) for name in ("markers_read", "markers_unread")]
    assert _judged("markers-close-channel", tmp_path, _both(CLEAR, "zeropage"), *few).verdict == "not decided"


def test_markers_that_are_deaf_where_fresh_memory_was_not_heard_close_nothing(tmp_path: Path) -> None:
    far = [_both(DEAF * 3, name, placement="cross") for name in ("markers_read", "markers_unread")]
    assert _judged("markers-close-channel", tmp_path, _both(CLEAR, "zeropage"), *far).verdict == "not decided"


def test_where_fresh_memory_carries_nothing_markers_close_nothing(tmp_path: Path) -> None:
    points = (_both(DEAF, "zeropage"), _both(DEAF, "markers_read"), _both(DEAF, "markers_unread"))
    assert _judged("markers-close-channel", tmp_path, *points).verdict == "not decided"


def test_markers_that_were_not_measured_decide_nothing(tmp_path: Path) -> None:
    found = _judged("markers-close-channel", tmp_path, _both(CLEAR, "zeropage"), _both(CLEAR, "markers_read"))
    assert found.verdict == "not decided"
    assert found.missing


@pytest.mark.parametrize("heard", [point(CLEAR, "zeropage", silent=True), point(CLEAR, "private")])
def test_a_control_of_the_markers_that_is_heard_decides_nothing(tmp_path: Path, heard: Samples) -> None:
    points = (_both(CLEAR, "zeropage"), _both(CLEAR, "markers_read"), _both(CLEAR, "markers_unread"), heard)
    assert _judged("markers-close-channel", tmp_path, *points).verdict == "not decided"


# --- which dataset decides --------------------------------------------------------------------------------------------


def test_a_campaign_of_its_own_decides_what_the_reference_did_not_measure(tmp_path: Path) -> None:
    reference = dataset(tmp_path / "r", id_="reference-made-up")
    channel = campaign(tmp_path / "c", _both(CLEAR, "zeropage"), id_="channel-made-up")
    found = {one.id: one for one in claims.verdicts(claims.Evidence(reference, channel))}
    assert found["zeropage-covert-channel"].verdict == "holds"
    assert found["zeropage-covert-channel"].dataset == "channel-made-up"
    assert found["hugetlb-needs-feature"].dataset == "reference-made-up"
    assert "reference-made-up" not in {one.dataset for one in claims.verdicts(claims.Evidence(channel))}
    assert [path.name for path in datasets.companions(tmp_path)] == ["c"]
