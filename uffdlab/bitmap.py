# SPDX-License-Identifier: MIT
"""A bitmap file: what every page of some mappings was, for a simulator to replay. This docstring is its contract.

It holds shapes and nothing that names a process: no path, no name, no address. Everything is little-endian.

========  ======  =====================================================================================
offset    type    header, 40 bytes
========  ======  =====================================================================================
0         8 B     magic ``UFFDBMAP``
8         u16     version, 1
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
32        u8      kind: 0 anon, 1 shmem, 2 hugetlb
33        u8      flags: bit 0 shared, bit 1 accessible (not PROT_NONE)
34        6 B     zero
========  ======  =====================================================================================

Then the runs of all mappings, compressed with zlib: each a u64, ``count << 2 | state``, of ``count`` >= 1 equal states;
neighbours differ, and the counts of a mapping sum up to its length. States: 0 untouched, 1 zeropage, 2 present (a
swapped page too), 3 marked (a uffd-wp marker). Last, the SHA-256 of everything before it, 32 bytes.

*Offsets*: adjoining mappings adjoin here; any other mapping begins after the next multiple of 1 GiB, as far after it as
it began after a multiple of 2 MiB. So tables of 2 MiB have the shape they had, and the address itself is not told.
"""

from __future__ import annotations

import hashlib
import struct
import sys
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from uffdlab import outfile
from uffdlab.errors import UffdlabError, printable

MAGIC, VERSION = b"UFFDBMAP", 1
STATES = ("untouched", "zeropage", "present", "marked")
KINDS = ("anon", "shmem", "hugetlb")
_HEADER = struct.Struct("<8sHHIIIQQ")
_MAPPING = struct.Struct("<QQQQBB6x")
_DIGEST_BYTES = 32
_LEVEL = 3  # four times as fast as the default on scattered pages, and an eighth larger
_ZEROPAGES_KNOWN, _SHARED, _ACCESSIBLE = 1, 1, 2
_END_BYTES = 1 << 63  # no offset of any address space is beyond


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
        found = [0] * len(STATES)
        for run in self.runs:
            found[run & 3] += run >> 2
        return dict(zip(STATES, found, strict=True))


@dataclass(frozen=True)
class Bitmap:
    """The states of some mappings, one per ``granularity_bytes``."""

    page_bytes: int
    granularity_bytes: int
    zeropages_known: bool
    mappings: tuple[Mapping, ...]


def runs_of(states: bytes) -> array[int]:
    """Return the runs of states given one byte each."""
    runs = array("Q")
    for state in states:
        if runs and runs[-1] & 3 == state:
            runs[-1] += 4
        else:
            runs.append(4 | state)
    return runs


def save(bitmap: Bitmap, path: Path) -> None:
    """Write the file, whole or not at all, at whatever stands there. Raises UffdlabError where it cannot be written."""
    outfile.write(path, encode(bitmap), "bitmap")


def load(path: Path) -> Bitmap:
    """Read and validate a file. Raises UffdlabError naming the file and what is wrong with it."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise UffdlabError(f"bitmap {printable(path)} cannot be read: {getattr(error, 'strerror', error)}") from error
    return decode(content, f"bitmap {path}")


def encode(bitmap: Bitmap) -> bytes:
    """Return the file's content. Raises UffdlabError when the bitmap breaks a rule of the format."""
    _check(bitmap, "bitmap")
    packed = zlib.compressobj(_LEVEL)
    runs = b"".join(packed.compress(_little_endian(one.runs).tobytes()) for one in bitmap.mappings) + packed.flush()
    total = sum(len(one.runs) for one in bitmap.mappings)
    flags = _ZEROPAGES_KNOWN if bitmap.zeropages_known else 0
    sizes = (bitmap.page_bytes, bitmap.granularity_bytes, len(bitmap.mappings), total, len(runs))
    head = _HEADER.pack(MAGIC, VERSION, flags, *sizes)
    content = head + b"".join(map(_pack, bitmap.mappings)) + runs
    return content + hashlib.sha256(content).digest()


def decode(content: bytes, name: str = "bitmap") -> Bitmap:
    """Return what a file's content says. Raises UffdlabError, beginning with ``name``, when it breaks a rule."""
    if content[: len(MAGIC)] != MAGIC:
        raise UffdlabError(f"{name} is no uffdlab bitmap: it does not begin with {MAGIC.decode()}")
    if len(content) < _HEADER.size + _DIGEST_BYTES:
        raise UffdlabError(f"{name} is cut off: {len(content)} B are less than a header and its hash")
    _, version, flags, page, granularity, count, total, packed = _HEADER.unpack_from(content)
    if version != VERSION:
        raise UffdlabError(f"{name} has version {version}, and this uffdlab reads version {VERSION}")
    expected = _HEADER.size + count * _MAPPING.size + packed + _DIGEST_BYTES
    if len(content) != expected:
        raise UffdlabError(
            f"{name} is {len(content)} B long where its header says {expected}: it was cut or appended to"
        )
    if hashlib.sha256(content[:-_DIGEST_BYTES]).digest() != content[-_DIGEST_BYTES:]:
        raise UffdlabError(f"{name} does not match its SHA-256: it was changed or damaged")
    if flags & ~_ZEROPAGES_KNOWN:
        raise UffdlabError(f"{name} has unknown flags {flags:#x}")
    entries = [_MAPPING.unpack_from(content, _HEADER.size + i * _MAPPING.size) for i in range(count)]
    runs = _unpacked(content[_HEADER.size + count * _MAPPING.size : -_DIGEST_BYTES], total, name)
    mappings = tuple(_mappings(entries, runs, name))
    bitmap = Bitmap(page, granularity, bool(flags & _ZEROPAGES_KNOWN), mappings)
    _check(bitmap, name)
    return bitmap


def _pack(one: Mapping) -> bytes:
    flags = (_SHARED if one.shared else 0) | (_ACCESSIBLE if one.accessible else 0)
    place = (one.offset_bytes, one.length_bytes, len(one.runs), one.page_bytes)
    return _MAPPING.pack(*place, KINDS.index(one.kind), flags)


def _unpacked(packed: bytes, total: int, name: str) -> array[int]:
    """Return the runs; never more than the header announced, whatever the compressed data would grow to."""
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(packed, total * 8 + 1)
    except zlib.error as error:
        raise UffdlabError(f"{name} holds runs that zlib cannot read: {error}") from error
    except (MemoryError, OverflowError) as error:
        raise UffdlabError(f"{name} announces {total} runs, more than fit into memory") from error
    if len(raw) != total * 8 or not unpacker.eof or unpacker.unused_data:
        raise UffdlabError(f"{name} does not hold the {total} runs that its header announces")
    return _little_endian(array("Q", raw))


def _mappings(entries: list[tuple[int, ...]], runs: array[int], name: str) -> Iterator[Mapping]:
    first = 0
    for number, (offset, length, count, page, kind, flags) in enumerate(entries):
        if kind >= len(KINDS):
            raise UffdlabError(f"{name}, mapping {number}: kind {kind} is unknown")
        if flags & ~(_SHARED | _ACCESSIBLE):
            raise UffdlabError(f"{name}, mapping {number}: flags {flags:#x} are unknown")
        own = runs[first : first + count]
        yield Mapping(KINDS[kind], offset, length, page, bool(flags & _SHARED), bool(flags & _ACCESSIBLE), own)
        first += count
    if first != len(runs):
        raise UffdlabError(f"{name} holds {len(runs)} runs, and its mappings {first}")


def _little_endian(runs: array[int]) -> array[int]:
    """Return the runs with the bytes of each in the file's order; the same function reads and writes."""
    if sys.byteorder == "little":
        return runs
    turned = array("Q", runs)
    turned.byteswap()
    return turned


def _check(bitmap: Bitmap, name: str) -> None:
    for what, value in (("page size", bitmap.page_bytes), ("granularity", bitmap.granularity_bytes)):
        if not _is_size(value) or value >= 1 << 32:
            raise UffdlabError(f"{name}: {what} {value} B is not a power of two below 4 GiB")
    if bitmap.granularity_bytes < bitmap.page_bytes:
        raise UffdlabError(f"{name}: granularity {bitmap.granularity_bytes} B is finer than the page")
    end = 0
    for number, one in enumerate(bitmap.mappings):
        _check_mapping(one, bitmap, f"{name}, mapping {number}")
        if one.offset_bytes < end:
            raise UffdlabError(f"{name}, mapping {number}: begins at {one.offset_bytes} B, before the end of the last")
        end = one.offset_bytes + one.length_bytes


def _check_mapping(one: Mapping, bitmap: Bitmap, where: str) -> None:
    unit = bitmap.granularity_bytes
    if one.kind not in KINDS:
        raise UffdlabError(f"{where}: kind {one.kind!r} is unknown")
    if not _is_size(one.page_bytes) or one.page_bytes < bitmap.page_bytes or one.page_bytes > _END_BYTES:
        raise UffdlabError(f"{where}: its page of {one.page_bytes} B is not a power of two of the page size or more")
    if one.offset_bytes < 0 or one.offset_bytes % bitmap.page_bytes:
        raise UffdlabError(f"{where}: offset {one.offset_bytes} B is no multiple of the page size")
    if one.length_bytes <= 0 or one.length_bytes % unit:
        raise UffdlabError(f"{where}: length {one.length_bytes} B is no multiple of the granularity above 0")
    if one.offset_bytes + one.length_bytes > _END_BYTES:
        raise UffdlabError(f"{where}: ends beyond any address space")
    covered, previous = 0, -1
    for run in one.runs:
        if run < 4 or run & 3 == previous:
            raise UffdlabError(f"{where}: a run is empty or continues the one before it")
        covered, previous = covered + (run >> 2), run & 3
    if covered * unit != one.length_bytes:
        raise UffdlabError(f"{where}: its runs cover {covered * unit} of its {one.length_bytes} B")


def _is_size(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0
