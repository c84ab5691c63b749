# SPDX-License-Identifier: MIT
"""Every errno is explained; causes that do not apply to the system are left out."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from uffdlab.host import errnos

USED = {
    "open userfaultfd": ["EPERM", "EACCES", "ENOSYS", "ENOENT", "ENODEV", "EINVAL", "ENOMEM", "EMFILE", "ENFILE"],
    "flush+reload": ["ENOTSUP", "ENODEV"],
    "UFFDIO_API": ["EINVAL", "EPERM", "EFAULT"],
    "UFFDIO_REGISTER": ["EINVAL", "EBUSY", "EPERM", "ENOMEM", "EFAULT"],
    "UFFDIO_WRITEPROTECT": ["EINVAL", "ENOENT", "EAGAIN", "ESRCH", "ENOMEM", "EFAULT", "ENOTTY"],
    "UFFDIO_COPY": ["EEXIST", "ENOENT", "EAGAIN", "EINVAL", "ENOMEM", "ESRCH", "EFAULT", "ENOSPC"],
    "PAGEMAP_SCAN": ["ENOTTY", "EINVAL", "EPERM", "EFAULT", "ENOMEM", "EINTR"],
    "pagemap": ["EACCES", "EPERM", "ENOENT", "EIO"],
    "touch": ["EFAULT"],
    "start a process": ["EAGAIN", "ENOMEM", "EPERM"],
    "start a thread": ["EAGAIN", "ENOMEM", "EPERM"],
    "sched_setaffinity": ["EINVAL", "EPERM"],
    "PR_SET_PDEATHSIG": ["EPERM", "ENOSYS"],
    "handler thread": ["EAGAIN", "ENOMEM", "ETIMEDOUT"],
    "racing threads": ["EAGAIN", "ENOMEM", "ETIMEDOUT"],
    "counters": ["ENOENT", "EMFILE"],
    "MADV_POPULATE_READ": ["EINVAL", "ENOMEM", "EFAULT", "EAGAIN", "EBUSY"],
    "MADV_DONTNEED": ["EINVAL", "ENOMEM", "EPERM"],
    "MADV_MERGEABLE": ["EINVAL", "ENOMEM", "EAGAIN"],
    "MADV_HUGEPAGE": ["EINVAL", "ENOMEM"],
    "mmap": ["ENOMEM", "EINVAL", "EAGAIN", "EPERM", "EACCES", "ENODEV", "EBADF"],
    "mmap hugetlb": ["ENOMEM", "EINVAL", "EPERM", "EAGAIN"],
    "write setting": ["EACCES", "EPERM", "EROFS", "ENOENT", "EINVAL", "ENOMEM", "EINTR"],
}


@pytest.mark.parametrize(
    ("operation", "name"), [(operation, name) for operation, names in USED.items() for name in names]
)
def test_every_errno_in_use_has_a_cause_and_a_remedy(operation, name, tmp_path):
    sentence = errnos.explain(operation, getattr(errno, name), root=tmp_path)
    assert sentence.startswith(f"{operation} failed with {name} (")
    assert "remedy: " in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_every_row_of_the_table_is_for_an_operation_under_test():
    assert set(errnos.OPERATIONS) - {"madvise"} <= set(USED)


def test_explain_takes_either_sign_and_repeats_context():
    sentence = errnos.explain("UFFDIO_REGISTER", -errno.EBUSY, memory="shmem", length_bytes=4096)
    assert sentence.startswith("UFFDIO_REGISTER (memory shmem, length bytes 4096) failed with EBUSY (")


def test_ehwpoison_is_named():
    assert "EHWPOISON" in errnos.explain("MADV_POPULATE_READ", 133)


def test_an_errno_without_a_row_still_gets_a_sentence():
    assert "no particular cause is known" in errnos.explain("UFFDIO_COPY", errno.EXDEV)
    assert "errno 4000" in errnos.explain("brewing tea", 4000)


def _machine(root: Path, *, seccomp: str, effective: str, sysctl: str, lsm: str | None) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/status").write_text(f"Name:\tx\nCapEff:\t{effective}\nSeccomp:\t{seccomp}\n")
    (root / "proc/sys/vm").mkdir(parents=True)
    (root / "proc/sys/vm/unprivileged_userfaultfd").write_text(f"{sysctl}\n")
    if lsm is not None:
        (root / "sys/kernel/security").mkdir(parents=True)
        (root / "sys/kernel/security/lsm").write_text(lsm)
    return root


NOBODY, EVERYTHING = "0000000000000000", "000001ffffffffff"


def test_refused_open_in_a_container_points_at_seccomp_first(tmp_path):
    root = _machine(tmp_path, seccomp="2", effective=EVERYTHING, sysctl="0", lsm="capability")
    causes = errnos.causes("open userfaultfd", errno.EPERM, root)
    assert "seccomp" in causes[0].why
    assert not any("sysctl" in cause.why or "CAP_SYS_PTRACE" in cause.why for cause in causes)
    assert not any("SELinux" in cause.why for cause in causes)


def test_refused_open_of_a_plain_user_points_at_sysctl_and_capability(tmp_path):
    root = _machine(tmp_path, seccomp="0", effective=NOBODY, sysctl="0", lsm=None)
    whys = [cause.why for cause in errnos.causes("open userfaultfd", errno.EPERM, root)]
    assert "vm.unprivileged_userfaultfd" in whys[0]
    assert "CAP_SYS_PTRACE" in whys[1]
    assert not any("seccomp" in why for why in whys)
    assert any("SELinux" in why for why in whys), "what cannot be seen is not ruled out"


def test_refused_open_where_nothing_can_be_read_names_all_four_causes(tmp_path):
    sentence = errnos.explain("open userfaultfd", errno.EPERM, root=tmp_path)
    for word in ("seccomp", "vm.unprivileged_userfaultfd", "CAP_SYS_PTRACE", "SELinux"):
        assert word in sentence


def test_refused_open_under_selinux(tmp_path):
    root = _machine(tmp_path, seccomp="0", effective=EVERYTHING, sysctl="1", lsm="lockdown,capability,selinux")
    assert "SELinux" in errnos.causes("open userfaultfd", errno.EPERM, root)[0].why
