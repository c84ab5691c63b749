# SPDX-License-Identifier: MIT
"""Is the simulator as fast as its use needs? Ratios and times of one run; goals stand in README.md.

Random faults are compared with bare random reads of as much state as they touched: both wait for memory.

Usage: python benchmarks/simulator.py [--rounds 7] [--out benchmarks/results/simulator.json]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from recorded import plain

from uffdlab import outfile
from uffdlab.datasets.provenance import allowed
from uffdlab.host import facts
from uffdlab.sim import DESIGNS, Range, Workload, events, expect, load_costs, sweep
from uffdlab.sim.core import WebAssembly
from uffdlab.stats import Estimate, median_interval

HERE = Path(__file__).parent
TIB = 1 << 40
TOUCHES = 4_000_000
PRICED = 20


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def protect_all() -> float:
    """Return the seconds of protecting 16 TiB under every named design, pre-faulting included."""
    ranges = [Range(design, 16 * TIB) for design in DESIGNS.values()]
    return timed(lambda: [(one.prefault(), one.protect()) for one in ranges])


def random_faults() -> tuple[float, float, float]:
    """Return seconds of random writes over 1 TiB, bytes of state per 2 MiB touched, and bytes of state."""
    memory = Range(DESIGNS["pte_marker"], TIB, touches=TOUCHES)
    memory.protect()
    before = memory.used_bytes
    seconds = timed(lambda: memory.touch_many(TOUCHES, "uniform", write=True))
    grown = memory.used_bytes - before
    touched = expect(DESIGNS["pmd_marker"], Workload(TIB, writes=TOUCHES)).touches["spread_pmd"]
    return seconds, grown / touched, grown


def bare_reads(program: Path, size: float) -> float:
    """Return the seconds that as many random reads of as much memory take."""
    asked = [program, str(int(size)), str(TOUCHES)]
    return float(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)


def sweeps() -> float:
    """Return the seconds of 10 000 configurations in expected values."""
    designs = [DESIGNS[name] for name in ("preread", "pte_marker", "pmd_marker", "pud_marker")]
    works = [Workload(1 << 36, step / 2500, 64, writes=1000) for step in range(2500)]
    costs = dict.fromkeys(events(), 1.0)
    return timed(lambda: [sweep(design, works, [costs]) for design in designs])


def pricing() -> float:
    """Return the seconds of pricing a ledger with the interval of the 200 draws of the committed costs."""
    costs, ledger = load_costs(), expect("pmd_marker", Workload(1 << 36, 0.3, 64, 1000, 1000)).total
    costs.price(ledger)  # packs the draws
    return timed(lambda: [costs.price(ledger) for _ in range(PRICED)]) / PRICED


def slider_step() -> float:
    """Return the seconds that WebAssembly takes for the expected values of every named design."""
    engine, names = WebAssembly(), len(events())
    calls = []
    for design in DESIGNS.values():
        work = Workload(TIB, 0.3, 1 << 18 if design.leaf == "pud" else 512, 1000, 1000)
        given = [design.packed(), work.packed()]
        addresses = [engine.take(len(content)) for content in given]
        for address, content in zip(addresses, given, strict=True):
            engine.write(address, content)
        answers = [engine.take(size) for size in (8 * names, 8 * names, 8 * 1024, 48)]
        calls.append((addresses[0], work.pages, addresses[1], *answers))
    return timed(lambda: [engine.call("ul_expect", *call) for call in calls])


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "simulator.json")
    asked = parser.parse_args()
    samples: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as build:
        program = Path(build) / "random_reads"
        subprocess.run(["cc", "-O2", "-o", program, HERE / "random_reads.c"], check=True)
        for _ in range(asked.rounds):
            faults, per_pmd, state = random_faults()
            one = {
                "protect 16 TiB, all designs (s)": protect_all(),
                "random faults / bare random reads": faults / bare_reads(program, state),
                "state per touched 2 MiB (B)": per_pmd,
                "one step of a slider in WebAssembly, all designs (s)": slider_step(),
                "10 000 expected configurations, from Python (s)": sweeps(),
                "a price with the interval of 200 draws, from Python (s)": pricing(),
            }
            for name, value in one.items():
                samples.setdefault(name, []).append(value)
    found: dict[str, Estimate] = {name: median_interval(values) for name, values in samples.items()}
    for name, estimate in found.items():
        print(f"{name}: {estimate.value:.4g} ({estimate.low} .. {estimate.high}, n = {estimate.n})")
    record = {"found": {name: plain(one) for name, one in found.items()}, "host": allowed(facts.collect())}
    outfile.write(asked.out, (json.dumps(record) + "\n").encode())


if __name__ == "__main__":
    main()
