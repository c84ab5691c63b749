# SPDX-License-Identifier: MIT
"""Covert channel: the rate that arrives in two metrics, over all samples of a point, alone and beside a neighbour.

``information``: mutual information of sent and received bits, less the bias of few samples. ``symmetric``: what others
publish, the rate of sent bits times (1 - H(share of wrong bits)): the capacity of a channel that flips a 0 as often as
a 1. It never exceeds the former, but for that bias, and is as much where errors are symmetric.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats.information import symmetric_capacity
from uffdlab.summaries import medians
from uffdlab.summaries.channel import df_samples
from uffdlab.summaries.transmissions import SAMPLE_COLUMNS, SLOT_COLUMNS
from uffdlab.vocabulary.channel import POINT

_MEASURED = ("error", "symmetric_kbit_s", "information_kbit_s")
_COLUMNS = [
    *("neighbour", *POINT, "registered", "children", "samples", "passing", "sent_kbit_s"),
    *(f"{name}{end}" for name in _MEASURED for end in ("", "_low", "_high")),
]


@medians.cached_per_dataset
def df_capacities(data: Dataset) -> pd.DataFrame:
    """Return one row per neighbour and operating point, medians over children with ``_low`` and ``_high``.

    ``error`` (share of wrong bits), ``symmetric_kbit_s`` and ``information_kbit_s`` are of all samples, also of those
    in which nothing passes: ``passing`` of ``samples`` do. Points beside a neighbour are never ``registered``.
    """
    rows = [row for neighbour, samples in _by_neighbour(data) for row in _rows(neighbour, samples)]
    return pd.DataFrame(rows, columns=_COLUMNS)


def df_noise(data: Dataset) -> pd.DataFrame:
    """Return the rows of :func:`df_capacities` at points where a neighbour ran, and those without one there."""
    frame = df_capacities(data)
    noisy = frame.loc[frame.neighbour != "none", list(POINT)].drop_duplicates()
    return frame.merge(noisy, on=list(POINT))


def _by_neighbour(data: Dataset) -> Iterator[tuple[str, pd.DataFrame]]:
    yield "none", df_samples(data)
    beside = data.rows("noisy_channels", ["neighbour", *SAMPLE_COLUMNS])
    for neighbour in sorted(set(beside.neighbour.dropna())):
        rows = beside[(beside.neighbour == neighbour).fillna(False)]
        tables = {"channels": rows, "channel_slots": data.rows("noisy_slots", SLOT_COLUMNS)}
        samples = df_samples(replace(data, tables=tables))
        yield str(neighbour), samples.assign(registered=False)


def _rows(neighbour: str, samples: pd.DataFrame) -> Iterator[dict[str, Any]]:
    sent = samples.lines.astype("float64") / samples.slot_ns.astype("float64") * 1e6
    kept = [symmetric_capacity(float(error)) for error in samples.error]
    known = samples.assign(sent_kbit_s=sent, symmetric_kbit_s=kept * sent, information_kbit_s=samples.kbit_s)
    for key, here in known.groupby(list(POINT), sort=True):
        row = dict(zip(POINT, key, strict=True)) | {"neighbour": neighbour, "registered": bool(here.registered.iloc[0])}
        row |= {"children": here.block.nunique(), "samples": len(here), "passing": int(here.passes.sum())}
        row |= {"sent_kbit_s": float(here.sent_kbit_s.iloc[0])}
        for name in _MEASURED:
            row |= medians.columns(name, medians.estimate(here, name))
        yield row
