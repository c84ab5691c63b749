# SPDX-License-Identifier: MIT
"""The command line: thin, and quick to answer ``--help`` — what is heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from uffdlab import __version__
from uffdlab.cli import claims, data, doctor, lab, measure, render, scan, sim, streams
from uffdlab.cli.common import INTERRUPTED, need_room, say
from uffdlab.errors import UffdlabError, refused_by_the_system

# What the machine or the caller brought about, wherever it came up: a sentence. Any other exception is a bug of ours
# and keeps its traceback; so do these with python -X dev.
OUTSIDE = (OSError, UnicodeError, MemoryError, RecursionError, ImportError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0, 2 for what the caller can mend, 130 after Ctrl-C.

    The one place where what ends a command becomes a sentence, whatever state the standard streams are in.
    """
    # numpy's OpenBLAS starts a thread per CPU, which nothing here needs; where it may not, it raises SIGINT.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with streams.sound():
        try:
            return _run(sys.argv[1:] if argv is None else argv)
        except UffdlabError as error:
            say(f"error: {error}")
            return 2
        except KeyboardInterrupt:
            say("interrupted")
            return INTERRUPTED
        except streams.ReaderGone:  # it has seen enough
            return 0
        except OUTSIDE as error:
            if sys.flags.dev_mode or _is_ours(error):
                raise
            say(f"error: {_sentence(error)}")
            return 2


def _run(argv: Sequence[str]) -> int:
    if any("\0" in argument for argument in argv):
        raise UffdlabError("an argument holds a null byte, which no name or number has")
    try:
        asked = _parser().parse_args(argv)
        if asked.calculates:
            need_room()
        _restore_what_a_killed_run_left()
        status: int = asked.run(asked)
    except SystemExit:  # --help, or a signal
        sys.stdout.flush()
        raise
    sys.stdout.flush()  # here, where a refusal is caught, and not when Python ends
    return status


def _is_ours(error: BaseException) -> bool:
    """Whether a module of this very package could not be imported: a bug."""
    return isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "uffdlab"


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError):
        return str(refused_by_the_system(error))
    if isinstance(error, UnicodeError):
        return f"a text cannot be read or written in its encoding ({error}): set PYTHONUTF8=1, or mend the text"
    if isinstance(error, MemoryError):
        return "there is not enough memory: free some, raise the limit (ulimit -v), or choose smaller sizes"
    if isinstance(error, RecursionError):
        return "something is nested too deeply to be read"
    while error.__cause__ or error.__context__:  # what was wrong first, and not what numpy advises
        error = error.__cause__ or error.__context__ or error
    return (
        f"a package that uffdlab needs cannot be imported ({' '.join(str(error).split())[:300]}): raise the limits of "
        "this shell (ulimit), or repeat 'pip install -c constraints.txt -e .'"
    )


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
