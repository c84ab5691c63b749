# SPDX-License-Identifier: MIT
"""The probes against a real kernel: what each design costs in tables, memory and faults, and what a page then is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uffdlab.errors import UffdlabError
from uffdlab.host import memory, settings
from uffdlab.probes import protect, semantics
from uffdlab.probes.protect import ProtectSpec
from uffdlab.probes.requirements import RESERVE_KIB, Needs, peak
from uffdlab.probes.semantics import CONTENTS, MOMENTS, SemanticsSpec
from uffdlab.probes.userfault import KernelRefused, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, GIB, KIB, MIB
from uffdlab.vocabulary.designs import STOCK
from uffdlab.vocabulary.feature_sets import FEATURE_SETS

SIZE = 32 * MIB
PAGES = SIZE // (4 * KIB)
TABLES_KIB = SIZE // (2 * MIB) * 4  # one 4 KiB table per 2 MiB
SOME_TABLES_KIB = 16  # the tables above them, where the range begins a new GiB, and what Python happens to allocate
RSS_LAG_KIB = 1 * KIB  # kernels before 6.17 tell RSS to within some pages per CPU

# --- what a spec refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"backing": "swap"}, "unknown backing 'swap': choose one of anon, anon_thp, shmem, hugetlb_2m_private, "),
        (
            {"design": "magic"},
            "unknown design 'magic': choose one of unprotected, preread, populate_read, pte_marker, ",
        ),
        ({"size_bytes": 0}, "size 0 B is not a positive multiple of anon's 4 KiB page"),
        ({"size_bytes": -4096}, "size -4096 B is not a positive multiple of anon's 4 KiB page up to 64 TiB"),
        ({"size_bytes": 4097}, "size 4097 B is not a positive multiple of anon's 4 KiB page"),
        ({"backing": "anon_thp", "size_bytes": 4096}, "not a positive multiple of anon_thp's 2 MiB page"),
        ({"backing": "hugetlb_1g_shared"}, "not a positive multiple of hugetlb_1g_shared's 1 GiB page"),
        ({"size_bytes": 1 << 47}, "is not a positive multiple of anon's 4 KiB page up to 64 TiB"),
        ({"populated": -0.1}, "populated is -0.1: choose 0 to 1"),
        ({"populated": 1.01}, "populated is 1.01: choose 0 to 1"),
        ({"populated": float("nan")}, "populated is nan: choose 0 to 1"),
        ({"cluster_pages": 0}, "cluster_pages is 0: choose 1 to"),
        ({"cluster_pages": 513}, "runs of 513 pages do not fit a range of 512"),
        ({"repeats": 0}, "repeats is 0: choose 1 to 1000000"),
        ({"beside": "magic"}, "unknown design 'magic'"),
        ({"beside": "pte_marker"}, "beside must name a design other than 'pte_marker'"),
    ],
)
def test_an_invalid_protect_spec_is_refused_with_the_reason(wrong: dict[str, Any], refusal: str) -> None:
    right = {"backing": "anon", "design": "pte_marker", "size_bytes": 2 * MIB}
    with pytest.raises(UffdlabError) as caught:
        ProtectSpec(**(right | wrong))
    assert refusal in str(caught.value)


@pytest.mark.parametrize("wrong", [("swap", "none", "empty"), ("anon", "magic", "empty"), ("anon", "none", "full")])
def test_an_invalid_semantics_spec_is_refused_with_the_reason(wrong: tuple[str, str, str]) -> None:
    with pytest.raises(UffdlabError, match=r"unknown (backing|features|content) '(swap|magic|full)': choose one of "):
        SemanticsSpec(*wrong)


# --- what a spec needs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "needs"),
    [
        # a zeropage costs no memory, its table does
        (ProtectSpec("anon", "preread", GIB), Needs(2048)),
        (ProtectSpec("shmem", "pte_marker", 2 * MIB, beside="preread"), Needs(2 * KIB + 4)),
        (ProtectSpec("anon", "pte_marker", GIB, populated=0.5), Needs(2048 + 512 * KIB)),
        # under THP a write fills 2 MiB, but never more than the range
        (ProtectSpec("anon_thp", "pte_marker", GIB, populated=1 / 262144), Needs(2048 + 2 * KIB, thp=True)),
        (ProtectSpec("anon_thp", "pte_marker", GIB, populated=0.5), Needs(2048 + GIB // KIB, thp=True)),
        # a run of pages reaches into one huge page more than it covers
        (ProtectSpec("anon_thp", "unprotected", GIB, 512 / 262144, 512), Needs(2048 + 4 * KIB, thp=True)),
        # shmem has no zeropage: reading it fills it
        (ProtectSpec("shmem", "preread", GIB), Needs(2048 + GIB // KIB)),
        (ProtectSpec("shmem", "populate_read", GIB), Needs(2048 + GIB // KIB)),
        (ProtectSpec("shmem", "pte_marker", GIB), Needs(2048)),
        # nor has hugetlb, which draws from its pool
        (ProtectSpec("hugetlb_2m_private", "preread", GIB), Needs(4, {2048: 512})),
        (ProtectSpec("hugetlb_2m_shared", "pte_marker", GIB, populated=0.25), Needs(4, {2048: 128})),
        (ProtectSpec("hugetlb_1g_private", "populate_read", 2 * GIB), Needs(0, {1048576: 2})),
        (ProtectSpec("hugetlb_1g_private", "unprotected", 2 * GIB), Needs(0, {1048576: 0})),
        (SemanticsSpec("anon", "none"), Needs(4 * KIB)),
        (SemanticsSpec("hugetlb_1g_shared", "none"), Needs(0, {1048576: 1})),
    ],
)
def test_needs_are_the_peak_of_memory_page_tables_and_huge_pages(spec: Any, needs: Needs) -> None:
    assert spec.needs() == needs


def test_peak_takes_the_maximum_of_each_need() -> None:
    together = peak([Needs(10, {2048: 3}), Needs(20, {2048: 1, 1048576: 0}), Needs(5)])
    assert together == Needs(20, {2048: 3})


def test_peak_of_no_needs_is_empty() -> None:
    assert peak([]) == Needs()
    assert Needs().missing() is None


def test_too_little_memory_is_reported_with_a_remedy() -> None:
    available = memory.memory_available_kib()
    if available is None:
        pytest.skip("this host does not tell how much memory is available")
    assert Needs(available).missing() is not None, f"{RESERVE_KIB} KiB are left to everything else"
    assert "choose a smaller --size or populated fraction" in str(Needs(1 << 50).missing())


def test_an_unsupported_huge_page_size_is_reported() -> None:
    assert Needs(hugepages={12: 1}).missing() == "this kernel has no huge pages of 12 KiB"


# --- protect: tables, memory and faults of every design --------------------------------------------------------------

_ORDINARY = ("anon", "anon_thp", "shmem")


def samples(spec: ProtectSpec) -> list[dict[str, Any]]:
    return [row for table, row in protect.run(spec) if table == "samples"]


@pytest.fixture
def _huge_zeropage(request: pytest.FixtureRequest) -> None:
    if request.getfixturevalue("backing") != "anon_thp":
        return
    for name, wanted in (("thp_enabled", ("always", "madvise")), ("thp_use_zero_page", ("1",))):
        if settings.current(name) not in wanted:
            pytest.skip(f"{name} is {settings.current(name)}: reads map no huge zeropage")


@pytest.mark.uffd
def test_two_designs_alternate_in_one_process() -> None:
    spec = ProtectSpec("anon", "unprotected", SIZE, repeats=2, beside="preread")
    rows = [row for table, row in protect.run(spec) if table == "samples"]
    assert [row["design"] for row in rows] == ["unprotected", "preread", "preread", "unprotected"]
    assert [row["sample"] for row in rows] == [0, 1, 2, 3]
    assert [row["cold"] for row in rows] == [True, True, False, False]
    assert [row["prepare_ns"] > 0 for row in rows] == [False, True, True, False]


@pytest.mark.uffd
@pytest.mark.usefixtures("_huge_zeropage")
@pytest.mark.parametrize("backing", _ORDINARY)
@pytest.mark.parametrize("design", STOCK)
def test_the_cost_of_a_design_on_untouched_memory(backing: str, design: str) -> None:
    prepares = STOCK[design].prepare != "nothing"
    marks = backing == "shmem" or "WP_UNPOPULATED" in STOCK[design].features
    for row in samples(ProtectSpec(backing, design, SIZE, repeats=2)):
        # Anonymous memory with features 0 gets no entry at all; a huge zeropage deposits a table just like markers.
        tables = TABLES_KIB if prepares or marks else 0
        assert tables <= row["table_growth_kib"] <= tables + SOME_TABLES_KIB
        filled = SIZE // KIB if prepares and backing == "shmem" else 0
        assert row["rss_growth_kib"] == pytest.approx(filled, abs=RSS_LAG_KIB)
        assert row["zeropages_before"] in (0, None)
        assert row["zeropages"] in (PAGES if prepares and backing != "shmem" else 0, None)
        faults = {"anon": PAGES, "shmem": PAGES, "anon_thp": SIZE // (2 * MIB)}[backing] if prepares else 0
        assert faults <= row["prepare_minor_faults"] <= faults + 8
        assert row["protect_minor_faults"] <= 8, "protecting takes no faults"
        assert (row["prepare_ns"] > 0) == prepares
        assert row["register_ns"] > 0
        assert row["protect_ns"] > 0


@pytest.mark.uffd
@pytest.mark.parametrize("populated", [0.25, 1.0])
def test_populated_pages_are_written_before_counting(populated: float) -> None:
    (row,) = samples(ProtectSpec("anon", "preread", SIZE, populated=populated, seed=3))
    left = PAGES - round(PAGES * populated)
    assert row["zeropages"] in (left, None)
    assert left <= row["prepare_minor_faults"] <= left + 8
    assert row["table_growth_kib"] <= SOME_TABLES_KIB, "every 2 MiB has its table already"
    assert row["rss_growth_kib"] == pytest.approx(0, abs=RSS_LAG_KIB)


@pytest.mark.uffd
def test_clustered_pages_are_written_in_whole_runs() -> None:
    with mapped(BACKINGS["anon"], SIZE) as memory:
        memory.write_some(1024, 5, 256)
        present = [bool(bits >> 63) for bits, _ in memory.states()]
    runs = [present[start : start + 256] for start in range(0, PAGES, 256)]
    assert sum(map(all, runs)) == 4
    assert sum(map(any, runs)) == 4


@pytest.mark.uffd
def test_the_recorded_fraction_is_the_written_one() -> None:
    (row,) = samples(ProtectSpec("anon", "pte_marker", 2 * MIB, populated=0.3, cluster_pages=64))
    assert (row["populated"], row["cluster_pages"]) == (0.25, 64), "two runs of 64 in 512 pages: 2.4 rounded"


@pytest.mark.uffd
def test_reading_shmem_fills_only_unwritten_pages() -> None:
    (row,) = samples(ProtectSpec("shmem", "populate_read", SIZE, populated=0.25))
    assert row["rss_growth_kib"] == pytest.approx(SIZE // KIB * 3 // 4, abs=RSS_LAG_KIB)


@pytest.mark.uffd
@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_any_64_bit_seed_is_accepted(seed: int) -> None:
    (row,) = samples(ProtectSpec("anon", "preread", MIB * 2, populated=0.5, seed=seed))
    assert row["zeropages"] in (256, None)


@pytest.mark.uffd
def test_the_first_sample_of_a_process_is_the_cold_one() -> None:
    rows = samples(ProtectSpec("anon", "pte_marker", 2 * MIB, repeats=3))
    assert [row["cold"] for row in rows] == [True, False, False]
    assert [row["sample"] for row in rows] == [0, 1, 2]


@pytest.mark.uffd
@pytest.mark.parametrize("design", STOCK)
def test_only_a_read_loop_has_latencies_per_touch(design: str) -> None:
    rows = [row for table, row in protect.run(ProtectSpec("anon", design, SIZE)) if table == "latencies"]
    timed = PAGES // protect.SAMPLE_EVERY if design == "preread" else 0
    assert sum(row["count"] for row in rows) == timed
    assert all(row["from_ns"] < row["below_ns"] for row in rows)


@pytest.mark.uffd
@pytest.mark.parametrize(("table", "fields"), [("samples", protect.FIELDS), ("latencies", protect.LATENCY_FIELDS)])
def test_rows_have_the_declared_columns(table: str, fields: list[dict[str, Any]]) -> None:
    rows = [row for name, row in protect.run(ProtectSpec("anon", "preread", 2 * MIB)) if name == table]
    assert rows
    assert all({"block", *row} == {field["name"] for field in fields} for row in rows)


@pytest.mark.uffd
@pytest.mark.parametrize(
    ("backing", "tables_kib"),
    # 2 MiB entries stand in one table per GiB; 1 GiB entries in tables that cover 512 GiB
    [("hugetlb_2m_private", 64), ("hugetlb_2m_shared", 64), ("hugetlb_1g_private", 0), ("hugetlb_1g_shared", 0)],
)
def test_empty_hugetlb_is_protected_by_markers_without_a_huge_page(backing: str, tables_kib: int) -> None:
    if memory.hugepages(BACKINGS[backing].pool_kib or 0) is None:
        pytest.skip(f"this kernel has no {BACKINGS[backing].title}")
    (row,) = samples(ProtectSpec(backing, "unprotected", 16 * GIB))
    assert tables_kib <= row["table_growth_kib"] <= tables_kib + SOME_TABLES_KIB
    assert row["hugetlb_growth_kib"] in (0, None)
    assert row["rss_growth_kib"] == pytest.approx(0, abs=RSS_LAG_KIB)


@pytest.mark.uffd
def test_reading_hugetlb_takes_huge_pages_from_the_pool(huge_pages: None) -> None:
    (row,) = samples(ProtectSpec("hugetlb_2m_private", "preread", 4 * MIB))
    assert row["hugetlb_growth_kib"] in (4 * KIB, None)
    assert row["zeropages"] in (0, None), "hugetlb has no zeropage"


# --- semantics: the states of a page ---------------------------------------------------------------------------------

EMPTY, MARKER, MAPPED, PROTECTED = (False, False, False), (False, True, True), (True, False, False), (True, False, True)

# backing, features, content, moment → (present, swap, uffd-wp), PAGEMAP_SCAN, is the write that follows reported?
# Measured on Linux 6.18.
GOLDEN: list[tuple[str, str, str, str, tuple[bool, bool, bool], str, bool]] = [
    ("anon", "none", "empty", "before", EMPTY, "WRITTEN", False),
    ("anon", "none", "empty", "protected", EMPTY, "WRITTEN", False),
    ("anon", "none", "empty", "read", MAPPED, "WRITTEN+PRESENT+PFNZERO", False),
    ("anon", "none", "empty", "written", MAPPED, "WRITTEN+PRESENT", False),
    ("anon", "none", "read", "protected", PROTECTED, "PRESENT+PFNZERO", True),
    ("anon", "none", "read", "discarded", EMPTY, "WRITTEN", False),
    ("anon", "none", "written", "protected", PROTECTED, "PRESENT", True),
    ("anon", "none", "written", "unprotected", MAPPED, "WRITTEN+PRESENT", False),
    ("anon", "wp_hugetlbfs_shmem", "empty", "protected", EMPTY, "WRITTEN", False),
    ("anon", "wp_unpopulated", "empty", "protected", MARKER, "SWAPPED", True),
    ("anon", "wp_unpopulated", "empty", "read", PROTECTED, "PRESENT+PFNZERO", True),
    ("anon", "wp_unpopulated", "empty", "written", MAPPED, "WRITTEN+PRESENT", False),
    ("anon", "wp_unpopulated", "empty", "discarded", EMPTY, "WRITTEN", False),
    ("anon", "wp_unpopulated", "empty", "unprotected", EMPTY, "WRITTEN", False),
    ("anon", "wp_async", "empty", "protected", MARKER, "WPALLOWED+SWAPPED", False),
    ("anon", "wp_async", "empty", "written", MAPPED, "WPALLOWED+WRITTEN+PRESENT", False),
    ("anon", "missing_wp", "empty", "protected", EMPTY, "WRITTEN", False),
    ("shmem", "none", "empty", "before", EMPTY, "WRITTEN", False),
    ("shmem", "none", "empty", "protected", MARKER, "SWAPPED", True),
    ("shmem", "none", "empty", "read", PROTECTED, "FILE+PRESENT", True),
    ("shmem", "none", "empty", "written", MAPPED, "WRITTEN+FILE+PRESENT", False),
    ("shmem", "none", "empty", "discarded", MARKER, "SWAPPED", True),
    ("shmem", "none", "empty", "unprotected", EMPTY, "WRITTEN", False),
    ("shmem", "none", "read", "discarded", MARKER, "SWAPPED", True),
    ("shmem", "wp_hugetlbfs_shmem", "empty", "protected", MARKER, "SWAPPED", True),
    ("shmem", "wp_unpopulated", "empty", "protected", MARKER, "SWAPPED", True),
    ("shmem", "wp_async", "empty", "protected", MARKER, "WPALLOWED+SWAPPED", False),
]


def states(backing: str, features: str, content: str = "empty") -> dict[str, dict[str, Any]]:
    return {row["moment"]: row for _, row in semantics.run(SemanticsSpec(backing, features, content))}


def _seen(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["present"], row["swap"], row["uffd_wp"]), row["categories"], row["write_reported"]


@pytest.mark.uffd
@pytest.mark.parametrize(("backing", "features", "content", "moment", "bits", "categories", "reported"), GOLDEN)
def test_the_state_of_a_page_at_a_moment(
    backing: str,
    features: str,
    content: str,
    moment: str,
    bits: tuple[bool, bool, bool],
    categories: str,
    reported: bool,
) -> None:
    row = states(backing, features, content)[moment]
    assert _seen(row) == (bits, row["categories"] and categories, reported)


@pytest.mark.uffd
@pytest.mark.parametrize("backing", ["anon", "shmem"])
def test_a_hole_registered_for_missing_events_raises_one(backing: str) -> None:
    row = states(backing, "missing_wp")["protected"]
    assert row["write_missing_event"]
    assert not row["write_reported"]


@pytest.mark.uffd
def test_an_async_write_raises_no_event_and_is_reported_by_the_scan() -> None:
    row = states("anon", "wp_async")["protected"]
    assert (row["write_reported"], row["write_missing_event"]) == (False, False)
    assert row["write_seen_by_scan"] in (True, None)


@pytest.mark.uffd
@pytest.mark.parametrize("backing", ["hugetlb_2m_private", "hugetlb_2m_shared"])
@pytest.mark.parametrize("features", ["none", "wp_hugetlbfs_shmem", "wp_unpopulated"])
def test_an_empty_huge_page_is_protected_with_any_features(backing: str, features: str, huge_pages: None) -> None:
    row = states(backing, features)["protected"]
    assert row["uffd_wp"]
    assert not row["present"]
    assert row["categories"] in ("SWAPPED+HUGE", None)
    assert row["write_reported"]


@pytest.mark.uffd
def test_a_discard_leaves_the_marker_of_a_huge_page(huge_pages: None) -> None:
    assert states("hugetlb_2m_shared", "none")["discarded"]["write_reported"]


@pytest.mark.uffd
def test_every_moment_is_a_row_with_the_declared_columns() -> None:
    rows = states("anon", "wp_unpopulated")
    assert tuple(rows) == MOMENTS
    assert all({"block", *row} == {field["name"] for field in semantics.FIELDS} for row in rows.values())


@given(st.sampled_from(sorted(BACKINGS)), st.sampled_from(sorted(FEATURE_SETS)), st.sampled_from(CONTENTS))
def test_every_combination_of_semantics_is_a_valid_spec_with_needs(backing: str, features: str, content: str) -> None:
    needs = SemanticsSpec(backing, features, content).needs()
    assert needs.memory_kib > 0 or sum(needs.hugepages.values()) == 1


# --- a kernel without the feature ------------------------------------------------------------------------------------


@pytest.mark.uffd
def test_a_feature_the_kernel_lacks_is_refused_with_the_cause() -> None:
    with pytest.raises(KernelRefused, match=r"UFFDIO_API failed with EINVAL .* not offered by this kernel") as caught:
        opened(("bit40",)).__enter__()
    assert caught.value.operation == "UFFDIO_API"
