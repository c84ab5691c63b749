# SPDX-License-Identifier: MIT
"""What the simulator draws, number by number, and what it expects, to the last digits: both worked out here again."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from math import isclose
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st
from shapes import shape_ledger
from test_sim_exact import designs
from test_sim_expected import RUNS, _agree

from uffdlab.sim import DESIGNS, Range, SimDesign, Workload, events, expect, run
from uffdlab.sim.ledger import Ledger
from uffdlab.sim.workloads import sweep

MASK = (1 << 64) - 1
TOUCHES = st.integers(0, 10**6)
slow = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


class SplitMix:
    """SplitMix64 as its authors published it (Steele, Lea and Flood, 2014)."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, n: int) -> int:
        return (self.next() >> 32) * n >> 32


def test_generator_is_splitmix64() -> None:
    drawn = SplitMix(1234567)
    assert [drawn.next() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def pages_of(memory: Range) -> set[int]:
    return {page for page in range(memory.pages) if memory.entry(page).kind == "page"}


def bare(pages: int) -> Range:
    return Range(DESIGNS["unprotected"], pages * 4096, touches=4096)


def clusters(numbers: Iterator[int], cluster: int, pages: int) -> set[int]:
    return {page for number in numbers for page in range(number * cluster, min(pages, (number + 1) * cluster))}


# --- populating ------------------------------------------------------------------------------------------------------


@settings(slow, max_examples=40)
@given(st.integers(1, 1500), st.floats(0, 1), st.integers(1, 40), st.integers(0, MASK))
def test_populate_writes_each_cluster_with_its_probability(
    pages: int, fraction: float, cluster: int, seed: int
) -> None:
    assume(cluster <= pages)
    memory, drawn = bare(pages), SplitMix(seed)
    memory.populate(fraction, cluster, seed)
    count = -(-pages // cluster)
    wanted = (number for number in range(count) if fraction == 1 or (drawn.next() >> 11) * 2.0**-53 < fraction)
    assert pages_of(memory) == (clusters(wanted, cluster, pages) if fraction else set())


@settings(slow, max_examples=40)
@given(st.integers(1, 1500), st.floats(0, 1), st.integers(1, 40), st.integers(0, MASK))
def test_populate_exactly_draws_the_number_of_clusters(pages: int, share: float, cluster: int, seed: int) -> None:
    assume(cluster <= pages)
    count = -(-pages // cluster)
    wanted = round(share * count)
    memory, drawn, left = bare(pages), SplitMix(seed), wanted
    memory.populate_exactly(wanted, cluster, seed)
    chosen = []
    for number in range(count):
        if wanted == count or drawn.below(count - number) < left:
            chosen.append(number)
            left -= 1
    assert len(chosen) == wanted
    assert pages_of(memory) == clusters(iter(chosen), cluster, pages)


@settings(slow, max_examples=30)
@given(st.binary(min_size=1, max_size=20), st.integers(1, 70), st.integers(0, 7), st.integers(0, 69))
def test_populate_bits_reads_least_significant_bit_first(bits: bytes, per_bit: int, spare: int, short: int) -> None:
    count = len(bits) * 8 - spare
    pages = count * per_bit - short % per_bit
    memory = bare(pages)
    assume(per_bit <= pages)  # a bit for more than there is, is refused
    memory.populate_bits(bits, per_bit)
    wanted = (number for number in range(count) if bits[number // 8] >> number % 8 & 1)
    assert pages_of(memory) == clusters(wanted, per_bit, pages)


def test_populating_raises_no_missing_events() -> None:
    memory = Range(DESIGNS["missing_wp"], 1 << 20, touches=64)
    memory.populate(1.0)
    assert memory.ledger()["events_missing"] == 0
    memory.discard(3, 1)
    memory.touch(3, write=True)
    assert memory.ledger()["events_missing"] == 1, "and is registered again afterwards"


# --- walks -----------------------------------------------------------------------------------------------------------


def walked(walk: str, pages: int, count: int, cluster: int, seed: int) -> list[int]:
    """Return which pages a walk touches, one after another."""
    drawn, at, found = SplitMix(seed), 0, []
    for number in range(count):
        if walk == "uniform":
            at = drawn.below(pages)
        elif walk == "zipf":
            octaves = next(n for n in range(34) if n == 33 or 1 << n > pages)
            rank = pages
            while rank >= pages:
                octave = drawn.below(octaves)
                rank = (1 << octave) - 1 + drawn.below(1 << octave)
            at = rank * 2654435761 % pages
        elif walk == "clustered" and number % cluster == 0:
            at = drawn.below(pages // cluster) * cluster
        found.append(at)
        if walk in ("sequential", "clustered"):
            at = (at + 1) % pages
    return found


@settings(slow, max_examples=60)
@given(
    st.sampled_from(["sequential", "uniform", "zipf", "clustered"]),
    st.integers(1, 1500),
    st.integers(0, 300),
    st.integers(1, 30),
    st.integers(0, MASK),
)
def test_walk_touches_the_drawn_pages(walk: Any, pages: int, count: int, cluster: int, seed: int) -> None:
    assume(cluster <= pages)
    memory = bare(pages)
    memory.protect()
    memory.touch_many(count, walk, write=True, cluster=cluster, seed=seed)
    touched = walked(walk, pages, count, cluster, seed)
    assert pages_of(memory) == set(touched)
    assert memory.ledger()["writes"] == count
    assert memory.ledger()["faults_empty"] == len(set(touched))


def test_zipf_prefers_low_ranks_at_any_size() -> None:
    pages = 1 << 24
    memory = Range(DESIGNS["unprotected"], pages * 4096, touches=4096)
    memory.touch_many(2000, "zipf", write=True, seed=5)
    touched = walked("zipf", pages, 2000, 1, 5)
    assert memory.ledger()["faults_empty"] == len(set(touched))
    most = Counter(touched).most_common(1)[0]
    assert most[0] == 0
    assert all(memory.entry(page).kind == "page" for page in set(touched))


@pytest.mark.parametrize(
    ("pages", "stride"), [(1000, 1), (1000, 7), (1000, 999), (1000, 1000), (1000, 4000), (512, 512)]
)
def test_touch_stride_touches_every_nth_page(pages: int, stride: int) -> None:
    memory = bare(pages)
    memory.touch_stride(stride, write=True)
    assert pages_of(memory) == set(range(0, pages, stride))
    assert memory.ledger()["writes"] == len(range(0, pages, stride))


# --- populating by a system call -------------------------------------------------------------------------------------


def test_populate_read_counts_entries_and_no_traps() -> None:
    memory = Range(DESIGNS["populate_read"], 4 << 20, touches=64)
    memory.touch(0, write=True)
    before, shapes = memory.ledger(), memory.shapes()
    memory.prefault()
    found = {name: n - before[name] for name, n in memory.ledger().items() if n != before[name]}
    assert found["populated"] == 1024
    assert (found["faults_empty"], found["zeropages"], found["tables_pte"]) == (1023, 1023, 1)
    assert (found["calls"], found["lock_mmap"]) == (1, 1)
    assert not {"traps", "reads", "lock_vma"} & found.keys()
    assert memory.shapes() == shapes
    loop = Range(DESIGNS["preread"], 4 << 20, touches=64)
    loop.prefault()
    assert (loop.ledger()["reads"], loop.ledger()["traps"], loop.ledger()["populated"]) == (1024, 1024, 0)
    none = Range(DESIGNS["pte_marker"], 4 << 20, touches=64)
    none.prefault()
    assert not any(none.ledger().values())


def test_prefault_of_a_part_leaves_the_rest() -> None:
    for name in ("populate_read", "preread"):
        memory = Range(DESIGNS[name], 4 << 20, touches=64)
        memory.prefault(5, 3)
        assert [page for page in range(1024) if memory.entry(page).kind == "zeropage"] == [5, 6, 7]


# --- expected values, exactly ----------------------------------------------------------------------------------------


def close(found: float, wanted: float, what: str = "") -> None:
    assert isclose(found, wanted, rel_tol=1e-11, abs_tol=1e-9), f"{what}: {found!r}, not {wanted!r}"


SPANS = [1 << 30, (1 << 30) + (34 << 20), (3 << 30) - (2 << 20), 2 << 40, (513 << 30) + (6 << 20), 512 << 30]


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize(("fraction", "cluster"), [(0.25, 1), (1e-6, 1), (0.01, 64), (0.3, 1 << 14), (0.9, 1 << 18)])
def test_expected_populated_memory_equals_closed_form(span: int, fraction: float, cluster: int) -> None:
    """A table is there where any cluster that has a share in what it maps was written."""
    pages, none = span // 4096, 1 - fraction
    found = expect(DESIGNS["unprotected"], Workload(span, fraction, cluster))
    close(found.pages_kib[0], 4 * fraction * pages, "pages")

    def there(part: int) -> float:
        return 1 - none ** -(-part // cluster)

    whole, rest = divmod(pages, 1 << 18)
    pmds = pages // 512 * there(512)
    puds = whole * there(1 << 18) + (there(rest) if rest else 0)
    pgds = ((pages - 1) >> 27) * there(1 << 27)
    close(found.tables_kib[0], 4 * (pmds + puds + pgds), "tables")
    for name in events():
        if not found.protect[name]:
            continue
        wanted = {"protects": 1, "lock_mmap": 1, "flushes": there(pages), "lock_pte": pmds}
        wanted |= {
            "protected_pte": fraction * pages,
            "visited_pte": pmds * 512,
            "asked_pte": pmds * 512 - fraction * pages,
        }
        close(found.protect[name], wanted[name], name)


@pytest.mark.parametrize("span", [2 << 20, 1 << 30, (1 << 30) + (34 << 20), 2 << 40])
@pytest.mark.parametrize(("reads", "writes"), [(0, 1), (1, 0), (3, 5), (0, 100_000), (10**7, 10**6), (10**12, 10**12)])
def test_expected_marker_touches_equal_closed_form(span: int, reads: int, writes: int) -> None:
    """Of n pages so many touches reach n (1 - (1 - 1 / n)^touches)."""
    pages = span // 4096
    found = expect(DESIGNS["pte_marker"], Workload(span, reads=reads, writes=writes, other_cpus=2))

    def reached(n: float, touches: float) -> float:
        # Squaring and multiplying, as with pencil and paper: to the last digits but a few.
        from math import expm1, log1p

        return n * -expm1(touches * log1p(-1 / n)) if n > 1 else float(touches > 0)

    read, both, written = reached(pages, reads), reached(pages, reads + writes), reached(pages, writes)
    for name, wanted in {
        "reads": reads,
        "writes": writes,
        "faults_marker": both,
        "zeropages": read,
        "events_wp": written,
        "lost_writes": 0,
        "pages": written,
    }.items():
        assert isclose(found.touches[name], wanted, rel_tol=2e-7, abs_tol=1e-6), (name, found.touches[name], wanted)
    assert isclose(found.pages_kib[2], 4 * written, rel_tol=2e-7)


@settings(slow, max_examples=30)
@given(designs(), st.sampled_from(SPANS), st.integers(0, 3))
def test_expected_values_without_chance_equal_exact_counts(design: SimDesign, span: int, others: int) -> None:
    if design.leaf == "pud":
        span = span >> 30 << 30
    work = Workload(span, other_cpus=others)
    assume(design.prefault == "nothing" or span < 4 << 30)
    exact, found = run(design, work), expect(design, work)
    for name in events():
        close(found.protect[name], exact.protect[name], name)
        close(found.touches[name], exact.touches[name], name)
    assert found.tables_kib == pytest.approx(exact.tables_kib)
    assert found.pages_kib == pytest.approx(exact.pages_kib)


@seed(1)
@settings(slow, max_examples=25)
@given(
    designs(),
    st.sampled_from([1 << 30, (1 << 30) + (34 << 20), (514 << 30) + (6 << 20)]),
    st.sampled_from([(0.0, 1), (0.5, 1 << 18), (0.002, 512)]),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_few_touches_of_large_ranges_average_to_expected_values(
    design: SimDesign, span: int, written: tuple[float, int], reads: int, writes: int
) -> None:
    populated, cluster = written
    assume(design.prefault == "nothing" and (span < 4 << 30 or populated == 0))
    if design.leaf != "pte":
        span = span >> 30 << 30
        cluster = max(cluster, {"pmd": 512, "pud": 512 * 512}[design.leaf])
    assume(design.empty != "zeropage")
    expected = expect(design, Workload(span, populated, cluster, reads, writes, other_cpus=1))
    runs = [run(design, Workload(span, populated, cluster, reads, writes, other_cpus=1, seed=s)) for s in range(RUNS)]
    for name in events():
        _agree([one.protect[name] for one in runs], expected.protect[name], f"protect {name}")
        _agree([one.touches[name] for one in runs], expected.touches[name], f"touches {name}")
    for moment in range(3):
        _agree([one.tables_kib[moment] for one in runs], expected.tables_kib[moment], f"tables {moment}")
        _agree([one.pages_kib[moment] for one in runs], expected.pages_kib[moment], f"pages {moment}")


@settings(slow, max_examples=40)
@given(designs(), st.integers(1, 64), st.sampled_from([0.0, 0.01, 0.5, 1.0]), TOUCHES, TOUCHES)
def test_expected_shapes_sum_to_expected_ledger(
    design: SimDesign, units: int, populated: float, reads: int, writes: int
) -> None:
    span = units * {"pte": 2 << 20, "pmd": 2 << 20, "pud": 1 << 30}[design.leaf]
    cluster = {"pte": 1, "pmd": 512, "pud": 512 * 512}[design.leaf]
    assume(design.prefault != "read loop")  # whose own touches are among the shapes
    found = expect(design, Workload(span, populated, cluster, reads, writes))
    counted = [(n, shape_ledger(design, code)) for code, n in found.shapes.items()]
    for name in events():
        summed = sum(n * one[name] for n, one in counted)
        assert summed == pytest.approx(found.touches[name], rel=1e-9, abs=1e-6), name


@settings(slow, max_examples=20)
@given(designs(), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9999)), min_size=1, max_size=4), st.integers(0, 3))
def test_sweep_equals_priced_expected_values(design: SimDesign, asked: list[tuple[float, int]], vectors: int) -> None:
    span = {"pte": 64 << 20, "pmd": 64 << 20, "pud": 4 << 30}[design.leaf]
    cluster = {"pte": 1, "pmd": 512, "pud": 512 * 512}[design.leaf]
    works = [Workload(span, populated, cluster, touches, 2 * touches) for populated, touches in asked]
    costs = [{name: float((7 * n + 3 * v) % 11) for n, name in enumerate(events())} for v in range(vectors)]

    def price(ledger: Ledger, vector: dict[str, float]) -> float:
        return sum(ledger[name] * vector[name] for name in events())

    rows = sweep(design, works, costs)
    assert len(rows) == len(works)
    for row, work in zip(rows, works, strict=True):
        found = expect(design, work)
        wanted = [found.tables_kib[2] - found.tables_kib[0], found.pages_kib[2] - found.pages_kib[0]]
        wanted += [price(ledger, vector) for vector in costs for ledger in (found.protect, found.touches)]
        assert list(row) == pytest.approx(wanted, rel=1e-9, abs=1e-6)


# --- what the core itself refuses ------------------------------------------------------------------------------------


def refusal_of(function: str, *args: float) -> str:
    from uffdlab.sim.core import core

    at = core()
    address = at.call(function, *args)
    return at.text(address) if address else ""


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, False),
        ({"populated": 1.0}, False),
        ({"populated": 1.0000001}, True),
        ({"populated": -1e-9}, True),
        ({"populated": float("nan")}, True),
        ({"cluster": 0}, True),
        ({"cluster": 1 << 18}, False),
        ({"cluster": 1 << 19}, True),
        ({"cluster": 3}, True),
        ({"reads": -0.5}, True),
        ({"reads": float("inf")}, True),
        ({"writes": -0.5}, True),
        ({"writes": float("inf")}, True),
        ({"others": -1}, True),
    ],
)
def test_core_refuses_invalid_workload(changes: dict[str, Any], refused: bool) -> None:
    from uffdlab.sim.core import core

    at = core()
    work = {"populated": 0.5, "cluster": 1, "reads": 0.0, "writes": 0.0, "others": 0} | changes
    with at.lent(DESIGNS["pte_marker"].packed()) as design, at.lent(struct.pack("<dQddii", *work.values(), 0)) as asked:
        assert bool(refusal_of("ul_work_problem", design, 1 << 18, asked)) == refused
        assert refusal_of("ul_work_problem", design, 511, asked), "not whole 2 MiB"


def test_peak_memory_remains_after_discard() -> None:
    memory = Range(DESIGNS["unprotected"], 64 << 20, touches=64)
    memory.touch_all(0, 4096, write=True)
    full = memory.memory()
    assert (full.pages_kib, full.most_pages_kib) == (16384, 16384)
    assert full.tables_kib == full.most_tables_kib == 4 * (8 + 1)
    memory.discard(0, 2048)
    memory.touch_all(0, 512, write=True)
    left = memory.memory()
    assert (left.pages_kib, left.most_pages_kib) == (8192 + 2048, 16384)
    memory.become(DESIGNS["unprotected"].replace(pt_reclaim=True))
    memory.discard()
    gone = memory.memory()
    assert (gone.pages_kib, gone.tables_kib) == (0, 4)
    assert (gone.most_pages_kib, gone.most_tables_kib) == (16384, full.most_tables_kib)
