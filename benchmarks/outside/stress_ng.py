# SPDX-License-Identifier: MIT
"""stress-ng's time per userfault beside ours: whole event round trips, interleaved in one run.

stress-ng registers MISSING only. A clone that shares the address space discards 256 MiB and writes one byte to each
page; its parent polls, reads one message, and resolves with UFFDIO_COPY or UFFDIO_ZEROPAGE, by a coin. Its "nanosecs
per page fault" runs from before that poll until after the ioctl: it holds the wait for the next fault, that is the
other side's wake-up and the page it fills meanwhile, and leaves out only the bookkeeping between two rounds. After a
UFFDIO_ZEROPAGE the write faults once more, in the kernel alone.

Ours is the package's handler thread (poll, read, one ioctl) and the time of the touching loop, per page of fresh
memory:

``missing, write``  MISSING, resolved with UFFDIO_COPY of zeros, writable
``missing, read``   MISSING, resolved with UFFDIO_COPY of zeros, protected in the same step
``marker, write``   WP_UNPOPULATED, protected while empty; a write-protect event, resolved by un-protecting

Each round runs stress-ng and the three, in an order drawn anew, each in processes of its own; once where the scheduler
likes and once on one CPU.

Usage: python benchmarks/outside/stress_ng.py [--rounds 15] [--seconds 1] [--out benchmarks/results/stress_ng.json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from uffdlab import outfile
from uffdlab.datasets.provenance import allowed
from uffdlab.errors import UffdlabError
from uffdlab.host import facts
from uffdlab.probes.userfault import READ, WRITE, mapped, opened
from uffdlab.stats import Estimate, median_interval
from uffdlab.units import format_ns
from uffdlab.vocabulary.backings import BACKINGS, MIB

RESULTS = Path(__file__).parents[1] / "results" / "stress_ng.json"
SIZE = 256 * MIB  # stress-ng's own
HANDLER_TIMEOUT_S = 60.0
FEATURES: dict[str, tuple[str, ...]] = {"missing": (), "marker": ("WP_UNPOPULATED",)}
OURS = ("missing, write", "missing, read", "marker, write")
THEIRS = "stress-ng"
WHOLE = "stress-ng, all it did"


def read_yaml(said: str) -> dict[str, float]:
    """Return ns per fault as stress-ng counts it, and its whole run divided by the faults it handled."""
    numbers = {
        name: re.search(rf"^ +{name}: ([0-9.]+)$", said, re.M)
        for name in ("bogo-ops", "wall-clock-time", "nanosecs-per-page-fault")
    }
    absent = [name for name, found in numbers.items() if not found]
    if absent:
        raise UffdlabError(f"stress-ng did not report {', '.join(absent)}: is userfaultfd open to this user?")
    value = {name: float(found[1]) for name, found in numbers.items() if found}
    if not value["bogo-ops"]:
        raise UffdlabError("stress-ng handled no fault at all")
    whole = value["wall-clock-time"] * 1e9 / value["bogo-ops"]
    return {THEIRS: value["nanosecs-per-page-fault"], WHOLE: whole}


def stress_ng(seconds: int) -> dict[str, float]:
    """Run stress-ng once."""
    with tempfile.TemporaryDirectory() as directory:
        told = Path(directory) / "metrics.yaml"
        command = ["stress-ng", "--userfaultfd", "1", "-t", str(seconds), "--metrics", "--yaml", told]
        try:
            subprocess.run(command, check=True, capture_output=True, cwd=directory)
        except FileNotFoundError as error:
            raise UffdlabError("stress-ng is not installed: install Debian's package stress-ng") from error
        return read_yaml(told.read_text())


def ours(which: str) -> float:
    """Return ns per page of one pass over fresh memory, in this process."""
    kind, how = which.split(", ")
    backing = BACKINGS["anon"]
    with mapped(backing, SIZE) as memory, opened(FEATURES[kind]) as uffd:
        uffd.register(memory, missing=kind == "missing")
        if kind == "marker":
            uffd.protect(memory)
        with uffd.handled(backing.page_bytes, HANDLER_TIMEOUT_S) as events:
            ns = memory.touch(READ if how == "read" else WRITE)
    pages = SIZE // backing.page_bytes
    seen = events.missing if kind == "missing" else events.wp
    if seen != pages or events.failed:
        raise UffdlabError(
            f"{which}: {seen} events for {pages} pages, {events.failed} unresolved: not a round trip each"
        )
    return ns / pages


def one_round(rng: random.Random, seconds: int) -> dict[str, float]:
    """Measure stress-ng and ours once each, in an order drawn anew, each in a process of its own."""
    fresh = multiprocessing.get_context("spawn")
    times: dict[str, float] = {}
    jobs: dict[str, Callable[[], dict[str, float]]] = {THEIRS: lambda: stress_ng(seconds)}
    for name in rng.sample([THEIRS, *OURS], 1 + len(OURS)):
        if name in jobs:
            times |= jobs[name]()
            continue
        with fresh.Pool(1) as child:  # inherits the CPUs of this process
            times[name] = child.apply(ours, (name,))
    return times


def estimates(rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Return the median of each, and of stress-ng's own figure to each within a round, with intervals.

    Within a round, because a busy machine slows what runs in the same seconds alike.
    """
    columns = {name: [one[name] for one in rounds] for name in (THEIRS, WHOLE, *OURS)}
    medians: dict[str, Estimate] = {name: median_interval(values) for name, values in columns.items()}
    ratios = {name: median_interval([one[THEIRS] / one[name] for one in rounds]) for name in (WHOLE, *OURS)}
    return {
        "ns_per_fault": {name: asdict(found) for name, found in medians.items()},
        "stress_ng_over": {name: asdict(found) for name, found in ratios.items()},
    }


def show(title: str, found: dict[str, Any]) -> None:
    """Print one line per measurement."""
    print(title)
    for name, time in found["ns_per_fault"].items():
        ratio = found["stress_ng_over"].get(name)
        beside = "" if ratio is None else f"; stress-ng / this {_interval(ratio, '.3f')}"
        low, high = (format_ns(time[end]) if time[end] else "?" for end in ("low", "high"))
        print(f"  {name}: {format_ns(time['value'])} ({low} .. {high}), n = {time['n']}{beside}")


def _interval(found: dict[str, Any], form: str) -> str:
    if found["low"] is None:
        return f"{found['value']:{form}} (too few rounds for an interval)"
    return f"{found['value']:{form}} ({found['low']:{form}} .. {found['high']:{form}})"


def measure(rounds: int, seconds: int) -> dict[str, list[dict[str, float]]]:
    """Interleave rounds on all CPUs with rounds on one."""
    rng = random.Random(1)
    everywhere = os.sched_getaffinity(0)
    places = {"any CPU": everywhere, "one CPU": {max(everywhere)}}
    times: dict[str, list[dict[str, float]]] = {name: [] for name in places}
    try:
        for _ in range(rounds):
            for name in rng.sample(list(places), len(places)):
                os.sched_setaffinity(0, places[name])
                times[name].append(one_round(rng, seconds))
    finally:
        os.sched_setaffinity(0, everywhere)
    return times


def main() -> int:
    """Measure, print, and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=1, help="how long stress-ng runs each time")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    try:
        version = (
            subprocess.run(["stress-ng", "--version"], capture_output=True, text=True).stdout.split(" (")[0].strip()
        )
        times = measure(asked.rounds, asked.seconds)
    except FileNotFoundError:
        print("stress_ng: stress-ng is not installed: install Debian's package stress-ng", file=sys.stderr)
        return 2
    except UffdlabError as error:
        print(f"stress_ng: {error}", file=sys.stderr)
        return 2
    found = {name: estimates(rounds) for name, rounds in times.items()}
    for name, one in found.items():
        show(name, one)
    record = {"version": version, "size_kib": SIZE // 1024, "estimates": found, "rounds_ns": times}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    outfile.write(asked.out, (json.dumps(record | {"host": allowed(facts.collect())}, indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
