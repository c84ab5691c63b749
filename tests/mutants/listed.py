# SPDX-License-Identifier: MIT
"""Mutants made by hand, of kinds that were once noticed by no test: the files in ``listed/``.

Each is a text that stands exactly once in a file, what takes its place, and the tests that have to notice.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import scratch
from outcome import Outcome

LISTS = Path(__file__).with_name("listed")
TARGETS = {f"listed-{file.stem}": file for file in sorted(LISTS.glob("*.toml"))}


@dataclass(frozen=True)
class Listed:
    """A change to a file, its kind in a few words, and the tests that have to notice it."""

    target: str
    file: str
    kind: str
    before: str
    after: str
    tests: tuple[str, ...]


def read() -> list[Listed]:
    """Return all lists, one after another."""
    return [
        Listed(target, **one | {"tests": tuple(one["tests"])})
        for target, file in TARGETS.items()
        for one in tomllib.loads(file.read_text(encoding="utf-8"))["mutant"]
    ]


def why_not(one: Listed, root: Path) -> str | None:
    """Return why a mutant cannot be made, or None: code has gone on, and the list has not."""
    found = (root / one.file).read_text(encoding="utf-8").count(one.before)
    return None if found == 1 else f"{one.file}: {one.before!r} stands there {found} times, not once"


def run(wanted: Sequence[str], _: int) -> list[Outcome]:
    """Run every mutant of the targets. Raises RuntimeError where one cannot be made, or a test fails without it."""
    listed = [one for one in read() if one.target in wanted]
    broken = [why for one in listed if (why := why_not(one, scratch.ROOT))]
    if broken:
        raise RuntimeError("tests/mutants/listed is out of date: " + "; ".join(broken))
    copy = scratch.copied("listed")
    os.environ["UFFDLAB_REQUIRE"] = "browser" if "listed-page" in wanted else ""  # a skip would notice nothing
    for tests in sorted({one.tests for one in listed}):
        if scratch.noticed(copy, tests):
            raise RuntimeError(f"{' '.join(tests)} fails without any change")
    built: dict[str, scratch.Built] = {}
    return [_tried(copy, built, one) for one in listed]


def _tried(copy: Path, built: dict[str, scratch.Built], one: Listed) -> Outcome:
    file = copy / one.file
    original = file.read_text(encoding="utf-8")
    extension = ("_sim" if file.name.startswith("sim") else "_probe") if file.suffix == ".c" else ""
    if extension and extension not in built:
        built[extension] = scratch.Built(copy, extension)
    script = file.parent.name == "js"
    file.write_text(original.replace(one.before, one.after), encoding="utf-8")
    try:
        if script:
            scratch.bundled(copy)
        if extension and not built[extension].again(file):
            raise RuntimeError(f"{one.file}: {one.after!r} does not compile, or changes nothing")
        killed = scratch.noticed(copy, one.tests)
    finally:
        file.write_text(original, encoding="utf-8")
        if script:
            scratch.bundled(copy)
        if extension:
            built[extension].as_before()
    outcome = Outcome(one.target, one.file, one.kind, one.before, one.after, killed)
    print(f"{one.target}: {'killed' if killed else 'SURVIVED'}: {one.kind} ({one.file})", flush=True)
    return outcome
