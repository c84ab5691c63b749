# SPDX-License-Identifier: MIT
"""Probe *channel*: a covert channel by flush+reload between two of our processes through memory mapped in both.

Scope: both ends are children of this probe, started for one sample and gone after it; they send each other random bits
through mappings of their own. There is no other target, and nothing here can be aimed at one.

One sample is one sender and one receiver (``wire``). Each maps memory and prepares it as one design would
(``memory``): they share no page but what the kernel maps in both, or none at all (``private``: written pages, a
control). ``silent`` is the other control: the sender takes part and loads nothing. ``libc`` is a baseline: a page of a
file in the zeropage's place.

With a ``neighbour`` a third process of ours works meanwhile. Such samples go to tables of their own, ``noisy_channels``
and ``noisy_slots``: rules read ``channels``, where nothing ran beside both ends, and cannot mistake one for the other.

Where the processors' counter is not steady, or where user space may not flush, the block is refused with the reason.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from uffdlab.probes.covert.bits import SLOTS_PER_ROW, WORD_FIELDS, in_rows, wrong, wrong_fields
from uffdlab.probes.covert.flush_reload import (
    LEAST_SLOT_NS,
    MOST_LINES,
    MOST_SLOT_NS,
    MOST_SLOTS,
    POINT_FIELDS,
    TRAINING,
    AtPoint,
    Point,
    Reception,
    check_supported,
    transmit,
)
from uffdlab.probes.covert.memory import SETUPS
from uffdlab.probes.covert.neighbour import elsewhere, holds_kib
from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, COLD, boolean, count, integer, one_of, text
from uffdlab.probes.spec import repeated, seed_of, seeded, within, word
from uffdlab.vocabulary.channel import NEIGHBOURS, PLACEMENTS

# One point per memory and placement, slot (ns), lines and slots, fixed before a campaign runs: a claim is decided
# there, and not where the campaign happened to be best. Chosen by trial runs on an AMD EPYC guest with 2 CPUs, which
# are not kept. Designs stand at the point of the zeropage they would share, and where each load is a fault, slots
# are long enough for it.
_SMALL = {"same": (10_000, 8, 500), "cross": (8_000, 8, 500)}
_LARGE = {"same": (36_000, 128, 120), "cross": (36_000, 128, 120)}
_FAULTING = {"same": (50_000, 8, 500), "cross": (50_000, 8, 500)}
REGISTERED = {
    (name, placement): (_FAULTING if setup.unread else _LARGE if setup.most_lines > 8 else _SMALL)[placement]
    for name, setup in SETUPS.items()
    for placement in PLACEMENTS
}


@dataclass(frozen=True)
class ChannelSpec(AtPoint):
    """One operating point: what is shared, where both run, how long a slot is and how many lines (bits) it has.

    ``loads``: whether to keep the load times of the first sample; beside a neighbour they are not kept.
    """

    memory: str = word("zeropage", SETUPS)
    placement: str = word("same", PLACEMENTS)
    silent: bool = False
    neighbour: str = word("none", NEIGHBOURS)
    slot_ns: int = within(40_000, LEAST_SLOT_NS, MOST_SLOT_NS)
    lines: int = within(8, 1, MOST_LINES)
    slots: int = within(1000, 1, MOST_SLOTS)
    loads: bool = True
    repeats: int = repeated()
    seed: int = seeded()

    def check(self) -> None:
        """Refuse an invalid operating point."""
        _ = self.point

    @property
    def point(self) -> Point:
        """Return where the channel is operated."""
        return Point(self.memory, self.placement, self.slot_ns, self.lines, self.slots)

    def needs(self) -> Needs:
        """Return what both ends hold, and the neighbour."""
        held = super().needs()
        cpus = 2 if elsewhere(self.neighbour) else held.cpus
        return replace(held, memory_kib=held.memory_kib + holds_kib(self.neighbour), cpus=cpus)


FIELDS: list[dict[str, Any]] = [
    *POINT_FIELDS,
    count("slots", "slots sent"),
    count("cycles_per_us", "rate of the counter"),
    count("hit_cycles", "median load of a line right after another load, when calibrating"),
    count("miss_cycles", "median load of a line right after a flush, when calibrating"),
    count("threshold_cycles", "latency threshold between a 1 and a 0, from training slots whose bits both ends knew"),
    boolean("slower", "whether a load that took as long or longer is taken for a 1, and not one that took less"),
    count(
        "probe_cycles",
        "reload and flush of all lines, every other one there, by their number: median of up to 200 rounds",
    ),
    count(
        "late_sent", f"slots that the sender came too late for, of those sent and {TRAINING} of training before them"
    ),
    count("late_received", "slots that the receiver had not finished with in time"),
    *wrong_fields(),
    count("ones", "bits sent as 1"),
    count("bits", "bits sent"),
    COLD,
]
NOISY_FIELDS: list[dict[str, Any]] = [*FIELDS, one_of("neighbour", NEIGHBOURS, "what a third process did meanwhile")]
SLOT_FIELDS: list[dict[str, Any]] = [
    BLOCK,
    integer("sample", None, "number of the sample within its block"),
    *WORD_FIELDS,
    text(
        "late", "slots of the row that the receiver had not finished with in time: hexadecimal, first slot lowest bit"
    ),
]
KINDS = ("loaded before", "flushed before", "known 1", "known 0", "sent 1", "sent 0")
LATENCY_FIELDS: list[dict[str, Any]] = [
    BLOCK,
    integer("sample", None, "number of the sample within its block: the first one's loads are kept"),
    one_of("kind", KINDS, "calibration right after a load or a flush; or slots by their bit, known beforehand or sent"),
    count("cycles", "what a load took, by the counter"),
    count("loads", "how many took that"),
]


def run(spec: ChannelSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield, for each sample, rows of ``channel_slots`` and ``channel_latencies``, then its row of ``channels``.

    Beside a neighbour: rows of ``noisy_slots``, then its row of ``noisy_channels``.
    """
    check_supported()
    noisy = spec.neighbour != "none"
    for index in range(spec.repeats):
        seed = seed_of(spec, index)
        bits = _bits(spec, seed)
        got = transmit(spec.point, seed, bits, silent=spec.silent, neighbour=spec.neighbour)
        slots = "noisy_slots" if noisy else "channel_slots"
        yield from ((slots, {"sample": index} | row) for row in _slots(spec, bits, got))
        if index == 0 and spec.loads and not noisy:
            yield from (("channel_latencies", {"sample": index} | row) for row in _latencies(spec, bits, got))
        row = {"sample": index} | _summed(spec, bits, got) | {"cold": index == 0}
        yield ("noisy_channels", row | {"neighbour": spec.neighbour}) if noisy else ("channels", row)


def _bits(spec: ChannelSpec, seed: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.getrandbits(spec.lines) for _ in range(spec.slots)]


def _slots(spec: ChannelSpec, bits: Sequence[int], got: Reception) -> Iterator[dict[str, Any]]:
    for row in in_rows(bits, got.words, spec.lines):
        late = got.late[row["slot"] : row["slot"] + SLOTS_PER_ROW]
        yield row | {"late": f"{sum(1 << place for place, was_late in enumerate(late) if was_late):x}"}


def _latencies(spec: ChannelSpec, bits: Sequence[int], got: Reception) -> Iterator[dict[str, Any]]:
    """Yield the counts of load times. A silent sample is compared with the bits that would have been sent."""
    of_slots: dict[str, list[int]] = {"sent 1": [], "sent 0": []}
    for place, took in enumerate(got.cycles):
        of_slots["sent 1" if bits[place // spec.lines] >> place % spec.lines & 1 else "sent 0"].append(took)
    own = {"loaded before": got.hits, "flushed before": got.misses}
    known = {"known 1": got.trained[True], "known 0": got.trained[False]}
    for kind, loads in {**own, **known, **of_slots}.items():
        for took, number in sorted(Counter(loads).items()):
            yield {"kind": kind, "cycles": took, "loads": number}


def _summed(spec: ChannelSpec, bits: Sequence[int], got: Reception) -> dict[str, Any]:
    return {
        **spec.point.columns(spec.silent),
        "slots": spec.slots,
        "cycles_per_us": got.cycles_per_us,
        "hit_cycles": round(median(got.hits)),
        "miss_cycles": round(median(got.misses)),
        "threshold_cycles": got.threshold.at,
        "slower": got.threshold.slower,
        "probe_cycles": got.probe_cycles,
        "late_sent": got.late_sent,
        "late_received": sum(got.late),
        **wrong(bits, got.words),
        "ones": sum(sent.bit_count() for sent in bits),
        "bits": spec.slots * spec.lines,
    }
