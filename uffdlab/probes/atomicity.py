# SPDX-License-Identifier: MIT
"""Probe *atomicity*: writes that raise no event when pages are discarded between populating and protecting.

A *lost write* was issued after UFFDIO_WRITEPROTECT returned, to a page that was not discarded since that ioctl began,
and raised no event. One trial is one fresh mapping. Two threads discard (MADV_DONTNEED) and write random pages while
the range is prepared and protected; then they are joined and every page is written once. A page with a discard that
ended after the ioctl began, or is not known to have ended before, is *excluded*: it is written too, and counted
separately, by whether its last discard ended while the ioctl ran or after it. All other pages are *judged*. Events are
noted by page from before the ioctl on, so a page that a racing write found protected is never counted as lost.

The deterministic interleaving has no threads: prepare, discard one page, protect, write every page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.host import uapi
from uffdlab.probes.affinity import on_one_cpu
from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, boolean, count, integer, one_of
from uffdlab.probes.spec import Spec, check_size, repeated, seed_of, seeded, within, word
from uffdlab.probes.userfault import (
    READ,
    WRITE,
    Events,
    KernelRefused,
    PageNotes,
    Range,
    Userfault,
    check,
    mapped,
    opened,
)
from uffdlab.vocabulary.backings import BACKINGS, KIB, MIB

RACED_BACKINGS = ("anon", "shmem", "hugetlb_2m_private", "hugetlb_2m_shared")
INTERLEAVINGS = ("racing", "deterministic", "freed")
# Features each preparation requests of UFFDIO_API: none if it populates, markers if one pass does everything.
PREPARATIONS: dict[str, tuple[str, ...]] = {
    "two_pass_read": (),
    "two_pass_populate": (),
    "one_pass": ("WP_UNPOPULATED",),
}
MOST_BYTES = 1 << 40
HANDLER_TIMEOUT_S = 60.0
LEAD_TIMEOUT_S = 20.0
SPARE_HUGE_PAGES = 4  # a page that is being freed while another thread faults it in anew


@dataclass(frozen=True)
class AtomicitySpec(Spec):
    """One backing, one preparation, one interleaving.

    ``pause_us`` is how long the racing threads rest after each discard (and after every eight writes) while the range
    is prepared and protected: it sets the rate of losses, not whether there are any.
    """

    backing: str = word("anon", RACED_BACKINGS)
    preparation: str = word("two_pass_read", PREPARATIONS)
    interleaving: str = word("racing", INTERLEAVINGS)
    size_bytes: int = 64 * MIB
    pause_us: int = within(10, 0, 1_000_000)
    repeats: int = repeated()
    seed: int = seeded()

    def check(self) -> None:
        """Refuse an invalid combination of fields."""
        check_size(self.size_bytes, BACKINGS[self.backing].page_bytes, MOST_BYTES, self.backing)
        if self.interleaving == "freed" and self.backing != "anon":
            raise UffdlabError(f"MADV_FREE is possible on anon only, not on {self.backing}")
        if self.pages < 8:
            raise UffdlabError(f"size {self.size_bytes} B has {self.pages} pages: a race needs at least 8")

    @property
    def pages(self) -> int:
        """Return how many pages of the backing the range has."""
        return self.size_bytes // BACKINGS[self.backing].page_bytes

    def needs(self) -> Needs:
        """Return the memory and huge pages one trial holds at its peak: every page is written in the end."""
        pool = BACKINGS[self.backing].pool_kib
        if pool is not None:
            return Needs(hugepages={pool: self.pages + SPARE_HUGE_PAGES})
        return Needs(memory_kib=self.size_bytes // KIB + self.size_bytes // (2 * MIB) * 4)


FIELDS: list[dict[str, Any]] = [
    BLOCK,
    integer("trial", None, "number of the trial within its block, from 0"),
    one_of("backing", RACED_BACKINGS, "kind of memory"),
    one_of("preparation", PREPARATIONS, "populate (read loop or MADV_POPULATE_READ) and protect, or markers at once"),
    one_of(
        "interleaving",
        INTERLEAVINGS,
        "threads that race; one discard between preparing and protecting; or MADV_FREE "
        "before both, and reclaim after: pages that stay are excluded",
    ),
    count("pages", "pages of the range, each written once after the ioctl returned"),
    count("judged", "pages not discarded since the ioctl began"),
    count("excluded", "pages discarded since the ioctl began, or not known to have been discarded before"),
    count("lost", "judged pages that raised no event: lost writes"),
    count("lost_undiscarded", "lost writes to pages that were never discarded at all"),
    count("judged_discarded", "judged pages that were discarded at least once, before the ioctl began"),
    count("excluded_unreported", "excluded pages that raised no event; not counted as lost"),
    count("excluded_during", "excluded pages whose last discard ended while the ioctl ran", required=False),
    count("excluded_during_unreported", "of these, pages that raised no event", required=False),
    count("discards_before", "discards that ended before preparing began"),
    count("discards_preparing", "discards that ended between then and the ioctl"),
    count("discards_since", "discards that ended since the ioctl began, until the threads were joined"),
    count("racing_writes", "writes of the racing thread, before the one write to every page"),
    count("events", "write-protect events since the ioctl began, of racing writes and of the last ones"),
    integer("prepare_ns", "ns", "read loop or MADV_POPULATE_READ, beside the racing threads; 0 for one pass"),
    integer("protect_ns", "ns", "the UFFDIO_WRITEPROTECT, beside the racing threads"),
    integer("pause_us", "us", "rest of the racing threads after a discard, or after eight writes"),
    integer("seed", None, "seed of the trial: which pages are written beforehand, discarded and raced for"),
    boolean("cold", "first trial of its child process"),
]


@dataclass
class _Race:
    """The racing threads, and counts of what they did, filled in at the end."""

    handle: Any
    discards: list[int] = field(default_factory=lambda: [0, 0, 0, 0])  # by the phase they ended in
    writes: int = 0

    def enter(self, phase: int) -> None:
        _, lib = native.probe()
        lib.ul_race_enter(self.handle, phase)


def run(spec: AtomicitySpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``("races", row)`` for every trial of the spec."""
    for index in range(spec.repeats):
        seed = seed_of(spec, index)
        key = {"trial": index, "backing": spec.backing, "preparation": spec.preparation}
        key |= {"interleaving": spec.interleaving, "pages": spec.pages}
        yield "races", key | _trial(spec, seed) | {"pause_us": spec.pause_us, "seed": seed, "cold": index == 0}


def _trial(spec: AtomicitySpec, seed: int) -> dict[str, Any]:
    backing = BACKINGS[spec.backing]
    with mapped(backing, spec.size_bytes) as memory, opened(PREPARATIONS[spec.preparation]) as uffd:
        memory.write_some(spec.pages // 2, seed)  # pages to discard
        uffd.register(memory, missing=False)
        discarded, raised = PageNotes(memory), PageNotes(memory)
        with _handled_nearby(uffd, memory, raised) as events:
            row = _INTERLEAVED[spec.interleaving](spec, seed, memory, uffd, discarded)
            with on_one_cpu():
                memory.touch(WRITE)
    if events.deadline_hit or events.failed:
        raise UffdlabError(events.why(memory, HANDLER_TIMEOUT_S))
    return row | judge(discarded.values(), raised.values()) | {"events": events.wp}


@contextmanager
def _handled_nearby(uffd: Userfault, memory: Range, raised: PageNotes) -> Iterator[Events]:
    """Handle events on the CPU of the final writes; the racing threads run anywhere."""
    with ExitStack() as stack:
        with on_one_cpu():
            events = stack.enter_context(uffd.handled(memory.backing.page_bytes, HANDLER_TIMEOUT_S, raised))
        yield events


def judge(discarded: bytes, raised: bytes) -> dict[str, int]:
    """Return the counts of a trial from notes per page: its last discard, and whether it raised an event.

    ``discarded`` holds UL_DISCARD_NONE, or _BEFORE, _DURING or _AFTER the ioctl.
    """
    _, lib = native.probe()
    pages = Counter(zip(discarded, raised, strict=True))
    never, before, during, after = (
        {event: pages[discard, event] for event in (0, 1)}
        for discard in (lib.UL_DISCARD_NONE, lib.UL_DISCARD_BEFORE, lib.UL_DISCARD_DURING, lib.UL_DISCARD_AFTER)
    )
    return {
        "judged": sum(never.values()) + sum(before.values()),
        "excluded": sum(during.values()) + sum(after.values()),
        "lost": never[0] + before[0],
        "lost_undiscarded": never[0],
        "judged_discarded": sum(before.values()),
        "excluded_unreported": during[0] + after[0],
        "excluded_during": sum(during.values()),
        "excluded_during_unreported": during[0],
    }


def _race(spec: AtomicitySpec, seed: int, memory: Range, uffd: Userfault, discarded: PageNotes) -> dict[str, Any]:
    _, lib = native.probe()
    with _racing(spec, seed, memory, discarded) as race:
        check("racing threads", lib.ul_race_lead(race.handle, spec.pages // 8, int(LEAD_TIMEOUT_S * 1e9)))
        race.enter(lib.UL_RACE_PREPARING)
        prepare_ns = _prepare(spec.preparation, memory)
        race.enter(lib.UL_RACE_PROTECTING)
        protect_ns = uffd.protect(memory)
        race.enter(lib.UL_RACE_PROTECTED)
    before, preparing, protecting, after = race.discards
    row = {"prepare_ns": prepare_ns, "protect_ns": protect_ns, "racing_writes": race.writes}
    return row | {"discards_before": before, "discards_preparing": preparing, "discards_since": protecting + after}


def _in_order(spec: AtomicitySpec, seed: int, memory: Range, uffd: Userfault, discarded: PageNotes) -> dict[str, Any]:
    _, lib = native.probe()
    prepare_ns = _prepare(spec.preparation, memory)
    page, page_bytes = seed % spec.pages, memory.backing.page_bytes
    Range(memory.backing, memory.address + page * page_bytes, page_bytes).discard()
    discarded.raw[page] = lib.UL_DISCARD_BEFORE
    row = {"prepare_ns": prepare_ns, "protect_ns": uffd.protect(memory), "racing_writes": 0}
    return row | {"discards_before": 0, "discards_preparing": 1, "discards_since": 0}


def _freed(spec: AtomicitySpec, seed: int, memory: Range, uffd: Userfault, discarded: PageNotes) -> dict[str, Any]:
    """Free every page lazily, prepare and protect, and reclaim; pages that are still there are noted as excluded."""
    _, lib = native.probe()
    memory.touch(WRITE)
    memory.advise("MADV_FREE")
    prepare_ns = _prepare(spec.preparation, memory)
    row = {"prepare_ns": prepare_ns, "protect_ns": uffd.protect(memory), "racing_writes": 0}
    memory.advise("MADV_PAGEOUT")
    for page, (flags, _) in enumerate(memory.states()):
        if flags >> uapi.PAGEMAP_PRESENT_BIT & 1:
            discarded.raw[page] = lib.UL_DISCARD_AFTER
    return row | {"discards_before": 0, "discards_preparing": 0, "discards_since": 0}


_INTERLEAVED = {"racing": _race, "deterministic": _in_order, "freed": _freed}


def _prepare(preparation: str, memory: Range) -> int:
    if preparation == "two_pass_read":
        return memory.touch(READ)
    return memory.populate_read() if preparation == "two_pass_populate" else 0


@contextmanager
def _racing(spec: AtomicitySpec, seed: int, memory: Range, discarded: PageNotes) -> Iterator[_Race]:
    """Discard and write in two threads during the block; join them at its end."""
    ffi, lib = native.probe()
    plan = ffi.new("struct ul_race_plan *")
    plan.addr, plan.pages, plan.page_bytes = memory.address, spec.pages, memory.backing.page_bytes
    plan.pause_ns, plan.seed, plan.discarded = spec.pause_us * 1000, seed, discarded.raw
    race = _Race(lib.ul_race_start(plan))
    if race.handle == ffi.NULL:
        raise KernelRefused("racing threads", ffi.errno)
    stats = ffi.new("struct ul_race_stats *")
    try:
        yield race
    finally:
        lib.ul_race_stop(race.handle, stats)
    race.discards, race.writes = [int(n) for n in stats.discards], int(stats.writes)
    check("MADV_DONTNEED", -stats.discard_error, memory.request)
    check("touch", -stats.write_error, memory.request)
