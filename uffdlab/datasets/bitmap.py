# SPDX-License-Identifier: MIT
"""A bitmap file: the state of every page of some mappings, for the simulator. This docstring is its contract.

It identifies no process: it holds no path, name or address. Everything is little-endian.

========  ======  =====================================================================================
offset    type    header, 40 bytes
========  ======  =====================================================================================
0         8 B     magic ``UFFDBMAP``
8         u16     version: 1, or 2 where a mapping is of kind 3
10        u16     flags: bit 0 set when zeropages could be told from other present pages
12        u32     page size in bytes
16        u32     granularity: bytes that one state stands for, a power of two, the page size or more
20        u32     number of mappings
24        u64     number of runs, of all mappings together
32        u64     bytes of the compressed runs
========  ======  =====================================================================================

Then 40 bytes for each mapping, in ascending order of offset, none overlapping:

========  ======  =====================================================================================
0         u64     offset in bytes, in an address space of the file's own (see below)
8         u64     length in bytes, a multiple of the granularity
16        u64     number of its runs
24        u64     size of the page that a fault fills: that of the huge page for hugetlb
32        u8      kind: 0 anon, 1 shmem, 2 hugetlb, 3 private file (since version 2)
33        u8      flags: bit 0 shared, bit 1 accessible (not PROT_NONE)
34        6 B     zero
========  ======  =====================================================================================

Then the runs of all mappings, compressed with zlib: each a u64, ``count << 2 | state``, of ``count`` >= 1 equal states;
neighbours differ, and the counts of a mapping sum up to its length, so that it has no more runs than units. Last, the
SHA-256 of everything before it, 32 bytes. The states:

- 0 untouched: no page is mapped. Guard pages and poisoned pages (an access is an error) count as untouched: neither has
  content to protect or save. In shmem the file may still hold a page.
- 1 zeropage: maps the shared zeropage; in a *private file*, a page of the file. A write replaces either by a page of
  the process.
- 2 present: a page with content: a swapped page too, one in the memory of a device, one that is being moved, and in
  shmem and hugetlb a page of the file.
- 3 marked: a uffd-wp marker and no page. In shmem it says nothing about the file's page, which may be there.

A *private file* is a private mapping of a file that is neither shmem nor hugetlb, such as guest memory restored from a
snapshot file. No userfaultfd can be registered on it: a replay of write-protection leaves it out.

*Offsets*: adjoining mappings adjoin here; any other mapping begins after the next multiple of 1 GiB, as far after it as
its address lies after a multiple of 2 MiB. So page tables keep their shape, and no address is recorded.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from uffdlab import outfile
from uffdlab.errors import UffdlabError, printable

MAGIC, VERSIONS = b"UFFDBMAP", (1, 2)
STATES = ("untouched", "zeropage", "present", "marked")
KINDS = ("anon", "shmem", "hugetlb", "private file")
PRIVATE_FILE = KINDS[3]
_KINDS_KNOWN = (3, 4)  # of each version
_HEADER = struct.Struct("<8sHHIIIQQ")
_MAPPING = struct.Struct("<QQQQBB6s")
_DIGEST_BYTES = 32
_LEVEL = 3  # four times as fast as the default on scattered pages, and an eighth larger
_ZEROPAGES_KNOWN, _SHARED, _ACCESSIBLE = 1, 1, 2
_END_BYTES = 1 << 63  # no offset of any address space is beyond
_PIECE_RUNS = 1 << 16  # unpacked at a time
_PIECE_BYTES = 1 << 16  # given to zlib at a time, which copies what it does not use
_MOST_DENSE = 1032  # bytes that deflate can make of one


@dataclass(frozen=True)
class Mapping:
    """One mapping: where it lies in the file's address space, its kind, and its runs (``count << 2 | state``)."""

    kind: str
    offset_bytes: int
    length_bytes: int
    page_bytes: int
    shared: bool
    accessible: bool
    runs: array[int]

    def stretches(self) -> Iterator[tuple[int, int, int]]:
        """Yield ``(state, first, count)`` of each run, in units of the granularity from the mapping's beginning."""
        first = 0
        for run in self.runs:
            yield run & 3, first, run >> 2
            first += run >> 2

    def counts(self) -> dict[str, int]:
        """Return how many units are in each state."""
        counts = [0] * len(STATES)
        for run in self.runs:
            counts[run & 3] += run >> 2
        return dict(zip(STATES, counts, strict=True))


@dataclass(frozen=True)
class Bitmap:
    """The states of some mappings, one per ``granularity_bytes``."""

    page_bytes: int
    granularity_bytes: int
    zeropages_known: bool
    mappings: tuple[Mapping, ...]


def save(bitmap: Bitmap, path: Path) -> None:
    """Write the file, whole or not at all. Raises UffdlabError if it cannot be written."""
    outfile.write(path, encode(bitmap), "bitmap")


def load(path: Path) -> Bitmap:
    """Read and validate a file. Raises UffdlabError naming the file and what is wrong with it."""
    name = f"bitmap {printable(path)}"
    try:
        with path.open("rb") as file:
            return decode(_whole(file, name), name)
    except (OSError, ValueError) as error:
        raise UffdlabError(f"{name} cannot be read: {getattr(error, 'strerror', error)}") from error


def _whole(file: BinaryIO, name: str) -> bytes:
    """Return a file's content, reading at most what its header announces: it may be an endless device."""
    content = bytearray(file.read(_HEADER.size))
    expected = _expected_bytes(content, name)
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size != expected:
        raise _wrong_length(status.st_size, expected, name)
    while len(content) <= expected and (more := file.read(min(expected + 1 - len(content), 1 << 20))):
        content += more
    return bytes(content)


def _expected_bytes(content: bytes | bytearray, name: str) -> int:
    """Return the length that a file's header announces. Raises UffdlabError without a header."""
    if content[: len(MAGIC)] != MAGIC:
        raise UffdlabError(f"{name} is not a uffdlab bitmap: it does not begin with {MAGIC.decode()}")
    if len(content) < _HEADER.size:
        raise UffdlabError(f"{name} is cut off: {len(content)} B are less than a header")
    *_, count, _, packed = _HEADER.unpack_from(content)
    return int(_HEADER.size + count * _MAPPING.size + packed + _DIGEST_BYTES)


def _wrong_length(length: int, expected: int, name: str) -> UffdlabError:
    return UffdlabError(f"{name} is {length} B long where its header says {expected}: it was cut off or appended to")


def encode(bitmap: Bitmap) -> bytes:
    """Return the file's content. Raises UffdlabError when the bitmap breaks a rule of the format."""
    _check(bitmap, "bitmap")
    packed = zlib.compressobj(_LEVEL)
    runs = b"".join(packed.compress(_little_endian(m.runs).tobytes()) for m in bitmap.mappings) + packed.flush()
    total = sum(len(mapping.runs) for mapping in bitmap.mappings)
    flags = _ZEROPAGES_KNOWN if bitmap.zeropages_known else 0
    sizes = (bitmap.page_bytes, bitmap.granularity_bytes, len(bitmap.mappings), total, len(runs))
    head = _HEADER.pack(MAGIC, _version(mapping.kind for mapping in bitmap.mappings), flags, *sizes)
    content = head + b"".join(map(_pack, bitmap.mappings)) + runs
    return content + hashlib.sha256(content).digest()


def decode(content: bytes, name: str = "bitmap") -> Bitmap:
    """Return the bitmap of a file's content. Raises UffdlabError, beginning with ``name``, if it breaks the format."""
    expected = _expected_bytes(content, name)
    _, version, flags, page, granularity, count, total, packed = _HEADER.unpack_from(content)
    if version not in VERSIONS:
        known = " and ".join(map(str, VERSIONS))
        raise UffdlabError(f"{name} has version {version}, and this uffdlab reads versions {known}")
    if len(content) != expected:
        raise _wrong_length(len(content), expected, name)
    if hashlib.sha256(content[:-_DIGEST_BYTES]).digest() != content[-_DIGEST_BYTES:]:
        raise UffdlabError(f"{name} does not match its SHA-256: it was changed or damaged")
    if flags & ~_ZEROPAGES_KNOWN:
        raise UffdlabError(f"{name} has unknown flags {flags:#x}")
    _check_sizes(page, granularity, name)
    mappings = list(_announced(content, count, VERSIONS.index(version), name))
    _check_places(mappings, page, granularity, name)
    announced = sum(runs for _, runs in mappings)
    if announced != total:
        raise UffdlabError(f"{name} announces {total} runs, and its mappings {announced}")
    _check_room(total, packed, name)
    packed_runs = memoryview(content)[_HEADER.size + count * _MAPPING.size : -_DIGEST_BYTES]
    _check_packed(_Unpacking(packed_runs, total, name), mappings, granularity, name)
    unpacking = _Unpacking(packed_runs, total, name)
    for mapping, runs in mappings:
        for piece in unpacking.pieces(runs):
            mapping.runs.extend(piece)
    return Bitmap(page, granularity, bool(flags & _ZEROPAGES_KNOWN), tuple(mapping for mapping, _ in mappings))


def _check_packed(unpacking: _Unpacking, mappings: Sequence[tuple[Mapping, int]], unit: int, name: str) -> None:
    """Check all runs before keeping any, so that an invalid file takes no more memory than a piece."""
    for number, (mapping, runs) in enumerate(mappings):
        rule = _RunCheck(mapping.length_bytes // unit, unit, f"{name}, mapping {number}")
        for piece in unpacking.pieces(runs):
            rule.check(piece)
        rule.check_end()
    unpacking.check_end()


def _version(kinds: Iterable[str]) -> int:
    """Return the lowest version that has all of these kinds."""
    return 2 if PRIVATE_FILE in kinds else 1


def _pack(mapping: Mapping) -> bytes:
    flags = (_SHARED if mapping.shared else 0) | (_ACCESSIBLE if mapping.accessible else 0)
    place = (mapping.offset_bytes, mapping.length_bytes, len(mapping.runs), mapping.page_bytes)
    return _MAPPING.pack(*place, KINDS.index(mapping.kind), flags, b"")


def _check_room(total: int, packed: int, name: str) -> None:
    if total * 8 > packed * _MOST_DENSE:
        raise UffdlabError(f"{name} announces {total} runs, more than {packed} compressed bytes can hold")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if total * 8 > memory:
        raise UffdlabError(f"{name} announces {total} runs, which take {total * 8} B: this machine has {memory} B")


def _announced(content: bytes, count: int, version: int, name: str) -> Iterator[tuple[Mapping, int]]:
    """Yield each mapping without its runs, and the number of runs."""
    for number in range(count):
        place = _HEADER.size + number * _MAPPING.size
        offset, length, runs, page, kind, flags, rest = _MAPPING.unpack_from(content, place)
        if kind >= _KINDS_KNOWN[version]:
            raise UffdlabError(f"{name}, mapping {number}: kind {kind} is unknown")
        if flags & ~(_SHARED | _ACCESSIBLE):
            raise UffdlabError(f"{name}, mapping {number}: flags {flags:#x} are unknown")
        if any(rest):
            raise UffdlabError(f"{name}, mapping {number}: the last 6 B of its record are not zero")
        shared, accessible = bool(flags & _SHARED), bool(flags & _ACCESSIBLE)
        yield Mapping(KINDS[kind], offset, length, page, shared, accessible, array("Q")), runs


class _Unpacking:
    """The compressed runs of a file, piece by piece."""

    def __init__(self, packed: memoryview, total: int, name: str) -> None:
        self._unpacker = zlib.decompressobj()
        self._packed, self._at, self._tail = packed, 0, b""  # input that zlib has not consumed
        self._total, self._name = total, name

    def pieces(self, count: int) -> Iterator[array[int]]:
        """Yield the next ``count`` runs in pieces."""
        while count:
            piece = self._next(min(count, _PIECE_RUNS))
            yield piece
            count -= len(piece)

    def check_end(self) -> None:
        """Refuse trailing data."""
        if self._more(1) or not self._unpacker.eof or self._unpacker.unused_data or self._at < len(self._packed):
            raise self._differs()

    def _next(self, count: int) -> array[int]:
        raw = bytearray()
        while len(raw) < count * 8:
            more = self._more(count * 8 - len(raw))
            if not more:
                raise self._differs()
            raw += more
        return _little_endian(array("Q", bytes(raw)))

    def _more(self, size: int) -> bytes:
        """Return up to ``size`` bytes; none at the end."""
        data = b""
        while not data and not self._unpacker.eof:
            given = self._tail or self._packed[self._at : self._at + _PIECE_BYTES]
            self._at += 0 if self._tail else len(given)
            try:
                data = self._unpacker.decompress(given, size)
            except zlib.error as error:
                raise UffdlabError(f"{self._name} holds runs that zlib cannot read: {error}") from error
            self._tail = self._unpacker.unconsumed_tail
            if not given and not data:
                break
        return data

    def _differs(self) -> UffdlabError:
        return UffdlabError(f"{self._name} does not hold the {self._total} runs that its header announces")


def _little_endian(runs: array[int]) -> array[int]:
    """Return the runs with their bytes swapped on a big-endian machine; used to read and to write."""
    if sys.byteorder == "little":
        return runs
    swapped = array("Q", runs)
    swapped.byteswap()
    return swapped


def _check(bitmap: Bitmap, name: str) -> None:
    _check_sizes(bitmap.page_bytes, bitmap.granularity_bytes, name)
    placed = [(mapping, len(mapping.runs)) for mapping in bitmap.mappings]
    _check_places(placed, bitmap.page_bytes, bitmap.granularity_bytes, name)
    for number, mapping in enumerate(bitmap.mappings):
        units = mapping.length_bytes // bitmap.granularity_bytes
        rule = _RunCheck(units, bitmap.granularity_bytes, f"{name}, mapping {number}")
        rule.check(mapping.runs)
        rule.check_end()


def _check_sizes(page: int, granularity: int, name: str) -> None:
    for what, value in (("page size", page), ("granularity", granularity)):
        if not _is_size(value) or value >= 1 << 32:
            raise UffdlabError(f"{name}: {what} {value} B is not a power of two below 4 GiB")
    if granularity < page:
        raise UffdlabError(f"{name}: granularity {granularity} B is finer than the page")


def _check_places(mappings: Sequence[tuple[Mapping, int]], page: int, unit: int, name: str) -> None:
    end = 0
    for number, (mapping, _) in enumerate(mappings):
        _check_place(mapping, page, unit, f"{name}, mapping {number}")
        if mapping.offset_bytes < end:
            raise UffdlabError(f"{name}, mapping {number}: begins at {mapping.offset_bytes} B, before the last ends")
        end = mapping.offset_bytes + mapping.length_bytes


def _check_place(mapping: Mapping, page: int, unit: int, where: str) -> None:
    if mapping.kind not in KINDS:
        raise UffdlabError(f"{where}: kind {mapping.kind!r} is unknown")
    if not _is_size(mapping.page_bytes) or mapping.page_bytes < page or mapping.page_bytes > _END_BYTES:
        raise UffdlabError(f"{where}: page {mapping.page_bytes} B is not a power of two of the page size or more")
    if mapping.offset_bytes < 0 or mapping.offset_bytes % page:
        raise UffdlabError(f"{where}: offset {mapping.offset_bytes} B is no multiple of the page size")
    if mapping.length_bytes <= 0 or mapping.length_bytes % unit:
        raise UffdlabError(f"{where}: length {mapping.length_bytes} B is no multiple of the granularity above 0")
    if mapping.offset_bytes + mapping.length_bytes > _END_BYTES:
        raise UffdlabError(f"{where}: ends beyond any address space")


class _RunCheck:
    """Check the runs of a mapping in pieces: none empty, neighbours differ, the sum is its length."""

    def __init__(self, units: int, unit: int, where: str) -> None:
        self._units, self._unit, self._where = units, unit, where
        self._covered, self._previous = 0, -1

    def check(self, runs: Iterable[int]) -> None:
        """Check the next runs."""
        covered, previous = self._covered, self._previous
        for run in runs:
            if run < 4 or run & 3 == previous:
                raise UffdlabError(f"{self._where}: a run is empty or continues the one before it")
            covered, previous = covered + (run >> 2), run & 3
        self._covered, self._previous = covered, previous
        if covered > self._units:
            self._differs()

    def check_end(self) -> None:
        """Check their sum."""
        if self._covered != self._units:
            self._differs()

    def _differs(self) -> NoReturn:
        length, covered = self._units * self._unit, self._covered * self._unit
        raise UffdlabError(f"{self._where}: its runs cover {covered} of its {length} B")


def _is_size(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0
