# SPDX-License-Identifier: MIT
"""Ledgers: one count per event, exact (integers) or expected (with fractions)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import cache

from uffdlab.sim.core import Core, core

Ledger = dict[str, float]


@cache
def events() -> tuple[str, ...]:
    """Return the names of the events, in the core's order."""
    names: list[str] = []
    while address := core().call("ul_event_name", len(names)):
        names.append(core().text(address))
    return tuple(names)


def unpack(engine: Core, address: int, *, exact: bool) -> Ledger:
    """Return the ledger that the core stored at an address."""
    names = events()
    content = engine.read(address, 8 * len(names))
    return dict(zip(names, struct.unpack(f"<{len(names)}{'Q' if exact else 'd'}", content), strict=True))


def pack(values: Mapping[str, float]) -> bytes:
    """Return a ledger or a vector of costs as the core takes it; a missing event is 0."""
    names = events()
    return struct.pack(f"<{len(names)}d", *(float(values.get(name, 0)) for name in names))


def total(ledgers: Iterable[Ledger]) -> Ledger:
    """Return the sum, event by event."""
    sums: Ledger = dict.fromkeys(events(), 0)
    for ledger in ledgers:
        for name, count in ledger.items():
            sums[name] += count
    return sums


def faults(ledger: Ledger) -> float:
    """Return the number of completed faults (minor faults)."""
    return sum(count for name, count in ledger.items() if name.startswith("faults_"))


def table_growth_kib(ledger: Ledger) -> float:
    """Return the growth of the page tables (VmPTE) in KiB."""
    made = sum(ledger[f"tables_{level}"] for level in ("pte", "pmd", "pud"))
    return 4 * (made - sum(ledger[f"freed_{level}"] for level in ("pte", "pmd", "pud")))


def filled_kib(ledger: Ledger) -> float:
    """Return the growth of memory (RSS and hugetlb pages) in KiB."""
    pages = ledger["pages"] + 512 * ledger["huge_pages"] + 512 * 512 * ledger["gigantic_pages"]
    return 4 * (pages - ledger["pages_freed"])


def price(ledger: Mapping[str, float], costs: Mapping[str, float]) -> float:
    """Return the sum of counts times costs, in the order of the events."""
    with core().lent(pack(ledger)) as counted, core().lent(pack(costs)) as vector:
        return float(core().call("ul_price", counted, vector))
