# SPDX-License-Identifier: MIT
"""Every way the verdicts on the zeropage as a wire can come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synthetic import dataset
from synthetic_channel import campaign, point

from uffdlab import claims, datasets

Samples = list[dict[str, Any]]
CLEAR, DEAF = [0.05] * 9, [0.5] * 9


def _both(flips: list[float], memory: str, **more: Any) -> Samples:
    """Return the samples of a registered point and its silent control."""
    return point(flips, memory, **more) + point(DEAF, memory, silent=True, **more)


def _judged(id_: str, tmp_path: Path, *points: Samples) -> claims.Verdict:
    return claims.verdict(id_, campaign(tmp_path / "d", *points))


# --- zeropage-covert-channel ------------------------------------------------------------------------------------------


def test_bits_that_pass_beside_null_controls_are_a_channel(tmp_path: Path) -> None:
    points = (_both(CLEAR, "zeropage"), _both(CLEAR, "huge_zeropage"), point(DEAF, "private"))
    found = _judged("zeropage-covert-channel", tmp_path, *points)
    assert found.verdict == "holds"
    assert found.effect is not None
    assert 600 < found.effect < 1000, "8 bits in 8 µs, less what errors cost"
    assert any("the huge zeropage" in line for line in found.evidence)
    assert any("3 of them" in line for line in found.evidence)


def test_one_placement_is_enough_and_the_other_is_said_to_be_deaf(tmp_path: Path) -> None:
    points = (_both(CLEAR, "zeropage"), _both(DEAF, "zeropage", placement="cross"), point(DEAF, "private"))
    found = _judged("zeropage-covert-channel", tmp_path, *points)
    assert found.verdict == "holds"
    assert "on two CPUs no channel detected (p = " in found.because


def test_nothing_that_passes_is_no_channel_below_a_rate(tmp_path: Path) -> None:
    found = _judged("zeropage-covert-channel", tmp_path, _both(DEAF, "zeropage"), point(DEAF, "private"))
    assert found.verdict == "does not hold"
    assert "below" in found.because


def test_a_control_that_is_not_null_decides_nothing(tmp_path: Path) -> None:
    found = _judged("zeropage-covert-channel", tmp_path, _both(CLEAR, "zeropage"), point(CLEAR, "private"))
    assert found.verdict == "not decided"
    assert "private" in found.because


def test_a_channel_without_its_controls_decides_nothing(tmp_path: Path) -> None:
    assert _judged("zeropage-covert-channel", tmp_path, point(CLEAR)).verdict == "not decided"


def test_a_sweep_decides_nothing(tmp_path: Path) -> None:
    points = (_both(DEAF, "zeropage"), point(CLEAR, "zeropage", slot_ns=20_000), point(DEAF, "private"))
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
    points = (_both(CLEAR, "zeropage"), _both(DEAF, "markers_read"), _both(DEAF, "markers_unread"))
    assert _judged("markers-close-channel", tmp_path, *points).verdict == "holds"


def test_where_fresh_memory_carries_nothing_markers_close_nothing(tmp_path: Path) -> None:
    points = (_both(DEAF, "zeropage"), _both(DEAF, "markers_read"), _both(DEAF, "markers_unread"))
    assert _judged("markers-close-channel", tmp_path, *points).verdict == "not decided"


def test_markers_that_were_not_measured_decide_nothing(tmp_path: Path) -> None:
    found = _judged("markers-close-channel", tmp_path, _both(CLEAR, "zeropage"), _both(CLEAR, "markers_read"))
    assert found.verdict == "not decided"
    assert found.missing


def test_a_sender_that_is_silent_and_heard_decides_nothing(tmp_path: Path) -> None:
    heard = point(CLEAR, "zeropage", silent=True)
    points = (point(CLEAR, "zeropage"), heard, _both(CLEAR, "markers_read"), _both(CLEAR, "markers_unread"))
    assert _judged("markers-close-channel", tmp_path, *points).verdict == "not decided"


# --- which dataset decides --------------------------------------------------------------------------------------------


def test_a_campaign_of_its_own_decides_what_the_reference_did_not_measure(tmp_path: Path) -> None:
    reference = dataset(tmp_path / "r", id_="reference-made-up")
    channel = campaign(tmp_path / "c", _both(CLEAR, "zeropage"), point(DEAF, "private"), id_="channel-made-up")
    found = {one.id: one for one in claims.verdicts(reference, channel)}
    assert found["zeropage-covert-channel"].verdict == "holds"
    assert found["zeropage-covert-channel"].dataset == "channel-made-up"
    assert found["hugetlb-needs-feature"].dataset == "reference-made-up"
    assert "reference-made-up" not in {one.dataset for one in claims.verdicts(channel, reference)}
    assert [path.name for path in datasets.companions(tmp_path)] == ["c"]
