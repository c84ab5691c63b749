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

from uffdlab.backing import BACKINGS, GIB, MIB
from uffdlab.design import DESIGNS
from uffdlab.errors import UffdlabError
from uffdlab.probes.occupancy import INTERPRETER, OccupancySpec
from uffdlab.probes.occupancy import NAMES as OCCUPIED
from uffdlab.probes.protect import ProtectSpec
from uffdlab.probes.registry import PROBES
from uffdlab.probes.runner import Block
from uffdlab.probes.semantics import CONTENTS, FEATURE_SETS, SemanticsSpec


@dataclass(frozen=True)
class Work:
    """What a suite asks of one probe: each spec is one child process a round, in each of ``rounds`` rounds."""

    probe: str
    specs: tuple[Any, ...]
    rounds: int = 1


@dataclass(frozen=True)
class Suite:
    """How much is measured, probe by probe."""

    name: str
    title: str
    work: tuple[Work, ...]


def _points(
    backings: Collection[str], designs: Collection[str], sizes: Collection[int], populated: Collection[float], warm: int
) -> tuple[ProtectSpec, ...]:
    return tuple(
        ProtectSpec(b, d, s, p, repeats=1 + warm) for b in backings for d in designs for s in sizes for p in populated
    )


_ORDINARY = ("anon", "anon_thp", "shmem")
_HUGETLB_2M = ("hugetlb_2m_private", "hugetlb_2m_shared")
_HUGETLB_1G = ("hugetlb_1g_private", "hugetlb_1g_shared")
# Where memory was written before, registering for more events makes no difference to what is protected.
_POPULATED_DESIGNS = ("unprotected", "preread", "populate_read", "pte_marker")
# Nothing is populated by these, so their range may be far larger than memory: tables and markers only.
_SPARSE_DESIGNS = ("unprotected", "pte_marker")
# A child is the unit of repetition (its samples resemble one another), and a ratio's interval needs seven of them.
_ROUNDS = 7


_EMPTY = (0.0,)
_ALL_STATES = tuple(SemanticsSpec(b, f, c) for b in BACKINGS for f in FEATURE_SETS for c in CONTENTS)

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            "quick",
            "under a minute, no host changes: small ranges of every backing, and the states a page goes through",
            (
                Work(
                    "protect",
                    (
                        *_points(_ORDINARY, DESIGNS, [256 * MIB], _EMPTY, warm=1),
                        *_points(("anon", "shmem"), ("unprotected", "preread", "pte_marker"), [GIB], _EMPTY, warm=1),
                        *_points(_HUGETLB_2M + _HUGETLB_1G, _SPARSE_DESIGNS, [GIB, 16 * GIB], _EMPTY, warm=1),
                    ),
                    rounds=_ROUNDS,
                ),
                Work("semantics", tuple(SemanticsSpec(b, f) for b in BACKINGS for f in FEATURE_SETS)),
                Work("occupancy", (OccupancySpec("anon_uniform", 256 * MIB), OccupancySpec(INTERPRETER))),
            ),
        ),
        Suite(
            "full",
            "the reference campaign: sizes, populated fractions, every backing; wants --allow-host-changes",
            (
                Work(
                    "protect",
                    (
                        *_points(_ORDINARY, DESIGNS, [256 * MIB, GIB], _EMPTY, warm=2),
                        *_points(_ORDINARY, _POPULATED_DESIGNS, [GIB], [0.5, 1.0], warm=2),
                        *_points(("anon", "anon_thp"), _POPULATED_DESIGNS, [4 * GIB, 10 * GIB], _EMPTY, warm=2),
                        *_points(_HUGETLB_2M, DESIGNS, [GIB], _EMPTY, warm=2),
                        *_points(_HUGETLB_2M, _POPULATED_DESIGNS, [GIB], [0.5, 1.0], warm=2),
                        *_points(_HUGETLB_1G, DESIGNS, [GIB], _EMPTY, warm=2),
                        *_points(_HUGETLB_1G, _POPULATED_DESIGNS, [GIB], [1.0], warm=2),
                        *_points(("anon", "anon_thp", "shmem"), _SPARSE_DESIGNS, [16 * GIB, 64 * GIB], _EMPTY, warm=2),
                        *_points(
                            _HUGETLB_2M + _HUGETLB_1G, _SPARSE_DESIGNS, [16 * GIB, 64 * GIB, 256 * GIB], _EMPTY, warm=2
                        ),
                    ),
                    rounds=_ROUNDS,
                ),
                Work("semantics", _ALL_STATES),
                Work("occupancy", tuple(OccupancySpec(name, repeats=3) for name in OCCUPIED)),
            ),
        ),
    )
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
    work = [one for one in suite.work if one.probe in only]
    for round_ in range(max((one.rounds for one in work), default=0)):
        visits = [(one.probe, _seeded(spec, rng)) for one in work if round_ < one.rounds for spec in one.specs]
        rng.shuffle(visits)
        yield from visits


def _seeded(spec: Any, rng: random.Random) -> dict[str, Any]:
    """Return the spec as plain values, with a seed of its own where it has one."""
    values = asdict(spec)
    return values | ({"seed": rng.randrange(1 << 32)} if "seed" in values else {})
