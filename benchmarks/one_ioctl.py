# SPDX-License-Identifier: MIT
"""Does the package's probe cost what a bare C program costs? One UFFDIO_WRITEPROTECT, markers, untouched memory.

Each round runs the bare program, the probe, and each of them once more (the A/A pairs), in an order drawn anew, all on
one CPU. A process gives the median of the later half of its samples, when both programs have been running long enough
for the processor to be awake. The answer is the median over rounds of both probes to both bare programs, with its
interval; beside it each program against itself.

Usage: python benchmarks/one_ioctl.py [--pairs 41] [--size 1GiB] [--out benchmarks/results/one_ioctl.json]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from uffdlab.host import facts
from uffdlab.probes import runner
from uffdlab.probes.protect import ProtectSpec
from uffdlab.provenance import allowed
from uffdlab.stats import Estimate, median_interval
from uffdlab.units import format_ns, parse_size

HERE = Path(__file__).parent
SAMPLES = 40  # in each process; the later half counts


def bare(program: Path, size: int) -> list[int]:
    """Return the times in ns of one run of the bare program."""
    said = subprocess.run([program, str(size), str(SAMPLES)], check=True, capture_output=True, text=True).stdout
    return [int(line) for line in said.split()]


def probe(size: int) -> list[int]:
    """Return the times in ns of the package's probe, run as a campaign runs it."""
    spec = asdict(ProtectSpec("anon", "pte_marker", size, repeats=SAMPLES))
    rows = runner.run([runner.Block(0, "protect", spec)])
    return [row["protect_ns"] for row in rows.tables["samples"]]


def pairs(program: Path, size: int, count: int) -> list[dict[str, list[int]]]:
    """Measure ``count`` rounds of four processes each, in an order drawn anew."""
    rng = random.Random(1)
    rounds = []
    for _ in range(count):
        jobs = dict.fromkeys(("bare", "bare_again"), bare) | dict.fromkeys(("probe", "probe_again"), probe)
        order = list(jobs)
        rng.shuffle(order)
        rounds.append({name: bare(program, size) if jobs[name] is bare else probe(size) for name in order})
    return rounds


def later(times: list[int]) -> float:
    """Return the median of the later half."""
    return median(times[len(times) // 2 :])


def ratio(rounds: list[dict[str, list[int]]], top: Sequence[str], bottom: Sequence[str]) -> Estimate:
    """Return the median over rounds of the processes above the line to those below it, with its 95 % interval."""
    quotients = [sum(later(one[t]) for t in top) / sum(later(one[b]) for b in bottom) for one in rounds]
    return median_interval(quotients)


def main() -> None:
    """Build the bare program, measure, print, and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=41)
    parser.add_argument("--size", type=parse_size, default=parse_size("1GiB"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "one_ioctl.json")
    asked = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as build:
        program = Path(build) / "bare_protect"
        subprocess.run(["cc", "-O2", "-o", program, HERE / "bare_protect.c"], check=True)
        rounds = pairs(program, asked.size, asked.pairs)
    compared = {
        "probe / bare": ratio(rounds, ("probe", "probe_again"), ("bare", "bare_again")),
        "bare / bare (A/A)": ratio(rounds, ("bare_again",), ("bare",)),
        "probe / probe (A/A)": ratio(rounds, ("probe_again",), ("probe",)),
    }
    print(f"bare median {format_ns(median(later(one['bare']) for one in rounds))}, {asked.pairs} rounds")
    for name, found in compared.items():
        print(f"{name}: {found.value:.4f}  95 % interval {found.low:.4f} .. {found.high:.4f}")
    record = {
        "size_kib": asked.size // 1024,
        "ratios": {name: asdict(found) for name, found in compared.items()},
        "rounds_ns": rounds,
        "host": allowed(facts.collect()),
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
