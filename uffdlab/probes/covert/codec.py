# SPDX-License-Identifier: MIT
"""Code a text as words that may be lost: it arrives byte for byte or is reported lost, never in part.

A message is sent as ``copies`` frames, one after the other. A frame is a preamble, then the coded length, then the
coded body: length, text, CRC-32. Reed-Solomon blocks repair bytes. A burst of lost slots is spread over all blocks, and
neighbouring bits make a byte, so that a lost slot costs few of them. Frames differ in which line carries which bit: a
line that is always wrong takes a different bit from each.

The receiver knows lines and copies, and which slots it was late for. It finds each frame by its preamble, and learns
there how each line shows a one and a zero, and how many slots are lost as a whole. The length in one frame locates the
others, including those whose preamble was damaged. Frames then vote on every bit, each line with its learned weight,
reduced for slots that look lost. The least certain bytes are treated as erasures first. A fixed mask distinguishes
messages from idle slots, where everything is 0.
"""

from __future__ import annotations

import random
import zlib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from math import ceil, exp, log, prod, sqrt
from typing import Any

from uffdlab.errors import UffdlabError

ARRIVED, NO_PREAMBLE, NOT_DECODABLE, CHECKSUM = "arrived", "no preamble", "not decodable", "checksum differs"
MOST_BYTES = (1 << 16) - 1
MOST_COPIES = 15
_BLOCK = 255  # bytes, as many as the code's field has places
_PARITY = 127  # of them: up to 63 wrong bytes of a block are repaired
_LENGTH_PARITY = 30
_LENGTH_BYTES = 2
_CHECKSUM_BYTES = 4
_LEAST_PREAMBLE_SLOTS = 64
_LEAST_PREAMBLE_BITS = 1024
_DEVIATIONS = 7  # of a sum of coin flips: what chance reaches once in 10¹² places
_PREAMBLE_SEED, _MASK_SEED = 0x5EED, 0x3A5C

Frame = tuple[int, int]  # number of a frame, slot where it begins
_GIVEN_UP = (1.0, 0.5, 0.25, 0.1)  # bytes that are likelier wrong than this, one choice after the other
_KEPT_PARITY = 16  # what is given up must not leave so little that any bytes would do
_ROUNDS = 4  # of learning what is lost and what lines show: each depends on the other


@dataclass(frozen=True)
class Received:
    """The decoded message: its text if it arrived, bytes repaired, preambles found."""

    outcome: str
    text: bytes | None = None
    repaired: int | None = None
    preambles: int = 0


@dataclass(frozen=True)
class Code:
    """The code both ends agree on: bits per word, and how often a frame is sent."""

    lines: int
    copies: int

    def __post_init__(self) -> None:
        """Raise UffdlabError for an invalid code."""
        if self.lines < 1:
            raise UffdlabError(f"lines is {self.lines}: a word has at least one bit")
        if not 1 <= self.copies <= MOST_COPIES:
            raise UffdlabError(f"copies is {self.copies}: a message is sent 1 to {MOST_COPIES} times")

    def slots(self, text_bytes: int) -> int:
        """Return how many words a message takes."""
        return self.copies * (self._head_slots + self.words_of(_coded_bytes(text_bytes)))

    def encode(self, text: bytes) -> list[int]:
        """Return the words of a message. Raises UffdlabError for an empty or too long text."""
        if not 1 <= len(text) <= MOST_BYTES:
            raise UffdlabError(f"a text of {len(text)} bytes is no message: it has 1 to {MOST_BYTES}")
        import reedsolo

        length = len(text).to_bytes(_LENGTH_BYTES, "big")
        parts = (reedsolo.RSCodec(_LENGTH_PARITY).encode(length), _coded(length + text + checksum(length + text)))
        words = [word for part in parts for word in self._packed(bytes(part))]
        masked = [word ^ mask for word, mask in zip(words, _masks(self.lines, len(words)), strict=True)]
        return [
            word
            for copy in range(self.copies)
            for word in (*self.preambles[copy], *(self._turned(word, copy) for word in masked))
        ]

    def decode(self, words: Sequence[int], late: Sequence[int] = ()) -> Received:
        """Decode the message within ``words``; ``late`` flags the late slots."""
        frames = list(self._find_frames(words))
        if not frames:
            return Received(NO_PREAMBLE)
        decoder, outcome, tried = _Decoder(self, words, late, frames), NOT_DECODABLE, set()
        for some in _choices(frames):
            text_bytes = decoder.length(some)
            located = self._locate(some[0], text_bytes, len(words)) if text_bytes else ()
            if not text_bytes or not located or located in tried:
                continue
            tried.add(located)
            got = _Decoder(self, words, late, located).text(text_bytes)
            if got.text is not None:
                return Received(ARRIVED, got.text, got.repaired, len(frames))
            outcome = CHECKSUM if got.outcome == CHECKSUM else outcome
        return Received(outcome, preambles=len(frames))

    # --- preambles ----------------------------------------------------------------------------------------------------

    @property
    def preamble_slots(self) -> int:
        """Return how many words a preamble has: an even number, and enough bits to be distinguished from noise."""
        return max(_LEAST_PREAMBLE_SLOTS, 2 * ceil(_LEAST_PREAMBLE_BITS / self.lines / 2))

    @property
    def threshold(self) -> int:
        """Return how many bits of a preamble have to agree, from how many agree by chance."""
        bits = self.preamble_slots * self.lines
        return ceil(bits / 2 + _DEVIATIONS * sqrt(bits) / 2)

    @cached_property
    def preambles(self) -> list[list[int]]:
        """Return one of each frame: half of a word is 1, and half of a line, so that what never changes agrees by half.

        They are words with half of their bits set, and the complement of each, in an order drawn once and for all.
        """
        made = []
        for copy in range(self.copies):
            rng, every = random.Random(_PREAMBLE_SEED + copy), (1 << self.lines) - 1
            words = []
            for _ in range(self.preamble_slots // 2):
                word = sum(1 << line for line in rng.sample(range(self.lines), self.lines // 2))
                words += [word, word ^ every]
            rng.shuffle(words)
            made.append(words)
        return made

    def _find_frames(self, words: Sequence[int]) -> Iterator[Frame]:
        """Yield each frame at the best agreement with its preamble, if above the threshold."""
        for copy, preamble in enumerate(self.preambles):
            wanted, last = _joined(preamble, self.lines), self.lines * (self.preamble_slots - 1)
            bits, window, best = self.lines * self.preamble_slots, 0, (0, 0)
            for slot, word in enumerate(words):
                window = window >> self.lines | word << last
                agreeing = bits - (window ^ wanted).bit_count()
                begin = slot + 1 - self.preamble_slots
                if begin >= 0 and agreeing > best[0]:
                    best = agreeing, begin
            if best[0] >= self.threshold:
                yield copy, best[1]

    def _locate(self, frame: Frame, text_bytes: int, end: int) -> tuple[Frame, ...]:
        """Return the frames of a message of that length, located from one of them, as far as received."""
        copy, begin = frame
        length = self.slots(text_bytes) // self.copies
        places = ((other, begin + (other - copy) * length) for other in range(self.copies))
        return tuple(place for place in places if 0 <= place[1] <= end - length)

    # --- length and body ----------------------------------------------------------------------------------------------

    @property
    def length_slots(self) -> int:
        """Return how many words the coded length takes."""
        return self.words_of(_LENGTH_BYTES + _LENGTH_PARITY)

    @property
    def _head_slots(self) -> int:
        return self.preamble_slots + self.length_slots

    def words_of(self, coded_bytes: int) -> int:
        """Return how many words so many bytes take."""
        return ceil(8 * coded_bytes / self.lines)

    def _packed(self, coded: bytes) -> list[int]:
        digits = f"{int.from_bytes(coded, 'little'):0{self.words_of(len(coded)) * self.lines}b}"
        return [int(digits[at - self.lines : at], 2) for at in range(len(digits), 0, -self.lines)]

    def turn(self, copy: int) -> int:
        """Return how far a frame's bits are moved on."""
        return copy * max(1, self.lines // self.copies) % self.lines

    def _turned(self, word: int, copy: int) -> int:
        """Return a word with its bits moved on to the lines that carry them in this frame."""
        turn = self.turn(copy)
        return (word << turn | word >> (self.lines - turn)) & (1 << self.lines) - 1


class _Decoder:
    """Received frames, and the reliability of their bits."""

    def __init__(self, code: Code, words: Sequence[int], late: Sequence[int], frames: Sequence[Frame]) -> None:
        self._code, self._words, self._frames = code, words, frames
        self._late = [bool(flag) for flag in late] or [False] * len(words)
        self._kept: dict[tuple[int, int], array[float]] = {}
        self._learn()

    def length(self, some: Sequence[Frame]) -> int | None:
        """Return the length of the text that these frames announce; None if it cannot be decoded."""
        import reedsolo

        votes = self._votes(some, 0, _LENGTH_BYTES + _LENGTH_PARITY, range(_LENGTH_BYTES + _LENGTH_PARITY))
        try:
            return int.from_bytes(_decided(reedsolo.RSCodec(_LENGTH_PARITY), votes)[0], "big") or None
        except reedsolo.ReedSolomonError:
            return None

    def text(self, text_bytes: int) -> Received:
        """Return the text: each block decoded from all frames, or else from some of them."""
        end, repaired, body = _LENGTH_BYTES + text_bytes, 0, b""
        number, _ = _blocks(text_bytes)
        for block in range(number):
            decided = self._block(text_bytes, range(block, _coded_bytes(text_bytes), number))
            if decided is None:
                return Received(NOT_DECODABLE)
            body, repaired = body + decided[0], repaired + decided[1]
        announced = int.from_bytes(body[:_LENGTH_BYTES], "big")
        if announced != text_bytes or body[end : end + _CHECKSUM_BYTES] != checksum(body[:end]):
            return Received(CHECKSUM)
        return Received(ARRIVED, body[_LENGTH_BYTES:end], repaired)

    def _block(self, text_bytes: int, places: Sequence[int]) -> tuple[bytes, int] | None:
        """Return the data of the block whose bytes are at these places, and how many were repaired."""
        import reedsolo

        for some in _choices(self._frames):
            votes = self._votes(some, self._code.length_slots, _coded_bytes(text_bytes), places)
            with suppress(reedsolo.ReedSolomonError):
                return _decided(reedsolo.RSCodec(_PARITY), votes)
        return None

    def _learn(self) -> None:
        """Learn from the known preambles how lines show bits, and how many slots are lost.

        A lost slot shows what an idle one would. Which slots are lost follows from what lines show in the others, and
        the other way round: both are found in turns, as expectation and maximization. Slots that were late are counted
        apart from the others.
        """
        lines = range(self._code.lines)
        known = [
            (sent, self._words[slot], self._late[slot])
            for copy, begin in self._frames
            for slot, sent in enumerate(self._code.preambles[copy], begin)
        ]
        there = [0.9] * len(known)
        for _ in range(_ROUNDS):
            seen = [[[0.5, 0.5], [0.5, 0.5]] for _ in lines]  # half a count more, so that no probability is 0
            slots = [[0.5, 0.5], [0.5, 0.5]]
            for (sent, word, late), share in zip(known, there, strict=True):
                slots[late][0] += 1 - share
                slots[late][1] += share
                for line, cases in enumerate(seen):
                    cases[sent >> line & 1][word >> line & 1] += share
            shows = [[[case / sum(cases) for case in cases] for cases in both] for both in seen]
            for zero, one in shows:
                if one[1] < zero[1]:  # loading a line cannot make it less likely to be seen
                    one[:] = zero
            self._weights = [[log(one[bit] / zero[bit]) for bit in (0, 1)] for zero, one in shows]
            self._odds = [log(whole / lost) for lost, whole in slots]
            there = [
                _share(self._odds[late] + sum(self._weights[at][word >> at & 1] for at in lines if sent >> at & 1))
                for sent, word, late in known
            ]
        self._fullness = [[log((zero[bit] + one[bit]) / 2 / zero[bit]) for bit in (0, 1)] for zero, one in shows]

    def _votes(self, some: Sequence[Frame], first: int, coded_bytes: int, places: Sequence[int]) -> list[list[float]]:
        """Return for each bit of these bytes the log odds of a 1 by these frames."""
        slots, after = self._code.words_of(coded_bytes), self._code.preamble_slots + first
        whole = [(copy, begin + after) for copy, begin in some if begin + after + slots <= len(self._words)]
        every = [self._vote(copy, begin, first, slots) for copy, begin in whole]
        if not every:
            return [[0.0] * 8 for _ in places]
        return [[sum(bits) for bits in zip(*(v[8 * at : 8 * at + 8] for v in every), strict=True)] for at in places]

    def _vote(self, copy: int, begin: int, first: int, slots: int) -> array[float]:
        """Return the votes of one frame from the ``first`` slot after its preamble; cached."""
        if (copy, first) not in self._kept:
            lines, turn = self._code.lines, self._code.turn(copy)
            carriers = [(line + turn) % lines for line in range(lines)]
            votes = array("f")
            for slot, mask in enumerate(_masks(lines, first + slots)[first:], begin):
                word, odds = self._words[slot], self._odds[self._late[slot]]
                there = _share(odds + sum(full[word >> line & 1] for line, full in enumerate(self._fullness)))
                votes.extend(
                    (-there if mask >> line & 1 else there) * self._weights[carrier][word >> carrier & 1]
                    for line, carrier in enumerate(carriers)
                )
            self._kept[copy, first] = votes
        return self._kept[copy, first]


def _choices(frames: Sequence[Frame]) -> Iterator[Sequence[Frame]]:
    """Yield all frames, then all but one, then each alone: a damaged one may outvote the others."""
    yield frames
    if len(frames) > 2:
        yield from ([*frames[:at], *frames[at + 1 :]] for at in range(len(frames)))
    if len(frames) > 1:
        yield from ([frame] for frame in frames)


def _share(odds: float) -> float:
    """Return the probability that has these odds, given as their logarithm."""
    return 1 / (1 + exp(-max(-50.0, min(50.0, odds))))


def _decided(codec: Any, votes: Sequence[Sequence[float]]) -> tuple[bytes, int]:
    """Return the data of a block, and how many of its bytes were repaired.

    The least certain bytes are treated as erasures if needed: an erasure costs the code half as much as an error.
    Raises ReedSolomonError if too many bytes are wrong.
    """
    import reedsolo

    voted = bytes(sum(1 << bit for bit, vote in enumerate(byte) if vote > 0) for byte in votes)
    wrong = [1 - prod(_share(abs(vote)) for vote in byte) for byte in votes]
    doubtful = sorted(range(len(votes)), key=lambda at: -wrong[at])
    numbers = [min(sum(probability > least for probability in wrong), codec.nsym - _KEPT_PARITY) for least in _GIVEN_UP]
    for number in dict.fromkeys(numbers):
        try:
            data, whole, _ = codec.decode(voted, erase_pos=doubtful[:number])
        except (reedsolo.ReedSolomonError, ZeroDivisionError):
            continue
        return bytes(data), sum(byte != other for byte, other in zip(voted, whole, strict=True))
    raise reedsolo.ReedSolomonError


def checksum(data: bytes) -> bytes:
    """Return the CRC-32 that a body ends with."""
    return zlib.crc32(data).to_bytes(_CHECKSUM_BYTES, "big")


def _blocks(text_bytes: int) -> tuple[int, int]:
    """Return how many blocks a body takes, and how many bytes of it each holds: all the same."""
    body = _LENGTH_BYTES + text_bytes + _CHECKSUM_BYTES
    number = ceil(body / (_BLOCK - _PARITY))
    return number, ceil(body / number)


def _coded_bytes(text_bytes: int) -> int:
    number, each = _blocks(text_bytes)
    return number * (each + _PARITY)


def _coded(body: bytes) -> bytes:
    """Return the blocks of a body, the first byte of each, then the second, and so on: a burst is shared by all."""
    number, each = _blocks(len(body) - _LENGTH_BYTES - _CHECKSUM_BYTES)
    import reedsolo

    codec, padded = reedsolo.RSCodec(_PARITY), body.ljust(number * each, b"\0")
    blocks = [codec.encode(padded[at : at + each]) for at in range(0, len(padded), each)]
    return bytes(byte for row in zip(*blocks, strict=True) for byte in row)


def _masks(lines: int, slots: int) -> list[int]:
    rng = random.Random(_MASK_SEED)
    return [rng.getrandbits(lines) for _ in range(slots)]


def _joined(words: Sequence[int], lines: int) -> int:
    return sum(word << lines * place for place, word in enumerate(words))
