# SPDX-License-Identifier: MIT
"""The probe *collapse* against a real kernel: huge pages under markers, and once they are gone."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.host import features, settings
from uffdlab.probes import collapse
from uffdlab.probes.collapse import CollapseSpec
from uffdlab.probes.requirements import Needs
from uffdlab.vocabulary.backings import KIB, MIB

OFFERED = features.query() if native.why_missing() is None else features.Userfaultfd()
PAGES = 4 * MIB // (4 * KIB)


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"repair": "prayer"}, "unknown repair 'prayer': choose one of khugepaged, khugepaged_unaware, madv_collapse"),
        ({"size_bytes": MIB}, "size 1048576 B is not a positive multiple of 2 MiB up to 1 TiB"),
        ({"patience_s": 0}, "patience_s is 0: choose 0.01 to 100"),
        ({"repeats": 0}, "repeats is 0: choose 1 to 1000000"),
    ],
)
def test_an_invalid_spec_is_refused_with_the_reason(fields: dict[str, Any], refusal: str) -> None:
    with pytest.raises(UffdlabError, match=refusal.replace("(", r"\(")):
        CollapseSpec(**fields)


def test_needs_are_the_range_and_a_huge_page_where_khugepaged_has_to_know_the_process() -> None:
    assert CollapseSpec("khugepaged").needs() == Needs(16 * KIB + 2 * KIB + 32, thp=True)
    assert CollapseSpec("khugepaged_unaware").needs() == Needs(16 * KIB + 32, thp=True)


def samples(repair: str, **more: Any) -> list[dict[str, Any]]:
    """Return the rows of 4 MiB, or skip where the kernel lacks what they need."""
    for name in ("WP_UNPOPULATED", "WP_ASYNC"):
        if not OFFERED.has(name):
            pytest.skip(f"this kernel does not offer {name}")
    if settings.current("thp_enabled") not in ("always", "madvise"):
        pytest.skip("transparent huge pages are off")
    rows = [row for _, row in collapse.run(CollapseSpec(repair, 4 * MIB, **more))]
    if rows[0]["huge_after_pages"] is None:
        pytest.skip("this kernel has no PAGEMAP_SCAN")
    return rows


@pytest.mark.uffd
def test_markers_keep_huge_pages_away_and_madv_collapse_makes_them_afterwards() -> None:
    rows = samples("madv_collapse", repeats=2)
    assert [row["cold"] for row in rows] == [True, False]
    for row in rows:
        assert (row["huge_before_pages"], row["collapse_errno"], row["huge_asked_pages"]) == (0, errno.EINVAL, 0)
        assert row["huge_after_pages"] == PAGES
        assert row["repair_ns"] > 0


@pytest.mark.uffd
@pytest.mark.parametrize("repair", ["khugepaged", "khugepaged_unaware"])
def test_waiting_ends_after_patience(repair: str) -> None:
    (row,) = samples(repair, patience_s=0.05)
    assert row["repair_ns"] >= 0.05e9 or row["huge_after_pages"] == PAGES
    assert row["huge_before_pages"] == 0
