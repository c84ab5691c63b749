# SPDX-License-Identifier: MIT
"""A text on words whose bits get lost: it arrives byte for byte or is reported lost, whatever becomes of the bits."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uffdlab.errors import UffdlabError
from uffdlab.probes.covert import codec
from uffdlab.probes.covert.codec import ARRIVED, CHECKSUM, NO_PREAMBLE, NOT_DECODABLE, Code

_TEXTS = st.binary(min_size=1, max_size=300)
_IDLE = st.integers(0, 200)
_SEEDS = st.integers(0, 2**32)
_LINES = st.sampled_from([1, 3, 8, 16, 64])
_some = settings(max_examples=30, deadline=None)


def _flipped(words: Sequence[int], lines: int, share: float, rng: random.Random) -> list[int]:
    return [word ^ sum((rng.random() < share) << line for line in range(lines)) for word in words]


def _framed(code: Code, text: bytes, before: int = 0, after: int = 0) -> list[int]:
    return [0] * before + code.encode(text) + [0] * after


# --- what arrives ----------------------------------------------------------------------------------------------------


@_some
@given(_TEXTS, _LINES, st.integers(1, 5), _IDLE, _IDLE)
def test_an_undisturbed_message_arrives_at_any_offset(
    text: bytes, lines: int, copies: int, before: int, after: int
) -> None:
    code = Code(lines, copies)
    got = code.decode(_framed(code, text, before, after))
    assert (got.outcome, got.text, got.repaired, got.preambles) == (ARRIVED, text, 0, copies)


@_some
@given(_TEXTS, _LINES, _IDLE, _SEEDS)
def test_flipped_bits_and_lost_slots_are_repaired(text: bytes, lines: int, before: int, seed: int) -> None:
    code, rng = Code(lines, 3), random.Random(seed)
    sent = [0 if rng.random() < 0.05 else word for word in _framed(code, text, before, 50)]
    got = code.decode(_flipped(sent, lines, 0.04, rng))
    assert (got.outcome, got.text) == (ARRIVED, text)


@_some
@given(_TEXTS, st.sampled_from([8, 16, 64]), _SEEDS, st.booleans())
def test_a_line_that_is_always_wrong_is_outvoted(text: bytes, lines: int, seed: int, bright: bool) -> None:
    code, rng = Code(lines, 3), random.Random(seed)
    stuck = 1 << rng.randrange(lines)
    received = [word | stuck if bright else word & ~stuck for word in _framed(code, text, 7, 7)]
    assert code.decode(_flipped(received, lines, 0.02, rng)).text == text


@_some
@given(_TEXTS, st.integers(0, 4), _SEEDS)
def test_a_message_arrives_without_one_of_its_frames(text: bytes, which: int, seed: int) -> None:
    code, rng = Code(16, 5), random.Random(seed)
    words = _framed(code, text, 30, 30)
    length = code.slots(len(text)) // 5
    begin = 30 + which * length
    words[begin : begin + length] = [rng.getrandbits(16) for _ in range(length)]
    got = code.decode(words)
    assert (got.text, got.preambles) == (text, 4)


def test_a_frame_with_a_damaged_preamble_is_located_from_the_others() -> None:
    code, text, rng = Code(16, 3), bytes(range(40)), random.Random(4)
    words, length = _framed(code, text, 20, 20), code.slots(40) // 3
    for copy in (0, 2):
        begin = 20 + copy * length
        words[begin : begin + code.preamble_slots] = [0] * code.preamble_slots
    body = slice(20 + length + code.preamble_slots + code.length_slots, 20 + 2 * length)
    words[body] = [rng.getrandbits(16) for _ in words[body]]  # of the one frame whose preamble is left
    got = code.decode(words)
    assert (got.text, got.preambles) == (text, 1)


def test_late_slots_have_less_weight() -> None:
    """Nearly half of the slots are late and hold noise; with the late flags, fewer bytes need repair."""
    code, text, rng = Code(16, 3), b"late, and known to be", random.Random(8)
    words = _framed(code, text, 10, 10)
    late = [rng.random() < 0.45 for _ in words]
    noisy = [rng.getrandbits(16) & rng.getrandbits(16) if one else word for word, one in zip(words, late, strict=True)]
    assert code.decode(noisy, late).text == text
    flagged, unflagged = (code.decode(noisy, some).repaired for some in (late, []))
    assert flagged is not None
    assert unflagged is None or flagged < unflagged


@pytest.mark.parametrize("length", [1, 121, 122, 123, 250, 5000])
def test_a_text_of_any_number_of_blocks_survives_a_burst(length: int) -> None:
    code, text = Code(16, 1), random.Random(length).randbytes(length)
    words = _framed(code, text, 5, 5)
    at = 5 + code.preamble_slots + code.length_slots + 3
    words[at : at + 20] = [0] * 20
    got = code.decode(words)
    assert got.text == text
    assert got.repaired is not None
    assert 1 <= got.repaired <= 40


# --- what is lost ----------------------------------------------------------------------------------------------------


@_some
@given(_TEXTS, _LINES, st.floats(0, 0.5), st.floats(0, 1), _SEEDS)
def test_noise_never_changes_the_text(text: bytes, lines: int, share: float, lost: float, seed: int) -> None:
    code, rng = Code(lines, 2), random.Random(seed)
    sent = [0 if rng.random() < lost else word for word in _framed(code, text, 40, 40)]
    got = code.decode(_flipped(sent, lines, share, rng))
    assert got.text in (None, text)
    assert (got.text is None) == (got.outcome != ARRIVED)


@_some
@given(_LINES, _SEEDS, st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
def test_noise_alone_has_no_preamble(lines: int, seed: int, ones: float) -> None:
    rng = random.Random(seed)
    noise = _flipped([0] * 600, lines, ones, rng)
    assert Code(lines, 3).decode(noise) == codec.Received(NO_PREAMBLE)


@pytest.mark.parametrize("slots", [0, 1, 63])
def test_fewer_slots_than_a_preamble_have_none(slots: int) -> None:
    assert Code(16, 1).decode([0] * slots).outcome == NO_PREAMBLE


def test_a_truncated_message_is_not_decodable() -> None:
    code = Code(16, 1)
    words = code.encode(b"x" * 200)
    for kept in (code.preamble_slots, code.preamble_slots + code.length_slots, len(words) - 1):
        assert code.decode(words[:kept]).outcome == NOT_DECODABLE


def test_a_body_of_noise_is_not_decodable() -> None:
    code, rng = Code(16, 2), random.Random(2)
    length = code.slots(80) // 2
    head = code.preamble_slots + code.length_slots
    words = [word if slot % length < head else rng.getrandbits(16) for slot, word in enumerate(code.encode(b"x" * 80))]
    got = code.decode(words)
    assert (got.outcome, got.text, got.preambles) == (NOT_DECODABLE, None, 2)


def test_a_text_whose_checksum_differs_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    code = Code(16, 2)
    with monkeypatch.context() as lying:
        lying.setattr(codec, "checksum", lambda _: b"\0\0\0\0")
        words = code.encode(b"not what it says")
    got = code.decode(words)
    assert (got.outcome, got.text) == (CHECKSUM, None)


# --- what is asked for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "copies", "refusal"), [(0, 1, "at least one bit"), (1, 0, "1 to 15 times"), (1, 16, "1 to 15 times")]
)
def test_an_invalid_code_is_refused(lines: int, copies: int, refusal: str) -> None:
    with pytest.raises(UffdlabError, match=refusal):
        Code(lines, copies)


@pytest.mark.parametrize("length", [0, codec.MOST_BYTES + 1])
def test_an_empty_or_too_long_text_is_refused(length: int) -> None:
    with pytest.raises(UffdlabError, match=f"of {length} bytes is no message: it has 1 to 65535"):
        Code(16, 1).encode(bytes(length))


@_some
@given(_TEXTS, st.integers(1, 64), st.integers(1, 15))
def test_an_encoded_message_has_the_announced_number_of_slots(text: bytes, lines: int, copies: int) -> None:
    code = Code(lines, copies)
    words = code.encode(text)
    assert len(words) == code.slots(len(text))
    assert max(words) < 1 << lines


@pytest.mark.parametrize("lines", [1, 2, 3, 16, 64])
def test_a_preamble_agrees_by_half_with_constant_words(lines: int) -> None:
    """A line that is stuck, or a slot that is dark or bright as a whole, speaks neither for a preamble nor against."""
    code = Code(lines, 3)
    for words in code.preambles:
        assert [sum(word >> line & 1 for word in words) for line in range(lines)] == [len(words) // 2] * lines
        assert {word.bit_count() for word in words} == {lines // 2, lines - lines // 2}
    assert len({tuple(words) for words in code.preambles}) == 3
    assert lines * code.preamble_slots // 2 < code.threshold < lines * code.preamble_slots
