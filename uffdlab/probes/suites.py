# SPDX-License-Identifier: MIT
"""Which blocks a suite runs, and in which order: randomised by seed, rounds interleaved.

A suite visits every configuration once a round, in an order drawn anew, so that a drift of the machine spreads over
all of them instead of falling on one. Each visit is one child process: one cold sample, then warm ones.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from uffdlab.errors import UffdlabError
from uffdlab.probes.backing import BACKINGS, GIB, MIB
from uffdlab.probes.design import DESIGNS
from uffdlab.probes.protect import ProtectSpec
from uffdlab.probes.registry import PROBES
from uffdlab.probes.runner import Block
from uffdlab.probes.semantics import CONTENTS, FEATURE_SETS, SemanticsSpec


@dataclass(frozen=True)
class Suite:
    """How much of the grid a suite covers; ``warm`` samples follow the cold one in each of ``rounds`` visits."""

    name: str
    title: str
    rounds: int
    warm: int
    points: tuple[tuple[str, str, int, float], ...]  # backing, design, size in bytes, populated fraction
    states: tuple[tuple[str, str, str], ...]  # backing, feature set, content


def _grid(backings: Collection[str], sizes: Collection[int]) -> Any:
    return tuple((b, d, s, 0.0) for b in backings for d in DESIGNS for s in sizes)


def _written(backings: Collection[str], sizes: Collection[int], populated: Collection[float]) -> Any:
    return tuple((b, d, s, p) for b in backings for d in _POPULATED_DESIGNS for s in sizes for p in populated)


_ORDINARY = ("anon", "anon_thp", "shmem")
_HUGETLB_2M = ("hugetlb_2m_private", "hugetlb_2m_shared")
_HUGETLB_1G = ("hugetlb_1g_private", "hugetlb_1g_shared")
# Where memory was written before, registering for more events makes no difference to what is protected.
_POPULATED_DESIGNS = ("unprotected", "preread", "populate_read", "pte_marker")
# Nothing is populated by these, so their range may be far larger than memory: tables and markers only.
_SPARSE_DESIGNS = ("unprotected", "pte_marker")


def _sparse(backings: Collection[str], sizes: Collection[int]) -> Any:
    return tuple((b, d, s, 0.0) for b in backings for d in _SPARSE_DESIGNS for s in sizes)


_ALL_STATES = tuple((b, f, c) for b in BACKINGS for f in FEATURE_SETS for c in CONTENTS)

SUITES: dict[str, Suite] = {
    "quick": Suite(
        "quick",
        "under a minute, no host changes: small ranges of every backing, and the states a page goes through",
        rounds=2,
        warm=4,
        points=(
            *_grid(_ORDINARY, [256 * MIB]),
            *((b, d, GIB, 0.0) for b in ("anon", "shmem") for d in ("unprotected", "preread", "pte_marker")),
            *_sparse(_HUGETLB_2M + _HUGETLB_1G, [GIB, 16 * GIB]),
        ),
        states=tuple((b, f, "empty") for b in BACKINGS for f in FEATURE_SETS),
    ),
    "full": Suite(
        "full",
        "the reference campaign: sizes, populated fractions, every backing; wants --allow-host-changes",
        rounds=4,
        warm=4,
        points=(
            *_grid(_ORDINARY, [256 * MIB, GIB]),
            *_written(_ORDINARY, [GIB], [0.5, 1.0]),
            *_grid(("anon", "anon_thp"), [4 * GIB]),
            *_grid(_HUGETLB_2M, [GIB]),
            *_written(_HUGETLB_2M, [GIB], [0.5, 1.0]),
            *_grid(_HUGETLB_1G, [GIB]),
            *_written(_HUGETLB_1G, [GIB], [1.0]),
            *_sparse(("anon", "anon_thp", "shmem"), [16 * GIB, 64 * GIB]),
            *_sparse(_HUGETLB_2M + _HUGETLB_1G, [16 * GIB, 64 * GIB, 256 * GIB]),
        ),
        states=_ALL_STATES,
    ),
}


def plan(suite: str, only: Collection[str], seed: int) -> list[Block]:
    """Return the blocks of a suite in the order they will run.

    ``only`` names the probes wanted. Raises UffdlabError on an unknown suite or probe.
    """
    if suite not in SUITES:
        raise UffdlabError(f"unknown suite {suite!r}: choose one of {', '.join(SUITES)}")
    unknown = [name for name in only if name not in PROBES]
    if unknown:
        raise UffdlabError(f"unknown probe {unknown[0]!r}: choose from {', '.join(PROBES)}")
    rng = random.Random(seed)
    order = list(_visits(SUITES[suite], only, rng))
    return [Block(number, probe, spec) for number, (probe, spec) in enumerate(order)]


def _visits(suite: Suite, only: Collection[str], rng: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    for round_ in range(suite.rounds):
        visits: list[tuple[str, dict[str, Any]]] = []
        if "protect" in only:
            visits += [("protect", _protect(suite, point, rng)) for point in suite.points]
        if "semantics" in only and round_ == 0:  # states are not timed: once is enough
            visits += [("semantics", asdict(SemanticsSpec(*state))) for state in suite.states]
        rng.shuffle(visits)
        yield from visits


def _protect(suite: Suite, point: tuple[str, str, int, float], rng: random.Random) -> dict[str, Any]:
    backing, design, size, populated = point
    seed = rng.randrange(1 << 32)
    return asdict(ProtectSpec(backing, design, size, populated, repeats=1 + suite.warm, seed=seed))
