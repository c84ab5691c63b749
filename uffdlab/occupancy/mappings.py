# SPDX-License-Identifier: MIT
"""The mappings of a process and the kind of memory of each, known by its device and never by its path.

A line of /proc/PID/maps names the device a mapping's file lives on. Shared anonymous memory, memfd and SysV memory live
on kernel-internal mounts, and so does hugetlb memory, one per page size: fstat() of a memfd gives their device numbers.
Other tmpfs and hugetlbfs mounts are in mountinfo; for a mount that is in none, statfs() of a file in
/proc/PID/map_files, where that is allowed (CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE).

The kinds:

- ``anon``: anonymous memory, private mappings of /dev/zero too.
- ``shmem``: shared anonymous memory, memfd, SysV memory, files on tmpfs; ``hugetlb``: the same in huge pages.
- ``private file``: a private mapping of any other file. It maps pages of the file until the first write to each, which
  gives the process a page of its own: that is anonymous memory. A guest restored from a snapshot file is one.
- ``shared file``: a shared mapping of any other file, or a device. Its pages are never the process's own.
- ``kernel``: [vdso], [vvar] and other mappings of the kernel's.
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

KINDS = ("anon", "shmem", "hugetlb", "private file")  # that may hold memory of a process
_LINE = re.compile(
    rb"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([r-][w-][x-][ps]) [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) ([0-9]{1,20})(?: +(.*))?",
    re.DOTALL,
)
_HUGE_OPTION = re.compile(r"\bpagesize=(\d+)([KMG])", re.ASCII)
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_TMPFS = ("tmpfs", "devtmpfs")
_TMPFS_MAGIC, _HUGETLBFS_MAGIC = 0x01021994, 0x958458F6  # of statfs(2): include/uapi/linux/magic.h
# Names of anonymous memory; [vvar], [vdso] and the like belong to the kernel.
_ANONYMOUS_NAMES = (b"", b"[heap]", b"[stack]")
_NO_FILE = ("0:0", 0)
_DEV_ZERO = os.makedev(1, 5)
File = tuple[str, int]  # device as in mountinfo ("0:25"), inode
# "0:25" → kind and page size in bytes; None where plain files live.
Devices = dict[str, tuple[str, int] | None]


@dataclass(frozen=True, slots=True)
class Mapping:
    """One mapping: its range, its permissions as in ``rw-p``, and device and inode of its file."""

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
        """Return whether it is writable now."""
        return self.flags[1] == "w"

    @property
    def accessible(self) -> bool:
        """Return whether it has any access permission."""
        return not self.flags.startswith("---")


def devices(mountinfo: bytes) -> Devices:
    """Return the kind of memory on each device in a process's mountinfo."""
    base = os.sysconf("SC_PAGE_SIZE")
    kinds: Devices = {}
    for line in pseudofiles.decoded(mountinfo).split("\n"):
        # ID parent major:minor ROOT POINT options … - KIND source SUPER-OPTIONS
        before, _, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if len(left) < 3:
            continue
        option = _HUGE_OPTION.search(right[-1])
        kinds[left[2]] = None
        if right[0] in _TMPFS:
            kinds[left[2]] = ("shmem", base)
        elif right[0] == "hugetlbfs" and option:
            kinds[left[2]] = ("hugetlb", int(option[1]) * _UNITS[option[2]])
    return kinds


def read_devices(process: Path) -> Devices:
    """Return the devices in the mountinfo of this process and of ``process``, and those of kernel-internal mounts."""
    kinds: Devices = {}
    for whose in (Path("/proc/self"), process):  # device numbers mean the same to both
        with contextlib.suppress(OSError):
            kinds |= devices((whose / "mountinfo").read_bytes())
    return kinds | _own_mounts()


def _own_mounts() -> Devices:
    base = os.sysconf("SC_PAGE_SIZE")
    kinds: Devices = {}
    for size in (base, *(kib << 10 for kib in memory.hugepage_sizes_kib())):
        huge = 0 if size == base else os.MFD_HUGETLB | (size.bit_length() - 1) << uapi.MAP_HUGE_SHIFT
        with contextlib.suppress(OSError):  # a kernel without memfd or hugetlbfs has no such mappings
            fd = os.memfd_create("uffdlab", os.MFD_CLOEXEC | huge)
            device = os.fstat(fd).st_dev
            os.close(fd)
            kinds[_device(device)] = ("hugetlb" if huge else "shmem", size)
    return kinds


def _device(number: int) -> str:
    return f"{os.major(number)}:{os.minor(number)}"


class Kinds:
    """The kinds of the mappings of one process; each file is looked up once.

    ``process`` is its directory in /proc, ``map_files`` the directory of that name.
    """

    def __init__(self, known: Devices, process: Path, map_files: Path) -> None:
        """Begin with the known devices."""
        self._devices, self._process, self._map_files = dict(known), process, map_files
        self._kinds: dict[tuple[File, bool], tuple[str, int]] = {}
        self._base = os.sysconf("SC_PAGE_SIZE")

    def kind(self, file: File, name: bytes, where: bytes, *, shared: bool) -> tuple[str, int]:
        """Return kind and page size in bytes; ``where`` is the mapping's range as maps writes it."""
        if file == _NO_FILE:
            anonymous = name in _ANONYMOUS_NAMES or name.startswith((b"[anon:", b"[stack:"))
            return ("anon" if anonymous else "kernel", self._base)
        key = (file, shared)
        if key not in self._kinds:
            self._kinds[key] = self._looked_up(file, name, where, shared=shared)
        return self._kinds[key]

    def _looked_up(self, file: File, name: bytes, where: bytes, *, shared: bool) -> tuple[str, int]:
        device = file[0]
        plain = ("shared file" if shared else "private file", self._base)
        if device in self._devices and self._devices[device] is None:
            return plain
        mode, number = self._node(file, name, where)
        if stat.S_ISCHR(mode) and number == _DEV_ZERO and not shared:
            return "anon", self._base  # mmap_zero() of drivers/char/mem.c
        if not stat.S_ISREG(mode):
            return "shared file", self._base  # a device, whatever its filesystem; no page of it is the process's own
        if device not in self._devices:
            self._devices[device] = self._filesystem(where)
        return self._devices[device] or plain

    def _node(self, file: File, name: bytes, where: bytes) -> tuple[int, int]:
        """Return mode and device number of a mapping's file, known by its inode; else a plain file's."""
        for path in (self._map_files / os.fsdecode(where), Path(f"{self._process}/root{os.fsdecode(name)}")):
            with contextlib.suppress(OSError, ValueError):
                status = path.stat()
                if (_device(status.st_dev), status.st_ino) == file:
                    return status.st_mode, status.st_rdev
        return stat.S_IFREG, 0

    def _filesystem(self, where: bytes) -> tuple[str, int] | None:
        """Return the kind of memory of a file's filesystem; None where it is not memory or cannot be read."""
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
    """Return for each mapping whether part of its range now has another kind of memory or another file, or none.

    A range may be split into several mappings meanwhile. Both lists are in ascending order; each is walked once.
    """
    flags, first = [], 0
    for mapping in seen:
        while first < len(now) and now[first].end <= mapping.start:
            first += 1
        covered, at = mapping.start, first
        while covered < mapping.end and at < len(now) and now[at].start <= covered:
            if (now[at].kind, now[at].file) != (mapping.kind, mapping.file):
                break
            covered, at = now[at].end, at + 1
        flags.append(covered < mapping.end)
    return flags
