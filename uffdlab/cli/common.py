# SPDX-License-Identifier: MIT
"""What every command uses: how it is added, and how it speaks."""

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
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # what breaks a line, or a terminal obeys


# Where there is less, numpy's OpenBLAS ends the process, or tries again for ever. Found with numpy 2 and scipy 1.
_ROOM_MIB = {"RLIMIT_AS": (384, "ulimit -v"), "RLIMIT_DATA": (64, "ulimit -d")}


def command(
    commands: Any, name: str, run: Any, help_: str, *, calculates: bool = False, **more: Any
) -> argparse.ArgumentParser:
    """Add a command that ``run`` carries out. One that ``calculates`` imports numpy, and is refused without room."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help_, description=help_, **more)
    parser.set_defaults(run=run, calculates=calculates)
    return parser


def need_room() -> None:
    """Raise UffdlabError where a limit of this process leaves numpy no room."""
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
    """Return what a directory is called, however it was named, and whether or not it is there."""
    return Path(os.path.abspath(out)).name


def say(text: str) -> None:
    """Say something on standard error, on one line; where nobody can hear it, never mind."""
    with contextlib.suppress(OSError, ValueError):
        print(f"uffdlab: {_CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)}", file=sys.stderr, flush=True)


def beside_package(name: str) -> Path:
    """Return a directory of the checkout this package runs from."""
    found = Path(__file__).resolve().parent.parent.parent / name
    if not found.is_dir():
        raise UffdlabError(f"{name}/ is not installed with the package: run from a checkout, or name a directory")
    return found
