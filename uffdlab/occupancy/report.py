# SPDX-License-Identifier: MIT
"""A scan in words: a table of 80 columns to mail, and an object for machines. Kinds and sizes; no path, no address."""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from uffdlab.occupancy.scanning import STATES, Granularity, Occupancy, Scan
from uffdlab.units import format_ns, format_size

_WIDTH = 80
_COLUMNS = ("untouched", "zeropage", "present", "marked", "swapped", "mixed", "untouched_or_zeropage")
_HEADS = ("untouched", "zeropage", "present", "marked", "swapped", "mixed", "unt.|zero")
_WIDTHS = (11, 10, 9, 8, 9, 8, 10)


def as_dict(scan: Scan) -> dict[str, Any]:
    """Return the scan as plain JSON types; sizes in KiB, times in ns, shares 0 to 1; None is unknown.

    ``process`` is what the kernel counted when the look began.
    """
    return {
        "mappings": [_mapping(one) for one in scan.mappings],
        "totals": {
            "mappings": len(scan.mappings),
            "size_kib": sum(one.mapping.length for one in scan.mappings) >> 10,
            "huge_mappings": _sum(one.huge_mappings for one in scan.mappings),
            "huge_kib": _kib(_sum(one.huge_bytes for one in scan.mappings)),
            "huge_zeropage_kib": _kib(_sum(one.huge_zeropage_bytes for one in scan.mappings)),
            "granularities": [_granularity(one) for one in totals(scan.mappings)],
        },
        "process": {
            "vm_pte_kib": scan.before.vm_pte_kib,
            "vm_rss_kib": scan.before.vm_rss_kib,
            "hugetlb_kib": scan.before.hugetlb_kib,
            "vm_swap_kib": scan.before.vm_swap_kib,
        },
        "kernel": platform.release(),
        "method": scan.method,
        "min_size_kib": scan.min_bytes >> 10,
        "scan_ns": scan.scan_ns,
        "complete": scan.complete,
        "notes": list(scan.notes),
    }


def totals(seen: Iterable[Occupancy]) -> list[Granularity]:
    """Return the sums over mappings, granularity by granularity; a sum with an unknown part is unknown."""
    by_size: dict[int, list[Granularity]] = {}
    for one in seen:
        for granularity in one.granularities:
            by_size.setdefault(granularity.unit_bytes, []).append(granularity)
    return [_added(size, parts) for size, parts in by_size.items()]


def _added(size: int, parts: list[Granularity]) -> Granularity:
    return Granularity(
        size,
        sum(one.units for one in parts),
        {state: _sum(one.whole[state] for one in parts) for state in STATES},
        sum(one.mixed for one in parts),
        _sum(one.untouched_or_zeropage for one in parts),
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


def _mapping(one: Occupancy) -> dict[str, Any]:
    return {
        "kind": one.mapping.kind,
        "flags": one.mapping.flags,
        "size_kib": one.mapping.length >> 10,
        "page_kib": one.mapping.page_bytes >> 10,
        "huge_mappings": one.huge_mappings,
        "huge_kib": _kib(one.huge_bytes),
        "huge_zeropage_kib": _kib(one.huge_zeropage_bytes),
        "changed": one.changed,
        "scan_ns": one.scan_ns,
        "granularities": [_granularity(granularity) for granularity in one.granularities],
    }


def _granularity(one: Granularity) -> dict[str, Any]:
    counts = one.whole | {"mixed": one.mixed, "untouched_or_zeropage": one.untouched_or_zeropage}
    shares = {name: one.share(name) for name in counts}
    return {"granularity_kib": one.unit_bytes >> 10, "units": one.units, "counts": counts, "shares": shares}


# --- text ------------------------------------------------------------------------------------------------------------


def text(scan: Scan) -> str:
    """Return the scan as a table of at most 80 columns, with what must be known to read it."""
    lines = ["  unit" + "".join(f"{head:>{width}}" for head, width in zip(_HEADS, _WIDTHS, strict=True))]
    for one in scan.mappings:
        lines += [_title(one), *map(_row, one.granularities)]
    if len(scan.mappings) > 1:
        size = sum(one.mapping.length for one in scan.mappings)
        lines += [f"all {len(scan.mappings)} mappings, {format_size(size)}", *map(_row, totals(scan.mappings))]
    lines += ["", *_closing(scan)]
    return "\n".join(lines)


def _title(one: Occupancy) -> str:
    words = f"{one.mapping.kind} {one.mapping.flags}, {format_size(one.mapping.length)}"
    if one.mapping.kind == "hugetlb":
        words += f" in pages of {format_size(one.mapping.page_bytes)}"
    if one.huge_mappings is None:
        words += "; huge mappings: unknown"
    elif one.huge_bytes:
        words += f"; huge mappings: {one.huge_mappings} ({format_size(one.huge_bytes)})"
    if one.huge_zeropage_bytes:
        words += f"; huge zeropage {format_size(one.huge_zeropage_bytes)}"
    return words + ("; changed meanwhile" if one.changed else "")


def _row(one: Granularity) -> str:
    unit = format_size(one.unit_bytes).replace(" ", "")
    cells = [_percent(one.share(name), bool(one.units)) for name in _COLUMNS]
    return f"{unit:>6}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))


def _percent(share: float | None, any_units: bool) -> str:
    """Return a share in words; only none and all read 0% and 100%."""
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
    guarded = sum(one.granularities[0].whole["guard"] or 0 for one in scan.mappings)
    explained = (
        "2MiB and 1GiB: aligned units wholly inside the mapping, each page of which is in that state (mixed: in "
        "several; unt.|zero: each page untouched or a zeropage). -: no such unit; ?: not to be told."
    )
    if guarded:
        explained += f" {guarded} guard pages are in no column."
    yield from textwrap.wrap(explained, _WIDTH)
    for note in scan.notes:
        yield from textwrap.wrap(f"note: {note}", _WIDTH, subsequent_indent="      ")


def _size(kib: int | None) -> str:
    return "unknown" if kib is None else format_size(kib << 10)
