# SPDX-License-Identifier: MIT
"""Covert channel: sent and received bits of each sample, capacity, and a permutation test for a channel.

Capacity is mutual information per bit times bits per second, less the excess that few samples of independent data show
on average (Miller and Madow, 1955). Whether bits pass at all is tested by permuting the sent slots. The permutations
are rotations of all slots of a sample, so that bursts of errors stay together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log2, sqrt
from typing import Any

import numpy as np

from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError
from uffdlab.stats.information import corrected_information, mutual_information
from uffdlab.vocabulary.channel import POINT, SHARED

ROTATIONS = 9999
LEVEL = 0.01  # of the test
_ONE_SIDED_95 = 1.645
SAMPLE_COLUMNS = [
    *POINT,
    "block",
    "sample",
    "slots",
    "probe_cycles",
    "cycles_per_us",
    "late_sent",
    "late_received",
    "slower",
]
SLOT_COLUMNS = ["block", "sample", "slot", "sent", "received"]
_NIBBLES = np.full(256, 255, dtype=np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = range(16)

Bits = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class Transmission:
    """One sample: its row of ``channels`` and the bits of its slots, by slot and line."""

    row: dict[str, Any]
    sent: Bits
    received: Bits

    def __post_init__(self) -> None:
        """Refuse to compare what differs in length, or is nothing: raises ValueError."""
        if self.sent.shape != self.received.shape or not self.sent.size:
            raise ValueError(f"{self.sent.shape} bits sent, {self.received.shape} received: they have to match")

    @property
    def kbit_s_sent(self) -> float:
        """Return the rate of sent bits in kbit/s."""
        return float(self.row["lines"]) / float(self.row["slot_ns"]) * 1e6

    @cached_property
    def agreements(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the covariance of sent and received bits, summed over slots, by rotation (the first is 0) and line.

        It is 0 for a line that is always 1. Computed as a cyclic correlation, by Fourier transform.
        """
        out, back = (np.fft.rfft(bits - bits.mean(axis=0), axis=0) for bits in (self.sent, self.received))
        return np.asarray(np.fft.irfft(np.conj(out) * back, n=len(self.sent), axis=0))

    @cached_property
    def agreement(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the sum of ``agreements`` over lines, by rotation."""
        return np.asarray(self.agreements.sum(axis=1))

    @cached_property
    def correlation(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the mean over lines of the squared correlation, by rotation: one line among many shows in it."""
        out, back = (((bits - bits.mean(axis=0)) ** 2).sum(axis=0) for bits in (self.sent, self.received))
        scale = out * back
        return np.asarray((self.agreements**2 / np.where(scale > 0, scale, np.inf)).mean(axis=1))

    def counts(self, rotated: int = 0) -> list[list[int]]:
        """Return how often i was sent and j received, with the sent slots rotated by ``rotated``."""
        sent = np.roll(self.sent, rotated, axis=0)
        return [[int(((sent == i) & (self.received == j)).sum()) for j in (False, True)] for i in (False, True)]


@dataclass(frozen=True)
class Judged:
    """The test whether samples agree or disagree beyond chance: the ``p`` of ``ROTATIONS`` permutations.

    ``below`` is a one-sided 95 % bound on the information per bit that may have passed undetected, also through few
    lines or in few samples: what chance would hide, and at least 3 in the number of bits. It is meaningless where there
    is a channel.
    """

    p: float
    below: float

    @property
    def passes(self) -> bool:
        """Whether there is a channel."""
        return self.p < LEVEL


def judge(samples: Sequence[Transmission], seed: int = 0, *, inverted: bool = True) -> Judged:
    """Test samples together, each rotated at random on its own. Raises ValueError without any.

    A rotation by 0 is one of them. A single sample is tested with all of its rotations, one per slot, so its p is at
    least 1 / slots. With ``inverted`` the test is two-sided in each sample: bits that arrive inverted count as well.
    """
    if not samples:
        raise ValueError("no samples: a test needs at least one")
    rng = np.random.default_rng(seed)
    alone = len(samples) == 1
    slots = [len(sample.sent) for sample in samples]
    moved = [np.arange(n) if alone else rng.integers(0, n, ROTATIONS) for n in slots]
    size = np.abs if inverted else np.asarray
    agreement = sum(float(size(sample.agreement[0])) for sample in samples)
    chance = np.asarray(sum(size(sample.agreement[by]) for sample, by in zip(samples, moved, strict=True)))
    # Rounding of the transform must not separate equal values.
    slack = 1e-9 * (1 + sum(sample.sent.size for sample in samples))
    as_much = int((chance >= agreement - slack).sum())
    p = as_much / len(chance) if alone else (1 + as_much) / (1 + ROTATIONS)
    squares = np.asarray(sum(sample.correlation[by] for sample, by in zip(samples, moved, strict=True))) / len(samples)
    beyond = sum(float(sample.correlation[0]) for sample in samples) / len(samples) - float(squares.mean())
    bits = sum(sample.sent.size for sample in samples)
    # The effect itself has a variance, besides that of chance.
    spread = sqrt(float(squares.var()) + 4 * max(0.0, beyond) / bits)
    most, rare = max(0.0, beyond) + _ONE_SIDED_95 * spread, 3 / bits
    # For any distribution of errors: information is at most log2(1 + chi^2) (Gibbs and Su, 2002), for two bits the
    # squared correlation; and the mean of such logarithms is at most that of the mean (Jensen).
    return Judged(p, min(1.0, max(rare, log2(1 + most))))


def shuffled(samples: Sequence[Transmission], draws: int = 100, seed: int = 0) -> list[float]:
    """Return a control, by draw: the corrected information per bit between received slots and other sent ones.

    Not cut off at 0: without a channel the mean is 0, and half of the draws lie below.
    """
    rng = np.random.default_rng(seed)
    information = []
    for _ in range(draws):
        moved = [sample.counts(int(rng.integers(min(1, len(sample.sent) - 1), len(sample.sent)))) for sample in samples]
        information.append(corrected_information(np.asarray(moved).sum(axis=0).tolist()))
    return information


def capacity_kbit_s(samples: Sequence[Transmission]) -> float:
    """Return the corrected capacity of samples of one point, counted together. Raises ValueError without any."""
    if not samples:
        raise ValueError("no samples: a capacity needs at least one")
    counts = np.asarray([sample.counts() for sample in samples]).sum(axis=0)
    return mutual_information(counts.tolist()) * samples[0].kbit_s_sent


def error_share(samples: Sequence[Transmission]) -> float:
    """Return the share of bits that arrived wrong."""
    wrong = sum(int((sample.sent != sample.received).sum()) for sample in samples)
    return wrong / sum(sample.sent.size for sample in samples)


def by_child(samples: Iterable[Transmission]) -> list[list[Transmission]]:
    """Return the samples of each child process."""
    children: dict[Any, list[Transmission]] = {}
    for sample in samples:
        children.setdefault(sample.row["block"], []).append(sample)
    return list(children.values())


def registered(keys: Iterable[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    """Return the operating points, tuples of the columns ``POINT``, that were measured beside their controls.

    Shared memory needs a silent sender at the same point; unshared memory is a control itself, and is registered where
    other memory has a silent sender. All other points belong to a sweep.
    """
    known = set(keys)
    silent = {key for key in known if key[2]}
    spots = {(key[1], *key[3:]) for key in silent}
    return {
        key
        for key in known
        if ((key[0], key[1], True, *key[3:]) in silent if key[0] in SHARED else (key[1], *key[3:]) in spots)
    }


def transmissions(data: Dataset, **wanted: Any) -> Iterator[Transmission]:
    """Yield the samples of a dataset whose row of ``channels`` equals ``wanted``, in the order they were measured.

    Samples with missing cells are left out. Raises UffdlabError where ``channel_slots`` lacks the words of a sample, or
    a sample has no slots, lines or time.
    """
    if "channels" not in data.tables or "channel_slots" not in data.tables:
        return
    rows = data.rows("channels", SAMPLE_COLUMNS)
    rows = rows.dropna(subset=SAMPLE_COLUMNS)
    for column in ("slot_ns", "lines", "slots"):
        if (rows[column] <= 0).any():
            raise UffdlabError(f"`channels.{column}` holds {rows[column].min()}: expected > 0")
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    words = dict(iter(data.rows("channel_slots", SLOT_COLUMNS).groupby(["block", "sample"], sort=False)))
    for row in rows.sort_values(["block", "sample"]).to_dict("records"):
        group = words.get((row["block"], row["sample"]))
        if group is None:
            raise UffdlabError(f"channel_slots has no slots of block {row['block']}, sample {row['sample']}")
        group = group.sort_values("slot")
        sent, received = (_bits("".join(map(str, group[name])), row) for name in ("sent", "received"))
        yield Transmission({str(name): value for name, value in row.items()}, sent, received)


def _bits(text: str, row: Mapping[Any, Any]) -> Bits:
    try:
        return as_bits(text, int(row["lines"]), int(row["slots"]))
    except ValueError as error:
        raise UffdlabError(f"channel_slots of block {row['block']}, sample {row['sample']}: {error}") from None


def as_bits(text: str, lines: int, slots: int | None = None) -> Bits:
    """Return hexadecimal words, one per slot of -(-lines // 4) digits, as bits by slot and line.

    Raises ValueError on malformed words, or on another number of them than ``slots``.
    """
    digits = -(-lines // 4)
    nibbles = _NIBBLES[np.frombuffer(text.encode("utf-8"), dtype=np.uint8)]
    whole = digits > 0 and len(nibbles) > 0 and len(nibbles) % digits == 0 and not (nibbles > 15).any()
    if not whole or slots not in (None, len(nibbles) // digits):
        many = "" if slots is None else f"{slots} "
        raise ValueError(f"not {many}words of {digits} hexadecimal digits")
    places = np.arange(lines)
    words = nibbles.reshape(-1, digits)[:, ::-1]
    return np.asarray(words[:, places // 4] >> (places % 4) & 1, dtype=bool)
