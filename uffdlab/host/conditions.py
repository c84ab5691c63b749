# SPDX-License-Identifier: MIT
"""What tells the causes of an errno apart: what was asked, and what can be read about this process and system."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from uffdlab.host import memory, pseudofiles

_EVERY_ID = ["0", "0", "4294967295"]  # the map of the initial user namespace, of which nothing is left out


@dataclass(frozen=True)
class Asked:
    """What the kernel was asked for, as far as whoever asked says; None where it does not.

    ``memory`` is its name for a reader, ``kind`` what the kernel tells apart, ``pool_kib`` the page size of the
    hugetlb pool it draws from, ``aligned`` whether start and length are multiples of its page. ``placed``: at an
    address of the caller's choice; ``file``: of a file that the caller opened. ``gone``: whoever asked is no more, and
    what it held has gone back.
    """

    memory: str | None = None
    kind: Literal["anon", "shmem", "hugetlb"] | None = None
    pool_kib: int | None = None
    length_bytes: int | None = None
    aligned: bool | None = None
    placed: bool | None = None
    file: bool | None = None
    features: Sequence[str] | None = None
    gone: bool = False

    def words(self) -> list[str]:
        """Return what a sentence repeats of it: of memory."""
        if self.memory is None:
            return []
        length = f"{self.length_bytes} B" if self.length_bytes is not None else None
        features = f"features {' + '.join(self.features)}" if self.features else None
        return [word for word in (self.memory, length, features) if word]

    @property
    def pages(self) -> int | None:
        """Return how many huge pages that is; None where it is not known to be any."""
        if not self.pool_kib or self.length_bytes is None:
            return None
        return -(-self.length_bytes // (self.pool_kib * 1024))


@dataclass(frozen=True)
class Situation:
    """What was asked, and this process and system; None where something cannot be known."""

    root: Path = Path("/")
    asked: Asked = field(default_factory=Asked)

    def seccomp(self) -> bool | None:
        """Whether a seccomp filter stands over this process."""
        mode = self._status("Seccomp")
        return None if mode is None else mode != "0"

    def capability(self, number: int) -> bool | None:
        """Whether this process has capability *number* where it counts: in the initial user namespace."""
        mask = self._status("CapEff")
        try:
            effective = None if mask is None else bool(int(mask, 16) >> number & 1)
        except ValueError:
            return None
        return False if effective and self.user_namespace() else effective

    def user_namespace(self) -> bool | None:
        """Whether this process lives in a user namespace of its own, whose capabilities end there."""
        content = pseudofiles.text(self.root, "proc/self/uid_map")
        return None if content is None else content.split() != _EVERY_ID

    def superuser(self) -> bool | None:
        """Whether this process runs as user 0 of its user namespace, with whatever capabilities."""
        ids = (self._status("Uid") or "").split()
        return None if len(ids) != 4 else ids[1] == "0"

    def gain(self, capability: str) -> str:
        """Return how to come by a capability that this process lacks."""
        if not self.superuser():
            return f"run as root or with {capability}"
        if self.user_namespace():
            return f"run outside this user namespace, with {capability}: what its user 0 may do ends at its border"
        return f"give this process {capability} (a container: --cap-add={capability.removeprefix('CAP_')})"

    def unprivileged_userfaultfd(self) -> bool | None:
        """Whether vm.unprivileged_userfaultfd lets everybody receive faults taken in kernel mode."""
        return pseudofiles.boolean(self.root, "proc/sys/vm/unprivileged_userfaultfd")

    def enforcing_lsm(self) -> bool | None:
        """Whether a security module that has policies for file descriptors is active."""
        active = pseudofiles.text(self.root, "sys/kernel/security/lsm")
        if active is None:
            return None  # securityfs is not mounted, or not for us
        return any(name in active.split(",") for name in ("selinux", "apparmor", "smack", "tomoyo"))

    def thp_built_in(self) -> bool | None:
        """Whether the kernel has transparent huge pages at all."""
        return self._under_mm("transparent_hugepage")

    def ksm_built_in(self) -> bool | None:
        """Whether the kernel merges pages of the same contents at all."""
        return self._under_mm("ksm")

    def pool_short(self) -> bool | None:
        """Whether the hugetlb pool has no page left for what was asked; None where it may have been so."""
        if self.asked.pool_kib is None:
            return None
        pool = memory.hugepages(self.asked.pool_kib, self.root)
        return None if pool is None or pool.available is None else self._too_few(pool.available)

    def pool_withheld(self) -> bool | None:
        """Whether the control group allows no huge page more for what was asked; False where it sets no limit."""
        limit = self.hugetlb_limit()
        if limit is None:
            return None if self.asked.pool_kib is None else False
        return self._too_few(limit.room)

    def hugetlb_limit(self) -> memory.HugeLimit | None:
        """Return the control group's limit on huge pages of the size asked for, if any."""
        return None if self.asked.pool_kib is None else memory.hugetlb_limit(self.asked.pool_kib, self.root)

    def _too_few(self, left: int) -> bool | None:
        enough = left >= (self.asked.pages or 1)
        if self.asked.gone:  # there is again what it had, and perhaps others have let go of theirs
            return None if enough else True
        return True if left == 0 else False if enough else None

    def memory_limited(self) -> bool | None:
        """Whether the control group limits memory at all; None where it does, for the limit may not be the cause."""
        return None if memory.cgroup_limit_kib(self.root) is not None else False

    def writable_sysfs(self) -> bool | None:
        """Whether /sys is mounted for writing."""
        sysfs = self.root / "sys"
        try:
            return not os.statvfs(sysfs).f_flag & os.ST_RDONLY
        except OSError:
            return None

    def _under_mm(self, name: str) -> bool | None:
        if not (self.root / "sys/kernel/mm").is_dir():
            return None
        return (self.root / "sys/kernel/mm" / name).is_dir()

    def _status(self, name: str) -> str | None:
        return pseudofiles.fields(self.root, "proc/self/status").get(name)
