# SPDX-License-Identifier: MIT
"""Who works for a tracker (probe *trackers*): the writer itself, the thread that takes events, or calls in between."""

from __future__ import annotations

from typing import Any

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import column_ratio, column_sum
from uffdlab.summaries import medians
from uffdlab.summaries.trackers import POINT, TABLE, samples
from uffdlab.vocabulary.tracking import TRACKERS

_HANDLER = "handler_cpu_ns"
PARTS = ["writer_ns", "handler_ns", "calls_ns"]
_COLUMNS = [*POINT, "method", *PARTS, *(f"{part}{end}" for part in PARTS for end in ("_low", "_high")), "apart_share"]


@medians.cached_per_dataset
def df_tracker_cpu(data: Dataset) -> pd.DataFrame:
    """Return one row per kind of memory, size, dirty share, pattern and method: medians over children, in ns.

    ``writer_ns``: what the writes took longer than untracked ones, without the handler, which shares their CPU: faults,
    signals and switches. ``handler_ns``: CPU time of the thread that takes events. ``calls_ns``: arming, collecting and
    protecting again. ``apart_share``: of all three, the last two, which need not be on the writer's CPU. Empty where
    the handler's time was not recorded.
    """
    if TABLE not in data.tables or _HANDLER not in data.tables[TABLE].columns:
        return pd.DataFrame(columns=_COLUMNS)
    rows = samples(data)
    rows["handler_ns"] = data.require(TABLE, [_HANDLER])[_HANDLER].astype("float64")
    rows["writer_ns"] = (rows.epoch_ns - rows.pause_ns - rows.handler_ns).astype("float64")
    rows["calls_ns"] = column_sum(rows.arm_ns, rows.pause_ns).astype("float64")
    rows["apart_share"] = column_ratio(rows.handler_ns + rows.calls_ns, column_sum(*(rows[part] for part in PARTS)))
    found: list[dict[str, Any]] = []
    for key, group in rows[rows.method != "nothing"].groupby([*POINT, "method"]):
        taken = medians.warm(group)
        row: dict[str, Any] = dict(zip([*POINT, "method"], key, strict=True))
        for part in PARTS:
            row |= medians.columns(part, medians.estimate(taken, part))
        found.append(row | {"apart_share": medians.median_or_none(taken.apart_share)})
    order = {name: place for place, name in enumerate(TRACKERS)}
    frame = pd.DataFrame(found, columns=_COLUMNS)
    return frame.sort_values([*POINT, "method"], key=lambda c: c.map(order) if c.name == "method" else c)
