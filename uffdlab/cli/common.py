# SPDX-License-Identifier: MIT
"""Helpers of all commands: add a command, print messages."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from pathlib import Path
from typing import Any

from uffdlab.errors import UffdlabError

INTERRUPTED = 130  # what a shell reports for a command ended by Ctrl-C
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # break a line, or are obeyed by a terminal


# With less, numpy's OpenBLAS ends the process or retries for ever. Found with numpy 2 and scipy 1.
_ROOM_MIB = {"RLIMIT_AS": (384, "ulimit -v"), "RLIMIT_DATA": (64, "ulimit -d")}


def command(
    commands: Any, name: str, run: Any, help_: str, *, calculates: bool = False, epilog: str | None = None
) -> argparse.ArgumentParser:
    """Add a command that calls ``run``, with an epilog that keeps its lines.

    One that ``calculates`` imports numpy, and is refused without memory for it.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help_,
        description=help_,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter if epilog else argparse.HelpFormatter,
    )
    parser.set_defaults(run=run, calculates=calculates)
    return parser


def check_memory_limits() -> None:
    """Raise UffdlabError if a resource limit of this process is too low for numpy."""
    try:
        import resource
    except ImportError:  # not a Unix: there is no such limit
        return
    for name, (least, how) in _ROOM_MIB.items():
        limit = resource.getrlimit(getattr(resource, name))[0]
        if limit != resource.RLIM_INFINITY and limit < least << 20:
            raise UffdlabError(
                f"memory is limited to {limit >> 20} MiB here ({how}), and this command needs {least} MiB: "
                f"raise the limit ({how} {least << 10})"
            )


def last_name(out: Path) -> str:
    """Return the last part of a directory's absolute path, whether or not it exists."""
    return Path(os.path.abspath(out)).name


def say(text: str) -> None:
    """Print one line on standard error; ignore failures to write it."""
    with contextlib.suppress(OSError, ValueError):
        print(f"uffdlab: {_CONTROLS.sub(lambda match: repr(match[0])[1:-1], text)}", file=sys.stderr, flush=True)


def beside_package(name: str) -> Path:
    """Return a directory of the checkout this package runs from."""
    directory = Path(__file__).resolve().parent.parent.parent / name
    if not directory.is_dir():
        raise UffdlabError(f"{name}/ is not installed with the package: run from a checkout, or name a directory")
    return directory
