# SPDX-License-Identifier: MIT
"""What can be read about this process and system that tells the causes of an errno apart."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from uffdlab.host import pseudofiles


@dataclass(frozen=True)
class Situation:
    """What tells causes apart, read from this process and system; None where it cannot be known."""

    root: Path = Path("/")

    def seccomp(self) -> bool | None:
        """Whether a seccomp filter stands over this process."""
        mode = self._status("Seccomp")
        return None if mode is None else mode != "0"

    def capability(self, number: int) -> bool | None:
        """Whether this process has capability *number* in its effective set."""
        mask = self._status("CapEff")
        try:
            return None if mask is None else bool(int(mask, 16) >> number & 1)
        except ValueError:
            return None

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
        if not (self.root / "sys/kernel/mm").is_dir():
            return None
        return (self.root / "sys/kernel/mm/transparent_hugepage").is_dir()

    def ksm_built_in(self) -> bool | None:
        """Whether the kernel merges pages of the same contents at all."""
        if not (self.root / "sys/kernel/mm").is_dir():
            return None
        return (self.root / "sys/kernel/mm/ksm").is_dir()

    def writable_sysfs(self) -> bool | None:
        """Whether /sys is mounted for writing."""
        sysfs = self.root / "sys"
        try:
            return not os.statvfs(sysfs).f_flag & os.ST_RDONLY
        except OSError:
            return None

    def _status(self, name: str) -> str | None:
        return pseudofiles.fields(self.root, "proc/self/status").get(name)
