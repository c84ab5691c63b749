# SPDX-License-Identifier: MIT
"""The command line. Heavy imports stand in the command that needs them, so that ``--help`` is fast."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from uffdlab import __version__
from uffdlab.cli import ask, claims, data, doctor, lab, measure, render, scan, sim, streams
from uffdlab.cli.common import INTERRUPTED, check_memory_limits, say
from uffdlab.errors import UffdlabError, refused_by_the_system

# Errors of the machine or the caller: printed as one sentence. Any other exception is a bug and keeps its traceback; so
# do these with python -X dev.
OUTSIDE = (OSError, UnicodeError, MemoryError, RecursionError, ImportError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0, 2 for what the caller can fix, 130 after Ctrl-C.

    Exceptions become sentences here and nowhere else, whatever the state of the standard streams.
    """
    # numpy's OpenBLAS starts a thread per CPU, which uffdlab does not need; if it may not, it raises SIGINT.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with streams.repaired():
        try:
            return _run(sys.argv[1:] if argv is None else argv)
        except UffdlabError as error:
            say(f"error: {error}")
            return 2
        except KeyboardInterrupt:
            say("interrupted")
            return INTERRUPTED
        except streams.ReaderGone:
            return 0
        except OUTSIDE as error:
            if sys.flags.dev_mode or _is_bug(error):
                raise
            say(f"error: {_sentence(error)}")
            return 2


def _run(argv: Sequence[str]) -> int:
    if any("\0" in argument for argument in argv):
        raise UffdlabError("an argument holds a null byte: remove it")
    try:
        args = _parser().parse_args(argv)
        if args.calculates:
            check_memory_limits()
        _restore_leftovers()
        status: int = args.run(args)
    except SystemExit:  # --help, or a signal
        sys.stdout.flush()
        raise
    sys.stdout.flush()  # here, where an error is caught, and not at exit
    return status


def _is_bug(error: BaseException) -> bool:
    """Return whether a module of this package could not be imported."""
    return isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "uffdlab"


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError):
        return str(refused_by_the_system(error))
    if isinstance(error, UnicodeError):
        return f"a text cannot be read or written in its encoding ({error}): set PYTHONUTF8=1, or correct the text"
    if isinstance(error, MemoryError):
        return "there is not enough memory: free some, raise the limit (ulimit -v), or choose smaller sizes"
    if isinstance(error, RecursionError):
        return "the input is nested too deeply"
    while error.__cause__ or error.__context__:  # the first error, and not numpy's advice
        error = error.__cause__ or error.__context__ or error
    return (
        f"a package that uffdlab needs cannot be imported ({' '.join(str(error).split())[:300]}): raise the limits of "
        "this shell (ulimit), or repeat 'pip install -c constraints.txt -e .'"
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if "expected one argument" in message and "--size" in message:
            message += " (a size is positive: write one such as 1GiB)"
        raise UffdlabError(f"{message}; see '{self.prog} --help'")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="uffdlab", description="The UFFD_FEATURE_WP_ZEROPAGE thread, measured.")
    parser.add_argument("--version", action="version", version=f"uffdlab {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (doctor, ask, measure, scan, sim, data, render, claims, lab):
        module.add(commands)
    return parser


def _restore_leftovers() -> None:
    if sys.platform != "linux":
        return
    from uffdlab.host import settings

    for sentence in settings.restore_leftovers():
        say(sentence)
