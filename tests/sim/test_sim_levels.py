# SPDX-License-Identifier: MIT
"""What happens at levels above the last: markers that are cut, huge pages that are saved, and what the core refuses."""

from __future__ import annotations

import struct

import pytest

from uffdlab.sim import DESIGNS, Range, SimDesign
from uffdlab.sim.core import core
from uffdlab.sim.designs import choices, problem_of

PMD, PUD = 512, 512**2
ADDRESSES = 1 << 35


def test_cut_marker_spreads_to_next_level() -> None:
    memory = Range(DESIGNS["pud_marker"], 1 << 30, touches=9)
    memory.protect()
    memory.start_phase()
    memory.unprotect(5, 1)
    counted = memory.ledger()
    assert (counted["spread_pud"], counted["spread_pmd"]) == (1, 1)
    assert (counted["markers_pmd"], counted["markers_pte"]) == (PMD, PMD)
    assert (counted["tables_pmd"], counted["tables_pte"], counted["deposits"]) == (1, 1, 0)
    assert counted["markers_cleared"] == 1


def test_cut_marker_spreads_to_last_level() -> None:
    memory = Range(DESIGNS["pud_marker"].replace(spread="last"), 1 << 30, touches=9)
    memory.protect()
    memory.start_phase()
    memory.unprotect(5, 1)
    counted = memory.ledger()
    assert (counted["spread_pud"], counted["markers_pmd"], counted["markers_pte"]) == (1, 0, PUD)
    assert (counted["tables_pmd"], counted["tables_pte"]) == (1, PMD)


@pytest.mark.parametrize(("name", "visited"), [("pmd_marker", "visited_pmd"), ("pud_marker", "visited_pud")])
def test_protecting_marked_part_visits_and_keeps_it(name: str, visited: str) -> None:
    memory = Range(DESIGNS[name], 1 << 30, touches=9)
    memory.protect()
    memory.start_phase()
    memory.protect(7, 3)
    assert {key: count for key, count in memory.ledger().items() if count} == {
        visited: 1,
        "protects": 1,
        "lock_mmap": 1,
    }


def test_discard_frees_only_empty_tables() -> None:
    memory = Range(DESIGNS["pte_marker"].replace(survives=True), 2 << 20, touches=9)
    for page in (0, 100):
        memory.protect(page, 1)
    memory.start_phase()
    memory.discard()
    assert memory.ledger()["freed_pte"] == 0, "markers survive on shmem"
    memory.unprotect(100, 1)
    memory.discard()
    assert memory.ledger()["freed_pte"] == 0, "that of page 0 still does"
    memory.unprotect(0, 1)
    memory.discard()
    assert memory.ledger()["freed_pte"] == 1


@pytest.mark.parametrize(("first", "count", "events"), [(0, None, 0), (0, 1000, 1), (1, None, 1)])
def test_protect_on_fault_ends_when_whole_range_is_resolved(first: int, count: int | None, events: int) -> None:
    memory = Range(DESIGNS["protect_on_fault"], 8 << 20, touches=9)
    memory.protect()
    memory.unprotect(first, count)
    memory.start_phase()
    memory.touch(1500 if count else 0, write=True)
    assert memory.ledger()["events_wp"] == events


@pytest.mark.parametrize(("piece", "splits", "resolves"), [(1, PMD, PUD), (512, 0, PMD)])
def test_saving_in_small_pieces_splits_huge_pages(piece: int, splits: int, resolves: int) -> None:
    memory = Range(DESIGNS["pte_marker"].replace(thp=True), 1 << 30, touches=9)
    memory.populate(1.0, PUD)
    memory.protect()
    memory.start_phase()
    memory.save(skip_holes=False, piece_pages=piece)
    counted = memory.ledger()
    assert (counted["split_pages"], counted["resolves"]) == (splits, resolves)
    assert memory.entry(PUD - 1).level == ("pte" if splits else "pmd")


@pytest.mark.parametrize(
    ("resolve", "asynchronous", "level"),
    [("pte", False, "pte"), ("pmd", False, "pmd"), ("pte", True, "pte"), ("pmd", True, "pte")],
)
def test_write_to_protected_huge_page_splits_by_design(resolve: str, asynchronous: bool, level: str) -> None:
    design = SimDesign("d", "", thp=True, resolve=resolve, asynchronous=asynchronous)  # type: ignore[arg-type]
    memory = Range(design, 2 << 20, touches=9)
    memory.populate(1.0, PMD)
    assert memory.entry(0).level == "pmd"
    memory.protect()
    memory.touch(3, write=True)
    assert (memory.entry(3).level, memory.entry(3).protected) == (level, False)
    assert memory.entry(4).protected is (level == "pte")


@pytest.mark.parametrize(("spread", "level"), [("next", "pmd"), ("last", "pte")])
def test_touch_under_marker_leaves_markers_at_spread_level(spread: str, level: str) -> None:
    memory = Range(DESIGNS["pud_marker"].replace(spread=spread), 1 << 30, touches=9)
    memory.protect()
    memory.touch(3, write=True)
    assert (memory.entry(4).level, memory.entry(PMD + 4).level, memory.entry(PUD - 1).level) == ("pte", level, level)
    assert memory.scan() == {"empty": 0, "marker": PUD - 1, "zeropage": 0, "page": 1}


def test_surviving_marker_is_resolved_in_part_and_not_discarded() -> None:
    memory = Range(DESIGNS["pmd_marker"].replace(survives=True), 4 << 20, touches=9)
    memory.protect()
    memory.start_phase()
    memory.discard(3, 5)
    assert memory.ledger()["spread_pmd"] == 0, "it is left as it is"
    memory.unprotect(3, 5)
    assert (memory.ledger()["spread_pmd"], memory.ledger()["markers_cleared"]) == (1, 5)


@pytest.mark.parametrize("start", [0, 510])
def test_sequential_touches_continue_and_wrap(start: int) -> None:
    memory = Range(DESIGNS["unprotected"], 8 << 12, start_bytes=start << 12, touches=99)
    memory.touch_many(5, "sequential", write=True)
    assert [memory.entry(page).kind for page in range(8)] == ["page"] * 5 + ["empty"] * 3
    memory = Range(DESIGNS["unprotected"], 8 << 12, start_bytes=start << 12, touches=99)
    memory.touch_many(11, "sequential", write=True)
    assert (memory.ledger()["writes"], memory.ledger()["pages"]) == (11, 8)


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", choices())
def test_core_refuses_field_out_of_range(field: str) -> None:
    """Numbers of ``struct ul_design``: one more than the last word, and one below the first, are none."""
    numbers = DESIGNS["pte_marker"].numbers()
    at = list(choices()).index(field)
    for wrong in (-1, len(choices()[field]), 1 << 30):
        packed = struct.pack(f"<{len(numbers)}i", *(wrong if i == at else n for i, n in enumerate(numbers)))
        assert problem_of(core(), packed) is not None, (field, wrong)


def test_range_beyond_address_space_is_refused() -> None:
    with core().lent(DESIGNS["pte_marker"].packed()) as design:
        for start, pages, fits in (
            (ADDRESSES - 2, 2, True), (ADDRESSES - 2, 3, False), (ADDRESSES, 1, False), (0, 1 << 32, True),
            (0, (1 << 32) + 1, False), (0, 0, False),
        ):  # fmt: skip
            assert bool(core().call("ul_range_problem", design, start, pages)) is not fits, (start, pages)
