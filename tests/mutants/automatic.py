# SPDX-License-Identifier: MIT
"""Mutants of Python that mutmut makes: of every function that no decorator but a class's stands over.

What mutmut leaves alone (constants of a module, decorated functions, C and JavaScript) has mutants in ``core.py`` and
in ``listed/``. Which tests run stands in ``pyproject.toml``; of those, mutmut runs for a mutant what reaches it.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import scratch
from outcome import Outcome

TARGETS = {
    "claims": "uffdlab/claims/*.py",
    "stats": "uffdlab/stats/intervals.py",
    "summaries": "uffdlab/summaries/*.py",
    "settings": "uffdlab/host/settings.py",
    "page": "uffdlab/report/page.py",
}
SEED = "1"


def run(wanted: Sequence[str], sample: int) -> list[Outcome]:
    """Run a sample of the mutants of each target, the same one every time; all of them where ``sample`` is 0."""
    copy = scratch.copied("automatic")
    with contextlib.chdir(copy):
        chosen = {name: target for target in wanted for name in _sampled(_names(TARGETS[target]), sample)}
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(os.cpu_count() or 1), *chosen]
        # Its own line of progress is left as it is: this takes minutes.
        subprocess.run(command, env=scratch.environment(copy), check=True)
        return list(_outcomes(chosen))


def _names(pattern: str) -> Iterator[str]:
    """Yield the name of each mutant of the files that a pattern names."""
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.format_utils import get_mutant_name

    for path in sorted(Path().glob("uffdlab/**/*.py")):
        if fnmatch.fnmatch(str(path), pattern):
            made = mutate_file_contents(str(path), path.read_text(encoding="utf-8"))
            yield from (get_mutant_name(path, name) for name in made.mutant_names)


def _sampled(names: Iterator[str], sample: int) -> list[str]:
    """Return so many names, drawn by a hash: which ones does not change when code elsewhere does."""
    drawn = sorted(names, key=lambda name: hashlib.sha256(f"{SEED} {name}".encode()).hexdigest())
    return drawn[:sample] if sample else drawn


def _outcomes(chosen: dict[str, str]) -> Iterator[Outcome]:
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.stats import status_by_exit_code

    for meta in sorted(Path("mutants", "uffdlab").rglob("*.meta")):
        path = Path(*meta.with_suffix("").parts[1:])
        for name, code in json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"].items():
            if name not in chosen:
                continue
            status = status_by_exit_code[code]
            killed = status not in ("survived", "no tests", "not checked")
            lines = [] if killed else get_diff_for_mutant(name, path=path).splitlines()[2:]
            before, after = (
                "\n".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in ("-", "+")
            )
            function = name.rpartition(".")[2].partition("__mutmut")[0]
            where = function.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
            yield Outcome(chosen[name], str(path), where, before, after, killed)
