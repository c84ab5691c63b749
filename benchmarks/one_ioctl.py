# SPDX-License-Identifier: MIT
"""Does the package's probe cost what a bare C program costs? One UFFDIO_WRITEPROTECT, markers, untouched memory.

Each pair runs the bare program, the probe, and each of them once more (the A/A pairs), in an order drawn anew; a
process gives the median of its warm samples. The answer is the median of the paired ratios with its interval.

Usage: python benchmarks/one_ioctl.py [--pairs 41] [--size 1GiB] [--out benchmarks/results/one_ioctl.json]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
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
SAMPLES = 4  # in each process: one cold, then three warm


def bare(program: Path, size: int) -> float:
    """Return the median warm time in ns of the bare program."""
    said = subprocess.run([program, str(size), str(SAMPLES)], check=True, capture_output=True, text=True).stdout
    return median(int(line) for line in said.split()[1:])


def probe(size: int) -> float:
    """Return the median warm time in ns of the package's probe, run as a campaign runs it."""
    spec = asdict(ProtectSpec("anon", "pte_marker", size, repeats=SAMPLES))
    rows = runner.run([runner.Block(0, "protect", spec)])
    return median(row["protect_ns"] for row in rows.tables["samples"] if not row["cold"])


def pairs(program: Path, size: int, count: int) -> list[dict[str, float]]:
    """Measure ``count`` rounds of four processes each, in an order drawn anew."""
    rng = random.Random(1)
    rounds = []
    for _ in range(count):
        jobs = dict.fromkeys(("bare", "bare_again"), bare) | dict.fromkeys(("probe", "probe_again"), probe)
        order = list(jobs)
        rng.shuffle(order)
        rounds.append({name: bare(program, size) if jobs[name] is bare else probe(size) for name in order})
    return rounds


def ratio(rounds: list[dict[str, float]], top: str, bottom: str) -> Estimate:
    """Return the median of the paired ratios with its 95 % interval."""
    return median_interval([one[top] / one[bottom] for one in rounds])


def main() -> None:
    """Build the bare program, measure, print, and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=41)
    parser.add_argument("--size", type=parse_size, default=parse_size("1GiB"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "one_ioctl.json")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as build:
        program = Path(build) / "bare_protect"
        subprocess.run(["cc", "-O2", "-o", program, HERE / "bare_protect.c"], check=True)
        rounds = pairs(program, asked.size, asked.pairs)
    compared = {
        "probe / bare": ratio(rounds, "probe", "bare"),
        "bare / bare (A/A)": ratio(rounds, "bare_again", "bare"),
        "probe / probe (A/A)": ratio(rounds, "probe_again", "probe"),
    }
    print(f"bare median {format_ns(median(one['bare'] for one in rounds))}, {asked.pairs} rounds")
    for name, found in compared.items():
        print(f"{name}: {found.value:.4f}  95 % interval {found.low:.4f} .. {found.high:.4f}")
    record = {
        "size_kib": asked.size // 1024,
        "ratios": {name: asdict(found) for name, found in compared.items()},
        "rounds_ns": rounds,
        "host": allowed(facts.collect()),
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
