# SPDX-License-Identifier: MIT
"""Synthetic datasets of a covert channel: random bits sent, and received with a share of them flipped."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from synthetic import FACTS

from uffdlab import datasets
from uffdlab.datasets import Dataset
from uffdlab.probes.covert import channel

LINES, SLOTS = 8, 120
_SAMPLE = {
    "sample": 0, "lines": LINES, "slots": SLOTS, "bits": LINES * SLOTS, "cycles_per_us": 2000, "hit_cycles": 70,
    "miss_cycles": 390, "threshold_cycles": 200, "slower": False, "probe_cycles": 500, "late_sent": 0,
    "late_received": 0, "cold": True,
}  # fmt: skip


def words(seed: int, flips: float, lines: int = LINES, slots: int = SLOTS) -> tuple[list[int], list[int]]:
    """Return words as sent and as received, each bit flipped with probability ``flips``: at 0.5 nothing passes."""
    rng = random.Random(seed)
    sent = [rng.getrandbits(lines) for _ in range(slots)]
    noise = [sum(1 << line for line in range(lines) if rng.random() < flips) for _ in range(slots)]
    return sent, [word ^ wrong for word, wrong in zip(sent, noise, strict=True)]


def point(
    flips: Iterable[float],
    memory: str = "zeropage",
    placement: str = "same",
    *,
    silent: bool = False,
    slot_ns: int = 8000,
    **more: Any,
) -> list[dict[str, Any]]:
    """Return one sample, of one child, per share of flipped bits, at one operating point."""
    at = {"memory": memory, "placement": placement, "silent": silent, "slot_ns": slot_ns} | more
    return [at | {"flips": share} for share in flips]


def campaign(out: Path, *points: Sequence[dict[str, Any]], id_: str = "made-up", **more: Any) -> Dataset:
    """Write and load a dataset of these points; children are numbered in their order. Those with a ``neighbour`` go
    to the tables of noisy ones.
    """
    rows, slots, beside = [], [], []
    for block, child in enumerate(child for children in points for child in children):
        row = _SAMPLE | {"block": block} | {name: value for name, value in child.items() if name != "flips"}
        lines, count = row["lines"], row["slots"]
        sent, received = words(block, child["flips"], lines, count)
        both = list(zip(sent, received, strict=True))
        row |= {"missed": sum((a & ~b).bit_count() for a, b in both), "ones": sum(a.bit_count() for a in sent)}
        row |= {"invented": sum((b & ~a).bit_count() for a, b in both), "bits": lines * count}
        rows.append(row)
        beside += [block] if "neighbour" in row else []
        digits = -(-lines // 4)
        slots += [
            {"block": block, "sample": 0, "slot": first, "late": "0"}
            | {
                name: "".join(f"{word:0{digits}x}" for word in of[first : first + channel.SLOTS_PER_ROW])
                for name, of in (("sent", sent), ("received", received))
            }
            for first in range(0, count, channel.SLOTS_PER_ROW)
        ]
    quiet, noisy = (
        [[row for row in part if (row["block"] in beside) is with_neighbour] for part in (rows, slots)]
        for with_neighbour in (False, True)
    )
    known = {
        "channels": (channel.FIELDS, quiet[0]),
        "channel_slots": (channel.SLOT_FIELDS, quiet[1]),
        "channel_latencies": (channel.LATENCY_FIELDS, []),
    }
    if beside:
        known |= {"noisy_channels": (channel.NOISY_FIELDS, noisy[0]), "noisy_slots": (channel.SLOT_FIELDS, noisy[1])}
    tables = [datasets.Table(name, fields, of) for name, (fields, of) in (known | more).items()]
    return datasets.write(out, id=id_, title="made up for a test", tables=tables, provenance=FACTS)
