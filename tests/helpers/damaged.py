# SPDX-License-Identifier: MIT
"""Committed campaigns made small, everything that is computed of them, and ways in which they can be damaged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, partial
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from uffdlab import claims, datasets, figures, notebook, sim, summaries, widgets
from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError
from uffdlab.measure import quality
from uffdlab.sim.measured import phases

Tables = dict[str, pd.DataFrame]
Use = Callable[[Dataset], Any]

# --- what is damaged -------------------------------------------------------------------------------------------------


_QEMU = ("shmem", "hugetlb_2m_private", "hugetlb_2m_shared")
_LEVELS = ("anon", "anon_thp", "hugetlb_2m_private", "hugetlb_1g_private")
_DESIGNS = ("unprotected", "preread", "populate_read", "pte_marker")


def _thin_reference(kept: Tables) -> None:
    samples, faults = kept["samples"], kept["faults"]
    few = (samples.size_kib == 1 << 20) & samples.populated.isin([0, 0.5]) & samples.backing.isin(_QEMU)
    two = samples.size_kib.isin([1 << 20, 16 << 20]) & (samples.populated == 0) & samples.backing.isin(_LEVELS)
    kept["samples"] = samples[(few | two) & samples.design.isin(_DESIGNS) & (samples["sample"] < 2)]
    faults = faults[faults.stride_kib.isin([4, 2048]) & (faults["sample"] < 2) & (faults.delivery != "event")]
    kept["faults"] = faults = faults[(faults.backing == "anon") & ~faults.preparation.str.startswith("discarded")]
    bins = kept["fault_latencies"]
    first = (bins["sample"] == 1) & (bins.touch == "first write")
    kept["fault_latencies"] = bins[first & bins.block.isin(faults.block)]
    kept["zeropages"] = kept["zeropages"][kept["zeropages"]["sample"] < 2]
    kept["entries"] = kept["entries"][(kept["entries"]["sample"] < 2) & (kept["entries"].backing == "anon")]
    kept["races"] = kept["races"][(kept["races"].backing == "anon") & (kept["races"].trial % 4 == 0)]


def _thin_channel(kept: Tables) -> None:
    point = ["placement", "slot_ns", "lines"]
    channels = kept["channels"]
    channels = channels[channels.memory.isin(["zeropage", "markers_read", "private"])]
    spots = channels[channels.silent & (channels.memory == "zeropage")][point].drop_duplicates()
    kept["channels"] = channels = channels[channels["sample"] == 0].merge(spots, on=point)
    key = channels[["block", "sample"]]
    kept["channel_slots"] = kept["channel_slots"].merge(key, on=["block", "sample"])
    loads = kept["channel_latencies"]
    kept["channel_latencies"] = loads[loads.block.isin(channels[channels.memory == "zeropage"].block)].iloc[::10]
    reveals = kept["reveals"]
    kept["reveals"] = reveals = reveals[(reveals.backing == "anon") & reveals.state.isin(["zeropage", "private"])]
    kept["reveal_writes"] = kept["reveal_writes"].merge(reveals[["block", "sample", "state"]].drop_duplicates())
    kept["merges"] = kept["merges"][kept["merges"]["round"] < 4]
    kept["messages"] = kept["messages"][kept["messages"]["sample"] == 0]
    kept["message_bits"] = kept["message_bits"][kept["message_bits"]["sample"] == 0]


def _thin_scale(kept: Tables) -> None:
    scale = kept["scale"]
    kept["scale"] = scale[scale.threads.isin([1, 16]) & scale.sharing.isin(["same_2mib", "own_1gib"])]


_THINNED: dict[str, Callable[[Tables], None]] = {
    "reference-": _thin_reference,
    "channel-2026-11-28": _thin_channel,
    "costs-": lambda kept: kept.update(draws=kept["draws"][kept["draws"].draw < 20]),
    "published": lambda kept: None,
    "scale-": _thin_scale,
}


@cache
def thin(wanted: str) -> Dataset:
    """Return a committed dataset with fewer rows, of every kind that there is."""
    data = datasets.load(datasets.locate(wanted))
    kept = dict(data.tables)
    _THINNED[wanted](kept)
    for name in ("outcomes", "latencies", "merge_writes", "scale_threads"):  # of these nothing is computed
        kept.pop(name, None)
    return replace(data, tables={name: rows.reset_index(drop=True) for name, rows in kept.items()})


# --- what is computed of it ------------------------------------------------------------------------------------------

_SUMMARIES: dict[str, Use] = {
    name: getattr(summaries, name)
    for name in (
        *("df_atomicity", "df_capacities", "df_channels", "df_faults", "df_marker_times", "df_merges", "df_occupancy"),
        *("df_entry_costs", "df_prediction_check", "df_protect", "df_published_runs", "df_reported", "df_resolves"),
        *("df_reveals", "df_samples", "df_shuffled", "df_tails", "df_tracking", "df_work", "df_zeropages"),
    )
} | {
    "df_latencies": lambda data: summaries.df_latencies(data, 4, "first write"),
    "df_restating_check": lambda data: summaries.df_restating_check(summaries.df_warm(data)),
    "df_states": lambda data: summaries.df_states(data, "anon", "wp_unpopulated"),
    "best_point": lambda data: summaries.best_point(data, "zeropage", "same"),
    "stability": quality.sentences,
    "phases": phases,
}
_TABLES: dict[str, Use] = {
    name: getattr(notebook, name)
    for name in (
        *("after_discards", "channel_controls", "channel_losses", "channel_merges", "channel_noise", "channel_points"),
        *("least_work", "locks"),
        *("messages", "prediction_check", "read_faults", "tails", "with_tables", "without_huge_zeropage"),
        *("range_contents", "write_reveals"),
    )
} | {
    "page_sizes": lambda data: notebook.page_sizes(data, data),
    "cold": notebook.cold,
    "entry_costs": notebook.entry_costs,
    "ranking": notebook.ranking,
    "ranking_sentence": notebook.ranking_sentence,
    "reported_table": notebook.reported_table,
    "states": lambda data: notebook.states(data, "anon", "wp_unpopulated"),
}
_FIGURES: dict[str, Use] = {
    name: getattr(figures, name)
    for name in (
        *("plot_atomicity", "plot_capacity", "plot_channel_loads", "plot_designs", "plot_latencies"),
        *("plot_message", "plot_occupancy", "plot_regimes", "plot_resolve", "plot_reveals"),
        *("plot_threads", "plot_tracking"),
    )
} | {
    "plot_guest": lambda data: figures.plot_guest(data, data, data, gib=2),
    "plot_faults": lambda data: figures.plot_faults(data, data),
    "plot_published": lambda data: figures.plot_published(thin("published"), data, data, gib=2),
    "plot_skip": lambda data: figures.plot_skip(data, data),
    "plot_stop_time": lambda data: figures.plot_stop_time(sim.load_costs(), data),
    "plot_zeropages": lambda data: figures.plot_zeropages(data, data),
    # as the controls of a notebook have them
    "plot_capacity, slower": lambda data: figures.plot_capacity(data, "two CPUs", "a 1 is the slower load"),
    "plot_channel_loads, two CPUs": lambda data: figures.plot_channel_loads(data, "private", "two CPUs"),
    "plot_designs, wrong bits": lambda data: figures.plot_designs(data, figures.SHOWN[1]),
    "plot_faults, apart": lambda data: figures.plot_faults(data, None, figures.APART[1]),
    "plot_latencies, apart": lambda data: figures.plot_latencies(data, "first read", figures.APART[1]),
    "plot_skip, written": lambda data: figures.plot_skip(data, None, figures.shares_written(data)[-1]),
    "plot_zeropages, later": lambda data: figures.plot_zeropages(data, None, figures.MOMENTS[-1]),
    "shares_written": lambda data: widgets.Choice(figures.shares_written(data)) and figures.shares_written(data),
}


def _explored(explorer: widgets.DesignExplorer) -> list[str]:
    """Return what a page gets of the widget, and what it says of itself."""
    sent = {name: getattr(explorer, name) for name in ("designs", "fields", "costs", "rules", "state")}
    known = pd.concat([explorer.frame(), explorer.decision()]).notna().any(axis=None)
    return [json.dumps(sent, allow_nan=False), explorer.caption, str(known)]


_PRICED: dict[str, Use] = {
    name: lambda data, name=name: getattr(figures, name)(sim.costs_of(data))
    for name in ("plot_snapshot", "plot_stop_time", "plot_touched")
} | {
    "DesignExplorer": lambda data: _explored(widgets.DesignExplorer(priced=sim.costs_of(data))),
    "validation": notebook.validation,
    "df_ratios": sim.df_ratios,
}
_QUOTED: dict[str, Use] = {
    "attempts": notebook.attempts,
    "channel_published": notebook.channel_published,
    "published_ratios": notebook.published_ratios,
    "published_table": notebook.published_table,
    "versions": notebook.versions,
    "plot_published": lambda data: figures.plot_published(data, thin("reference-"), gib=2),
}
_SCALED: dict[str, Use] = {
    name: getattr(notebook, name) for name in ("scale_reasons", "scale_repeated", "scale_sentence", "scale_table")
} | {
    "df_scale": summaries.df_scale,
    "df_scale_against": lambda data: summaries.df_scale_against(data, "write_zeropages", "write_markers"),
    "plot_scale": lambda data: figures.plot_scale(data, figures.SCALES[0], data),
    "plot_scale, speedup": lambda data: figures.plot_scale(data, figures.SCALES[1], data, figures.SCALE_MEASURES[1]),
}
_MEASURED = _SUMMARIES | _TABLES | _FIGURES | {claim.id: partial(claims.verdict, claim.id) for claim in claims.CLAIMS}
USES = {
    "reference-": _MEASURED,
    "channel-2026-11-28": _MEASURED,
    "costs-": _PRICED,
    "published": _QUOTED,
    "scale-": _SCALED,
}


# Without them a dataset is an older one, and a verdict has a row less beside it.
OPTIONAL = {("races", "excluded_during")}


class _Watched(dict[str, pd.DataFrame]):
    """Tables that notice which of them are read."""

    def __init__(self, held: Tables) -> None:
        super().__init__(held)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> pd.DataFrame:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)


@dataclass(frozen=True, eq=False)
class Noticing(Dataset):
    """A dataset that notices which columns are read of it, by table."""

    read_columns: dict[str, set[str]] = field(default_factory=dict)

    def require(self, table: str, columns: Sequence[str]) -> pd.DataFrame:
        """Return the table, as a dataset does."""
        self.read_columns.setdefault(table, set()).update(columns)
        return super().require(table, columns)


@cache
def columns_read(wanted: str) -> dict[str, dict[str, set[str]]]:
    """Return, by what is computed of a dataset, the columns that it asks for, by table (none named: all)."""
    found: dict[str, dict[str, set[str]]] = {}
    data = thin(wanted)
    for name, use in USES[wanted].items():
        watched = _Watched(data.tables)
        noticing = Noticing(**{one.name: getattr(data, one.name) for one in fields(data)} | {"tables": watched})
        try:
            use(noticing)
        except UffdlabError:
            continue  # it needs a table that this campaign has not
        found[name] = {table: noticing.read_columns.get(table, set()) for table in watched.read & data.tables.keys()}
    return found


@cache
def uses_of(wanted: str) -> dict[str, list[str]]:
    """Return, by table of a dataset, what is computed of it."""
    read_by = columns_read(wanted)
    return {table: [name for name, read in read_by.items() if table in read] for table in thin(wanted).tables}


def fresh(wanted: str, **changed: pd.DataFrame | None) -> Dataset:
    """Return a dataset with other tables (None: without one), which nothing has been computed of yet."""
    data = thin(wanted)
    kept = {name: rows for name, rows in (data.tables | changed).items() if rows is not None}
    return replace(data, tables=kept)


# --- the texts shown -------------------------------------------------------------------------------------------------

# No number of ours is written so: what is not known, and what is unbounded, is written in words.
NO_NUMBER = re.compile(r"(?<![a-z])(?:inf|infinity|nan|<na>|nat|(?-i:None))(?![a-z])", re.IGNORECASE)


def texts_shown(found: Any) -> Iterator[str]:
    """Yield every text that a reader gets to see of a verdict, a table or a figure."""
    if isinstance(found, claims.Verdict):
        yield json.dumps(found.as_dict(), allow_nan=False)
        yield found._repr_html_()
    elif isinstance(found, notebook.Table | notebook.Sentence):
        yield found._repr_html_()
        yield repr(found)
    elif isinstance(found, go.Figure):
        yield from _texts(json.loads(found.to_json()))
    elif isinstance(found, list):
        yield from (one for one in found if isinstance(one, str))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("template", "bdata"):
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
