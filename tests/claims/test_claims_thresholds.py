# SPDX-License-Identifier: MIT
"""Thresholds of rules are the numbers in their text: the verdict flips a tenth beyond and short of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic
import synthetic_atomicity
import synthetic_faults
from synthetic_channel import campaign, point
from synthetic_costs import costs
from synthetic_faults import filled, populated, touched
from test_claims import reported, timed
from test_claims_channels import _both
from test_claims_faults import equal, prealloc, relatives

from uffdlab import claims, datasets, sim
from uffdlab.claims import Evidence, markers, spreading
from uffdlab.summaries.transmissions import LEVEL, judge, transmissions

Rows = list[dict[str, Any]]
Made = Callable[[Path], datasets.Dataset]


def later(**tables: Rows) -> Made:
    return lambda out: synthetic_faults.dataset(out, **tables)


def saved(ratio: float, share: float) -> Made:
    rows = timed(round(1_000_000 * (ratio - 1)), 1_000_000, round((1 << 20) * share))
    return lambda out: synthetic.dataset(out, samples=rows, states=reported(True))


def fault(share: float, of: str) -> Made:
    shares = {"zeropage": 0.0, "marker": 1.0} | {of: share}
    rows = touched("zeropage", "plain", "first read", 5, minor_faults=round(1000 * shares["zeropage"]))
    return later(
        faults=rows + touched("markers", "async", "first read", 9, minor_faults=round(1000 * shares["marker"]))
    )


def interrupted(share: float, of: str) -> Made:
    shares = {"zeropage": 1.0, "marker": 0.0} | {of: share}
    rows = touched("zeropage", "plain", "first write", 5, tlb_ipis=round(1000 * shares["zeropage"]), threads=2)
    more = touched("markers", "async", "first write", 9, tlb_ipis=round(1000 * shares["marker"]), threads=2)
    return later(faults=rows + more)


def slower(ratio: float) -> Made:
    samples = populated("populate_read", 100_000, 100) + populated("preread", round(100_000 * ratio), 100)
    return later(equality=equal(4096, 0), samples=samples)


def fill(ratio: float) -> Made:
    rows = populated("pte_marker", 0, round(100_000 * ratio), "anon_thp")
    return later(samples=rows + populated("populate_read", 90_000, 10_000, "anon_thp"))


def huge_zeropage_off(ratio: float) -> Made:
    off = filled("anon_thp", "pte_marker", 0, "off")
    rows = [row | {"protect_ns": round(row["protect_ns"] * ratio)} for row in off]
    return later(zeropages=filled("anon_thp", "pte_marker", 0, "on") + rows)


def judged(million: float) -> Made:
    raced = [
        row
        for name, lost in (("two_pass_read", 9), ("two_pass_populate", 9), ("one_pass", 0))
        for row in synthetic_atomicity.races("anon", name, round(million * 1e6 / 8), [lost] * 8)
    ]
    return lambda out: synthetic_atomicity.dataset(out, raced)


@pytest.mark.parametrize(
    ("claim", "beyond", "short", "verdicts"),
    [
        ("qemu-could-skip", saved(1.3, 1), saved(1.2, 1), "holds if / does not hold"),
        ("qemu-could-skip", saved(9, 0.53), saved(9, 0.47), "holds if / does not hold"),
        ("patch-equals-populate", slower(1.3), slower(1.2), "holds if / does not hold"),
        ("prealloc-speeds-faults", later(faults=prealloc({2048: 0.77, 4: 0.77})),
         later(faults=prealloc({2048: 0.83, 4: 0.83})), "holds / does not hold"),
        ("reads-need-no-fault", fault(0.009, "zeropage"), fault(0.011, "zeropage"), "holds / does not hold"),
        ("reads-need-no-fault", fault(0.992, "marker"), fault(0.988, "marker"), "holds / holds if"),
        ("zeropage-cow-shootdown", interrupted(0.53, "zeropage"), interrupted(0.47, "zeropage"),
         "holds / does not hold"),
        ("zeropage-cow-shootdown", interrupted(0.047, "marker"), interrupted(0.053, "marker"),
         "holds / does not hold"),
        ("table-fill-slower", fill(1.3), fill(1.2), "holds / does not hold"),
        ("no-huge-zeropage-needed", huge_zeropage_off(1.2), huge_zeropage_off(1.3), "holds / does not hold"),
        ("no-huge-zeropage-needed", huge_zeropage_off(0.83), huge_zeropage_off(0.77), "holds / does not hold"),
        ("forbidden-zeropage", later(zeropages=relatives(0.009, 1)), later(zeropages=relatives(0.011, 1)),
         "holds if / does not hold"),
        ("forbidden-zeropage", later(zeropages=relatives(0, 0.992)), later(zeropages=relatives(0, 0.988)),
         "holds if / does not hold"),
        ("atomicity", judged(3.75), judged(3.6), "holds / not decided"),
    ],
)  # fmt: skip
def test_verdict_flips_just_beyond_each_threshold(
    tmp_path: Path, claim: str, beyond: Made, short: Made, verdicts: str
) -> None:
    found = [claims.verdict(claim, made(tmp_path / str(number))).verdict for number, made in enumerate((beyond, short))]
    assert " / ".join(found) == verdicts


@pytest.mark.parametrize(
    ("claim", "numbers"),
    [
        ("qemu-could-skip", ("1.25", "50%")),
        ("forbidden-zeropage", ("0.01", "0.99")),
        ("zeropage-covert-channel", ("0.01",)),
        ("no-huge-zeropage-needed", ("0.8", "1.25")),
        ("table-fill-slower", ("1.25",)),
        ("zeropage-cow-shootdown", ("0.5", "0.05")),
        ("pmd-marker-wins", ("10 x",)),
        ("prealloc-speeds-faults", ("0.8",)),
        ("reads-need-no-fault", ("0.01", "0.99")),
        ("spread-cost-later", ("1.25",)),
        ("patch-equals-populate", ("1.25",)),
        ("atomicity", ("below 1 per million",)),
    ],
)
def test_rule_text_contains_the_thresholds(claim: str, numbers: tuple[str, ...]) -> None:
    assert all(number in claims.find(claim).rule for number in numbers)


# --- what is predicted -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spreading_ns", "verdict"), [(0.27, "holds if"), (0.23, "does not hold")])
def test_spreading_touch_has_to_be_a_quarter_dearer(spreading_ns: float, verdict: str) -> None:
    # A touch of a PTE marker costs 1; one that spreads a PMD marker makes a table besides.
    known = costs(traps=1.0, tables_pte=spreading_ns)
    sure = replace(known, draws=(known.vector,) * 20, p95_error=0.001)
    evidence = Evidence(datasets.load(datasets.locate("published")))
    found = spreading.decided(evidence, sure, claims.find("spread-cost-later"))
    assert found.verdict == verdict


def proxies(time: float, tables: float) -> Made:
    """Return empty memory of which the lower level takes so many times as long, and so many times the tables."""
    rows = populated("pte_marker", 0, round(100_000 * time))
    rows = [row | {"table_growth_kib": round(1000 * tables)} for row in rows]
    above = populated("unprotected", 0, 100_000, "hugetlb_2m_private")
    return later(samples=rows + [row | {"table_growth_kib": 1000} for row in above])


@pytest.mark.parametrize(
    ("time", "tables", "predicted", "verdict"),
    [
        (10.5, 10.1, 10.5, "holds if"),
        (9.5, 10.1, 10.5, "does not hold"),
        (10.5, 9.9, 10.5, "does not hold"),
        (10.5, 10.1, 9.5, "does not hold"),
        (10.5, 10.0, 10.5, "holds if"),
    ],
)
def test_pmd_marker_needs_a_factor_of_ten_in_time_and_tables(
    tmp_path: Path, time: float, tables: float, predicted: float, verdict: str
) -> None:
    # 256 GiB: so many PTE markers against 512 times fewer PMD markers, each at a price.
    known = costs(markers_pte=predicted / 512, markers_pmd=1.0)
    sure = replace(known, draws=(known.vector,) * 20, p95_error=0.001)
    data = proxies(time, tables)(tmp_path / "d")
    assert markers.decided(Evidence(data), sure, claims.find("pmd-marker-wins"), markers._PMD).verdict == verdict


def test_page_tables_are_counted_at_each_marker_level() -> None:
    """256 GiB of PTE markers need a table for each 2 MiB; of PMD markers one for each GiB; of PUD markers none."""
    counted = {}
    for name in ("pte_marker", "pmd_marker", "pud_marker"):
        memory = sim.Range(sim.DESIGNS[name], 256 << 30)
        memory.protect()
        counted[name] = sim.table_growth_kib(memory.ledger())
    assert counted == {"pte_marker": 4 * (256 * 512 + 256), "pmd_marker": 4 * 256, "pud_marker": 0}


# --- several points asked at once ------------------------------------------------------------------------------------


def test_significance_level_is_divided_by_the_number_of_controls(tmp_path: Path) -> None:
    """A control that is odd among three is not among seventeen, of which one in a hundred is as odd by chance."""
    clear = [0.0] * 9
    points = (_both(clear, "zeropage"), point([0.484] * 9, "shmem"))
    few = campaign(tmp_path / "few", *points)
    p = judge([sample for sample in transmissions(few) if sample.row["memory"] == "shmem"]).p
    assert LEVEL / 17 < p < LEVEL / 3
    odd = claims.verdict("zeropage-covert-channel", few)
    assert odd.verdict == "not decided"
    assert "a control is not null: shmem" in odd.because
    more = [_both(clear, "zeropage", slot_ns=9000 + 100 * n) for n in range(7)]
    many = claims.verdict("zeropage-covert-channel", campaign(tmp_path / "many", *points, *more))
    assert many.verdict == "holds", many.because
    assert "would count below 0.000588" in many.evidence[-1], "0.01 / 17"
