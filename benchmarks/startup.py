# SPDX-License-Identifier: MIT
"""How long a reader waits for ``import uffdlab``, ``uffdlab --help`` and ``uffdlab ask``: whole processes, interleaved.

A process that does nothing is measured beside them, so that the interpreter's own start can be told apart.

Usage: python benchmarks/startup.py [--runs 31] [--out benchmarks/results/startup.json]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path

from recorded import plain

from uffdlab import outfile
from uffdlab.datasets.provenance import allowed
from uffdlab.host import facts
from uffdlab.stats import median_interval
from uffdlab.units import format_ns

COMMANDS = {
    "nothing": ["-c", "pass"],
    "import uffdlab": ["-c", "import uffdlab"],
    "uffdlab --help": ["-m", "uffdlab", "--help"],
    "uffdlab ask": ["-m", "uffdlab", "ask", "protect; write"],
    "uffdlab ask --recorded": ["-m", "uffdlab", "ask", "--recorded", "protect; discard; write"],
}


def once(arguments: list[str]) -> int:
    """Return how long one process took, in ns."""
    start = time.monotonic_ns()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic_ns() - start


def main() -> None:
    """Measure, print, and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=31)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "startup.json")
    asked = parser.parse_args()
    rng = random.Random(1)
    times: dict[str, list[int]] = {name: [] for name in COMMANDS}
    for _ in range(asked.runs):
        for name in rng.sample(list(COMMANDS), len(COMMANDS)):
            times[name].append(once(COMMANDS[name]))
    for name, found in times.items():
        one = median_interval(found)
        print(f"{name}: {format_ns(one.value)} ({format_ns(one.low or 0)} to {format_ns(one.high or 0)}), n = {one.n}")
    estimates = {name: plain(median_interval(found)) for name, found in times.items()}
    record = {"estimates_ns": estimates, "times_ns": times, "host": allowed(facts.collect())}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    outfile.write(asked.out, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
