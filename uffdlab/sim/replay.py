# SPDX-License-Identifier: MIT
"""Replay of a process's recorded memory under each design, and a recommendation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import numpy as np

from uffdlab.datasets.bitmap import PRIVATE_FILE, STATES, Bitmap, Mapping
from uffdlab.errors import NotMeasuredError, UffdlabError, check_word
from uffdlab.sim import ledger as ledgers
from uffdlab.sim.costs import Costs
from uffdlab.sim.decision import cheapest
from uffdlab.sim.designs import DESIGNS, SimDesign
from uffdlab.sim.engine import PAGE_BYTES, Range
from uffdlab.sim.ledger import Ledger
from uffdlab.stats import Estimate
from uffdlab.units import format_ns, format_size

Objective = Literal["stop time", "total work", "memory"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
# What a stock kernel offers, and reports every write.
TODAY = ("preread", "populate_read", "pte_marker", "missing_wp")
IMAGINED = ("wp_zeropage", "pmd_marker", "pud_marker", "protect_on_fault")
MOST_SHAPES = 256  # of different mappings that a recommendation rests on
_TABLE_BYTES = (1 << 21, 1 << 30, 1 << 39)  # what one table of PTEs, PMDs, PUDs covers
_ZEROPAGE, _PRESENT = STATES.index("zeropage"), STATES.index("present")
_LONG_RUN, _MOST_BITS = 4096, 1 << 28  # units: 16 MiB and 1 TiB of 4 KiB each
_HUGETLB = {2 << 20: "hugetlb_2m", 1 << 30: "hugetlb_1g"}


@dataclass(frozen=True)
class Replayed:
    """Ledgers of protecting a recorded process and of saving it once; memory added, in KiB."""

    design: SimDesign
    protect: Ledger
    save: Ledger
    added_tables_kib: int
    added_pages_kib: int


def replay(bitmap: Bitmap, design: SimDesign, *, skip_holes: bool = True) -> Replayed:
    """Populate each recorded mapping as it was, protect it under a design, and save it once.

    A mapping of hugetlb or shmem follows its own rules (see :func:`for_mapping`); a private file is left out, since no
    userfaultfd can be registered on it. Mappings that replay alike are replayed once and counted each. Raises
    UffdlabError on a bitmap of other pages than 4 KiB.
    """
    if bitmap.page_bytes != PAGE_BYTES:
        raise UffdlabError(f"the bitmap is of pages of {bitmap.page_bytes} B, the simulator's are of {PAGE_BYTES} B")
    protects, saves, tables, pages = [], [], 0, 0
    for mapping, times in _alike(bitmap.mappings).values():
        memory = _recorded(mapping, bitmap.granularity_bytes, design)
        before = memory.memory()
        save = partial(memory.save, skip_holes=skip_holes)
        protects.append(_times(memory.counted(memory.prefault, memory.protect), times))
        saves.append(_times(memory.counted(save, memory.unprotect), times))
        after = memory.memory()
        tables += times * (after.most_tables_kib - before.tables_kib)
        pages += times * (after.most_pages_kib - before.pages_kib)
    return Replayed(design, ledgers.total(protects), ledgers.total(saves), tables, pages)


def _times(ledger: Ledger, times: int) -> Ledger:
    return ledger if times == 1 else {name: count * times for name, count in ledger.items()}


def _alike(mappings: Iterable[Mapping]) -> dict[tuple[object, ...], tuple[Mapping, int]]:
    """Return one mapping of each shape with the number of them, leaving out private files."""
    found: dict[tuple[object, ...], tuple[Mapping, int]] = {}
    for one in mappings:
        if one.kind != PRIVATE_FILE:
            first, times = found.get(_shape(one), (one, 0))
            found[_shape(one)] = first, times + 1
    return found


def _shape(one: Mapping) -> tuple[object, ...]:
    """Return what a replay depends on: of the offset, only what decides the number of page tables."""
    place, inner = one.offset_bytes % _TABLE_BYTES[-1], 1
    for covered in _TABLE_BYTES:
        if one.offset_bytes % covered + one.length_bytes <= covered:  # within one table, wherever in it
            place = one.offset_bytes % inner
            break
        inner = covered
    return one.kind, one.page_bytes, one.length_bytes, place, one.runs.tobytes()


def replayable(bitmap: Bitmap) -> tuple[Bitmap, list[str]]:
    """Return the bitmap without mappings that are not replayed, and a sentence for each kind of those.

    Left out are private files, and the smallest mappings beyond ``MOST_SHAPES`` shapes: a process may have 100 000.
    """
    mappings = [mapping for mapping in bitmap.mappings if mapping.kind != PRIVATE_FILE]
    notes = []
    if len(mappings) < len(bitmap.mappings):
        size = sum(mapping.length_bytes for mapping in bitmap.mappings if mapping.kind == PRIVATE_FILE)
        notes.append(
            f"{len(bitmap.mappings) - len(mappings)} private mapping(s) of files, {format_size(size)}, are not in "
            "this: no userfaultfd can be registered on them"
        )
    shapes: set[tuple[object, ...]] = set()
    largest = set()
    for mapping in sorted(mappings, key=lambda mapping: -mapping.length_bytes):
        shapes.add(_shape(mapping))
        if len(shapes) > MOST_SHAPES:
            break
        largest.add(mapping.offset_bytes)
    if len(largest) < len(mappings):
        rest = [mapping for mapping in mappings if mapping.offset_bytes in largest]
        share = sum(m.length_bytes for m in rest) / sum(m.length_bytes for m in mappings)
        notes.append(f"the largest {len(rest):,} of {len(mappings):,} mappings are in this, {share:.1%} of the memory")
        mappings = rest
    return replace(bitmap, mappings=tuple(mappings)), notes


def for_mapping(design: SimDesign, mapping: Mapping) -> SimDesign:
    """Return the design adapted to a mapping's memory: hugetlb marks huge entries, shmem marks every hole."""
    if mapping.kind == "hugetlb":
        if mapping.page_bytes not in _HUGETLB:
            raise UffdlabError(f"hugetlb pages of {mapping.page_bytes} B are not simulated, only of 2 MiB and 1 GiB")
        return DESIGNS[_HUGETLB[mapping.page_bytes]].replace(prefault=design.prefault)
    if mapping.kind == "shmem":
        holes = design.replace(empty="marker") if design.empty == "stays" and not _needs_empty(design) else design
        return holes.replace(zeropage=holes.empty == "zeropage", survives=True)
    return design


def _needs_empty(design: SimDesign) -> bool:
    return design.remembers or design.missing


def _recorded(mapping: Mapping, granularity_bytes: int, design: SimDesign) -> Range:
    """Return a range populated as recorded."""
    unit = granularity_bytes // PAGE_BYTES
    runs = np.frombuffer(mapping.runs, dtype=np.uint64)
    states, counts = runs & np.uint64(3), runs >> np.uint64(2)
    read, written = states == _ZEROPAGE, states == _PRESENT
    touched = int(counts[read | written].sum())
    touches = touched + (int(counts[written].sum()) if read.any() else 0)
    memory = Range(
        for_mapping(design, mapping), mapping.length_bytes, touches=touches * unit, start_bytes=mapping.offset_bytes
    )
    units = mapping.length_bytes // granularity_bytes
    if mapping.kind == "hugetlb" or not len(runs) * _LONG_RUN >= units <= _MOST_BITS:
        for state, first, count in mapping.stretches():
            if state in (_ZEROPAGE, _PRESENT):
                memory.touch_all(first * unit, count * unit, write=state == _PRESENT)
        return memory
    # Many short runs, which one call each would be slow for: read all that has a page, then write by a bitmap.
    if read.any():
        for first, count in _joined(read | written, counts):
            memory.touch_all(first * unit, count * unit, write=False)
    memory.populate_bits(np.packbits(np.repeat(written, counts.astype(np.intp)), bitorder="little").tobytes(), unit)
    return memory


def _joined(wanted: np.ndarray, counts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield first unit and length of each stretch of wanted runs."""
    ends = np.cumsum(counts, dtype=np.int64)
    edges = np.diff(np.concatenate(([0], wanted.astype(np.int8), [0])))
    begins = np.concatenate(([0], ends))[np.flatnonzero(edges == 1)]
    for begin, end in zip(begins, ends[np.flatnonzero(edges == -1) - 1], strict=True):
        yield int(begin), int(end - begin)


@dataclass(frozen=True)
class Ranked:
    """A design's replay with its cost by an objective, and whether a stock kernel has it."""

    replayed: Replayed
    cost: Estimate
    today: bool


def replays(bitmap: Bitmap, designs: Sequence[str] = (*TODAY, *IMAGINED)) -> list[Replayed]:
    """Return a replay under each design."""
    return [replay(bitmap, DESIGNS[name]) for name in designs]


def ranked(found: Sequence[Replayed], objective: Objective, costs: Costs) -> list[Ranked]:
    """Return replays, the cheapest first. Costs are ns (*stop time*; *total work*: protecting and saving once) or KiB
    added (*memory*).
    """
    check_word("objective", objective, get_args(Objective))
    judged = [Ranked(one, _cost(one, objective, costs), one.design.name in TODAY) for one in found]
    return sorted(judged, key=lambda one: one.cost.value)


def _cost(found: Replayed, objective: str, costs: Costs) -> Estimate:
    if objective == "memory":
        value = float(found.added_tables_kib + found.added_pages_kib)
        return Estimate(value, value, value, 1)
    return costs.price(_judged(found, objective))


def _judged(found: Replayed, objective: str) -> Ledger:
    return found.protect if objective == "stop time" else ledgers.total([found.protect, found.save])


def recommendation(found: Sequence[Ranked], objective: Objective, costs: Costs) -> str:
    """Return the cheapest stock design, the next one and the cheapest hypothetical one, in a sentence.

    Ties and what is clear are decided as in :func:`uffdlab.sim.df_decision`.
    """

    def clear(dearer: Ranked, cheaper: Ranked) -> bool:
        if objective == "memory":
            return True
        with suppress(NotMeasuredError):
            return costs.ratio(*(_judged(one.replayed, objective) for one in (dearer, cheaper))).above(1)
        return False

    def named(one: Ranked) -> str:
        return f"{one.replayed.design.name} {_in_words(one.cost, objective)}"

    today = [one for one in found if one.today]
    ties, second = cheapest([one.cost.value for one in today], objective)
    best = today[ties[0]]
    names = ", ".join(sorted(today[index].replayed.design.name for index in ties))
    text = f"{objective}: {names} {'are equally cheap ' * (len(ties) > 1)}{_in_words(best.cost, objective)}"
    if len(ties) < len(today):
        text += f"; {'then' if clear(today[second], best) else 'not distinguishable from'} {named(today[second])}"
    imagined = next((one for one in found if not one.today), None)
    if imagined and cheapest([best.cost.value, imagined.cost.value], objective)[0] == [1]:
        text += (
            f"; of designs no kernel has, {named(imagined)}{'' if clear(best, imagined) else ', not distinguishable'}"
        )
    elif imagined:
        text += "; no hypothetical design would be better"
    return text


def _in_words(cost: Estimate, objective: str) -> str:
    if objective == "memory":
        return f"({format_size(cost.value * 1024)})"
    spread = "" if cost.low is None or cost.high is None else f", {format_ns(cost.low)} to {format_ns(cost.high)}"
    return f"({format_ns(cost.value)}{spread})"
