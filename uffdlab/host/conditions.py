# SPDX-License-Identifier: MIT
"""The facts by which causes of an errno are judged: the request, and this process and system."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from uffdlab.host import memory, pseudofiles

_EVERY_ID = ["0", "0", "4294967295"]  # uid_map of the initial user namespace


@dataclass(frozen=True)
class Request:
    """A request to the kernel; None where the caller does not know.

    ``memory`` is its name for a reader, ``kind`` the kernel's kind of memory, ``pool_kib`` the page size of its hugetlb
    pool, ``aligned`` whether start and length are multiples of its page. ``placed``: at an address of the caller's
    choice; ``file``: of a file that the caller opened. ``gone``: the requesting process has exited and its memory was
    freed.
    """

    memory: str | None = None
    kind: Literal["anon", "shmem", "file", "hugetlb"] | None = None
    pool_kib: int | None = None
    length_bytes: int | None = None
    aligned: bool | None = None
    placed: bool | None = None
    file: bool | None = None
    features: Sequence[str] | None = None
    gone: bool = False

    def words(self) -> list[str]:
        """Return the parts that an error message repeats: memory, length, features."""
        if self.memory is None:
            return []
        length = f"{self.length_bytes} B" if self.length_bytes is not None else None
        features = f"features {' + '.join(self.features)}" if self.features else None
        return [word for word in (self.memory, length, features) if word]

    @property
    def pages(self) -> int | None:
        """Return its length in huge pages; None where it is not hugetlb or its length is unknown."""
        if not self.pool_kib or self.length_bytes is None:
            return None
        return -(-self.length_bytes // (self.pool_kib * 1024))


@dataclass(frozen=True)
class Situation:
    """The request, this process and this system; each method returns None for what is unknown."""

    root: Path = Path("/")
    request: Request = field(default_factory=Request)

    def seccomp(self) -> bool | None:
        """Whether a seccomp filter is installed for this process."""
        mode = self._status("Seccomp")
        return None if mode is None else mode != "0"

    def capability(self, number: int) -> bool | None:
        """Whether this process has capability *number* in the initial user namespace."""
        mask = self._status("CapEff")
        try:
            effective = None if mask is None else bool(int(mask, 16) >> number & 1)
        except ValueError:
            return None
        return False if effective and self.user_namespace() else effective

    def user_namespace(self) -> bool | None:
        """Whether this process is outside the initial user namespace, so that its capabilities do not count there."""
        content = pseudofiles.text(self.root, "proc/self/uid_map")
        return None if content is None else content.split() != _EVERY_ID

    def superuser(self) -> bool | None:
        """Whether this process runs as user 0 of its user namespace, whatever its capabilities."""
        ids = (self._status("Uid") or "").split()
        return None if len(ids) != 4 else ids[1] == "0"

    def gain(self, capability: str) -> str:
        """Return the remedy for a capability that this process lacks."""
        if not self.superuser():
            return f"run as root or with {capability}"
        if self.user_namespace():
            return f"run outside this user namespace, with {capability}: its user 0 has no capabilities outside"
        return f"give this process {capability} (a container: --cap-add={capability.removeprefix('CAP_')})"

    def unprivileged_userfaultfd(self) -> bool | None:
        """Whether vm.unprivileged_userfaultfd lets every user receive faults taken in kernel mode."""
        return pseudofiles.boolean(self.root, "proc/sys/vm/unprivileged_userfaultfd")

    def enforcing_lsm(self) -> bool | None:
        """Whether a security module that has policies for file descriptors is active."""
        active = pseudofiles.text(self.root, "sys/kernel/security/lsm")
        if active is None:
            return None  # securityfs is not mounted, or not readable
        return any(name in active.split(",") for name in ("selinux", "apparmor", "smack", "tomoyo"))

    def built_in(self, name: str) -> bool | None:
        """Whether the kernel has a part of memory management, by the name of its directory in /sys/kernel/mm."""
        parts = self.root / "sys/kernel/mm"
        return (parts / name).is_dir() if parts.is_dir() else None

    def pool_short(self) -> bool | None:
        """Whether the hugetlb pool has too few pages for the request; None where it may have been so."""
        if self.request.pool_kib is None:
            return None
        pool = memory.hugepages(self.request.pool_kib, self.root)
        return None if pool is None or pool.available is None else self._too_few(pool.available)

    def pool_withheld(self) -> bool | None:
        """Whether the control group allows too few huge pages for the request; False where it sets no limit."""
        limit = self.hugetlb_limit()
        if limit is None:
            return None if self.request.pool_kib is None else False
        return self._too_few(limit.room)

    def hugetlb_limit(self) -> memory.HugeLimit | None:
        """Return the control group's limit on huge pages of the requested size, if any."""
        return None if self.request.pool_kib is None else memory.hugetlb_limit(self.request.pool_kib, self.root)

    def _too_few(self, left: int) -> bool | None:
        enough = left >= (self.request.pages or 1)
        if self.request.gone:  # its own pages are back in the pool, and perhaps pages of others
            return None if enough else True
        return True if left == 0 else False if enough else None

    def memory_limited(self) -> bool | None:
        """Return False where no control group limits memory; None where one does: it may not be the cause."""
        return None if memory.cgroup_limit_kib(self.root) is not None else False

    def writable_sysfs(self) -> bool | None:
        """Whether /sys is mounted for writing."""
        sysfs = self.root / "sys"
        try:
            return not os.statvfs(sysfs).f_flag & os.ST_RDONLY
        except OSError:
            return None

    def _status(self, name: str) -> str | None:
        return pseudofiles.fields(self.root, "proc/self/status").get(name)
