# SPDX-License-Identifier: MIT
"""Probe *sequence*: what up to six steps do to one page of memory that is registered for write protection.

A fresh range is mapped and registered; then the steps are taken in turn. A handler resolves the events of every step
and counts them. After each step the entry of the watched page is read, without touching it. A step that the kernel
refuses ends the sequence, with its errno, and so does one that has not returned after five seconds (twenty with pages
of 1 GiB, thirty where it waits for ksmd or khugepaged), when the descriptor is closed and with it goes the protection;
one that raises SIGBUS or SIGSEGV does not.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from uffdlab.errors import UffdlabError
from uffdlab.host import khugepaged, ksm
from uffdlab.probes.affinity import on_one_cpu
from uffdlab.probes.covert.ksm import PACE
from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, boolean, count, integer, one_of, text
from uffdlab.probes.spec import Spec, word
from uffdlab.probes.userfault import READ, WRITE, Events, KernelRefused, PageState, Range, Userfault, mapped, opened
from uffdlab.vocabulary.backings import GIB, KIB, MIB, SEQUENCE_BACKINGS, Backing
from uffdlab.vocabulary.feature_sets import SEQUENCE_SETS
from uffdlab.vocabulary.steps import ENDING, ENTRY_WORDS, MOST_STEPS, STEPS, kind_of

TIMEOUT_S = 5.0  # of a step, which takes microseconds
_HUGE_TIMEOUT_S = 20.0  # with pages of 1 GiB, which a host may have to provide first
SWAP_KIB = 64 * KIB  # of the swap file that swapout needs
SEPARATOR = "; "
RESULTS = ("done", "SIGBUS", "SIGSEGV", "refused", "hung", "unregistered")
_KSM = {"ksm_use_zero_pages": "0", **PACE, "ksm_run": "1"}
_SCANS, _SCANS_S = 12, 10.0  # smart scan leaves out, of up to nine scans, a page that was not merged before
_KHUGEPAGED = {"khugepaged_pages_to_scan": "1000000", "khugepaged_sleep_millisecs": "10"}
# The first scan to end may have begun before the step.
_PASSES, _PASSES_S = 2, 20.0
_WAITING_S = 30.0  # of a step that waits for a thread of the kernel, which runs when nobody else wants to
_WAITING = ("ksm_merge", "khugepaged")
_MTHP = {"mthp_64": "madvise", "mthp_2048": "never"}


def parse(text_: str) -> tuple[str, ...]:
    """Return the steps of a sequence that is written with semicolons or commas.

    Raises UffdlabError for an unknown step, for none, and for more than six.
    """
    names = tuple(name.strip().lower() for name in text_.replace(",", ";").split(";") if name.strip())
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        raise UffdlabError(f"no step is called {unknown[0][:40]!r}: choose from {' '.join(STEPS)}")
    if not names:
        raise UffdlabError(f"a sequence has 1 to {MOST_STEPS} steps, and this one 0: {_EXAMPLE}")
    if len(names) > MOST_STEPS:
        raise UffdlabError(f"a sequence has at most {MOST_STEPS} steps, and this one {len(names)}")
    return names


_EXAMPLE = "write it as 'protect; discard; write'"


@dataclass(frozen=True)
class SequenceSpec(Spec):
    """One sequence on one backing, with one set of features."""

    backing: str = word("anon", SEQUENCE_BACKINGS)
    features: str = word("none", SEQUENCE_SETS)
    steps: str = "protect; write"

    def check(self) -> None:
        """Refuse steps that do not exist, or that this memory cannot take."""
        for name in self.names:
            reason = STEPS[name].why_not(SEQUENCE_BACKINGS[self.backing])
            if reason:
                raise UffdlabError(reason)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the steps."""
        return parse(self.steps)

    def needs(self) -> Needs:
        """Return the memory and huge pages it holds at its peak."""
        backing = SEQUENCE_BACKINGS[self.backing]
        thp = self.backing == "anon_thp"
        settings = {"swap_file_kib": str(SWAP_KIB)} if "swapout" in self.names else {}
        settings |= _MTHP if self.backing == "anon_mthp" else {}
        merges = "ksm_merge" in self.names
        settings |= _KSM if merges else {}
        settings |= _KHUGEPAGED if "khugepaged" in self.names else {}
        if backing.pool_kib is not None:
            copies = 2 if "fork" in self.names else 1  # a write after a fork copies the page
            return Needs(hugepages={backing.pool_kib: copies})
        shmem_thp = kind_of(backing) == "shmem" and "collapse" in self.names
        return Needs(
            memory_kib=8 * KIB,
            thp=thp,
            shmem_thp=shmem_thp,
            settings=settings,
            ksm=merges,
            no_swap="reclaim" in self.names and "swapout" not in self.names,
        )


FIELDS: list[dict[str, Any]] = [
    BLOCK,
    one_of("backing", tuple(SEQUENCE_BACKINGS), "kind of memory"),
    one_of("features", tuple(SEQUENCE_SETS), "features asked for (missing_…: registered MISSING|WP)"),
    text("sequence", "the steps, in order"),
    integer("number", None, "number of the step, from 1"),
    one_of("step", tuple(STEPS), "the step"),
    one_of("result", RESULTS, "how it ended; after refused, hung and unregistered (no step was taken) none follows"),
    text("errno", "name of the errno of a refusal"),
    count(
        "faults", "faults of a read or a write; missing of other steps, and where it raised a signal", required=False
    ),
    count("wp_events", "write-protect events meanwhile"),
    count("missing_events", "missing events meanwhile"),
    count("other_events", "events of forks, moves and discards meanwhile"),
    text("entry", f"what the page's entry holds after it: {', '.join(ENTRY_WORDS)}"),
    boolean("uffd_wp", "whether the entry is protected (pagemap bit 57)", required=False),
    boolean("written", "PAGEMAP_SCAN category WRITTEN; missing without PAGEMAP_SCAN", required=False),
    text("categories", "all its categories joined by +; - for none; missing without PAGEMAP_SCAN"),
    text("child_entry", "after fork: what the child's entry holds"),
    boolean("child_uffd_wp", "after fork: whether the child's entry is protected", required=False),
]


@dataclass
class _Place:
    """Where the sequence has got to: the range, which may move, and what it holds until it ends."""

    memory: Range
    uffd: Userfault
    page: int  # offset of the watched page
    held: ExitStack
    moved: ExitStack  # where the range was moved to, until after the descriptor is closed
    child: PageState | None = field(default=None)
    faults: int | None = field(default=None)

    def watched(self) -> Range:
        return self.memory.part(self.page, self.memory.backing.page_bytes)

    def touch(self, how: int) -> None:
        self.faults = self.memory.touch_counted(self.page, how)

    def hold_process(self, pid: int) -> None:
        def end() -> None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

        self.held.callback(end)


def run(spec: SequenceSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``("sequences", row)`` for every step."""
    backing, wanted = SEQUENCE_BACKINGS[spec.backing], SEQUENCE_SETS[spec.features]
    features = dict.fromkeys((*wanted.features, *(f for name in spec.names if (f := STEPS[name].feature))))
    key = {"backing": spec.backing, "features": spec.features, "sequence": SEPARATOR.join(spec.names)}
    # A page that another CPU has just filled is on no list yet that reclaim on this one looks at.
    stopped = ksm.switched(on=False) if "ksm_merge" in spec.names else nullcontext()
    with stopped, on_one_cpu(), _place(backing, tuple(features), kernel=wanted.kernel) as at:
        refused = _registered(at, missing=wanted.missing)
        if refused:
            yield "sequences", key | {"number": 1, "step": spec.names[0]} | refused
            return
        for number, name in enumerate(spec.names, start=1):
            row = _taken(at, name)
            yield "sequences", key | {"number": number, "step": name} | row
            if row["result"] in ENDING:
                return


@contextmanager
def _place(backing: Backing, features: tuple[str, ...], *, kernel: bool) -> Iterator[_Place]:
    length = max(2 * MIB, backing.page_bytes)
    # Unmapping what is registered for EVENT_UNMAP waits for a handler: the descriptor is closed before.
    with (
        ExitStack() as moved,
        mapped(backing, length) as memory,
        opened(features, kernel=kernel) as uffd,
        ExitStack() as held,
    ):
        page = 77 * backing.page_bytes if backing.page_bytes < MIB else 0  # away from the edges: see semantics
        yield _Place(memory, uffd, page, held, moved)


def _registered(at: _Place, *, missing: bool) -> dict[str, Any] | None:
    """Register the range; return the row of a refusal, of a regular file without WP_ASYNC, or None.

    Raises KernelRefused where other memory is refused: no kernel that has its write protection does that.
    """
    try:
        at.uffd.register(at.memory, missing=missing)
    except KernelRefused as refusal:
        if kind_of(at.memory.backing) != "file" or refusal.errno != errno.EINVAL:
            raise
        return (
            {"result": "unregistered", "errno": "EINVAL", "faults": None}
            | _counted(Events())
            | _row(at.memory.state(at.page), None)
        )
    return None


def _taken(at: _Place, name: str) -> dict[str, Any]:
    """Take one step and return its row."""
    result, errno_, at.child, at.faults = "done", None, None, None
    timeout_s = _HUGE_TIMEOUT_S if at.memory.backing.page_bytes >= GIB else TIMEOUT_S
    timeout_s = _WAITING_S if name in _WAITING else timeout_s
    with at.uffd.handled(at.memory.backing.page_bytes, timeout_s) as events:
        try:
            _DOING[name](at)
        except KernelRefused as refusal:
            result, errno_ = _refused(name, refusal)
    if events.failed:
        raise UffdlabError(events.why(at.memory, timeout_s))
    if events.deadline_hit:
        result = "hung"
    row = {"result": result, "errno": errno_, "faults": at.faults} | _counted(events)
    return row | _row(at.memory.state(at.page), at.child)


def _refused(name: str, refusal: KernelRefused) -> tuple[str, str | None]:
    """Return the result of a step, and the name of its errno; a signal is a result of a touch."""
    raised = {errno.EFAULT: "SIGBUS", errno.EACCES: "SIGSEGV"} if name in ("read", "write") else {}
    if refusal.errno in raised:
        return raised[refusal.errno], None
    return "refused", errno.errorcode.get(refusal.errno, str(refusal.errno))


def _counted(events: Events) -> dict[str, int]:
    return {"wp_events": events.wp, "missing_events": events.missing, "other_events": events.other}


def _row(state: PageState, child: PageState | None) -> dict[str, Any]:
    row: dict[str, Any] = {"entry": state.entry, "uffd_wp": state.uffd_wp}
    known = state.categories
    row |= {"written": None if known is None else "WRITTEN" in known}
    row |= {"categories": None if known is None else "+".join(known) or "-"}
    return row | {"child_entry": child and child.entry, "child_uffd_wp": child and child.uffd_wp}


def _fork(at: _Place) -> None:
    pid, at.child = at.memory.forked(at.page, TIMEOUT_S)
    at.hold_process(pid)


def _remap(at: _Place) -> None:
    at.memory = at.memory.remapped()
    at.moved.callback(at.memory.unmap)


def _ksm_merge(at: _Place) -> None:
    """Have two pages of the same contents merged, and then the watched one with them; KSM runs meanwhile only."""
    page = at.memory.backing.page_bytes
    twins = at.held.enter_context(mapped(SEQUENCE_BACKINGS["anon"], 2 * page))
    if at.memory.state(at.page).entry in ("page", "huge page"):
        twins.fill_as(at.watched())
    else:
        twins.touch(WRITE)  # where no process has mergeable pages KSM does not scan
    twins.advise("MADV_MERGEABLE")
    with ksm.switched(on=True):
        ksm.wait_for_scans(_SCANS, _SCANS_S)
        at.memory.advise("MADV_MERGEABLE")
        ksm.wait_for_scans(_SCANS, _SCANS_S)


def _khugepaged(at: _Place) -> None:
    """Wait for khugepaged, which scans only while some process has a page of anonymous memory that asks for THP."""
    at.held.enter_context(mapped(SEQUENCE_BACKINGS["anon_thp"], 2 * MIB)).touch_at([0], WRITE)
    khugepaged.wait_for_scans(_PASSES, _PASSES_S)


def _pin(at: _Place) -> None:
    at.held.callback(os.close, at.watched().pin())


def _advise(advice: str) -> Callable[[_Place], Any]:
    return lambda at: at.memory.advise(advice)


def _advise_page(advice: str) -> Callable[[_Place], Any]:
    return lambda at: at.watched().advise(advice)


def _fill(how: str) -> Callable[[_Place], Any]:
    return lambda at: at.uffd.fill(at.watched(), how)


_DOING: dict[str, Callable[[_Place], Any]] = {
    "write": lambda at: at.touch(WRITE),
    "read": lambda at: at.touch(READ),
    "protect": lambda at: at.uffd.protect(at.memory),
    "unprotect": lambda at: at.uffd.protect(at.memory, on=False),
    "discard": lambda at: at.memory.discard(),
    "free": _advise("MADV_FREE"),
    "cold": _advise("MADV_COLD"),
    "reclaim": _advise("MADV_PAGEOUT"),
    "swapout": _advise("MADV_PAGEOUT"),
    "swapin": _advise_page("MADV_POPULATE_READ"),
    "lock": lambda at: at.memory.lock(),
    "fork": _fork,
    "remap": _remap,
    "collapse": _advise("MADV_COLLAPSE"),
    "khugepaged": _khugepaged,
    "ksm_merge": _ksm_merge,
    "ksm_unmerge": _advise("MADV_UNMERGEABLE"),
    "pin": _pin,
    "zeropage": _fill("ZEROPAGE"),
    "copy": _fill("COPY"),
    "copy_wp": _fill("COPY_WP"),
    "move": _fill("MOVE"),
    "poison": _fill("POISON"),
    "guard": _advise_page("MADV_GUARD_INSTALL"),
    "unguard": _advise_page("MADV_GUARD_REMOVE"),
}
