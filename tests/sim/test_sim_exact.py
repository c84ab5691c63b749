# SPDX-License-Identifier: MIT
"""The simulator's core against page tables kept the obvious way, and what must hold whatever is done."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from naive_tables import Naive

from uffdlab.errors import UffdlabError
from uffdlab.sim import DESIGNS, Memory, Range, SimDesign

PMD, PUD = 512, 512 * 512
FIELDS: dict[str, list[Any]] = {
    "leaf": ["pte", "pte", "pte", "pmd", "pud"],
    "prefault": ["nothing", "nothing", "read loop", "MADV_POPULATE_READ"],
    "empty": ["stays", "marker", "marker", "zeropage"],
    "level": ["pte", "pmd", "pud"],
    "spread": ["next", "next", "last", "huge page"],
    "resolve": ["pte", "pmd"],
    **{name: [False, False, False, True] for name in ("remembers", "missing", "survives")},
    **{name: [False, True] for name in ("asynchronous", "thp", "huge_zeropage", "deposit", "pt_reclaim")},
    "zeropage": [True, True, False],
}


@st.composite
def designs(draw: st.DrawFn) -> SimDesign:
    """Draw a record; what contradicts itself is thrown away."""
    try:
        return SimDesign("drawn", "", **{name: draw(st.sampled_from(values)) for name, values in FIELDS.items()})
    except UffdlabError:
        assume(False)
        raise


OPERATIONS = ("touch", "touch", "touch", "touch_all", "prefault", "protect", "unprotect", "discard", "save", "scan")
Steps = list[tuple[str, float, float, bool]]
steps = st.lists(
    st.tuples(st.sampled_from(OPERATIONS), st.floats(0, 0.999), st.floats(0, 1), st.booleans()), min_size=1, max_size=12
)


def apply(one: Range | Naive, step: tuple[str, float, float, bool], pages: int, leaf: int) -> Any:
    """Do one step on either; the part it is done to is given in fractions of the range."""
    name, first_, count_, flag = step
    units = pages // leaf
    first = int(first_ * units)
    count = 1 + int(count_ * (units - first - 1))
    first, count = first * leaf, count * leaf
    if name == "touch":
        at = first if isinstance(one, Range) else one.first + first
        return one.touch(at, write=flag)
    if name == "touch_all":
        return one.touch_all(first, count, write=flag)
    if name == "prefault":
        return one.prefault()
    if name == "save":
        piece = 512 if first_ < 0.3 else 1
        return (
            one.save(first, count, flag, piece)
            if isinstance(one, Naive)
            else one.save(first, count, skip_holes=flag, piece_pages=piece)
        )
    if name == "scan":
        return {kind: n for kind, n in one.scan(first, count).items() if n}
    return getattr(one, name)(first, count)


def counted(memory: Range) -> dict[str, float]:
    return {name: count for name, count in memory.ledger().items() if count}


def compare(design: SimDesign, start: int, pages: int, done: Steps, others: int = 1) -> Range:
    leaf = {"pte": 1, "pmd": PMD, "pud": PUD}[design.leaf]
    start, pages = start // leaf * leaf, max(leaf, pages // leaf * leaf)
    exact = Range(design, pages * 4096, touches=4096, start_bytes=start * 4096, other_cpus=others)
    naive = Naive(design, start, pages, others)
    for step in done:
        assert apply(exact, step, pages, leaf) == apply(naive, step, pages, leaf), step
        assert counted(exact) == naive.counted(), step
    for page in {0, pages - 1, pages // 2, pages // 3}:
        found = exact.entry(page)
        level, kind, protected = naive.find(start + page)
        assert (found.level, found.kind, found.protected) == (("pte", "pmd", "pud")[level], kind, protected)
        assert found.owed == (start + page in naive.owed)
    return exact


STARTS = st.sampled_from([0, 1, PMD - 1, PMD, PUD - PMD - 3, PUD - PMD, PUD, 512 * PUD - PMD - 1, 512 * PUD - PMD])
slow = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


@settings(slow, max_examples=300)
@given(designs(), STARTS, st.integers(1, 4 * PMD), steps)
def test_small_ranges_equal_naive_tables(design: SimDesign, start: int, pages: int, done: Steps) -> None:
    assume(design.leaf == "pte")
    compare(design, start, pages, done)


@settings(slow, max_examples=80)
@given(designs(), st.sampled_from([0, PMD, 511 * PUD]), st.integers(1, 8), steps)
def test_hugetlb_ranges_equal_naive_tables(design: SimDesign, start: int, pages: int, done: Steps) -> None:
    assume(design.leaf != "pte")
    compare(design, start, pages * {"pmd": PMD, "pud": PUD}[design.leaf], done)


BIG = tuple(name for name in OPERATIONS if name not in ("touch_all", "prefault", "save"))


@settings(slow, max_examples=25)
@given(
    designs(),
    st.sampled_from([0, PUD - PMD, 511 * PUD]),
    st.sampled_from([PUD, PUD + PMD, 2 * PUD]),
    st.lists(
        st.tuples(
            st.sampled_from(BIG), st.sampled_from([0.0, 0.0, 0.3]), st.sampled_from([0.0, 0.5, 1.0]), st.booleans()
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_whole_entries_of_every_level_equal_naive_tables(
    design: SimDesign, start: int, pages: int, done: Steps
) -> None:
    compare(design, start, pages, done)


# --- what must hold --------------------------------------------------------------------------------------------------

PROMISING = [name for name in DESIGNS if name != "unprotected"]


def _span(design: SimDesign) -> int:
    return {"pte": 8 << 20, "pmd": 64 << 20, "pud": 4 << 30}[design.leaf]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(PROMISING), st.floats(0, 1), st.integers(0, 500), st.integers(0, 1 << 32))
def test_protecting_design_loses_no_write(name: str, populated: float, reads: int, seed: int) -> None:
    memory = Range(DESIGNS[name], _span(DESIGNS[name]), touches=4096)
    memory.populate(populated if DESIGNS[name].leaf == "pte" else 0.0, seed=seed)
    memory.prefault()
    memory.protect()
    memory.start_phase()
    memory.touch_many(reads, write=False, seed=seed)
    memory.touch_many(500, write=True, seed=seed + 1)
    ledger = memory.ledger()
    assert ledger["lost_writes"] == 0
    assert ledger["events_wp"] + ledger["events_missing"] > 0


def test_unprotected_loses_only_first_write_to_each_page() -> None:
    memory = Range(DESIGNS["unprotected"], 8 << 20, touches=4096)
    memory.protect()
    for _ in range(2):
        memory.touch_all(write=True)
    assert memory.ledger()["lost_writes"] == memory.pages


def test_protect_on_fault_reports_false_events_after_discard() -> None:
    ledgers = {}
    for name in ("protect_on_fault", "pte_marker"):
        memory = Range(DESIGNS[name], 8 << 20, touches=4096)
        memory.protect()
        memory.touch(5, write=True)
        memory.discard(4, 4)
        memory.start_phase()
        memory.touch(5, write=True)
        ledgers[name] = memory.ledger()
    assert ledgers["protect_on_fault"]["false_events"] == ledgers["protect_on_fault"]["events_wp"] == 1
    assert ledgers["pte_marker"]["events_wp"] == ledgers["pte_marker"]["lost_writes"] == 0


@settings(slow, max_examples=100)
@given(designs(), st.floats(0, 1), st.integers(0, 1 << 32))
def test_second_protect_changes_no_entry(design: SimDesign, populated: float, seed: int) -> None:
    memory = Range(design, _span(design), touches=4096)
    memory.populate(populated if design.leaf == "pte" else 0.0, seed=seed)
    memory.protect()
    before = [memory.entry(page) for page in range(0, memory.pages, max(1, memory.pages // 64))]
    tables = memory.memory().tables_kib
    memory.start_phase()
    memory.protect()
    assert [memory.entry(page) for page in range(0, memory.pages, max(1, memory.pages // 64))] == before
    assert memory.memory().tables_kib == tables
    changed = {name for name, n in memory.ledger().items() if n}
    # Present entries are rewritten as they stand, as the kernel does it; no translation has to go for that.
    assert not {name for name in changed if name.startswith(("markers_", "tables_", "zeropages", "flushes", "filled"))}


@settings(slow, max_examples=60)
@given(designs(), steps, st.booleans())
def test_discard_after_unprotect_leaves_no_pages(design: SimDesign, done: Steps, far: bool) -> None:
    pages = _span(design) // 4096
    leaf = {"pte": 1, "pmd": PMD, "pud": PUD}[design.leaf]
    memory = Range(design, pages * 4096, touches=4096, start_bytes=(511 << 30) if far else 0)
    for step in done:
        apply(memory, step, pages, leaf)
        assert memory.memory().tables_kib >= 0
    memory.unprotect()
    memory.discard()
    assert memory.memory().pages_kib == 0
    assert {memory.entry(page).kind for page in range(0, pages, max(1, pages // 32))} == {"empty"}


@settings(slow, max_examples=60)
@given(designs(), st.permutations(range(6)))
def test_order_of_touches_in_different_pmds_does_not_matter(design: SimDesign, order: list[int]) -> None:
    assume(design.leaf == "pte" and design.level != "pud")
    ledgers = []
    for places in (range(6), order):
        memory = Range(design, 16 << 20, touches=64)
        memory.protect()
        for place in places:
            memory.touch(place * PMD + 7, write=place % 2 == 0)
        ledgers.append((memory.ledger(), memory.memory()))
    assert ledgers[0] == ledgers[1]


def test_copy_is_independent() -> None:
    memory = Range(DESIGNS["pmd_marker"], 1 << 30, touches=64)
    memory.protect()
    other = memory.copy()
    other.touch(9, write=True)
    assert memory.entry(9).kind == "marker"
    assert other.entry(9).kind == "page"
    assert memory.ledger()["writes"] == 0


def test_new_design_by_replace_runs() -> None:
    mine = DESIGNS["pmd_marker"].replace(name="mine", about="", spread="huge page", resolve="pmd")
    memory = Range(mine, 1 << 30, touches=64)
    memory.protect()
    memory.touch(1000, write=True)
    assert memory.entry(1000).level == "pmd"
    assert memory.memory() == Memory(4 + 4, 8, 2048, 2048)  # a PMD table, a deposit, and the page


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"level": "pte", "leaf": "pmd"}, "below the level of its pages"),
        ({"empty": "zeropage", "zeropage": False}, "maps the zeropage, which is forbidden"),
        ({"empty": "zeropage", "level": "pud"}, "no zeropage of 1 GiB"),
        ({"empty": "zeropage", "level": "pmd"}, "switch thp and huge_zeropage on"),
        ({"spread": "last"}, "only markers spread"),
        ({"empty": "marker", "spread": "last"}, "cannot spread"),
        ({"empty": "marker", "remembers": True}, "leaves empty entries alone"),
        ({"missing": True, "prefault": "read loop"}, "leaves nothing missing"),
        ({"missing": True, "asynchronous": True}, "filled by a handler"),
        ({"missing": True, "empty": "marker"}, "is not missing: leave empty at stays"),
        ({"survives": True, "thp": True}, "not modelled as thp"),
        ({"leaf": "pmd", "level": "pmd", "thp": True}, "neither transparent huge pages nor a zeropage"),
        ({"level": "p4d"}, "level is 'p4d', not one of pte, pmd, pud"),
        ({"thp": "yes"}, "thp is 'yes', neither True nor False"),
        ({"colour": "blue"}, "a design has no field 'colour'"),
    ],
)
def test_contradictory_design_raises(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UffdlabError) as caught:
        DESIGNS["unprotected"].replace(**changes)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: Range(DESIGNS["pte_marker"], 0), "span 0 B: a range needs a positive size"),
        (lambda: Range(DESIGNS["pte_marker"], 17 << 40), "goes up to 16 TiB"),
        (lambda: Range(DESIGNS["pte_marker"], 4097), "not a multiple of pte_marker's 4 KiB page"),
        (lambda: Range(DESIGNS["hugetlb_1g"], 2 << 20), "not a multiple of hugetlb_1g's 1 GiB page"),
        (lambda: Range(DESIGNS["pte_marker"], 4096, start_bytes=1 << 47), "outside the user address space"),
        (lambda: Range(DESIGNS["pte_marker"], 4096, other_cpus=-1), "other CPUs is -1: expected 0 to 65536"),
        (lambda: Range(DESIGNS["pte_marker"], 4096).protect(0, 2), "pages 0 to 2 are not within a range of 1"),
        (lambda: Range(DESIGNS["hugetlb_2m"], 4 << 20).protect(0, 3), "cut a hugetlb page of 512 pages"),
        (lambda: Range(DESIGNS["hugetlb_2m"], 4 << 20).protect(0, 1), "cut a hugetlb page of 512 pages"),
        (lambda: Range(DESIGNS["hugetlb_2m"], 4 << 20, start_bytes=4096), "start 4096 B is not a multiple"),
        (lambda: Range(DESIGNS["pte_marker"], 4096, touches=-1), "touches is -1: expected >= 0"),
        (lambda: Range(DESIGNS["pte_marker"], 4096).populate_bits(b"a", 0), "bits of 0 pages do not fit"),
        (lambda: Range(DESIGNS["pte_marker"], 4096).touch(1, write=True), "page 1 is not within a range of 1"),
        (lambda: Range(DESIGNS["pte_marker"], 4096).populate(1.5), "populated is 1.5: expected 0 to 1"),
        (lambda: Range(DESIGNS["pte_marker"], 4096).populate_bits(b"ab", 1), "but the range needs 1"),
        (lambda: Range(DESIGNS["pte_marker"], 4096).touch_stride(0, write=True), "stride is 0 pages: expected >= 1"),
        (lambda: Range(DESIGNS["pte_marker"], 4096).save(skip_holes=True, piece_pages=2), "1 or 512 pages"),
        (lambda: Range(DESIGNS["pte_marker"], 4096).become(DESIGNS["hugetlb_2m"]), "cannot become memory of pmd"),
    ],
)
def test_invalid_operation_raises(ask: Any, said: str) -> None:
    with pytest.raises(UffdlabError) as caught:
        ask()
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["unprotected", "protect_on_fault", "missing_wp", "pte_marker"])
def test_cutting_every_table_raises_when_memory_is_used_up(name: str) -> None:
    memory = Range(DESIGNS[name], 1 << 30, touches=0)
    if name != "unprotected":
        memory.protect()
    with pytest.raises(UffdlabError, match="outgrew"):
        _cut_every_table(memory)


def _cut_every_table(memory: Range) -> None:
    for pmd in range(PMD):
        memory.protect(pmd * PMD + 1, 1)
        memory.discard(pmd * PMD + 3, 1)
        memory.unprotect(pmd * PMD + 5, 1)


def test_stride_beyond_range_is_one_touch() -> None:
    memory = Range(DESIGNS["pte_marker"], 1 << 30, touches=9, start_bytes=1 << 30)
    memory.touch_stride((1 << 64) - 1, write=True)
    assert memory.ledger()["writes"] == 1


def test_memory_suffices_for_reserved_operations() -> None:
    memory = Range(DESIGNS["pte_marker"].replace(level="pud"), 1 << 40, touches=500)
    memory.protect()
    for number in range(500):
        memory.discard(number * (1 << 19) + 5, 1 << 18)
    assert memory.ledger()["calls"] == 500


def test_protecting_zeropages_sends_no_ipis() -> None:
    memory = Range(DESIGNS["preread"], 8 << 20, other_cpus=3)
    memory.prefault()
    memory.protect()
    assert memory.ledger()["ipis"] == 0
    memory.touch_all(write=True)
    memory.start_phase()
    memory.protect()
    assert memory.ledger()["ipis"] == 3


def test_more_touches_than_reserved_raises() -> None:
    memory = Range(DESIGNS["pte_marker"], 1 << 40, touches=0)
    with pytest.raises(UffdlabError, match="make the range with the number of touches"):
        memory.touch_stride(1 << 18, write=True)
