# SPDX-License-Identifier: MIT
"""A range of simulated memory under a design: every operation counted exactly."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from uffdlab.errors import UffdlabError, check_word
from uffdlab.sim import ledger as ledgers
from uffdlab.sim.core import Core, core
from uffdlab.sim.designs import SimDesign
from uffdlab.sim.ledger import Ledger
from uffdlab.units import format_size

PAGE_BYTES = 4096
MOST_BYTES = 1 << 44  # 16 TiB
MOST_TOUCHES = 10_000_000_000
KINDS = ("empty", "marker", "zeropage", "page")
LEVELS = ("pte", "pmd", "pud")
Walk = Literal["sequential", "uniform", "zipf", "clustered"]
_LEAST_LIMIT_BYTES = 1 << 30


@dataclass(frozen=True)
class Entry:
    """A page's entry: its contents and level; whether a write faults, and whether one has to be reported (owed)."""

    kind: str
    level: str
    protected: bool
    owed: bool


@dataclass(frozen=True)
class Memory:
    """Page tables and pages, now and at their peak, in KiB."""

    tables_kib: int
    most_tables_kib: int
    pages_kib: int
    most_pages_kib: int


class Range:
    """Pages of 4 KiB, empty at first. Offsets and counts are in pages from the beginning of the range.

    Memory is reserved for ``touches`` touches and operations on parts; ``other_cpus`` is the number of other CPUs that
    run the process, and receive its TLB shootdowns. Raises UffdlabError on an impossible range, or one whose state
    needs more memory than is free.
    """

    def __init__(
        self,
        design: SimDesign,
        span_bytes: int,
        *,
        touches: int = 0,
        start_bytes: int = 0,
        other_cpus: int = 0,
        engine: Core | None = None,
    ) -> None:
        """Make an empty range."""
        self._core = engine or core()
        check_span(span_bytes, design)
        if start_bytes % PAGE_BYTES or not 0 <= start_bytes < 1 << 47:
            raise UffdlabError(f"start {start_bytes} B is outside the user address space, or no multiple of 4 KiB")
        check_other_cpus(other_cpus)
        leaf = PAGE_BYTES * 512 ** LEVELS.index(design.leaf)
        if start_bytes % leaf:
            raise UffdlabError(f"start {start_bytes} B is not a multiple of {design.name}'s {format_size(leaf)} page")
        if touches < 0:
            raise UffdlabError(f"touches is {touches}: expected >= 0")
        self.design, self.pages, self.other_cpus = design, span_bytes // PAGE_BYTES, other_cpus
        start = start_bytes // PAGE_BYTES
        size = self._core.call("ul_sim_bytes", start, self.pages, min(touches, 1 << 40))
        if not size:
            raise UffdlabError(f"a range of {format_size(span_bytes)} at {start_bytes} B ends beyond the address space")
        limit = free_bytes()
        if size > limit:
            raise UffdlabError(
                f"{touches} touches of {format_size(span_bytes)} may need {format_size(size)} of memory, and "
                f"{format_size(limit)} are free: touch less, a smaller span, or ask for expected values"
            )
        self._bytes, self._address = size, self._core.take(size)
        self._do("ul_sim_init", size, start, self.pages, other_cpus)
        self.become(design)

    def __del__(self) -> None:
        """Give the memory back."""
        if hasattr(self, "_address"):
            self._core.give(self._address)

    def become(self, design: SimDesign) -> None:
        """Switch the design, keeping the page tables. Raises UffdlabError on another leaf level."""
        if design.leaf != self.design.leaf:
            raise UffdlabError(f"memory of {self.design.leaf} pages cannot become memory of {design.leaf} pages")
        if design.deposit != self.design.deposit and any(vars(self.memory()).values()):
            raise UffdlabError("deposit cannot change after memory was mapped")
        self.design = design
        with self._core.lent(design.packed()) as packed:
            self._do("ul_set_design", packed)

    def copy(self) -> Range:
        """Return an independent range in the same state."""
        other = object.__new__(Range)
        other._core, other._bytes = self._core, self._bytes
        other.design, other.pages, other.other_cpus = self.design, self.pages, self.other_cpus
        other._address = self._core.take(self._bytes)
        other._core.write(other._address, self._core.read(self._address, self._core.call("ul_sim_used", self._address)))
        return other

    # --- operations --------------------------------------------------------------------------------------------------

    def populate(self, fraction: float, cluster_pages: int = 1, seed: int = 1) -> None:
        """Write each cluster of pages with a probability."""
        check_fraction("populated", fraction)
        _check_cluster(cluster_pages, self.pages)
        self._do("ul_populate", fraction, cluster_pages, seed & (1 << 64) - 1)

    def populate_exactly(self, clusters: int, cluster_pages: int = 1, seed: int = 1) -> None:
        """Write ``clusters`` clusters of pages, drawn from all of them."""
        _check_cluster(cluster_pages, self.pages)
        if not 0 <= clusters <= -(-self.pages // cluster_pages):
            raise UffdlabError(f"{clusters} clusters of {cluster_pages} pages do not fit a range of {self.pages}")
        self._do("ul_populate_exactly", clusters, cluster_pages, seed & (1 << 64) - 1)

    def populate_bits(self, bits: bytes, pages_per_bit: int) -> None:
        """Write the pages whose bit is set, least significant bit of the first byte first."""
        if not 1 <= pages_per_bit <= self.pages:
            raise UffdlabError(f"bits of {pages_per_bit} pages do not fit a range of {self.pages}")
        count = -(-self.pages // pages_per_bit)
        if len(bits) != -(-count // 8):
            raise UffdlabError(
                f"the bitmap has {len(bits) * 8} bits of {pages_per_bit} pages, but the range needs {count}"
            )
        with self._core.lent(bits) as address:
            self._do("ul_populate_bits", address, count, pages_per_bit)

    def prefault(self, first: int = 0, count: int | None = None) -> None:
        """Pre-fault, as the design has user space do before it protects."""
        self._part("ul_prefault", first, count)

    def protect(self, first: int = 0, count: int | None = None) -> None:
        """Write-protect, by one ioctl."""
        self._part("ul_protect", first, count)

    def unprotect(self, first: int = 0, count: int | None = None) -> None:
        """Resolve, by one ioctl."""
        self._part("ul_unprotect", first, count)

    def discard(self, first: int = 0, count: int | None = None) -> None:
        """Give memory back, by one MADV_DONTNEED."""
        self._part("ul_discard", first, count)

    def touch(self, page: int, *, write: bool) -> None:
        """Read or write one page."""
        self._check_page(page)
        self._do("ul_touch", page, int(write))

    def touch_all(self, first: int = 0, count: int | None = None, *, write: bool) -> None:
        """Touch every page of a part, in order."""
        self._part("ul_touch_range", first, count, int(write))

    def touch_stride(self, stride_pages: int, *, write: bool) -> None:
        """Touch every ``stride_pages``-th page."""
        if stride_pages < 1:
            raise UffdlabError(f"stride is {stride_pages} pages: expected >= 1")
        self._do("ul_touch_stride", stride_pages, int(write))

    def touch_many(self, count: int, walk: Walk = "uniform", *, write: bool, cluster: int = 1, seed: int = 1) -> None:
        """Touch ``count`` pages, one after another or drawn; ``cluster`` pages in a row where the walk is clustered."""
        check_word("walk", walk, get_args(Walk))
        if not 0 <= count <= MOST_TOUCHES:
            raise UffdlabError(f"{count:.3g} touches would take more than an hour: ask for expected values instead")
        _check_cluster(cluster, self.pages)
        self._do("ul_touch_many", get_args(Walk).index(walk), count, cluster, seed & (1 << 64) - 1, int(write))

    def save(self, first: int = 0, count: int | None = None, *, skip_holes: bool, piece_pages: int = 1) -> None:
        """Read pages and resolve them, ``piece_pages`` (1 or 512) by one ioctl, as a snapshot's saver does."""
        if piece_pages not in (1, 512):
            raise UffdlabError(f"a saver resolves 1 or 512 pages by an ioctl, not {piece_pages}")
        self._part("ul_save", first, count, piece_pages, int(skip_holes))

    def scan(self, first: int = 0, count: int | None = None) -> dict[str, int]:
        """Scan every entry. Returns the number of pages by entry contents."""
        with self._core.lent(bytes(32)) as states:
            self._part("ul_scan", first, count, states)
            return dict(zip(KINDS, struct.unpack("<4Q", self._core.read(states, 32)), strict=True))

    # --- results -----------------------------------------------------------------------------------------------------

    def ledger(self) -> Ledger:
        """Return the events counted since the last :meth:`start_phase`."""
        with self._core.lent(bytes(8 * len(ledgers.events()))) as address:
            self._core.call("ul_ledger", self._address, address)
            return ledgers.unpack(self._core, address, exact=True)

    def start_phase(self) -> None:
        """Reset the ledger, keeping the page tables."""
        self._core.call("ul_ledger_reset", self._address)

    def counted(self, *operations: Callable[[], Any]) -> Ledger:
        """Return the ledger of these operations alone."""
        self.start_phase()
        for operate in operations:
            operate()
        return self.ledger()

    def shapes(self) -> dict[int, float]:
        """Return the number of touches by shape since the last :meth:`start_phase`."""
        count = self._core.call("ul_shapes")
        with self._core.lent(bytes(8 * count)) as address:
            self._core.call("ul_shape_counts", self._address, address)
            found = struct.unpack(f"<{count}Q", self._core.read(address, 8 * count))
        return {code: n for code, n in enumerate(found) if n}

    def memory(self) -> Memory:
        """Return the memory in page tables and pages."""
        with self._core.lent(bytes(32)) as address:
            self._core.call("ul_memory", self._address, address)
            return Memory(*(4 * one for one in struct.unpack("<4Q", self._core.read(address, 32))))

    def entry(self, page: int) -> Entry:
        """Return a page's entry."""
        self._check_page(page)
        state = self._core.call("ul_state", self._address, page)
        return Entry(KINDS[state & 3], LEVELS[state >> 8], bool(state & 4), bool(state & 8))

    @property
    def used_bytes(self) -> int:
        """Return the simulator state's size in bytes."""
        return int(self._core.call("ul_sim_used", self._address))

    def _part(self, function: str, first: int, count: int | None, *more: Any) -> None:
        count = self.pages - first if count is None else count
        self._check_part(first, count)
        self._do(function, first, count, *more)

    def _check_part(self, first: int, count: int) -> None:
        leaf = 512 ** LEVELS.index(self.design.leaf)
        if not (0 <= first < self.pages and 0 < count <= self.pages - first):
            raise UffdlabError(f"pages {first} to {first + count} are not within a range of {self.pages}")
        if first % leaf or count % leaf:
            raise UffdlabError(f"pages {first} to {first + count} cut a hugetlb page of {leaf} pages")

    def _check_page(self, page: int) -> None:
        if not 0 <= page < self.pages:
            raise UffdlabError(f"page {page} is not within a range of {self.pages}")

    def _do(self, function: str, *args: Any) -> None:
        answer = self._core.call(function, self._address, *args)
        if answer == -1:
            raise UffdlabError(
                f"the state of {format_size(self.pages * PAGE_BYTES)} outgrew the {format_size(self._bytes)} reserved "
                "for it: make the range with the number of touches and operations on parts to come"
            )
        if answer is not None and answer < 0:
            raise UffdlabError(f"BUG: {function}{args} was refused")


def check_span(span_bytes: int, design: SimDesign) -> None:
    """Raise UffdlabError unless a range under this design can have this size."""
    leaf = PAGE_BYTES * 512 ** LEVELS.index(design.leaf)
    if span_bytes <= 0:
        raise UffdlabError(f"span {span_bytes} B: a range needs a positive size, such as 1GiB")
    if span_bytes > MOST_BYTES:
        raise UffdlabError(f"span {format_size(span_bytes)}: the simulator goes up to 16 TiB")
    if span_bytes % leaf:
        raise UffdlabError(f"span {span_bytes} B is not a multiple of {design.name}'s {format_size(leaf)} page")


def check_fraction(name: str, value: float) -> None:
    """Raise UffdlabError unless a fraction is from 0 to 1."""
    if not 0 <= value <= 1:  # false for NaN as well
        raise UffdlabError(f"{name} is {value}: expected 0 to 1")


def check_other_cpus(count: int) -> None:
    """Raise UffdlabError unless a process can run on this many other CPUs."""
    if not 0 <= count <= 1 << 16:
        raise UffdlabError(f"other CPUs is {count}: expected 0 to 65536")


def _check_cluster(cluster: int, pages: int) -> None:
    if not 1 <= cluster <= pages:
        raise UffdlabError(f"clusters of {cluster} pages do not fit a range of {pages}")


def free_bytes() -> int:
    """Return the free memory, which limits the state."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 4 * _LEAST_LIMIT_BYTES
    return max(free, _LEAST_LIMIT_BYTES)
