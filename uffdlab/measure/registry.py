# SPDX-License-Identifier: MIT
"""The probes by name: what a block names, a child runs and a dataset's tables describe.

A probe's module is imported on first use: a child needs only one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Probe:
    """A measurement: its spec class, how to run it, and the tables its rows go to."""

    name: str
    spec: Callable[..., Any]
    run: Callable[[Any], Iterator[tuple[str, dict[str, Any]]]]
    tables: dict[str, list[dict[str, Any]]]


# Name in suites and datasets → its module below uffdlab.probes, its spec class, and which of its lists describes which
# table. Names of probes and tables are a published contract; names of modules are not.
_MODULES: dict[str, tuple[str, str, dict[str, str]]] = {
    "protect": ("protect", "ProtectSpec", {"samples": "FIELDS", "latencies": "LATENCY_FIELDS"}),
    "semantics": ("semantics", "SemanticsSpec", {"states": "FIELDS"}),
    "published": ("published", "PublishedSpec", {"published_runs": "FIELDS"}),
    "faults": ("faults", "FaultsSpec", {"faults": "FIELDS", "fault_latencies": "LATENCY_FIELDS"}),
    "zeropages": ("zeropages", "ZeropagesSpec", {"zeropages": "FIELDS"}),
    "resolve": ("resolve", "ResolveSpec", {"resolves": "FIELDS"}),
    "entries": ("reprotect", "EntriesSpec", {"entries": "FIELDS"}),
    "equality": ("equality", "EqualitySpec", {"equality": "FIELDS"}),
    "atomicity": ("atomicity", "AtomicitySpec", {"races": "FIELDS"}),
    "tracking": ("tracking", "TrackingSpec", {"tracking": "FIELDS"}),
    "channel": (
        "covert.channel",
        "ChannelSpec",
        {"channels": "FIELDS", "channel_slots": "SLOT_FIELDS", "channel_latencies": "LATENCY_FIELDS"},
    ),
    "merging": ("covert.ksm", "MergingSpec", {"merges": "FIELDS", "merge_writes": "WRITE_FIELDS"}),
    "revealing": ("covert.write_timing", "RevealingSpec", {"reveals": "FIELDS", "reveal_writes": "WRITE_FIELDS"}),
    "message": ("covert.message", "MessageSpec", {"messages": "FIELDS", "message_bits": "BIT_FIELDS"}),
    "occupancy": ("occupancy", "OccupancySpec", {"occupancy": "FIELDS"}),
}


class _Probes(MutableMapping[str, Probe]):
    """All probes, each loaded on first lookup."""

    def __init__(self) -> None:
        self._loaded: dict[str, Probe] = {}

    def __getitem__(self, name: str) -> Probe:
        if name not in self._loaded:
            stem, spec, tables = _MODULES[name]
            module = import_module(f"uffdlab.probes.{stem}")
            fields = {table: getattr(module, attribute) for table, attribute in tables.items()}
            self._loaded[name] = Probe(name, getattr(module, spec), module.run, fields)
        return self._loaded[name]

    def __setitem__(self, name: str, probe: Probe) -> None:
        self._loaded[name] = probe

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


PROBES: MutableMapping[str, Probe] = _Probes()
