# SPDX-License-Identifier: MIT
"""Probe *revealing*: what the latency of a single write reveals about the page table entry.

One sample is one fresh mapping, registered for write-protection with WP_ASYNC, so that the kernel resolves every fault
itself. Its pages are assigned the states by seed, in equal shares and random order: neighbours differ in the entry
only. Then each page is written once, in another random order, and each write is timed on its own.

PTE tables stand everywhere before anything else is done, so ``empty`` is an empty entry and never a missing table. The
kernel is asked for the state of every page before the writes; a page in another state ends the block. Where there is no
PAGEMAP_SCAN, that is not checked.

Shmem has no zeropage: a read gives it a page of its own. Its states are the others, and ``private`` is a page of the
file that was written before.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uffdlab.errors import UffdlabError
from uffdlab.host import uapi
from uffdlab.probes.affinity import on_one_cpu
from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, COLD, Field, count, integer, one_of
from uffdlab.probes.spec import Spec, repeated, seed_of, seeded, within, word
from uffdlab.probes.userfault import READ, WRITE, KernelRefused, Range, Userfault, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, KIB, MIB

FEATURES = ("WP_UNPOPULATED", "WP_ASYNC")
LEAST_OF_EACH = 10  # pages: fewer have no deciles
MOST_PAGES = 1 << 18


@dataclass(frozen=True)
class State:
    """An entry: how it is made, and how the kernel shows it."""

    touched: int | None  # READ, WRITE or not at all
    protected: bool
    backings: tuple[str, ...] = ("anon", "shmem")

    @property
    def shown(self) -> tuple[bool, bool, bool]:
        """Return whether its page is present, write-protected (uffd-wp) and the zeropage."""
        return self.touched is not None, self.protected, self.touched == READ


STATES: dict[str, State] = {
    "empty": State(None, False),
    "marker": State(None, True),
    "zeropage": State(READ, False, ("anon",)),
    "protected zeropage": State(READ, True, ("anon",)),
    "private": State(WRITE, False),
    "protected private": State(WRITE, True),
}
BACKINGS_REVEALED = ("anon", "shmem")


def states_of(backing: str) -> tuple[str, ...]:
    """Return the states a page of the backing can be in."""
    return tuple(name for name, state in STATES.items() if backing in state.backings)


@dataclass(frozen=True)
class RevealingSpec(Spec):
    """One configuration: a backing, and how many pages of 4 KiB the states share in each sample."""

    backing: str = word("anon", BACKINGS_REVEALED)
    pages: int = within(4096, 1, MOST_PAGES)
    repeats: int = repeated()
    seed: int = seeded()

    def check(self) -> None:
        """Refuse what the fields cannot be together."""
        states = len(states_of(self.backing))
        if self.pages < LEAST_OF_EACH * states:
            raise UffdlabError(
                f"pages is {self.pages}: {states} states of {self.backing} share {LEAST_OF_EACH * states} to "
                f"{MOST_PAGES} pages"
            )

    def needs(self) -> Needs:
        """Return what a sample holds in the end: every page, and the tables."""
        page_kib = BACKINGS[self.backing].page_kib
        return Needs(memory_kib=self.pages * page_kib + (self.pages * page_kib * KIB // (2 * MIB) + 1) * 4)


FIELDS: list[Field] = [
    BLOCK,
    integer("sample", None, "number of the sample within its block, from 0: one mapping, every page written once"),
    COLD,
    one_of("backing", BACKINGS_REVEALED, "kind of memory"),
    one_of("state", STATES, "what stood in the page table before the write"),
    count("pages", "pages in that state"),
    integer("median_ns", "ns", "median time of their writes, reading the clock included"),
    integer("low_ns", "ns", "first decile of their writes: a tenth took no longer"),
    integer("high_ns", "ns", "ninth decile of their writes: a tenth took at least as long"),
]
WRITE_FIELDS: list[Field] = [
    BLOCK,
    integer("sample", None, "number of the sample within its block"),
    one_of("state", STATES, "what stood in the page table before the write"),
    integer("ns", "ns", "what a write took, reading the clock included"),
    count("writes", "how many took exactly that"),
]


def run(spec: RevealingSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield, for each sample and state, its rows of ``reveal_writes`` and then its row of ``reveals``."""
    for index in range(spec.repeats):
        took = _sample(spec, random.Random(seed_of(spec, index)))
        for state, ns in took.items():
            for value, writes in sorted(Counter(ns).items()):
                yield "reveal_writes", {"sample": index, "state": state, "ns": value, "writes": writes}
            key = {"sample": index, "cold": index == 0, "backing": spec.backing, "state": state}
            yield "reveals", key | _summed(ns)


def _summed(ns: Sequence[int]) -> dict[str, int]:
    ranked = sorted(ns)
    low, middle, high = (ranked[(len(ranked) - 1) * tenths // 10] for tenths in (1, 5, 9))
    return {"pages": len(ranked), "median_ns": middle, "low_ns": low, "high_ns": high}


def deal(spec: RevealingSpec, rng: random.Random) -> list[str]:
    """Return the state of every page: equal shares, or one page more, in random order."""
    names = states_of(spec.backing)
    dealt = [names[page % len(names)] for page in range(spec.pages)]
    rng.shuffle(dealt)
    return dealt


def _sample(spec: RevealingSpec, rng: random.Random) -> dict[str, list[int]]:
    """Return the time of each write (ns) by the state it found."""
    backing, dealt = BACKINGS[spec.backing], deal(spec, rng)
    order = list(range(spec.pages))
    rng.shuffle(order)
    with mapped(backing, spec.pages * backing.page_bytes) as memory, opened(FEATURES) as uffd, on_one_cpu():
        prepare(memory, uffd, dealt)
        check_states(memory, dealt)
        ns = memory.write_timed([page * backing.page_bytes for page in order])
    took: dict[str, list[int]] = {state: [] for state in states_of(spec.backing)}
    for page, time in zip(order, ns, strict=True):
        took[dealt[page]].append(time)
    return took


def prepare(memory: Range, uffd: Userfault, dealt: Sequence[str]) -> None:
    """Bring every page of an empty range into its assigned state."""
    # Registered first: the kernel then maps nothing around a fault of shmem but the page itself.
    uffd.register(memory, missing=False)
    uffd.protect(memory)
    uffd.protect(memory, on=False)  # which leaves the tables and clears the markers
    page_bytes = memory.backing.page_bytes

    def offsets(chosen: Mapping[str, State]) -> list[int]:
        return [page * page_bytes for page, state in enumerate(dealt) if state in chosen]

    for how in (WRITE, READ):
        memory.touch_at(offsets({name: state for name, state in STATES.items() if state.touched == how}), how)
    uffd.protect_each(memory, offsets({name: state for name, state in STATES.items() if state.protected}))


def check_states(memory: Range, dealt: Sequence[str]) -> None:
    """Raise UffdlabError unless every page is in its assigned state; without PAGEMAP_SCAN, do not check."""
    try:
        states = memory.states()
    except KernelRefused as refusal:
        if refusal.operation == "PAGEMAP_SCAN":  # the campaign has reported this
            return
        raise
    zeropage = 1 << uapi.PAGE_CATEGORIES.index("PFNZERO")
    for page, (state, (flags, categories)) in enumerate(zip(dealt, states, strict=True)):
        shown = (
            bool(flags >> uapi.PAGEMAP_PRESENT_BIT & 1),
            bool(flags >> uapi.PAGEMAP_UFFD_WP_BIT & 1),
            bool(categories & zeropage),
        )
        if shown != STATES[state].shown:
            seen = next((name for name, known in STATES.items() if known.shown == shown), "none of the states")
            raise UffdlabError(
                f"page {page} should be {state} and the kernel shows {seen}: free some memory, or the write would be "
                "counted for another state"
            )
