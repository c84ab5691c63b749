# SPDX-License-Identifier: MIT
"""Samples of the probe *channel*: errors, capacity and whether there is a channel at all, by operating point.

Capacity is mutual information per bit times bits per second. Counted naively, independent data carry information: with
few samples no table of counts is quite flat. So the expected excess (Miller and Madow, 1955) is taken off, and what is
left of nothing is 0. Whether anything passes at all is asked by permuting which slot was sent when: a test that assumes
nothing of how errors fall, since a slot keeps its bits together.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any, Literal

import numpy as np
import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.stats import median_interval
from uffdlab.summaries import medians

POINT = ["memory", "placement", "silent", "slot_ns", "lines"]
PERMUTATIONS = 999
Part = Literal["all", "choosing", "reporting"]
_SENT = [*POINT, "block", "sample", "missed", "invented", "ones", "bits", "probe_cycles", "cycles_per_us"]
_SLOTS = ["block", "sample", "slot", "sent", "received"]


def mutual_information(counts: Sequence[Sequence[int]]) -> float:
    """Return how many bits of information were received per bit sent, less the bias of counting; never below 0.

    ``counts[i][j]``: how often i was sent and j received. Raises ValueError when nothing was sent.
    """
    table = np.asarray(counts, dtype=float)
    total = table.sum()
    if not total > 0:
        raise ValueError("nothing was sent: no information can be counted")
    rows, columns = table.sum(axis=1, keepdims=True), table.sum(axis=0, keepdims=True)
    seen = table > 0
    naive = float((table[seen] * np.log2((table * total)[seen] / (rows @ columns)[seen])).sum() / total)
    freedom = (np.count_nonzero(rows) - 1) * (np.count_nonzero(columns) - 1)
    return max(0.0, naive - float(freedom / (2 * total * log(2))))


def permutation_p(sent: Sequence[int], received: Sequence[int], lines: int, seed: int = 0) -> float:
    """Return the one-sided p-value of "no more bits agree than would by chance", from ``PERMUTATIONS`` shuffled orders.

    ``sent`` and ``received``: a word of ``lines`` bits per slot, in the order of the slots. Raises ValueError when they
    differ in length or are empty.
    """
    if len(sent) != len(received) or not len(sent):
        raise ValueError(f"{len(sent)} slots sent, {len(received)} received: a test needs the same, at least one")
    out, back = (_signs(words, lines) for words in (sent, received))
    rng = np.random.default_rng(seed)
    found = float((out * back).sum())
    chance = [float((out[rng.permutation(len(out))] * back).sum()) for _ in range(PERMUTATIONS)]
    return (1 + sum(one >= found for one in chance)) / (1 + PERMUTATIONS)


def _signs(words: Sequence[int], lines: int) -> Any:
    """Return bits by slot and line, each line less its mean: one that is always 1 agrees with nothing."""
    bits = np.array([[word >> line & 1 for line in range(lines)] for word in words], dtype=float)
    return bits - bits.mean(axis=0)


def df_channels(data: Dataset, part: Part = "all", *, tested: bool = True) -> pd.DataFrame:
    """Return one row per operating point, over children: ``error`` (share of bits), ``kbit_s`` (corrected capacity)
    and ``limit_kbit_s`` (what one flush and reload per bit would allow), each with ``_low`` and ``_high``.

    Besides: ``p`` of the permutation test over all slots (missing unless ``tested``: it takes seconds), ``bits`` and
    ``children``. Half of the children, every other
    one, is for choosing a point, the others for reporting it.
    """
    rows = []
    sent = data.rows("channels", _SENT)
    slots = data.rows("channel_slots", _SLOTS)
    for key, group in sent.groupby(POINT, sort=True):
        point = dict(zip(POINT, key, strict=True))
        kept = _part(sorted(group.block.unique()), part)
        group = group[group.block.isin(kept)]
        if not len(group):
            continue
        by_child = group.groupby("block")
        errors = [float((one.missed.sum() + one.invented.sum()) / one.bits.sum()) for _, one in by_child]
        rates = [_kbit_s(one, point) for _, one in by_child]
        limits = [float((one.cycles_per_us / one.probe_cycles * 1e3).median()) for _, one in by_child]
        row = point | {"children": len(errors), "bits": int(group.bits.sum())}
        for name, values in (("error", errors), ("kbit_s", rates), ("limit_kbit_s", limits)):
            row |= medians.columns(name, median_interval(values))
        if not tested:
            rows.append(row)
            continue
        words = group[["block", "sample"]].merge(slots, on=["block", "sample"]).sort_values(["block", "sample", "slot"])
        sent_words, received = ([int(str(word), 16) for word in words[name]] for name in ("sent", "received"))
        rows.append(row | {"p": permutation_p(sent_words, received, int(group.lines.iloc[0]))})
    columns = [*POINT, "children", "bits", *(f"{name}{end}" for name in ("error", "kbit_s", "limit_kbit_s")
               for end in ("", "_low", "_high")), "p"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _part(blocks: list[int], part: Part) -> list[int]:
    return {"all": blocks, "choosing": blocks[::2], "reporting": blocks[1::2]}[part]


def _kbit_s(rows: pd.DataFrame, point: dict[str, Any]) -> float:
    ones, bits, missed, invented = (int(rows[name].sum()) for name in ("ones", "bits", "missed", "invented"))
    each = mutual_information([[bits - ones - invented, invented], [missed, ones - missed]])
    return each * float(point["lines"]) / float(point["slot_ns"]) * 1e6


def best_point(data: Dataset, memory: str, placement: str) -> dict[str, Any] | None:
    """Return the point of the largest capacity where it was chosen, as the other half reports it; None without one.

    What was best by luck in one half is not in the other.
    """
    chosen = df_channels(data, "choosing", tested=False)
    chosen = chosen[(chosen.memory == memory) & (chosen.placement == placement) & ~chosen.silent.astype(bool)]
    if chosen.empty:
        return None
    best = chosen.sort_values("kbit_s").iloc[-1]
    reported = df_channels(data, "reporting", tested=False)
    same = reported[(reported[POINT] == best[POINT]).all(axis=1)]
    return None if same.empty else {str(name): value for name, value in same.iloc[0].items()}
