# SPDX-License-Identifier: MIT
"""Runs a command under a seccomp filter that answers some of its system calls, as containers and sandboxes do.

Usage: ``python filters.py ANSWER CALL[,CALL…] COMMAND…``. An answer is the name of an errno, or KILL_PROCESS,
KILL_THREAD or TRAP; a call is a name below. Filters are inherited by whatever the command starts.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from pathlib import Path

ANSWERS = {"KILL_PROCESS": 0x80000000, "KILL_THREAD": 0, "TRAP": 0x00030000}
# Number on x86_64 and on arm64, and a request in the second argument (ioctl) or an advice in the third (madvise).
CALLS: dict[str, tuple[int, int, tuple[int, int] | None]] = {
    "userfaultfd": (323, 282, None),
    "PAGEMAP_SCAN": (16, 29, (1, 0xC0606610)),
    "USERFAULTFD_IOC_NEW": (16, 29, (1, 0xAA00)),
    "UFFDIO_API": (16, 29, (1, 0xC018AA3F)),
    "UFFDIO_REGISTER": (16, 29, (1, 0xC020AA00)),
    "UFFDIO_WRITEPROTECT": (16, 29, (1, 0xC018AA06)),
    "MADV_POPULATE_READ": (28, 233, (2, 22)),
    "MADV_DONTNEED": (28, 233, (2, 4)),
    "MADV_NOHUGEPAGE": (28, 233, (2, 15)),
    "madvise": (28, 233, None),
    "prctl": (157, 167, None),
    "sched_setaffinity": (203, 122, None),
    "sched_getaffinity": (204, 123, None),
    "memfd_create": (319, 279, None),
    "perf_event_open": (298, 241, None),
    "mincore": (27, 232, None),
    "clone3": (435, 435, None),
    "clone": (56, 220, None),
    "fork": (57, 1079, None),  # arm64 has neither fork nor vfork
    "vfork": (58, 1071, None),
}
_LOAD, _JUMP_IF_EQUAL, _RETURN, _ALLOW = 0x20, 0x15, 0x06, 0x7FFF0000
_ARGUMENTS = 16  # where they begin in struct seccomp_data


def under(answer: str, *calls: str) -> list[str]:
    """Return what comes before a command that is to run under such a filter."""
    return [sys.executable, str(Path(__file__).resolve()), answer, ",".join(calls)]


def why_impossible() -> str | None:
    """Return why no filter can be tried here."""
    if not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "aarch64"):
        return "filters are written for Linux on x86_64 and arm64"
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    known = actions.read_text().split() if actions.exists() else []
    return None if "kill_process" in known else "this kernel has no seccomp filters"


def _steps(answer: str, calls: list[str]) -> list[tuple[int, int, int, int]]:
    returned = ANSWERS[answer] if answer in ANSWERS else 0x00050000 | int(getattr(errno, answer))
    steps: list[tuple[int, int, int, int]] = []
    for name in calls:
        x86, arm, argument = CALLS[name]
        number = x86 if platform.machine() == "x86_64" else arm
        steps += [(_LOAD, 0, 0, 0), (_JUMP_IF_EQUAL, 0, 3 if argument else 1, number)]
        if argument:
            steps += [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument[0]), (_JUMP_IF_EQUAL, 0, 1, argument[1])]
        steps.append((_RETURN, 0, 0, returned))
    return [*steps, (_RETURN, 0, 0, _ALLOW)]


def main() -> None:
    """Install the filter and become the command."""
    answer, calls, *command = sys.argv[1:]
    steps = _steps(answer, calls.split(","))
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    filter_ = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program)))
    libc = ctypes.CDLL(None, use_errno=True)
    for request in ((38, 1, 0, 0, 0), (22, 2, ctypes.addressof(filter_), 0, 0)):  # no new privileges; seccomp
        if libc.prctl(*map(ctypes.c_ulong, request)):
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
