# SPDX-License-Identifier: MIT
"""Prices, intervals and decisions of the core, worked out here again in plain Python; as WebAssembly, to the bit."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import exp, floor, hypot, log, nan, sqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latency import latencies
from shapes import Shape, shape_ledger

from uffdlab import sim
from uffdlab.errors import NotMeasuredError
from uffdlab.sim.core import Core, WebAssembly, core
from uffdlab.sim.costs import Costs
from uffdlab.sim.decision import MIXED, OBJECTIVES
from uffdlab.sim.ledger import Ledger, events, pack

few = settings(deadline=None, max_examples=25)
counts = st.one_of(st.just(0.0), st.floats(0, 1e12), st.integers(0, 10**9).map(float))
prices = st.one_of(st.just(0.0), st.floats(1e-3, 1e6))
ledgers = st.lists(counts, min_size=len(events()), max_size=len(events())).map(
    lambda n: dict(zip(events(), n, strict=True))
)
vectors = st.lists(prices, min_size=len(events()), max_size=len(events())).map(
    lambda n: dict(zip(events(), n, strict=True))
)
NAMES = [name for name, one in sim.DESIGNS.items() if one.leaf == "pte"]


@st.composite
def costs(draw: st.DrawFn) -> Costs:
    """Draw costs with draws around them, as many as there may be."""
    vector, error = draw(vectors), draw(st.floats(0, 3) | st.just(float("inf")))
    factors = draw(st.lists(st.floats(0.5, 2), max_size=45))
    return Costs(
        "made-up", "ns", vector, tuple({n: c * f for n, c in vector.items()} for f in factors), p95_error=error
    )


def price(ledger: Ledger, vector: dict[str, float]) -> float:
    """Return the sum in the order of the events, as pencil and paper have it."""
    total = 0.0
    for name in events():
        total += ledger[name] * vector[name]
    return total


def interval(values: Sequence[float], error: float, weight: float = 1) -> tuple[float, float | None, float | None]:
    value, drawn = values[0], sorted(values[1:])
    if not drawn or error == float("inf"):
        return value, None, None
    low, high = (drawn[floor(at * len(drawn))] for at in (0.025, 0.975))
    widened = (1 + error) ** weight
    return value, min(low, value) / widened, max(high, value) * widened


def same(found: Any, wanted: Any, rel: float) -> None:
    assert [one is None for one in found] == [one is None for one in wanted]
    assert [one for one in found if one is not None] == pytest.approx([one for one in wanted if one is not None], rel)


# --- prices and intervals --------------------------------------------------------------------------------------------


@few
@given(ledgers, costs())
def test_price_and_interval_equal_plain_python(ledger: Ledger, priced: Costs) -> None:
    found = priced.price(ledger)
    values = [price(ledger, vector) for vector in (priced.vector, *priced.draws)]
    assert (found.value, found.low, found.high) == interval(values, priced.p95_error)
    assert found.n == (0 if found.low is None else len(priced.draws))


@few
@given(ledgers, ledgers, costs())
def test_ratio_cancels_shared_events(top: Ledger, bottom: Ledger, priced: Costs) -> None:
    over, under = ([price(one, vector) for vector in (priced.vector, *priced.draws)] for one in (top, bottom))
    if min(under) <= 0:
        with pytest.raises(NotMeasuredError):
            priced.ratio(top, bottom)
        return
    shared = price({name: min(top[name], bottom[name]) for name in events()}, priced.vector)
    a, b = (shared / over[0] if over[0] else nan), shared / under[0]
    apart = hypot(a - b, 1 - a, 1 - b) if over[0] > 0 else sqrt(2)
    assert priced.apart(top, bottom) == pytest.approx(apart, rel=1e-12, abs=1e-12)
    found = priced.ratio(top, bottom)
    values = [x / y for x, y in zip(over, under, strict=True)]
    same((found.value, found.low, found.high), interval(values, priced.p95_error, apart), 1e-12)


@few
@given(st.lists(st.floats(0, 1e9) | st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=300), st.floats(0, 1e6),
       st.floats(0, 1.5))  # fmt: skip
def test_interval_equals_plain_python(values: list[float], error: float, weight: float) -> None:
    at = core()
    with at.lent(struct.pack(f"<{len(values)}d", *values)) as given_, at.lent(bytes(24)) as answer:
        at.call("ul_interval", given_, len(values) - 1, error, weight, answer)
        value, low, high = struct.unpack("<3d", at.read(answer, 24))
    ends = [None if one != one else one for one in (value, low, high)]
    same(ends, interval(values, error, weight), 1e-14 if weight == 1 else 1e-12)


# --- single writes ---------------------------------------------------------------------------------------------------

works = st.builds(
    sim.Workload,
    st.sampled_from([2 << 20, 1 << 30, 16 << 30, 3 << 40]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([1, 64, 512]),
    reads=st.integers(0, 10**6),
    writes=st.integers(0, 10**6),
)


def plain_latencies(name: str, work: sim.Workload, vector: dict[str, float]) -> list[tuple[float, float, float, int]]:
    """Return price, count, share that take as long, and shape of the writes that ask the kernel."""
    found = []
    for code, count in sim.expect(name, work).shapes.items():
        shape = Shape.of(code)
        if shape.write and (shape.kind != "page" or shape.protected):
            found.append((price(shape_ledger(sim.named(name), code), vector), count, code))
    found.sort(key=lambda one: one[0])
    everything, slower, rows = sum(one[1] for one in found), 1.0, []
    for cost, count, code in found:
        rows.append((cost, count, slower, code))
        slower -= count / everything
    return rows


@few
@given(st.sampled_from(NAMES), works)
def test_latencies_list_faulting_writes_cheapest_first(name: str, work: sim.Workload) -> None:
    priced = sim.load_costs()
    rows = latencies(sim.expect(name, work), priced)
    wanted = plain_latencies(name, work, priced.vector)
    assert [(one.cost.value, one.count, one.shape) for one in rows] == [
        (cost, count, Shape.of(code)) for cost, count, _, code in wanted
    ]
    assert [one.slower for one in rows] == pytest.approx([slower for _, _, slower, _ in wanted], abs=1e-12)
    assert sum(one.share for one in rows) == pytest.approx(1 if rows else 0)
    for row in rows:
        one = priced.price(shape_ledger(sim.named(name), next(c for _, _, _, c in wanted if Shape.of(c) == row.shape)))
        assert row.cost == one


# --- decisions -------------------------------------------------------------------------------------------------------


def plain_decision(names: list[str], work: sim.Workload, priced: Costs, objective: str) -> dict[str, Any]:
    """Decide at one point, as the docstring of df_decision has it."""
    values, tails, asked = {}, {}, {}
    for name in names:
        found = sim.expect(name, work)
        added = found.tables_kib[2] - found.tables_kib[0] + found.pages_kib[2] - found.pages_kib[0]
        slow = [row for row in plain_latencies(name, work, priced.vector) if row[2] >= 0.01]
        tails[name] = shape_ledger(sim.named(name), slow[-1][3]) if slow else None
        asked[name] = {"stop time": found.protect, "total work": found.total, "tail latency": tails[name]}
        stop, all_ = price(found.protect, priced.vector), price(found.total, priced.vector)
        values[name] = dict(zip(MIXED, (stop, all_, max(added, 1.0), slow[-1][0] if slow else 1.0), strict=True))
    least = {one: min(values[name][one] for name in names) for one in MIXED}
    score = {
        name: sum(0.25 * log(values[name][one] / least[one]) for one in MIXED)
        if objective == "mix"
        else values[name][objective]
        for name in names
    }
    lowest = min(score.values())
    ties = [n for n in names if score[n] <= (lowest + log(1.001) if objective == "mix" else lowest * 1.001)]
    others = sorted((name for name in names if name not in ties), key=lambda name: score[name])
    best, second = ties[0], (others or ties[1:])[0]
    top, bottom = (asked[one].get(objective) for one in (second, best))
    sure = objective == "memory" or bool(top and bottom and priced.ratio(top, bottom).above(1))
    ratio = exp(score[second] - lowest) if objective == "mix" else score[second] / lowest
    return {"best": best, "second": second, "ties": ", ".join(ties), "ratio": ratio, "clear": bool(others) and sure}


@few
@given(st.sets(st.sampled_from(NAMES), min_size=2, max_size=4), works, st.sampled_from(OBJECTIVES))
def test_decision_equals_plain_python(names: set[str], work: sim.Workload, objective: str) -> None:
    priced, x, y = sim.load_costs(), ("reads", [work.reads]), ("writes", [work.writes])
    [found] = sim.df_decision(priced, objective, sorted(names), work, x, y).to_dict("records")
    wanted = plain_decision(sorted(names), work, priced, objective)
    assert found["ratio"] == pytest.approx(wanted.pop("ratio"), rel=1e-9)
    assert {name: found[name] for name in wanted} == wanted


def test_break_even_is_where_total_work_crosses() -> None:
    priced, work = sim.load_costs(), sim.Workload(16 << 30)
    assert _break_even(core(), ["pte_marker", "pud_marker"], 1, work, priced)[3] == -1, "PUD markers are never behind"
    mine = sim.named("pmd_marker").replace(name="mine", spread="huge page", thp=True, resolve="pmd")
    from_, to, _, other, decided = _break_even(core(), [mine, "pte_marker"], 0, work, priced)
    assert (other, decided) == (1, 1)

    def behind(power: float) -> bool:
        mine_, other_ = (
            price(sim.expect(d, replace(work, writes=int(2**power))).total, priced.vector) for d in (mine, "pte_marker")
        )
        return mine_ > other_ * 1.001

    turns = [behind(power) for power in (from_ - 0.01, from_ + 0.01, to - 0.01, to + 0.01)]
    assert turns == [False, True, True, False]


def _break_even(at: Core, designs: Sequence[Any], one: int, work: sim.Workload, priced: Costs) -> tuple[Any, ...]:
    packed = b"".join(sim.designs.record_of(design).packed() for design in designs)
    vectors_ = b"".join(map(pack, (priced.vector, *priced.draws)))
    with at.lent(packed) as a, at.lent(work.packed()) as b, at.lent(vectors_) as v, at.lent(bytes(32)) as answer:
        with at.lent(bytes(16 * (1 + len(priced.draws)))) as room:
            given_ = (v, len(priced.draws), priced.p95_error, room)
            assert at.call("ul_break_even", a, len(designs), one, work.pages, b, *given_, answer) == 0
        return struct.unpack("<3d2i", at.read(answer, 32))


# --- the same in a page ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engines() -> tuple[Core, Core]:
    pytest.importorskip("wasmtime")
    if core().name != "extension":
        pytest.skip("the extension was not built")
    return core(), WebAssembly()


def _in_both(engines: tuple[Core, Core], ask: Callable[[Core], Any]) -> None:
    here, there = (ask(engine) for engine in engines)
    assert here == there


@pytest.mark.parametrize("objective", range(len(OBJECTIVES)))
def test_webassembly_decisions_equal_extension(engines: tuple[Core, Core], objective: int) -> None:
    priced = sim.load_costs()
    packed = b"".join(sim.DESIGNS[name].packed() for name in sorted(NAMES))
    vectors_ = b"".join(map(pack, (priced.vector, *priced.draws)))
    for writes in (0, 100, 10**6):
        work = sim.Workload(16 << 30, 0.25, 64, writes=writes)

        def ask(at: Core, work: sim.Workload = work) -> bytes:
            sizes = (16 * (1 + len(priced.draws)), 48 * len(NAMES), 48)
            weights = struct.pack("<4d", 0.1, 0.2, 0.3, 0.4)
            with at.lent(packed + work.packed() + weights + vectors_ + bytes(sum(sizes))) as a:
                b, w = a + len(packed), a + len(packed) + len(work.packed())
                v, room = w + 32, w + 32 + len(vectors_)
                out = room + sizes[0]
                given_ = (v, len(priced.draws), priced.p95_error, room)
                at.call("ul_decide", a, len(NAMES), work.pages, b, objective, w, *given_, out, out + sizes[1])
                return at.read(out, sizes[1] + sizes[2])

        _in_both(engines, ask)


def test_webassembly_break_even_and_latencies_equal_extension(engines: tuple[Core, Core]) -> None:
    priced, work = sim.load_costs(), sim.Workload(16 << 30, 0.1, reads=1000)
    mine = sim.named("pmd_marker").replace(name="mine", spread="huge page", thp=True, resolve="pmd")
    _in_both(engines, lambda at: struct.pack("<3d2i", *_break_even(at, [mine, *sorted(NAMES)], 0, work, priced)))
    vectors_ = b"".join(map(pack, (priced.vector, *priced.draws)))
    shapes = struct.pack("<1024d", *(float(code % 7) for code in range(1024)))

    def ask(at: Core) -> Any:
        with at.lent(mine.packed()) as d, at.lent(shapes) as s, at.lent(vectors_) as v, at.lent(bytes(56 * 512)) as out:
            with at.lent(bytes(16 * (1 + len(priced.draws)))) as room:
                found = at.call("ul_latencies", d, 2, s, v, len(priced.draws), priced.p95_error, room, out)
            return found, at.read(out, 56 * found), at.call("ul_tail", out, found)

    _in_both(engines, ask)
