# SPDX-License-Identifier: MIT
"""Covert channel through pages that KSM merges (probe *merging*): error rate, capacity and permutation test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError
from uffdlab.stats import median_interval
from uffdlab.stats.information import mutual_information
from uffdlab.summaries import medians
from uffdlab.summaries.transmissions import Bits, Transmission, as_bits, error_share, judge

_KEY = ["contents", "use_zero_pages", "silent", "pages"]
_MEASURED = ("error", "bit_s", "round_ms", "merged_ns", "private_ns")
_SENT = [*_KEY, "block", "sample", "round", "sent", "received", "wall_ns"]
_READ = [*_SENT, "merged_ns", "private_ns"]


def df_merges(data: Dataset) -> pd.DataFrame:
    """Return one row per contents, ``use_zero_pages`` and control.

    Over children, each with ``_low`` and ``_high``: ``error`` (share of bits), ``bit_s`` (corrected capacity by the
    time of the rounds), ``round_ms``, and ``merged_ns`` and ``private_ns`` of the calibrating writes. Besides:
    ``children``, ``rounds``, ``p`` of the one-sided test that bits agree beyond chance, and where they do not
    ``below_bit_s``, the rate that may have passed undetected (one-sided 95 %).
    """
    rows = []
    known = data.rows("merges", _READ).dropna(subset=_SENT)
    for column in ("pages", "wall_ns"):
        if (known[column] <= 0).any():
            raise UffdlabError(f"`merges.{column}` holds {known[column].min()}: expected > 0")
    timed = known.assign(round_ms=known.wall_ns.astype("float64") / 1e6)
    for key, group in timed.groupby(_KEY, sort=True):
        children = [child for _, child in medians.by_child(group)]
        sent = [[_sample(rows) for _, rows in child.groupby("sample")] for child in children]
        samples = [sample for of_child in sent for sample in of_child]
        row = dict(zip(_KEY, key, strict=True)) | {"children": len(children), "rounds": len(group)}
        capacities = [_bit_s(of_child, child) for of_child, child in zip(sent, children, strict=True)]
        row |= medians.columns("error", median_interval([error_share(of_child) for of_child in sent]))
        row |= medians.columns("bit_s", median_interval(capacities))
        for name in ("round_ms", "merged_ns", "private_ns"):
            row |= medians.columns(name, medians.estimate(group, name))
        judged, seconds = judge(samples), float(group.wall_ns.sum()) / 1e9
        below = None if judged.passes else judged.below * sum(sample.sent.size for sample in samples) / seconds
        rows.append(row | {"p": judged.p, "below_bit_s": below})
    measured = [f"{name}{end}" for name in _MEASURED for end in ("", "_low", "_high")]
    frame = pd.DataFrame(rows, columns=[*_KEY, "children", "rounds", *measured, "p", "below_bit_s"])
    return frame.astype(dict.fromkeys([*measured, "below_bit_s"], "float64"))


_LONGEST = 10_000  # digits of a cell


def _sample(rows: pd.DataFrame) -> Transmission:
    pages = int(rows.pages.iloc[0])
    ordered = rows.sort_values("round")
    try:
        return Transmission({"lines": pages}, _bits(ordered.sent, pages), _bits(ordered.received, pages))
    except ValueError as error:
        raise UffdlabError(f"`merges.sent` or `merges.received` of {pages} pages: {error}") from None


def _bits(words: Any, pages: int) -> Bits:
    digits = -(-pages // 4)
    return as_bits("".join(str(word).rjust(min(digits, _LONGEST), "0") for word in words), pages)


def _bit_s(samples: Sequence[Transmission], child: pd.DataFrame) -> float:
    """Return the corrected capacity: information per bit, times bits, by the time of the rounds."""
    counts = np.asarray([sample.counts() for sample in samples]).sum(axis=0)
    return mutual_information(counts.tolist()) * float(counts.sum()) / (float(child.wall_ns.sum()) / 1e9)
