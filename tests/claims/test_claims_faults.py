# SPDX-License-Identifier: MIT
"""Verdicts on the claims about later faults, from synthetic datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic_faults import (
    CHILDREN,
    INTERRUPTED,
    dataset,
    first_reads,
    first_touches,
    huge_writes,
    in_turns,
    interrupts,
    locked,
    populated,
    touched,
)

from uffdlab import claims

Rows = list[dict[str, Any]]


def judge(tmp_path: Path, id_: str, **tables: Rows) -> claims.Verdict:
    return claims.verdict(id_, dataset(tmp_path / "d", **tables))


# --- prealloc-speeds-faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cached", "cold", "words"),
    [
        (0.5, 0.6, "holds"),
        (0.5, 1.0, "depends on the cache"),
        (1.0, 0.5, "depends on the cache"),
        (0.9, 1.0, "does not hold"),
        (0.5, 0.8, "not decided"),
        (0.8, 1.0, "not decided"),
    ],
)
def test_prealloc_speeds_faults_with_tables_that_are_cached_and_not(
    tmp_path: Path, cached: float, cold: float, words: str
) -> None:
    found = judge(tmp_path, "prealloc-speeds-faults", faults=first_touches({"tables": cached, "tables_cold": cold}))
    assert found.words == words


def test_prealloc_speeds_faults_names_the_side_of_the_cache_that_is_faster(tmp_path: Path) -> None:
    for cached, cold, condition in ((0.5, 1.0, "the page table is cached"), (1.0, 0.5, "the page table is not cached")):
        rows = first_touches({"tables": cached, "tables_cold": cold})
        found = judge(tmp_path / str(cached), "prealloc-speeds-faults", faults=rows)
        assert found.condition == condition
        assert found.effect == pytest.approx(1, rel=0.01), "the greatest of the cases"


@pytest.mark.parametrize("slow", ["first read", "first write"])
def test_prealloc_speeds_faults_has_to_speed_reads_and_writes(tmp_path: Path, slow: str) -> None:
    rows = first_touches({"tables": 0.5, "tables_cold": 0.5})
    rows = [
        row | {"busy_ns": 2 * row["busy_ns"]} if (row["preparation"], row["touch"]) == ("tables", slow) else row
        for row in rows
    ]
    found = judge(tmp_path, "prealloc-speeds-faults", faults=rows)
    assert (found.words, found.condition) == ("depends on the cache", "the page table is not cached")


@pytest.mark.parametrize("absent", ["fresh", "fresh_cold", "tables", "tables_cold"])
def test_prealloc_speeds_faults_undecided_without_an_arm(tmp_path: Path, absent: str) -> None:
    rows = [row for row in first_touches({"tables": 0.5, "tables_cold": 0.5}) if row["preparation"] != absent]
    found = judge(tmp_path, "prealloc-speeds-faults", faults=rows)
    assert found.verdict == "not decided"
    cached = "not cached" if absent.endswith("_cold") else "cached"
    assert found.because == f"a first read with the page table, {cached}, and without was not measured"


def test_prealloc_speeds_faults_undecided_with_too_few_children(tmp_path: Path) -> None:
    for children, verdict in ((6, "not decided"), (7, "holds")):
        rows = [
            row | {"block": n % children}
            for n, row in enumerate(first_touches({"tables": 0.5, "tables_cold": 0.5}, children=children))
        ]
        assert judge(tmp_path / str(children), "prealloc-speeds-faults", faults=rows).verdict == verdict


@pytest.mark.parametrize("other", [{"threads": 2}, {"threads": 2, "together": True}, {"backing": "shmem"}])
def test_prealloc_speeds_faults_ignores_two_threads_and_other_memory(tmp_path: Path, other: dict[str, Any]) -> None:
    rows = first_touches({"tables": 0.5, "tables_cold": 0.5})
    slow = first_touches({"tables": 2.0, "tables_cold": 2.0}, **other)
    assert judge(tmp_path / "one", "prealloc-speeds-faults", faults=rows + slow).verdict == "holds"
    assert judge(tmp_path / "two", "prealloc-speeds-faults", faults=slow).verdict == "not decided"


def test_paired_children_decide_although_they_differ_widely(tmp_path: Path) -> None:
    rows = in_turns(first_touches({"tables": 0.5, "tables_cold": 0.6}))
    apart = [row | {"block": n} for n, row in enumerate(rows)]
    assert judge(tmp_path / "in turns", "prealloc-speeds-faults", faults=rows).verdict == "holds"
    assert judge(tmp_path / "apart", "prealloc-speeds-faults", faults=apart).verdict == "not decided"


def test_rows_of_different_sizes_are_not_pooled(tmp_path: Path) -> None:
    rows = first_touches({"tables": 0.5, "tables_cold": 0.5})
    small = [row | {"size_kib": 400, "busy_ns": row["busy_ns"] * 3} for row in rows if row["preparation"] != "fresh"]
    found = judge(tmp_path, "prealloc-speeds-faults", faults=rows + small)
    assert found.verdict == "holds"
    assert found.effect == pytest.approx(0.5, rel=0.01)


# --- split-locks-speed-faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "two", "verdict"),
    [(0.9, 0.6, "holds"), (0.6, 0.6, "not decided"), (0.6, 0.9, "not decided"), (1.0, 0.8, "not decided")],
)
def test_split_locks_speed_faults_where_two_threads_gain_more(
    tmp_path: Path, one: float, two: float, verdict: str
) -> None:
    found = judge(tmp_path, "split-locks-speed-faults", faults=locked(one, two))
    assert found.verdict == verdict
    assert found.because.startswith(
        "time with tables / without, of two threads / of one, over 3.906 MiB, below 1 where locks matter: "
    )
    if verdict == "not decided":
        assert "with more CPUs" in (found.missing or "")


@pytest.mark.parametrize("stride", [4, 2048])
@pytest.mark.parametrize("touch", ["first read", "first write"])
def test_split_locks_speed_faults_needs_every_case(tmp_path: Path, stride: int, touch: str) -> None:
    case = {"stride_kib": stride, "touch": touch}
    others = [row for row in locked(0.9, 0.6) if not case.items() <= row.items()]
    same = locked(0.9, 0.9, (stride,), (touch,))
    assert judge(tmp_path / "same", "split-locks-speed-faults", faults=others + same).verdict == "not decided"
    absent = judge(tmp_path / "absent", "split-locks-speed-faults", faults=others)
    assert absent.verdict == "not decided"
    assert absent.because.startswith(touch)
    assert absent.because.endswith("was not measured with one and two threads")


def test_split_locks_speed_faults_ignores_threads_under_tables_of_their_own(tmp_path: Path) -> None:
    rows = [row | {"together": False} for row in locked(0.9, 0.6)]
    assert judge(tmp_path, "split-locks-speed-faults", faults=rows).verdict == "not decided"


def test_split_locks_speed_faults_is_undecided_by_times_of_0_ns(tmp_path: Path) -> None:
    rows = [row | {"busy_ns": 0} for row in locked(0.9, 0.6)]
    assert judge(tmp_path, "split-locks-speed-faults", faults=rows).verdict == "not decided"


# --- reads-need-no-fault, reads-get-dearer ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zeropage", "marker", "children", "verdict"),
    [
        (0, 1000, 9, "holds"),
        (2, 1003, 9, "holds"),
        (0, 500, 9, "does not hold"),
        (1000, 1000, 9, "does not hold"),
        (10, 500, 9, "does not hold"),
        (10, 1000, 9, "not decided"),
        (0, 990, 9, "not decided"),
        (0, 1000, 5, "not decided"),
        (0, None, 9, "not decided"),
        (None, 1000, 9, "not decided"),
    ],
)
def test_reads_need_no_fault_by_faults_per_read(
    tmp_path: Path, zeropage: int | None, marker: int | None, children: int, verdict: str
) -> None:
    rows: Rows = []
    if zeropage is not None:
        rows += touched("zeropage", "plain", "first read", 5, minor_faults=zeropage, children=children)
    if marker is not None:
        rows += touched("markers", "async", "first read", 900, minor_faults=marker, children=children)
    found = judge(tmp_path, "reads-need-no-fault", faults=rows)
    assert found.verdict == verdict
    if None in (zeropage, marker):
        assert found.because == "faults of reads after both preparations were not counted"


@pytest.mark.parametrize(("marker_ns", "verdict"), [(2000, "holds"), (1000, "does not hold"), (1250, "not decided")])
def test_reads_get_dearer_by_ratio_to_mapped_zeropages(tmp_path: Path, marker_ns: int, verdict: str) -> None:
    found = judge(tmp_path, "reads-get-dearer", faults=first_reads(marker_ns, 1000))
    assert found.verdict == verdict
    assert found.because.startswith("first read of a marker / of a mapped zeropage, every page of 3.906 MiB: ")


def test_reads_get_dearer_compares_empty_entries_beside_it(tmp_path: Path) -> None:
    rows = first_reads(2000, 1000) + touched("tables", "plain", "first read", 1000)
    found = judge(tmp_path, "reads-get-dearer", faults=rows)
    assert any("first read of a marker / of an empty, unprotected entry: 2 (" in line for line in found.evidence)


@pytest.mark.parametrize("absent", ["markers", "zeropage"])
def test_reads_get_dearer_undecided_without_a_side(tmp_path: Path, absent: str) -> None:
    rows = [row for row in first_reads(2000, 1000) if row["preparation"] != absent]
    found = judge(tmp_path, "reads-get-dearer", faults=rows)
    assert found.verdict == "not decided"
    assert found.because == "first reads of markers and of mapped zeropages were not timed at one size"


@pytest.mark.parametrize("other", [{"threads": 2}, {"stride_kib": 2048}, {"backing": "shmem"}])
def test_reads_get_dearer_ignores_other_threads_strides_and_memory(tmp_path: Path, other: dict[str, Any]) -> None:
    rows = first_reads(2000, 1000) + first_reads(1000, 9000, **other)
    assert judge(tmp_path, "reads-get-dearer", faults=rows).effect == pytest.approx(2, rel=0.01)


# --- zeropage-cow-shootdown, shootdown-after-any-read ----------------------------------------------------------------

AS_SAID = {"filled": 990, "unread": 1, "read": 1, "nothing": 1}


@pytest.mark.parametrize(
    ("counted", "words"),
    [
        ({}, "holds"),
        ({"read": 990}, "depends on reads"),
        ({"filled": 100}, "does not hold"),
        ({"unread": 400}, "does not hold"),
        ({"filled": 100, "unread": 400, "read": 990}, "does not hold"),
        ({"filled": 500}, "not decided"),
        ({"unread": 50}, "not decided"),
        ({"read": 300}, "not decided"),
        ({"nothing": 400}, "not decided"),
        ({"nothing": 400, "filled": 100}, "not decided"),
    ],
)
def test_zeropage_cow_shootdown_by_ipis_per_first_write(tmp_path: Path, counted: dict[str, int], words: str) -> None:
    found = judge(tmp_path, "zeropage-cow-shootdown", faults=interrupts(**(AS_SAID | counted)))
    assert found.words == words
    if words == "not decided":
        assert "on a machine with nothing else to run" in (found.missing or "")


@pytest.mark.parametrize("absent", AS_SAID)
def test_zeropage_cow_shootdown_undecided_without_an_arm(tmp_path: Path, absent: str) -> None:
    names = {"filled": "a filled zeropage", "unread": "a marker that was never read", "read": "a marker that was read"}
    for number, rows in enumerate(
        (
            interrupts(**{name: n for name, n in AS_SAID.items() if name != absent}),
            interrupts(**(AS_SAID | {absent: None})),
        )
    ):
        found = judge(tmp_path / str(number), "zeropage-cow-shootdown", faults=rows)
        assert found.verdict == "not decided"
        assert "interrupts of two threads were not counted: " in found.because
        assert names.get(absent, "nothing, for as long") in found.because


def test_zeropage_cow_shootdown_undecided_with_one_thread(tmp_path: Path) -> None:
    rows = [row | {"threads": 1} for row in interrupts(**AS_SAID)]
    assert judge(tmp_path, "zeropage-cow-shootdown", faults=rows).verdict == "not decided"


AFTER_READS = {"fresh_read": 990, "read": 990, "fresh": 1, "unread": 1}


@pytest.mark.parametrize(
    ("counted", "verdict"),
    [
        ({}, "holds"),
        ({"fresh_read": 100}, "does not hold"),
        ({"read": 100}, "does not hold"),
        ({"fresh": 400}, "does not hold"),
        ({"unread": 400}, "does not hold"),
        ({"fresh_read": 500}, "not decided"),
        ({"read": 500}, "not decided"),
        ({"fresh": 50}, "not decided"),
        ({"unread": 50}, "not decided"),
    ],
)
def test_shootdown_after_any_read_needs_all_four_arms(tmp_path: Path, counted: dict[str, int], verdict: str) -> None:
    found = judge(tmp_path, "shootdown-after-any-read", faults=interrupts(**(AFTER_READS | counted)))
    assert found.verdict == verdict


@pytest.mark.parametrize("absent", AFTER_READS)
def test_shootdown_after_any_read_undecided_without_an_arm(tmp_path: Path, absent: str) -> None:
    rows = interrupts(**{name: n for name, n in AFTER_READS.items() if name != absent})
    found = judge(tmp_path, "shootdown-after-any-read", faults=rows)
    assert found.verdict == "not decided"
    assert found.because == "interrupts of two threads were not counted, after reads and without"


def test_shootdown_undecided_with_too_few_children(tmp_path: Path) -> None:
    rows = interrupts(children=5, **dict.fromkeys(INTERRUPTED, 1) | AS_SAID | AFTER_READS)
    for claim in ("zeropage-cow-shootdown", "shootdown-after-any-read"):
        assert judge(tmp_path / claim, claim, faults=rows).verdict == "not decided"


# --- markers-cost-later-thp ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("without", "under", "children", "verdict"),
    [
        (1, 0.002, 9, "holds"),
        (1, 1, 9, "does not hold"),
        (0.5, 0.5, 9, "does not hold"),
        (1, 0.01, 9, "not decided"),
        (0.99, 0, 9, "not decided"),
        (0.5, 0, 9, "not decided"),
        (1, 0, 5, "not decided"),
        (1, None, 9, "not decided"),
    ],
)
def test_markers_cost_later_thp_by_share_of_huge_writes(
    tmp_path: Path, without: float, under: float | None, children: int, verdict: str
) -> None:
    found = judge(tmp_path, "markers-cost-later-thp", faults=huge_writes(without, under, children))
    assert found.verdict == verdict


def test_markers_cost_later_thp_names_what_is_missing(tmp_path: Path) -> None:
    found = judge(tmp_path / "a", "markers-cost-later-thp", faults=huge_writes(0.5, 0))
    assert (found.missing or "").endswith("where a first write without markers maps a huge page"), (
        "no huge page is free"
    )
    found = judge(tmp_path / "b", "markers-cost-later-thp", faults=huge_writes(1, None))
    assert found.because.endswith("were not measured with THP on, with and without markers")


def test_markers_cost_later_thp_says_when_the_range_is_in_huge_pages_again(tmp_path: Path) -> None:
    def collapsed(block: int, repair: str, repair_s: int, pages: int) -> dict[str, Any]:
        row = {"block": block, "sample": 0, "cold": True, "repair": repair, "size_kib": 16384, "collapse_errno": 22}
        return row | {
            "huge_before_pages": 0,
            "huge_asked_pages": 0,
            "huge_after_pages": pages,
            "repair_ns": repair_s * 10**9,
        }

    rows = [collapsed(n, "khugepaged", 10 + n, 4096) for n in range(9)]
    rows += [collapsed(9, "khugepaged", 60, 512), collapsed(10, "khugepaged_unaware", 30, 0)]
    found = judge(tmp_path, "markers-cost-later-thp", faults=huge_writes(1, 0), collapses=rows)
    assert found.verdict == "holds"
    assert found.evidence[1:] == (
        "collapses: khugepaged: 9 of 10 ranges in huge pages after 14 s (11 s to 17 s)",
        "collapses: khugepaged, process unknown to it: 0 of 1 ranges in huge pages",
    )


# --- table-fill-slower -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fill_ns", "verdict"),
    [(5000, "predicted to hold"), (500, "predicted not to hold"), (1250, "not decided")],
)
def test_table_fill_slower_by_ratio_to_huge_zeropages(tmp_path: Path, fill_ns: int, verdict: str) -> None:
    rows = populated("pte_marker", 0, fill_ns, "anon_thp") + populated("populate_read", 900, 100, "anon_thp")
    found = judge(tmp_path, "table-fill-slower", samples=rows)
    assert found.verdict == verdict
    assert found.because.endswith("over 1 GiB")


def test_table_fill_slower_counts_each_child_at_its_own_size(tmp_path: Path) -> None:
    rows = populated("pte_marker", 0, 5000, "anon_thp") + populated("populate_read", 900, 100, "anon_thp")
    more = [
        row
        | {"size_kib": 4 << 20, "block": row["block"] + 1000}
        | {name: 4 * row[name] for name in ("prepare_ns", "protect_ns")}
        for row in rows
    ]
    found = judge(tmp_path, "table-fill-slower", samples=rows + more)
    assert found.effect == pytest.approx(5, rel=0.02)
    assert found.because.endswith("over 1 GiB to 4 GiB")


def test_table_fill_slower_undecided_without_a_common_size_of_a_gib_or_more(tmp_path: Path) -> None:
    marked, filled = populated("pte_marker", 0, 5000, "anon_thp"), populated("populate_read", 900, 100, "anon_thp")
    apart = [row | {"size_kib": 4 << 20} for row in filled]
    small = [row | {"size_kib": 1 << 18} for row in marked + filled]
    for number, rows in enumerate((marked + apart, small)):
        found = judge(tmp_path / str(number), "table-fill-slower", samples=rows)
        assert found.verdict == "not decided"
        assert found.because.endswith("was not measured at one size of 1 GiB to 10 GiB with THP on")
    assert judge(tmp_path / "one side", "table-fill-slower", samples=marked).verdict == "not decided"
    assert len(marked) == CHILDREN
