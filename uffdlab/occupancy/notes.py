# SPDX-License-Identifier: MIT
"""What must be known to read a scan: one sentence each."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from uffdlab.occupancy import mappings, process

if TYPE_CHECKING:
    from uffdlab.occupancy.reading import Reader
    from uffdlab.occupancy.scanning import Occupancy


def refusal(number: int) -> str:
    """Say that PAGEMAP_SCAN was refused, for an errno."""
    if number == errno.ENOTTY:
        return "this kernel has no PAGEMAP_SCAN (before 6.7)"
    return f"PAGEMAP_SCAN is refused here ({errno.errorcode.get(number, number)}, {os.strerror(number)})"


def of_method(reader: Reader) -> Iterator[str]:
    """Say why PAGEMAP_SCAN was not used."""
    if reader.refused:
        yield f"read from pagemap, entry by entry, which is slower and tells the same: {refusal(reader.refused)}"


def of_what_was_seen(reader: Reader, seen: Sequence[Occupancy], min_bytes: int, may_swap: bool) -> Iterator[str]:
    """Say what the shares do not tell."""
    if not seen:
        yield f"no mapping of memory of at least {min_bytes >> 10} KiB"
    closed = [one for one in seen if not one.mapping.accessible]
    filled = sum(bool(one.pages("present", "swapped")) for one in closed)
    reserved = len(closed) - filled
    if reserved:
        yield f"{reserved} mapping(s) have no access (---): address space that is reserved, in the totals too"
    if filled:
        yield f"{filled} mapping(s) have no access (---) and hold pages all the same"
    if any(one.mapping.kind == "shmem" for one in seen):
        yield "shmem counts what this process has mapped: another process may have filled more of it"
    if any(one.mapping.kind == "shmem" and one.pages("marked") for one in seen):
        yield "marked shmem: a marker says nothing about the page of the file, which may be there"
    if any(one.pages("file") for one in seen):
        yield "file: maps a page of the file (page cache), which is not the process's own until it is written"
    if any(one.granularities[0].counts[1] is None for one in seen):
        yield (
            "zeropages are not told apart and count as present, in the account too: which page is the zeropage shows "
            "only to CAP_SYS_ADMIN, in kpageflags"
        )
    if reader.types_hidden and may_swap and any(one.pages("marked") for one in seen):
        yield "pages swapped while protected may count as marked: which is which shows only to CAP_SYS_ADMIN"
    if reader.types_hidden and may_swap and any(one.pages("swapped") for one in seen):
        yield "poisoned pages and pages of devices may count as swapped: which is which shows only to CAP_SYS_ADMIN"
    if reader.method == "pagemap" and any(one.mapping.kind == "hugetlb" for one in seen):
        yield "poisoned hugetlb pages count as untouched: pagemap does not show them"


def of_special(reader: Reader, seen: Sequence[Occupancy], poisoned: int) -> Iterator[str]:
    """Say what the special pages are."""
    special = sum(one.pages("special") for one in seen)
    if not special:
        return
    words = f"{special} special page(s) are neither a page, nor in swap, nor a uffd-wp marker"
    if poisoned:
        yield f"{words}; {poisoned} of them are poisoned: an access is SIGBUS"
    elif reader.types_hidden:
        yield f"{words}: poisoned, or of a device; which of these shows only to CAP_SYS_ADMIN"
    else:
        yield f"{words}: poisoned, or of a device"


def of_new(found: Sequence[mappings.Mapping], now: Sequence[mappings.Mapping], min_bytes: int) -> Iterator[str]:
    """Say what came after the look began."""
    starts = {one.start for one in found}
    new = sum(one.start not in starts and one.length >= min_bytes and one.kind in mappings.KINDS for one in now)
    if new:
        yield f"{new} large mapping(s) came meanwhile and are not in this"
    if not now:
        yield "the process ended right after everything had been read"


def of_change(before: process.Counters, after: process.Counters, seen: Sequence[Occupancy]) -> Iterator[str]:
    """Say what the process did meanwhile."""
    changed = sum(one.changed for one in seen)
    if changed:
        yield f"{changed} mapping(s) were unmapped or mapped anew meanwhile: their shares mix two states (changed)"
    if before.children is not None and after.children is not None and after.children - before.children:
        born = len(after.children - before.children)
        yield f"the process started {born} other process(es) meanwhile: they are not in this"
    if before.minor_faults is not None and after.minor_faults is not None:
        faults = after.minor_faults - before.minor_faults
        if faults > 0:
            yield f"the process ran meanwhile ({faults} minor faults): each mapping is as it was when it was read"
