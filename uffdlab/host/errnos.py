# SPDX-License-Identifier: MIT
"""Explain an errno in one sentence: the operation, its likely causes, and the remedy of each.

``refusals`` maps operation and errno to causes. Each cause is checked against the request and the running system:
those that apply come first, unknown ones next, the others are left out. A seccomp filter may answer any system call in
the kernel's place, with any errno.
"""

from __future__ import annotations

import errno as numbers
import os
from pathlib import Path

from uffdlab.host.causes import Cause, Likely
from uffdlab.host.conditions import Request, Situation
from uffdlab.host.refusals import EHWPOISON, TABLE

__all__ = ["OPERATIONS", "Request", "causes", "explain", "system_calls"]

OPERATIONS: tuple[str, ...] = tuple(dict.fromkeys(operation for operation, _ in TABLE if operation != "*"))

# The usual errnos of seccomp filters, and rarer ones, for which the kernel itself is likelier.
_FILTERS_ANSWER = (numbers.EPERM, numbers.EACCES, numbers.ENOSYS)
_FILTERS_MAY_ANSWER = (numbers.EINVAL, numbers.ENOTTY, numbers.ENODEV, numbers.EOPNOTSUPP)

# The system calls a seccomp profile has to allow: by operation, or by the first word of its name.
_SYSTEM_CALLS = {
    "open userfaultfd": "userfaultfd",
    "handler thread": "clone3 and eventfd2",
    "racing threads": "clone3",
    "start a thread": "clone3",
    "start a process": "clone, clone3, fork and vfork",
    "PR_SET_PDEATHSIG": "prctl",
    "PT_RECLAIM": "mmap and madvise",
    "PAGEMAP_SCAN": "ioctl (PAGEMAP_SCAN)",
    "UFFDIO": "ioctl on a userfaultfd",
    "MADV": "madvise",
    "madvise": "madvise",
    "mmap": "mmap",
    "sched": "sched_setaffinity",
    "clear soft-dirty bits": "openat and write",
    "read soft-dirty bits": "openat and pread64",
}


def explain(
    operation: str, errno: int, *, root: Path = Path("/"), request: Request | None = None, **context: object
) -> str:
    """Return one sentence on why *operation* failed: errno, likely causes, and the remedy of each.

    *operation* is the name of an ioctl or an advice (``UFFDIO_REGISTER``, ``MADV_DONTNEED``) or one of
    OPERATIONS; any other gets a general sentence. *errno* may have either sign. Causes are judged by
    *request*. *context* is only repeated, as in ``explain("write setting", 13, value=3)``.
    """
    number = abs(errno)
    name = "EHWPOISON" if number == EHWPOISON else numbers.errorcode.get(number, f"errno {number}")
    words = request.words() if request is not None else []
    details = ", ".join([*words, *(f"{key.replace('_', ' ')} {value}" for key, value in context.items())])
    meant = "the kernel sent SIGBUS" if operation == "touch" and number == numbers.EFAULT else os.strerror(number)
    head = f"{operation}{f' ({details})' if details else ''} failed with {name} ({meant})"
    likely = causes(operation, number, root, request)
    if not likely:
        return f"{head}; no particular cause is known for it here: see the kernel log and the manual page."
    return f"{head}: " + "; or ".join(f"{cause.why} (remedy: {cause.remedy})" for cause in likely) + "."


def causes(operation: str, errno: int, root: Path = Path("/"), request: Request | None = None) -> list[Likely]:
    """Return the possible causes of *errno*, likeliest first, without those that do not apply here."""
    number, now = abs(errno), Situation(root, request or Request())
    judged = [(cause, cause.applies(now)) for cause in _listed(operation, number)]
    certain = [cause.here(now) for cause, applies in judged if applies]
    possible = [cause.here(now) for cause, applies in judged if applies is None]
    return _with_filters(operation, number, now, certain + possible)


def system_calls(operation: str) -> str:
    """Return the system calls of *operation* that a seccomp filter has to allow; "" for none."""
    return _SYSTEM_CALLS.get(operation) or _SYSTEM_CALLS.get(operation.split()[0].split("_")[0], "")


def _with_filters(operation: str, number: int, now: Situation, likely: list[Likely]) -> list[Likely]:
    """Add a seccomp filter to the causes, where one is installed or that is unknown."""
    call, installed = system_calls(operation), now.seccomp()
    if not call or installed is False:
        return likely
    filter_ = _filter(call)
    if number in _FILTERS_ANSWER:
        return [filter_, *likely]
    if not installed:
        return likely
    if not likely:  # the kernel itself has no cause for this errno here
        return [filter_]
    return [*likely, filter_] if number in _FILTERS_MAY_ANSWER else likely


def _filter(call: str) -> Likely:
    usual = "the default profile of a container does, and " if call == "userfaultfd" else ""
    return Likely(
        f"a seccomp filter denies the system call ({usual}this process runs under a filter)",
        f"start the container with a seccomp profile that allows {call}, or run outside it",
    )


def _listed(operation: str, errno: int) -> tuple[Cause, ...]:
    for name in (operation, *_FAMILIES.get(operation.split()[0].split("_")[0], ()), "*"):
        if (operation_causes := TABLE.get((name, errno))) is not None:
            return operation_causes
    return ()


# Rows that stand in for an operation without its own.
_FAMILIES: dict[str, tuple[str, ...]] = {"MADV": ("madvise",), "mmap": ("mmap",)}
