# SPDX-License-Identifier: MIT
"""The covert channel's rate: what limits it, beside published ones, and beside a noisy neighbour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.notebook.show import Sentence, Table
from uffdlab.units import format_ratio, format_share, with_interval
from uffdlab.vocabulary.channel import MEMORIES, NEIGHBOURS, PLACEMENTS, POINT, ZEROPAGES

_BASELINE = "libc"
_COMPARED = (*ZEROPAGES, _BASELINE)
_KBIT_OF = {"kB/s": 8.0}
_FIGURE = ["key", "quantity", "relation", "value", "unit", "metric", "citation"]


def channel_sentence(data: Dataset, published: Dataset) -> Sentence:
    """Return what arrives through either zeropage on one CPU, beside the published rate of flush+reload."""
    known = {point["memory"]: point for point in _registered(data) if point["placement"] == "same"}
    rates = {name: known[name]["symmetric_kbit_s"] for name in ZEROPAGES if name in known}
    figures = published.require("figures", _FIGURE)
    figures = figures[(figures.key == "flush-reload-rate").fillna(False) & (figures.unit == "kB/s").fillna(False)]
    flush_reload = [float(value) * _KBIT_OF["kB/s"] for value in figures.value.dropna() if value > 0]
    if not rates:
        return Sentence(f"The zeropage was not measured beside a silent sender (dataset {data.id}).")
    parts = []
    for name, rate in rates.items():
        beside = f" ({format_ratio(rate / flush_reload[0])} times flush+reload as published)" if flush_reload else ""
        parts.append(f"through {MEMORIES[name].phrase} {_range(known[name], 'symmetric_kbit_s')} kbit/s{beside}")
    return Sentence(f"On one CPU there arrive {' and '.join(parts)}.")


def channel_losses(data: Dataset) -> Table:
    """Return what is left of one reload and flush per bit at registered points: by the slot's length, and by errors."""
    limits = summaries.df_channels(data)[[*POINT, "limit_kbit_s"]]
    rows = []
    for point in _registered(data, limits):
        limit, sent, arrives = (point[name] for name in ("limit_kbit_s", "sent_kbit_s", "symmetric_kbit_s"))
        known = not pd.isna(limit) and limit > 0
        rows.append(
            {
                "through": _through(point),
                "a reload and flush per bit": f"{limit:,.0f} kbit/s" if known else None,
                "sent: bits of a slot by its length": f"{sent:,.0f} kbit/s" + (_share(sent / limit) if known else ""),
                "wrong bits": _range(point, "error"),
                "arrives: rate × (1 − H)": f"{arrives:,.0f} kbit/s{_share(arrives / sent)}",
            }
        )
    return Table(pd.DataFrame(rows or [{"through": "not measured"}]), index=False)


def channel_compared(data: Dataset, published: Dataset) -> Table:
    """Return measured and published rates in one metric and one unit, the measured ones with mutual information."""
    rows = [
        {
            "channel": f"{_through(point)}, {point['lines']} lines",
            "origin": f"measured: {point['passing']} of {point['samples']} samples pass",
            "rate × (1 − H), kbit/s": _range(point, "symmetric_kbit_s"),
            "mutual information, kbit/s": _range(point, "information_kbit_s"),
        }
        for point in _registered(data)
    ]
    if not any(point["memory"] == _BASELINE for point in _registered(data)):
        rows.append({"channel": MEMORIES[_BASELINE].short, "origin": f"was not measured (dataset {data.id})"})
    figures = published.require("figures", _FIGURE)
    for figure in figures[(figures.metric == "capacity").fillna(False)].dropna(subset=["value"]).to_dict("records"):
        if figure["unit"] not in _KBIT_OF:
            continue
        relation = "" if figure["relation"] == "=" else f"{figure['relation']} "
        rows.append(
            {
                "channel": figure["quantity"],
                "origin": f"published: {figure['citation']}",
                "rate × (1 − H), kbit/s": f"{relation}{figure['value'] * _KBIT_OF[figure['unit']]:,.0f} "
                f"({figure['value']:g} {figure['unit']})",
                "mutual information, kbit/s": "not published",
            }
        )
    return Table(pd.DataFrame(rows or [{"channel": "not measured"}]), index=False)


def channel_noise(data: Dataset) -> Table:
    """Return what arrives through the zeropage on one CPU by neighbour and slot length, all samples counted.

    One line where the dataset has no neighbour.
    """
    frame = summaries.df_noise(data)
    frame = frame[(frame.memory == "zeropage") & (frame.placement == "same") & ~frame.silent.astype(bool)]
    if frame.empty:
        return Table(pd.DataFrame([{"beside a noisy neighbour": f"was not measured (dataset {data.id})"}]), index=False)
    order = [*NEIGHBOURS, *sorted(set(frame.neighbour) - set(NEIGHBOURS))]
    cells: dict[str, dict[str, str]] = {}
    for row in frame.sort_values(["slot_ns", "lines"]).to_dict("records"):
        column = f"{row['slot_ns'] / 1000:g} µs"
        cell = f"{_range(row, 'symmetric_kbit_s')}; {row['passing']} of {row['samples']}"
        cells.setdefault(row["neighbour"], {})[column] = cell
    rows = [{"beside": NEIGHBOURS.get(name, name)} | cells[name] for name in order if name in cells]
    return Table(pd.DataFrame(rows).fillna("not measured"), index=False)


def _registered(data: Dataset, beside: pd.DataFrame | None = None) -> Iterator[Mapping[Any, Any]]:
    """Yield the registered points of both zeropages and of the baseline, one CPU first; ``beside`` adds columns."""
    frame = summaries.df_capacities(data)
    frame = frame[frame.registered.astype(bool) & ~frame.silent.astype(bool)]
    if beside is not None:
        frame = frame.merge(beside, on=list(POINT), how="left")
    for memory in _COMPARED:
        for placement in PLACEMENTS:
            yield from frame[(frame.memory == memory) & (frame.placement == placement)].to_dict("records")


def _through(point: Mapping[Any, Any]) -> str:
    return f"{MEMORIES[point['memory']].short}, {PLACEMENTS[point['placement']]}"


def _share(share: float) -> str:
    return f" ({format_share(share)})"


def _range(row: Mapping[Any, Any], column: str) -> str:
    """Return a value with its interval, if it has one."""
    value, low, high = (row[f"{column}{end}"] for end in ("", "_low", "_high"))
    return with_interval(value, low, high, _wrong if column == "error" else _rate)


def _wrong(share: float) -> str:
    return format_share(share, 1)


def _rate(kbit_s: float) -> str:
    return f"{kbit_s:,.0f}"
