# SPDX-License-Identifier: MIT
"""An errno in, one sentence out: what refused, why it probably did, and what to do.

The table lists operation × errno → causes. A cause may look at the running system and say that it applies
now, that it does not, or that it cannot tell; those that apply come first and those that do not are left
out. Sources: the kernel's ``fs/userfaultfd.c``, ``mm/userfaultfd.c``, ``mm/madvise.c``, ``mm/hugetlb.c``,
``fs/proc/task_mmu.c`` and the manual pages userfaultfd(2), ioctl_userfaultfd(2), madvise(2), mmap(2).
"""

from __future__ import annotations

import errno as numbers
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from uffdlab.host.situation import Situation

CAP_SYS_PTRACE = 19
EHWPOISON = 133  # Python's errno module does not have it


Applies = Callable[[Situation], bool | None]


def _cannot_tell(_: Situation) -> bool | None:
    return None


@dataclass(frozen=True)
class Cause:
    """One thing that leads to an errno: a clause to say it, one to mend it, and whether it applies now."""

    why: str
    remedy: str
    applies: Applies = _cannot_tell


def _lacks(capability: int) -> Applies:
    def applies(now: Situation) -> bool | None:
        has = now.capability(capability)
        return None if has is None else not has

    return applies


def _sysctl_forbids(now: Situation) -> bool | None:
    allowed, privileged = now.unprivileged_userfaultfd(), now.capability(CAP_SYS_PTRACE)
    if allowed or privileged:
        return False
    return None if allowed is None or privileged is None else True


def _no_thp(now: Situation) -> bool | None:
    built_in = now.thp_built_in()
    return None if built_in is None else not built_in


def _no_ksm(now: Situation) -> bool | None:
    built_in = now.ksm_built_in()
    return None if built_in is None else not built_in


def _sysfs_read_only(now: Situation) -> bool | None:
    writable = now.writable_sysfs()
    return None if writable is None else not writable


_SECCOMP = Cause(
    "a seccomp filter denies the system call (the default profile of a container does, and this process runs "
    "under a filter)",
    "start the container with a seccomp profile that allows userfaultfd, or run outside it",
    Situation.seccomp,
)
_SYSCTL = Cause(
    "vm.unprivileged_userfaultfd is 0 and the request was not limited to faults from user mode",
    "ask for user mode only (kernel 5.11), or as root: sysctl vm.unprivileged_userfaultfd=1",
    _sysctl_forbids,
)
_PTRACE = Cause(
    "the process lacks CAP_SYS_PTRACE, which stands in for the sysctl",
    "run as root or with CAP_SYS_PTRACE",
    _lacks(CAP_SYS_PTRACE),
)
_LSM = Cause(
    "a security module (SELinux, AppArmor …) denies it",
    "look for a denial in the kernel log and allow userfaultfd for this program",
    Situation.enforcing_lsm,
)
_DEVICES = Cause(
    "the device control group does not list /dev/userfaultfd",
    "pass the device into the container, or use the system call",
)
_MOVING = Cause(
    "a fork, mremap, unmap or discard of the same memory is under way",
    "read the pending events and try again",
)
_UNALIGNED = Cause("the range is empty, overflows or is not aligned to pages", "align start and length")
_UNALIGNED_HUGE = Cause(
    "on hugetlb the range is not aligned to the huge page size", "align start and length to the huge page"
)
_NOT_REGISTERED = Cause(
    "part of the range is unmapped or not registered with this userfaultfd in the mode needed",
    "register all of it, in that mode, first",
)
_GONE = Cause("the process that owns the memory has exited", "nothing to do: the range no longer exists")
_NO_TABLES = Cause("the kernel could not allocate page tables or pages", "free memory, or work on a smaller range")
_CGROUP_OOM = Cause("the control group's memory limit was reached", "raise the limit, or work on a smaller range")
_POOL_EMPTY = Cause(
    "the hugetlb pool holds too few free, unreserved pages",
    "reserve more pages in nr_hugepages (uffdlab does so with --allow-host-changes)",
)
_NOT_WP = Cause(
    "this kernel or architecture has no userfaultfd write-protection for that kind of memory",
    "use Linux 5.7 or later for anonymous memory, 5.19 for shmem and hugetlb (x86_64; arm64 since 6.10)",
)
_BAD_POINTER = Cause(
    "an argument points to memory that cannot be read or written", "report this: it is a bug of uffdlab"
)
_BAD_FLAGS = Cause("a mode or flag is unknown to this kernel", "ask with fewer flags, or use a later kernel")
_SMALL_BUFFER = Cause(
    "the buffer is smaller than one message, or UFFDIO_API was not called",
    "report this: it is a bug of uffdlab",
)
_EXISTS = Cause(
    "something is mapped there already; a uffd-wp marker counts as something for UFFDIO_ZEROPAGE",
    "wake the fault instead, or use UFFDIO_COPY, which replaces a marker",
)
_NOT_POPULATED = Cause("the page is not in the page cache", "fill it through another mapping first")
_SIZE_UNKNOWN = Cause(
    "this kernel or CPU has no huge pages of that size",
    "see /sys/kernel/mm/hugepages; 1 GiB pages need the CPU flag pdpe1gb",
)
_SEALED = Cause("the mapping is sealed against changes", "map the memory anew without sealing")

_NO_THREAD = Cause("no further thread may be started", "raise the limit (ulimit -u, or pids.max of the control group)")
_OLD_ADVICE = Cause(
    "this kernel does not know the advice",
    "use a later kernel (MADV_POPULATE_* since 5.14, MADV_COLLAPSE since 6.1)",
)

_TABLE: dict[tuple[str, int], tuple[Cause, ...]] = {
    # opening: /dev/userfaultfd, then the system call
    ("open userfaultfd", numbers.EPERM): (_SECCOMP, _SYSCTL, _PTRACE, _LSM, _DEVICES),
    ("open userfaultfd", numbers.EACCES): (
        Cause(
            "/dev/userfaultfd is not readable and writable for this user",
            "give the user access to /dev/userfaultfd, or use the system call",
        ),
        _LSM,
    ),
    ("open userfaultfd", numbers.ENOSYS): (
        Cause("the kernel was built without CONFIG_USERFAULTFD", "use a kernel that has it"),
        Cause(
            "a seccomp filter hides the system call",
            "start the container with a seccomp profile that allows userfaultfd",
            Situation.seccomp,
        ),
    ),
    ("open userfaultfd", numbers.ENOENT): (
        Cause(
            "there is no /dev/userfaultfd (before 6.1, or not passed into this container)",
            "use the system call, or pass the device into the container",
        ),
    ),
    ("open userfaultfd", numbers.ENODEV): (
        Cause("/dev/userfaultfd is a node without a driver behind it", "use a kernel with CONFIG_USERFAULTFD"),
    ),
    ("open userfaultfd", numbers.ENXIO): (
        Cause("/dev/userfaultfd is a node without a driver behind it", "use a kernel with CONFIG_USERFAULTFD"),
    ),
    ("open userfaultfd", numbers.EINVAL): (
        Cause(
            "UFFD_USER_MODE_ONLY is unknown to this kernel (before 5.11)",
            "open without it, which needs privilege",
        ),
    ),
    ("flush+reload", numbers.EOPNOTSUPP): (
        Cause(
            "user space cannot flush a cache line here, or has no counter fine enough to time a load",
            "measure on x86-64",
        ),
    ),
    ("flush+reload", numbers.ENODEV): (
        Cause(
            "the time stamp counter is not invariant (constant_tsc and nonstop_tsc are not among the flags in "
            "/proc/cpuinfo), so two CPUs cannot agree on slots",
            "measure on a machine, or let the hypervisor offer a processor, whose counter is",
        ),
    ),
    ("UFFDIO_API", numbers.EINVAL): (
        Cause("a feature asked for is not offered by this kernel", "ask with features 0 and see what it offers"),
        Cause("this file descriptor has answered UFFDIO_API before", "open another one"),
    ),
    ("UFFDIO_API", numbers.EPERM): (
        Cause(
            "EVENT_FORK needs CAP_SYS_PTRACE",
            "run as root or do not ask for EVENT_FORK",
            _lacks(CAP_SYS_PTRACE),
        ),
    ),
    # registering
    ("UFFDIO_REGISTER", numbers.EINVAL): (_UNALIGNED, _UNALIGNED_HUGE, _NOT_WP, _BAD_FLAGS),
    ("UFFDIO_REGISTER", numbers.EBUSY): (
        Cause("another userfaultfd has the range", "unregister it there, or use other memory"),
    ),
    ("UFFDIO_REGISTER", numbers.EPERM): (
        Cause("the file behind a shared mapping may not be written", "map a file that was opened for writing"),
        _SEALED,
    ),
    ("UFFDIO_REGISTER", numbers.ENOMEM): (
        _GONE,
        Cause("splitting the mapping met vm.max_map_count", "raise vm.max_map_count or register larger ranges"),
        _NO_TABLES,
    ),
    ("UFFDIO_UNREGISTER", numbers.EINVAL): (_UNALIGNED, _NOT_REGISTERED),
    ("UFFDIO_UNREGISTER", numbers.ENOMEM): (
        _GONE,
        Cause("splitting the mapping met vm.max_map_count", "unregister the range that was registered"),
    ),
    # protecting and resolving
    ("UFFDIO_WRITEPROTECT", numbers.EINVAL): (_UNALIGNED, _UNALIGNED_HUGE, _BAD_FLAGS),
    ("UFFDIO_WRITEPROTECT", numbers.ENOENT): (_NOT_REGISTERED,),
    ("UFFDIO_WRITEPROTECT", numbers.EAGAIN): (_MOVING,),
    ("UFFDIO_WRITEPROTECT", numbers.ESRCH): (_GONE,),
    ("UFFDIO_WRITEPROTECT", numbers.ENOMEM): (_NO_TABLES, _CGROUP_OOM),
    ("UFFDIO_WRITEPROTECT", numbers.ENOTTY): (_NOT_WP,),
    ("UFFDIO_COPY", numbers.EEXIST): (Cause("a page is mapped there already", "wake the fault instead of filling it"),),
    ("UFFDIO_COPY", numbers.ENOENT): (_NOT_REGISTERED,),
    ("UFFDIO_COPY", numbers.EAGAIN): (_MOVING,),
    ("UFFDIO_COPY", numbers.EINVAL): (_UNALIGNED, _UNALIGNED_HUGE, _BAD_FLAGS),
    ("UFFDIO_COPY", numbers.ENOMEM): (_NO_TABLES, _CGROUP_OOM, _POOL_EMPTY),
    ("UFFDIO_COPY", numbers.ENOSPC): (_POOL_EMPTY,),
    ("UFFDIO_COPY", numbers.ESRCH): (_GONE,),
    ("UFFDIO_ZEROPAGE", numbers.EEXIST): (_EXISTS,),
    ("UFFDIO_ZEROPAGE", numbers.ENOENT): (_NOT_REGISTERED,),
    ("UFFDIO_ZEROPAGE", numbers.EAGAIN): (_MOVING,),
    ("UFFDIO_ZEROPAGE", numbers.EINVAL): (
        _UNALIGNED,
        Cause("hugetlb has no zeropage", "use UFFDIO_COPY there"),
        _BAD_FLAGS,
    ),
    ("UFFDIO_ZEROPAGE", numbers.ENOMEM): (_NO_TABLES, _CGROUP_OOM),
    ("UFFDIO_ZEROPAGE", numbers.ESRCH): (_GONE,),
    ("UFFDIO_CONTINUE", numbers.EEXIST): (
        Cause("a page is mapped there already", "wake the fault instead of filling it"),
    ),
    ("UFFDIO_CONTINUE", numbers.EFAULT): (_NOT_POPULATED,),
    ("UFFDIO_CONTINUE", numbers.EINVAL): (_UNALIGNED, _UNALIGNED_HUGE, _BAD_FLAGS),
    ("UFFDIO_CONTINUE", numbers.ENOENT): (_NOT_REGISTERED,),
    ("UFFDIO_CONTINUE", numbers.EAGAIN): (_MOVING,),
    ("UFFDIO_CONTINUE", numbers.ENOMEM): (_NO_TABLES,),
    ("UFFDIO_CONTINUE", numbers.ESRCH): (_GONE,),
    ("UFFDIO_POISON", numbers.EEXIST): (
        Cause("something is mapped there already", "discard the page before poisoning it"),
    ),
    ("UFFDIO_POISON", numbers.EINVAL): (_UNALIGNED, _BAD_FLAGS),
    ("UFFDIO_POISON", numbers.ENOENT): (_NOT_REGISTERED,),
    ("UFFDIO_POISON", numbers.EAGAIN): (_MOVING,),
    ("UFFDIO_POISON", numbers.ENOMEM): (_NO_TABLES,),
    ("UFFDIO_POISON", numbers.ESRCH): (_GONE,),
    ("UFFDIO_MOVE", numbers.EEXIST): (Cause("the destination is populated", "discard it before moving"),),
    ("UFFDIO_MOVE", numbers.EBUSY): (
        Cause(
            "a source page is shared or pinned",
            "populate the source by writing and keep it from fork and pinning",
        ),
    ),
    ("UFFDIO_MOVE", numbers.ENOENT): (
        Cause("the source has a hole", "allow holes (UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES)"),
        _NOT_REGISTERED,
    ),
    ("UFFDIO_MOVE", numbers.EAGAIN): (_MOVING,),
    ("UFFDIO_MOVE", numbers.EINVAL): (
        _UNALIGNED,
        Cause(
            "source and destination are not alike (only private anonymous memory moves)",
            "use two such mappings",
        ),
        _BAD_FLAGS,
    ),
    ("UFFDIO_MOVE", numbers.ENOMEM): (_NO_TABLES,),
    ("UFFDIO_MOVE", numbers.ESRCH): (_GONE,),
    ("UFFDIO_WAKE", numbers.EINVAL): (_UNALIGNED,),
    ("read userfaultfd", numbers.EAGAIN): (Cause("no event is waiting", "poll before reading"),),
    ("read userfaultfd", numbers.EINVAL): (_SMALL_BUFFER,),
    # looking at pages
    ("PAGEMAP_SCAN", numbers.ENOTTY): (
        Cause("this kernel has no PAGEMAP_SCAN (before 6.7)", "use a later kernel, or read /proc/self/pagemap"),
    ),
    ("PAGEMAP_SCAN", numbers.EINVAL): (
        Cause("a category or flag is unknown to this kernel", "ask for fewer categories (GUARD is recent)"),
        Cause("the range is not aligned, or its end lies before its start", "align start and end to pages"),
    ),
    ("PAGEMAP_SCAN", numbers.EPERM): (
        Cause(
            "write-protecting matches was asked for and part of the range is not registered with WP_ASYNC",
            "register all of it on a userfaultfd with WP_ASYNC",
        ),
    ),
    ("PAGEMAP_SCAN", numbers.ENOMEM): (
        Cause("the kernel has no room for the result", "ask for fewer regions at once"),
    ),
    ("pagemap", numbers.EACCES): (
        Cause("the other process may not be traced by this one", "run as the same user or with CAP_SYS_PTRACE"),
    ),
    ("pagemap", numbers.EPERM): (
        Cause("the other process may not be traced by this one", "run as the same user or with CAP_SYS_PTRACE"),
    ),
    ("pagemap", numbers.ENOENT): (
        Cause("/proc is not mounted, the process is gone, or CONFIG_PROC_PAGE_MONITOR is off", "mount /proc"),
    ),
    ("pagemap", numbers.EIO): (Cause("the process is gone", "nothing to do: its pages no longer exist"),),
    # touching pages, which a handler thread resolves
    ("touch", numbers.EFAULT): (
        Cause(
            "the kernel answered a fault with SIGBUS: the hugetlb pool ran out, the page is poisoned, or the "
            "userfaultfd delivers faults as signals",
            "reserve more huge pages, or leave out POISON and SIGBUS",
        ),
    ),
    ("handler thread", numbers.EAGAIN): (_NO_THREAD,),
    ("handler thread", numbers.ETIMEDOUT): (Cause("the handler did not end in time", "run again on an idle machine"),),
    ("racing threads", numbers.EAGAIN): (_NO_THREAD,),
    ("racing threads", numbers.ETIMEDOUT): (
        Cause("the threads did not discard enough pages in time", "run again on an idle machine"),
    ),
    ("counters", numbers.ENOENT): (Cause("/proc is not mounted", "mount /proc"),),
    # memory
    ("madvise", numbers.EINVAL): (
        _OLD_ADVICE,
        Cause(
            "the start is not aligned to a page, or the mapping does not take this advice",
            "align it; check the mapping",
        ),
    ),
    ("MADV_HUGEPAGE", numbers.EINVAL): (
        Cause(
            "the kernel has no transparent huge pages (CONFIG_TRANSPARENT_HUGEPAGE)",
            "use a kernel that has them, or a probe with 4 KiB pages",
            _no_thp,
        ),
        Cause("the start is not aligned to a page, or the mapping is special", "align it; check the mapping"),
    ),
    ("MADV_MERGEABLE", numbers.EINVAL): (
        Cause("the kernel has no KSM (CONFIG_KSM)", "use a kernel that has it", _no_ksm),
        Cause("the start is not aligned to a page", "align it"),
    ),
    ("MADV_DONTNEED", numbers.EINVAL): (
        Cause("the range is locked in memory", "unlock it (munlock) first"),
        Cause(
            "on hugetlb the kernel is too old (before 5.18) or the range not aligned",
            "align it, or punch a hole",
        ),
    ),
    ("MADV_REMOVE", numbers.EINVAL): (
        Cause("the mapping is not shared memory, or it is locked", "use MADV_DONTNEED on private memory"),
    ),
    ("MADV_REMOVE", numbers.EACCES): (
        Cause("the mapping is not shared and writable", "map shared memory for writing"),
    ),
    ("madvise", numbers.ENOMEM): (
        Cause("part of the range is not mapped", "map all of it first"),
        _NO_TABLES,
        _CGROUP_OOM,
    ),
    ("madvise", numbers.EAGAIN): (Cause("a kernel resource is short for the moment", "try again"),),
    ("madvise", numbers.EFAULT): (
        Cause(
            "populating a page would have raised a signal (SIGBUS or SIGSEGV)",
            "check the file's size and protection",
        ),
        _POOL_EMPTY,
    ),
    ("madvise", numbers.EBUSY): (Cause("the kernel could not take a lock or a page in time", "try again"),),
    ("madvise", EHWPOISON): (
        Cause("a page of the range has a hardware memory error", "use other memory, and replace the module"),
    ),
    ("madvise", numbers.EPERM): (_SEALED, Cause("the advice needs a privilege", "run as root")),
    ("madvise", numbers.EIO): (Cause("reading the file behind the mapping failed", "look at the kernel log"),),
    ("mmap", numbers.ENOMEM): (
        Cause(
            "for hugetlb, the pool holds too few free, unreserved pages",
            "reserve more pages in nr_hugepages (uffdlab does so with --allow-host-changes)",
        ),
        Cause("too little memory under the overcommit policy", "map less, or set vm.overcommit_memory"),
        Cause(
            "the process has vm.max_map_count mappings or met its address-space limit",
            "raise the limit (ulimit -v)",
        ),
    ),
    ("mmap hugetlb", numbers.ENOMEM): (_POOL_EMPTY,),
    ("mmap hugetlb", numbers.EINVAL): (
        _SIZE_UNKNOWN,
        Cause("the length is not a multiple of the huge page", "round it up"),
    ),
    ("mmap hugetlb", numbers.EPERM): (
        Cause("this user may not use hugetlb pages in shared memory", "set vm.hugetlb_shm_group or run as root"),
    ),
    ("mmap", numbers.EINVAL): (Cause("length, offset or flags make no sense together", "align the offset to pages"),),
    ("mmap", numbers.EAGAIN): (Cause("the limit of locked memory was reached", "raise it (ulimit -l)"),),
    ("mmap", numbers.EPERM): (Cause("the address is below vm.mmap_min_addr, or the file is sealed", "map elsewhere"),),
    ("mmap", numbers.EACCES): (
        Cause("the file was not opened for this kind of access", "open it for reading and writing"),
    ),
    ("mmap", numbers.ENODEV): (Cause("the file cannot be mapped", "use memfd_create or tmpfs"),),
    ("memfd_create", numbers.EINVAL): (Cause("a flag is unknown to this kernel", "ask with fewer flags"),),
    ("memfd_create", numbers.ENODEV): (_SIZE_UNKNOWN,),
    ("memfd_create", numbers.EPERM): (
        Cause("this user may not use hugetlb pages in shared memory", "set vm.hugetlb_shm_group or run as root"),
    ),
    ("memfd_create", numbers.ENOSYS): (
        Cause("the kernel has no memfd_create or no hugetlbfs", "use a kernel that has it"),
    ),
    ("ftruncate", numbers.ENOMEM): (_POOL_EMPTY,),
    ("ftruncate", numbers.EINVAL): (Cause("the size is not a multiple of the huge page", "round it up"),),
    ("munmap", numbers.EINVAL): (Cause("the range is not aligned to (huge) pages", "unmap what was mapped"),),
    # host settings
    ("write setting", numbers.EACCES): (Cause("only root may write it", "run as root"),),
    ("write setting", numbers.EPERM): (
        Cause("only root may write it, and not every container's root", "run as root on the host itself"),
    ),
    ("write setting", numbers.EROFS): (
        Cause(
            "/sys is mounted read-only, as in most containers",
            "change the setting on the host itself, or start the container privileged",
            _sysfs_read_only,
        ),
    ),
    ("write setting", numbers.ENOENT): (Cause("this kernel has no such setting", "use a kernel that has it"),),
    ("write setting", numbers.EINVAL): (
        Cause(
            "the kernel does not take this value",
            "for 1 GiB pages, reserve at boot: hugepagesz=1G hugepages=N",
        ),
    ),
    ("write setting", numbers.ENOMEM): (_NO_TABLES,),
    ("write setting", numbers.EINTR): (Cause("a signal came while the kernel was allocating pages", "try again"),),
    # whatever the operation
    ("*", numbers.ENOMEM): (_NO_TABLES, _CGROUP_OOM),
    ("*", numbers.EFAULT): (_BAD_POINTER,),
    ("*", numbers.EMFILE): (Cause("this process has too many open files", "raise the limit (ulimit -n)"),),
    ("*", numbers.ENFILE): (Cause("the system has too many open files", "raise fs.file-max"),),
    ("*", numbers.EINTR): (Cause("a signal interrupted it", "try again"),),
    ("*", numbers.EBADF): (Cause("the file descriptor is closed", "report this: it is a bug of uffdlab"),),
    ("*", numbers.ENOSYS): (
        Cause("the kernel was built without this system call", "use a kernel that has it"),
        _SECCOMP,
    ),
}

OPERATIONS: tuple[str, ...] = tuple(dict.fromkeys(operation for operation, _ in _TABLE if operation != "*"))


def explain(operation: str, errno: int, *, root: Path = Path("/"), **context: object) -> str:
    """Return one sentence on why *operation* failed: what refused, the likely causes, and the remedy of each.

    *operation* is the name of an ioctl or an advice (``UFFDIO_REGISTER``, ``MADV_DONTNEED``) or one of
    OPERATIONS; any other gets a general sentence. *errno* may have either sign. *context* is repeated in
    the sentence, as in ``explain("UFFDIO_REGISTER", 22, memory="shmem", mode="WP")``.
    """
    number = abs(errno)
    name = "EHWPOISON" if number == EHWPOISON else numbers.errorcode.get(number, f"errno {number}")
    details = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in context.items())
    head = f"{operation}{f' ({details})' if details else ''} failed with {name} ({os.strerror(number)})"
    likely = causes(operation, number, root)
    if not likely:
        return f"{head}; no particular cause is known for it here: see the kernel log and the manual page."
    return f"{head}: " + "; or ".join(f"{cause.why} (remedy: {cause.remedy})" for cause in likely) + "."


def causes(operation: str, errno: int, root: Path = Path("/")) -> list[Cause]:
    """Return what may have led to *errno*, likeliest first, without what does not apply here and now."""
    now = Situation(root)
    judged = [(cause, cause.applies(now)) for cause in _listed(operation, abs(errno))]
    certain = [cause for cause, applies in judged if applies]
    possible = [cause for cause, applies in judged if applies is None]
    return certain + possible


def _listed(operation: str, errno: int) -> tuple[Cause, ...]:
    for name in (operation, *_FAMILIES.get(operation.split()[0].split("_")[0], ()), "*"):
        if (operation_causes := _TABLE.get((name, errno))) is not None:
            return operation_causes
    return ()


# What an operation without a row of its own is a case of.
_FAMILIES: dict[str, tuple[str, ...]] = {"MADV": ("madvise",), "mmap": ("mmap",)}
