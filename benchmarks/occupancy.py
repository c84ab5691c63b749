# SPDX-License-Identifier: MIT
"""How long a look at a large sparse process takes: 100 GiB mapped, 10 GiB of it present.

For each way of writing the 10 GiB, a process holds the mapping and is looked at again and again: by ``uffdlab scan`` as
a whole command, and by both methods within one process, where the bitmap is made too. What the kernel counts for that
process must be the same before and after. Then the processor time of the whole command for processes of many mappings,
of 2 MiB each and half of them written to: it has to grow as their number does.

Usage: python benchmarks/occupancy.py [--size 100GiB] [--present 10GiB] [--runs 7] [--mappings N,N] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recorded import plain

from uffdlab import occupancy, outfile, starting
from uffdlab.datasets import bitmap
from uffdlab.datasets.provenance import allowed
from uffdlab.host import facts
from uffdlab.occupancy import process
from uffdlab.probes.occupancy_target import Content, held
from uffdlab.stats import median_interval
from uffdlab.units import format_ns, format_size, parse_size

HERE = Path(__file__).parent
WAYS = {"uniform": ("anon", False), "clustered": ("anon", True), "clustered, THP": ("anon_thp", True)}


def command(pid: int) -> int:
    """Return how long the whole command took, in ns."""
    start = time.monotonic_ns()
    subprocess.run(starting.python("uffdlab", "scan", str(pid), "--json"), check=True, stdout=subprocess.DEVNULL)
    return time.monotonic_ns() - start


def looks(pid: int, size: int, runs: int) -> dict[str, Any]:
    """Return the times in ns of every look, interleaved, and what the kernel counted before and after."""
    before = process.counters(pid)
    times: dict[str, list[int]] = {"PAGEMAP_SCAN": [], "pagemap": [], "uffdlab scan": []}
    for _ in range(runs):
        for method in occupancy.METHODS:
            times[method].append(occupancy.scan(pid, size, method).scan_ns)
        times["uffdlab scan"].append(command(pid))
    found = occupancy.scan(pid, size)
    kept = occupancy.scan(pid, size, keep_runs=True)
    start = time.monotonic_ns()
    content = bitmap.encode(occupancy.bitmap_of(kept))
    after = process.counters(pid)
    return {
        "times_ns": times,
        "estimates_ns": {name: plain(median_interval(ns)) for name, ns in times.items()},
        "shares": occupancy.as_dict(found)["totals"]["granularities"],
        "bitmap_bytes": len(content),
        "bitmap_encode_ns": time.monotonic_ns() - start,
        "counters_before": numbers(before),
        "counters_after": numbers(after),
    }


MANY = """
import mmap, sys
held = []
for number in range(int(sys.argv[1])):
    # Every other one may not be written to, or neighbours would become one mapping.
    access = mmap.PROT_READ | (mmap.PROT_WRITE if number % 2 else 0)
    held.append(mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=access))
    if number % 2:
        held[-1].madvise(mmap.MADV_NOHUGEPAGE)
        held[-1][number % 512 * 4096] = 1
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def of_many_mappings(count: int) -> Iterator[int]:
    """Yield a process of so many mappings; vm.max_map_count has to allow them."""
    command = [sys.executable, "-c", MANY, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            if child.stdout is None or child.stdout.readline() != b"\n":
                raise SystemExit(f"no process of {count} mappings: see /proc/sys/vm/max_map_count")
            yield child.pid
        finally:
            child.kill()


def processor_time(pid: int, *form: str) -> tuple[int, int]:
    """Return the processor time of one whole command in ns, user and system, and its largest memory in KiB."""
    argv = [sys.executable, "-m", "uffdlab", "scan", str(pid), *form]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as running:
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise SystemExit(f"uffdlab scan ended with status {running.returncode}")
    return int((usage.ru_utime + usage.ru_stime) * 1e9), usage.ru_maxrss


def many(counts: list[int], runs: int) -> dict[str, Any]:
    """Return what the command takes by number of mappings and form."""
    found: dict[str, Any] = {}
    for count in counts:
        with of_many_mappings(count) as pid:
            for form in ("--json", "text"):
                taken = [processor_time(pid, *([form] if form == "--json" else [])) for _ in range(runs)]
                estimate = plain(median_interval([ns for ns, _ in taken]))
                found[f"{count} mappings, {form}"] = {"cpu_ns": estimate, "memory_kib": max(kib for _, kib in taken)}
    return found


def numbers(counters: process.Counters) -> dict[str, int | None]:
    """Return the counters that a look must leave alone."""
    return {name: getattr(counters, name) for name in ("vm_pte_kib", "vm_rss_kib", "minor_faults")}


def main() -> None:
    """Measure, print, and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", default="100GiB")
    parser.add_argument("--present", default="10GiB")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--mappings", default="1000,16000,60000")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "occupancy.json")
    asked = parser.parse_args()
    size, present = parse_size(asked.size), parse_size(asked.present)
    record: dict[str, Any] = {"size_kib": size >> 10, "present_kib": present >> 10, "host": allowed(facts.collect())}
    for name, (backing, clustered) in WAYS.items():
        with held(Content(backing, size, present >> 12, seed=1, clustered=clustered)) as pid:
            record[name] = looks(pid, size, asked.runs)
        for what, one in record[name]["estimates_ns"].items():
            low, high = format_ns(one["low"] or 0), format_ns(one["high"] or 0)
            print(f"{name}, {what}: {format_ns(one['value'])} ({low} to {high}), n = {one['n']}")
        print(f"    bitmap {format_size(record[name]['bitmap_bytes'])}, {format_ns(record[name]['bitmap_encode_ns'])}")
        same = record[name]["counters_before"] == record[name]["counters_after"]
        print(f"    VmPTE, RSS and minor faults {'the same' if same else 'CHANGED'} before and after")
    record["many_mappings"] = many([int(word) for word in asked.mappings.split(",") if word], asked.runs)
    for what, one in record["many_mappings"].items():
        print(f"{what}: {format_ns(one['cpu_ns']['value'])} of processor, {format_size(one['memory_kib'] << 10)}")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    outfile.write(asked.out, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
