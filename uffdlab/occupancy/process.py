# SPDX-License-Identifier: MIT
"""A process to scan: its pagemap, maps and counters, or one sentence on why they cannot be read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from uffdlab.errors import UffdlabError
from uffdlab.host import errnos, pseudofiles, threads
from uffdlab.occupancy import mappings

_ROOT = Path("/")
_MINOR_FAULTS = 7  # of the fields of /proc/PID/stat after the name: minflt
_TRIES = 3  # a thread may end between being chosen and being read
T = TypeVar("T")


@dataclass(frozen=True)
class Counters:
    """The kernel's counters of a process, in KiB; None where they are missing.

    ``vm_pte_kib`` is the memory of its page tables, ``vm_rss_kib`` its resident memory without hugetlb pages, of which
    ``rss_anon_kib`` are anonymous pages and ``rss_shmem_kib`` those of shared memory and tmpfs.
    """

    vm_pte_kib: int | None
    vm_rss_kib: int | None
    hugetlb_kib: int | None
    vm_swap_kib: int | None
    minor_faults: int | None
    children: frozenset[str] | None
    rss_anon_kib: int | None = None
    rss_shmem_kib: int | None = None


def counters(pid: int) -> Counters:
    """Read the counters now; all None once the process is gone."""
    status = pseudofiles.fields(_ROOT, f"{threads.living(pid)}/status")

    def kib(name: str) -> int | None:
        return pseudofiles.as_integer(status.get(name, "").removesuffix(" kB").strip())

    # The name in parentheses may hold any character; after it there are numbers only.
    stat = (pseudofiles.text(_ROOT, f"proc/{pid}/stat") or "").rpartition(")")[2].split()
    faults = pseudofiles.as_integer(stat[_MINOR_FAULTS]) if len(stat) > _MINOR_FAULTS else None
    memory = (kib("VmPTE"), kib("VmRSS"), kib("HugetlbPages"), kib("VmSwap"))
    return Counters(*memory, faults, _children(pid), kib("RssAnon"), kib("RssShmem"))


def _children(pid: int) -> frozenset[str] | None:
    children: set[str] = set()
    for task in pseudofiles.entries(_ROOT, f"proc/{pid}/task"):
        listed = pseudofiles.text(_ROOT, f"proc/{pid}/task/{task}/children")
        if listed is None:  # a kernel without CONFIG_PROC_CHILDREN, or a thread that has just ended
            return None
        children.update(listed.split())
    return frozenset(children)


@contextmanager
def opened(pid: int) -> Iterator[int]:
    """Open the process's pagemap, which stays with the mm it has now, whatever it executes later.

    Raises UffdlabError where there is no such process, it has no memory, or this user may not read it.
    """
    if not Path(f"/proc/{pid}").exists():
        raise UffdlabError(_no_such(pid))
    fd = _of_living(pid, "pagemap", lambda path: os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    try:
        yield fd
    finally:
        os.close(fd)


def read_maps(pid: int) -> bytes:
    """Return the content of /proc/PID/maps. Raises UffdlabError as ``opened`` does."""
    maps = _of_living(pid, "maps", Path.read_bytes)
    if not maps:
        raise UffdlabError(without_memory(pid))
    return maps


def maps_or_nothing(pid: int) -> bytes:
    """Return the content of /proc/PID/maps, empty once the process is gone."""
    with suppress(UffdlabError):
        return _of_living(pid, "maps", Path.read_bytes)
    return b""


def kinds(pid: int) -> mappings.Kinds:
    """Return the kinds of its mappings."""
    path = _ROOT / threads.living(pid)
    # map_files is missing in task/TID; /proc/TID has it, though readdir() of /proc does not list it.
    return mappings.Kinds(mappings.read_devices(path), path, _ROOT / "proc" / path.name / "map_files")


def without_memory(pid: int) -> str:
    """Return one sentence on why a process has no mappings, or no longer those it had."""
    path = threads.living(pid)
    status = pseudofiles.fields(_ROOT, f"{path}/status")
    if not status:
        return f"process {pid} ended before anything was read"
    if threads.ended(path):
        return f"process {pid} has ended and only waits for its parent: it has no memory any more"
    if "VmSize" in status:
        return f"process {pid} executed another program before anything was read: look again"
    return f"process {pid} is a kernel thread: it has no mappings of its own"


def _of_living(pid: int, name: str, read: Callable[[Path], T]) -> T:
    """Read a file of a living thread; an empty file is that of a thread that ended meanwhile."""
    for _ in range(_TRIES):
        thread = threads.living(pid)
        try:
            content = read(_ROOT / thread / name)
        except OSError as error:
            if threads.living(pid) == thread or error.errno not in (errno.ENOENT, errno.ESRCH):
                raise UffdlabError(_refused(pid, error)) from error
            continue
        if content != b"" or threads.living(pid) == thread:
            return content
    raise UffdlabError(without_memory(pid))


def _refused(pid: int, error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"process {pid} may not be read by this user, because it belongs to another user or has more "
            "privilege: run as its user, or with CAP_SYS_PTRACE"
        )
    if error.errno in (errno.ENOENT, errno.ESRCH):
        if Path(f"/proc/{pid}/pagemap").exists():  # it exists and cannot be opened: the process has no mm
            return without_memory(pid)
        if Path(f"/proc/{pid}").exists():
            return "this kernel has no /proc/PID/pagemap (CONFIG_PROC_PAGE_MONITOR): use one that has"
        return _no_such(pid)
    return errnos.explain("pagemap", error.errno or 0)


def _no_such(pid: int) -> str:
    return f"there is no process {pid}: it has ended, or /proc hides it from this user"
