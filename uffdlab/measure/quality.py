# SPDX-License-Identifier: MIT
"""Check whether a campaign was quiet enough to rely on, and say what to do if not.

It looks at the samples of the probe *protect*: at each point (backing, design, size, populated fraction) the medians of
the warm samples of each child process, because a child is the unit of repetition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uffdlab.datasets import Dataset
from uffdlab.stats import median_interval
from uffdlab.summaries import medians

if TYPE_CHECKING:
    import pandas as pd

WIDE = 0.25  # of the median, on either side
DRIFT = 0.05  # of the time: an interval wholly beyond it is a drift
LOAD_PER_CORE = 0.5
CHILDREN = 7  # what the interval of a ratio needs

_POINT = ["backing", "design", "size_kib", "populated", "cluster_pages"]
_NEEDED = {*_POINT, "block", "cold", "prepare_ns", "protect_ns"}


def sentences(data: Dataset) -> list[str]:
    """Return one sentence per kind of instability, with a remedy each; none for a quiet campaign."""
    checks: tuple[Callable[[Dataset, pd.DataFrame], str | None], ...] = (_few, _wide, _drift)
    samples = data.tables.get("samples")
    timed = None if samples is None or not set(samples.columns) >= _NEEDED else _per_child(samples)
    problems = [check(data, timed) for check in checks] if timed is not None and len(timed) else []
    return [sentence for sentence in (*problems, _load(data)) if sentence]


def _per_child(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the median time of the warm samples of each child, with the number of its campaign's middle block."""
    timed = medians.with_total(medians.warm(samples))
    timed["campaign"] = timed.dataset if "dataset" in timed.columns else ""  # after a merge there are several
    children = medians.df_children(timed, ["campaign", *_POINT], "total_ns")
    ends = children.groupby("campaign").block.agg(["min", "max"])
    children["middle"] = children.campaign.map((ends["min"] + ends["max"]) / 2)
    return children


def _few(data: Dataset, children: pd.DataFrame) -> str | None:
    counts = children.groupby(_POINT).size()
    few = int((counts < CHILDREN).sum())
    if not few:
        return None
    return (
        f"{_of(few, len(counts))} fewer than {CHILDREN} child processes, too few for the interval of a ratio: measure "
        "again with another --seed, and 'uffdlab data merge' the two"
    )


def _wide(data: Dataset, children: pd.DataFrame) -> str | None:
    estimates = [median_interval(list(group)) for _, group in children.groupby(_POINT).total_ns]
    wide = [
        estimate
        for estimate in estimates
        if estimate.low is not None and estimate.high is not None
        if estimate.low < (1 - WIDE) * estimate.value or estimate.high > (1 + WIDE) * estimate.value
    ]
    if not wide:
        return None
    seed = data.provenance.get("seed")
    again = f"--seed {seed + 1}" if isinstance(seed, int) else "another --seed"
    return (
        f"{_of(len(wide), len(estimates))} intervals wider than ±{WIDE * 100:.0f} % of the median: close other "
        f"programs and measure again with {again}, or 'uffdlab data merge' that second campaign with this one"
    )


def _drift(data: Dataset, children: pd.DataFrame) -> str | None:
    early, late = children[children.block < children.middle], children[children.block > children.middle]
    ratios = medians.ratios_at(_POINT, late, early, "total_ns")
    if not ratios:
        return None
    ratio = median_interval(ratios)
    if ratio.low is None or ratio.high is None or not (ratio.above(1 + DRIFT) or ratio.below(1 / (1 + DRIFT))):
        return None
    return (
        f"the second half of the campaign took {ratio.value:.2f} times as long as the first ({ratio.low:.2f} – "
        f"{ratio.high:.2f}, median of {ratio.n} points): let the machine settle, stop other programs, and measure "
        "again"
    )


def _load(data: Dataset) -> str | None:
    machines = [origin["provenance"] for origin in data.merged_from] or [data.provenance]
    loads = [_load_per_core(machine) for machine in machines]
    busiest = max((load for load in loads if load is not None), default=0.0)
    if busiest <= LOAD_PER_CORE:
        return None
    return (
        f"the load was {busiest:.2f} per core when the campaign started, more than {LOAD_PER_CORE}: close other "
        "programs, wait a minute, and measure again"
    )


def _load_per_core(machine: dict[str, Any]) -> float | None:
    load, cores = machine.get("load_1min"), machine.get("cores_online")
    return float(load) / cores if load is not None and cores else None


def _of(some: int, all_: int) -> str:
    return f"{some} of {all_} point{'s' * (all_ != 1)} {'has' if some == 1 else 'have'}"
