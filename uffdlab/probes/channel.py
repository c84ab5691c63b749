# SPDX-License-Identifier: MIT
"""Probe *channel*: can two processes of ours talk through memory that the kernel maps in both, by flush+reload?

Scope: both ends are children of this probe, started for one sample and gone after it; they send each other random bits
through mappings of their own. There is no other target, and nothing here can be aimed at one.

One sample is one sender and one receiver. Each maps fresh memory and prepares it; they share no page but what the
kernel maps in both (``zeropage``, ``huge_zeropage``), or none at all (``private``: written pages, a control). Time is
cut into slots by the processors' common counter: in the first half of a slot the sender loads the cache lines whose
bits are 1, in the second the receiver times a load of each and flushes it. What tells a load from none is found anew
for each sample, from loads of the receiver's own; it is never a constant. ``silent`` is the other control: the sender
takes part and loads nothing.

The counter has to run alike on all CPUs and at a constant rate. Where it does not, or where user space may not flush,
the block is refused with the reason.
"""

from __future__ import annotations

import errno
import os
import random
import select
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from uffdlab import native
from uffdlab.backing import BACKINGS, KIB, MIB
from uffdlab.errors import UffdlabError
from uffdlab.probes.fields import BLOCK, boolean, count, integer, one_of, text
from uffdlab.probes.needs import Needs
from uffdlab.probes.userfault import READ, WRITE, KernelRefused, Range, check, mapped

# How memory is prepared: its backing, how it is touched, bytes from one line to the next. Neighbouring lines are left
# out, since the processor fetches them along.
_MEMORY = {
    "zeropage": ("anon", READ, 256),
    "huge_zeropage": ("anon_thp", READ, 32_000),
    "private": ("anon", WRITE, 256),
}
MEMORIES = tuple(_MEMORY)
PLACEMENTS = ("same", "cross")
MOST_LINES = {"zeropage": 16, "huge_zeropage": 64, "private": 16}
MOST_SECONDS = 30.0
# One point per memory and placement, slot (ns) and lines, fixed before a campaign runs: a claim is decided there, and
# not where the campaign happened to be best. Chosen by trial runs on an AMD EPYC guest with 2 CPUs, which are not kept.
REGISTERED = {
    ("zeropage", "same"): (15_000, 16),
    ("zeropage", "cross"): (30_000, 16),
    ("huge_zeropage", "same"): (30_000, 64),
    ("huge_zeropage", "cross"): (40_000, 64),
}
_ROUNDS = 400  # of calibrating: so many loads of each line, either way
_LEAD_MS = 20  # between agreeing on the first slot and its beginning
_READY_S = 10.0
_STEADY = {"constant_tsc", "nonstop_tsc"}


@dataclass(frozen=True)
class ChannelSpec:
    """One operating point: what is shared, where both run, how long a slot is and how many lines (bits) it has."""

    memory: str = "zeropage"
    placement: str = "same"
    silent: bool = False
    slot_ns: int = 40_000
    lines: int = 16
    slots: int = 1000
    repeats: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be measured, in one sentence."""
        for value, known in ((self.memory, MEMORIES), (self.placement, PLACEMENTS)):
            if value not in known:
                raise UffdlabError(f"unknown value {value!r}: choose one of {', '.join(known)}")
        most = MOST_LINES[self.memory]
        if not 1 <= self.lines <= most:
            raise UffdlabError(f"lines is {self.lines}: the {self.memory} has room for 1 to {most} at their distance")
        if not 1000 <= self.slot_ns <= 100_000_000:
            raise UffdlabError(f"slot_ns is {self.slot_ns}: a slot lasts from 1 µs to 100 ms")
        if self.slots < 1:
            raise UffdlabError(f"slots is {self.slots}: a message has at least one slot")
        if self.slots * self.slot_ns > MOST_SECONDS * 1e9:
            raise UffdlabError(
                f"{self.slots} slots of {self.slot_ns / 1000:g} µs take {self.slots * self.slot_ns / 1e9:.0f} s, and "
                f"{MOST_SECONDS:g} s are allowed: send less or choose shorter slots"
            )
        if self.repeats < 1:
            raise UffdlabError(f"repeats is {self.repeats}: at least one sample is needed")

    def needs(self) -> Needs:
        """Return what both ends hold: their memory, a CPU each where they are not to share one, THP."""
        thp = self.memory == "huge_zeropage"
        return Needs(memory_kib=8 * KIB, thp=thp, cpus=2 if self.placement == "cross" else 1)


FIELDS: list[dict[str, Any]] = [
    BLOCK,
    integer("sample", None, "number of the sample within its block, from 0: one sender, one receiver"),
    one_of("memory", MEMORIES, "what both ends map: the zeropage, the huge zeropage, or written pages of their own"),
    one_of("placement", PLACEMENTS, "whether both ends run on the same CPU or on two"),
    boolean("silent", "whether the sender loaded nothing: a control"),
    integer("slot_ns", "ns", "length of a slot"),
    count("lines", "cache lines that carry a bit each per slot"),
    count("slots", "slots sent"),
    count("cycles_per_us", "rate of the counter"),
    count("hit_cycles", "median load of a line right after another load, when calibrating"),
    count("miss_cycles", "median load of a line right after a flush, when calibrating"),
    count("threshold_cycles", "a load that took less is taken for a 1"),
    count("probe_cycles", "one reload and flush of a line, the least of 200 rounds: what limits the rate"),
    count("late_sent", "slots that the sender came too late for"),
    count("late_received", "slots that the receiver had not finished with in time"),
    count("missed", "bits sent as 1 and received as 0"),
    count("invented", "bits sent as 0 and received as 1"),
    count("ones", "bits sent as 1"),
    count("bits", "bits sent"),
    boolean("cold", "first sample of its child process"),
]
SLOT_FIELDS: list[dict[str, Any]] = [
    BLOCK,
    integer("sample", None, "number of the sample within its block"),
    integer("slot", None, "number of the slot within its sample"),
    text("sent", "bits of the slot, hexadecimal, line 0 lowest"),
    text("received", "bits that the receiver took them for"),
    boolean("late", "whether the receiver had not finished with it in time"),
]
KINDS = ("loaded before", "flushed before", "sent 1", "sent 0")
LATENCY_FIELDS: list[dict[str, Any]] = [
    BLOCK,
    integer("sample", None, "number of the sample within its block"),
    one_of("kind", KINDS, "loads of calibrating, or of slots by the bit that was sent"),
    count("cycles", "what a load took, by the counter"),
    count("loads", "how many took that"),
]


def run(spec: ChannelSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield, for each sample, rows of ``channel_slots`` and ``channel_latencies``, then its row of ``channels``."""
    _, lib = native.probe()
    check("flush+reload", lib.ul_channel_supported())
    if not steady():
        raise KernelRefused("flush+reload", errno.ENODEV)
    for index in range(spec.repeats):
        seed = (spec.seed * 1_000_003 + index) % 2**63
        for table, row in _sample(spec, seed):
            yield table, {"sample": index} | row | ({"cold": index == 0} if table == "channels" else {})


def steady(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the time stamp counter runs at a constant rate, on and on, by the flags of the first CPU."""
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    return set(next((line.split() for line in lines if line.startswith("flags")), ())) >= _STEADY


def threshold(hits: Sequence[int], misses: Sequence[int]) -> int:
    """Return the number of cycles that parts both histograms with the fewest errors: the middle of the widest such gap.

    A load that takes less is taken for a hit.
    """
    above, below = Counter(hits), Counter(misses)
    values = sorted({*above, *below})
    wrong = len(hits)
    gaps = [(wrong, values[0] - 1, values[0])]  # errors of every threshold above the one and up to the other
    for value, following in zip(values, [*values[1:], values[-1] + 1], strict=True):
        wrong += below[value] - above[value]
        gaps.append((wrong, value, following))
    fewest = min(errors for errors, _, _ in gaps)
    _, after, until = max((gap for gap in gaps if gap[0] == fewest), key=lambda gap: gap[2] - gap[1])
    return (after + 1 + until) // 2


def _sample(spec: ChannelSpec, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    bits = _bits(spec, seed)
    got = _transmit(spec, seed, [0] * spec.slots if spec.silent else bits)
    # A control is judged by what would have been sent.
    received = [_decoded(got.cycles[s * spec.lines : (s + 1) * spec.lines], got.threshold) for s in range(spec.slots)]
    for slot, (sent, seen) in enumerate(zip(bits, received, strict=True)):
        late = bool(got.late[slot])
        yield "channel_slots", {"slot": slot, "sent": f"{sent:x}", "received": f"{seen:x}", "late": late}
    of_slots: dict[str, list[int]] = {"sent 1": [], "sent 0": []}
    for place, took in enumerate(got.cycles):
        of_slots["sent 1" if bits[place // spec.lines] >> place % spec.lines & 1 else "sent 0"].append(took)
    for kind, loads in {"loaded before": got.hits, "flushed before": got.misses, **of_slots}.items():
        for took, number in sorted(Counter(loads).items()):
            yield "channel_latencies", {"kind": kind, "cycles": took, "loads": number}
    yield "channels", _summed(spec, bits, received, got)


def _summed(spec: ChannelSpec, bits: list[int], received: list[int], got: _Got) -> dict[str, Any]:
    both = list(zip(bits, received, strict=True))
    return {
        "memory": spec.memory,
        "placement": spec.placement,
        "silent": spec.silent,
        "slot_ns": spec.slot_ns,
        "lines": spec.lines,
        "slots": spec.slots,
        "cycles_per_us": got.cycles_per_us,
        "hit_cycles": round(median(got.hits)),
        "miss_cycles": round(median(got.misses)),
        "threshold_cycles": got.threshold,
        "probe_cycles": got.probe_cycles,
        "late_sent": got.late_sent,
        "late_received": sum(got.late),
        "missed": sum((sent & ~seen).bit_count() for sent, seen in both),
        "invented": sum((seen & ~sent).bit_count() for sent, seen in both),
        "ones": sum(sent.bit_count() for sent in bits),
        "bits": spec.slots * spec.lines,
    }


def _bits(spec: ChannelSpec, seed: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.getrandbits(spec.lines) for _ in range(spec.slots)]


def _decoded(cycles: Sequence[int], at: int) -> int:
    return sum(1 << line for line, took in enumerate(cycles) if took < at)


# --- two processes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Got:
    """What the receiver saw: cycles by slot and line, lateness by slot; and what it had calibrated."""

    cycles: list[int]
    late: list[int]
    hits: list[int]
    misses: list[int]
    threshold: int
    probe_cycles: int
    cycles_per_us: int
    late_sent: int


def _cpus(placement: str) -> tuple[int, int]:
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[-1], allowed[-1] if placement == "same" else allowed[0]


def _transmit(spec: ChannelSpec, seed: int, bits: list[int]) -> _Got:
    """Start a sender, receive from it, and see it end. Raises UffdlabError when it ends before its message."""
    to_sender, from_sender = os.pipe(), os.pipe()
    parent, affinity = os.getpid(), os.sched_getaffinity(0)
    sender_cpu, receiver_cpu = _cpus(spec.placement)
    sender = os.fork()
    if sender == 0:
        os.close(to_sender[1])
        os.close(from_sender[0])
        _send_and_exit(spec, seed, bits, (to_sender[0], from_sender[1]), parent, sender_cpu)
    os.close(to_sender[0])
    os.close(from_sender[1])
    try:
        os.sched_setaffinity(0, {receiver_cpu})
        got = _receive(spec, seed, to_sender[1], from_sender[0])
    finally:
        os.sched_setaffinity(0, affinity)
        for end in (to_sender[1], from_sender[0]):
            os.close(end)
        status = _reap(sender)
    if status or got is None:
        code = os.waitstatus_to_exitcode(status)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        raise UffdlabError(f"the sender {how} before its message was through: nothing of it is kept")
    return got


def _reap(pid: int) -> int:
    """Wait for a sender that has nothing left to do, and kill it where it does not end."""
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.001)
    os.kill(pid, 9)
    return os.waitpid(pid, 0)[1]


def _send_and_exit(spec: ChannelSpec, seed: int, bits: list[int], ends: tuple[int, int], parent: int, cpu: int) -> None:
    """Be the sender: prepare, say so, wait for the first slot's time, send, say how many slots were missed."""
    status = 1
    try:
        ffi, lib = native.probe()
        if lib.ul_die_with_parent(parent):
            return
        os.sched_setaffinity(0, {cpu})
        with _prepared(spec) as memory:
            plan = _plan(spec, seed, memory)
            words, late = ffi.new("uint64_t[]", bits), ffi.new("uint64_t *")
            os.write(ends[1], b"r")
            told = os.read(ends[0], 16)
            if len(told) == 16:
                plan.start, plan.slot = int.from_bytes(told[:8], "little"), int.from_bytes(told[8:], "little")
                check("flush+reload", lib.ul_channel_send(plan, words, late))
                os.write(ends[1], int(late[0]).to_bytes(8, "little"))
                status = 0
    finally:
        os._exit(status)


def _receive(spec: ChannelSpec, seed: int, to_sender: int, from_sender: int) -> _Got | None:
    """Be the receiver; None where the sender ended before it was ready or before it had sent."""
    ffi, lib = native.probe()
    with _prepared(spec) as memory:
        plan = _plan(spec, seed, memory)
        if not _told(from_sender, 1):
            return None
        per_us = _cycles_per_us()
        plan.slot = max(1, spec.slot_ns * per_us // 1000)
        room = _ROUNDS * spec.lines
        hits, misses, least = ffi.new("uint16_t[]", room), ffi.new("uint16_t[]", room), ffi.new("uint64_t *")
        check("flush+reload", lib.ul_channel_calibrate(plan, _ROUNDS, hits, misses))
        check("flush+reload", lib.ul_channel_probe_cycles(plan, 200, least))
        plan.start = lib.ul_cycles() + _LEAD_MS * 1000 * per_us
        try:
            os.write(to_sender, b"".join(int(one).to_bytes(8, "little") for one in (plan.start, plan.slot)))
        except BrokenPipeError:
            return None
        cycles, late = ffi.new("uint16_t[]", spec.slots * spec.lines), ffi.new("uint8_t[]", spec.slots)
        check("flush+reload", lib.ul_channel_receive(plan, cycles, late))
        told = _told(from_sender, 8)
        if len(told) != 8:
            return None
        loaded, gone = ffi.unpack(hits, room), ffi.unpack(misses, room)
        return _Got(
            cycles=ffi.unpack(cycles, spec.slots * spec.lines),
            late=ffi.unpack(late, spec.slots),
            hits=loaded,
            misses=gone,
            threshold=threshold(loaded, gone),
            probe_cycles=int(least[0]),
            cycles_per_us=per_us,
            late_sent=int.from_bytes(told, "little"),
        )


def _told(end: int, length: int) -> bytes:
    """Return what the sender says; nothing where it says nothing in time, or has ended."""
    ready, _, _ = select.select([end], [], [], _READY_S)
    return os.read(end, length) if ready else b""


@contextmanager
def _prepared(spec: ChannelSpec) -> Iterator[Range]:
    """Fresh memory of one end, touched as the spec says, and checked to be what it says."""
    backing, how, _ = _MEMORY[spec.memory]
    with mapped(BACKINGS[backing], 2 * MIB) as memory:
        memory.touch(how)
        pages, zero = memory.length // (4 * KIB), memory.zeropages()
        wanted = 0 if spec.memory == "private" else pages
        if zero is not None and zero != wanted:
            raise UffdlabError(f"{zero} of {pages} pages map a zeropage, and {wanted} should: see 'uffdlab doctor'")
        yield memory


def _plan(spec: ChannelSpec, seed: int, memory: Range) -> Any:
    ffi, _ = native.probe()
    plan = ffi.new("struct ul_channel *")
    plan.addr, plan.step = memory.address, _MEMORY[spec.memory][2]
    plan.slots, plan.lines, plan.yield_ = spec.slots, spec.lines, spec.placement == "same"
    order = list(range(spec.lines))
    random.Random(seed).shuffle(order)
    for place, line in enumerate(order):
        plan.order[place] = line
    return plan


def _cycles_per_us() -> int:
    _, lib = native.probe()
    cycles, ns = int(lib.ul_cycles()), int(lib.ul_now_ns())
    time.sleep(0.02)
    return max(1, round((int(lib.ul_cycles()) - cycles) * 1000 / (int(lib.ul_now_ns()) - ns)))
