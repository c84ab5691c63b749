# SPDX-License-Identifier: MIT
"""Probe *message*: send a text through the covert channel, with only its framing agreed on.

Scope: both ends are children of this probe, started for one sample and gone after it; the text is the one that the
probe was given. There is no other target, and nothing here can be aimed at one.

One sample is one sender and one receiver (``wire``), and one message (``framing``). The sender is idle for as many
slots as its seed draws, sends, and is idle again. The receiver knows how many slots to receive, but its decoder
knows neither the start nor the length of the message. The text arrives byte for byte or is lost, and the row
has the reason. ``silent`` is the control: the sender loads nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from uffdlab.errors import UffdlabError
from uffdlab.probes.covert.bits import WORD_FIELDS, in_rows, wrong, wrong_fields
from uffdlab.probes.covert.codec import ARRIVED, CHECKSUM, MOST_BYTES, MOST_COPIES, NO_PREAMBLE, NOT_DECODABLE, Code
from uffdlab.probes.covert.endpoints import SenderLostError
from uffdlab.probes.covert.flush_reload import (
    LEAST_SLOT_NS,
    MOST_LINES,
    MOST_SECONDS,
    MOST_SLOT_NS,
    POINT_FIELDS,
    TRAINING,
    AtPoint,
    Point,
    Reception,
    check_supported,
    transmit,
)
from uffdlab.probes.covert.memory import SETUPS
from uffdlab.probes.schema import BLOCK, COLD, count, integer, one_of, text
from uffdlab.probes.spec import repeated, seed_of, seeded, within, word
from uffdlab.vocabulary.channel import PLACEMENTS

SENDER_ENDED = "sender ended"
REASONS = {
    NO_PREAMBLE: "no preamble agreed well enough with what was received",
    NOT_DECODABLE: "more bytes were wrong than can be repaired",
    CHECKSUM: "what was decoded does not have the checksum it was sent with",
    SENDER_ENDED: "the sender ended before its message was through",
}
OUTCOMES = (ARRIVED, *REASONS)
MOST_IDLE = 200  # slots before the message, and after it what is left of them


@dataclass(frozen=True)
class MessageSpec(AtPoint):
    """One message: what is shared, where both run, how long a slot is and how many lines it has, what is sent."""

    memory: str = word("zeropage", SETUPS)
    placement: str = word("same", PLACEMENTS)
    slot_ns: int = within(20_000, LEAST_SLOT_NS, MOST_SLOT_NS)
    lines: int = within(8, 1, MOST_LINES)
    text: str = "Nobody wrote this page, and two of us read it."
    copies: int = within(3, 1, MOST_COPIES)
    silent: bool = False
    repeats: int = repeated()
    seed: int = seeded()

    def check(self) -> None:
        """Refuse a text that cannot be sent."""
        shortest = Point(self.memory, self.placement, self.slot_ns, self.lines, 1)
        length, most = len(self.sent), _most_bytes(shortest, self.code)
        if not length:
            raise UffdlabError("text is empty: a message has at least one character")
        if length > most:
            raise UffdlabError(
                f"text has {length} bytes in UTF-8, and {most} fit: a message of {self.copies} copies has up to "
                f"{MOST_BYTES} bytes and takes up to {MOST_SECONDS:g} s"
            )

    @property
    def sent(self) -> bytes:
        """Return the bytes of the text. Raises UffdlabError if it is not valid Unicode."""
        try:
            return self.text.encode("utf-8")
        except UnicodeEncodeError:
            raise UffdlabError(f"text {self.text!r} is not Unicode: it has to be valid UTF-8") from None

    @property
    def code(self) -> Code:
        """Return the code both ends agree on."""
        return Code(self.lines, self.copies)

    @property
    def point(self) -> Point:
        """Return the operating point; its slots do not depend on the seed."""
        slots = MOST_IDLE + self.code.slots(len(self.sent))
        return Point(self.memory, self.placement, self.slot_ns, self.lines, slots)


FIELDS: list[dict[str, Any]] = [
    *POINT_FIELDS,
    count("copies", "times the message was sent in a row"),
    count("text_bytes", "length of the text"),
    count("idle_slots", "slots before the message, drawn, which the receiver does not know"),
    count("message_slots", "slots of all copies of the message"),
    count("slots", "slots in all, with the idle ones after it"),
    count("bits_on_wire", "bits of all slots"),
    one_of("outcome", OUTCOMES, "whether the text arrived, or why not"),
    text("reason", "why it is lost; missing where it arrived"),
    text("sent", "text that was to be sent: UTF-8, hexadecimal"),
    text("received", "text that the receiver decoded, likewise; missing where it is lost"),
    count("preambles", "copies whose preamble was found", required=False),
    count("corrected_bytes", "bytes that the code repaired, after the vote of the copies", required=False),
    count("late_sent", "slots that the sender came too late for", required=False),
    count("late_received", "slots that the receiver had not finished with in time", required=False),
    *wrong_fields(required=False),
    count("ones", "bits sent as 1; where the sender was silent, those it would have sent"),
    COLD,
]
BIT_FIELDS: list[dict[str, Any]] = [
    BLOCK,
    integer("sample", None, "number of the sample within its block: the first one's bits are kept"),
    *WORD_FIELDS,
]


def run(spec: MessageSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of ``message_bits`` of the first sample, and of each sample its row of ``messages``."""
    check_supported()
    for index in range(spec.repeats):
        seed = seed_of(spec, index)
        idle = random.Random(seed).randint(0, MOST_IDLE)
        words = [0] * idle + spec.code.encode(spec.sent) + [0] * (MOST_IDLE - idle)
        got: Reception | None = None
        try:
            got = transmit(spec.point, seed, words, silent=spec.silent)
        except SenderLostError:
            summed: dict[str, Any] = {"outcome": SENDER_ENDED}
        else:
            summed = _summed(spec, words, got)
        if index == 0 and got is not None:
            yield from (("message_bits", {"sample": index} | row) for row in in_rows(words, got.words, spec.lines))
        lost = {"reason": REASONS.get(summed["outcome"])}
        sizes = {"idle_slots": idle, "ones": sum(word.bit_count() for word in words)}
        yield "messages", {"sample": index} | _inputs(spec) | sizes | _UNKNOWN | summed | lost | {"cold": index == 0}


_UNKNOWN = dict.fromkeys(
    ("received", "preambles", "corrected_bytes", "late_sent", "late_received", "missed", "invented")
)


def _most_bytes(shortest: Point, code: Code) -> int:
    """Return the length of the longest text that fits the time and the loads."""
    slots = int(MOST_SECONDS * 1e9) // shortest.slot_ns - TRAINING
    slots = min(slots, 1 + (shortest.most_loads - shortest.loads) // shortest.lines)
    fits, beyond = 0, MOST_BYTES + 1
    while beyond - fits > 1:
        middle = (fits + beyond) // 2
        if MOST_IDLE + code.slots(middle) <= slots:
            fits = middle
        else:
            beyond = middle
    return fits


def _inputs(spec: MessageSpec) -> dict[str, Any]:
    slots = spec.point.slots
    return {
        **spec.point.columns(spec.silent),
        "copies": spec.copies,
        "text_bytes": len(spec.sent),
        "message_slots": slots - MOST_IDLE,
        "slots": slots,
        "bits_on_wire": slots * spec.lines,
        "sent": spec.sent.hex(),
    }


def _summed(spec: MessageSpec, words: Sequence[int], got: Reception) -> dict[str, Any]:
    """Return the results. Decoding uses received words only."""
    decoded = spec.code.decode(got.words, got.late)
    return {
        "outcome": decoded.outcome,
        "received": None if decoded.text is None else decoded.text.hex(),
        "preambles": decoded.preambles,
        "corrected_bytes": decoded.repaired,
        "late_sent": got.late_sent,
        "late_received": sum(got.late),
        **wrong(words, got.words),
    }
