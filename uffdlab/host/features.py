# SPDX-License-Identifier: MIT
"""What userfaultfd offers on the running kernel, found by asking it.

Kernel versions are never compared: distributions backport features and architectures lack some. One file
descriptor answers UFFDIO_API once, so every question opens one of its own and closes it again.
"""

from __future__ import annotations

from dataclasses import dataclass

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.host import errnos, uapi

_VIA = {1: "device", 2: "syscall", 3: "syscall user mode only"}
_SYSCALL = 2  # the only way that also delivers faults of kernel mode: the kernel before 5.11 knows no other


@dataclass(frozen=True)
class Userfaultfd:
    """The kernel's answer.

    ``via`` is ``device`` (/dev/userfaultfd), ``syscall`` or ``syscall user mode only``. With
    ``user_mode_only`` a fault taken inside a system call is not delivered; the device is asked for that
    too, though it needs no privilege for more. ``features`` and ``ioctls`` are the masks of UFFDIO_API (0
    when not available); ``errno`` says why it is not available, and ``failed`` which step refused.
    """

    available: bool
    via: str | None
    user_mode_only: bool
    features: int
    ioctls: int
    errno: int | None
    failed: str | None = None

    @property
    def why(self) -> str | None:
        """One sentence on why it is not available, or None when it is."""
        if self.available:
            return None
        return errnos.explain(self.failed or "open userfaultfd", self.errno or 0)

    def has(self, name: str) -> bool:
        """Return whether the feature called *name* is offered; raises UffdlabError for an unknown name."""
        return bool(self.features & uapi.feature(name).mask)


def query() -> Userfaultfd:
    """Return what userfaultfd offers to this process.

    Raises UffdlabError if the native extension was not built: without it nothing can be said, not even "no".
    """
    return _ask(0)


def granted(wanted: int) -> int:
    """Ask a new file descriptor for the features in *wanted* and return those it grants.

    A kernel refuses the whole request for one unknown bit (EINVAL), so the answer is then what it offers of
    *wanted*. Raises UffdlabError if userfaultfd cannot be opened or a feature needs a privilege this
    process lacks.
    """
    answer = _ask(wanted)
    if answer.available:
        return answer.features & wanted
    offered = _ask(0)
    if answer.failed == "UFFDIO_API" and offered.available and offered.features & wanted != wanted:
        return offered.features & wanted
    raise UffdlabError(
        errnos.explain(
            answer.failed or "open userfaultfd",
            answer.errno or 0,
            features=" + ".join(uapi.feature_names(wanted)) or "none",
        )
    )


def _ask(wanted: int) -> Userfaultfd:
    ffi, lib = native.probe()
    via = ffi.new("int *")
    fd = int(lib.ul_uffd_open(1, via))
    if fd < 0:
        return Userfaultfd(False, None, False, 0, 0, -fd, "open userfaultfd")
    how = int(via[0])
    features, ioctls = ffi.new("uint64_t *"), ffi.new("uint64_t *")
    try:
        result = int(lib.ul_uffd_api(fd, wanted, features, ioctls))
    finally:
        lib.ul_close(fd)
    if result < 0:
        return Userfaultfd(False, _VIA.get(how), how != _SYSCALL, 0, 0, -result, "UFFDIO_API")
    return Userfaultfd(True, _VIA.get(how), how != _SYSCALL, int(features[0]), int(ioctls[0]), None)
