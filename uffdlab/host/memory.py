# SPDX-License-Identifier: MIT
"""How much memory a probe may use: free memory, control-group limits, hugetlb pools.

Sources: ``Documentation/admin-guide/cgroup-v2.rst``, ``cgroup-v1/memory.rst``, ``cgroup-v1/hugetlb.rst``,
``mm/hugetlbpage.rst``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from uffdlab.host import pseudofiles

_HUGEPAGES = "sys/kernel/mm/hugepages"

# cgroup v1 writes "no limit" as the largest multiple of a page below 2^63; anything near it means none.
_NO_LIMIT_BYTES = 1 << 62
_SWAP_MAX = "memory.swap.max"


@dataclass(frozen=True)
class HugePool:
    """One hugetlb pool, in pages of ``size_kib``; an unknown count is None, never 0."""

    size_kib: int
    total: int | None
    free: int | None
    reserved: int | None
    surplus: int | None
    overcommit: int | None

    @property
    def available(self) -> int | None:
        """Return how many pages a new mapping may take from the pool: free and not reserved."""
        if self.free is None:
            return None
        return max(0, self.free - (self.reserved or 0))


def hugepages(size_kib: int, root: Path = Path("/")) -> HugePool | None:
    """Return the pool of pages of *size_kib* KiB, or None if this kernel has no such size."""
    directory = f"{_HUGEPAGES}/hugepages-{size_kib}kB"
    if not (root / directory).is_dir():
        return None
    return HugePool(
        size_kib=size_kib,
        total=pseudofiles.integer(root, f"{directory}/nr_hugepages"),
        free=pseudofiles.integer(root, f"{directory}/free_hugepages"),
        reserved=pseudofiles.integer(root, f"{directory}/resv_hugepages"),
        surplus=pseudofiles.integer(root, f"{directory}/surplus_hugepages"),
        overcommit=pseudofiles.integer(root, f"{directory}/nr_overcommit_hugepages"),
    )


@dataclass(frozen=True)
class HugeLimit:
    """A control group's limit on huge pages, in pages: how many it allows, how many of them are left.

    ``name`` is that of the file only: the group's own may name a user or a container.
    """

    size_kib: int
    pages: int
    room: int
    name: str

    def __str__(self) -> str:
        """Return the limit as a clause."""
        return f"the control group allows {self.room} more huge pages of {self.size_kib} KiB (limit: {self.pages})"

    @property
    def remedy(self) -> str:
        """Return the remedy."""
        return f"raise {self.name} of that group (see /proc/self/cgroup) or of one above it, or run outside it"


def hugetlb_limit(size_kib: int, root: Path = Path("/")) -> HugeLimit | None:
    """Return the limit of this process's control groups that leaves the fewest pages; None if nothing limits them.

    A group limits pages in use and, since 5.7, reservations (``rsvd``); a page that was not reserved counts as
    both when it is faulted in (``alloc_hugetlb_folio()``). The limits of its ancestors hold as well.
    """
    page_bytes = size_kib * 1024
    limits = []
    for version, directory in _cgroups(root, "hugetlb"):
        names = ("max", "current") if version == 2 else ("limit_in_bytes", "usage_in_bytes")
        for prefix in ("", "rsvd."):
            limit, usage = (f"{directory}/hugetlb.{_hugetlb_name(size_kib)}.{prefix}{name}" for name in names)
            allowed, used = _bytes(root, limit), _bytes(root, usage)
            if allowed is not None:
                room = max(0, allowed - (used or 0)) // page_bytes
                limits.append(HugeLimit(size_kib, allowed // page_bytes, room, PurePosixPath(limit).name))
    return min(limits, key=lambda limit: limit.room, default=None)


def _hugetlb_name(size_kib: int) -> str:
    """Return a page size as the control group's files spell it (``mem_fmt()`` of mm/hugetlb_cgroup.c)."""
    for unit, kib in (("GB", 1 << 20), ("MB", 1 << 10)):
        if size_kib >= kib:
            return f"{size_kib // kib}{unit}"
    return f"{size_kib}KB"


def hugepage_sizes_kib(root: Path = Path("/")) -> list[int]:
    """Return the hugetlb page sizes of this kernel in KiB, ascending."""
    names = pseudofiles.entries(root, _HUGEPAGES)
    return sorted(int(m.group(1)) for m in (re.fullmatch(r"hugepages-([0-9]+)kB", n) for n in names) if m)


def meminfo_kib(name: str, root: Path = Path("/")) -> int | None:
    """Return the line *name* of /proc/meminfo in KiB."""
    return pseudofiles.as_integer(pseudofiles.fields(root, "proc/meminfo").get(name, "").removesuffix("kB").strip())


def cgroup_limit_kib(root: Path = Path("/")) -> int | None:
    """Return the memory limit of this process's control group in KiB, or None if nothing limits it.

    The limit of a group is the smallest of its own and its ancestors'.
    """
    limits = [
        limit
        for group in _memory_cgroups(root)
        if (limit := _bytes(root, f"{group.directory}/{group.limit}")) is not None
    ]
    return min(limits) // 1024 if limits else None


def memory_available_kib(root: Path = Path("/")) -> int | None:
    """Return the KiB available now without swapping or reaching a control-group limit; None if unknown."""
    candidates = [
        meminfo_kib("MemAvailable", root),
        *(_headroom_kib(group, root) for group in _memory_cgroups(root)),
    ]
    known = [kib for kib in candidates if kib is not None]
    return min(known) if known else None


def swap_forbidden(root: Path = Path("/")) -> str | None:
    """Return the file of this process's control group, or of one above it, that forbids swap; None where none does."""
    return next(
        (
            f"/{group.directory}/{_SWAP_MAX}"
            for group in _memory_cgroups(root)
            if pseudofiles.integer(root, f"{group.directory}/{_SWAP_MAX}") == 0
        ),
        None,
    )


def oom_kills(root: Path = Path("/")) -> dict[str, int]:
    """Return the OOM kills, by the file that counts them.

    ``/proc/vmstat`` counts the whole machine; ``memory.events`` (version 1: ``memory.oom_control``) this process's
    control group. Files that cannot be read are absent.
    """
    files = [("/proc/vmstat", "proc/vmstat")]
    for group in _memory_cgroups(root):
        files += [(name, f"{group.directory}/{name}") for name in ("memory.events", "memory.oom_control")]
    kills: dict[str, int] = {}
    for where, path in files:
        count = _counter(root, path, "oom_kill")
        if count is not None:
            kills.setdefault(where, count)  # the own group comes before its ancestors
    return kills


def _counter(root: Path, path: str, name: str) -> int | None:
    """Return the number after *name* in a file of ``name number`` lines."""
    for line in pseudofiles.lines(root, path):
        if line.startswith(f"{name} "):
            return pseudofiles.as_integer(line.split(" ")[1])
    return None


@dataclass(frozen=True)
class _Group:
    """A memory control group: its directory, and the names of its files in this version."""

    directory: str
    limit: str
    throttle: str | None
    usage: str
    inactive: str


def _headroom_kib(group: _Group, root: Path) -> int | None:
    # Above memory.high allocations are throttled: for a measurement that is a limit too.
    names = [group.limit, *([group.throttle] if group.throttle else [])]
    limits = [b for b in (_bytes(root, f"{group.directory}/{name}") for name in names) if b is not None]
    usage = _bytes(root, f"{group.directory}/{group.usage}")
    if not limits or usage is None:
        return None
    # Inactive page cache is charged to the group but reclaimed first.
    stat = dict(
        line.split(" ", maxsplit=1) for line in pseudofiles.lines(root, f"{group.directory}/memory.stat") if " " in line
    )
    reclaimable = pseudofiles.as_integer(stat.get(group.inactive)) or 0
    return max(0, min(limits) - max(0, usage - reclaimable)) // 1024


def _bytes(root: Path, path: str) -> int | None:
    """Return the bytes in *path*; None for "max", for version 1's huge number and for no such file."""
    number = pseudofiles.integer(root, path)
    return None if number is None or number >= _NO_LIMIT_BYTES else number


def _memory_cgroups(root: Path) -> Iterator[_Group]:
    """Yield this process's memory control group and its ancestors, of version 1 and of version 2."""
    for version, directory in _cgroups(root, "memory"):
        if version == 2:
            yield _Group(directory, "memory.max", "memory.high", "memory.current", "inactive_file")
        else:
            yield _Group(directory, "memory.limit_in_bytes", None, "memory.usage_in_bytes", "total_inactive_file")


def _cgroups(root: Path, controller: str) -> Iterator[tuple[int, str]]:
    """Yield version and directory of this process's control group, if it may have the controller, and its ancestors."""
    for line in pseudofiles.lines(root, "proc/self/cgroup"):
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            yield from ((2, directory) for directory in _upwards(_mount(root, "cgroup2", None), path))
        elif controller in controllers.split(","):
            yield from ((1, directory) for directory in _upwards(_mount(root, "cgroup", controller), path))


def _mount(root: Path, kind: str, controller: str | None) -> tuple[str, str]:
    """Return the mount point of a cgroup hierarchy and the part of the hierarchy that is mounted there."""
    for line in pseudofiles.lines(root, "proc/self/mountinfo"):
        # ID parent major:minor ROOT POINT options … - KIND source SUPER-OPTIONS
        before, _, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if len(left) < 5 or len(right) < 3 or right[0] != kind:
            continue
        if controller is None or controller in right[2].split(","):
            return pseudofiles.unescaped(left[4]).lstrip("/"), pseudofiles.unescaped(left[3])
    return ("sys/fs/cgroup" if controller is None else f"sys/fs/cgroup/{controller}"), "/"


def _upwards(mount: tuple[str, str], path: str) -> Iterator[str]:
    """Yield the directories from the group at *path* up to the mount point.

    A container may see the path of its host while only its own part is mounted.
    """
    point, mounted = mount
    group = PurePosixPath(path)
    inside = group.relative_to(mounted) if group.is_relative_to(mounted) else PurePosixPath()
    if ".." in inside.parts:
        inside = PurePosixPath()
    for part in (inside, *inside.parents) if inside.parts else (inside,):
        yield str(PurePosixPath(point) / part)
