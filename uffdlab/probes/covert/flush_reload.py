# SPDX-License-Identifier: MIT
"""Send words between two of our child processes through cache lines of memory that the kernel maps in both.

Scope: both ends are processes of one sample, started for it and gone after it. There is no other target, and nothing
here can be aimed at one.

Time is cut into slots by the processors' common counter. A slot carries a word, a bit to a line: the sender loads the
lines whose bits are 1, then the receiver times a load of each and flushes it. The threshold between a cached line
and a flushed one is measured for each sample, from training slots before the message whose words both ends know. A
cached line is not always the faster one: one that another CPU's cache holds may take longer than one from memory. So
those slots give the direction as well. The counter has to run alike on all CPUs and at a constant rate.
"""

from __future__ import annotations

import errno
import random
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.host import cpus
from uffdlab.probes.affinity import pin
from uffdlab.probes.covert.endpoints import Ends, converse
from uffdlab.probes.covert.memory import SETUPS, prepared
from uffdlab.probes.covert.neighbour import beside
from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, Field, boolean, count, integer, one_of
from uffdlab.probes.spec import Spec, within, word
from uffdlab.probes.userfault import KernelRefused, Range, check
from uffdlab.stats.threshold import Threshold, best_threshold
from uffdlab.vocabulary.backings import KIB
from uffdlab.vocabulary.channel import PLACEMENTS

MOST_SECONDS = 30.0
LEAST_SLOT_NS, MOST_SLOT_NS = 1000, 100_000_000
MOST_LINES = 128  # UL_CHANNEL_LINES
MOST_SLOTS = int(MOST_SECONDS * 1e9) // LEAST_SLOT_NS
MOST_LOADS = 1 << 24  # whose times are kept: 1 GiB of Python's numbers
MOST_UNREAD = 1 << 20  # of memory that has a page for each: 4 GiB of addresses
_KEPT_BYTES = 64  # of a load's time, until it is counted
_ROUNDS = 400  # of calibrating: so many loads of each line, either way
_PROBED = 200  # rounds of reloading and flushing all lines, whose median says what that takes; fewer of long slots
_PROBED_NS = 5e8
TRAINING = 100  # slots before the message
_LEAD_MS = 20  # between agreeing on the first slot and its beginning
_STEADY = {"constant_tsc", "nonstop_tsc"}


POINT_FIELDS: list[Field] = [
    BLOCK,
    integer("sample", None, "number of the sample within its block, from 0: one sender, one receiver"),
    one_of("memory", SETUPS, "what each end maps and how it prepared it"),
    one_of("placement", PLACEMENTS, "whether both ends run on the same CPU or on two"),
    boolean("silent", "whether the sender loaded nothing: a control"),
    integer("slot_ns", "ns", "length of a slot"),
    count("lines", "cache lines that carry a bit each per slot"),
]


@dataclass(frozen=True)
class Point(Spec):
    """Where a channel is operated: what both ends map, on which CPUs, how long a slot is, how many lines it has."""

    memory: str = word("zeropage", SETUPS)
    placement: str = word("same", PLACEMENTS)
    slot_ns: int = within(40_000, LEAST_SLOT_NS, MOST_SLOT_NS)
    lines: int = within(8, 1, MOST_LINES)
    slots: int = within(1000, 1, MOST_SLOTS)

    def check(self) -> None:
        """Refuse too many lines, seconds or loads."""
        most = SETUPS[self.memory].most_lines
        if self.lines > most:
            raise UffdlabError(f"lines is {self.lines}: the {self.memory} has room for 1 to {most} at their distance")
        seconds = (TRAINING + self.slots) * self.slot_ns / 1e9
        if seconds > MOST_SECONDS:
            raise UffdlabError(
                f"{self.slots} slots of {self.slot_ns / 1000:g} µs, with {TRAINING} before them, take {seconds:.0f} s, "
                f"and {MOST_SECONDS:g} s are allowed: send less or choose shorter slots"
            )
        if self.loads > self.most_loads:
            need = "need a page for each load," if SETUPS[self.memory].unread else "take a load each,"
            raise UffdlabError(
                f"{self.slots} slots of {self.lines} lines {need} {self.loads} with those of calibrating, and "
                f"{self.most_loads} are allowed: send less"
            )

    @property
    def loads(self) -> int:
        """Return how often the receiver loads a line."""
        return (2 * _ROUNDS + 2 * _PROBED + TRAINING + self.slots) * self.lines

    @property
    def most_loads(self) -> int:
        """Return how often it may."""
        return MOST_UNREAD if SETUPS[self.memory].unread else MOST_LOADS

    def columns(self, silent: bool) -> dict[str, Any]:
        """Return the values of ``POINT_FIELDS`` that a point and its sender have."""
        setup = {"memory": self.memory, "placement": self.placement, "silent": silent}
        return setup | {"slot_ns": self.slot_ns, "lines": self.lines}

    def needs(self) -> Needs:
        """Return the needs of both ends: their memory, recorded load times, and a CPU each for ``cross``."""
        held = SETUPS[self.memory].needs(self.loads)
        kept_kib = self.loads * _KEPT_BYTES // KIB
        return replace(held, memory_kib=held.memory_kib + kept_kib, cpus=2 if self.placement == "cross" else 1)


class AtPoint(Spec):
    """A spec that operates the channel at one point."""

    @property
    @abstractmethod
    def point(self) -> Point:
        """Return the operating point."""

    def needs(self) -> Needs:
        """Return what both ends hold."""
        return self.point.needs()


@dataclass(frozen=True)
class Reception:
    """Results of the receiver: cycles by slot and line, late slots; its calibration and training."""

    words: list[int]
    cycles: list[int]
    late: list[int]
    hits: list[int]
    misses: list[int]
    trained: dict[bool, list[int]]
    threshold: Threshold
    probe_cycles: int
    cycles_per_us: int
    late_sent: int


def check_supported() -> None:
    """Raise KernelRefused if user space cannot flush a line, or the CPUs have no common steady counter."""
    _, lib = native.probe()
    check("flush+reload", lib.ul_channel_supported())
    if not steady():
        raise KernelRefused("flush+reload", errno.ENODEV)


def steady(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the time stamp counter is constant and never stops, by the flags of the first CPU."""
    try:
        lines = cpuinfo.read_bytes().decode("ascii", "replace").split("\n")
    except OSError:
        return False
    return set(next((line.split() for line in lines if line.startswith("flags")), ())) >= _STEADY


def transmit(
    point: Point, seed: int, words: Sequence[int], *, silent: bool = False, neighbour: str = "none"
) -> Reception:
    """Start a sender of ``words``, one per slot, and receive from it; if ``silent``, it loads nothing.

    Raises SenderLostError if it ends before its last word, UffdlabError if the neighbour does.
    """
    allowed = cpus.allowed()
    receiving = allowed[-1]
    sending = receiving if point.placement == "same" else allowed[0]
    others = [cpu for cpu in allowed if cpu not in (receiving, sending)] or allowed[:1]
    known = _training(point, seed)
    sent = [0] * (TRAINING + point.slots) if silent else [*known, *words]
    try:
        with beside(neighbour, point.memory, point.lines, receiving, others):
            return converse(
                lambda ends: _send(point, seed, sent, ends, sending),
                lambda ends: _receive(point, seed, known, ends, receiving),
            )
    finally:
        pin(allowed)


# --- two processes ----------------------------------------------------------------------------------------------------


def _send(point: Point, seed: int, words: Sequence[int], ends: Ends, cpu: int) -> bool:
    """Run the sender: prepare, report ready, wait for the first slot, send, report how many slots it missed."""
    ffi, lib = native.probe()
    pin([cpu])
    with prepared(point.memory, point.loads) as memory:
        plan = _plan(point, seed, memory)
        parts = [word >> 64 * part & (1 << 64) - 1 for word in words for part in range(lib.UL_CHANNEL_WORDS)]
        bits, late = ffi.new("uint64_t[]", parts), ffi.new("uint64_t *")
        ends.send(b"r")
        timing = ends.receive(24)
        if len(timing) != 24:
            return False
        plan.start, plan.slot, plan.turn = (int.from_bytes(timing[at : at + 8], "little") for at in (0, 8, 16))
        check("flush+reload", lib.ul_channel_send(plan, bits, late))
        return ends.send(int(late[0]).to_bytes(8, "little"))


def _receive(point: Point, seed: int, known: Sequence[int], ends: Ends, cpu: int) -> Reception | None:
    """Run the receiver; return None if the sender ended too early."""
    ffi, lib = native.probe()
    pin([cpu])
    with prepared(point.memory, point.loads) as memory:
        plan = _plan(point, seed, memory)
        if not ends.receive(1):
            return None
        per_us = _cycles_per_us()
        plan.slot = max(1, point.slot_ns * per_us // 1000)
        room = _ROUNDS * point.lines
        hits, misses = ffi.new("uint16_t[]", room), ffi.new("uint16_t[]", room)
        check("flush+reload", lib.ul_channel_calibrate(plan, _ROUNDS, hits, misses))
        # Its turn is long enough for the receiver even if no line is cached; about half of them will be.
        plan.turn = _turn(plan.slot, _reloading(point, plan, there=False))
        reloading = _reloading(point, plan, there=True)
        plan.start = lib.ul_cycles() + _LEAD_MS * 1000 * per_us
        if not ends.send(b"".join(int(value).to_bytes(8, "little") for value in (plan.start, plan.slot, plan.turn))):
            return None
        slots = int(plan.slots)
        cycles, late = ffi.new("uint16_t[]", slots * point.lines), ffi.new("uint8_t[]", slots)
        check("flush+reload", lib.ul_channel_receive(plan, cycles, late))
        late_sent = ends.receive(8)
        if len(late_sent) != 8:
            return None
        took = ffi.unpack(cycles, slots * point.lines)
        by_slot = [took[at : at + point.lines] for at in range(0, len(took), point.lines)]
        trained = {bit: _loads(by_slot[:TRAINING], known, bit) for bit in (True, False)}
        threshold = best_threshold(Counter(trained[True]), Counter(trained[False]))
        return Reception(
            words=[word_of(slot, threshold) for slot in by_slot[TRAINING:]],
            cycles=took[TRAINING * point.lines :],
            late=ffi.unpack(late, slots)[TRAINING:],
            hits=ffi.unpack(hits, room),
            misses=ffi.unpack(misses, room),
            trained=trained,
            threshold=threshold,
            probe_cycles=max(1, round(reloading / point.lines)),
            cycles_per_us=per_us,
            late_sent=int.from_bytes(late_sent, "little"),
        )


def word_of(cycles: Sequence[int], threshold: Threshold) -> int:
    """Return the word of a slot by the cycles of its lines: each load of the first kind is a 1."""
    return sum(1 << line for line, took in enumerate(cycles) if threshold.is_first(took))


def _reloading(point: Point, plan: Any, *, there: bool) -> int:
    """Return the cycles of a reload and flush of all lines: the median of rounds, a slot apart."""
    ffi, lib = native.probe()
    probed = max(3, min(_PROBED, int(_PROBED_NS / point.slot_ns)))
    rounds = ffi.new("uint64_t[]", probed)
    check("flush+reload", lib.ul_channel_probe_cycles(plan, probed, int(there), rounds))
    return int(median(ffi.unpack(rounds, probed)))


def _training(point: Point, seed: int) -> list[int]:
    """Return the training words, which both ends know: on every line as many ones as zeros, shuffled."""
    rng = random.Random(f"training {seed}")
    lines = [[place % 2 for place in range(TRAINING)] for _ in range(point.lines)]
    for bits in lines:
        rng.shuffle(bits)
    return [sum(bits[slot] << line for line, bits in enumerate(lines)) for slot in range(TRAINING)]


def _loads(slots: Sequence[Sequence[int]], words: Sequence[int], bit: bool) -> list[int]:
    return [
        took
        for slot, word in zip(slots, words, strict=True)
        for line, took in enumerate(slot)
        if bool(word >> line & 1) is bit
    ]


def _turn(slot: int, reloading: int) -> int:
    """Return when in a slot the receiver's turn begins, in cycles: half way, or earlier if it needs more time.

    The sender keeps at least an eighth of the slot; late slots are counted.
    """
    return max(slot // 8, min(slot // 2, slot - reloading * 9 // 8))


def _plan(point: Point, seed: int, memory: Range) -> Any:
    ffi, _ = native.probe()
    setup = SETUPS[point.memory]
    plan = ffi.new("struct ul_channel *")
    plan.addr, plan.step, plan.advance = memory.address, setup.step_bytes, setup.advance_bytes
    plan.slots, plan.lines, plan.yield_ = TRAINING + point.slots, point.lines, point.placement == "same"
    plan.room = point.loads
    order = list(range(point.lines))
    random.Random(seed).shuffle(order)
    for place, line in enumerate(order):
        plan.order[place] = line
    return plan


def _cycles_per_us() -> int:
    _, lib = native.probe()
    cycles, ns = int(lib.ul_cycles()), int(lib.ul_now_ns())
    time.sleep(0.02)
    return max(1, round((int(lib.ul_cycles()) - cycles) * 1000 / (int(lib.ul_now_ns()) - ns)))
