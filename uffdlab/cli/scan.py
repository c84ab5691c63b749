# SPDX-License-Identifier: MIT
"""``uffdlab scan``: which share of a live process's memory is untouched."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from uffdlab.cli.arguments import add_number, add_size, path, process_id
from uffdlab.cli.common import command, say
from uffdlab.errors import UffdlabError

if TYPE_CHECKING:
    from uffdlab.datasets.bitmap import Bitmap
    from uffdlab.occupancy import Progress, Scan
    from uffdlab.sim import Costs, Replayed

_EXAMPLES = """examples:
  uffdlab scan 4242
  uffdlab scan --cmd 'python -c "import time; x = bytes(1<<30); time.sleep(9)"'
  uffdlab scan 4242 --bitmap guest.bitmap --json"""

_MOST_SECONDS = 86400  # a day
_NO_ADVICE: dict[str, Any] = {"advice": [], "advice_leaves_out": []}


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        "scan",
        _scan,
        "say which share of a process's memory is untouched, without touching it",
        calculates=True,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pid", nargs="?", type=process_id, metavar="PID", help="process to look at")
    parser.add_argument("--self", action="store_true", dest="own", help="look at uffdlab itself")
    parser.add_argument("--cmd", metavar="COMMAND", help="start a command (no shell), look at it, end it")
    help_ = "with --cmd: how long to wait first (default: 1)"
    add_number(parser, "--after", 0, _MOST_SECONDS, help_, "SECONDS", "seconds")
    add_size(parser, "--min-size", "smallest mapping to look at (default: 2MiB)")
    parser.add_argument("--method", metavar="NAME", help="PAGEMAP_SCAN or pagemap (default: the first there is)")
    parser.add_argument("--bitmap", type=path, metavar="FILE", help="write each page's state, for a replay")
    parser.add_argument("--json", action="store_true", help="for machines")


def _scan(asked: argparse.Namespace) -> int:
    from uffdlab import occupancy, outfile
    from uffdlab.datasets import bitmap
    from uffdlab.occupancy.scanning import DEFAULT_MIN_BYTES

    min_bytes = DEFAULT_MIN_BYTES if asked.min_size is None else asked.min_size
    if asked.bitmap is not None:
        outfile.check(asked.bitmap, "--bitmap")  # before anything is started or read
    with _target(asked) as pid, _progress() as progress:
        found = occupancy.scan(pid, min_bytes, asked.method, keep_runs=True, progress=progress)
    recorded = occupancy.bitmap_of(found) if found.mappings or asked.bitmap is not None else None
    if asked.bitmap is not None and recorded:
        bitmap.save(recorded, asked.bitmap)
        say(f"bitmap of {len(found.mappings)} mapping(s) written to {asked.bitmap}")
    if asked.json:
        _print_json(found, _advice(recorded) if recorded else _NO_ADVICE)
        return 0
    print(occupancy.text(found))
    if recorded:
        print("\n".join(["", *_advice_lines(recorded)]))
    return 0


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """Yield what shows on a terminal how much of the address space has been looked at."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("looking at memory", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_json(found: Scan, advice: dict[str, Any]) -> None:
    """Print the object as it is made, a mapping a line: of 100 000 mappings not all are there at once."""
    from uffdlab import occupancy

    print('{"mappings": [')
    for number, one in enumerate(occupancy.mapping_dicts(found)):
        print(("," if number else "") + json.dumps(one))
    rest = json.dumps(occupancy.summary_dict(found) | advice, indent=1)
    print("]," + rest.removeprefix("{"))


# What was found is told whether or not there are costs, an engine and the memory to price it.
_NONE_TO_BE_HAD = (UffdlabError, ImportError, MemoryError)


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, UffdlabError) else "there is too little memory for it (ulimit -v)"


def _replayed(recorded: Bitmap) -> tuple[Costs, list[Replayed], list[str]]:
    """Return costs, what each design counted, and what that leaves out.

    Raises UffdlabError where there is nothing to advise on, or no costs.
    """
    from uffdlab import sim

    rest, left_out = sim.replayable(recorded)
    if not rest.mappings:
        raise UffdlabError(" ".join(left_out))
    return sim.load_costs(), sim.replays(rest), left_out


def _advice(recorded: Bitmap) -> dict[str, Any]:
    """Return the designs ranked by each objective; none where there are no costs, or the memory cannot be replayed."""
    from uffdlab import sim

    try:
        costs, replayed, left_out = _replayed(recorded)
    except _NONE_TO_BE_HAD as error:
        say(f"no advice on designs: {_why(error)}")
        return _NO_ADVICE
    advice = [
        {
            "objective": objective,
            "unit": "KiB" if objective == "memory" else costs.unit,
            "designs": [
                {"design": one.replayed.design.name, "today": one.today, "value": one.cost.value}
                | {"low": one.cost.low, "high": one.cost.high}
                for one in sim.ranked(replayed, objective, costs)
            ],
        }
        for objective in sim.OBJECTIVES
    ]
    return {"advice": advice, "advice_leaves_out": left_out}


def _advice_lines(recorded: Bitmap) -> list[str]:
    """Return the same as sentences, to be mailed."""
    from uffdlab import sim

    try:
        costs, replayed, left_out = _replayed(recorded)
    except _NONE_TO_BE_HAD as error:
        return textwrap.wrap(f"no advice on designs: {_why(error)}", 80)
    said = [sim.recommendation(sim.ranked(replayed, one, costs), one) for one in sim.OBJECTIVES]
    head = "To write-protect this memory as it is (predicted; total work: protecting and saving once):"
    lines = [textwrap.fill(f"- {one}", 80, subsequent_indent="  ") for one in said]
    more = [textwrap.fill(one, 80) for one in (*left_out, costs.words())]
    return [textwrap.fill(head, 80), *lines, *more]


@contextlib.contextmanager
def _target(asked: argparse.Namespace) -> Iterator[int]:
    """Yield the process ID to look at."""
    from uffdlab import occupancy

    given = (asked.pid is not None) + asked.own + (asked.cmd is not None)
    if given != 1:
        raise UffdlabError("name what to look at, one of these: a process ID, --self, or --cmd COMMAND")
    if asked.after is not None and asked.cmd is None:
        raise UffdlabError("--after says how long a command runs first: it goes with --cmd")
    if asked.cmd is None:
        yield os.getpid() if asked.own else asked.pid
        return
    with occupancy.running(asked.cmd, 1.0 if asked.after is None else asked.after) as pid:
        yield pid
