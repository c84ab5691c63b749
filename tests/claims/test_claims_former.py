# SPDX-License-Identifier: MIT
"""What rules that were replaced say of synthetic datasets, in the words they had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic_atomicity
import synthetic_faults
from synthetic import HUGETLB, state
from synthetic import dataset as synthetic_dataset
from synthetic_channel import campaign, point
from synthetic_costs import EVENT, SURE, costs
from synthetic_faults import equal, filled, huge_writes, levels, locked, populated, sparse, speeds, touched
from test_claims import reported, timed
from test_claims_channels import CLEAR, NOISE, _both

from uffdlab import claims, datasets, sim
from uffdlab.claims import Evidence, former

Rows = list[dict[str, Any]]


def says(rule: Callable[..., str], out: Path, *, priced: sim.Costs | None = None, **tables: Rows) -> str:
    """Return what a former rule says of these tables; ``priced`` stands in for costs of a dataset."""
    data = synthetic_faults.dataset(out, **(tables or {"faults": []}))
    evidence = Evidence(data, costs=data if priced else None)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sim, "costs_of", lambda _: priced)
        return rule(evidence, claims.CLAIMS[0])


def certain(**some: float) -> sim.Costs:
    known = costs(**some)
    return replace(known, draws=(known.vector,) * 20, p95_error=0.001)


def test_every_former_rule_is_tested_here() -> None:
    text = Path(__file__).read_text("utf-8")
    rules = {rule.__name__ for claim in claims.CLAIMS for rule in claim.former.values()}
    assert [name for name in sorted(rules) if f"former.{name}" not in text] == []


def test_every_former_rule_is_undecided_without_data(tmp_path: Path) -> None:
    evidence = Evidence(synthetic_faults.dataset(tmp_path / "d", faults=[]))
    for claim in claims.CLAIMS:
        for rule in claim.former.values():
            assert rule(evidence, claim).startswith("not decided"), rule.__name__


@pytest.mark.parametrize(("ns", "word"), [(5000, "holds"), (500, "does not hold"), (1250, "not decided")])
def test_former_table_fill_slower(tmp_path: Path, ns: int, word: str) -> None:
    rows = populated("pte_marker", 0, ns, "anon_thp") + populated("populate_read", 900, 100, "anon_thp")
    assert says(former.table_fill_slower, tmp_path / "d", samples=rows).startswith(f"{word} (")


@pytest.mark.parametrize(("under", "word"), [(0.0, "holds (0.00195"), (0.5, "does not hold (0.501")])
def test_former_markers_cost_later_thp_counts_small_pages(tmp_path: Path, under: float, word: str) -> None:
    assert says(former.markers_cost_later_thp, tmp_path / "d", faults=huge_writes(1.0, under)).startswith(word)


def test_former_rules_that_took_the_largest_size(tmp_path: Path) -> None:
    large = 64 << 20
    rows = sparse(1, 1) + sparse(30, 30, size_kib=large)
    assert says(former.always_on_dearer, tmp_path / "s", samples=rows).startswith("holds (protect with markers")
    rows = speeds({}, 0.5) + speeds({}, 2.0, size_kib=large)
    assert says(former.populate_read_faster, tmp_path / "p", samples=rows) == "holds"
    rows = timed(9_000_000, 1_000_000, 1 << 20)
    rows += [row | {"size_kib": large, "prepare_ns": 1} for row in rows]
    data = synthetic_dataset(tmp_path / "q", samples=rows, states=reported(True))
    assert former.qemu_could_skip(Evidence(data), claims.CLAIMS[0]) == "does not hold"


@pytest.mark.parametrize(
    ("zeropage", "marker", "word"),
    [(990, 1, "holds"), (100, 1, "does not hold"), (990, 400, "does not hold"), (500, 1, "not decided")],
)
def test_former_zeropage_cow_shootdown(tmp_path: Path, zeropage: int, marker: int, word: str) -> None:
    rows = touched("zeropage", "plain", "first write", 9000, tlb_ipis=zeropage, threads=2)
    rows += touched("markers", "async", "first write", 2000, tlb_ipis=marker, threads=2)
    assert says(former.zeropage_cow_shootdown, tmp_path / "d", faults=rows).startswith(f"{word} (zeropage ")


@pytest.mark.parametrize(
    ("proxy", "predicted", "word"),
    [(20, 20, "holds if"), (5, 20, "does not hold"), (20, 5, "does not hold"), (10.000004, 20, "not decided")],
)
def test_former_pmd_and_pud_marker_wins(tmp_path: Path, proxy: float, predicted: float, word: str) -> None:
    pmd = certain(markers_pte=predicted / 512, markers_pmd=1.0)
    found = says(former.pmd_marker_wins, tmp_path / "pmd", priced=pmd, samples=levels(proxy, None, None))
    assert found.startswith(f"{word} (")
    pud = certain(markers_pmd=predicted / 512, markers_pud=1.0)
    found = says(former.pud_marker_wins, tmp_path / "pud", priced=pud, samples=levels(None, None, proxy))
    assert found.startswith(f"{word} (")


@pytest.mark.parametrize(
    ("one", "two", "found"),
    [
        (0.5, 0.6, "holds (below 0.8 in 8 of 8 cases)"),
        (0.5, 1.0, "holds if (below 0.8 in 4 of 8 cases)"),
        (0.9, 1.0, "does not hold (below 0.8 in 0 of 8 cases)"),
        (0.799999, 1.0, "not decided (below 0.8 in 0 of 8 cases)"),
    ],
)
def test_former_prealloc_speeds_faults(tmp_path: Path, one: float, two: float, found: str) -> None:
    rows = [row | {"together": False} for row in locked(one, two)]
    assert says(former.prealloc_speeds_faults, tmp_path / "d", faults=rows) == found


@pytest.mark.parametrize(
    ("some", "one_case", "three_cases"),
    [
        (EVENT | SURE | {"markers_pte": 20.0}, "holds if (", "holds if (dearer in 3 of 3 cases)"),
        (EVENT | SURE | {"markers_pte": 20.0, "markers_pmd": 50_000.0}, "holds (", "holds (dearer in 3 of 3 cases)"),
        (EVENT | {"markers_pte": 0.1}, "does not hold (", "does not hold"),
        (EVENT | SURE | {"markers_pte": 1.0}, "does not hold (", "holds if (dearer in 2 of 3 cases)"),
    ],
)
def test_former_spread_cost_later(tmp_path: Path, some: dict[str, float], one_case: str, three_cases: str) -> None:
    priced = certain(**some)
    assert says(former.spread_cost_later, tmp_path / "a", priced=priced).startswith(one_case)
    assert says(former.spread_cost_in_three_cases, tmp_path / "b", priced=priced) == three_cases


@pytest.mark.parametrize(
    ("anon", "thp", "word"), [(4096, 4096, "holds"), (4096, 0, "holds if"), (4095, 4096, "does not hold")]
)
def test_former_userspace_has_choice(tmp_path: Path, anon: int, thp: int, word: str) -> None:
    assert says(former.userspace_has_choice, tmp_path / "d", equality=equal(anon, thp)) == word


@pytest.mark.parametrize(
    ("pages", "loop_ns", "word"),
    [
        (4096, 2000, "holds if ("),
        (4096, 1000, "does not hold ("),
        (4095, 2000, "does not hold"),
        (4096, 1253, "not dec"),
    ],
)
def test_former_patch_equals_populate(tmp_path: Path, pages: int, loop_ns: int, word: str) -> None:
    samples = populated("populate_read", 1000, 100) + populated("preread", loop_ns, 100)
    found = says(former.patch_equals_populate, tmp_path / "d", equality=equal(pages, 0), samples=samples)
    assert found.startswith(word)


LOSING, NONE = [3000] * 7, [0] * 7


@pytest.mark.parametrize(
    ("read", "populate", "one", "found"),
    [
        (LOSING, LOSING, NONE, "holds (one pass: 0 of 4,200,000)"),
        (LOSING, NONE, NONE, "holds if (one pass: 0 of 4,200,000)"),
        (NONE, NONE, NONE, "does not hold"),
        (LOSING, LOSING, LOSING, "does not hold"),
        (LOSING, LOSING, [], "not decided"),
        (LOSING, LOSING, [0] * 6 + [9], "not decided"),
    ],
)
def test_former_atomicity(tmp_path: Path, read: list[int], populate: list[int], one: list[int], found: str) -> None:
    lost = {"two_pass_read": read, "two_pass_populate": populate, "one_pass": one}
    rows = [row for name, each in lost.items() for row in synthetic_atomicity.races("anon", name, 600_000, each)]
    evidence = Evidence(synthetic_atomicity.dataset(tmp_path / "d", rows))
    assert former.atomicity(evidence, claims.find("atomicity")) == found


@pytest.mark.parametrize(
    ("ns", "reported", "word"),
    [
        (100_000, True, "holds ("),
        (200_000, True, "does not hold ("),
        (125_000, True, "not decided ("),
        (100_000, False, "does not hold"),
    ],
)
def test_former_no_huge_zeropage_needed(tmp_path: Path, ns: int, reported: bool, word: str) -> None:
    off = [row | {"protect_ns": ns + 100 * i}
           for i, row in enumerate(filled("anon_thp", "pte_marker", 0, "off", reported=reported))]  # fmt: skip
    rows = filled("anon_thp", "pte_marker", 0, "on") + off
    assert says(former.no_huge_zeropage_needed, tmp_path / "d", zeropages=rows).startswith(word)


def heard(out: Path, *points: Rows) -> tuple[str, str, str, str]:
    """Return what the rules on the channel say: each former one, and the one in force."""
    data: datasets.Dataset = campaign(out, *points)
    first, second = claims.find("zeropage-covert-channel"), claims.find("markers-close-channel")
    return (
        former.covert_channel(Evidence(data), first),
        claims.verdict(first.id, data).words,
        former.markers_close(Evidence(data), second),
        claims.verdict(second.id, data).words,
    )


def test_former_channel_rules_do_not_ask_what_a_control_could_notice(tmp_path: Path) -> None:
    memories = ("zeropage", "markers_read", "markers_unread")
    sure = heard(tmp_path / "sure", *(_both(CLEAR, memory) for memory in memories))
    assert sure == ("holds", "holds", "does not hold", "does not hold")
    weak = [point(CLEAR, memory) + point(NOISE, memory, silent=True) for memory in memories]
    unsure = heard(tmp_path / "unsure", point([0.5], "private", sample=0), *weak)
    assert unsure == ("holds", "not decided", "does not hold", "not decided")


def test_former_channel_rules_do_not_see_inverted_bits(tmp_path: Path) -> None:
    memories = ("zeropage", "markers_read", "markers_unread")
    inverted = [1 - share for share in CLEAR]
    evidence = Evidence(campaign(tmp_path / "d", *(_both(inverted, memory) for memory in memories)))
    first, second = claims.find("zeropage-covert-channel"), claims.find("markers-close-channel")
    assert former.covert_channel_one_sided(evidence, first) == "not decided"
    assert former.markers_close_one_sided(evidence, second) == "not decided"
    assert claims.verdict(first.id, evidence).words == "holds"
    assert claims.verdict(second.id, evidence).words == "does not hold"


@pytest.mark.parametrize(
    ("zeropage", "marker", "word"), [(0, 1000, "holds"), (0, 500, "holds if"), (1000, 1000, "does not hold")]
)
def test_former_reads_need_no_fault(tmp_path: Path, zeropage: int, marker: int, word: str) -> None:
    rows = touched("zeropage", "plain", "first read", 5, minor_faults=zeropage)
    rows += touched("markers", "async", "first read", 900, minor_faults=marker)
    assert says(former.reads_need_no_fault, tmp_path / "d", faults=rows) == word


@pytest.mark.parametrize(
    ("gaining", "measured", "word"),
    [(4, 4, "holds"), (1, 1, "holds if"), (0, 4, "does not hold"), (0, 1, former.NOT_MEASURED)],
)
def test_former_hugetlb_needs_feature(tmp_path: Path, gaining: int, measured: int, word: str) -> None:
    rows = [
        state(backing, features, features != "none" or n >= gaining)
        for n, backing in enumerate(HUGETLB[:measured])
        for features in ("none", "wp_unpopulated")
    ]
    claim = claims.find("hugetlb-needs-feature")
    assert former.hugetlb_needs_feature(Evidence(synthetic_dataset(tmp_path / "d", (), rows)), claim) == word


def test_former_channel_rules_want_controls_that_carry_nothing(tmp_path: Path) -> None:
    more = {"slots": 1500}
    memories = ("zeropage", "markers_read", "markers_unread")
    sent = [point(CLEAR, memory, **more) + point(NOISE, memory, silent=True, **more) for memory in memories]
    leaky = [0.475] * 9  # a fifth of a percent of each bit, in 108,000 bits
    evidence = Evidence(campaign(tmp_path / "d", *sent, point(leaky, "private", **more)))
    first, second = claims.find("zeropage-covert-channel"), claims.find("markers-close-channel")
    assert former.covert_channel_null(evidence, first) == "not decided"
    assert former.markers_close_null(evidence, second) == "not decided"
    assert claims.verdict(first.id, evidence).words == "holds"
    assert claims.verdict(second.id, evidence).words == "does not hold"
