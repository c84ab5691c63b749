# SPDX-License-Identifier: MIT
"""Notes on how to read a scan, one sentence each."""

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
    """Return one clause on why PAGEMAP_SCAN failed with an errno."""
    if number == errno.ENOTTY:
        return "this kernel has no PAGEMAP_SCAN (before 6.7)"
    return f"PAGEMAP_SCAN is refused here ({errno.errorcode.get(number, number)}, {os.strerror(number)})"


def of_method(reader: Reader) -> Iterator[str]:
    """Yield why PAGEMAP_SCAN was not used."""
    if reader.refused:
        yield f"read from pagemap, entry by entry, which is slower and gives the same result: {refusal(reader.refused)}"


def of_what_was_seen(reader: Reader, seen: Sequence[Occupancy], min_bytes: int, may_swap: bool) -> Iterator[str]:
    """Yield what the shares do not show."""
    if not seen:
        yield f"no mapping of memory of at least {min_bytes >> 10} KiB"
    closed = [occupancy for occupancy in seen if not occupancy.mapping.accessible]
    filled = sum(bool(occupancy.pages("present", "swapped")) for occupancy in closed)
    reserved = len(closed) - filled
    if reserved:
        yield f"{reserved} mapping(s) have no access (---): address space that is reserved, in the totals too"
    if filled:
        yield f"{filled} mapping(s) have no access (---) and hold pages all the same"
    if any(occupancy.mapping.kind == "shmem" for occupancy in seen):
        yield "shmem counts what this process has mapped: another process may have filled more of it"
    if any(occupancy.mapping.kind == "shmem" and occupancy.pages("marked") for occupancy in seen):
        yield "marked shmem: a marker says nothing about the page of the file, which may be there"
    if any(occupancy.pages("file") for occupancy in seen):
        yield "file: maps a page of the file (page cache), which is not the process's own until it is written"
    if any(occupancy.granularities[0].counts[1] is None for occupancy in seen):
        yield (
            "zeropages are not distinguished and count as present, in the account too: only CAP_SYS_ADMIN sees which "
            "page is the zeropage, in kpageflags"
        )
    if reader.types_hidden and may_swap and any(occupancy.pages("marked") for occupancy in seen):
        yield "pages swapped while protected may count as marked: which is which shows only to CAP_SYS_ADMIN"
    if reader.types_hidden and may_swap and any(occupancy.pages("swapped") for occupancy in seen):
        yield "poisoned pages and pages of devices may count as swapped: which is which shows only to CAP_SYS_ADMIN"
    if reader.method == "pagemap" and any(occupancy.mapping.kind == "hugetlb" for occupancy in seen):
        yield "poisoned hugetlb pages count as untouched: pagemap does not show them"


def of_special(reader: Reader, seen: Sequence[Occupancy], poisoned: int) -> Iterator[str]:
    """Yield what the special pages are."""
    special = sum(occupancy.pages("special") for occupancy in seen)
    if not special:
        return
    words = f"{special} special page(s) are neither a page, nor in swap, nor a uffd-wp marker"
    if poisoned:
        yield f"{words}; {poisoned} of them are poisoned: an access is SIGBUS"
    elif reader.types_hidden:
        yield f"{words}: poisoned, or of a device; which of these shows only to CAP_SYS_ADMIN"
    else:
        yield f"{words}: poisoned, or of a device"


def of_new(before: Sequence[mappings.Mapping], now: Sequence[mappings.Mapping], min_bytes: int) -> Iterator[str]:
    """Yield which mappings were made during the scan."""
    starts = {mapping.start for mapping in before}
    new = [m for m in now if m.start not in starts and m.length >= min_bytes and m.kind in mappings.KINDS]
    if new:
        yield f"{len(new)} large mapping(s) came meanwhile and are not in this"
    if not now:
        yield "the process ended right after everything had been read"


def of_change(before: process.Counters, after: process.Counters, seen: Sequence[Occupancy]) -> Iterator[str]:
    """Yield what the process did during the scan."""
    changed = sum(occupancy.changed for occupancy in seen)
    if changed:
        yield f"{changed} mapping(s) were unmapped or mapped anew meanwhile: their shares mix two states (changed)"
    if before.children is not None and after.children is not None and after.children - before.children:
        born = len(after.children - before.children)
        yield f"the process started {born} other process(es) meanwhile: they are not in this"
    if before.minor_faults is not None and after.minor_faults is not None:
        faults = after.minor_faults - before.minor_faults
        if faults > 0:
            yield f"the process ran meanwhile ({faults} minor faults): each mapping is as it was when it was read"
