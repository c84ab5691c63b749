# SPDX-License-Identifier: MIT
"""Covert channel (probe *channel*) by operating point: capacity, error rate, controls, and samples in which bits pass.

In a guest whose CPUs move between the host's caches, samples of one point come in three kinds: a 1 is the faster load,
or the slower one, or no bits pass. Each kind is counted apart; no median mixes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import median_interval
from uffdlab.summaries import medians
from uffdlab.summaries.transmissions import (
    Transmission,
    by_child,
    capacity_kbit_s,
    error_share,
    judge,
    registered,
    shuffled,
    transmissions,
)
from uffdlab.vocabulary.channel import POINT

Part = Literal["all", "choosing", "reporting"]
_KINDS = ("faster", "slower")
_MEASURED = ("limit_kbit_s", *(f"{kind}_{what}" for kind in _KINDS for what in ("kbit_s", "error")), "error")
_COLUMNS = [
    *POINT, "registered", "children", "samples", "passing", "slower", "bits", *(f"{name}{end}" for name in _MEASURED
    for end in ("", "_low", "_high")), "p", "below_kbit_s",
    *(f"{kind}_kbit_s_{end}" for kind in _KINDS for end in ("least", "most")),
]  # fmt: skip


@medians.cached_per_dataset
def df_channels(data: Dataset, part: Part = "all") -> pd.DataFrame:
    """Return one row per operating point; ``registered``: whether it was measured beside its controls.

    Medians over children, each with ``_low`` and ``_high``: ``limit_kbit_s`` (one flush and reload per bit); of the
    samples in which bits pass by a test of each, corrected capacity and share of wrong bits, ``faster_kbit_s`` and
    ``faster_error`` where a 1 is the faster load, ``slower_kbit_s`` and ``slower_error`` where it is the slower one;
    and ``error`` of all samples, only where the test of all detects no channel. Other columns: ``passing`` of
    ``samples``, of them ``slower``; ``p`` of the test of all samples; ``below_kbit_s`` (without a channel: the rate
    that may have passed undetected, one-sided 95 %); and of both capacities the ``_least`` and the ``_most`` of a
    child, since fewer than six children have no interval.
    ``part``: every other child chooses a point, the others report it.
    """
    rows = []
    for point, samples in _points(data):
        blocks = sorted({sample.row["block"] for sample in samples})
        kept = {"all": blocks, "choosing": blocks[::2], "reporting": blocks[1::2]}[part]
        chosen = [sample for sample in samples if sample.row["block"] in kept]
        if chosen:
            rows.append(point | _summary(chosen))
    return pd.DataFrame(rows, columns=_COLUMNS)


@medians.cached_per_dataset
def df_shuffled(data: Dataset) -> pd.DataFrame:
    """Return one row per registered point: the capacity of received against shuffled sent slots, a control.

    ``shuffled_kbit_s`` is the mean of many draws, not cut off at 0; 95 % of them lie below ``shuffled_high_kbit_s``.
    """
    rows = []
    for point, samples in _points(data):
        if point["registered"]:
            drawn = np.asarray(shuffled(samples)) * samples[0].kbit_s_sent
            shuffled_row = {"shuffled_kbit_s": drawn.mean(), "shuffled_high_kbit_s": np.quantile(drawn, 0.95)}
            rows.append(point | {name: float(value) for name, value in shuffled_row.items()})
    return pd.DataFrame(rows, columns=[*POINT, "registered", "shuffled_kbit_s", "shuffled_high_kbit_s"])


@medians.cached_per_dataset
def df_samples(data: Dataset) -> pd.DataFrame:
    """Return one row per sample: point, ``block``, ``sample``, ``error``, ``kbit_s``, ``p``, ``passes``, ``slower``."""
    rows = []
    for point, samples in _points(data):
        for sample in samples:
            judged = judge([sample])
            rows.append(
                point
                | {"block": sample.row["block"], "sample": sample.row["sample"], "error": error_share([sample])}
                | {"kbit_s": capacity_kbit_s([sample]), "p": judged.p, "passes": judged.passes}
                | {"slower": bool(sample.row["slower"])}
            )
    return pd.DataFrame(
        rows, columns=[*POINT, "registered", "block", "sample", "error", "kbit_s", "p", "passes", "slower"]
    )


def best_point(data: Dataset, memory: str, placement: str) -> dict[str, Any] | None:
    """Return the point of largest capacity by one half of the children, as the other half reports it; None without one.

    Two halves avoid a selection bias. Capacity is that of samples in which a 1 is the faster load. On one CPU a sample
    in which no bits pass has failed, so capacity is weighed by the share that passes.
    """
    chosen = df_channels(data, "choosing")
    chosen = chosen[(chosen.memory == memory) & (chosen.placement == placement) & ~chosen.silent.astype(bool)]
    chosen = chosen[chosen.faster_kbit_s.notna()]
    if chosen.empty:
        return None
    weight = chosen.passing / chosen.samples if placement == "same" else 1
    best = chosen.assign(score=chosen.faster_kbit_s * weight).sort_values("score").iloc[-1]
    reported = df_channels(data, "reporting")
    same = reported[(reported[list(POINT)] == best[list(POINT)]).all(axis=1)]
    return None if same.empty else {str(name): value for name, value in same.iloc[0].items()}


def _summary(samples: Sequence[Transmission]) -> dict[str, Any]:
    children = by_child(samples)
    passing = [sample for sample in samples if _passes_alone(sample)]
    kinds = [[sample for sample in passing if bool(sample.row["slower"]) is slower] for slower in (False, True)]
    judged = judge(samples)
    row = {
        "children": len(children),
        "samples": len(samples),
        "passing": len(passing),
        "slower": len(kinds[True]),
        "bits": sum(sample.sent.size for sample in samples),
        "p": judged.p,
        "below_kbit_s": None if judged.passes else judged.below * samples[0].kbit_s_sent,
    }
    limits = [_limit(limit) for limit in children]
    measured = {"limit_kbit_s": [limit for limit in limits if limit is not None]}
    for name, kind in zip(_KINDS, kinds, strict=True):
        rates = measured[f"{name}_kbit_s"] = [capacity_kbit_s(child) for child in by_child(kind)]
        row |= {f"{name}_kbit_s_{end}": of(rates, default=None) for end, of in (("least", min), ("most", max))}
        measured[f"{name}_error"] = [error_share(child) for child in by_child(kind)]
    measured["error"] = [] if judged.passes else [error_share(child) for child in children]
    for name, values in measured.items():
        row |= medians.columns(name, median_interval(values) if values else None)
    return row


@lru_cache(maxsize=4096)
def _passes_alone(sample: Transmission) -> bool:
    return judge([sample]).passes


_POINTS: WeakKeyDictionary[Dataset, list[tuple[dict[str, Any], list[Transmission]]]] = WeakKeyDictionary()


def _points(data: Dataset) -> Iterator[tuple[dict[str, Any], list[Transmission]]]:
    """Yield each operating point with its samples, children together."""
    if data not in _POINTS:
        points: dict[tuple[Any, ...], list[Transmission]] = {}
        for sample in transmissions(data):
            points.setdefault(tuple(sample.row[name] for name in POINT), []).append(sample)
        beside = registered(points)
        _POINTS[data] = [
            (dict(zip(POINT, key, strict=True)) | {"registered": key in beside}, points[key]) for key in sorted(points)
        ]
    yield from _POINTS[data]


def _limit(samples: Sequence[Transmission]) -> float | None:
    """Return the rate of one flush and reload per bit, in kbit/s; None where they take no cycle."""
    rows = [sample.row for sample in samples]
    rates = [row["cycles_per_us"] / row["probe_cycles"] * 1e3 for row in rows if row["probe_cycles"] > 0]
    return float(sum(rates) / len(rates)) if rates else None
