# SPDX-License-Identifier: MIT
"""The memory that the simulator's core keeps a range in: how much, what is refused, and that it is used again."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from uffdlab.sim import DESIGNS, Range, SimDesign
from uffdlab.sim.core import core

PMD, PUD, PGD = 512, 512**2, 512**3
UNIT = 512  # bytes: a written-out table of PTEs; one of PMDs takes four
MOST, ADDRESSES = 1 << 32, 1 << 35
OK, NO_ROOM, BAD = 0, -1, -2


def set_aside(start: int, pages: int, touches: int = 0) -> int:
    return int(core().call("ul_sim_bytes", start, pages, touches))


# --- how much is set aside -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "pages"),
    [
        (0, 0),
        (0, MOST + 1),
        (0, 1 << 63),
        (ADDRESSES, 1),
        (ADDRESSES - 1, 2),
        (ADDRESSES - MOST + 1, MOST),
        (1 << 63, 1),
    ],
)
def test_range_beyond_limits_has_size_zero(start: int, pages: int) -> None:
    assert set_aside(start, pages) == 0


@pytest.mark.parametrize(("start", "pages"), [(0, 1), (0, MOST), (ADDRESSES - 1, 1), (ADDRESSES - MOST, MOST)])
def test_range_within_limits_has_size(start: int, pages: int) -> None:
    assert set_aside(start, pages) > 0


def test_size_grows_by_touch_until_every_table_is_written_out() -> None:
    few = [set_aside(0, 8 * PUD, touches) for touches in range(6)]
    assert [two - one for one, two in pairwise(few)] == [2 * 5 * UNIT] * 4 + [2 * UNIT], (
        "a path of tables for either end; beyond eight 1 GiB, there is no further PMD table"
    )
    whole = set_aside(0, 8 * PUD, 1 << 20)
    assert whole - few[0] == (8 * PMD + 2 + 8 * 4) * UNIT, "each table once, and a part's two ends"
    assert set_aside(0, 8 * PUD, MOST) == set_aside(0, 8 * PUD, (1 << 63) + 1) == whole


def test_size_has_an_entry_per_gib() -> None:
    """128 entries of a PUD table fill a unit."""
    assert set_aside(1, 128 * PUD) - set_aside(0, 128 * PUD) == UNIT, "129 entries"
    assert set_aside(PUD - 1, 2) == set_aside(0, 128 * PUD), "two of them, or 128"
    assert set_aside(5 * PUD, 128 * PUD) == set_aside(0, 128 * PUD)


def test_init_refuses_less_memory_than_needed() -> None:
    needed = set_aside(7, 3 * PUD)
    at = core().take(needed)
    try:
        for bytes_, start, pages, others, answer in (
            (needed, 7, 3 * PUD, 0, OK),
            (needed - 1, 7, 3 * PUD, 0, NO_ROOM),
            (needed, 7, 3 * PUD, 1 << 16, OK),
            (needed, 7, 3 * PUD, (1 << 16) + 1, BAD),
            (needed, 7, 3 * PUD, -1, BAD),
            (needed, 7, 0, 0, BAD),
            (needed, ADDRESSES, 1, 0, BAD),
        ):
            assert core().call("ul_sim_init", at, bytes_, start, pages, others) == answer, (start, pages, others)
    finally:
        core().give(at)


# --- what is refused -------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Any, int, int], Any]] = {
    name: lambda memory, first, count, name=name, more=more: core().call(name, memory._address, first, count, *more)
    for name, more in {
        "ul_prefault": (),
        "ul_protect": (),
        "ul_unprotect": (),
        "ul_discard": (),
        "ul_touch_range": (1,),
        "ul_save": (1, 0),
    }.items()
}


@pytest.mark.parametrize("name", PARTS)
def test_core_refuses_part_beyond_range(name: str) -> None:
    memory = Range(DESIGNS["pte_marker"], 8 << 20, start_bytes=3 << 12, touches=9)
    pages = memory.pages
    for first, count in (
        (0, 0),
        (pages, 1),
        (0, pages + 1),
        (pages - 1, 2),
        (1, 1 << 63),
        (1 << 63, 1),
        (5, -5 % 2**64),
    ):
        assert PARTS[name](memory, first, count) == BAD, (first, count)
    assert not any(memory.ledger().values())
    for first, count in ((0, 1), (pages - 1, 1), (0, pages)):
        assert PARTS[name](memory, first, count) == OK, (first, count)


@pytest.mark.parametrize("name", sorted(PARTS.keys() - {"ul_prefault", "ul_touch_range"}))
def test_core_refuses_part_that_cuts_hugetlb_page(name: str) -> None:
    memory = Range(DESIGNS["hugetlb_2m"], 8 << 20)
    for first, count in ((1, PMD), (0, PMD + 1), (0, PMD - 1)):
        assert PARTS[name](memory, first, count) == BAD, (first, count)
    assert PARTS[name](memory, PMD, 2 * PMD) == OK


def test_core_refuses_touch_beyond_range() -> None:
    memory = Range(DESIGNS["pte_marker"], 8 << 20, touches=9)
    call, at = core().call, memory._address
    for page in (memory.pages, 1 << 63):
        assert (call("ul_touch", at, page, 1), call("ul_state", at, page)) == (BAD, BAD)
    assert call("ul_touch_stride", at, 0, 1) == BAD
    for walk, count, cluster in ((4, 1, 1), (-1, 1, 1), (3, 1, 0), (3, 1, memory.pages + 1)):
        assert call("ul_touch_many", at, walk, count, cluster, 1, 1) == BAD, (walk, count, cluster)
    for piece in (0, 2, 511, 513):
        assert call("ul_save", at, 0, 1, piece, 0) == BAD
    assert not any(memory.ledger().values())


def test_core_refuses_invalid_drawing() -> None:
    memory = Range(DESIGNS["pte_marker"], 8 << 20, touches=99)
    call, at, pages = core().call, memory._address, memory.pages
    for fraction in (-0.01, 1.01, float("nan")):
        assert call("ul_populate", at, fraction, 1, 1) == BAD
    for cluster in (0, pages + 1):
        assert call("ul_populate", at, 0.5, cluster, 1) == BAD
        assert call("ul_populate_exactly", at, 1, cluster, 1) == BAD
    assert call("ul_populate_exactly", at, 5, pages // 4, 1) == BAD
    with core().lent(bytes(999)) as bits:
        for count, per in ((pages, 0), (pages + 1, 1), (pages - 1, 1), (1, pages + 1)):
            assert call("ul_populate_bits", at, bits, count, per) == BAD, (count, per)
    assert not any(memory.ledger().values())
    assert call("ul_populate", at, 1.0, pages, 1) == OK
    assert memory.ledger()["pages"] == pages


# --- what spans much -------------------------------------------------------------------------------------------------


def test_pud_table_per_512_gib_except_existing_last() -> None:
    memory = Range(DESIGNS["protect_on_fault"], 2 << 40, start_bytes=1 << 38, touches=64)
    for page in range(0, memory.pages, PUD * 128):  # one touch per 128 GiB
        memory.touch(page, write=True)
    assert memory.ledger()["tables_pud"] == 4, "five 512 GiB are touched upon"
    assert (memory.ledger()["tables_pmd"], memory.ledger()["tables_pte"]) == (16, 16)
    assert memory.memory().tables_kib == 4 * (4 + 16 + 16)


@pytest.mark.parametrize("level", ["pte", "pmd", "pud"])
def test_pmd_and_pud_markers_need_no_lower_table(level: str) -> None:
    """In a range of which some 512 GiB, 1 GiB and 2 MiB are whole and others not."""
    memory = Range(
        DESIGNS["pte_marker"].replace(level=level), 3 << 30, start_bytes=(1 << 39) - (1 << 30) - (2 << 20), touches=9
    )
    memory.protect()
    counted = memory.ledger()
    puds = {"pte": 0, "pmd": 0, "pud": 2}[level]
    pmds = {"pte": 0, "pmd": 3 * PMD, "pud": PMD}[level]
    assert (counted["markers_pud"], counted["markers_pmd"]) == (puds, pmds)
    assert counted["markers_pte"] == (3 * PUD if level == "pte" else 0)
    assert counted["tables_pud"] == 1, "of the first 512 GiB"
    assert counted["tables_pmd"] == {"pte": 4, "pmd": 4, "pud": 2}[level]
    assert counted["tables_pte"] == (3 * PMD if level == "pte" else 0)


# --- what was used is used again -------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["pte", "pmd", "pud"])
def test_freed_units_are_reused_whole(level: str) -> None:
    """Whatever stood in one before, its entries are what the table above says."""
    memory = Range(DESIGNS["pte_marker"].replace(level=level), 2 << 30, touches=400)
    least = None
    for number in range(1, 30):
        memory.protect()
        pages = sorted({random.Random(number).randrange(memory.pages) for _ in range(6)} | {number, PUD + PMD * number})
        for page in pages:
            memory.touch(page, write=True)
        for page in {0, 1, PMD - 1, PMD, PUD - PMD, PUD - 1, PUD, PUD + PMD, memory.pages - 1} - set(pages):
            assert memory.entry(page).kind == "marker", page
        assert {page for page in pages if memory.entry(page).kind == "page"} == set(pages)
        assert memory.scan() == {"empty": 0, "marker": memory.pages - len(pages), "zeropage": 0, "page": len(pages)}
        memory.discard()
        assert memory.scan()["empty"] == memory.pages
        most, least = memory.used_bytes, least or memory.used_bytes
    assert most <= least + 20 * UNIT, "a few tables more where pages were drawn further apart, and none lost"


@pytest.mark.parametrize("name", ["unprotected", "protect_on_fault"])
def test_simulator_only_tables_are_freed(name: str) -> None:
    """Of empty entries some pages were protected and others not, until all are."""
    memory = Range(DESIGNS[name], 2 << 30, touches=40)
    used = []
    for number in range(30):
        for page in (number, PMD * 2 + number, PUD + PMD * number, PUD + PMD * number + 1):
            memory.protect(page, 1)
            assert memory.entry(page).owed
            memory.unprotect(page, 1)
        memory.protect()
        memory.unprotect()
        used.append(memory.used_bytes)
    assert used == [used[0]] * 30


def test_copy_has_tables_of_its_own() -> None:
    memory = Range(DESIGNS["pte_marker"], 1 << 30, touches=9)
    memory.protect()
    memory.touch(5, write=True)
    other = memory.copy()
    other.touch(PMD * 3, write=True)
    assert (memory.entry(PMD * 3).kind, other.entry(PMD * 3).kind) == ("marker", "page")
    assert other.used_bytes > memory.used_bytes


def test_deposit_change_after_mapping_is_refused() -> None:
    """The core refuses as the engine above it does."""
    with_, without = (SimDesign("d", "", deposit=one, thp=True) for one in (True, False))
    memory = Range(without, 4 << 20, touches=9)

    def become(design: SimDesign) -> Any:
        with core().lent(design.packed()) as packed:
            return core().call("ul_set_design", memory._address, packed)

    assert (become(with_), become(without)) == (OK, OK), "nothing is mapped"
    memory.touch(0, write=True)
    assert (become(with_), become(without)) == (BAD, OK)
