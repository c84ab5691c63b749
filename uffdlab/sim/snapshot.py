# SPDX-License-Identifier: MIT
"""A background snapshot: stop, protect, run on while a saver reads, resolves and writes out, finish.

The saver goes through the range in order. A guest's write to a page it has not reached is an event, whose handler saves
and resolves that page. A saver that reads everything faults on each marker once, so work is deferred and not avoided;
one that skips holes (PAGEMAP_SCAN) leaves markers alone. The guest may report pages free, which the host discards.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, get_args

from uffdlab.errors import UffdlabError, check_word
from uffdlab.sim import ledger as ledgers
from uffdlab.sim.core import Core
from uffdlab.sim.designs import SimDesign
from uffdlab.sim.engine import LEVELS, MOST_TOUCHES, PAGE_BYTES, Range
from uffdlab.sim.ledger import Ledger
from uffdlab.sim.workloads import Workload, populated_range

Saver = Literal["reads everything", "skips holes"]
STEPS = 64


@dataclass(frozen=True)
class Snapshot:
    """A guest, its saver and the device it writes to. ``memory.writes`` and ``memory.reads`` are not used: the guest
    writes ``guest_writes_per_s`` pages a second while ``bytes_per_s`` go out, and reports ``reports_per_s`` times a
    second ``report_pages`` free ones.
    """

    memory: Workload
    saver: Saver = "reads everything"
    guest_writes_per_s: float = 0.0
    bytes_per_s: float = 1e9
    piece_pages: int = 1
    reports_per_s: float = 0.0
    report_pages: int = 512

    def __post_init__(self) -> None:
        """Raise UffdlabError on values that cannot be run."""
        check_word("saver", self.saver, get_args(Saver))
        if self.piece_pages not in (1, 512):
            raise UffdlabError(f"a saver resolves 1 or 512 pages by an ioctl, not {self.piece_pages}")
        if not 0 <= self.guest_writes_per_s < 1e12:
            raise UffdlabError(f"guest writes per second is {self.guest_writes_per_s:g}: expected 0 to 1e12")
        if not 0 <= self.reports_per_s < 1e12 or not 1 <= self.report_pages <= self.memory.pages:
            raise UffdlabError(
                f"{self.reports_per_s:g} reports of {self.report_pages} pages a second: expected 0 to 1e12 reports, "
                f"of 1 to {self.memory.pages} pages"
            )
        if not 0 < self.bytes_per_s < 1e15:
            raise UffdlabError(f"bandwidth is {self.bytes_per_s:g} B/s: expected more than 0 and less than 1e15")
        longest_s = self.memory.span_bytes / self.bytes_per_s
        if (self.guest_writes_per_s + self.reports_per_s) * longest_s > MOST_TOUCHES:
            raise UffdlabError(
                f"{longest_s:.3g} s of these writes and reports would take more than an hour to simulate: write less"
            )


@dataclass(frozen=True)
class Moment:
    """State after one saver step."""

    passed: float  # share of the range
    elapsed_s: float  # at the device's bandwidth
    saved_kib: int
    events: float
    tables_kib: int
    pages_kib: int


@dataclass(frozen=True)
class SnapshotRun:
    """Ledgers of a snapshot while the guest is stopped, while it runs, and at the end; and memory over time."""

    design: SimDesign
    snapshot: Snapshot
    stop: Ledger
    running: Ledger
    finish: Ledger
    moments: tuple[Moment, ...]

    @property
    def total(self) -> Ledger:
        """Return the sum of the three ledgers."""
        return ledgers.total([self.stop, self.running, self.finish])


def run_snapshot(design: SimDesign, snapshot: Snapshot, engine: Core | None = None) -> SnapshotRun:
    """Run a snapshot, page by page. Raises UffdlabError where its state would need more memory than there is."""
    work = snapshot.memory
    longest_s = work.span_bytes / snapshot.bytes_per_s
    writes = int((snapshot.guest_writes_per_s + 2 * snapshot.reports_per_s) * longest_s) + 4 * STEPS
    memory = populated_range(design, work, writes, engine)
    stop, before = memory.counted(memory.prefault, memory.protect), memory.memory()
    memory.start_phase()
    moments = [Moment(0.0, 0.0, 0, 0, before.tables_kib, before.pages_kib)]
    moments += _run(memory, snapshot)
    running = memory.ledger()
    return SnapshotRun(design, snapshot, stop, running, memory.counted(memory.unprotect), tuple(moments))


def _events(ledger: Ledger) -> int:
    return int(ledger["events_wp"] + ledger["events_missing"])


class _Rate:
    """A fixed rate per second, dealt out in whole numbers."""

    def __init__(self, per_s: float) -> None:
        self.per_s, self.owed = per_s, 0.0

    def due(self, seconds: float) -> int:
        """Return the number due in the next seconds."""
        self.owed += self.per_s * seconds
        whole = int(self.owed)
        self.owed -= whole
        return whole


def _run(memory: Range, snapshot: Snapshot) -> list[Moment]:
    leaf = 512 ** LEVELS.index(memory.design.leaf)
    unit = max(512, leaf)
    step = -(-memory.pages // STEPS // unit) * unit or unit
    saved, handled, elapsed, moments = 0, 0, 0.0, []
    writes, reports = _Rate(snapshot.guest_writes_per_s), _Rate(snapshot.reports_per_s)
    chance = random.Random(snapshot.memory.seed)
    for number, first in enumerate(range(0, memory.pages, step)):
        count = min(step, memory.pages - first)
        before = memory.ledger()
        memory.save(first, count, skip_holes=snapshot.saver == "skips holes", piece_pages=snapshot.piece_pages)
        after = memory.ledger()
        # The saver reads each page it saves once; what a handler saved since the last step went out as well.
        pages = int(after["reads"] - before["reads"]) * leaf + handled * leaf
        saved += pages
        took = pages * PAGE_BYTES / snapshot.bytes_per_s
        elapsed += took
        for _ in range(reports.due(took)):
            free = chance.randrange(memory.pages // snapshot.report_pages)
            memory.discard(free * snapshot.report_pages, snapshot.report_pages)
        memory.touch_many(writes.due(took), "uniform", write=True, seed=snapshot.memory.seed + 7 + number)
        now, counted = memory.memory(), memory.ledger()
        events, handled = _events(counted), _events(counted) - _events(after)
        share = (first + count) / memory.pages
        moments.append(Moment(share, elapsed, saved * 4, events, now.tables_kib, now.pages_kib))
    return moments
