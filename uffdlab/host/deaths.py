# SPDX-License-Identifier: MIT
"""A signal that ended a process in, one cause and one remedy out."""

from __future__ import annotations

import errno
import signal
from collections.abc import Sequence
from pathlib import Path

from uffdlab.host import errnos
from uffdlab.host.causes import Likely
from uffdlab.host.conditions import Asked


def name(number: int) -> str:
    """Return the name of a signal; most real-time signals have none but their number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def likely(operation: str, number: int, system_call: int | None = None) -> Likely:
    """Return why asking for *operation* ended the process that asked, and what would help."""
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


def clause(number: int, asked: Asked | None = None, deadly: Sequence[str] = (), root: Path = Path("/")) -> str:
    """Return what follows "by signal …": why a process of ours that measures was killed, where that can be told.

    *deadly* names the operations that are known to kill who asks for them (``asking.deadly``).
    """
    if number == signal.SIGSYS:
        what = ", ".join(deadly) or "one of its system calls"
        calls = ", ".join(dict.fromkeys(errnos.system_calls(operation) for operation in deadly)) or "it"
        return (
            f": a seccomp filter answers {what} with death where others refuse; start the container with a profile "
            f"that allows {calls}, or run outside it"
        )
    if number == signal.SIGBUS:
        found = errnos.causes("touch", errno.EFAULT, root, asked)
        return ": " + "; or ".join(f"{one.why} (remedy: {one.remedy})" for one in found) if found else ""
    if number in (signal.SIGXCPU, signal.SIGXFSZ):
        what = "CPU time (ulimit -t)" if number == signal.SIGXCPU else "file size (ulimit -f)"
        return f": a limit on {what} was reached, which may be raised"
    return ""
