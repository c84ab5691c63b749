# SPDX-License-Identifier: MIT
"""What is counted beside the figures of the zeropage as a wire: points, noise, controls, and what others published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.notebook import Table
from uffdlab.transmission import LEVEL
from uffdlab.units import format_ns, format_ratio

_PLACES = {"same": "one CPU", "cross": "two CPUs"}
_WIRES = {"zeropage": "zeropage", "huge_zeropage": "huge zeropage"}
# Bits a second in one of the units that published rates come in.
_BIT_S = {"B/h": 8 / 3600, "kB/s": 8000.0}
_COPIED_BYTES = 100  # sent in the time that dedup-local-copy states


def channel_points(data: Dataset) -> Table:
    """Return the registered point and the best one of either zeropage: capacity, and its share of the limit.

    The best point is chosen by one half of the children and reported by the other.
    """
    frame = summaries.df_channels(data)
    rows = []
    for memory, name in _WIRES.items():
        for placement, place in _PLACES.items():
            here = frame[(frame.memory == memory) & (frame.placement == placement) & ~frame.silent.astype(bool)]
            registered = here[here.registered.astype(bool)]
            points: list[tuple[str, Mapping[Any, Any]]]
            points = [("registered", one) for one in registered.to_dict("records")]
            best = summaries.best_point(data, memory, placement)
            points += [("best", best)] if best else []
            for which, one in points:
                limit = one["limit_kbit_s"]
                rows.append(
                    {
                        "through": name,
                        "on": place,
                        "point": which,
                        "slot": f"{one['slot_ns'] / 1000:g} µs, {one['lines']} lines",
                        "capacity": _between(one, "kbit_s"),
                        "of the limit": f"{one['kbit_s'] / limit:.0%} of {limit:,.0f} kbit/s",
                        "samples that pass": f"{one['passing']} of {one['samples']}",
                        "wrong bits": _percent(one, "error"),
                    }
                )
    return Table(pd.DataFrame(rows or [{"through": "not measured"}]), index=False)


def channel_noise(data: Dataset) -> Table:
    """Return which share of lines were found loaded although nobody sent: of zeropages, and of memory of one's own."""
    frame = summaries.df_channels(data)
    frame = frame[frame.registered.astype(bool)]
    quiet = frame[frame.silent.astype(bool) | (frame.memory == "private")]
    rows = [
        {
            "memory": one["memory"],
            "on": _PLACES[one["placement"]],
            "nobody sent, a line was loaded": _percent(one, "invented"),
            "slots that came late": f"{one['late']:.1%}",
        }
        for one in quiet.to_dict("records")
    ]
    return Table(pd.DataFrame(rows or [{"memory": "not measured"}]), index=False)


def channel_controls(data: Dataset) -> Table:
    """Return the controls that have to come out null: no sender, pages of one's own, bits set against other slots."""
    frame = summaries.df_channels(data)
    frame = frame[frame.registered.astype(bool)]
    rows = []
    for one in frame.to_dict("records"):
        point = {"memory": one["memory"], "on": _PLACES[one["placement"]]}
        if one["silent"] or one["memory"] == "private":
            rows.append(
                {"control": "no sender" if one["silent"] else "pages of one's own"}
                | point
                | {"p": f"{one['p']:.3g}", "capacity": _rate(one["kbit_s"]), "at most": _rate(one["below_kbit_s"])}
            )
        else:
            rows.append(
                {"control": "other slots"} | point | {"capacity": _rate(one["shuffled_kbit_s"]), "p": "", "at most": ""}
            )
    found = pd.DataFrame(rows or [{"control": "not measured"}])
    return Table(found.sort_values("control", kind="stable"), index=False)


def messages(data: Dataset) -> Table:
    """Return what became of messages, by what they went through: how many arrived, why the others were lost."""
    known = ["memory", "placement", "silent", "slot_ns", "lines", "copies"]
    read = [*known, "outcome", "sent", "received", "text_bytes", "message_slots", "bits_on_wire", "missed", "invented"]
    rows = []
    for key, group in data.rows("messages", read).groupby(known, sort=True):
        one: dict[str, Any] = dict(zip(known, key, strict=True))
        arrived = group[group.outcome == "arrived"]
        lost = group[group.outcome != "arrived"].outcome.value_counts()
        wrong = (group.missed + group.invented) / group.bits_on_wire
        seconds = arrived.message_slots.astype(float) * float(one["slot_ns"]) / 1e9
        goodput = arrived.text_bytes.astype(float) * 8 / seconds
        rows.append(
            {
                "through": one["memory"],
                "on": _PLACES[one["placement"]],
                "sender": "silent" if one["silent"] else "sends",
                "slot": f"{one['slot_ns'] / 1000:g} µs, {one['lines']} lines",
                "arrived": f"{len(arrived)} of {len(group)}",
                "differ from what was sent": int((arrived.sent != arrived.received).sum()),
                "lost": ", ".join(f"{why}: {number}" for why, number in lost.items()) or "none",
                "wrong bits on the wire": f"{wrong.median():.1%}" if wrong.notna().any() else "not known",
                "text": _rate(float(goodput.median()) / 1000) if len(arrived) else "nothing",
            }
        )
    return Table(pd.DataFrame(rows or [{"through": "not measured"}]), index=False)


def write_reveals(data: Dataset) -> Table:
    """Return how often one write to anonymous memory is taken for one to another state, each pair of states a cell.

    The threshold is chosen by one half of the children and judged by the other.
    """
    frame = summaries.df_reveals(data)
    frame = frame[(frame.backing == "anon") & frame.error.notna()]
    if frame.empty:
        return Table(pd.DataFrame([{"state": "not measured"}]), index=False)
    both = pd.concat([frame, frame.rename(columns={"state": "other", "other": "state", "state_ns": "other_ns",
                                                   "other_ns": "state_ns"})])  # fmt: skip
    cells = both.assign(cell=[_percent(one, "error") for one in both.to_dict("records")])
    wide = cells.pivot_table(index="state", columns="other", values="cell", aggfunc="first").fillna("–")
    wide.insert(0, "median write", both.groupby("state").state_ns.first().map(format_ns))
    return Table(wide.rename_axis(columns=None, index="one write finds"))


def channel_merges(data: Dataset) -> Table:
    """Return what passes through pages that KSM merges, by their contents and ``use_zero_pages``, with its controls."""
    rows = []
    for one in summaries.df_merges(data).to_dict("records"):
        passes = _bits_s(one) if one["p"] < LEVEL else "no channel detected"
        rows.append(
            {
                "pages hold": "zeros" if one["contents"] == "zeros" else "agreed bytes",
                "use_zero_pages": int(one["use_zero_pages"]),
                "sender": "silent" if one["silent"] else "sends",
                "bits a round": one["pages"],
                "what passes": passes,
                "p": f"{one['p']:.3g}",
                "wrong bits": _percent(one, "error"),
                "a round": f"{one['round_ms']:.3g} ms",
                "a write, merged": format_ns(one["merged_ns"]),
                "private": format_ns(one["private_ns"]),
            }
        )
    return Table(pd.DataFrame(rows or [{"pages hold": "not measured"}]), index=False)


def _bits_s(row: Mapping[Any, Any]) -> str:
    low, high = row["bit_s_low"], row["bit_s_high"]
    return f"{format_ratio(row['bit_s'])} bit/s" + (
        "" if pd.isna(low) or pd.isna(high) else f" ({format_ratio(low)} to {format_ratio(high)})"
    )


def channel_published(published: Dataset) -> Table:
    """Return published rates of such channels, each in bit/s as well, with how well it is sourced."""
    rows = []
    for one in published.table("figures").fillna("").to_dict("records"):
        if one["topic"] != "covert channel":
            continue
        value = float(one["value"])
        rate = value * _BIT_S[one["unit"]] if one["unit"] in _BIT_S else None
        if one["key"] == "dedup-local-copy":
            rate = _COPIED_BYTES * 8 / value
        rows.append(
            {
                "what": one["quantity"],
                "published": f"{one['relation']} {value:g} {one['unit']}",
                "as a rate": "no rate" if rate is None else _rate(rate / 1000),
                "where": one["citation"],
                "read": one["note"] or "nothing but the figure",
            }
        )
    return Table(pd.DataFrame(rows), index=False)


def _rate(kbit_s: float) -> str:
    if kbit_s == 0:
        return "0"
    return f"{format_ratio(kbit_s)} kbit/s" if kbit_s >= 1 else f"{format_ratio(kbit_s * 1000)} bit/s"


def _between(row: Mapping[Any, Any], column: str) -> str:
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    value = f"{row[column]:,.0f} kbit/s"
    return value if pd.isna(low) or pd.isna(high) else f"{value} ({low:,.0f} to {high:,.0f})"


def _percent(row: Mapping[Any, Any], column: str) -> str:
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    return f"{row[column]:.1%}" + ("" if pd.isna(low) or pd.isna(high) else f" ({low:.1%} to {high:.1%})")
