# SPDX-License-Identifier: MIT
"""Explain the signal that killed a process: one cause and one remedy."""

from __future__ import annotations

import errno
import signal
from collections.abc import Sequence
from pathlib import Path

from uffdlab.host import errnos
from uffdlab.host.causes import Likely
from uffdlab.host.conditions import Request


def name(number: int) -> str:
    """Return the name of a signal; most real-time signals have none but their number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def likely(operation: str, number: int, system_call: int | None = None) -> Likely:
    """Return why signal *number* killed the process that tried *operation*, and the remedy."""
    if number == signal.SIGSYS:
        which = "" if system_call is None else f", system call {system_call}"
        return Likely(
            f"{operation} killed the process that asked for it (SIGSYS{which}): a seccomp filter answers with death "
            "where others refuse",
            f"start the container with a seccomp profile that allows {errnos.system_calls(operation)}, or run outside "
            "it",
        )
    return Likely(
        f"{operation} ended the process that asked for it with signal {name(number)}",
        "look at the kernel log, and try again",
    )


def clause(number: int, request: Request | None = None, fatal: Sequence[str] = (), root: Path = Path("/")) -> str:
    """Return the clause that follows "killed by signal …": the likely cause, or "" where none is known.

    *fatal* names the operations whose caller a seccomp filter kills (``asking.fatal_operations``).
    """
    if number == signal.SIGSYS:
        what = ", ".join(fatal) or "one of its system calls"
        calls = ", ".join(dict.fromkeys(errnos.system_calls(operation) for operation in fatal)) or "it"
        return (
            f": a seccomp filter answers {what} with death where others refuse; start the container with a profile "
            f"that allows {calls}, or run outside it"
        )
    if number == signal.SIGBUS:
        causes = errnos.causes("touch", errno.EFAULT, root, request)
        return ": " + "; or ".join(f"{cause.why} (remedy: {cause.remedy})" for cause in causes) if causes else ""
    if number in (signal.SIGXCPU, signal.SIGXFSZ):
        what = "CPU time (ulimit -t)" if number == signal.SIGXCPU else "file size (ulimit -f)"
        return f": a limit on {what} was reached, which may be raised"
    return ""
