# SPDX-License-Identifier: MIT
"""The command line: thin, and quick to answer ``--help`` — what is heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from uffdlab import __version__
from uffdlab.cli import claims, data, doctor, lab, measure, render, scan, sim
from uffdlab.cli.common import INTERRUPTED, say
from uffdlab.errors import UffdlabError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0, 2 for what the caller can mend, 130 after Ctrl-C."""
    # numpy's OpenBLAS starts a thread per CPU, which nothing here needs; where it may not, it raises SIGINT.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        try:
            asked = _parser().parse_args(argv)
            _restore_what_a_killed_run_left()
            status: int = asked.run(asked)
            return status
        finally:
            sys.stdout.flush()  # here, where a closed pipe is caught, and not when Python ends
    except UffdlabError as error:
        print(f"uffdlab: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("uffdlab: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if "expected one argument" in message and "--size" in message:
            message += " (a negative size is no size: write a positive one, such as 1GiB)"
        raise UffdlabError(f"{message}; see '{self.prog} --help'")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="uffdlab", description="The UFFD_FEATURE_WP_ZEROPAGE thread, measured.")
    parser.add_argument("--version", action="version", version=f"uffdlab {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (doctor, measure, scan, sim, data, render, claims, lab):
        module.add(commands)
    return parser


def _restore_what_a_killed_run_left() -> None:
    if sys.platform != "linux":
        return
    from uffdlab.host import settings

    for sentence in settings.restore_leftovers():
        say(sentence)
