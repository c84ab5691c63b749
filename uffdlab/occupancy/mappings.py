# SPDX-License-Identifier: MIT
"""The mappings of a process and what kind of memory each is, told by device and never by a path.

A line of /proc/PID/maps names the device a mapping's file lives on. Shared anonymous memory, memfd and SysV memory live
on a mount that only the kernel has, and so does hugetlb memory, one per page size: a memfd of our own tells its device
number. Other tmpfs and hugetlbfs mounts stand in mountinfo; a mount that no mountinfo shows is asked through
/proc/PID/map_files, where that is allowed (CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE).

The kinds:

- ``anon``: anonymous memory, private mappings of /dev/zero too.
- ``shmem``: shared anonymous memory, memfd, SysV memory, files on tmpfs; ``hugetlb``: the same in huge pages.
- ``private file``: a private mapping of any other file. It maps pages of the file until the first write to each, which
  gives the process a page of its own: that is anonymous memory. A guest restored from a snapshot file is one.
- ``shared file``: a shared mapping of any other file, or a device. Its pages are never the process's own.
- ``kernel``: [vdso], [vvar] and what else the kernel puts there.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from uffdlab import native
from uffdlab.host import memory, pseudofiles, uapi

KINDS = ("anon", "shmem", "hugetlb", "private file")  # what may hold memory of a process
_LINE = re.compile(
    rb"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([r-][w-][x-][ps]) [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) ([0-9]{1,20})(?: +(.*))?",
    re.DOTALL,
)
_HUGE_OPTION = re.compile(r"\bpagesize=(\d+)([KMG])", re.ASCII)
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_TMPFS = ("tmpfs", "devtmpfs")
_TMPFS_MAGIC, _HUGETLBFS_MAGIC = 0x01021994, 0x958458F6  # of statfs(2): include/uapi/linux/magic.h
# What carries no file and is memory all the same; [vvar], [vdso] and the like belong to the kernel.
_ANONYMOUS_NAMES = (b"", b"[heap]", b"[stack]")
_NO_FILE = ("0:0", 0)
_DEV_ZERO = os.makedev(1, 5)
File = tuple[str, int]  # device as in mountinfo ("0:25"), inode
# "0:25" → kind and page size in bytes; None where plain files live.
Devices = dict[str, tuple[str, int] | None]


@dataclass(frozen=True, slots=True)
class Mapping:
    """One mapping: its range, its permissions as in ``rw-p``, and what tells its file from another."""

    start: int
    end: int
    kind: str
    flags: str
    page_bytes: int
    file: File

    @property
    def length(self) -> int:
        """Return its length in bytes."""
        return self.end - self.start

    @property
    def shared(self) -> bool:
        """Return whether it is mapped shared."""
        return self.flags.endswith("s")

    @property
    def writable(self) -> bool:
        """Return whether it may be written to now."""
        return self.flags[1] == "w"

    @property
    def accessible(self) -> bool:
        """Return whether it may be accessed at all."""
        return not self.flags.startswith("---")


def devices(mountinfo: bytes) -> Devices:
    """Return what lives on each device that a process's mountinfo names."""
    base = os.sysconf("SC_PAGE_SIZE")
    found: Devices = {}
    for line in pseudofiles.decoded(mountinfo).split("\n"):
        # ID parent major:minor ROOT POINT options … - KIND source SUPER-OPTIONS
        before, _, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if len(left) < 3:
            continue
        option = _HUGE_OPTION.search(right[-1])
        found[left[2]] = None
        if right[0] in _TMPFS:
            found[left[2]] = ("shmem", base)
        elif right[0] == "hugetlbfs" and option:
            found[left[2]] = ("hugetlb", int(option[1]) * _UNITS[option[2]])
    return found


def read_devices(process: Path) -> Devices:
    """Return the devices as this process and that under ``/proc/…`` see them, and those that only the kernel has."""
    found: Devices = {}
    for whose in (Path("/proc/self"), process):  # device numbers mean the same to both
        with contextlib.suppress(OSError):
            found |= devices((whose / "mountinfo").read_bytes())
    return found | _own_mounts()


def _own_mounts() -> Devices:
    base = os.sysconf("SC_PAGE_SIZE")
    found: Devices = {}
    for size in (base, *(kib << 10 for kib in memory.hugepage_sizes_kib())):
        huge = 0 if size == base else os.MFD_HUGETLB | (size.bit_length() - 1) << uapi.MAP_HUGE_SHIFT
        with contextlib.suppress(OSError):  # a kernel without memfd or hugetlbfs has no such mappings to find
            fd = os.memfd_create("uffdlab", os.MFD_CLOEXEC | huge)
            device = os.fstat(fd).st_dev
            os.close(fd)
            found[_device(device)] = ("hugetlb" if huge else "shmem", size)
    return found


def _device(number: int) -> str:
    return f"{os.major(number)}:{os.minor(number)}"


class Kinds:
    """Tells the kind of each mapping of one process, and asks about each of its files once.

    ``process`` is where /proc tells of it, ``map_files`` the directory of that name.
    """

    def __init__(self, known: Devices, process: Path, map_files: Path) -> None:
        """Begin with the devices that are known."""
        self._devices, self._process, self._map_files = dict(known), process, map_files
        self._found: dict[tuple[File, bool], tuple[str, int]] = {}
        self._base = os.sysconf("SC_PAGE_SIZE")

    def kind(self, file: File, name: bytes, where: bytes, *, shared: bool) -> tuple[str, int]:
        """Return kind and page size in bytes; ``where`` is the mapping's range as maps writes it."""
        if file == _NO_FILE:
            anonymous = name in _ANONYMOUS_NAMES or name.startswith((b"[anon:", b"[stack:"))
            return ("anon" if anonymous else "kernel", self._base)
        key = (file, shared)
        if key not in self._found:
            self._found[key] = self._asked(file, name, where, shared=shared)
        return self._found[key]

    def _asked(self, file: File, name: bytes, where: bytes, *, shared: bool) -> tuple[str, int]:
        device = file[0]
        plain = ("shared file" if shared else "private file", self._base)
        if device in self._devices and self._devices[device] is None:
            return plain
        mode, number = self._node(file, name, where)
        if stat.S_ISCHR(mode) and number == _DEV_ZERO and not shared:
            return "anon", self._base  # mmap_zero() of drivers/char/mem.c
        if not stat.S_ISREG(mode):
            return "shared file", self._base  # a device, on whatever it lies; no page of it is the process's own
        if device not in self._devices:
            self._devices[device] = self._filesystem(where)
        return self._devices[device] or plain

    def _node(self, file: File, name: bytes, where: bytes) -> tuple[int, int]:
        """Return mode and device number of a mapping's file, found by its name and known by its inode; or a file's."""
        for path in (self._map_files / os.fsdecode(where), Path(f"{self._process}/root{os.fsdecode(name)}")):
            with contextlib.suppress(OSError, ValueError):
                found = path.stat()
                if (_device(found.st_dev), found.st_ino) == file:
                    return found.st_mode, found.st_rdev
        return stat.S_IFREG, 0

    def _filesystem(self, where: bytes) -> tuple[str, int] | None:
        """Return what a file lives on if that is memory; None as well where nobody tells."""
        ffi, lib = native.probe()
        block = ffi.new("uint64_t *")
        magic = lib.ul_filesystem(os.fsencode(self._map_files / os.fsdecode(where)), block)
        if magic == _TMPFS_MAGIC:
            return "shmem", self._base
        return ("hugetlb", int(block[0])) if magic == _HUGETLBFS_MAGIC else None


def parse(maps: bytes, kinds: Kinds) -> list[Mapping]:
    """Return the mappings in the content of /proc/PID/maps, in ascending order."""
    return list(_parsed(maps, kinds))


def _parsed(maps: bytes, kinds: Kinds) -> Iterator[Mapping]:
    for line in maps.split(b"\n"):
        if (match := _LINE.fullmatch(line)) is None:
            continue
        start, end, flags, major, minor, inode, name = match.groups(default=b"")
        file = (f"{int(major, 16)}:{int(minor, 16)}", int(inode))
        kind, page_bytes = kinds.kind(file, name, line[: match.end(2)], shared=flags.endswith(b"s"))
        yield Mapping(int(start, 16), int(end, 16), kind, sys.intern(flags.decode()), page_bytes, file)


def changed(seen: Iterable[Mapping], now: Sequence[Mapping]) -> list[bool]:
    """Return for each mapping, in ascending order, whether part of its range is no longer what it was.

    What it was is the same kind of memory and the same file, in as many mappings as there may be by now; ``now`` is in
    ascending order too, and each list is walked once.
    """
    found, first = [], 0
    for one in seen:
        while first < len(now) and now[first].end <= one.start:
            first += 1
        covered, at = one.start, first
        while covered < one.end and at < len(now) and now[at].start <= covered:
            if (now[at].kind, now[at].file) != (one.kind, one.file):
                break
            covered, at = now[at].end, at + 1
        found.append(covered < one.end)
    return found
