# SPDX-License-Identifier: MIT
"""The kernel's own selftests of userfaultfd and PAGEMAP_SCAN, built from Debian's source packages, run on this kernel.

For each source package (the newest of the machine's own suites, and the newest of --suite) it builds and runs
uffd-unit-tests and pagemap_ioctl, as root, with a few hugetlb pages that are given back. Then it measures the cells of
the semantics table that these tests assert something about (``statements.py``) and says of each whether the selftest
supports it; the newest committed reference is held against them as well.

Usage: python benchmarks/outside/selftests.py [--suite trixie-backports] [--out benchmarks/results/selftests.json]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import verdicts
from kernel_source import Offer, PrivateApt
from statements import STATEMENTS, Statement, judged

from uffdlab import datasets, outfile
from uffdlab.datasets.provenance import allowed
from uffdlab.errors import UffdlabError
from uffdlab.host import facts, settings
from uffdlab.measure import runner
from uffdlab.probes import semantics

RESULTS = Path(__file__).parents[1] / "results" / "selftests.json"
PROGRAMS = {"uffd-unit-tests": ("uffd-common.c",), "pagemap_ioctl": ()}
HELPERS = ("vm_util.c", "thp_settings.c", "hugepage_settings.c")  # a series has one of the last two
HUGE_PAGES = 64
TIMEOUT_S = 300
KEY = ("backing", "features", "content", "moment")
Cells = Mapping[tuple[Any, ...], Mapping[str, Any]]


@dataclass(frozen=True)
class Run:
    """One selftest program, run once: exit status (None: it hung), verdicts, and its last words on standard error."""

    program: str
    status: int | None
    verdicts: list[verdicts.Verdict]
    complaint: str = ""


def build(top: Path, program: str, into: Path) -> Path:
    """Compile one program as its Makefile does; the tree's own copies of the UAPI headers come first."""
    here = top / "tools" / "testing" / "selftests" / "mm"
    sources = [f"{program}.c", *PROGRAMS[program], *(name for name in HELPERS if (here / name).exists())]
    includes = ["-I", top, "-I", here.parent, "-isystem", top / "tools" / "include" / "uapi"]
    binary = into / program
    command = ["cc", "-O2", "-w", *includes, "-U_FORTIFY_SOURCE", *sources, "-lrt", "-lpthread", "-lm", "-o", binary]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True)
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), "no error was named")
        raise UffdlabError(f"{program} does not build here: {first.replace(str(top), '')}")
    return binary


def execute(binary: Path) -> Run:
    """Run one program in an empty directory of its own (pagemap_ioctl leaves a file behind)."""
    with tempfile.TemporaryDirectory() as elsewhere:
        try:
            done = subprocess.run([binary], cwd=elsewhere, capture_output=True, text=True, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as late:
            printed = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else ""
            return Run(binary.name, None, verdicts.read(printed), f"no end within {TIMEOUT_S} s")
    complaint = done.stderr.strip().rsplit("\n", 1)[-1] if done.returncode else ""
    return Run(binary.name, done.returncode, verdicts.read(done.stdout), complaint)


def run_source(apt: PrivateApt, offer: Offer, home: Path) -> list[Run]:
    """Fetch, build and run the programs of one source package."""
    top = apt.fetch(offer, home / offer.package)
    return [execute(build(top, program, top)) for program in PROGRAMS]


def measured() -> tuple[Cells, list[str]]:
    """Measure the rows of the semantics table that the statements are about, and say which could not be had."""
    wanted = sorted({(one.backing, one.features, one.content) for one in STATEMENTS})
    specs = [dict(zip(("backing", "features", "content"), key, strict=True)) for key in wanted]
    rows = runner.run([runner.Block(number, "semantics", spec) for number, spec in enumerate(specs)])
    missed = [f"{one['spec']}: {one['reason']}" for one in rows.tables["outcomes"] if one["outcome"] != "ok"]
    return by_key(rows.tables.get("states", [])), missed


def by_key(rows: Iterable[Mapping[str, Any]]) -> Cells:
    """Return the rows of the semantics table by backing, features, content and moment."""
    return {tuple(row[name] for name in KEY): row for row in rows}


def reference() -> Cells:
    """Return the semantics table of the newest committed reference."""
    states = datasets.load(datasets.locate(None)).table("states")
    return by_key(states.astype(object).where(states.notna(), None).to_dict("records"))


def compared(runs: Iterable[Run], here: Cells, committed: Cells) -> list[dict[str, Any]]:
    """Return what each statement's selftest says of its cell, as measured here and as committed."""
    found = {run.program: run.verdicts for run in runs}
    return [_compared(one, verdicts.worst(found.get(one.program, []), one.test), here, committed) for one in STATEMENTS]


def _compared(one: Statement, ended: str | None, here: Cells, committed: Cells) -> dict[str, Any]:
    seen, before = one.seen(here.get(one.cell)), one.seen(committed.get(one.cell))
    judgements = {"here": judged(ended, one.value, seen), "reference": judged(ended, one.value, before)}
    return asdict(one) | {"ended": ended, "seen": seen} | judgements


def show(offer: Offer, runs: Iterable[Run], cells: Iterable[Mapping[str, Any]]) -> None:
    """Print the totals, whatever did not pass, and every comparison."""
    print(f"{offer.package} {offer.version}")
    for run in runs:
        counted = ", ".join(f"{number} {name}" for name, number in verdicts.totals(run.verdicts).items())
        print(f"  {run.program}: {counted}; exit status {run.status} {run.complaint}".rstrip())
        for one in run.verdicts:
            if one.verdict in ("fail", "died"):
                print(f"    {one.verdict}: {one.test} {one.reason}")
    for cell in cells:
        where = " / ".join(cell[name] for name in KEY)
        asserted = f"{cell['column']} = {cell['value']}"
        print(f"  {cell['here']:<12}  {where}: {asserted}  [{cell['program']}: {cell['test']}]")


def covered(cells: Iterable[Mapping[str, Any]], rows: int) -> dict[str, Any]:
    """Return how much of the table the selftests speak of: rows, and the columns that no statement is about."""
    spoken = [cell for cell in cells if cell["here"] != "says nothing"]
    yes_no = [one["name"] for one in semantics.FIELDS if one["type"] == "boolean"]
    return {
        "rows_spoken_of": len({tuple(cell[name] for name in KEY) for cell in spoken}),
        "rows_in_reference": rows,
        "columns_never_spoken_of": [name for name in yes_no if name not in {cell["column"] for cell in spoken}],
    }


def record(apt: PrivateApt, offers: Iterable[Offer], home: Path) -> dict[str, Any]:
    """Run every source package and return what is recorded."""
    with settings.changed({"hugetlb_2048": HUGE_PAGES}, allow=True):
        ran = [(offer, run_source(apt, offer, home)) for offer in offers]
        here, missed = measured()
        host = allowed(facts.collect())
    committed = reference()
    sources = []
    for offer, runs in ran:
        cells = compared(runs, here, committed)
        coverage = covered(cells, len(committed))
        show(offer, runs, cells)
        print("  " + ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in coverage.items()))
        programs = [asdict(run) | {"totals": verdicts.totals(run.verdicts)} for run in runs]
        sources.append(
            {"package": offer.package, "version": offer.version, "programs": programs}
            | {"cells": cells, "coverage": coverage}
        )
    return {"sources": sources, "not_measured": missed, "host": host}


def newest(suite: str | None, home: Path) -> list[tuple[PrivateApt, Offer]]:
    """Return the newest source package of the machine's suites, and that of ``suite`` if it is another."""
    found: list[tuple[PrivateApt, Offer]] = []
    for number, extra in enumerate((None, suite) if suite else (None,)):
        apt = PrivateApt(home / f"apt{number}", extra)
        offers = apt.offers()
        if offers and offers[-1].package not in [offer.package for _, offer in found]:
            found.append((apt, offers[-1]))
    if not found:
        raise UffdlabError("no linux-source package is at hand here: the kernel's selftests were not run")
    return found


def main() -> int:
    """Fetch, build, run, compare, print, and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--suite", default="trixie-backports", help="a further suite of the same mirror; '' for none")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as directory:
            home = Path(directory)
            found = newest(asked.suite or None, home)
            kept = record(found[-1][0], [offer for _, offer in found], home)
    except UffdlabError as error:
        print(f"selftests: {error}", file=sys.stderr)
        return 2
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    outfile.write(asked.out, (json.dumps(kept) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
