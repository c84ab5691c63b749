# SPDX-License-Identifier: MIT
"""Verdicts on the claims about the zeropage and about populating in user space, from synthetic datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic_faults import CHOICES, POPULATED, choices, dataset, equal, filled, speeds

from uffdlab import claims, datasets
from uffdlab.claims import zeropages

Rows = list[dict[str, Any]]


def judge(tmp_path: Path, id_: str, **tables: Rows) -> claims.Verdict:
    return claims.verdict(id_, dataset(tmp_path / "d", **tables))


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
        (relatives(0, 1), "predicted to hold"),
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
    assert found.verdict == "predicted to hold"
    assert "shmem" not in found.because
    assert found.limits is not None
    assert "not so, or not decided, on shmem" in found.limits
    assert "anonymous, THP on, no huge zeropage" in found.because


def test_forbidden_zeropage_counts_huge_pages_as_filled(tmp_path: Path) -> None:
    rows = relatives(0, 0)
    for row in rows:
        row["hugetlb_growth_kib"] = 65536 if row["design"] == "populate_read" else 0
    assert judge(tmp_path, "forbidden-zeropage", zeropages=rows).verdict == "predicted to hold"


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
    ("rows", "because"),
    [
        ([("x86", "merged"), ("s390", "merged")], "attempts known outside s390: 1, of which 1 merged"),
        ([("x86", "posted"), ("arm64", "merged")], "attempts known outside s390: 2, of which 1 merged"),
        ([("s390", "merged")], "attempts known outside s390: 0, of which 0 merged"),
    ],
)
def test_other_contexts_is_an_answer_by_documented_attempts(
    tmp_path: Path, rows: list[tuple[str, str]], because: str
) -> None:
    found = attempts(tmp_path, *rows)
    assert (found.verdict, found.because) == ("answer", because)


# --- no-huge-zeropage-needed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("off_ns", "reported", "verdict"),
    [
        (100_000, True, "predicted to hold"),
        (200_000, True, "predicted not to hold"),
        (50_000, True, "predicted not to hold"),
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


# --- patch-equals-populate -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("anon", "thp", "words"),
    [
        (4096, 4096, "holds"),
        (4096, 0, "depends on THP"),
        (4096, 4095, "depends on THP"),
        (4095, 4096, "does not hold"),
        (4095, 0, "does not hold"),
    ],
)
def test_patch_equals_populate_by_page_states(tmp_path: Path, anon: int, thp: int, words: str) -> None:
    found = judge(tmp_path, "patch-equals-populate", equality=equal(anon, thp))
    assert found.words == words
    if found.depends_on:
        assert found.condition == "THP is off for the memory"


@pytest.mark.parametrize("absent", ["read loop", "MADV_POPULATE_READ", "anon", "anon_thp"])
def test_patch_equals_populate_undecided_without_a_way_or_memory(tmp_path: Path, absent: str) -> None:
    rows = [row for row in equal(4096, 4096) if absent not in (row["way"], row["backing"])]
    found = judge(tmp_path, "patch-equals-populate", equality=rows)
    assert found.verdict == "not decided"
    assert found.because == "states after populating were not compared page by page, with THP off and on"


# --- userspace-has-choice --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", CHOICES)
def test_userspace_has_choice_depends_where_one_case_loses_a_write(tmp_path: Path, lost: tuple[str, str]) -> None:
    assert judge(tmp_path / "all", "userspace-has-choice", zeropages=choices()).verdict == "holds"
    found = judge(tmp_path / "but one", "userspace-has-choice", zeropages=choices((lost,)))
    assert found.words == "depends on how and where"
    assert found.because == "a write is reported in 5 of 6 cases of populating and protecting 64 MiB"
    assert (found.condition or "").count("or by ") == 4


def test_userspace_has_choice_does_not_hold_where_every_write_is_lost(tmp_path: Path) -> None:
    found = judge(tmp_path, "userspace-has-choice", zeropages=choices(tuple(CHOICES)))
    assert found.verdict == "does not hold"


@pytest.mark.parametrize("absent", CHOICES)
def test_userspace_has_choice_undecided_without_a_case(tmp_path: Path, absent: tuple[str, str]) -> None:
    found = judge(tmp_path, "userspace-has-choice", zeropages=choices(but=absent))
    assert found.verdict == "not decided"
    assert found.because.startswith("whether a write is reported after ")


def test_userspace_has_choice_names_the_only_way(tmp_path: Path) -> None:
    found = judge(tmp_path, "userspace-has-choice", zeropages=choices(tuple(CHOICES[1:])))
    assert found.condition == "the memory is populated by a read loop, THP off"


# --- populate-read-faster --------------------------------------------------------------------------------------------

ONE = ("shmem", 0.5)


@pytest.mark.parametrize(
    ("usual", "one", "words"),
    [
        (2.0, 2.0, "holds"),
        (0.5, 0.5, "does not hold"),
        (2.0, 0.5, "depends on the backing and the share written"),
        (0.5, 2.0, "depends on the backing and the share written"),
        (1.0, 0.5, "not decided"),
        (1.0, 2.0, "not decided"),
        (1.0, 1.0, "not decided"),
        (2.0, 1.0, "not decided"),
        (0.5, 1.0, "not decided"),
    ],
)
def test_populate_read_faster_in_all_some_or_no_cases(tmp_path: Path, usual: float, one: float, words: str) -> None:
    found = judge(tmp_path, "populate-read-faster", samples=speeds({ONE: one}, usual))
    assert found.words == words
    assert found.because.startswith("of 12 cases, over 256 MiB to 1 GiB, the call is faster in ")


def test_populate_read_faster_names_where_and_what_is_between(tmp_path: Path) -> None:
    some = {("anon", 0.0): 2.0, ("anon", 0.5): 2.0, ONE: 0.5}
    found = judge(tmp_path, "populate-read-faster", samples=speeds(some, 1.0))
    assert found.condition == "the memory is anonymous 4 KiB, 0% written; anonymous 4 KiB, 50% written"
    assert "shmem" not in (found.condition or "")
    assert (found.limits or "").startswith("neither is shown on: anonymous 4 KiB, 100% written; ")
    assert (
        "from 0.5 (in each of 12 processes) (shmem, 50% written) to 2 (in each of 12 processes) (ano" in found.because
    )


@pytest.mark.parametrize("absent", POPULATED)
def test_populate_read_faster_undecided_without_a_case(tmp_path: Path, absent: tuple[str, float]) -> None:
    rows = [row for row in speeds({}, 2.0) if (row["backing"], row["populated"]) != absent]
    found = judge(tmp_path, "populate-read-faster", samples=rows)
    assert (found.verdict, found.because) == ("not decided", "timed side by side in 11 of 12 cases")


def test_populate_read_faster_undecided_with_too_few_children_for_twelve_cases(tmp_path: Path) -> None:
    assert judge(tmp_path / "8", "populate-read-faster", samples=speeds({}, 2.0, 8)).verdict == "not decided"
    assert judge(tmp_path / "9", "populate-read-faster", samples=speeds({}, 2.0, 9)).verdict == "holds"
