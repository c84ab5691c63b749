# SPDX-License-Identifier: MIT
"""Probe *scale*: first touches and write-protecting by 1, 2, 4, 8 and 16 threads that share page tables, or do not.

One sample measures every operation with every number of threads, in an order drawn by seed, each on a fresh range
that is registered for write-protection. The work is always the same and is shared out to threads that are pinned,
each to a CPU. They begin together, and a row's time ends with the last of them. An operation is a read, a write or a
UFFDIO_WRITEPROTECT of a 4 KiB page, or a UFFDIO_WRITEPROTECT of 2 MiB. What is written to was protected, with
WP_ASYNC, where anything stood there. The stride is 4 KiB, or 2 MiB with a page in each, of memory where nothing stands:
each page needs a new PTE table there, which is entered under the lock of the PMD table.

What else threads share is the same in all of them: the mapping and its lock, mmap_lock (which every
UFFDIO_WRITEPROTECT takes to read), and the page allocator.

Kernels tell little of waits for locks. getrusage(2) tells of switches and CPU time: who waits for a semaphore sleeps,
who waits for a page table's lock spins. The tracepoint lock:contention_begin tells of both, though not of the first
waiter of a spinlock, nor of any where a hypervisor makes the kernel use simpler ones. Null is what is not told.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.host import cpus, locks
from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, COLD, SAMPLE, Field, count, integer, one_of
from uffdlab.probes.shares import (
    PAGE,
    PMD_TABLE_BYTES,
    PTE_TABLE_BYTES,
    Share,
    extent_of_all,
    extents,
    shares,
    unit_of,
)
from uffdlab.probes.spec import Spec, check_size, repeated, seed_of, seeded, within, word
from uffdlab.probes.userfault import READ, Range, Userfault, check, counters, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, GIB, KIB, MIB
from uffdlab.vocabulary.threads import SHARINGS

THREADS = (1, 2, 4, 8, 16)
STRIDES = (PAGE, 2 * MIB)
FEATURES = ("WP_UNPOPULATED", "WP_ASYNC")
_ALL_BUT_LAST = ", ".join(map(str, THREADS[:-1]))
_MOST_BYTES = 16 * GIB


@dataclass(frozen=True)
class Operation:
    """What the threads do, to what: ``before`` is what stands in the page table; a step covers ``piece`` bytes."""

    before: str
    step: str
    piece: int = PAGE


OPERATIONS: dict[str, Operation] = {
    "read_nothing": Operation("nothing", "READ"),
    "write_nothing": Operation("nothing", "WRITE"),
    "write_zeropages": Operation("protected_zeropages", "WRITE"),  # protected, as what has markers is
    "write_markers": Operation("markers", "WRITE"),
    "protect_nothing": Operation("nothing", "PROTECT"),
    "protect_zeropages": Operation("zeropages", "PROTECT"),
    "protect_nothing_by_2mib": Operation("nothing", "PROTECT", PTE_TABLE_BYTES),
    "protect_zeropages_by_2mib": Operation("zeropages", "PROTECT", PTE_TABLE_BYTES),
}


@dataclass(frozen=True)
class ScaleSpec(Spec):
    """One way of sharing: ``threads`` is the largest number of them; 1, 2, 4 ... up to it are measured."""

    sharing: str = word("same_2mib", SHARINGS)
    size_bytes: int = 64 * MIB
    stride_bytes: int = PAGE
    threads: int = within(2, 1, THREADS[-1])
    repeats: int = repeated()
    seed: int = seeded()

    def check(self) -> None:
        """Refuse what cannot be shared out evenly."""
        if self.threads not in THREADS:
            raise UffdlabError(f"threads is {self.threads}: choose {_ALL_BUT_LAST} or {THREADS[-1]}")
        if self.stride_bytes not in STRIDES:
            raise UffdlabError(f"stride {self.stride_bytes} B: choose 4KiB or 2MiB")
        if self.sharing == "same_2mib" and self.stride_bytes > PAGE:
            raise UffdlabError("stride 2 MiB has one page per PTE table: choose sharing same_1gib or own_1gib with it")
        taken_bytes = unit_of(self.sharing, self.stride_bytes) * self.threads  # by all threads, a unit each
        check_size(self.size_bytes, max(PTE_TABLE_BYTES, taken_bytes), _MOST_BYTES)

    @property
    def counts(self) -> tuple[int, ...]:
        """Return the numbers of threads to measure."""
        return tuple(number for number in THREADS if number <= self.threads)

    @property
    def pages(self) -> int:
        """Return how many pages all threads together take."""
        return self.size_bytes // self.stride_bytes

    @property
    def operations(self) -> tuple[str, ...]:
        """Return the operations: those of 2 MiB where a thread takes whole ones.

        With one page per PTE table, those that need a new table: the others take no lock of a PMD table.
        """
        if self.stride_bytes > PAGE:
            return tuple(n for n, operation in OPERATIONS.items() if operation == Operation("nothing", operation.step))
        whole = self.sharing != "same_2mib"
        return tuple(name for name, operation in OPERATIONS.items() if whole or operation.piece == PAGE)

    def needs(self) -> Needs:
        """Return the pages and their tables, and a CPU for each thread."""
        tables = self.size_bytes // PTE_TABLE_BYTES + 2 * self.threads
        return Needs(memory_kib=(self.pages + tables) * PAGE // KIB, cpus=self.threads)


_TOLD: list[Field] = [
    integer("cpu_ns", "ns", "CPU time"),
    integer("system_us", "us", "of it in the kernel, as getrusage divides it by timer ticks: a rough figure"),
    count("minor_faults", "minor faults"),
    count("voluntary_switches", "times that a thread went to sleep, as for mmap_lock"),
    count("involuntary_switches", "times that a thread was interrupted by another"),
    count(
        "spin_waits", "waits for spinlocks, as those of page tables, that lock:contention_begin tells", required=False
    ),
    count("semaphore_waits", "waits for semaphores, as mmap_lock, that it tells", required=False),
]
FIELDS: list[Field] = [
    BLOCK,
    SAMPLE,
    integer("turn", None, "place in its sample, from 0"),
    COLD,
    one_of("sharing", SHARINGS, "page tables that threads share"),
    integer("stride_kib", "KiB", "one page per so much of the range"),
    one_of("operation", OPERATIONS, "what was done to each page, and what stood there"),
    integer("threads", None, "pinned threads, a CPU each"),
    count("pages", "pages of all threads"),
    integer("wall_ns", "ns", "from the common start to the end of the last thread"),
    integer("busy_ns", "ns", "from each thread's start to its end, summed over threads; what follows is summed, too"),
    *_TOLD,
    integer("tlb_ipis", None, "TLB shootdown interrupts meanwhile, whole machine", required=False),
    count("mmap_lock_waits", "waits for any mmap_lock, whole machine, as /proc/lock_stat tells", required=False),
    count("table_lock_waits", "the same, for locks of page tables", required=False),
    count("vma_lock_fallbacks", "faults that took mmap_lock, not their mapping's, whole machine", required=False),
]
THREAD_FIELDS: list[Field] = [
    BLOCK,
    SAMPLE,
    integer("turn", None, "place in its sample, from 0"),
    integer("thread", None, "number of the thread, from 0"),
    integer("cpu", None, "number of the CPU it was pinned to"),
    integer("begin_ns", "ns", "its start, after the common start"),
    integer("end_ns", "ns", "its end, after the common start"),
    *_TOLD,
]


@dataclass(frozen=True)
class _Told:
    """What one thread did: the columns of a row of ``scale_threads``."""

    columns: dict[str, Any]

    @property
    def busy_ns(self) -> int:
        return int(self.columns["end_ns"] - self.columns["begin_ns"])


def run(spec: ScaleSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``("scale", row)`` for each operation and number of threads, and the ``scale_threads`` of warm samples.

    Several threads only: of one, all is in its row. Raises UffdlabError where there are not enough CPUs.
    """
    places = cpus.allowed()
    if len(places) < spec.threads:
        raise UffdlabError(f"threads is {spec.threads}: needs {spec.threads} CPUs, {len(places)} are allowed")
    for index in range(spec.repeats):
        turns = [(operation, threads) for operation in spec.operations for threads in spec.counts]
        random.Random(seed_of(spec, index)).shuffle(turns)
        for turn, (operation, threads) in enumerate(turns):
            key = {"sample": index, "turn": turn}
            row, told = _measure(spec, operation, places[:threads])
            yield "scale", key | {"cold": index == 0} | row
            if index and threads > 1:
                yield from (("scale_threads", key | one.columns) for one in told)


def _measure(spec: ScaleSpec, name: str, places: list[int]) -> tuple[dict[str, Any], list[_Told]]:
    """Measure one operation on a fresh range, with a thread on each of those CPUs."""
    operation, threads = OPERATIONS[name], len(places)
    length = extent_of_all(spec.sharing, spec.size_bytes, threads)
    with mapped(BACKINGS["anon"], length + PMD_TABLE_BYTES) as whole, opened(FEATURES) as uffd:
        memory = whole.part(-whole.address % PMD_TABLE_BYTES, length)
        uffd.register(whole, missing=False)
        for offset, extent in extents(spec.sharing, spec.size_bytes, threads):
            _prepare(operation.before, memory.part(offset, extent), uffd, spec.stride_bytes)
        parts = shares(spec.sharing, spec.size_bytes, spec.stride_bytes, threads)
        before, waits = counters(), locks.waits()
        told = take_steps(operation, memory, uffd, parts, places)
        waited, grown = locks.waits().growth(waits), counters().growth(before)
    row: dict[str, Any] = {"sharing": spec.sharing, "stride_kib": spec.stride_bytes // KIB, "operation": name}
    row |= {"threads": threads, "pages": spec.pages, "wall_ns": max(one.columns["end_ns"] for one in told)}
    row |= {"busy_ns": sum(one.busy_ns for one in told)}
    row |= {field["name"]: _sum([one.columns[field["name"]] for one in told]) for field in _TOLD}
    row |= {"tlb_ipis": grown["tlb_ipis"], "mmap_lock_waits": waited["mmap_lock"]}
    return row | {"table_lock_waits": waited["table_locks"], "vma_lock_fallbacks": waited["vma_fallbacks"]}, told


def _sum(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _prepare(before: str, memory: Range, uffd: Userfault, stride: int) -> None:
    if before in ("zeropages", "protected_zeropages"):
        memory.touch(READ, stride)
    if before in ("markers", "protected_zeropages"):
        uffd.protect(memory)


def take_steps(
    operation: Operation, memory: Range, uffd: Userfault, parts: list[Share], places: list[int]
) -> list[_Told]:
    """Let a thread on each CPU take the steps of its share; return what the kernel tells of each."""
    ffi, lib = native.probe()
    job, out = ffi.new("struct ul_scaling *"), ffi.new("struct ul_scaled[]", len(places))
    tracepoint = locks.contention_tracepoint()
    job.what, job.fd, job.threads = getattr(lib, f"UL_STEP_{operation.step}"), uffd.fd, len(places)
    job.piece, job.tracepoint = operation.piece, -1 if tracepoint is None else tracepoint
    for number, (part, cpu) in enumerate(zip(parts, places, strict=True)):
        taken = part.coarse(operation.piece) if operation.piece > part.step else part
        job.cpus[number], into = cpu, job.parts[number]
        into.addr, into.runs, into.run_step = memory.address + taken.first, taken.runs, taken.run_step
        into.steps, into.step = taken.steps, taken.step
    when = ffi.new("int *")
    result = lib.ul_scale(job, out, when)
    failed = {lib.UL_SCALE_STARTING: "start a thread", lib.UL_SCALE_PINNING: "sched_setaffinity"}
    check(failed.get(when[0], "UFFDIO_WRITEPROTECT"), result, memory.request)
    return [_Told(_columns(out[number], number, cpu)) for number, cpu in enumerate(places)]


def _columns(told: Any, number: int, cpu: int) -> dict[str, Any]:
    return {
        "thread": number,
        "cpu": cpu,
        "begin_ns": int(told.begin_ns),
        "end_ns": int(told.end_ns),
        "cpu_ns": int(told.cpu_ns),
        "system_us": int(told.system_us),
        "minor_faults": int(told.minor_faults),
        "voluntary_switches": int(told.voluntary),
        "involuntary_switches": int(told.involuntary),
        "spin_waits": None if told.spin_waits < 0 else int(told.spin_waits),
        "semaphore_waits": None if told.semaphore_waits < 0 else int(told.semaphore_waits),
    }
