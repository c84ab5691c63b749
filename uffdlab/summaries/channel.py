# SPDX-License-Identifier: MIT
"""Samples of the probe *channel* by operating point: errors, capacity, controls, and how many passed at all.

On a guest whose CPUs move between the host's caches, samples of one point come in kinds: a line that was sent is the
faster one, or the slower, or nothing is told. They are counted apart, and a median over all is not taken for any.
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


@medians.once
def df_channels(data: Dataset, part: Part = "all") -> pd.DataFrame:
    """Return one row per operating point; ``registered``: whether it was measured beside its controls.

    Over children, each with ``_low`` and ``_high``: ``limit_kbit_s`` (what one flush and reload per bit would allow);
    of those samples in which bits pass at all, by a test of each, the corrected capacity and the share of wrong bits,
    ``faster_kbit_s`` and ``faster_error`` where a 1 is the faster load, ``slower_kbit_s`` and ``slower_error`` where it
    is the slower one; and ``error``, of all samples, only where the test of them all finds no channel. Besides:
    ``passing`` of how many ``samples`` and how many of these are ``slower``, ``p`` of the test over all samples,
    ``below_kbit_s`` (where none is detected: what may have passed unnoticed, one-sided 95 %), and of both
    capacities the ``_least`` and the ``_most`` of a child: fewer than six children have no interval.
    Half of the children, every other one, is for choosing a point, the others for reporting it.
    """
    rows = []
    for point, samples in _points(data):
        blocks = sorted({one.row["block"] for one in samples})
        kept = {"all": blocks, "choosing": blocks[::2], "reporting": blocks[1::2]}[part]
        chosen = [one for one in samples if one.row["block"] in kept]
        if chosen:
            rows.append(point | _summed(chosen))
    return pd.DataFrame(rows, columns=_COLUMNS)


@medians.once
def df_shuffled(data: Dataset) -> pd.DataFrame:
    """Return one row per registered point: what was received against what was sent in other slots, a control.

    ``shuffled_kbit_s`` is the mean of many draws, not cut off at 0; 95 % of them stay below ``shuffled_high_kbit_s``.
    """
    rows = []
    for point, samples in _points(data):
        if point["registered"]:
            drawn = np.asarray(shuffled(samples)) * samples[0].kbit_s_sent
            found = {"shuffled_kbit_s": drawn.mean(), "shuffled_high_kbit_s": np.quantile(drawn, 0.95)}
            rows.append(point | {name: float(value) for name, value in found.items()})
    return pd.DataFrame(rows, columns=[*POINT, "registered", "shuffled_kbit_s", "shuffled_high_kbit_s"])


@medians.once
def df_samples(data: Dataset) -> pd.DataFrame:
    """Return one row per sample: point, ``block``, ``sample``, ``error``, ``kbit_s``, ``p``, ``passes``, ``slower``."""
    rows = []
    for point, samples in _points(data):
        for one in samples:
            found = judge([one])
            rows.append(
                point
                | {"block": one.row["block"], "sample": one.row["sample"], "error": _error([one])}
                | {"kbit_s": capacity_kbit_s([one]), "p": found.p, "passes": found.passes}
                | {"slower": bool(one.row["slower"])}
            )
    return pd.DataFrame(
        rows, columns=[*POINT, "registered", "block", "sample", "error", "kbit_s", "p", "passes", "slower"]
    )


def best_point(data: Dataset, memory: str, placement: str) -> dict[str, Any] | None:
    """Return the point of the largest capacity where it was chosen, as the other half reports it; None without one.

    What was best by luck in one half is not in the other. Capacity is that of samples in which a 1 is the faster load.
    On one CPU a sample through which nothing passes is of no other kind but has failed: there the share that passes
    counts as well.
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


def _summed(samples: Sequence[Transmission]) -> dict[str, Any]:
    children = by_child(samples)
    passing = [one for one in samples if _alone(one)]
    kinds = [[one for one in passing if bool(one.row["slower"]) is slower] for slower in (False, True)]
    found = judge(samples)
    row = {
        "children": len(children),
        "samples": len(samples),
        "passing": len(passing),
        "slower": len(kinds[True]),
        "bits": sum(one.sent.size for one in samples),
        "p": found.p,
        "below_kbit_s": None if found.passes else found.below * samples[0].kbit_s_sent,
    }
    limits = [_limit(one) for one in children]
    measured = {"limit_kbit_s": [one for one in limits if one is not None]}
    for name, kind in zip(_KINDS, kinds, strict=True):
        rates = measured[f"{name}_kbit_s"] = [capacity_kbit_s(child) for child in by_child(kind)]
        row |= {f"{name}_kbit_s_{end}": of(rates, default=None) for end, of in (("least", min), ("most", max))}
        measured[f"{name}_error"] = [_error(child) for child in by_child(kind)]
    measured["error"] = [] if found.passes else [_error(one) for one in children]
    for name, values in measured.items():
        row |= medians.columns(name, median_interval(values) if values else None)
    return row


@lru_cache(maxsize=4096)
def _alone(one: Transmission) -> bool:
    return judge([one]).passes


_KNOWN: WeakKeyDictionary[Dataset, list[tuple[dict[str, Any], list[Transmission]]]] = WeakKeyDictionary()


def _points(data: Dataset) -> Iterator[tuple[dict[str, Any], list[Transmission]]]:
    """Yield each operating point with its samples, children together."""
    if data not in _KNOWN:
        points: dict[tuple[Any, ...], list[Transmission]] = {}
        for one in transmissions(data):
            points.setdefault(tuple(one.row[name] for name in POINT), []).append(one)
        beside = registered(points)
        _KNOWN[data] = [
            (dict(zip(POINT, key, strict=True)) | {"registered": key in beside}, points[key]) for key in sorted(points)
        ]
    yield from _KNOWN[data]


def _limit(samples: Sequence[Transmission]) -> float | None:
    """Return what one flush and reload per bit would allow, in kbit/s; None where neither takes a cycle."""
    rates = [one.row["cycles_per_us"] / one.row["probe_cycles"] * 1e3 for one in samples if one.row["probe_cycles"] > 0]
    return float(sum(rates) / len(rates)) if rates else None


def _error(samples: Sequence[Transmission]) -> float:
    wrong = sum(int((one.sent != one.received).sum()) for one in samples)
    return wrong / sum(one.sent.size for one in samples)
