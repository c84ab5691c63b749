# SPDX-License-Identifier: MIT
"""Expected values in closed form against many exact runs, and the extension against WebAssembly."""

from __future__ import annotations

import struct
from statistics import fmean, stdev

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from shapes import shape_ledger
from test_sim_exact import STARTS, apply, designs, steps

from uffdlab.errors import UffdlabError
from uffdlab.sim import DESIGNS, Range, SimDesign, Workload, engine, events, expect, run
from uffdlab.sim.core import Extension, WebAssembly

RUNS = 40
SIGMAS = 6.0
slow = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
# What happens once in a thousand runs happens in none of forty, and is expected all the same.
RARE, RARE_SHARE = 0.1, 1e-2


def _agree(exact: list[float], expected: float, what: str) -> None:
    error = stdev(exact) / len(exact) ** 0.5
    assert abs(fmean(exact) - expected) <= SIGMAS * error + RARE + RARE_SHARE * abs(expected), (
        f"{what}: {fmean(exact)} ± {error} in {len(exact)} runs, {expected} expected"
    )


# The same examples every time, whatever the test is called: forty runs are a sample, and a sample may be an odd one.
@seed(1)
@settings(slow, max_examples=40)
@given(
    designs(),
    st.sampled_from([2 << 20, 16 << 20, 96 << 20]),
    # Such that a 2 MiB is neither nearly always empty nor nearly never.
    st.sampled_from([(0.0, 1), (1.0, 1), (0.001, 1), (0.02, 8), (0.3, 512), (0.6, 1024)]),
    st.sampled_from([0, 1, 4]),
    st.sampled_from([0, 1, 4]),
)
def test_exact_runs_average_to_expected_values(
    design: SimDesign, span: int, written: tuple[float, int], reads: int, writes: int
) -> None:
    populated, cluster = written
    # So many for each 2 MiB that it is neither nearly always touched nor nearly never.
    reads, writes = (number * max(1, span // (4 << 20)) for number in (reads, writes))
    if design.leaf != "pte":
        span = {"pmd": 96 << 20, "pud": 2 << 30}[design.leaf]
        cluster = max(cluster, {"pmd": 512, "pud": 512 * 512}[design.leaf])
    cluster = min(cluster, span // 4096)
    work = Workload(span, populated, cluster, reads, writes, other_cpus=1)
    expected = expect(design, work)
    runs = [run(design, Workload(span, populated, cluster, reads, writes, other_cpus=1, seed=s)) for s in range(RUNS)]
    for name in events():
        _agree([one.protect[name] for one in runs], expected.protect[name], f"protect {name}")
        _agree([one.touches[name] for one in runs], expected.touches[name], f"touches {name}")
    for moment in range(3):
        _agree([one.tables_kib[moment] for one in runs], expected.tables_kib[moment], f"tables {moment}")
        _agree([one.pages_kib[moment] for one in runs], expected.pages_kib[moment], f"pages {moment}")


def test_engines_without_chance_are_equal() -> None:
    for design in DESIGNS.values():
        work = Workload(64 << 30)
        assert run(design, work).protect == expect(design, work).protect, design.name


@settings(slow, max_examples=300)
@given(designs(), st.sampled_from([1 << 30, 64 << 30, 512 << 30, 1536 << 30]), st.sampled_from([0.0, 1.0]))
def test_engines_without_chance_are_equal_for_drawn_designs(design: SimDesign, span: int, populated: float) -> None:
    """All of it written beforehand or nothing, also across several 512 GiB, of which each has a PUD table."""
    work = Workload(span, populated, 1 << 18, other_cpus=2)
    exact, expected = run(design, work), expect(design, work)
    assert exact.protect == pytest.approx(expected.protect)
    assert exact.touches == pytest.approx(expected.touches)
    assert exact.tables_kib == pytest.approx(expected.tables_kib)
    assert exact.pages_kib == pytest.approx(expected.pages_kib)


def test_expected_pud_tables_of_one_touch() -> None:
    design = DESIGNS["protect_on_fault"]
    work = Workload(2 << 40, writes=1)
    expected = expect(design, work)
    assert expected.touches["tables_pud"] == pytest.approx(3 / 4)
    runs = [run(design, Workload(2 << 40, writes=1, seed=seed)).touches["tables_pud"] for seed in range(80)]
    assert set(runs) == {0, 1}
    assert fmean(runs) == pytest.approx(3 / 4, abs=0.25)


@settings(slow, max_examples=100)
@given(designs(), st.integers(1, 2000), st.integers(0, 200))
def test_shapes_sum_to_ledger_of_touches(design: SimDesign, writes: int, reads: int) -> None:
    span = {"pte": 8 << 20, "pmd": 64 << 20, "pud": 2 << 30}[design.leaf]
    result = run(design, Workload(span, reads=reads, writes=writes))
    for name in events():
        summed = sum(n * shape_ledger(design, code)[name] for code, n in result.shapes.items())
        assert summed == result.touches[name], name


# --- WebAssembly -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wasm() -> WebAssembly:
    """One for all examples: to compile it takes longer than an example, and it is to be used again."""
    pytest.importorskip("wasmtime")
    return WebAssembly()


@settings(slow, max_examples=60)
@given(designs(), STARTS, st.integers(1, 2048), steps, st.floats(0, 1), st.integers(0, 1 << 63))
def test_webassembly_counts_equal_extension(
    wasm: WebAssembly,
    design: SimDesign,
    start: int,
    pages: int,
    done: list[tuple[str, float, float, bool]],
    populated: float,
    seed: int,
) -> None:
    leaf = {"pte": 1, "pmd": 512, "pud": 512 * 512}[design.leaf]
    start, pages = start // leaf * leaf, max(leaf, pages // leaf * leaf)
    both = [
        Range(design, pages * 4096, touches=4096, start_bytes=start * 4096, other_cpus=2, engine=one)
        for one in (Extension(), wasm)
    ]
    for memory in both:
        memory.populate(populated if leaf == 1 else 0, 1 + seed % 7 if pages > 7 else 1, seed)
        for step in done:
            apply(memory, step, pages, leaf)
        memory.touch_many(200, "zipf", write=True, seed=seed)
        memory.touch_many(200, "clustered", write=False, cluster=max(1, pages // 3), seed=seed)
    assert both[0].ledger() == both[1].ledger()
    assert both[0].shapes() == both[1].shapes()
    assert both[0].memory() == both[1].memory()


@settings(slow, max_examples=200)
@given(
    designs(),
    st.integers(1, 1 << 14),
    st.floats(0, 1),
    st.integers(0, 18),
    st.integers(0, 1 << 40),
    st.integers(0, 1 << 40),
)
def test_webassembly_expected_values_equal_extension(
    wasm: WebAssembly, design: SimDesign, units: int, populated: float, power: int, reads: int, writes: int
) -> None:
    span = units * {"pte": 2 << 20, "pmd": 2 << 20, "pud": 1 << 30}[design.leaf]
    cluster = 1 << min(power, (span // 4096).bit_length() - 1)
    work = Workload(min(span, 16 << 40), populated, cluster, reads, writes)
    one, other = (expect(design, work, at) for at in (Extension(), wasm))
    assert (one.protect, one.touches, one.shapes) == (other.protect, other.touches, other.shapes)
    assert (one.tables_kib, one.pages_kib) == (other.tables_kib, other.pages_kib)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"span_bytes": 0}, "span 0 B is not a positive multiple of 4 KiB"),
        ({"span_bytes": 4097}, "span 4097 B is not a positive multiple"),
        ({"populated": -0.1}, "populated is -0.1: expected 0 to 1"),
        ({"populated": float("nan")}, "populated is nan: expected 0 to 1"),
        ({"writes": -1}, "writes is -1: expected a whole number"),
        ({"writes": 1.5}, "writes is 1.5: expected a whole number"),
        ({"other_cpus": -1}, "other CPUs is -1: expected 0 to 65536"),
        ({"walk": "drunken"}, "unknown walk 'drunken': choose one of sequential, uniform"),
        ({"cluster_pages": 0}, "clusters of 0 pages do not fit"),
    ],
)
def test_invalid_workload_raises(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UffdlabError) as caught:
        Workload(**wrong)  # type: ignore[arg-type]
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (Workload(32 << 40), "span 32 TiB: the simulator goes up to 16 TiB"),
        (Workload(1 << 20), "a multiple of 2 MiB, and 1 MiB is none"),
        (Workload(1 << 30, cluster_pages=3), "clusters of a power of two"),
        (Workload(1 << 30, walk="zipf"), "uniform touches, not zipf ones"),
    ],
)
def test_unsupported_expectation_raises(work: Workload, said: str) -> None:
    with pytest.raises(UffdlabError) as caught:
        expect(DESIGNS["pte_marker"], work)
    assert said in str(caught.value)


def test_state_larger_than_free_memory_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "free_bytes", lambda: 1 << 30)
    with pytest.raises(UffdlabError, match=r"may need 4\.\d+ GiB of memory, and 1 GiB are free"):
        run(DESIGNS["pte_marker"], Workload(16 << 40, writes=1 << 32))


def test_too_many_touches_raise() -> None:
    with pytest.raises(UffdlabError, match="would take more than an hour: ask for expected values"):
        run(DESIGNS["pte_marker"], Workload(1 << 30, writes=1 << 50))


def _problem(page: WebAssembly, function: str, *args: float) -> str | None:
    address = page.call(function, *args)
    return page.text(address) if address else None


def test_webassembly_reports_problems(wasm: WebAssembly) -> None:
    page = wasm
    good, huge = DESIGNS["pte_marker"].packed(), DESIGNS["hugetlb_2m"].packed()
    with page.lent(good) as design, page.lent(huge) as large:
        assert _problem(page, "ul_design_problem", design) is None
        assert "the span is 0" in str(_problem(page, "ul_range_problem", design, 0, 0))
        assert "more than 16 TiB" in str(_problem(page, "ul_range_problem", design, 0, (1 << 32) + 1))
        assert "within a hugetlb page" in str(_problem(page, "ul_range_problem", large, 0, 5))
        assert "beyond the address space" in str(_problem(page, "ul_range_problem", design, 1 << 35, 1))
        for work, said in (
            ((float("nan"), 1, 0.0, 0.0, 0, 0), "the populated fraction is not from 0 to 1"),
            ((1.5, 1, 0.0, 0.0, 0, 0), "the populated fraction is not from 0 to 1"),
            ((0.5, 3, 0.0, 0.0, 0, 0), "clusters of a power of two"),
            ((0.5, 1, -1.0, 0.0, 0, 0), "reads or writes is not from 0 to 2^62"),
            ((0.5, 1, 0.0, float("inf"), 0, 0), "reads or writes is not from 0 to 2^62"),
        ):
            with page.lent(struct.pack("<dQddii", *work)) as asked:
                assert said in str(_problem(page, "ul_work_problem", design, 512, asked))
