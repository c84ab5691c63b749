# SPDX-License-Identifier: MIT
"""What userfaultfd offers on the running kernel, as UFFDIO_API answers.

Kernel versions are never compared: distributions backport features and architectures lack some.
"""

from __future__ import annotations

from dataclasses import dataclass

from uffdlab.errors import UffdlabError
from uffdlab.host import asking, uapi
from uffdlab.host.asking import Answer

_VIA = {1: "device", 2: "syscall", 3: "syscall user mode only"}
_SYSCALL = 2  # the only one that delivers faults of kernel mode: before 5.11 there is no other


@dataclass(frozen=True)
class Userfaultfd:
    """The kernel's answer.

    ``via`` is ``device`` (/dev/userfaultfd), ``syscall`` or ``syscall user mode only``. With
    ``user_mode_only`` a fault taken inside a system call is not delivered; the device is opened so, too,
    though it would deliver those without privilege. ``features`` and ``ioctls`` are the masks of UFFDIO_API (0
    when not available); ``refused`` says why it is not available.
    """

    via: str | None = None
    user_mode_only: bool = False
    features: int = 0
    ioctls: int = 0
    refused: Answer | None = None

    @property
    def available(self) -> bool:
        """Whether userfaultfd could be opened and UFFDIO_API succeeded."""
        return self.refused is None

    @property
    def why(self) -> str | None:
        """Return why userfaultfd is not available, in one sentence; None where it is."""
        return None if self.refused is None else self.refused.why()

    def has(self, name: str) -> bool:
        """Return whether the feature called *name* is offered; raises UffdlabError for an unknown name."""
        return bool(self.features & uapi.feature(name).mask)


def query() -> Userfaultfd:
    """Return what userfaultfd offers to this process.

    Raises UffdlabError if the native extension was not built.
    """
    answer = asking.ask("USERFAULTFD")
    if answer.result is None:
        return Userfaultfd(refused=answer)
    return Userfaultfd(_VIA.get(answer.via), answer.via != _SYSCALL, answer.features, answer.ioctls)


def query_or_none() -> Userfaultfd | None:
    """Return what userfaultfd offers to this process; None where it cannot be asked."""
    try:
        return query()
    except UffdlabError:
        return None
