# SPDX-License-Identifier: MIT
"""Verdicts on the claims about later faults, the zeropage and equal page states, from synthetic datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic_faults import dataset, filled, populated, same, touched

from uffdlab import claims, datasets
from uffdlab.claims import zeropages

Rows = list[dict[str, Any]]


def judge(tmp_path: Path, id_: str, **tables: Rows) -> claims.Verdict:
    return claims.verdict(id_, dataset(tmp_path / "d", **tables))


# --- prealloc-speeds-faults ------------------------------------------------------------------------------------------


def prealloc(ratio: dict[int, float], children: int = 9, threads: tuple[int, ...] = (1, 2)) -> Rows:
    """Return first touches with and without tables; ``ratio`` by stride in KiB."""
    return [
        row
        for stride, factor in ratio.items()
        for touch in ("first read", "first write")
        for n in threads
        for preparation, ns in (("tables", 1000 * factor), ("fresh", 1000))
        for row in touched(preparation, "plain", touch, ns, stride_kib=stride, threads=n, children=children)
    ]


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        ({2048: 0.5, 4: 0.6}, "holds"),
        ({2048: 0.5, 4: 1.0}, "holds if"),
        ({2048: 0.9, 4: 1.0}, "does not hold"),
        ({2048: 0.8, 4: 1.0}, "not decided"),
        ({2048: 0.5}, "not decided"),
    ],
)
def test_prealloc_speeds_faults_by_ratio_of_first_touches(
    tmp_path: Path, ratio: dict[int, float], verdict: str
) -> None:
    assert judge(tmp_path, "prealloc-speeds-faults", faults=prealloc(ratio)).verdict == verdict


def test_prealloc_speeds_faults_names_the_cases_that_are_faster(tmp_path: Path) -> None:
    found = judge(tmp_path, "prealloc-speeds-faults", faults=prealloc({2048: 0.5, 4: 1.0}))
    assert "first read, one per 2 MiB, 1 thread;" in (found.condition or "")
    assert "every page" not in (found.condition or "")
    assert found.effect == pytest.approx(0.5, rel=0.01)


def test_prealloc_speeds_faults_undecided_with_one_thread_only(tmp_path: Path) -> None:
    found = judge(tmp_path, "prealloc-speeds-faults", faults=prealloc({2048: 0.5, 4: 0.5}, threads=(1,)))
    assert found.verdict == "not decided"
    assert "2 threads" in found.because


def test_prealloc_speeds_faults_undecided_with_too_few_children(tmp_path: Path) -> None:
    found = judge(tmp_path, "prealloc-speeds-faults", faults=prealloc({2048: 0.5, 4: 0.6}, children=6))
    assert found.verdict == "not decided"


def in_turns(rows: Rows) -> Rows:
    """Return the same rows, as if each child had measured both sides in turns, and the slowest were 20 times slower."""
    return [row | {"block": n % 9, "busy_ns": row["busy_ns"] * (1 + 19 * (n % 9) // 8)} for n, row in enumerate(rows)]


def test_paired_children_decide_although_they_differ_widely(tmp_path: Path) -> None:
    rows = in_turns(prealloc({2048: 0.5, 4: 0.6}))
    apart = [row | {"block": n} for n, row in enumerate(rows)]
    assert judge(tmp_path / "in turns", "prealloc-speeds-faults", faults=rows).verdict == "holds"
    assert judge(tmp_path / "apart", "prealloc-speeds-faults", faults=apart).verdict == "not decided"


# --- reads-need-no-fault ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zeropage", "marker", "children", "verdict"),
    [
        (0, 1000, 9, "holds"),
        (2, 1003, 9, "holds"),
        (0, 500, 9, "holds if"),
        (1000, 1000, 9, "does not hold"),
        (0, 1000, 5, "not decided"),
        (0, None, 9, "not decided"),
    ],
)
def test_reads_need_no_fault_by_faults_per_read(
    tmp_path: Path, zeropage: int, marker: int | None, children: int, verdict: str
) -> None:
    rows = touched("zeropage", "plain", "first read", 5, minor_faults=zeropage, children=children)
    if marker is not None:
        rows += touched("markers", "async", "first read", 900, minor_faults=marker, children=children)
    assert judge(tmp_path, "reads-need-no-fault", faults=rows).verdict == verdict


# --- zeropage-cow-shootdown ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zeropage", "marker", "verdict"),
    [
        (990, 1, "holds"),
        (100, 1, "does not hold"),
        (990, 400, "does not hold"),
        (500, 1, "not decided"),
        (990, 50, "not decided"),
        (None, 1, "not decided"),
    ],
)
def test_zeropage_cow_shootdown_by_ipis_per_first_write(
    tmp_path: Path, zeropage: int | None, marker: int, verdict: str
) -> None:
    rows = touched("markers", "async", "first write", 2000, tlb_ipis=marker, threads=2)
    rows += touched("zeropage", "plain", "first write", 9000, tlb_ipis=zeropage, threads=2)
    assert judge(tmp_path, "zeropage-cow-shootdown", faults=rows).verdict == verdict


def test_zeropage_cow_shootdown_undecided_with_one_thread(tmp_path: Path) -> None:
    rows = touched("markers", "async", "first write", 2000) + touched("zeropage", "plain", "first write", 9000)
    assert judge(tmp_path, "zeropage-cow-shootdown", faults=rows).verdict == "not decided"


# --- table-fill-slower -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fill_ns", "verdict"), [(5000, "holds"), (500, "does not hold"), (1250, "not decided")])
def test_table_fill_slower_by_ratio_to_huge_zeropages(tmp_path: Path, fill_ns: int, verdict: str) -> None:
    rows = populated("pte_marker", 0, fill_ns, "anon_thp") + populated("populate_read", 900, 100, "anon_thp")
    assert judge(tmp_path, "table-fill-slower", samples=rows).verdict == verdict


def test_table_fill_slower_names_a_size_below_a_gib(tmp_path: Path) -> None:
    rows = populated("pte_marker", 0, 5000, "anon_thp") + populated("populate_read", 900, 100, "anon_thp")
    found = judge(tmp_path, "table-fill-slower", samples=[row | {"size_kib": 1 << 18} for row in rows])
    assert found.because.endswith("at 256 MiB")


def test_rows_of_different_sizes_are_not_pooled(tmp_path: Path) -> None:
    rows = prealloc({2048: 0.5, 4: 0.6})
    small = [row | {"size_kib": 400, "busy_ns": row["busy_ns"] * 3} for row in rows if row["preparation"] == "tables"]
    found = judge(tmp_path, "prealloc-speeds-faults", faults=rows + small)
    assert found.verdict == "holds"
    assert found.effect == pytest.approx(0.5, rel=0.01)


def test_table_fill_slower_undecided_without_a_common_size(tmp_path: Path) -> None:
    rows = populated("pte_marker", 0, 5000, "anon_thp")
    rows += [row | {"size_kib": 4 << 20} for row in populated("populate_read", 900, 100, "anon_thp")]
    assert judge(tmp_path, "table-fill-slower", samples=rows).verdict == "not decided"


# --- forbidden-zeropage ----------------------------------------------------------------------------------------------


def relatives(markers: float, populate: float, reported: bool = True, of: int = 99, children: int = 9) -> Rows:
    return [
        row
        for backing, huge in zeropages.RELATIVES[:of]
        for design, share in (("pte_marker", markers), ("populate_read", populate))
        for row in filled(backing, design, share, huge, reported=reported, children=children)
    ]


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (relatives(0, 1), "holds if"),
        (relatives(0, 0), "does not hold"),
        (relatives(0.5, 1), "does not hold"),
        (relatives(0, 1, reported=False), "does not hold"),
        ([*relatives(0, 1)[:-1], relatives(0, 1)[0] | {"reported": False}], "does not hold"),
        (relatives(0, 1, of=5), "not decided"),
        (relatives(0, 1, children=5), "not decided"),
    ],
)
def test_forbidden_zeropage_by_shares_filled(tmp_path: Path, rows: Rows, verdict: str) -> None:
    assert judge(tmp_path, "forbidden-zeropage", zeropages=rows).verdict == verdict


def test_forbidden_zeropage_names_only_the_backings_that_support_it(tmp_path: Path) -> None:
    rows = relatives(0, 1)
    for row in rows:
        row["rss_growth_kib"] = 0 if row["backing"] == "shmem" else row["rss_growth_kib"]
    found = judge(tmp_path, "forbidden-zeropage", zeropages=rows)
    assert found.verdict == "holds if"
    assert "shmem" not in found.because
    assert found.limits is not None
    assert "not so, or not decided, on shmem" in found.limits
    assert "anonymous, THP on, no huge zeropage" in found.because


def test_forbidden_zeropage_counts_huge_pages_as_filled(tmp_path: Path) -> None:
    rows = relatives(0, 0)
    for row in rows:
        row["hugetlb_growth_kib"] = 65536 if row["design"] == "populate_read" else 0
    assert judge(tmp_path, "forbidden-zeropage", zeropages=rows).verdict == "holds if"


# --- zeropage-other-contexts -----------------------------------------------------------------------------------------


def attempts(tmp_path: Path, *rows: tuple[str, str]) -> claims.Verdict:
    fields = [
        {"name": name, "type": "string"} for name in ("date", "author", "architecture", "what", "outcome", "source")
    ]
    made = [{"architecture": a, "outcome": o, "what": "a thing", "source": "a mail", "author": "A"} for a, o in rows]
    table = datasets.Table("attempts", fields, made)
    out = tmp_path / "published"
    listed = datasets.write(out, id="published", title="x", tables=[table], provenance={}, kind="published")
    return claims.verdict(
        "zeropage-other-contexts", claims.Evidence(dataset(tmp_path / "d", faults=[]), published=listed)
    )


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([("x86", "merged"), ("s390", "merged")], "holds"),
        ([("x86", "posted"), ("s390", "merged")], "holds if"),
        ([("s390", "merged")], "does not hold"),
    ],
)
def test_other_contexts_by_outcome_of_documented_attempts(
    tmp_path: Path, rows: list[tuple[str, str]], verdict: str
) -> None:
    assert attempts(tmp_path, *rows).verdict == verdict


# --- no-huge-zeropage-needed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("off_ns", "reported", "verdict"),
    [
        (100_000, True, "holds"),
        (200_000, True, "does not hold"),
        (50_000, True, "does not hold"),
        (125_000, True, "not decided"),
        (100_000, False, "does not hold"),
        (None, True, "not decided"),
    ],
)
def test_no_huge_zeropage_needed_by_ratio_of_protect_times(
    tmp_path: Path, off_ns: int | None, reported: bool, verdict: str
) -> None:
    rows = filled("anon_thp", "pte_marker", 0, "on")
    if off_ns:
        off = filled("anon_thp", "pte_marker", 0, "off", reported=reported)
        rows += [row | {"protect_ns": off_ns + 100 * i} for i, row in enumerate(off)]
    assert judge(tmp_path, "no-huge-zeropage-needed", zeropages=rows).verdict == verdict


# --- userspace-has-choice, patch-equals-populate ---------------------------------------------------------------------


def equal(anon: int, thp: int) -> Rows:
    ways = ("markers, read", "read loop", "MADV_POPULATE_READ")
    return [same(b, way, 4096 if way == ways[0] else n) for b, n in (("anon", anon), ("anon_thp", thp)) for way in ways]


@pytest.mark.parametrize(
    ("anon", "thp", "verdict"),
    [(4096, 4096, "holds"), (4096, 0, "holds if"), (4095, 4096, "does not hold")],
)
def test_userspace_has_choice_by_page_states(tmp_path: Path, anon: int, thp: int, verdict: str) -> None:
    samples = populated("populate_read", 1000, 100) + populated("preread", 2000, 100)
    found = judge(tmp_path, "userspace-has-choice", equality=equal(anon, thp), samples=samples)
    assert found.verdict == verdict
    assert "2 (" in found.because


def test_userspace_has_choice_undecided_without_times(tmp_path: Path) -> None:
    assert judge(tmp_path, "userspace-has-choice", equality=equal(4096, 4096)).verdict == "not decided"


def test_userspace_has_choice_undecided_with_states_of_one_way_only(tmp_path: Path) -> None:
    rows = [row for row in equal(4096, 4096) if row["way"] != "read loop"]
    assert judge(tmp_path, "userspace-has-choice", equality=rows).verdict == "not decided"


@pytest.mark.parametrize(
    ("pages", "loop_ns", "verdict"),
    [
        (4096, 2000, "holds if"),
        (4096, 1000, "does not hold"),
        (4095, 2000, "does not hold"),
        (4096, 1253, "not decided"),
        (4096, None, "not decided"),
    ],
)
def test_patch_equals_populate_by_page_states_and_ratio(
    tmp_path: Path, pages: int, loop_ns: int | None, verdict: str
) -> None:
    samples = populated("populate_read", 1000, 100) + (populated("preread", loop_ns, 100) if loop_ns else [])
    assert judge(tmp_path, "patch-equals-populate", equality=equal(pages, 0), samples=samples).verdict == verdict
