# SPDX-License-Identifier: MIT
"""Which blocks a suite runs, and in which order: randomised by seed, rounds interleaved.

A suite visits every configuration once a round, in an order drawn anew, so that a drift of the machine spreads over
all of them instead of falling on one. Each visit is one child process: one cold sample, then warm ones.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from uffdlab.errors import UffdlabError, check_word
from uffdlab.measure import scale, sequences, trackers
from uffdlab.measure.registry import PROBES
from uffdlab.measure.runner import Block
from uffdlab.probes.atomicity import PREPARATIONS, AtomicitySpec
from uffdlab.probes.collapse import CollapseSpec
from uffdlab.probes.covert.channel import REGISTERED, ChannelSpec
from uffdlab.probes.covert.ksm import MergingSpec
from uffdlab.probes.covert.message import MessageSpec
from uffdlab.probes.covert.write_timing import RevealingSpec
from uffdlab.probes.equality import BACKINGS_COMPARED, EqualitySpec
from uffdlab.probes.faults import PAGE, FaultsSpec
from uffdlab.probes.occupancy import OccupancySpec
from uffdlab.probes.protect import ProtectSpec
from uffdlab.probes.published import PublishedSpec
from uffdlab.probes.reprotect import EntriesSpec
from uffdlab.probes.resolve import ResolveSpec
from uffdlab.probes.semantics import CONTENTS, SemanticsSpec
from uffdlab.probes.tracking import TrackingSpec
from uffdlab.probes.zeropages import FILLS, ZeropagesSpec
from uffdlab.vocabulary.backings import BACKINGS, GIB, KIB, MIB
from uffdlab.vocabulary.channel import NEIGHBOURS, PLACEMENTS, SHARED
from uffdlab.vocabulary.designs import STOCK
from uffdlab.vocabulary.feature_sets import FEATURE_SETS
from uffdlab.vocabulary.states import INTERPRETER, WORKLOADS


@dataclass(frozen=True)
class Work:
    """One probe's share of a suite: each spec is one child process per round.

    With ``adjoining`` the specs run back to back, in a random order: for a ratio between states that one process cannot
    alternate, such as two host settings.
    """

    probe: str
    specs: tuple[Any, ...]
    rounds: int = 1
    adjoining: bool = False


@dataclass(frozen=True)
class Suite:
    """How much is measured, probe by probe, and the host settings that are in force meanwhile."""

    name: str
    title: str
    work: tuple[Work, ...]
    settings: dict[str, str] = field(default_factory=dict)


def _points(
    backings: Collection[str],
    designs: Collection[str],
    sizes: Collection[int],
    populated: Collection[float] = (0.0,),
    cluster: int = 1,
) -> tuple[ProtectSpec, ...]:
    """Return specs of all combinations, of a cold and a warm sample each."""
    return tuple(
        ProtectSpec(b, d, s, p, cluster, repeats=2, beside=beside)
        for b in backings
        for d, _, beside in (design.partition(" beside ") for design in designs)
        for s in sizes
        for p in populated
    )


_ORDINARY = ("anon", "anon_thp", "shmem")
_HUGETLB_2M = ("hugetlb_2m_private", "hugetlb_2m_shared")
_HUGETLB_1G = ("hugetlb_1g_private", "hugetlb_1g_shared")
# Where memory was written before, registering for more events makes no difference to what is protected.
_POPULATED_DESIGNS = ("unprotected", "preread", "populate_read", "pte_marker")
# The same; the two designs whose ratio a claim needs alternate in one process.
_POPULATE_IN_TURNS = ("unprotected", "preread beside populate_read", "pte_marker")
_FILL_IN_TURNS = ("unprotected", "preread", "pte_marker beside populate_read")
# Nothing is populated by these, so their range may be far larger than memory: tables and markers only.
_SPARSE_DESIGNS = ("unprotected", "pte_marker")
# A child is the unit of repetition (its samples resemble one another), and a ratio's interval needs seven of them.
_ROUNDS = 7
# What a claim rests on: with twelve, the interval of a median leaves the two lowest and the two highest out.
_CLAIM_ROUNDS = 12
# With fifteen, it leaves three on either side out.
_MORE_ROUNDS = 15

_FRACTIONS = (0.05, 0.25, 0.5)


def _faults(size: int, stride: int, *configurations: tuple[str, str, str, str], threads: int = 1) -> tuple[Any, ...]:
    """Return specs from ``(backing, preparation, delivery, accesses)``; several threads run apart and together."""
    return tuple(
        FaultsSpec(backing, preparation, delivery, access, size, stride, threads, together, repeats=2)
        for backing, preparation, delivery, accesses in configurations
        for access in accesses.split()
        for together in _apart_and_together(threads)
    )


def _in_turns(preparation: str, beside: str, *ranges: tuple[int, int, int]) -> tuple[FaultsSpec, ...]:
    """Return specs that alternate two preparations, from ``(size, stride, threads)``."""
    return tuple(
        FaultsSpec("anon", preparation, "plain", access, size, stride, threads, together, repeats=4, beside=beside)
        for size, stride, threads in ranges
        for access in ("read", "write")
        for together in _apart_and_together(threads)
    )


def _apart_and_together(threads: int) -> tuple[bool, ...]:
    return (False, True) if threads > 1 else (False,)


_EVERY_PAGE, _ONE_PER_PMD, _ONE_PER_PUD = (64 * MIB, PAGE), (4 * GIB, 2 * MIB), (64 * GIB, GIB)
_WITH_TABLES = _in_turns(
    "tables", "fresh", *((*at, threads) for at in (_EVERY_PAGE, _ONE_PER_PMD) for threads in (1, 2))
)
# Whether one thread's write interrupts the other depends on when the host lets both run.
_INTERRUPTED = _faults(
    *_EVERY_PAGE, ("anon", "zeropage", "async", "write wait"), ("anon", "markers", "async", "read write"), threads=2
)
_WITH_COLD_TABLES = _in_turns("tables_cold", "fresh_cold", (*_ONE_PER_PMD, 1))
_ONCE_PER_GIB_AND_DISCARDED = (
    *_in_turns("tables", "fresh", (*_ONE_PER_PUD, 1)),
    *_in_turns("discarded_pieces", "discarded_whole", *((*at, 1) for at in (_EVERY_PAGE, _ONE_PER_PMD, _ONE_PER_PUD))),
)
_FAULTS = (
    *_faults(
        *_EVERY_PAGE,
        ("anon", "markers", "async", "read write"),
        ("anon", "zeropage", "plain", "read write"),
        ("anon", "zeropage", "async", "write"),
        ("anon", "written", "async", "write"),
        ("anon_thp", "fresh", "plain", "read write"),
        ("anon_thp", "huge_zeropage", "plain", "read write"),
        ("anon_thp", "huge_zeropage", "async", "write"),
        ("shmem", "fresh", "plain", "read write"),
        ("shmem", "markers", "async", "read write"),
    ),
    *_faults(
        8 * MIB,  # an event takes many times as long as a fault
        PAGE,
        ("anon", "markers", "event", "read write"),
        ("anon", "zeropage", "event", "write"),
        ("anon", "written", "event", "write"),
        ("anon", "missing_wp", "event", "read write"),
        ("anon_thp", "huge_zeropage", "event", "write"),
        ("shmem", "markers", "event", "write"),
    ),
    *_faults(
        *_ONE_PER_PMD,
        ("anon", "markers", "async", "read write"),
        ("anon", "markers", "event", "write"),
        ("anon", "zeropage", "plain", "read write"),
        ("anon", "missing_wp", "event", "read write"),
    ),
    *_faults(
        GIB // 2,  # a write fills 2 MiB here
        2 * MIB,
        ("anon_thp", "fresh", "plain", "read write"),
        ("anon_thp", "markers", "async", "write"),
        ("anon_thp", "huge_zeropage", "plain", "read write"),
        ("anon_thp", "huge_zeropage", "async", "write"),
    ),
    *_faults(
        *_ONE_PER_PUD,
        ("anon", "markers", "async", "read write"),
        ("anon", "markers", "event", "write"),
        ("anon", "zeropage", "plain", "read write"),
        ("anon", "missing_wp", "event", "read write"),
        ("anon_thp", "huge_zeropage", "plain", "read write"),
    ),
    *_faults(
        *_EVERY_PAGE,
        ("anon", "zeropage", "plain", "write"),
        threads=2,
    ),
)
_QUICK_FAULTS = _faults(
    16 * MIB,
    PAGE,
    ("anon", "fresh", "plain", "read"),
    ("anon", "zeropage", "plain", "write"),
    ("anon", "markers", "async", "write"),
)
_ZEROPAGES = (
    *(ZeropagesSpec(b, d, "on", 64 * MIB, repeats=2) for b in _ORDINARY for d in FILLS),
    *(ZeropagesSpec("anon_thp", d, "off", 64 * MIB, repeats=2) for d in FILLS),
    *(ZeropagesSpec(b, d, "on", 64 * MIB, repeats=2) for b in _HUGETLB_2M for d in FILLS),
    *(ZeropagesSpec(b, d, "on", GIB, repeats=2) for b in _HUGETLB_1G for d in ("populate_read", "pte_marker")),
)
# Their ratio matters, and below 1 GiB processes differ by more than it does.
_WITHOUT_HUGE_ZEROPAGE = tuple(
    ZeropagesSpec("anon_thp", "pte_marker", state, GIB, repeats=3) for state in ("on", "off")
)
_RESOLVES = (
    *(
        ResolveSpec(state, 64 * MIB, piece, piece, repeats=2)
        for state in ("marker", "zeropage", "page")
        for piece in (PAGE, 64 * KIB, 2 * MIB, 64 * MIB)
    ),
    *(ResolveSpec(state, GIB, PAGE, 2 * MIB, repeats=2) for state in ("zeropage", "huge_zeropage", "huge_page")),
    *(ResolveSpec(state, GIB, 2 * MIB, 2 * MIB, repeats=2) for state in ("huge_zeropage", "huge_page")),
)
# khugepaged sleeps for 10 s after 16 MiB: it comes by within two sleeps, if it does.
_COLLAPSES = (CollapseSpec("khugepaged"), CollapseSpec("madv_collapse", repeats=2))
_NEVER_COLLAPSED = (CollapseSpec("khugepaged_unaware", patience_s=30),)
# Sizes twice or more: costs are fitted on one and tried on the other.
_ENTRIES = (
    *(EntriesSpec("anon", "empty", True, size, repeats=3) for size in (64 * MIB, 256 * MIB, GIB)),
    *(EntriesSpec("anon", c, False, size, repeats=3) for c in ("read", "written") for size in (64 * MIB, 256 * MIB)),
    *(
        EntriesSpec("anon", c, markers, size, 2 * MIB, repeats=3)
        for c in ("read", "written")
        for markers in (False, True)
        for size in (256 * MIB, GIB)
    ),
    *(EntriesSpec("anon_thp", c, False, s, repeats=3) for c in ("read", "written") for s in (256 * MIB, GIB)),
    *(
        EntriesSpec("hugetlb_2m_private", size_bytes=size, stride_bytes=2 * MIB, repeats=3)
        for size in (16 * GIB, 64 * GIB)
    ),
    *(
        EntriesSpec("hugetlb_1g_private", size_bytes=size, stride_bytes=GIB, repeats=3)
        for size in (64 * GIB, 512 * GIB)
    ),
    *(
        EntriesSpec("hugetlb_2m_private", "written", size_bytes=size, stride_bytes=2 * MIB, repeats=3)
        for size in (256 * MIB, GIB)
    ),
    EntriesSpec("hugetlb_1g_private", "written", size_bytes=GIB, stride_bytes=GIB, repeats=3),
)
_ALL_STATES = tuple(SemanticsSpec(b, f, c) for b in BACKINGS for f in FEATURE_SETS for c in CONTENTS)
# What rules read of them: empty pages, without WP_UNPOPULATED and with it.
_DECIDING_STATES = tuple(
    SemanticsSpec(b, f) for b in ("shmem", *_HUGETLB_2M, *_HUGETLB_1G) for f in ("none", "wp_unpopulated")
)
# One discard, or on a faster machine half of one, falls in between in a trial of one pass: without a loss, twelve
# children of so many trials bound the share below 2 %.
_ONE_PASS_TRIALS, _TWO_PASS_TRIALS = 48, 2
_RACES = (
    AtomicitySpec("anon", "one_pass", repeats=_ONE_PASS_TRIALS),
    *(AtomicitySpec("anon", p, repeats=_TWO_PASS_TRIALS) for p in ("two_pass_read", "two_pass_populate")),
    *(AtomicitySpec("shmem", p, size_bytes=16 * MIB, repeats=_TWO_PASS_TRIALS) for p in PREPARATIONS),
    *(AtomicitySpec(b, p, size_bytes=64 * MIB, repeats=_TWO_PASS_TRIALS) for b in _HUGETLB_2M for p in PREPARATIONS),
)
_IN_ORDER = tuple(
    AtomicitySpec(b, p, "deterministic", size_bytes=MIB if b in _ORDINARY else 16 * MIB)
    for b in ("anon", "shmem", *_HUGETLB_2M)
    for p in ("two_pass_read", "one_pass")
)
_FREED = tuple(AtomicitySpec("anon", p, "freed", size_bytes=2 * MIB, repeats=2) for p in PREPARATIONS)
_BOTH_TRACKERS = ("async_scan", "events")
_TRACKED = (
    *(TrackingSpec("anon", m, GIB, d, repeats=2) for m in _BOTH_TRACKERS for d in (0.0, 0.1)),
    TrackingSpec("shmem", "async_scan", GIB, 0.0, repeats=2),
    *(
        TrackingSpec("anon", m, 256 * MIB, d, p, repeats=2)
        for m in _BOTH_TRACKERS
        for d, p in ((0.01, "uniform"), (0.1, "uniform"), (0.1, "clustered"), (0.5, "uniform"))
    ),
    *(TrackingSpec("anon", m, 256 * MIB, repeats=2) for m in ("events_each", "untracked")),
    *(TrackingSpec("shmem", m, 256 * MIB, repeats=2) for m in (*_BOTH_TRACKERS, "untracked")),
    *(TrackingSpec(b, m, 256 * MIB, populated=True, repeats=2) for b in ("anon", "anon_thp") for m in _BOTH_TRACKERS),
)

# One half of the children chooses a point and the other reports it, with an interval: six of them at least.
_CHANNEL_ROUNDS = 13
_REGISTERED = tuple(
    ChannelSpec(memory, placement, slot_ns=slot_ns, lines=lines, slots=slots, repeats=2)
    for (memory, placement), (slot_ns, lines, slots) in REGISTERED.items()
)
_SWEPT_NS = {
    8: (6_000, 8_000, 10_000, 15_000, 30_000, 100_000),
    128: (27_000, 30_000, 33_000, 36_000, 42_000, 60_000),
}
_CHANNELS = (
    *_REGISTERED,
    # A silent control of each; the other control, private pages instead of the zeropage, is a memory among them.
    *(replace(spec, silent=True, loads=False, repeats=1) for spec in _REGISTERED if spec.memory in SHARED),
)
_SWEPT = tuple(
    replace(spec, slot_ns=slot_ns, loads=False, repeats=1)
    for spec in _REGISTERED
    if spec.memory in ("zeropage", "huge_zeropage")
    for slot_ns in _SWEPT_NS[spec.lines]
    if slot_ns != spec.slot_ns
)
# The sweep of the zeropage on one CPU again, beside each neighbour.
_NOISY = tuple(
    ChannelSpec("zeropage", "same", neighbour=neighbour, slot_ns=slot_ns, lines=8, slots=500, loads=False)
    for neighbour in NEIGHBOURS
    if neighbour != "none"
    for slot_ns in _SWEPT_NS[8]
)

_MESSAGES = (
    *(MessageSpec(m, p, slot_ns=12_000, lines=8, repeats=3) for m in ("zeropage", "markers_read") for p in PLACEMENTS),
    *(MessageSpec("huge_zeropage", p, slot_ns=45_000, lines=128, repeats=3) for p in PLACEMENTS),
    *(MessageSpec("private", p, slot_ns=12_000, lines=8, repeats=3) for p in PLACEMENTS),
    *(MessageSpec("zeropage", p, slot_ns=12_000, lines=8, silent=True, repeats=3) for p in PLACEMENTS),
)
_MERGED = tuple(
    MergingSpec(contents, use_zero_pages, pages, rounds=40, silent=silent)
    for contents, pages in (("agreed", 64), ("zeros", 1))
    for use_zero_pages in (False, True)
    for silent in (False, True)
)

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
                        *_points(_ORDINARY, _POPULATED_DESIGNS, [256 * MIB]),
                        *_points(("anon",), ("unprotected", "preread", "pte_marker"), [GIB]),
                        *_points(("shmem",), _SPARSE_DESIGNS, [GIB]),
                        *_points(_HUGETLB_2M[:1] + _HUGETLB_1G[:1], _SPARSE_DESIGNS, [GIB, 16 * GIB]),
                    ),
                    rounds=_ROUNDS,
                ),
                Work("semantics", tuple(SemanticsSpec(b, f) for b in BACKINGS for f in FEATURE_SETS)),
                Work("faults", _QUICK_FAULTS, rounds=_ROUNDS),
                Work("zeropages", tuple(ZeropagesSpec(b, d, size_bytes=16 * MIB) for b in _ORDINARY for d in FILLS)),
                Work("atomicity", tuple(spec for spec in _IN_ORDER if spec.backing in _ORDINARY)),
                Work("tracking", tuple(TrackingSpec("anon", m, 64 * MIB, repeats=2) for m in ("async_scan", "events"))),
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
                        *_points(_ORDINARY, STOCK, [256 * MIB]),
                        *_points(("anon",), _POPULATE_IN_TURNS, [GIB, 4 * GIB, 10 * GIB]),
                        *_points(("anon_thp",), _FILL_IN_TURNS, [GIB, 4 * GIB, 10 * GIB]),
                        *_points(("shmem",), _POPULATE_IN_TURNS, [GIB]),
                        *_points(("anon",), _POPULATE_IN_TURNS, [GIB], [0.5, 1.0]),
                        *_points(("shmem",), ("unprotected", "preread"), [GIB], [0.5, 1.0]),
                        *_points(("anon_thp", "shmem"), _POPULATE_IN_TURNS, [256 * MIB], [0.5, 1.0]),
                        *_points(("anon",), _POPULATE_IN_TURNS, [256 * MIB], [*_FRACTIONS, 1.0]),
                        *_points(("anon",), _POPULATED_DESIGNS, [256 * MIB], _FRACTIONS, cluster=1024),
                        *_points(_HUGETLB_2M, STOCK, [GIB]),
                        *_points(_HUGETLB_2M, _POPULATE_IN_TURNS, [GIB], [0.5, 1.0]),
                        *_points(_HUGETLB_1G, _POPULATED_DESIGNS, [GIB]),
                        *_points(_HUGETLB_1G, _POPULATED_DESIGNS, [GIB], [1.0]),
                        *_points(_ORDINARY, _SPARSE_DESIGNS, [16 * GIB, 64 * GIB]),
                        # Markers are PTEs with THP on as well: the line of anon goes on for both.
                        *_points(("anon", "shmem"), _SPARSE_DESIGNS, [256 * GIB]),
                        *_points(_HUGETLB_2M + _HUGETLB_1G, _SPARSE_DESIGNS, [16 * GIB, 64 * GIB, 256 * GIB]),
                    ),
                    rounds=_CLAIM_ROUNDS,
                ),
                Work("semantics", _DECIDING_STATES, rounds=_CLAIM_ROUNDS),
                Work("semantics", tuple(spec for spec in _ALL_STATES if spec not in _DECIDING_STATES)),
                Work("faults", (*_FAULTS, *_ONCE_PER_GIB_AND_DISCARDED), rounds=_CLAIM_ROUNDS),
                Work("faults", (*_WITH_TABLES, *_WITH_COLD_TABLES, *_INTERRUPTED), rounds=_MORE_ROUNDS),
                Work("zeropages", _ZEROPAGES, rounds=_CLAIM_ROUNDS),
                Work("zeropages", _WITHOUT_HUGE_ZEROPAGE, rounds=_MORE_ROUNDS, adjoining=True),
                Work("resolve", _RESOLVES, rounds=_CLAIM_ROUNDS),
                Work("collapse", _COLLAPSES, rounds=_ROUNDS),
                Work("collapse", _NEVER_COLLAPSED, rounds=3),
                Work("entries", _ENTRIES, rounds=_CLAIM_ROUNDS),
                Work("equality", tuple(EqualitySpec(b) for b in BACKINGS_COMPARED), rounds=_CLAIM_ROUNDS),
                Work("published", tuple(PublishedSpec(thp=thp) for thp in ("always", "madvise")), rounds=_ROUNDS),
                Work("atomicity", (*_RACES, *_IN_ORDER, *_FREED), rounds=_CLAIM_ROUNDS),
                Work("tracking", _TRACKED, rounds=_ROUNDS),
                Work("occupancy", tuple(OccupancySpec(name, repeats=3) for name in WORKLOADS)),
            ),
        ),
        Suite(
            "mthp",
            "memory in huge pages of 64 KiB instead of 2 MiB (anon_thp) beside small ones; wants --allow-host-changes",
            (
                Work(
                    "protect",
                    (
                        *_points(("anon", "anon_thp"), _POPULATED_DESIGNS, [256 * MIB, GIB]),
                        *_points(("anon", "anon_thp"), _POPULATED_DESIGNS, [256 * MIB], [0.5, 1.0]),
                    ),
                    rounds=_ROUNDS,
                ),
                Work(
                    "faults",
                    _faults(
                        *_EVERY_PAGE,
                        *((b, "fresh", "plain", "read write") for b in ("anon", "anon_thp")),
                        *((b, "unregistered", "plain", "read write") for b in ("anon", "anon_thp")),
                        *((b, "markers", "async", "read write") for b in ("anon", "anon_thp")),
                    ),
                    rounds=_ROUNDS,
                ),
                Work("zeropages", tuple(ZeropagesSpec("anon_thp", d, repeats=2) for d in FILLS), rounds=_ROUNDS),
                Work("equality", (EqualitySpec("anon"), EqualitySpec("anon_thp"))),
            ),
            settings={"mthp_64": "madvise", "mthp_2048": "never"},
        ),
        Suite(
            "channel",
            "the covert channel between two processes through shared zeropages, with controls; wants "
            "--allow-host-changes",
            (
                Work("channel", (*_CHANNELS, *_SWEPT), rounds=_CHANNEL_ROUNDS),
                Work("channel", _NOISY, rounds=_ROUNDS),
                Work("message", _MESSAGES, rounds=_ROUNDS),
                Work("revealing", tuple(RevealingSpec(b, 2048, repeats=3) for b in ("anon", "shmem")), _CHANNEL_ROUNDS),
                Work("merging", _MERGED, rounds=_ROUNDS),
            ),
            settings={"hugetlb_2048": "2"},
        ),
        Suite(
            "sequences",
            "what every step between protecting and writing does, on every kind of memory; wants --allow-host-changes",
            (Work("sequence", tuple(sequences.recorded())),),
        ),
        Suite(
            "trackers",
            "ways to find written pages, side by side; wants --allow-host-changes",
            (
                Work("trackers", trackers.DECIDING_SPECS, rounds=_CLAIM_ROUNDS),
                Work("trackers", trackers.OTHER_SPECS, rounds=_ROUNDS),
            ),
            settings={"hugetlb_2048": "512"},
        ),
        Suite(
            "scale",
            "how first touches and write-protecting scale with pinned threads, by the page tables that these share",
            (Work("scale", scale.measured(), rounds=_ROUNDS),),
        ),
    )
}


def probes_of(suite: str) -> tuple[str, ...]:
    """Return the probes that a suite runs. Raises UffdlabError on an unknown suite."""
    check_word("suite", suite, SUITES)
    return tuple(dict.fromkeys(work.probe for work in SUITES[suite].work))


def plan(suite: str, only: Collection[str], seed: int) -> list[Block]:
    """Return the blocks of a suite in the order they will run.

    ``only`` names the probes wanted. Raises UffdlabError on an unknown suite, and on a probe that the suite does not
    have.
    """
    known = probes_of(suite)
    for name in only:
        if name not in known:
            why = f"the suite {suite} has no probe" if name in PROBES else "unknown probe"
            raise UffdlabError(f"{why} {name[:60]!r}: choose from {', '.join(known)}")
    rng = random.Random(seed)
    order = list(_visits(SUITES[suite], only, rng))
    return [Block(number, probe, spec) for number, (probe, spec) in enumerate(order)]


def _visits(suite: Suite, only: Collection[str], rng: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    works = [work for work in suite.work if work.probe in only]
    for round_ in range(max((work.rounds for work in works), default=0)):
        visits = [unit for work in works if round_ < work.rounds for unit in _units(work, rng)]
        rng.shuffle(visits)
        for unit in visits:
            yield from unit


def _units(work: Work, rng: random.Random) -> list[list[tuple[str, dict[str, Any]]]]:
    """Return the groups of specs that run back to back: single specs, or all of them."""
    visits = [(work.probe, _seeded(spec, rng)) for spec in work.specs]
    if not work.adjoining:
        return [[visit] for visit in visits]
    rng.shuffle(visits)
    return [visits]


def _seeded(spec: Any, rng: random.Random) -> dict[str, Any]:
    """Return the spec as plain values, with a seed of its own where it has one."""
    values = asdict(spec)
    return values | ({"seed": rng.randrange(1 << 32)} if "seed" in values else {})
