# SPDX-License-Identifier: MIT
"""A suite's plan: drawn by seed, every configuration once a round, a cold sample first."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from itertools import groupby
from typing import Any

import pytest

from uffdlab.errors import UffdlabError
from uffdlab.measure.registry import PROBES
from uffdlab.measure.suites import SUITES, Work, plan, probes_of
from uffdlab.probes.covert.channel import REGISTERED
from uffdlab.probes.requirements import peak
from uffdlab.stats import ratio_interval
from uffdlab.vocabulary.channel import NEIGHBOURS, SHARED

suites = pytest.mark.parametrize("suite", SUITES)


@suites
def test_the_same_seed_gives_the_same_plan(suite: str) -> None:
    assert plan(suite, probes_of(suite), 7) == plan(suite, probes_of(suite), 7)


@suites
def test_another_seed_gives_another_order_of_the_same_work(suite: str) -> None:
    plans = (plan(suite, probes_of(suite), seed) for seed in (1, 2))
    one, other = ([(block.probe, _configuration(block.spec)) for block in blocks] for blocks in plans)
    assert one != other
    assert Counter(one) == Counter(other)


def _works(suite: str, probe: str) -> list[Work]:
    return [work for work in SUITES[suite].work if work.probe == probe]


@pytest.mark.parametrize(("suite", "probe"), [(suite, probe) for suite in SUITES for probe in probes_of(suite)])
def test_every_round_visits_every_configuration_once(suite: str, probe: str) -> None:
    works = _works(suite, probe)
    all_specs = [_configuration(asdict(spec)) for work in works for spec in work.specs]
    assert len(set(all_specs)) == len(all_specs)
    visited = [_configuration(block.spec) for block in plan(suite, [probe], 3)]
    orders = set()
    for round_ in range(max(work.rounds for work in works)):
        wanted = [_configuration(asdict(spec)) for work in works if round_ < work.rounds for spec in work.specs]
        this_round, visited = visited[: len(wanted)], visited[len(wanted) :]
        assert set(this_round) == set(wanted)
        orders.add(tuple(this_round))
    assert visited == []
    if len(all_specs) > 1 and max(work.rounds for work in works) > 1:
        assert len(orders) > 1, "not always in the same order"


def _configuration(spec: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(value for name, value in spec.items() if name != "seed")


@pytest.mark.parametrize("suite", [suite for suite in SUITES if "protect" in probes_of(suite)])
def test_every_protect_block_has_one_cold_sample_and_one_or_two_warm_ones(suite: str) -> None:
    assert {block.spec["repeats"] for block in plan(suite, ["protect"], 3)} <= {2, 3}


@suites
def test_there_are_enough_children_for_the_interval_of_a_ratio(suite: str) -> None:
    for work in _works(suite, "protect") or _works(suite, "channel"):
        children = [1.0 + i for i in range(work.rounds)]
        assert ratio_interval(children, children).known


@suites
def test_blocks_are_numbered_in_the_order_they_run(suite: str) -> None:
    blocks = plan(suite, probes_of(suite), 3)
    assert [block.number for block in blocks] == list(range(len(blocks)))


def test_adjoining_specs_run_back_to_back_in_either_order() -> None:
    compared = {"backing": "anon_thp", "design": "pte_marker", "size_bytes": 1 << 30}
    specs = [block.spec for block in plan("full", ["zeropages"], 3)]
    states = [spec["huge_zeropage"] if compared.items() <= spec.items() else "" for spec in specs]
    runs = ["".join(run) for adjoining, run in groupby(states, key=bool) if adjoining for run in [list(run)]]
    assert all(len(run.replace("off", "x").replace("on", "x")) % 2 == 0 for run in runs)
    assert {"onoff", "offon"} <= set(runs)


def test_every_block_has_its_own_seed() -> None:
    seeds = [block.spec["seed"] for block in plan("full", ["protect"], 3)]
    assert len(set(seeds)) == len(seeds)


def test_the_quick_suite_needs_no_huge_page_for_protect() -> None:
    assert peak(block.needs() for block in plan("quick", ["protect"], 3)).hugepages == {}


def test_only_narrows_a_suite_to_the_probes_named() -> None:
    assert {block.probe for block in plan("quick", ["semantics"], 3)} == {"semantics"}


def test_an_unknown_suite_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UffdlabError, match=r"unknown suite 'huge': choose one of quick, full"):
        plan("huge", ["protect"], 3)


def test_an_unknown_probe_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UffdlabError, match=r"unknown probe 'magic': choose from protect, semantics"):
        plan("quick", ["protect", "magic"], 3)


@pytest.mark.parametrize(("suite", "probe"), [(s, p) for s in SUITES for p in PROBES if p not in probes_of(s)])
def test_a_probe_not_in_the_suite_is_refused_with_those_that_are(suite: str, probe: str) -> None:
    with pytest.raises(UffdlabError) as refused:
        plan(suite, [*probes_of(suite), probe], 3)
    assert str(refused.value) == (
        f"the suite {suite} has no probe {probe!r}: choose from {', '.join(probes_of(suite))}"
    )


def test_every_registered_channel_point_has_its_controls() -> None:
    specs = [block.spec for block in plan("channel", ["channel"], 3)]
    for (memory, placement), (slot_ns, lines, _) in REGISTERED.items():
        point = {"placement": placement, "slot_ns": slot_ns, "lines": lines, "neighbour": "none"}
        beside = {(spec["memory"], spec["silent"]) for spec in specs if point.items() <= spec.items()}
        assert (memory, False) in beside
        if memory in SHARED:
            assert (memory, True) in beside
        if memory == "zeropage":
            assert {("private", False), ("libc", False)} <= beside, "a control and a baseline"


def test_every_neighbour_runs_beside_the_sweep_of_the_zeropage() -> None:
    specs = [block.spec for block in plan("channel", ["channel"], 3)]
    sweep = {"memory": "zeropage", "placement": "same", "lines": 8, "silent": False}
    slots = {
        neighbour: {
            spec["slot_ns"] for spec in specs if sweep.items() <= spec.items() and spec["neighbour"] == neighbour
        }
        for neighbour in NEIGHBOURS
    }
    assert len(slots["none"]) >= 5
    assert all(swept == slots["none"] for swept in slots.values())


# --- what rules read -------------------------------------------------------------------------------------------------

FAULTS_READ = [
    {"preparation": preparation, "delivery": delivery, "access": access, "stride_bytes": stride, "threads": threads}
    | {"together": together}
    for stride, threads, together, arms in (
        (4 << 10, 2, False, ("zeropage async write", "zeropage async wait", "markers async read",
                             "markers async write", "fresh plain read",
                             "fresh plain write")),
        (4 << 10, 1, False, ("markers async read", "zeropage plain read", "tables plain read")),
        *((stride, threads, threads > 1, [f"{one} plain {access}" for one in ("tables", "fresh")
           for access in ("read", "write")]) for stride in (4 << 10, 2 << 20) for threads in (1, 2)),
        (2 << 20, 1, False, [f"{one} plain {access}" for one in ("tables_cold", "fresh_cold")
          for access in ("read", "write")]),
    )
    for preparation, delivery, access in map(str.split, arms)
]  # fmt: skip


@pytest.mark.parametrize("wanted", FAULTS_READ, ids=lambda wanted: " ".join(map(str, wanted.values())))
def test_the_full_suite_measures_what_rules_on_faults_read(wanted: dict[str, Any]) -> None:
    specs = [block.spec for block in plan("full", ["faults"], 3) if block.spec["backing"] == "anon"]
    specs += [spec | {"preparation": spec["beside"]} for spec in specs if spec["beside"]]
    assert sum(wanted.items() <= spec.items() for spec in specs) >= 12


@pytest.mark.parametrize(
    ("probe", "wanted"),
    [
        *(("faults", {"backing": "anon_thp", "preparation": one, "access": "write", "stride_bytes": 2 << 20})
          for one in ("fresh", "markers")),
        *(("atomicity", {"interleaving": how, "preparation": one, "backing": "anon"})
          for how in ("racing", "freed") for one in ("one_pass", "two_pass_read", "two_pass_populate")),
        *(("zeropages", {"backing": backing, "design": design, "huge_zeropage": "on"})
          for backing in ("anon", "anon_thp", "shmem") for design in ("preread", "populate_read")),
        *(("protect", {"backing": backing, "design": design, "populated": share, "cluster_pages": 1})
          for backing in ("anon", "anon_thp", "shmem", "hugetlb_2m_private") for share in (0.0, 0.5, 1.0)
          for design in ("preread", "populate_read")),
        *(("protect", {"backing": "anon", "design": design, "populated": 0.05, "cluster_pages": 1024})
          for design in ("unprotected", "pte_marker")),
    ],
)  # fmt: skip
def test_the_full_suite_measures_what_other_rules_read(probe: str, wanted: dict[str, Any]) -> None:
    specs = [block.spec for block in plan("full", [probe], 3)]
    specs += [
        spec | {name: spec["beside"]} for spec in specs for name in ("design", "preparation") if spec.get("beside")
    ]
    assert sum(wanted.items() <= spec.items() for spec in specs) >= 12
