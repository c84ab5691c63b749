# SPDX-License-Identifier: MIT
"""Numbers that committed data gives, line by line: every verdict of every dataset, every design of the simulator.

``committed_numbers.golden.txt`` holds what was looked at and found right. The command in ``ACCEPT`` accepts a change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from making import ROOT

from uffdlab import claims, datasets, sim

GOLDEN = Path(__file__).with_name("committed_numbers.golden.txt")
ACCEPT = "PYTHONPATH=tests/helpers python tests/test_committed_numbers.py"
WORKLOADS = (sim.Workload(1 << 30), sim.Workload(1 << 30, populated=0.3, reads=100, writes=500))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.9g}"


def _estimate(value: float | None, low: float | None, high: float | None) -> str:
    return f"{_number(value)} ({_number(low)} to {_number(high)})"


def verdict_lines(path: Path) -> Iterator[str]:
    evidence = claims.evidence_of(datasets.load(path))
    for one in claims.verdicts(evidence):
        low, high = one.interval or (None, None)
        yield f"{path.name} {one.id}: {one.verdict}, {_estimate(one.effect, low, high)}"


def design_lines(name: str) -> Iterator[str]:
    costs = sim.load_costs()
    for work in WORKLOADS:
        found = sim.expect(sim.DESIGNS[name], work)
        for what, ledger in (("protect", found.protect), ("total", found.total)):
            price = costs.price(ledger)
            counted = json.dumps({event: float(f"{n:.9g}") for event, n in ledger.items() if n}, sort_keys=True)
            yield f"{name} {work.populated} {what}: {_estimate(price.value, price.low, price.high)} {counted}"
        yield f"{name} {work.populated} KiB: tables {found.tables_kib}, pages {found.pages_kib}"


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    path.name: partial(verdict_lines, path) for path in sorted((ROOT / "data").iterdir()) if path.is_dir()
}
PARTS |= {name: partial(design_lines, name) for name in sim.DESIGNS}


@pytest.mark.parametrize("part", PARTS)
def test_committed_data_gives_the_same_numbers(part: str) -> None:
    golden = [line for line in GOLDEN.read_text(encoding="utf-8").splitlines() if line.startswith(f"{part} ")]
    assert list(PARTS[part]()) == golden, f"to accept: {ACCEPT}"


if __name__ == "__main__":
    GOLDEN.write_text("".join(f"{line}\n" for lines in PARTS.values() for line in lines()), encoding="utf-8")
