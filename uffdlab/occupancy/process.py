# SPDX-License-Identifier: MIT
"""A process to look at: opened, or one sentence on why it cannot be; and its own counters."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from uffdlab.errors import UffdlabError
from uffdlab.host import errnos, pseudofiles

_ROOT = Path("/")
_MOST_DIGITS = 10  # more than a process ID ever has
_MINOR_FAULTS = 7  # of the fields of /proc/PID/stat after the name: minflt


@dataclass(frozen=True)
class Counters:
    """What the kernel counts for a process, in KiB; None where it does not tell.

    ``vm_pte_kib`` is the memory of its page tables, ``vm_rss_kib`` what is resident without hugetlb pages.
    """

    vm_pte_kib: int | None
    vm_rss_kib: int | None
    hugetlb_kib: int | None
    vm_swap_kib: int | None
    minor_faults: int | None
    children: frozenset[str] | None


def process_id(text: str) -> int:
    """Return the process ID a command line gives. Raises UffdlabError when it is none."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS and int(text)):
        raise UffdlabError(f"{text[:40]!r} is not a process ID: write a whole number above 0, as 'ps' shows it")
    return int(text)


def counters(pid: int) -> Counters:
    """Read the counters now; all None once the process is gone."""
    status = pseudofiles.fields(_ROOT, f"proc/{pid}/status")

    def kib(name: str) -> int | None:
        return pseudofiles.as_integer(status.get(name, "").removesuffix(" kB").strip())

    stat = (pseudofiles.text(_ROOT, f"proc/{pid}/stat") or "").rpartition(")")[2].split()
    faults = int(stat[_MINOR_FAULTS]) if len(stat) > _MINOR_FAULTS else None
    memory = (kib("VmPTE"), kib("VmRSS"), kib("HugetlbPages"), kib("VmSwap"))
    return Counters(*memory, faults, _children(pid))


def _children(pid: int) -> frozenset[str] | None:
    found: set[str] = set()
    for task in pseudofiles.entries(_ROOT, f"proc/{pid}/task"):
        listed = pseudofiles.text(_ROOT, f"proc/{pid}/task/{task}/children")
        if listed is None:  # a kernel without CONFIG_PROC_CHILDREN, or a thread that has just ended
            return None
        found.update(listed.split())
    return frozenset(found)


@contextmanager
def opened(pid: int) -> Iterator[int]:
    """Open the process's pagemap; it stays with the memory of this moment, whatever the process executes later.

    Raises UffdlabError where there is no such process, it has no memory, or this user may not look.
    """
    if not Path(f"/proc/{pid}").exists():
        raise UffdlabError(_no_such(pid))
    try:
        fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UffdlabError(_refused(pid, error)) from error
    try:
        yield fd
    finally:
        os.close(fd)


def read_maps(pid: int) -> str:
    """Return the text of its list of mappings. Raises UffdlabError as ``opened`` does."""
    try:
        found = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UffdlabError(_refused(pid, error)) from error
    if not found:
        raise UffdlabError(without_memory(pid))
    return found


def maps_or_nothing(pid: int) -> str:
    """Return the text of its list of mappings, empty once it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    return ""


def without_memory(pid: int) -> str:
    """Return one sentence on why a process has no mappings, or none of those it had."""
    status = pseudofiles.fields(_ROOT, f"proc/{pid}/status")
    if not status:
        return f"process {pid} ended before anything was read: nothing can be said of it"
    if status.get("State", "").startswith(("Z", "X")):
        return f"process {pid} has ended and only waits for its parent: it has no memory any more"
    if "VmSize" in status:
        return f"process {pid} executed another program before anything was read: look again"
    return f"process {pid} is a kernel thread: it has no mappings of its own"


def _refused(pid: int, error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"process {pid} may not be looked at by this user, because it belongs to somebody else or has more "
            "privilege: run as its user, or as root"
        )
    if error.errno in (errno.ENOENT, errno.ESRCH):
        if Path(f"/proc/{pid}/pagemap").exists():  # opening it is refused, so there is no memory behind it
            return without_memory(pid)
        if Path(f"/proc/{pid}").exists():
            return "this kernel has no /proc/PID/pagemap (CONFIG_PROC_PAGE_MONITOR): use one that has"
        return _no_such(pid)
    return errnos.explain("pagemap", error.errno or 0)


def _no_such(pid: int) -> str:
    return f"there is no process {pid}: it has ended, or /proc hides it from this user"
