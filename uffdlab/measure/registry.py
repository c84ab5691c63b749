# SPDX-License-Identifier: MIT
"""The probes by name: what a block names, a child runs and a dataset's tables describe.

A probe's module is imported on first use: a child needs only one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Probe:
    """A measurement: its spec class, how to run it, and the tables its rows go to."""

    spec: Callable[..., Any]
    run: Callable[[Any], Iterator[tuple[str, dict[str, Any]]]]
    tables: dict[str, list[dict[str, Any]]]


# Name in suites and datasets → its module below uffdlab.probes, its spec class, and which of its lists describes which
# table. Names of probes and tables are a published contract; names of modules are not.
_MODULES: dict[str, tuple[str, str, dict[str, str]]] = {
    "protect": ("protect", "ProtectSpec", {"samples": "FIELDS", "latencies": "LATENCY_FIELDS"}),
    "semantics": ("semantics", "SemanticsSpec", {"states": "FIELDS"}),
    "sequence": ("sequence", "SequenceSpec", {"sequences": "FIELDS"}),
    "published": ("published", "PublishedSpec", {"published_runs": "FIELDS"}),
    "faults": ("faults", "FaultsSpec", {"faults": "FIELDS", "fault_latencies": "LATENCY_FIELDS"}),
    "zeropages": ("zeropages", "ZeropagesSpec", {"zeropages": "FIELDS"}),
    "resolve": ("resolve", "ResolveSpec", {"resolves": "FIELDS"}),
    "collapse": ("collapse", "CollapseSpec", {"collapses": "FIELDS"}),
    "entries": ("reprotect", "EntriesSpec", {"entries": "FIELDS"}),
    "equality": ("equality", "EqualitySpec", {"equality": "FIELDS"}),
    "atomicity": ("atomicity", "AtomicitySpec", {"races": "FIELDS"}),
    "tracking": ("tracking", "TrackingSpec", {"tracking": "FIELDS"}),
    "trackers": ("trackers", "TrackersSpec", {"trackers": "FIELDS", "tracker_latencies": "LATENCY_FIELDS"}),
    "channel": (
        "covert.channel",
        "ChannelSpec",
        {
            **{"channels": "FIELDS", "channel_slots": "SLOT_FIELDS", "channel_latencies": "LATENCY_FIELDS"},
            **{"noisy_channels": "NOISY_FIELDS", "noisy_slots": "SLOT_FIELDS"},
        },
    ),
    "merging": ("covert.ksm", "MergingSpec", {"merges": "FIELDS", "merge_writes": "WRITE_FIELDS"}),
    "revealing": ("covert.write_timing", "RevealingSpec", {"reveals": "FIELDS", "reveal_writes": "WRITE_FIELDS"}),
    "message": ("covert.message", "MessageSpec", {"messages": "FIELDS", "message_bits": "BIT_FIELDS"}),
    "occupancy": ("occupancy", "OccupancySpec", {"occupancy": "FIELDS"}),
    "scale": ("scale", "ScaleSpec", {"scale": "FIELDS", "scale_threads": "THREAD_FIELDS"}),
}


@cache
def _loaded(name: str) -> Probe:
    stem, spec, tables = _MODULES[name]
    module = import_module(f"uffdlab.probes.{stem}")
    return Probe(getattr(module, spec), module.run, {table: getattr(module, list_) for table, list_ in tables.items()})


class _Probes(Mapping[str, Probe]):
    """All probes, each loaded on first lookup."""

    def __getitem__(self, name: str) -> Probe:
        return _loaded(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


PROBES: Mapping[str, Probe] = _Probes()
