# SPDX-License-Identifier: MIT
"""Possible causes of an errno: the cause and its remedy as clauses, and a check whether it applies here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from uffdlab.host.conditions import Situation

CAP_SYS_PTRACE = 19

Applies = Callable[[Situation], bool | None]
Text = str | Callable[[Situation], str]


@dataclass(frozen=True)
class Likely:
    """A cause that applies here, and its remedy, as clauses."""

    why: str
    remedy: str


def _cannot_tell(_: Situation) -> bool | None:
    return None


@dataclass(frozen=True)
class Cause:
    """A possible cause of an errno. ``applies`` returns False where it is excluded, None where that is unknown."""

    why: Text
    remedy: Text
    applies: Applies = _cannot_tell

    def here(self, now: Situation) -> Likely:
        """Return its clauses for this situation."""
        return Likely(_words(self.why, now), _words(self.remedy, now))


def _words(text: Text, now: Situation) -> str:
    return text if isinstance(text, str) else text(now)


# --- when a cause applies: the request ------------------------------------------------------------------------


def of_kind(*kinds: str, then: Applies = _cannot_tell) -> Applies:
    """Apply *then* to these kinds of memory only; without any, only where the kind is not known.

    Memory of a known kind was mapped by uffdlab, readable and writable.
    """

    def applies(now: Situation) -> bool | None:
        if now.request.kind is not None and now.request.kind not in kinds:
            return False
        return then(now)

    return applies


def unaligned(now: Situation) -> bool | None:
    """Apply where the range is not aligned to the page size of its memory."""
    return None if now.request.aligned is None else not now.request.aligned


def placed(now: Situation) -> bool | None:
    """Apply where an address was requested."""
    return None if now.request.placed else now.request.placed


def of_a_file(now: Situation) -> bool | None:
    """Apply to mappings of a file."""
    return None if now.request.file else now.request.file


def with_features(*names: str) -> Applies:
    """Apply where one of these features was requested."""

    def applies(now: Situation) -> bool | None:
        return False if now.request.features is not None and not set(names) & set(now.request.features) else None

    return applies


# --- when a cause applies: this process and system ------------------------------------------------------------


def lacks(capability: int) -> Applies:
    """Apply to processes without this capability."""

    def applies(now: Situation) -> bool | None:
        return negated(now.capability(capability))

    return applies


def negated(known: bool | None) -> bool | None:
    """Return ``not known``, or None for None."""
    return None if known is None else not known


def sysctl_forbids(now: Situation) -> bool | None:
    """Apply where vm.unprivileged_userfaultfd denies this process faults taken in kernel mode."""
    allowed, privileged = now.unprivileged_userfaultfd(), now.capability(CAP_SYS_PTRACE)
    if allowed or privileged:
        return False
    return None if allowed is None or privileged is None else True


def gaining(capability: str, otherwise: str = "") -> Text:
    """Return a remedy that names the capability to get, followed by *otherwise*."""
    return lambda now: now.gain(capability) + otherwise
