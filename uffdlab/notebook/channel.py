# SPDX-License-Identifier: MIT
"""Tables of the zeropage as a covert channel: operating points, controls, messages, KSM, and published rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from uffdlab import summaries
from uffdlab.datasets import Dataset
from uffdlab.notebook.show import Table
from uffdlab.stats import column_ratio, column_sum
from uffdlab.summaries.transmissions import LEVEL
from uffdlab.units import format_ns, format_ratio, format_share
from uffdlab.vocabulary.channel import MEMORIES, PLACEMENTS, POINT, SHARED, ZEROPAGES

# Bits per second of the units of published rates.
_BIT_S = {"B/h": 8 / 3600, "kB/s": 8000.0}
_COPIED_BYTES = 100  # sent in the time that dedup-local-copy states


def channel_points(data: Dataset) -> Table:
    """Return the registered and the best point of either zeropage: samples of each kind, and their capacity.

    The best point is chosen by one half of the children and reported by the other. Six children have an interval; with
    fewer, the least and the most of them are given.
    """
    frame = summaries.df_channels(data)
    rows = []
    for memory in ZEROPAGES:
        for placement, place in PLACEMENTS.items():
            here = frame[(frame.memory == memory) & (frame.placement == placement) & ~frame.silent.astype(bool)]
            points: list[tuple[str, Mapping[Any, Any]]]
            points = [("registered", point) for point in here[here.registered.astype(bool)].to_dict("records")]
            best = summaries.best_point(data, memory, placement)
            points += [("best", best)] if best else []
            for which, point in points:
                rows.append(
                    {
                        "through": f"{MEMORIES[memory].short}, {place}",
                        "point": which,
                        "slot": _slot(point),
                        "a 1 is faster": f"{point['passing'] - point['slower']} of {point['samples']}",
                        "kbit/s": _between(point, "faster_kbit_s"),
                        "of the limit": _of_limit(point),
                        "a 1 is slower": f"{point['slower']} of {point['samples']}",
                        "kbit/s then": _between(point, "slower_kbit_s"),
                    }
                )
    return Table(pd.DataFrame(rows or [{"through": "not measured"}]), index=False)


def channel_controls(data: Dataset) -> Table:
    """Return the controls for each memory and placement: without a sender, and against other slots.

    Unshared memory is a control itself.
    """
    frame = summaries.df_channels(data)
    frame = frame[frame.registered.astype(bool)].merge(summaries.df_shuffled(data), on=[*POINT, "registered"])
    rows = []
    for memory, (_, title, _, _) in MEMORIES.items():
        for placement, place in PLACEMENTS.items():
            here = frame[(frame.memory == memory) & (frame.placement == placement)].to_dict("records")
            sent = next((row for row in here if not row["silent"]), None)
            silent = next((row for row in here if row["silent"]), None)
            null = silent or (sent if sent and memory not in SHARED else None)
            if sent is None or null is None:
                continue
            mean, high = sent["shuffled_kbit_s"], sent["shuffled_high_kbit_s"]
            rows.append(
                {
                    "through": f"{title}, {place}",
                    "control": "no sender" if silent else "nothing shared",
                    "p": format_ratio(null["p"]),
                    "below": "not null" if pd.isna(null["below_kbit_s"]) else _rate(null["below_kbit_s"]),
                    "other slots: mean, 95% below": f"{_rate(mean)}, {_rate(high)}",
                }
            )
    return Table(pd.DataFrame(rows or [{"through": "not measured"}]), index=False)


def messages(data: Dataset) -> Table:
    """Return the messages by memory and placement: how many arrived, and why the others were lost.

    A text that arrived other than it was sent counts as lost.
    """
    known = ["memory", "placement", "silent", "slot_ns", "lines", "copies"]
    read = [*known, "outcome", "sent", "received", "text_bytes", "message_slots", "bits_on_wire", "missed", "invented"]
    rows = []
    for key, group in data.rows("messages", read).dropna(subset=["outcome"]).groupby(known, sort=True):
        point: dict[str, Any] = dict(zip(known, key, strict=True))
        whole = ((group.outcome == "arrived") & (group.sent == group.received)).fillna(False)
        arrived = group[whole]
        lost = group[~whole].outcome.value_counts()
        wrong = column_ratio(column_sum(group.missed, group.invented), group.bits_on_wire)
        seconds = arrived.message_slots.astype("Float64") * float(point["slot_ns"]) / 1e9
        goodput = column_ratio(arrived.text_bytes.astype("Float64") * 8, seconds).dropna()
        rows.append(
            {
                "through": f"{_short(point['memory'])}, {PLACEMENTS.get(point['placement'], point['placement'])}",
                "sender": "silent" if point["silent"] else "sends",
                "slot": _slot(point),
                "arrived": f"{len(arrived)} of {len(group)}",
                "lost": ", ".join(f"{number} {why}" for why, number in lost.items()) or "–",
                "wrong bits, least to most": _from_to(wrong.dropna()),
                "text": _rate(float(goodput.median()) / 1000) if len(goodput) else "–",
            }
        )
    return Table(pd.DataFrame(rows or [{"through": "not measured"}]), index=False)


def write_reveals(data: Dataset) -> Table:
    """Return the error rate of telling page states of anonymous memory apart by one write, each pair of states a cell.

    Each child chooses its threshold in one sample and measures the error in others.
    """
    frame = summaries.df_reveals(data)
    frame = frame[(frame.backing == "anon") & frame.error.notna()]
    if frame.empty:
        return Table(pd.DataFrame([{"state": "not measured"}]), index=False)
    both = pd.concat([frame, frame.rename(columns={"state": "other", "other": "state", "state_ns": "other_ns",
                                                   "other_ns": "state_ns"})])  # fmt: skip
    cells = both.assign(cell=[_percent(row, "error") for row in both.to_dict("records")])
    wide = cells.pivot_table(index="state", columns="other", values="cell", aggfunc="first").fillna("–")
    wide.insert(0, "median write", both.groupby("state").state_ns.first().map(format_ns))
    return Table(wide.rename_axis(columns=None, index="one write finds"))


def channel_merges(data: Dataset) -> Table:
    """Return the capacity through pages that KSM merges, by contents and ``use_zero_pages``, with its controls."""
    rows = [
        {
            "pages hold": "zeros" if row["contents"] == "zeros" else "agreed bytes",
            "use_zero_pages": str(int(row["use_zero_pages"])),
            "sender": "silent" if row["silent"] else "sends",
            "what passes": _bits_s(row),
            "wrong bits": format_share(row["error"], 1),
            "bits in a round": f"{row['pages']} in {row['round_ms']:.3g} ms",
            "a write, merged / private": f"{format_ns(row['merged_ns'])} / {format_ns(row['private_ns'])}",
        }
        for row in summaries.df_merges(data).to_dict("records")
    ]
    return Table(pd.DataFrame(rows or [{"pages hold": "not measured"}]), index=False)


def _bits_s(row: Mapping[Any, Any]) -> str:
    if row["p"] >= LEVEL:
        return f"none, below {format_ratio(row['below_bit_s'])} bit/s (p = {format_ratio(row['p'])})"
    low, high = row["bit_s_low"], row["bit_s_high"]
    return f"{format_ratio(row['bit_s'])} bit/s" + (
        "" if pd.isna(low) or pd.isna(high) else f" ({format_ratio(low)} to {format_ratio(high)})"
    )


_FIGURE = ["key", "topic", "quantity", "relation", "value", "unit", "citation", "note"]


def channel_published(published: Dataset) -> Table:
    """Return published rates of covert channels, each in bit/s as well, with its source."""
    rows = []
    figures = published.require("figures", _FIGURE).dropna(subset=["value"])
    texts = [name for name in _FIGURE if name != "value"]
    for figure in figures.fillna(dict.fromkeys(texts, "")).to_dict("records"):
        if figure["topic"] != "covert channel":
            continue
        value = float(figure["value"])
        rate = value * _BIT_S[figure["unit"]] if figure["unit"] in _BIT_S else None
        if figure["key"] == "dedup-local-copy" and value > 0:
            rate = _COPIED_BYTES * 8 / value
        as_published = f"{figure['relation']} {value:g} {figure['unit']}"
        bound = "at least " if figure["relation"] == "below" else ""  # less time is a higher rate
        as_rate = "" if rate is None else f" ({bound}{_rate(rate / 1000)})"
        rows.append(
            {
                "published": as_published + as_rate,
                "what": figure["quantity"],
                "where": figure["citation"],
                "how much was read": figure["note"] or "the figure alone",
            }
        )
    return Table(pd.DataFrame(rows), index=False)


def _rate(kbit_s: float) -> str:
    if kbit_s == 0:
        return "0"
    return f"{format_ratio(kbit_s)} kbit/s" if abs(kbit_s) >= 1 else f"{format_ratio(kbit_s * 1000)} bit/s"


def _from_to(shares: pd.Series) -> str:
    """Return the least and the most of shares: on two CPUs samples differ in kind, and a median means nothing."""
    return f"{format_share(shares.min(), 1)} to {format_share(shares.max(), 1)}" if len(shares) else "not known"


def _of_limit(point: Mapping[Any, Any]) -> str:
    if pd.isna(point["faster_kbit_s"]):
        return "none"
    limit = point["limit_kbit_s"]
    return "not known" if pd.isna(limit) or limit <= 0 else format_share(point["faster_kbit_s"] / limit)


def _slot(point: Mapping[Any, Any]) -> str:
    return f"{point['slot_ns'] / 1000:g} µs, {point['lines']} lines"


def _between(row: Mapping[Any, Any], column: str) -> str:
    if pd.isna(row[column]):
        return "none"
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    value = f"{row[column]:,.0f}"
    if pd.isna(low) or pd.isna(high):
        least, most = row[f"{column}_least"], row[f"{column}_most"]
        return value if least == most else f"{value} (all of them {least:,.0f}–{most:,.0f})"
    return f"{value} ({low:,.0f}–{high:,.0f})"


def _percent(row: Mapping[Any, Any], column: str) -> str:
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    return f"{row[column]:.1%}" + ("" if pd.isna(low) or pd.isna(high) else f" ({low * 100:.1f}–{high * 100:.1f})")


def _short(memory: str) -> str:
    return MEMORIES[memory].short if memory in MEMORIES else memory
