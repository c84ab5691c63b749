# SPDX-License-Identifier: MIT
"""Does the package's probe cost what a bare C program costs? One UFFDIO_WRITEPROTECT, markers, untouched memory.

A round is four new processes on one CPU, the bare program twice and the probe twice, that take their samples in turn:
a sample of each, in an order drawn anew, and so on. A pair is thus a few milliseconds apart, and whatever the machine
does meanwhile (its clock, its other guests, its free lists) it does to both. A round gives the median of the quotients
of its later samples; the answer is the median over rounds, with its interval; beside it each program against itself.

Usage: python benchmarks/one_ioctl.py [--rounds 61] [--size 1GiB] [--out benchmarks/results/one_ioctl.json]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from recorded import plain

from uffdlab import outfile
from uffdlab.datasets.provenance import allowed
from uffdlab.host import facts
from uffdlab.probes import protect
from uffdlab.stats import Estimate, median_interval
from uffdlab.units import format_ns, parse_size

HERE = Path(__file__).parent
SAMPLES = 20  # of each process in a round
COLD = 4  # the first of them, which do not count
RATIOS = {
    "probe / bare": (("probe", "bare"), ("probe again", "bare again")),
    "bare / bare (A/A)": (("bare again", "bare"),),
    "probe / probe (A/A)": (("probe again", "probe"),),
}
Times = dict[str, list[int]]


def serve(size: int) -> None:
    """Take one sample with the package's probe for each line of standard input, as a campaign's child takes them."""
    rows = protect.run(protect.ProtectSpec("anon", "pte_marker", size, repeats=1_000_000))
    samples = (row for table, row in rows if table == "samples")
    for _ in sys.stdin:
        print(next(samples)["protect_ns"], flush=True)


def one_round(commands: dict[str, list[str]], rng: random.Random) -> Times:
    """Return the times in ns that each of the four processes measured, sample by sample in turn."""
    processes = {
        name: subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name, command in commands.items()
    }
    times: Times = {name: [] for name in processes}
    for _ in range(SAMPLES):
        for name in rng.sample(list(processes), len(processes)):
            asked, answers = processes[name].stdin, processes[name].stdout
            assert asked is not None
            assert answers is not None
            asked.write("\n")
            asked.flush()
            times[name].append(int(answers.readline()))
    for process in processes.values():
        process.communicate()
    return times


def ratio(rounds: list[Times], pairs: tuple[tuple[str, str], ...]) -> Estimate:
    """Return the median over rounds of the median quotient within a round, with its 95 % interval."""
    quotients = [
        median(t / b for top, bottom in pairs for t, b in zip(one[top][COLD:], one[bottom][COLD:], strict=True))
        for one in rounds
    ]
    return median_interval(quotients)


def main() -> None:
    """Build the bare program, measure, print, and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=61)
    parser.add_argument("--size", type=parse_size, default=parse_size("1GiB"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "one_ioctl.json")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.size)
        return
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as build:
        program = str(Path(build) / "bare_protect")
        subprocess.run(["cc", "-O2", "-o", program, HERE / "bare_protect.c"], check=True)
        bare = [program, str(asked.size)]
        probe = [sys.executable, __file__, "--serve", "--size", str(asked.size)]
        commands = {"bare": bare, "bare again": bare, "probe": probe, "probe again": probe}
        rng = random.Random(1)
        rounds = [one_round(commands, rng) for _ in range(asked.rounds)]
    compared = {name: ratio(rounds, pairs) for name, pairs in RATIOS.items()}
    usual = median(time for one in rounds for time in one["bare"][COLD:])
    print(f"bare median {format_ns(usual)}, {asked.rounds} rounds of {SAMPLES - COLD} pairs")
    for name, found in compared.items():
        print(f"{name}: {found.value:.4f}  95 % interval {found.low:.4f} .. {found.high:.4f}")
    record = {
        "size_kib": asked.size // 1024,
        "ratios": {name: plain(found) for name, found in compared.items()},
        "rounds_ns": rounds,
        "host": allowed(facts.collect()),
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    outfile.write(asked.out, (json.dumps(record) + "\n").encode())


if __name__ == "__main__":
    main()
