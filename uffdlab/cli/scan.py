# SPDX-License-Identifier: MIT
"""``uffdlab scan``: which share of a live process's memory is untouched."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from uffdlab.cli.common import command, path, say
from uffdlab.errors import UffdlabError

if TYPE_CHECKING:
    from uffdlab.bitmap import Bitmap

_EXAMPLES = """examples:
  uffdlab scan 4242
  uffdlab scan --cmd 'python -c "import time; x = bytes(1<<30); time.sleep(9)"'
  uffdlab scan 4242 --bitmap guest.bitmap --json"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        "scan",
        _scan,
        "say which share of a process's memory is untouched, without touching it",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pid", nargs="?", metavar="PID", help="process to look at")
    parser.add_argument("--self", action="store_true", dest="own", help="look at uffdlab itself")
    parser.add_argument("--cmd", metavar="COMMAND", help="start a command (no shell), look at it, end it")
    parser.add_argument("--after", metavar="SECONDS", help="with --cmd: how long to wait first (default: 1)")
    parser.add_argument("--min-size", metavar="SIZE", help="smallest mapping to look at (default: 2MiB)")
    parser.add_argument("--method", metavar="NAME", help="PAGEMAP_SCAN or pagemap (default: the first there is)")
    parser.add_argument("--bitmap", type=path, metavar="FILE", help="write each page's state, for a replay")
    parser.add_argument("--json", action="store_true", help="for machines")


def _scan(asked: argparse.Namespace) -> int:
    from uffdlab import bitmap, occupancy, outfile, units
    from uffdlab.occupancy.scanning import DEFAULT_MIN_BYTES

    min_bytes = DEFAULT_MIN_BYTES if asked.min_size is None else units.parse_size(asked.min_size, "--min-size")
    if asked.bitmap is not None:
        outfile.check(asked.bitmap, "--bitmap")  # before anything is started or read
    with _target(asked) as pid:
        found = occupancy.scan(pid, min_bytes, asked.method, keep_runs=True)
    if asked.bitmap is not None:
        bitmap.save(occupancy.bitmap_of(found), asked.bitmap)
        say(f"bitmap of {len(found.mappings)} mapping(s) written to {asked.bitmap}")
    if asked.json:
        print(json.dumps(occupancy.as_dict(found) | {"advice": _advice(occupancy.bitmap_of(found))}, indent=1))
        return 0
    print(occupancy.text(found))
    if found.mappings:
        print("\n".join(["", *_advice_lines(occupancy.bitmap_of(found))]))
    return 0


def _advice(recorded: Bitmap) -> list[dict[str, Any]]:
    """Return the designs ranked by each objective; none where there are no costs, or the memory cannot be replayed."""
    from uffdlab import sim

    try:
        costs, replayed = sim.load_costs(), sim.replays(recorded) if recorded.mappings else []
    except UffdlabError as error:
        say(f"no advice on designs: {error}")
        return []
    return [
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


def _advice_lines(recorded: Bitmap) -> list[str]:
    """Return the same as sentences, to be mailed."""
    from uffdlab import sim

    try:
        costs, replayed = sim.load_costs(), sim.replays(recorded)
    except UffdlabError as error:
        return [f"no advice on designs: {error}"]
    said = [sim.advice(sim.ranked(replayed, one, costs), one) for one in sim.OBJECTIVES]
    head = "To write-protect this memory as it is (predicted; total work: protecting and saving once):"
    lines = [textwrap.fill(f"- {one}", 80, subsequent_indent="  ") for one in said]
    return [textwrap.fill(head, 80), *lines, textwrap.fill(costs.words(), 80)]


@contextlib.contextmanager
def _target(asked: argparse.Namespace) -> Iterator[int]:
    """Yield the process ID to look at."""
    from uffdlab import occupancy, units
    from uffdlab.occupancy import process
    from uffdlab.occupancy.command import MOST_SECONDS

    given = (asked.pid is not None) + asked.own + (asked.cmd is not None)
    if given != 1:
        raise UffdlabError("name what to look at, one of these: a process ID, --self, or --cmd COMMAND")
    if asked.after is not None and asked.cmd is None:
        raise UffdlabError("--after says how long a command runs first: it goes with --cmd")
    if asked.cmd is None:
        yield os.getpid() if asked.own else process.process_id(asked.pid)
        return
    after_s = units.parse_number("1" if asked.after is None else asked.after, "--after", 0, MOST_SECONDS, "seconds")
    with occupancy.running(asked.cmd, after_s) as pid:
        yield pid
