# SPDX-License-Identifier: MIT
"""``uffdlab scan``: the share of a live process's memory that is untouched."""

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
    help_ = "report the share of a process's memory that is untouched, without touching it"
    parser = command(commands, "scan", _scan, help_, calculates=True, epilog=_EXAMPLES)
    parser.add_argument("pid", nargs="?", type=process_id, metavar="PID", help="process to scan")
    parser.add_argument("--self", action="store_true", dest="own", help="scan uffdlab itself")
    parser.add_argument("--cmd", metavar="COMMAND", help="start a command (no shell), scan it, end it")
    help_ = "with --cmd: how long to wait first (default: 1)"
    add_number(parser, "--after", 0, _MOST_SECONDS, help_, "SECONDS", "seconds")
    add_size(parser, "--min-size", "smallest mapping to scan (default: 2MiB)")
    parser.add_argument("--method", metavar="NAME", help="PAGEMAP_SCAN or pagemap (default: the first available)")
    parser.add_argument("--bitmap", type=path, metavar="FILE", help="write each page's state, for a replay")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _scan(args: argparse.Namespace) -> int:
    from uffdlab import occupancy, outfile
    from uffdlab.datasets import bitmap
    from uffdlab.occupancy.scanning import DEFAULT_MIN_BYTES

    min_bytes = DEFAULT_MIN_BYTES if args.min_size is None else args.min_size
    if args.bitmap is not None:
        outfile.check(args.bitmap, "--bitmap")  # before anything is started or read
    with _target(args) as pid, _progress() as progress:
        scan = occupancy.scan(pid, min_bytes, args.method, keep_runs=True, progress=progress)
    recorded = occupancy.bitmap_of(scan) if scan.mappings or args.bitmap is not None else None
    if args.bitmap is not None and recorded:
        bitmap.save(recorded, args.bitmap)
        say(f"bitmap of {len(scan.mappings)} mapping(s) written to {args.bitmap}")
    if args.json:
        _print_json(scan, _advice(recorded) if recorded else _NO_ADVICE)
        return 0
    print(occupancy.text(scan))
    if recorded:
        print("\n".join(["", *_advice_lines(recorded)]))
    return 0


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """Yield a progress callback that draws a bar on a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("scanning memory", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_json(scan: Scan, advice: dict[str, Any]) -> None:
    """Print the JSON object one mapping at a time, so that 100 000 mappings are not in memory at once."""
    from uffdlab import occupancy

    print('{"mappings": [')
    for number, mapping in enumerate(occupancy.mapping_dicts(scan)):
        print(("," if number else "") + json.dumps(mapping))
    rest = json.dumps(occupancy.summary_dict(scan) | advice, indent=1)
    print("]," + rest.removeprefix("{"))


# The scan is printed even if costs, an engine or memory for the advice are missing.
_NO_ADVICE_ERRORS = (UffdlabError, ImportError, MemoryError)


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, UffdlabError) else "there is too little memory for it (ulimit -v)"


def _replayed(recorded: Bitmap) -> tuple[Costs, list[Replayed], list[str]]:
    """Return costs, each design's replay, and what the replay leaves out.

    Raises UffdlabError if nothing can be replayed, or there are no costs.
    """
    from uffdlab import sim

    rest, left_out = sim.replayable(recorded)
    if not rest.mappings:
        raise UffdlabError(" ".join(left_out))
    return sim.load_costs(), sim.replays(rest), left_out


def _advice(recorded: Bitmap) -> dict[str, Any]:
    """Return the designs ranked by each objective; none without costs or if the memory cannot be replayed."""
    from uffdlab import sim

    try:
        costs, replayed, left_out = _replayed(recorded)
    except _NO_ADVICE_ERRORS as error:
        say(f"no advice on designs: {_why(error)}")
        return _NO_ADVICE
    advice = [
        {
            "objective": objective,
            "unit": "KiB" if objective == "memory" else costs.unit,
            "designs": [
                {"design": rank.replayed.design.name, "today": rank.today, "value": rank.cost.value}
                | {"low": rank.cost.low, "high": rank.cost.high}
                for rank in sim.ranked(replayed, objective, costs)
            ],
        }
        for objective in sim.OBJECTIVES
    ]
    return {"advice": advice, "advice_leaves_out": left_out}


def _advice_lines(recorded: Bitmap) -> list[str]:
    """Return the same as sentences."""
    from uffdlab import sim

    try:
        costs, replayed, left_out = _replayed(recorded)
    except _NO_ADVICE_ERRORS as error:
        return textwrap.wrap(f"no advice on designs: {_why(error)}", 80)
    advice = [
        sim.recommendation(sim.ranked(replayed, objective, costs), objective, costs) for objective in sim.OBJECTIVES
    ]
    head = "To write-protect this memory as it is (predicted; total work: protecting and saving once):"
    lines = [textwrap.fill(f"- {sentence}", 80, subsequent_indent="  ") for sentence in advice]
    more = [textwrap.fill(sentence, 80) for sentence in (*left_out, costs.words())]
    return [textwrap.fill(head, 80), *lines, *more]


@contextlib.contextmanager
def _target(args: argparse.Namespace) -> Iterator[int]:
    """Yield the process ID to scan."""
    from uffdlab import occupancy

    given = (args.pid is not None) + args.own + (args.cmd is not None)
    if given != 1:
        raise UffdlabError("name one process to scan: a process ID, --self, or --cmd COMMAND")
    if args.after is not None and args.cmd is None:
        raise UffdlabError("--after is how long a command runs first: use it with --cmd")
    if args.cmd is None:
        yield os.getpid() if args.own else args.pid
        return
    with occupancy.running(args.cmd, 1.0 if args.after is None else args.after) as pid:
        yield pid
