# SPDX-License-Identifier: MIT
"""The anonymous, shmem and hugetlb mappings of a process, told apart by device and never by a path.

A line of /proc/PID/maps names the device a mapping's file lives on. Shared anonymous memory, memfd and SysV memory live
on a mount that only the kernel has, and so does hugetlb memory, one per page size: a memfd of our own tells its device
number. Other tmpfs and hugetlbfs mounts stand in mountinfo.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from uffdlab.host import memory, uapi

_LINE = re.compile(
    r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) [0-9a-f]+ ([0-9a-f]+:[0-9a-f]+) (\d+)(?: +(.*))?", re.ASCII | re.DOTALL
)
_HUGE_OPTION = re.compile(r"\bpagesize=(\d+)([KMG])")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# What carries no file and is memory all the same; [vvar], [vdso] and the like belong to the kernel.
_ANONYMOUS_NAMES = ("", "[heap]", "[stack]")
Devices = dict[str, tuple[str, int]]  # "0:25" → kind, page size in bytes


@dataclass(frozen=True)
class Mapping:
    """One mapping: its range, its permissions as in ``rw-p``, and what tells its file from another."""

    start: int
    end: int
    kind: str
    flags: str
    page_bytes: int
    file: tuple[str, int]

    @property
    def length(self) -> int:
        """Return its length in bytes."""
        return self.end - self.start

    @property
    def shared(self) -> bool:
        """Return whether it is mapped shared."""
        return self.flags.endswith("s")

    @property
    def accessible(self) -> bool:
        """Return whether it may be accessed at all: without, it is address space and no memory yet."""
        return not self.flags.startswith("---")


def devices(mountinfo: str) -> Devices:
    """Return the devices on which memory lives, from a process's mountinfo and from memfds of our own."""
    base = os.sysconf("SC_PAGE_SIZE")
    found: Devices = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        left, right = before.split(), after.split()
        if len(left) < 3 or not right:
            continue
        if right[0] == "tmpfs":
            found[left[2]] = ("shmem", base)
        option = _HUGE_OPTION.search(after)
        if right[0] == "hugetlbfs" and option:
            found[left[2]] = ("hugetlb", int(option[1]) * _UNITS[option[2]])
    return found | _own_mounts(base)


def _own_mounts(base: int) -> Devices:
    found: Devices = {}
    for size in (base, *(kib << 10 for kib in memory.hugepage_sizes_kib())):
        huge = 0 if size == base else os.MFD_HUGETLB | (size.bit_length() - 1) << uapi.MAP_HUGE_SHIFT
        with contextlib.suppress(OSError):  # a kernel without memfd or hugetlbfs has no such mappings to find
            fd = os.memfd_create("uffdlab", os.MFD_CLOEXEC | huge)
            device = os.fstat(fd).st_dev
            os.close(fd)
            found[f"{os.major(device)}:{os.minor(device)}"] = ("hugetlb" if huge else "shmem", size)
    return found


def parse(maps: str, known: Devices) -> list[Mapping]:
    """Return the mappings of memory in the text of /proc/PID/maps; those of files are left out."""
    found = []
    for line in maps.split("\n"):
        if (match := _LINE.fullmatch(line)) is None:
            continue
        start, end, flags, device, inode, name = match.groups(default="")
        file = (device, int(inode))
        kind = _kind(file, name, known)
        if kind:
            found.append(Mapping(int(start, 16), int(end, 16), kind[0], flags, kind[1], file))
    return found


def _kind(file: tuple[str, int], name: str, known: Devices) -> tuple[str, int] | None:
    if file == ("00:00", 0):
        anonymous = name in _ANONYMOUS_NAMES or name.startswith(("[anon:", "[stack:"))
        return ("anon", os.sysconf("SC_PAGE_SIZE")) if anonymous else None
    major, minor = (int(part, 16) for part in file[0].split(":"))
    return known.get(f"{major}:{minor}")


def read_devices(pid: int) -> Devices:
    """Return the devices as the process sees them; its mounts may be hidden, then as this process does."""
    for whose in (str(pid), "self"):
        with contextlib.suppress(OSError):
            return devices(Path(f"/proc/{whose}/mountinfo").read_text(encoding="utf-8", errors="replace"))
    return devices("")


def still_mapped(one: Mapping, now: list[Mapping]) -> bool:
    """Return whether the whole range is still mapped to the same kind of memory and the same file."""
    covered = one.start
    for other in now:  # in ascending order, as the kernel tells them
        if (other.kind, other.file) == (one.kind, one.file) and other.start <= covered < other.end:
            covered = other.end
    return covered >= one.end
