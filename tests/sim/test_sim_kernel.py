# SPDX-License-Identifier: MIT
"""The ledger beside this very kernel: faults, tables and zeropages, at random sizes, offsets and populated fractions.

What the process does besides only adds, so each sequence runs up to five times and the least counts. A range lies
between two others that are populated: the tables above it are there already, as the simulator has it of its last one.
"""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

from uffdlab import datasets
from uffdlab.probes.userfault import READ, WRITE, KernelRefused, counters, mapped, opened
from uffdlab.probes.userfault import Range as Real
from uffdlab.sim import DESIGNS, Range, faults, measured, table_growth_kib
from uffdlab.vocabulary.backings import BACKINGS, MIB

pytestmark = pytest.mark.uffd

PAGE = 4096
SPAN = 16 * MIB
# Without WP_ASYNC (which implies markers) a write to a protected page would wait for a handler: there is none after the
# first protection.
FEATURES: dict[str, tuple[str, ...]] = {
    "pte_marker": ("WP_UNPOPULATED", "WP_ASYNC"),
    "unprotected": (),
    "populate_read": (),
}
Step = tuple[str, int, int]  # what, first page, how many


def _steps(rng: random.Random, design: str) -> list[Step]:
    pages = SPAN // PAGE

    def part() -> tuple[int, int]:
        first = rng.choice([0, rng.randrange(pages), rng.randrange(pages // 512) * 512])
        return first, rng.choice([1, rng.randint(1, pages - first), min(512, pages - first), pages - first])

    kinds = ["read", "protect", "protect", "unprotect", "discard"] + ["write"] * (design == "pte_marker")
    beforehand: list[Step] = [("write", *part()) for _ in range(rng.randint(0, 2))]
    if design == "populate_read":
        beforehand.append(("prefault", 0, pages))
    return beforehand + [(rng.choice(kinds), *part()) for _ in range(rng.randint(2, 6))]


def _really(design: str, steps: list[Step]) -> dict[str, int]:
    """Return what the kernel counted: minor faults, growth of VmPTE (KiB) and zeropages mapped (4 KiB)."""
    backing = BACKINGS["anon"]
    with mapped(backing, SPAN + 4 * MIB) as memory, opened(FEATURES[design]) as uffd:
        for edge in (0, SPAN + 2 * MIB):
            Real(backing, memory.address + edge, 2 * MIB).touch(WRITE)
        whole = Real(backing, memory.address + 2 * MIB, SPAN)
        uffd.register(whole, missing=False)
        before = counters()
        for what, first, count in steps:
            part = Real(backing, whole.address + first * PAGE, count * PAGE)
            if what in ("read", "write"):
                part.touch(WRITE if what == "write" else READ)
            elif what == "discard":
                part.discard()
            elif what == "prefault":
                part.populate_read()
            else:
                uffd.protect(part, on=what == "protect")
        after, zeropages = counters(), whole.zeropages()
    return {
        "faults": after.minor_faults - before.minor_faults,
        "tables_kib": after.vm_pte_kib - before.vm_pte_kib,
        "zeropages": -1 if zeropages is None else zeropages,
    }


def _simulated(design: str, steps: list[Step]) -> dict[str, float]:
    memory = Range(DESIGNS[design].replace(asynchronous=True), SPAN + 4 * MIB, touches=len(steps) * SPAN // PAGE + 4096)
    edges = 2 * MIB // PAGE
    memory.touch_all(0, edges, write=True)
    memory.touch_all(edges + SPAN // PAGE, edges, write=True)
    memory.start_phase()
    for what, first, count in steps:
        if what in ("read", "write"):
            memory.touch_all(edges + first, count, write=what == "write")
        else:
            getattr(memory, what)(edges + first, count)
    ledger = memory.ledger()
    zeropages = sum(memory.entry(edges + page).kind == "zeropage" for page in range(SPAN // PAGE))
    return {"faults": faults(ledger), "tables_kib": table_growth_kib(ledger), "zeropages": zeropages}


@pytest.mark.parametrize("design", list(FEATURES))
@pytest.mark.parametrize("seed", range(12))
def test_kernel_counts_equal_ledger(design: str, seed: int) -> None:
    steps = _steps(random.Random(1000 * seed + len(design)), design)
    expected = _simulated(design, steps)
    counted: dict[str, Any] = {}
    for _ in range(5):
        try:
            run = _really(design, steps)
        except KernelRefused as refused:
            pytest.skip(str(refused))
        if run["zeropages"] < 0:
            expected["zeropages"] = -1
        counted = {name: min(run[name], counted.get(name, run[name])) for name in run}
        if counted == expected:
            break
    assert counted == expected, steps


def test_racing_threads_fault_at_least_as_often_as_ledger() -> None:
    """Of two threads that fault for one page both complete a fault, or one: the ledger is a lower bound."""
    pages = SPAN // PAGE
    with mapped(BACKINGS["anon"], SPAN) as memory:
        before = counters().minor_faults
        racing = [threading.Thread(target=memory.touch, args=(WRITE,)) for _ in range(2)]
        for one in racing:
            one.start()
        for one in racing:
            one.join()
        counted = counters().minor_faults - before
    simulated = Range(DESIGNS["unprotected"], SPAN, touches=pages)
    simulated.touch_all(write=True)
    assert faults(simulated.ledger()) == pages
    assert pages <= counted <= 2 * pages + 256, "what else starting two threads touches"


@pytest.mark.parametrize("access", ["read", "write"])
def test_threads_on_disjoint_pages_fault_as_ledger(access: str) -> None:
    """As the committed campaign measured it, in halves and in turns; a process may take a fault of its own besides."""
    data = datasets.load(datasets.locate(None))
    rows = data.table("faults")
    rows = rows[(rows.threads == 2) & (rows.backing == "anon") & ~rows.cold]
    compared = 0
    for key, group in rows.groupby(["preparation", "delivery", "size_kib", "stride_kib"]):
        preparation, delivery, size_kib, stride_kib = key  # type: ignore[misc]
        ledgers = measured.fault_ledgers("anon", preparation, delivery, access, int(size_kib), int(stride_kib))
        for touch, ledger in ledgers.items():
            counted = group[group.touch == touch].minor_faults
            assert set(counted - faults(ledger)) <= {0, 1}, (key, touch)
            compared += len(counted)
    assert compared > 500
