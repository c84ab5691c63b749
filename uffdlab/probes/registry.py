# SPDX-License-Identifier: MIT
"""The probes by name: what a block names, a child runs and a dataset's tables describe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from uffdlab.probes import (
    atomicity,
    equality,
    faults,
    occupancy,
    protect,
    published,
    resolve,
    semantics,
    tracking,
    zeropages,
)  # fmt: skip
from uffdlab.probes.needs import Needs


class Spec(Protocol):
    """What every probe's spec can say."""

    def needs(self) -> Needs:
        """Return what one run holds at its peak."""


@dataclass(frozen=True)
class Probe:
    """A measurement: its spec class, how to run it, and the tables its rows go to."""

    name: str
    spec: Callable[..., Any]
    run: Callable[[Any], Iterator[tuple[str, dict[str, Any]]]]
    tables: dict[str, list[dict[str, Any]]]


PROBES: dict[str, Probe] = {
    probe.name: probe
    for probe in (
        Probe(
            "protect",
            protect.ProtectSpec,
            protect.run,
            {"samples": protect.FIELDS, "latencies": protect.LATENCY_FIELDS},
        ),
        Probe("semantics", semantics.SemanticsSpec, semantics.run, {"states": semantics.FIELDS}),
        Probe("published", published.PublishedSpec, published.run, {"published_runs": published.FIELDS}),
        Probe(
            "faults",
            faults.FaultsSpec,
            faults.run,
            {"faults": faults.FIELDS, "fault_latencies": faults.LATENCY_FIELDS},
        ),
        Probe("zeropages", zeropages.ZeropagesSpec, zeropages.run, {"zeropages": zeropages.FIELDS}),
        Probe("resolve", resolve.ResolveSpec, resolve.run, {"resolves": resolve.FIELDS}),
        Probe("equality", equality.EqualitySpec, equality.run, {"equality": equality.FIELDS}),
        Probe("atomicity", atomicity.AtomicitySpec, atomicity.run, {"races": atomicity.FIELDS}),
        Probe("tracking", tracking.TrackingSpec, tracking.run, {"tracking": tracking.FIELDS}),
        Probe("occupancy", occupancy.OccupancySpec, occupancy.run, {"occupancy": occupancy.FIELDS}),
    )
}
