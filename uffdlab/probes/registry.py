# SPDX-License-Identifier: MIT
"""The probes by name: what a block names, a child runs and a dataset's tables describe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from uffdlab.probes import occupancy, protect, semantics
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
    "protect": Probe(
        "protect",
        protect.ProtectSpec,
        protect.run,
        {"samples": protect.FIELDS, "latencies": protect.LATENCY_FIELDS},
    ),
    "semantics": Probe("semantics", semantics.SemanticsSpec, semantics.run, {"states": semantics.FIELDS}),
    "occupancy": Probe("occupancy", occupancy.OccupancySpec, occupancy.run, {"occupancy": occupancy.FIELDS}),
}
