# SPDX-License-Identifier: MIT
"""Mutants of the simulator's core in C: one operator or number changed, wherever a pattern finds one.

Every so many of all there are is taken. Tests that hold the core to the WebAssembly that is shipped are left out: they
notice every change, right or wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import scratch
from outcome import Outcome

TARGET = "core"
SOURCES = "uffdlab/native/sim/*.c"
TESTS = tuple(
    f"tests/sim/test_sim_{name}.py" for name in ("memory", "levels", "exact", "draws", "expected", "snapshot", "prices")
)
MOST_CPU_S = 60  # of which they need 25; some mutants never end
WITHOUT = ("-k", "not the_page and not webassembly and not a_page_says and not with_neither")
# What is looked for, and what takes its place.
CHANGES = [
    (r"(?<![<>=!+\-*/|&^])<(?![<=])", "<="),
    (r"(?<![<>\-])>(?![>=])", ">="),
    (r"(?<!<)<=", "<"),
    (r"(?<!>)>=", ">"),
    (r"==", "!="),
    (r"!=", "=="),
    (r"&&", "||"),
    (r"\|\|", "&&"),
    (r"(?<=[\w)\]]) \+ (?=[\w(])", " - "),
    (r"(?<=[\w)\]]) - (?=[\w(])", " + "),
    (r"(?<=[\w)\]]) \* (?=[\w(])", " + "),
    (r" / ", " * "),
    (r"\+= ", "-= "),
    (r"-= ", "+= "),
    (r"(?<=[\w)\]])\+\+", "--"),
    (r"(?<=[\w)\]])--", "++"),
    (r"(?<=[\s(&|])!(?=[\w(])", ""),
    (r"(?<![\w.])0(?![\w.])", "1"),
    (r"(?<![\w.])1(?![\w.])", "2"),
    (r"(?<![\w.])(\d{2,})(?![\w.])", "7"),
    (r"\bbreak;", ";"),
    (r"\bcontinue;", ";"),
]


@dataclass(frozen=True)
class Candidate:
    """A place in a file, and what stands there after the change."""

    file: Path
    line: int
    start: int
    end: int
    after: str


def candidates(root: Path) -> Iterator[Candidate]:
    """Yield every change there could be, file by file."""
    for file in sorted(root.glob(SOURCES)):
        for number, line in enumerate(_code(file.read_text(encoding="utf-8")).split("\n")):
            for pattern, after in CHANGES:
                for found in re.finditer(pattern, line):
                    yield Candidate(file, number, found.start(), found.end(), after)


def _code(text: str) -> str:
    """Return C with blanks for comments, strings and lines of the preprocessor, so that places stay where they are."""
    blank = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|^#[^\n]*', re.S | re.M)
    return blank.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def run(_: Sequence[str], sample: int) -> list[Outcome]:
    """Run every so many of the candidates that compile to something else; all of them where ``sample`` is 0."""
    copy = scratch.copied("core")
    built = scratch.Built(copy, "_sim")
    if scratch.noticed(copy, TESTS, *WITHOUT, most_cpu_s=MOST_CPU_S):
        raise RuntimeError("the tests of the simulator fail without any change")
    found = list(candidates(copy))
    step = max(1, len(found) // sample) if sample else 1
    outcomes: list[Outcome] = []
    for first in range(0, len(found), step):
        # What does not compile, or compiles to the same code, has the next one in its place.
        for one in found[first : first + step]:
            outcome = _tried(copy, built, one)
            if outcome is not None:
                outcomes.append(outcome)
                print(f"{TARGET} {len(outcomes)}: {'killed' if outcome.killed else 'SURVIVED'}: {outcome}", flush=True)
                break
    return outcomes


def _tried(copy: Path, built: scratch.Built, one: Candidate) -> Outcome | None:
    """Return what became of a mutant; None where it is none."""
    original = one.file.read_text(encoding="utf-8")
    lines = original.split("\n")
    before = lines[one.line]
    after = lines[one.line] = before[: one.start] + one.after + before[one.end :]
    one.file.write_text("\n".join(lines), encoding="utf-8")
    try:
        if not built.again(one.file):
            return None
        killed = scratch.noticed(copy, TESTS, *WITHOUT, most_cpu_s=MOST_CPU_S)
    finally:
        one.file.write_text(original, encoding="utf-8")
        built.as_before()
    where = next(
        (found[1] for line in reversed(lines[: one.line]) if (found := re.match(r"\w[\w *]*?(\w+)\(", line))), "top"
    )
    return Outcome(TARGET, str(one.file.relative_to(copy)), where, before.strip(), after.strip(), killed)
