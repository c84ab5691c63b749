# SPDX-License-Identifier: MIT
"""``uffdlab ask``: what becomes of a page, and of its protection, after a sequence of steps."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import Any

from uffdlab.cli.arguments import path
from uffdlab.cli.common import command
from uffdlab.errors import UffdlabError
from uffdlab.vocabulary.backings import SEQUENCE_BACKINGS
from uffdlab.vocabulary.feature_sets import SEQUENCE_SETS
from uffdlab.vocabulary.steps import STEPS


def _listed(names: Any) -> str:
    return textwrap.fill(" ".join(names), 78, initial_indent="  ", subsequent_indent="  ")


_EPILOG = f"""steps:
{_listed(STEPS)}
backings:
{_listed(SEQUENCE_BACKINGS)}
features:
{_listed(SEQUENCE_SETS)}
examples:
  uffdlab ask "protect; discard; write"
  uffdlab ask --backing shmem --features none "protect; discard; read; write"
  uffdlab ask --recorded --json "write; protect; free; reclaim; write"
""".rstrip()


def add(commands: Any) -> None:
    """Add the command."""
    help_ = "take steps on a page: is the write reported, and what does the entry hold?"
    parser = command(commands, "ask", _ask, help_, epilog=_EPILOG)
    parser.add_argument("sequence", metavar="STEPS", help="up to six steps, separated by semicolons")
    parser.add_argument("--backing", default="anon", metavar="NAME", help="kind of memory (default: anon)")
    parser.add_argument("--features", default="none", metavar="NAME", help="feature set (default: none)")
    parser.add_argument("--recorded", action="store_true", help="answer from the recorded data, not this kernel")
    parser.add_argument("--data", type=path, metavar="DATASET", help="with --recorded: a dataset with sequences")
    parser.add_argument("--allow-host-changes", action="store_true", help="may fill pools, add swap, run KSM")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _ask(args: argparse.Namespace) -> int:
    from uffdlab.probes.sequence import SequenceSpec
    from uffdlab.sequences import asking

    spec = SequenceSpec(args.backing, args.features, args.sequence)
    if args.data is not None and not args.recorded:
        raise UffdlabError("--data names recorded answers: use it with --recorded")
    if args.recorded:
        found = asking.recorded(spec, args.data)
    else:
        found = asking.here(spec, allow_host_changes=args.allow_host_changes)
    print(json.dumps(found.as_dict(), indent=1) if args.json else found.text())
    return 0
