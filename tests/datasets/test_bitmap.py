# SPDX-License-Identifier: MIT
"""The bitmap file: round trips, damaged or inconsistent files are refused, and no file is written in part."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import subprocess
import tracemalloc
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_bitmap import PAGE, example, runs_of

from uffdlab.datasets import bitmap
from uffdlab.datasets.bitmap import KINDS, STATES, Bitmap, Mapping, decode, encode, load, save
from uffdlab.errors import UffdlabError

HEADER, ENTRY, DIGEST = 40, 40, 32

# --- round trips -----------------------------------------------------------------------------------------------------


@st.composite
def bitmaps(draw: st.DrawFn) -> Bitmap:
    page = 1 << draw(st.integers(12, 16))
    unit = page << draw(st.integers(0, 9))
    mappings, end = [], 0
    for _ in range(draw(st.integers(0, 4))):
        runs = _runs(draw)
        offset = end + draw(st.integers(0, 1 << 20)) * page
        length = sum(run >> 2 for run in runs) * unit
        kind, shared, accessible = draw(st.sampled_from(KINDS)), draw(st.booleans()), draw(st.booleans())
        mappings.append(Mapping(kind, offset, length, page << draw(st.integers(0, 9)), shared, accessible, runs))
        end = offset + length
    return Bitmap(page, unit, draw(st.booleans()), tuple(mappings))


def _runs(draw: st.DrawFn) -> array[int]:
    counts = draw(st.lists(st.integers(1, 1 << 20), min_size=1, max_size=20))
    states = [draw(st.integers(0, 3))]
    for step in draw(st.lists(st.integers(1, 3), min_size=len(counts) - 1, max_size=len(counts) - 1)):
        states.append((states[-1] + step) % 4)
    return array("Q", [count << 2 | state for count, state in zip(counts, states, strict=True)])


@given(bitmaps())
def test_decode_inverts_encode(original: Bitmap) -> None:
    assert decode(encode(original)) == original


@given(bitmaps())
@settings(max_examples=20)
def test_load_returns_the_saved_bitmap(tmp_path_factory: pytest.TempPathFactory, original: Bitmap) -> None:
    path = tmp_path_factory.mktemp("bitmaps") / "b"
    save(original, path)
    assert load(path) == original
    assert [file.name for file in path.parent.iterdir()] == ["b"]


@given(st.binary(max_size=300).map(lambda raw: bytes(byte & 3 for byte in raw)))
def test_runs_give_back_the_states_they_were_made_from(states: bytes) -> None:
    mapping = Mapping("anon", 0, len(states) * PAGE, PAGE, False, True, runs_of(states))
    again = bytearray(len(states))
    for state, first, count in mapping.stretches():
        again[first : first + count] = bytes([state]) * count
    assert bytes(again) == states
    assert mapping.counts() == {name: states.count(state) for state, name in enumerate(STATES)}


def test_encoding_is_deterministic_and_as_documented() -> None:
    content = encode(example())
    assert content == encode(example())
    magic, version, flags, page, unit, mappings, runs, packed = struct.unpack_from("<8sHHIIIQQ", content)
    assert (magic, version, flags, page, unit, mappings, runs) == (b"UFFDBMAP", 1, 1, PAGE, PAGE, 2, 6)
    assert struct.unpack_from("<QQQQBB6x", content, HEADER) == (0, 8 * PAGE, 4, PAGE, 0, 2)
    raw = zlib.decompress(content[HEADER + 2 * ENTRY :][:packed])
    assert struct.unpack("<6Q", raw) == (3 << 2, 2 << 2 | 2, 1 << 2 | 3, 2 << 2 | 1, 512 << 2, 512 << 2 | 2)
    assert content[-DIGEST:] == hashlib.sha256(content[:-DIGEST]).digest()


def test_an_empty_mapping_of_terabytes_takes_few_bytes() -> None:
    units = 1 << 32  # 16 TiB
    hole = Mapping("anon", 0, units * PAGE, PAGE, False, True, array("Q", [units << 2]))
    content = encode(Bitmap(PAGE, PAGE, True, (hole,)))
    assert len(content) < 200
    assert decode(content).mappings == (hole,)


# --- what is wrong ---------------------------------------------------------------------------------------------------


@given(st.data())
def test_any_changed_byte_is_detected(data: st.DataObject) -> None:
    content = bytearray(encode(example()))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UffdlabError, match=r"^bitmap "):
        decode(bytes(content))


@given(st.data())
def test_any_truncation_is_detected(data: st.DataObject) -> None:
    content = encode(example())
    with pytest.raises(UffdlabError, match=r"^bitmap (is not a uffdlab bitmap|is cut off|is \d+ B long)"):
        decode(content[: data.draw(st.integers(0, len(content) - 1))])


@given(st.binary(max_size=400))
def test_a_file_that_is_not_a_originalis_refused(content: bytes) -> None:
    for start in (b"", bitmap.MAGIC):
        with pytest.raises(UffdlabError):
            decode(start + content)


def sealed(content: bytes) -> bytes:
    """Return the content with a matching hash."""
    return content[:-DIGEST] + hashlib.sha256(content[:-DIGEST]).digest()


def patched(place: int, form: str, value: int) -> bytes:
    content = bytearray(encode(example()))
    struct.pack_into(form, content, place, value)
    return sealed(bytes(content))


def announcing(runs: int) -> bytes:
    """Return a file whose header and first mapping announce the same number of runs."""
    content = bytearray(encode(example()))
    struct.pack_into("<Q", content, 24, runs + 2)
    struct.pack_into("<Q", content, HEADER + 16, runs)
    return sealed(bytes(content))


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (patched(8, "<H", 3), "has version 3, and this uffdlab reads versions 1 and 2"),
        (patched(10, "<H", 4), "has unknown flags 0x4"),
        (patched(12, "<I", 5000), "page size 5000 B is not a power of two"),
        (patched(16, "<I", 0), "granularity 0 B is not a power of two"),
        (patched(16, "<I", 2048), "granularity 2048 B is finer than the page"),
        (patched(20, "<I", 3), "where its header says"),
        (patched(24, "<Q", 5), "announces 5 runs, and its mappings 6"),
        (patched(24, "<Q", 7), "announces 7 runs, and its mappings 6"),
        (patched(24, "<Q", 1 << 61), "announces 2305843009213693952 runs, and its mappings 6"),
        (patched(32, "<Q", 1), "where its header says"),
        (patched(HEADER, "<Q", 100), "mapping 0: offset 100 B is no multiple of the page size"),
        (patched(HEADER + 8, "<Q", 9 * PAGE), "mapping 0: its runs cover 32768 of its 36864 B"),
        (patched(HEADER + 8, "<Q", 0), "mapping 0: length 0 B is no multiple of the granularity above 0"),
        (patched(HEADER + 16, "<Q", 3), "announces 6 runs, and its mappings 5"),
        (announcing(1 << 40), "announces 1099511627778 runs, more than 25 compressed bytes can hold"),
        (announcing(7), "does not hold the 9 runs that its header announces"),
        (announcing(3), "mapping 0: its runs cover 24576 of its 32768 B"),
        (patched(HEADER + 24, "<Q", 3 * PAGE), "mapping 0: page 12288 B is not a power of two"),
        (patched(HEADER + 32, "<B", 9), "mapping 0: kind 9 is unknown"),
        (patched(HEADER + 32, "<B", 3), "mapping 0: kind 3 is unknown"),
        (patched(HEADER + 33, "<B", 8), "mapping 0: flags 0x8 are unknown"),
        (patched(HEADER + ENTRY, "<Q", 4 * PAGE), "mapping 1: begins at 16384 B, before the last ends"),
        (patched(HEADER + ENTRY, "<Q", (1 << 63) - PAGE), "mapping 1: ends beyond any address space"),
        (patched(HEADER + 2 * ENTRY, "<B", 0), "holds runs that zlib cannot read"),
    ],
)
def test_an_inconsistent_file_is_refused_with_the_contradiction(content: bytes, refusal: str) -> None:
    with pytest.raises(UffdlabError) as caught:
        decode(content, "bitmap x")
    assert str(caught.value).startswith("bitmap x")
    assert refusal in str(caught.value)


def bomb(runs: int, length: int, pattern: bytes, packed: int) -> bytes:
    """Return a file of one mapping that announces ``runs`` runs; its compressed data repeats the pattern."""
    squeezed = zlib.compressobj(9)
    piece = pattern * (1 << 16)
    body = b"".join(squeezed.compress(piece) for _ in range(packed // len(piece))) + squeezed.flush()
    head = struct.pack("<8sHHIIIQQ", bitmap.MAGIC, 1, 1, PAGE, PAGE, 1, runs, len(body))
    entry = struct.pack("<QQQQBB6x", 0, length, runs, PAGE, 0, 2)
    return sealed(head + entry + body + bytes(DIGEST))


ALTERNATING = struct.pack("<2Q", 1 << 2, 1 << 2 | 2)
MANY = 8 << 20  # bytes of runs


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (bomb(MANY // 8, 64 * PAGE, ALTERNATING, MANY), r"its runs cover \d+ of its 262144 B"),
        (bomb(MANY // 8, MANY // 8 * PAGE, bytes(8), MANY), "a run is empty or continues the one before it"),
        (bomb(MANY // 8, (MANY // 8 + 1) * PAGE, ALTERNATING, MANY), "its runs cover 4294967296 of its 4294971392 B"),
        (bomb(2, 2 * PAGE, ALTERNATING, MANY), "does not hold the 2 runs that its header announces"),
        (bomb(MANY // 8, MANY // 8 * PAGE, ALTERNATING, MANY >> 1), "does not hold the 1048576 runs"),
    ],
    ids=["longer", "empty", "shorter", "more", "fewer"],
)
def test_refusing_a_file_takes_little_memory(content: bytes, refusal: str) -> None:
    assert len(content) < MANY // 500
    with memory_limited_to(3 << 20), pytest.raises(UffdlabError, match=refusal):
        decode(content)


@contextlib.contextmanager
def memory_limited_to(size: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size


@given(
    st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 64), max_size=40),
    st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 64), min_size=6, max_size=6),
    st.integers(0, 2**32 - 1) | st.integers(0, 3),
)
@settings(max_examples=300)
def test_any_file_with_a_valid_hash_is_refused_or_consistent(runs: list[int], numbers: list[int], count: int) -> None:
    offset, length, own, page, total, flags = numbers
    body = zlib.compress(struct.pack(f"<{len(runs)}Q", *runs))
    head = struct.pack("<8sHHIIIQQ", bitmap.MAGIC, 1, 1, PAGE, PAGE, count, total, len(body))
    entry = struct.pack("<QQQQBB6x", offset * PAGE % 2**64, length * PAGE % 2**64, own, page, 0, flags % 4)
    with memory_limited_to(2 << 20):
        refusal = ""
        try:
            decode(sealed(head + entry * min(count, 3) + body + bytes(DIGEST)))
        except UffdlabError as refused:
            refusal = str(refused)
    assert len(refusal) < 300


def test_version_1_is_read_and_written() -> None:
    content = encode(example())
    assert struct.unpack_from("<H", content, 8) == (1,)
    assert {mapping.kind for mapping in decode(content).mappings} == {"anon", "hugetlb"}


def test_a_private_file_mapping_needs_version_2() -> None:
    restored = Mapping("private file", 0, 4 * PAGE, PAGE, False, True, runs_of(bytes([1, 1, 2, 0])))
    original = Bitmap(PAGE, PAGE, True, (restored,))
    content = encode(original)
    assert struct.unpack_from("<H", content, 8) == (2,)
    assert content[HEADER + 32] == 3
    assert decode(content) == original


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"kind": "file"}, "kind 'file' is unknown"),
        ({"runs": array("Q", [4, 4 * 7])}, "a run is empty or continues the one before it"),
        ({"runs": array("Q", [2, 4 * 8])}, "a run is empty or continues the one before it"),
        ({"offset_bytes": -PAGE}, "offset -4096 B is no multiple"),
    ],
)
def test_an_invalid_originalis_not_written(wrong: dict[str, Any], refusal: str, tmp_path: Path) -> None:
    first = replace(example().mappings[0], **wrong)
    with pytest.raises(UffdlabError, match=f"mapping 0: {refusal}"):
        save(Bitmap(PAGE, PAGE, True, (first,)), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UffdlabError, match=r"bitmap .*/none cannot be read: No such file or directory"):
        load(tmp_path / "none")


def test_an_endless_file_is_read_in_bounds(tmp_path: Path) -> None:
    for path in (Path("/dev/zero"), Path("/dev/urandom")):
        with pytest.raises(UffdlabError, match="is not a uffdlab bitmap"):
            load(path)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["sh", "-c", 'cat "$0" /dev/zero > "$1"', *_saved(tmp_path), fifo]) as writer:
        with pytest.raises(UffdlabError, match=r"where its header says \d+: it was cut off or appended to"):
            load(fifo)
        writer.wait(30)


def test_a_originalis_read_from_a_pipe(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["sh", "-c", 'cat "$0" > "$1"', *_saved(tmp_path), fifo]):
        assert load(fifo) == example()


def _saved(directory: Path) -> list[Path]:
    save(example(), directory / "b")
    return [directory / "b"]


def test_appended_bytes_are_detected_by_the_length(tmp_path: Path) -> None:
    (path,) = _saved(tmp_path)
    size = path.stat().st_size
    os.truncate(path, 1 << 40)
    with (
        memory_limited_to(1 << 20),
        pytest.raises(UffdlabError, match=f"is {1 << 40} B long where its header says {size}"),
    ):
        load(path)


def test_a_missing_directory_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UffdlabError, match=r"bitmap .*/none/b cannot be written: No such file or directory"):
        save(example(), tmp_path / "none" / "b")


def test_an_earlier_file_is_kept_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "b"
    save(example(), path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    other = Bitmap(PAGE, PAGE, False, ())
    with pytest.raises(UffdlabError, match="cannot be written: No space left on device"):
        save(other, path)
    assert load(path) == example()
    assert [file.name for file in tmp_path.iterdir()] == ["b"]


def test_an_earlier_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / ("long" * 60)
    for original in (example(), Bitmap(PAGE, PAGE, False, ())):
        save(original, path)
        assert load(path) == original
