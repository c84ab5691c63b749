# SPDX-License-Identifier: MIT
"""The possible causes of each operation and errno. ``errnos`` decides which of them apply.

Sources: the kernel's ``fs/userfaultfd.c``, ``mm/userfaultfd.c``, ``mm/madvise.c``, ``mm/hugetlb.c``,
``fs/proc/task_mmu.c`` and the manual pages userfaultfd(2), ioctl_userfaultfd(2), madvise(2), mmap(2). Seccomp
filters, which may answer any system call in the kernel's place, are added by ``errnos``.
"""

from __future__ import annotations

import errno as numbers

from uffdlab.host import uapi
from uffdlab.host.causes import (
    CAP_SYS_PTRACE,
    Cause,
    gaining,
    lacks,
    negated,
    of_a_file,
    of_kind,
    placed,
    sysctl_forbids,
    unaligned,
    with_features,
)
from uffdlab.host.conditions import Situation

EHWPOISON = 133  # Python's errno module does not have it

_SYSCTL = Cause(
    "vm.unprivileged_userfaultfd is 0 and the request was not limited to faults from user mode",
    lambda now: (
        "ask for user mode only (kernel 5.11), or set vm.unprivileged_userfaultfd to 1"
        if now.superuser()
        else "ask for user mode only (kernel 5.11), or as root: sysctl vm.unprivileged_userfaultfd=1"
    ),
    sysctl_forbids,
)
_PTRACE = Cause(
    "the process lacks CAP_SYS_PTRACE, which stands in for the sysctl", gaining("CAP_SYS_PTRACE"), lacks(CAP_SYS_PTRACE)
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
_NO_DRIVER = Cause("/dev/userfaultfd is a node without a driver behind it", "use a kernel with CONFIG_USERFAULTFD")
_NO_UFFD = Cause(
    "the kernel was built without CONFIG_USERFAULTFD",
    "use a kernel that has it",
    lambda now: False if now.unprivileged_userfaultfd() is not None else None,
)
_MOVING = Cause(
    "a fork, mremap, unmap or discard of the same memory is under way",
    "read the pending events and try again",
)
_UNALIGNED = Cause(
    "the range is empty, overflows or is not aligned to pages",
    "align start and length",
    of_kind("anon", "shmem", "file", then=unaligned),
)
_UNALIGNED_HUGE = Cause(
    "on hugetlb the range is not aligned to the huge page size",
    "align start and length to the huge page",
    of_kind("hugetlb", then=unaligned),
)
_NOT_REGISTERED = Cause(
    "part of the range is unmapped or not registered with this userfaultfd in the mode needed",
    "register all of it, in that mode, first",
)
_UNTRACEABLE = Cause("the other process may not be traced by this one", "run as the same user, or with CAP_SYS_PTRACE")
_GONE = Cause("the process that owns the memory has exited", "nothing to do: the range no longer exists")
_NO_TABLES = Cause("the kernel could not allocate page tables or pages", "free memory, or work on a smaller range")
_CGROUP_OOM = Cause(
    "the control group's memory limit was reached",
    "raise the limit, or work on a smaller range",
    Situation.memory_limited,
)
_POOL_EMPTY = Cause(
    "the hugetlb pool holds too few free, unreserved pages",
    "reserve more pages in nr_hugepages (uffdlab does so with --allow-host-changes)",
    of_kind("hugetlb", then=Situation.pool_short),
)
_POOL_WITHHELD = Cause(
    lambda now: (
        str(limit)
        if (limit := now.hugetlb_limit())
        else "the control group allows no more huge pages (hugetlb.*.max or rsvd.max; version 1: limit_in_bytes)"
    ),
    lambda now: (
        limit.remedy if (limit := now.hugetlb_limit()) else "raise that limit, or run outside the control group"
    ),
    of_kind("hugetlb", then=Situation.pool_withheld),
)
_NO_HUGE_PAGE = (_POOL_EMPTY, _POOL_WITHHELD)
_NO_WP_ANON = Cause(
    "this kernel or architecture has no userfaultfd write-protection",
    "use Linux 5.7 or later (x86_64; arm64 since 6.10)",
    of_kind("anon"),
)
_NO_WP_SHARED = Cause(
    "this kernel or architecture has no userfaultfd write-protection for shmem and hugetlb",
    "use Linux 5.19 or later for those (x86_64; arm64 since 6.10)",
    of_kind("shmem", "hugetlb"),
)
_NO_WP = (_NO_WP_ANON, _NO_WP_SHARED)
_NO_FILE = Cause(
    "memory of a regular file is registered for write protection only, and with WP_ASYNC",
    "ask for WP_ASYNC (Linux 6.7), without missing events",
    of_kind("file"),
)
_BAD_POINTER = Cause(
    "an argument points to memory that cannot be read or written", "report this: it is a bug of uffdlab"
)
_BAD_FLAGS = Cause("a mode or flag is unknown to this kernel", "ask with fewer flags, or use a later kernel")
_SIZE_UNKNOWN = Cause(
    "this kernel or CPU has no huge pages of that size",
    "see /sys/kernel/mm/hugepages; 1 GiB pages need the CPU flag pdpe1gb",
    of_kind("hugetlb"),
)
_SEALED = Cause("the mapping is sealed against changes", "map the memory anew without sealing", of_a_file)
_FULL = Cause(
    "the filesystem behind the mapping is full",
    "free space there (df), or use other memory",
    of_kind("shmem", then=of_a_file),
)
_BEYOND_THE_END = Cause(
    "a page lies beyond the end of the file behind the mapping",
    "check the file's size",
    of_kind("shmem", "hugetlb", then=of_a_file),
)
_POISONED = Cause(
    "a page was poisoned, by a memory error or with UFFDIO_POISON",
    "look for memory errors in the kernel log, and leave out POISON",
)
_AS_SIGNALS = Cause(
    "the userfaultfd delivers faults as signals", "leave out the feature SIGBUS", with_features("SIGBUS")
)

_NO_THREAD = Cause("no further thread may be started", "raise the limit (ulimit -u, or pids.max of the control group)")
_NO_PROCESS = Cause(
    "no further process may be started", "raise the limit (ulimit -u, or pids.max of the control group)"
)
_NOT_ALIGNED = Cause("the start is not aligned to a page", "align it", unaligned)


_NOT_THE_OWNER = Cause(
    lambda now: (
        "it belongs to the user 0 of the host, and this process is user 0 of a user namespace only"
        if now.superuser()
        else "only root may write it"
    ),
    lambda now: "run outside that user namespace, on the host itself" if now.superuser() else "run as root",
    lambda now: now.user_namespace() if now.superuser() else negated(now.superuser()),
)
_NOT_FROM_HERE = Cause(
    "a container or a security module keeps this process from it", "run on the host itself, outside the container"
)

TABLE: dict[tuple[str, int], tuple[Cause, ...]] = {
    # opening: /dev/userfaultfd, then the system call
    ("open userfaultfd", numbers.EPERM): (_SYSCTL, _PTRACE, _LSM, _DEVICES),
    ("open userfaultfd", numbers.EACCES): (
        Cause(
            "/dev/userfaultfd is not readable and writable for this user",
            "give the user access to /dev/userfaultfd, or use the system call",
        ),
        _LSM,
    ),
    ("open userfaultfd", numbers.ENOSYS): (_NO_UFFD,),
    ("open userfaultfd", numbers.ENOENT): (
        Cause(
            "there is no /dev/userfaultfd (before 6.1, or not passed into this container)",
            "use the system call, or pass the device into the container",
        ),
    ),
    ("open userfaultfd", numbers.ENODEV): (_NO_DRIVER,),
    ("open userfaultfd", numbers.ENXIO): (_NO_DRIVER,),
    ("open userfaultfd", numbers.EINVAL): (
        Cause(
            "a flag is unknown to this kernel, with UFFD_USER_MODE_ONLY (since 5.11) and without",
            "use a later kernel",
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
        Cause(
            lambda now: (
                f"a feature asked for ({' + '.join(now.request.features)}) is not offered by this kernel"
                if now.request.features
                else "a feature asked for is not offered by this kernel"
            ),
            "ask with features 0 and see what it offers: 'uffdlab doctor' does",
            lambda now: None if now.request.features is None else bool(now.request.features),
        ),
        Cause("this file descriptor has answered UFFDIO_API before", "open another one"),
    ),
    ("UFFDIO_API", numbers.EPERM): (
        Cause(
            "EVENT_FORK needs CAP_SYS_PTRACE",
            gaining("CAP_SYS_PTRACE", ", or do not ask for EVENT_FORK"),
            lacks(CAP_SYS_PTRACE),
        ),
    ),
    # registering
    ("UFFDIO_REGISTER", numbers.EINVAL): (_UNALIGNED, _UNALIGNED_HUGE, *_NO_WP, _NO_FILE, _BAD_FLAGS),
    ("UFFDIO_REGISTER", numbers.EBUSY): (
        Cause("another userfaultfd has the range", "unregister it there, or use other memory"),
    ),
    ("UFFDIO_REGISTER", numbers.EPERM): (
        Cause(
            "the file behind a shared mapping may not be written",
            "map a file that was opened for writing",
            of_kind("shmem", "hugetlb"),
        ),
        _SEALED,
    ),
    ("UFFDIO_REGISTER", numbers.ENOMEM): (
        _GONE,
        Cause("splitting the mapping met vm.max_map_count", "raise vm.max_map_count or register larger ranges"),
        _NO_TABLES,
    ),
    # protecting and resolving
    ("UFFDIO_WRITEPROTECT", numbers.EINVAL): (_UNALIGNED, _UNALIGNED_HUGE, _BAD_FLAGS),
    ("UFFDIO_WRITEPROTECT", numbers.ENOENT): (_NOT_REGISTERED,),
    ("UFFDIO_WRITEPROTECT", numbers.EAGAIN): (_MOVING,),
    ("UFFDIO_WRITEPROTECT", numbers.ESRCH): (_GONE,),
    ("UFFDIO_WRITEPROTECT", numbers.ENOMEM): (_NO_TABLES, _CGROUP_OOM),
    ("UFFDIO_WRITEPROTECT", numbers.ENOTTY): _NO_WP,
    ("UFFDIO_COPY", numbers.EEXIST): (Cause("a page is mapped there already", "wake the fault instead of filling it"),),
    ("UFFDIO_COPY", numbers.ENOENT): (_NOT_REGISTERED,),
    ("UFFDIO_COPY", numbers.EAGAIN): (_MOVING,),
    ("UFFDIO_COPY", numbers.EINVAL): (_UNALIGNED, _UNALIGNED_HUGE, _BAD_FLAGS),
    ("UFFDIO_COPY", numbers.ENOMEM): (*_NO_HUGE_PAGE, _NO_TABLES, _CGROUP_OOM),
    ("UFFDIO_COPY", numbers.ENOSPC): (*_NO_HUGE_PAGE, _FULL),
    ("UFFDIO_COPY", numbers.ESRCH): (_GONE,),
    # looking at pages
    ("PAGEMAP_SCAN", numbers.ENOTTY): (
        Cause("this kernel has no PAGEMAP_SCAN (before 6.7)", "use a later kernel, or read /proc/self/pagemap"),
    ),
    ("PAGEMAP_SCAN", numbers.EINVAL): (
        Cause("a category or flag is unknown to this kernel", "ask for fewer categories (GUARD is recent)"),
        Cause("the range is not aligned, or its end lies before its start", "align start and end to pages", unaligned),
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
    ("pagemap", numbers.EACCES): (_UNTRACEABLE,),
    ("pagemap", numbers.EPERM): (_UNTRACEABLE,),
    ("pagemap", numbers.ENOENT): (
        Cause("/proc is not mounted, the process is gone, or CONFIG_PROC_PAGE_MONITOR is off", "mount /proc"),
    ),
    ("pagemap", numbers.EIO): (Cause("the process is gone", "nothing to do: its pages no longer exist"),),
    # touching pages, which a handler thread resolves
    ("touch", numbers.EFAULT): (*_NO_HUGE_PAGE, _FULL, _BEYOND_THE_END, _AS_SIGNALS, _POISONED),
    ("start a process", numbers.EAGAIN): (_NO_PROCESS,),
    ("start a thread", numbers.EAGAIN): (_NO_THREAD,),
    ("sched_setaffinity", numbers.EINVAL): (
        Cause(
            "none of the CPUs asked for may be used any more",
            "leave the CPUs of this process and of its control group (cpuset) as they are meanwhile",
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
        Cause("this kernel does not know the advice", "use a later kernel"),
        Cause("the mapping does not take this advice", "check the mapping"),
        _NOT_ALIGNED,
    ),
    ("MADV_POPULATE_READ", numbers.EINVAL): (
        Cause("this kernel does not know the advice", f"use Linux {uapi.MADV_POPULATE_READ_SINCE} or later"),
        _NOT_ALIGNED,
    ),
    ("MADV_HUGEPAGE", numbers.EINVAL): (
        Cause(
            "the kernel has no transparent huge pages (CONFIG_TRANSPARENT_HUGEPAGE)",
            "use a kernel that has them, or a probe with 4 KiB pages",
            lambda now: negated(now.built_in("transparent_hugepage")),
        ),
        Cause("the mapping is hugetlb, which has no use for it", "leave the advice out", of_kind("hugetlb")),
        _NOT_ALIGNED,
    ),
    ("MADV_MERGEABLE", numbers.EINVAL): (
        Cause(
            "the kernel has no KSM (CONFIG_KSM)",
            "use a kernel that has it",
            lambda now: negated(now.built_in("ksm")),
        ),
        _NOT_ALIGNED,
    ),
    ("MADV_DONTNEED", numbers.EINVAL): (
        Cause("the range is locked in memory", "unlock it (munlock) first"),
        Cause(
            "on hugetlb the kernel is too old (before 5.18)",
            "use a later one, or punch a hole",
            of_kind("hugetlb"),
        ),
        _UNALIGNED_HUGE,
    ),
    ("madvise", numbers.ENOMEM): (
        Cause("part of the range is not mapped", "map all of it first"),
        _NO_TABLES,
        _CGROUP_OOM,
    ),
    ("madvise", numbers.EAGAIN): (Cause("a kernel resource is short for the moment", "try again"),),
    ("madvise", numbers.EFAULT): (
        *_NO_HUGE_PAGE,
        _BEYOND_THE_END,
        _POISONED,
        Cause("the mapping may not be read or written", "check its protection", of_kind()),
    ),
    ("madvise", numbers.EBUSY): (Cause("the kernel could not take a lock or a page in time", "try again"),),
    ("madvise", EHWPOISON): (
        Cause("a page of the range has a hardware memory error", "use other memory, and replace the module"),
    ),
    ("madvise", numbers.EPERM): (
        Cause("the mapping is sealed against changes", "map the memory anew without sealing"),
    ),
    ("madvise", numbers.EIO): (
        Cause("reading the file behind the mapping failed", "look at the kernel log", of_a_file),
    ),
    ("mmap", numbers.ENOMEM): (
        *_NO_HUGE_PAGE,
        Cause(
            "too little memory under the overcommit policy",
            "map less, or set vm.overcommit_memory",
            of_kind("anon", "shmem"),
        ),
        Cause(
            "the process has vm.max_map_count mappings or met its address-space limit",
            "raise the limit (ulimit -v)",
        ),
    ),
    ("mmap hugetlb", numbers.ENOMEM): _NO_HUGE_PAGE,
    ("mmap hugetlb", numbers.EINVAL): (
        _SIZE_UNKNOWN,
        Cause("the length is not a multiple of the huge page", "round it up", unaligned),
    ),
    ("mmap", numbers.EINVAL): (
        _SIZE_UNKNOWN,
        Cause("length, offset or flags make no sense together", "align the offset to pages"),
    ),
    ("mmap", numbers.EAGAIN): (Cause("the limit of locked memory was reached", "raise it (ulimit -l)"),),
    ("mmap", numbers.EPERM): (
        Cause("the address is below vm.mmap_min_addr", "map elsewhere", placed),
        Cause("the file is sealed", "map another one", of_a_file),
    ),
    ("mmap", numbers.EACCES): (
        Cause("the file was not opened for this kind of access", "open it for reading and writing", of_a_file),
    ),
    ("mmap", numbers.ENODEV): (Cause("the file cannot be mapped", "use memfd_create or tmpfs", of_a_file),),
    # host settings
    ("write setting", numbers.EACCES): (_NOT_THE_OWNER, _NOT_FROM_HERE),
    ("write setting", numbers.EPERM): (_NOT_THE_OWNER, _NOT_FROM_HERE),
    ("write setting", numbers.EROFS): (
        Cause(
            "/sys is mounted read-only, as in most containers",
            "change the setting on the host itself, or start the container privileged",
            lambda now: negated(now.writable_sysfs()),
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
    ("*", numbers.ENOSYS): (Cause("the kernel was built without this system call", "use a kernel that has it"),),
}
