# SPDX-License-Identifier: MIT
"""Pair each measured phase with the simulator's ledger of the same operations.

Phases of the probes *protect*, *faults*, *resolve* and *entries*, by one thread, on anonymous memory (THP or not) and
private hugetlb; shmem is left out, since it fills a page cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import pandas as pd

from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError
from uffdlab.sim.designs import DESIGNS, SimDesign
from uffdlab.sim.engine import PAGE_BYTES, Range
from uffdlab.sim.ledger import Ledger
from uffdlab.summaries import medians
from uffdlab.vocabulary import designs

PIECE_PAGES = 256  # a discard by pieces of 1 MiB


@dataclass(frozen=True)
class Phase:
    """A timed phase: its ledger, and one median per child process (ns), warm and cold.

    ``counted`` holds the kernel's counts, the least of the warm samples: whatever else a process does only adds.
    ``unseen`` marks configurations that are held out of the fit: other sizes, fractions and strides.
    """

    name: str
    ledger: Ledger = field(repr=False)
    warm_ns: tuple[float, ...] = field(repr=False)
    cold_ns: tuple[float, ...] = field(repr=False)
    unseen: bool
    counted: dict[str, float] = field(repr=False)


def phases(data: Dataset) -> list[Phase]:
    """Return every phase of a campaign that the simulator has a ledger for."""
    found = (*_protected(data), *_faulted(data), *_resolved(data), *_operated(data))
    return [one for one in found if _asks_the_kernel(one.ledger)]


def _asks_the_kernel(ledger: Ledger) -> bool:
    """Return whether a phase enters the kernel: other touches are timed by caches and the TLB."""
    return any(ledger[name] for name in ("traps", "protects", "resolves", "calls"))


# --- probe protect ---------------------------------------------------------------------------------------------------

_MEMORY: dict[str, Mapping[str, Any]] = {"anon": {}, "anon_thp": {"thp": True}} | {
    f"{name}_private": designs.DESIGNS[name].simulated or {} for name in ("hugetlb_2m", "hugetlb_1g")
}
_DESIGNS = ("unprotected", "preread", "populate_read", "pte_marker")
_SEEN_KIB = {1 << 20, 16 << 20, 256 << 20}  # 1, 16 and 256 GiB
_SEEN_POPULATED = {0.0, 0.5, 1.0}
_SAMPLE_COLUMNS = ("block", "cold", "backing", "design", "size_kib", "populated", "cluster_pages")

_SAMPLE_MEASURES = ("prepare_ns", "protect_ns", "prepare_minor_faults", "table_growth_kib", "rss_growth_kib")


def design_on(backing: str, design: str) -> SimDesign:
    """Return the simulator's design for a probe's design on a backing."""
    return DESIGNS[design].replace(**_MEMORY[backing])


def _protected(data: Dataset) -> Iterator[Phase]:
    rows = data.rows("samples", (*_SAMPLE_COLUMNS, *_SAMPLE_MEASURES))
    rows = rows[rows.backing.isin(list(_MEMORY)) & rows.design.isin(_DESIGNS) & rows.populated.between(0, 1)]
    rows = _possible(rows, "size_kib", "cluster_pages")
    for key, group in rows.groupby(["backing", "design", "size_kib", "populated", "cluster_pages"]):
        backing, design, size_kib, populated, cluster = _values(key)
        prefault, protect = _protect_ledgers(backing, design, int(size_kib), float(populated), int(cluster))
        seen = size_kib in _SEEN_KIB and populated in _SEEN_POPULATED
        title = f"{backing} {design} {int(size_kib)} KiB, {populated:.3g} written in {cluster}s"
        if prefault:
            grown = {"faults": "prepare_minor_faults"}
            yield _phase(f"prepare {title}", group, "prepare_ns", prefault, not seen, grown)
        both = {"tables_kib": "table_growth_kib", "filled_kib": "rss_growth_kib"} if not prefault else {}
        yield _phase(f"protect {title}", group, "protect_ns", protect, not seen, both)


@cache
def _protect_ledgers(
    backing: str, name: str, size_kib: int, populated: float, cluster: int
) -> tuple[Ledger | None, Ledger]:
    design = design_on(backing, name)
    pages = size_kib * 1024 // PAGE_BYTES
    # The probe counts clusters in pages of the memory, the simulator in pages of 4 KiB.
    cluster *= {"pte": 1, "pmd": 512, "pud": 512 * 512}[design.leaf]
    memory = Range(design, size_kib * 1024, touches=0 if populated in (0, 1) else pages)
    memory.populate_exactly(round(populated * pages / cluster), cluster)
    prefault = memory.counted(memory.prefault) if design.prefault != "nothing" else None
    return prefault, memory.counted(memory.protect)


# --- probe faults ----------------------------------------------------------------------------------------------------

_UNSEEN_STRIDE_KIB = 2048
_FAULT_COLUMNS = ("block", "cold", "backing", "preparation", "delivery", "touch", "size_kib", "stride_kib", "threads")
_EVICTED = ("fresh_cold", "tables_cold")  # the processor's caches have no part in the simulator
_PASSES = {"read": ("first read", "second read", "write after reads"), "write": ("first write", "second write")}


def _faulted(data: Dataset) -> Iterator[Phase]:
    rows = data.rows("faults", (*_FAULT_COLUMNS, "busy_ns", "minor_faults", "table_growth_kib", "rss_growth_kib"))
    simulated = rows.backing.isin(["anon", "anon_thp"]) & ~rows.preparation.isin(_EVICTED)
    rows = rows[((rows.threads == 1) & simulated).fillna(False)]
    rows = _possible(rows, "size_kib", "stride_kib")
    for key, group in rows.groupby(["backing", "preparation", "delivery", "size_kib", "stride_kib"]):
        backing, preparation, delivery, size_kib, stride_kib = _values(key)
        for access in _PASSES:
            for touch, ledger in fault_ledgers(
                backing, preparation, delivery, access, int(size_kib), int(stride_kib)
            ).items():
                passed = group[group.touch == touch]
                if len(passed):
                    name = f"{touch} {backing} {preparation} ({delivery}), one per {stride_kib} KiB"
                    grown = {"faults": "minor_faults", "tables_kib": "table_growth_kib", "filled_kib": "rss_growth_kib"}
                    yield _phase(name, passed, "busy_ns", ledger, stride_kib == _UNSEEN_STRIDE_KIB, grown)


@cache
def fault_ledgers(
    backing: str, preparation: str, delivery: str, access: str, size_kib: int, stride_kib: int
) -> dict[str, Ledger]:
    """Return the ledger of each pass of probe *faults* over prepared memory, by the name of the pass."""
    base = DESIGNS["pte_marker" if preparation in ("markers", "tables") else "unprotected"]
    design = base.replace(
        thp=backing == "anon_thp", missing=preparation == "missing_wp", asynchronous=delivery == "async"
    )
    pages, stride = size_kib * 1024 // PAGE_BYTES, stride_kib * 1024 // PAGE_BYTES
    memory = Range(design, size_kib * 1024, touches=pages // stride + 16)
    _prepare(memory, preparation, stride)
    if preparation == "tables":
        memory.protect()
        memory.unprotect()
    elif delivery != "plain" and preparation != "missing_wp":
        memory.protect()
    passes = {touch: partial(memory.touch_stride, stride, write="write" in touch) for touch in _PASSES[access]}
    return {touch: memory.counted(touched) for touch, touched in passes.items()}


def _prepare(memory: Range, preparation: str, stride: int) -> None:
    if preparation in ("zeropage", "huge_zeropage"):
        memory.touch_stride(stride, write=False)
    elif preparation in ("written", "discarded_whole", "discarded_pieces"):
        memory.touch_stride(stride, write=True)
    if preparation == "discarded_whole":
        memory.discard()
    elif preparation == "discarded_pieces":
        for first in range(0, memory.pages, PIECE_PAGES):
            memory.discard(first, PIECE_PAGES)


# --- probe resolve ---------------------------------------------------------------------------------------------------

_RESOLVE_COLUMNS = ("block", "cold", "state", "size_kib", "piece_kib", "stride_kib", "pass", "calls", "resolve_ns")
_UNSEEN_PIECE_KIB = 64


def _resolved(data: Dataset) -> Iterator[Phase]:
    rows = data.rows("resolves", (*_RESOLVE_COLUMNS, "table_growth_kib"))
    rows = _possible(rows, "size_kib", "piece_kib", "stride_kib")
    for key, group in rows.groupby(["state", "size_kib", "piece_kib", "stride_kib"]):
        state, size_kib, piece_kib, stride_kib = _values(key)
        ledgers = _resolve_ledgers(state, int(size_kib), int(piece_kib), int(stride_kib))
        for name, ledger in ledgers.items():
            passed = group[group["pass"] == name]
            if len(passed):
                title = f"resolve {state}, {name} {piece_kib} KiB of each {stride_kib} KiB"
                grown = {"tables_kib": "table_growth_kib"}
                yield _phase(title, passed, "resolve_ns", ledger, piece_kib == _UNSEEN_PIECE_KIB, grown)


@cache
def _resolve_ledgers(state: str, size_kib: int, piece_kib: int, stride_kib: int) -> dict[str, Ledger]:
    design = DESIGNS["pte_marker" if state == "marker" else "unprotected"].replace(thp=state.startswith("huge"))
    piece, stride, pages = piece_kib // 4, stride_kib // 4, size_kib // 4
    memory = Range(design, size_kib * 1024, touches=2 * (pages // stride) + 16)
    if state != "marker":
        memory.touch_all(write=state in ("page", "huge_page"))
    memory.protect()
    found = {}
    for name, offset in (("first", 0), ("second", piece)):
        if offset + piece <= stride:
            pieces = range(offset, pages - piece + 1, stride)
            found[name] = memory.counted(*(partial(memory.unprotect, first, piece) for first in pieces))
    return found


# --- probe entries ---------------------------------------------------------------------------------------------------

_ENTRY_COLUMNS = ("block", "cold", "backing", "content", "markers", "size_kib", "stride_kib", "operation")
_ENTRY_MEASURES = ("took_ns", "table_growth_kib", "rss_growth_kib")
_UNSEEN_ENTRIES_KIB = {256 << 10, 16 << 20}


def _operated(data: Dataset) -> Iterator[Phase]:
    rows = data.rows("entries", (*_ENTRY_COLUMNS, *_ENTRY_MEASURES))
    rows = _possible(rows[rows.backing.isin(list(_MEMORY))], "size_kib", "stride_kib")
    for key, group in rows.groupby(["backing", "content", "markers", "size_kib", "stride_kib"]):
        backing, content, markers, size_kib, stride_kib = _values(key)
        # RSS has no pages of hugetlb in it.
        grown = {"tables_kib": "table_growth_kib"} | ({} if "hugetlb" in backing else {"filled_kib": "rss_growth_kib"})
        held = f"{content}{' and markers' if markers else ''}, one per {stride_kib} KiB of {size_kib}"
        ledgers = _operation_ledgers(backing, content, bool(markers), int(size_kib), int(stride_kib))
        for operation, ledger in ledgers.items():
            passed = group[group.operation == operation]
            unseen = size_kib in _UNSEEN_ENTRIES_KIB
            yield _phase(f"{operation} {backing} {held}", passed, "took_ns", ledger, unseen, grown)


@cache
def _operation_ledgers(backing: str, content: str, markers: bool, size_kib: int, stride_kib: int) -> dict[str, Ledger]:
    design = design_on(backing, "pte_marker" if markers else "unprotected")
    stride, pages = stride_kib // 4, size_kib // 4
    memory = Range(design, size_kib * 1024, touches=0 if content == "empty" else pages // stride + 16)
    if content != "empty":
        memory.touch_stride(stride, write=content == "written")
    operations = {
        "protect": memory.protect,
        "protect again": memory.protect,
        "unprotect": memory.unprotect,
        "protect once more": memory.protect,
        "discard": memory.discard,
    }
    return {name: memory.counted(operate) for name, operate in operations.items()}


def _values(key: Any) -> tuple[Any, ...]:
    """Return the values of a group's key, untyped."""
    return tuple(key)


def _possible(rows: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Return the rows whose sizes are possible: at least a page, and at most 256 TiB."""
    for column in columns:
        least = 1 if column.endswith("pages") else PAGE_BYTES // 1024
        rows = rows[((rows[column] >= least) & (rows[column] <= _MOST_KIB)).fillna(False)]
    return rows


_MOST_KIB = 256 << 30

# --- medians ---------------------------------------------------------------------------------------------------------


def _phase(name: str, rows: pd.DataFrame, column: str, ledger: Ledger, unseen: bool, grown: dict[str, str]) -> Phase:
    rows = rows.dropna(subset=[column, "block", "cold"])
    if (rows[column] <= 0).any():
        raise UffdlabError(f"{name}: `{column}` holds a time of 0 ns or less: expected a positive time")
    warm, cold = medians.warm(rows), medians.cold(rows)
    counted = {what: float(warm[name_].min()) for what, name_ in grown.items() if warm[name_].notna().any()}
    times = [tuple(medians.children(one, column).values()) for one in (warm, cold)]
    return Phase(name, ledger, times[0], times[1], unseen, counted)
