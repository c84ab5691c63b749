# SPDX-License-Identifier: MIT
"""Format a scan: a table of 80 columns to mail, and JSON. Kinds and sizes; no path, no address."""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from uffdlab.occupancy import account
from uffdlab.occupancy.account import Held
from uffdlab.occupancy.scanning import Granularity, Occupancy, Scan
from uffdlab.units import format_ns, format_size

MOST_SHOWN = 40  # mappings listed one by one in the text; JSON lists all
_WIDTH = 80
_COLUMNS = {"untouched": 10, "zeropage": 9, "present": 8, "marked": 7, "swapped": 8, "mixed": 7}
_LAST, _LAST_HEAD, _LAST_WIDTH = "untouched_or_zeropage", "unt.|zero", 10
_RARE = {"file": 7, "special": 8}  # columns only where not empty
_OF_PROCESS = ("vm_pte_kib", "vm_rss_kib", "hugetlb_kib", "vm_swap_kib", "rss_anon_kib", "rss_shmem_kib")
_COUNTERS = {"anon": "RssAnon", "shmem": "RssShmem", "hugetlb": "HugetlbPages", "swap": "VmSwap"}


def as_dict(scan: Scan) -> dict[str, Any]:
    """Return the scan as plain JSON types; sizes in KiB, times in ns, shares 0 to 1; None is unknown.

    ``process`` holds the kernel's counters before the scan; ``account`` is explained in
    ``uffdlab.occupancy.account``.
    """
    return {"mappings": list(mapping_dicts(scan)), **summary_dict(scan)}


def mapping_dicts(scan: Scan) -> Iterator[dict[str, Any]]:
    """Yield the ``mappings`` of ``as_dict`` one at a time."""
    return map(_mapping, scan.mappings)


def summary_dict(scan: Scan) -> dict[str, Any]:
    """Return ``as_dict`` without the mappings."""
    return {
        "totals": {
            "mappings": len(scan.mappings),
            "size_kib": sum(occupancy.mapping.length for occupancy in scan.mappings) >> 10,
            "huge_mappings": _sum(occupancy.huge_mappings for occupancy in scan.mappings),
            "huge_kib": _kib(_sum(occupancy.huge_bytes for occupancy in scan.mappings)),
            "huge_zeropage_kib": _kib(_sum(occupancy.huge_zeropage_bytes for occupancy in scan.mappings)),
            "granularities": [_granularity(total) for total in totals(scan.mappings)],
        },
        "process": {name: getattr(scan.before, name) for name in _OF_PROCESS},
        "account": _account(scan),
        "kernel": platform.release(),
        "method": scan.method,
        "min_size_kib": scan.min_bytes >> 10,
        "scan_ns": scan.scan_ns,
        "complete": scan.complete,
        "notes": list(scan.notes),
    }


def _account(scan: Scan) -> dict[str, Any]:
    differences = scan.account.differences(scan.before, scan.after) if scan.complete else {}
    return {
        "scanned": _held(scan.account.scanned),
        "left_out": [{"why": why} | _held(held) for why, held in scan.account.left_out.items()],
        "counted_kib": account.counted(scan.before),
        "counted_after_kib": account.counted(scan.after),
        "difference_kib": {name: _kib(differences.get(name)) for name in account.NAMES},
    }


def _held(held: Held) -> dict[str, Any]:
    parts = {f"{name}_kib": _kib(getattr(held, name)) for name in account.NAMES}
    return {"mappings": held.mappings, "size_kib": held.size_bytes >> 10, **parts}


def totals(seen: Iterable[Occupancy]) -> list[Granularity]:
    """Return the sums over mappings, granularity by granularity; a sum with an unknown part is unknown."""
    by_size: dict[int, list[Granularity]] = {}
    for occupancy in seen:
        for granularity in occupancy.granularities:
            by_size.setdefault(granularity.unit_bytes, []).append(granularity)
    return [_added(size, parts) for size, parts in by_size.items()]


def _added(size: int, parts: list[Granularity]) -> Granularity:
    return Granularity(
        size,
        sum(part.units for part in parts),
        tuple(_sum(counts) for counts in zip(*(part.counts for part in parts), strict=True)),
        sum(part.mixed for part in parts),
        _sum(part.untouched_or_zeropage for part in parts),
    )


def _sum(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _kib(size: int | None) -> int | None:
    return None if size is None else size >> 10


def _mapping(occupancy: Occupancy) -> dict[str, Any]:
    return {
        "kind": occupancy.mapping.kind,
        "flags": occupancy.mapping.flags,
        "size_kib": occupancy.mapping.length >> 10,
        "page_kib": occupancy.mapping.page_bytes >> 10,
        "huge_mappings": occupancy.huge_mappings,
        "huge_kib": _kib(occupancy.huge_bytes),
        "huge_zeropage_kib": _kib(occupancy.huge_zeropage_bytes),
        "changed": occupancy.changed,
        "scan_ns": occupancy.scan_ns,
        "granularities": [_granularity(granularity) for granularity in occupancy.granularities],
    }


def _granularity(level: Granularity) -> dict[str, Any]:
    counts = level.whole | {"mixed": level.mixed, "untouched_or_zeropage": level.untouched_or_zeropage}
    shares = {name: None if count is None or not level.units else count / level.units for name, count in counts.items()}
    return {"granularity_kib": level.unit_bytes >> 10, "units": level.units, "counts": counts, "shares": shares}


# --- text ------------------------------------------------------------------------------------------------------------


def text(scan: Scan) -> str:
    """Return the scan as a table of at most 80 columns, with notes on how to read it.

    The largest mappings are listed one by one, in the order of their addresses, and the others as one sum.
    """
    everything = totals(scan.mappings)
    columns = _columns(everything)
    lines = ["  unit" + "".join(f"{head:>{width}}" for _, head, width in columns)]
    largest, others = _largest(scan.mappings)
    for occupancy in largest:
        lines += [_title(occupancy), *(_row(granularity, columns) for granularity in occupancy.granularities)]
    if others:
        lines += [_sum_title(f"{len(others):,} smaller mappings", others)]
        lines += [_row(granularity, columns) for granularity in totals(others)]
    if len(scan.mappings) > 1:
        lines += [_sum_title(f"all {len(scan.mappings):,} mappings", scan.mappings)]
        lines += [_row(granularity, columns) for granularity in everything]
    lines += ["", *_closing(scan)]
    return "\n".join(lines)


def _columns(everything: Iterable[Granularity]) -> list[tuple[str, str, int]]:
    """Return name, head and width of each column."""
    rare = [name for name in _RARE if any(granularity.whole[name] for granularity in everything)]
    columns = [(name, name, width) for name, width in (_COLUMNS | {name: _RARE[name] for name in rare}).items()]
    return [*columns, (_LAST, _LAST_HEAD, _LAST_WIDTH)]


def _largest(seen: Sequence[Occupancy]) -> tuple[list[Occupancy], list[Occupancy]]:
    """Return those that are listed one by one, and the others."""
    if len(seen) <= MOST_SHOWN:
        return list(seen), []
    ranked = sorted(seen, key=lambda occupancy: (-occupancy.mapping.length, occupancy.mapping.start))
    return sorted(ranked[:MOST_SHOWN], key=lambda occupancy: occupancy.mapping.start), ranked[MOST_SHOWN:]


def _sum_title(what: str, seen: Iterable[Occupancy]) -> str:
    return f"{what}, {format_size(sum(occupancy.mapping.length for occupancy in seen))}"


def _title(occupancy: Occupancy) -> str:
    words = f"{occupancy.mapping.kind} {occupancy.mapping.flags}, {format_size(occupancy.mapping.length)}"
    if occupancy.mapping.kind == "hugetlb":
        words += f" in pages of {format_size(occupancy.mapping.page_bytes)}"
    if occupancy.huge_mappings is None:
        words += "; huge mappings: unknown"
    elif occupancy.huge_bytes:
        words += f"; huge mappings: {occupancy.huge_mappings} ({format_size(occupancy.huge_bytes)})"
    if occupancy.huge_zeropage_bytes:
        words += f"; huge zeropage {format_size(occupancy.huge_zeropage_bytes)}"
    return words + ("; changed meanwhile" if occupancy.changed else "")


def _row(granularity: Granularity, columns: Iterable[tuple[str, str, int]]) -> str:
    unit = format_size(granularity.unit_bytes).replace(" ", "")
    return f"{unit:>6}" + "".join(
        f"{_percent(granularity.share(name), bool(granularity.units)):>{width}}" for name, _, width in columns
    )


def _percent(share: float | None, any_units: bool) -> str:
    """Return a share as text; only exactly 0 and 1 read 0% and 100%."""
    if share is None:
        return "?" if any_units else "-"
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    if share < 0.001:
        return "<0.1%"
    return ">99.9%" if share > 0.999 else f"{share:.1%}"


def _closing(scan: Scan) -> Iterator[str]:
    parts = [
        f"page tables {_size(scan.before.vm_pte_kib)}",
        f"RSS {_size(scan.before.vm_rss_kib)}",
        f"read by {scan.method} in {format_ns(scan.scan_ns)}",
        f"Linux {platform.release()}",
    ]
    yield from textwrap.wrap("; ".join(parts), _WIDTH)
    for sentence in _account_sentences(scan):
        yield from textwrap.wrap(sentence, _WIDTH)
    guarded = sum(occupancy.pages("guard") for occupancy in scan.mappings)
    explained = (
        "2MiB and 1GiB: aligned units wholly inside the mapping, each page of which is in that state (mixed: in "
        "several; unt.|zero: each page untouched or a zeropage). -: no such unit; ?: unknown."
    )
    if guarded:
        explained += f" {guarded} guard pages are in no column."
    yield from textwrap.wrap(explained, _WIDTH)
    for note in scan.notes:
        yield from textwrap.wrap(f"note: {note}", _WIDTH, subsequent_indent="      ")


def _account_sentences(scan: Scan) -> Iterator[str]:
    """Yield how much of the kernel's counters was scanned, and what was left out."""
    counted = account.counted(scan.before)
    small = scan.account.left_out.get(account.SMALL, Held())
    parts = []
    for name in account.NAMES:
        scanned, smaller = getattr(scan.account.scanned, name) or 0, getattr(small, name) or 0
        if counted[name] or scanned or smaller:
            more = f" and {format_size(smaller)} in smaller mappings" if smaller else ""
            parts.append(f"{_COUNTERS[name]} {_size(counted[name])}, of which {format_size(scanned)} scanned{more}")
    differences = scan.account.differences(scan.before, scan.after) if scan.complete else {}
    wrong = [
        f"{format_size(abs(size))} of {_COUNTERS[name]} {'more than counted' if size > 0 else 'not found'}"
        for name, size in differences.items()
        if size
    ]
    if parts and differences:
        parts.append(", ".join(wrong) or "nothing else")
    if parts:
        yield f"account: {'; '.join(parts)}."
    left = [f"{held.mappings:,} {why} ({format_size(held.size_bytes)})" for why, held in scan.account.left_out.items()]
    if left:
        yield f"mappings left out (their address space): {'; '.join(left)}."


def _size(kib: int | None) -> str:
    return "unknown" if kib is None else format_size(kib << 10)
