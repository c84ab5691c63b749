# SPDX-License-Identifier: MIT
"""Probe *trackers*: every method reports exactly the pages that were written, or says what it reports besides."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uffdlab.errors import UffdlabError
from uffdlab.probes import trackers
from uffdlab.probes.requirements import Needs
from uffdlab.probes.trackers import BACKINGS_TRACKED, FIELDS, LATENCY_FIELDS, METHODS, PATTERNS, TrackersSpec
from uffdlab.vocabulary.backings import BACKINGS, KIB, MIB

SIZE = 8 * MIB
HERE = [name for name in METHODS if name != "soft_dirty" or trackers.has_soft_dirty()]


def rows(**spec: Any) -> list[dict[str, Any]]:
    return [row for table, row in trackers.run(TrackersSpec(**({"size_bytes": SIZE} | spec))) if table == "trackers"]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"backing": "hugetlb_1g_private"}, "unknown backing 'hugetlb_1g_private'"),
        ({"pattern": "random"}, "unknown pattern 'random': choose one of uniform, zipf, sequential"),
        ({"dirty": 1.5}, "dirty is 1.5: choose 0 to 1"),
        ({"dirty": 0.0}, "dirty 0 of 2048 pages is no write: choose a larger fraction or size"),
        ({"size_bytes": MIB}, "is not a positive multiple of 2 MiB"),
    ],
)
def test_impossible_specs_are_refused_with_the_remedy(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UffdlabError) as caught:
        TrackersSpec(**({"size_bytes": SIZE} | wrong))
    assert sentence in str(caught.value)


def test_a_spec_needs_its_range_or_its_huge_pages() -> None:
    assert TrackersSpec("hugetlb_2m_private", 16 * MIB, 0.5).needs() == Needs(hugepages={2048: 8})
    assert TrackersSpec("anon_thp", SIZE).needs().thp
    assert SIZE // KIB < TrackersSpec("anon", SIZE).needs().memory_kib < SIZE // KIB + 64


def test_hugetlb_is_never_scanned_and_protected_in_one_pass() -> None:
    assert "async_scan" not in TrackersSpec("hugetlb_2m_private", 16 * MIB, 0.5).methods
    assert TrackersSpec("shmem").methods == METHODS


@given(st.sampled_from(BACKINGS_TRACKED[:3]), st.sampled_from(PATTERNS), st.floats(0.001, 1), st.integers(0, 1 << 40))
def test_writes_lie_on_pages_of_the_range_and_repeat_only_by_zipf(
    backing: str, pattern: str, dirty: float, seed: int
) -> None:
    spec = TrackersSpec(backing, SIZE, dirty, pattern)
    writes = trackers.choose(spec, random.Random(seed))
    page = BACKINGS[backing].page_bytes
    assert len(writes.offsets) == spec.writes
    assert all(offset % page == 0 and 0 <= offset < SIZE for offset in writes.offsets)
    assert {offset // page for offset in writes.offsets} == {n for n, one in enumerate(writes.by_page) if one}
    if pattern != "zipf":
        assert writes.pages == spec.writes
    if pattern == "sequential":
        assert writes.offsets == [number * page for number in range(spec.writes)]


def test_zipf_writes_the_first_rank_twice_as_often_as_the_second() -> None:
    spec = TrackersSpec("anon", 64 * MIB, 1.0, "zipf")
    times = sorted(Counter(trackers.choose(spec, random.Random(5)).offsets).values(), reverse=True)
    weight = sum(1 / rank for rank in range(1, spec.pages + 1))
    assert times[0] == pytest.approx(spec.writes / weight, rel=0.15)
    assert times[0] / times[1] == pytest.approx(2, rel=0.25)


@pytest.mark.uffd
@pytest.mark.parametrize("backing", ["anon", "shmem"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_method_reports_exactly_what_was_written(backing: str, pattern: str) -> None:
    found = rows(backing=backing, dirty=0.05, pattern=pattern, repeats=2)
    assert {row["method"] for row in found} == set(HERE)
    assert len(found) == 2 * len(HERE)
    for row in found:
        assert row["cold"] == (row["sample"] == 0)
        if row["method"] == "nothing":
            assert row["reported_pages"] is None
            continue
        assert (row["missed_pages"], row["spurious_pages"]) == (0, 0), row["method"]
        assert row["reported_pages"] == row["dirty_pages"]
    assert {row["turn"] for row in found} == set(range(len(HERE)))


@pytest.mark.uffd
def test_methods_of_a_sample_write_to_the_same_pages_in_the_same_order() -> None:
    found = rows(dirty=0.1, pattern="zipf")
    assert len({(row["writes"], row["dirty_pages"]) for row in found}) == 1


@pytest.mark.uffd
def test_mprotect_splits_mappings_and_userfaultfd_does_not() -> None:
    growth = {row["method"]: row["mapping_growth"] for row in rows(dirty=0.02)}
    assert growth["mprotect"] > 20
    assert growth["events"] <= 3
    assert growth["async_scan"] <= 3


@pytest.mark.uffd
def test_each_tracked_write_faults_once_and_an_untracked_one_never() -> None:
    found = {row["method"]: row for row in rows(dirty=0.1)}
    written = found["nothing"]["writes"]
    assert found["nothing"]["minor_faults"] < written / 10
    for method in set(HERE) - {"nothing", "mprotect"}:
        assert found[method]["minor_faults"] >= written, method


@pytest.mark.uffd
def test_quantiles_are_ordered_and_latencies_count_every_warm_write() -> None:
    spec = TrackersSpec("anon", SIZE, 0.1, repeats=2)
    table = list(trackers.run(spec))
    found = [row for name, row in table if name == "trackers"]
    bins = [row for name, row in table if name == "tracker_latencies"]
    assert all(0 < row["p50_ns"] <= row["p99_ns"] <= row["p999_ns"] <= row["write_ns"] for row in found)
    for method in HERE:
        assert sum(row["count"] for row in bins if row["method"] == method) == spec.writes
    assert {"block", *found[0]} == {field["name"] for field in FIELDS}
    assert {"block", *bins[0]} == {field["name"] for field in LATENCY_FIELDS}
