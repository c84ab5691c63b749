# SPDX-License-Identifier: MIT
"""What may lead to an errno: a clause that says it, one that mends it, and whether it applies to the case at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from uffdlab.host.conditions import Situation

CAP_SYS_PTRACE = 19

Applies = Callable[[Situation], bool | None]
Text = str | Callable[[Situation], str]


@dataclass(frozen=True)
class Likely:
    """One cause as it applies here: why, and what would help."""

    why: str
    remedy: str


def _cannot_tell(_: Situation) -> bool | None:
    return None


@dataclass(frozen=True)
class Cause:
    """One thing that leads to an errno. ``applies`` is None where nobody can tell; False leaves it out."""

    why: Text
    remedy: Text
    applies: Applies = _cannot_tell

    def here(self, now: Situation) -> Likely:
        """Return it in words for this case."""
        return Likely(_words(self.why, now), _words(self.remedy, now))


def _words(text: Text, now: Situation) -> str:
    return text if isinstance(text, str) else text(now)


# --- when a cause applies: what was asked ---------------------------------------------------------------------


def of_kind(*kinds: str, then: Applies = _cannot_tell) -> Applies:
    """Apply to these kinds of memory only, and there as *then* says; without any, where the kind is not known.

    Whoever knows the kind is uffdlab itself, and has mapped it for reading and writing.
    """

    def applies(now: Situation) -> bool | None:
        if now.asked.kind is not None and now.asked.kind not in kinds:
            return False
        return then(now)

    return applies


def unaligned(now: Situation) -> bool | None:
    """Apply to a range that does not begin and end at a page of its memory."""
    return None if now.asked.aligned is None else not now.asked.aligned


def placed(now: Situation) -> bool | None:
    """Apply where an address was asked for."""
    return None if now.asked.placed else now.asked.placed


def of_a_file(now: Situation) -> bool | None:
    """Apply to mappings of a file."""
    return None if now.asked.file else now.asked.file


def with_features(*names: str) -> Applies:
    """Apply where one of these features was asked for."""

    def applies(now: Situation) -> bool | None:
        return False if now.asked.features is not None and not set(names) & set(now.asked.features) else None

    return applies


# --- when a cause applies: this process and system ------------------------------------------------------------


def lacks(capability: int) -> Applies:
    """Apply to processes without this capability."""

    def applies(now: Situation) -> bool | None:
        return negated(now.capability(capability))

    return applies


def negated(known: bool | None) -> bool | None:
    """Return the opposite of what is known."""
    return None if known is None else not known


def sysctl_forbids(now: Situation) -> bool | None:
    """Apply where vm.unprivileged_userfaultfd keeps this process from faults of kernel mode."""
    allowed, privileged = now.unprivileged_userfaultfd(), now.capability(CAP_SYS_PTRACE)
    if allowed or privileged:
        return False
    return None if allowed is None or privileged is None else True


def gaining(capability: str, otherwise: str = "") -> Text:
    """Return a remedy that names the capability to come by, and *otherwise*, if anything, what else would do."""
    return lambda now: now.gain(capability) + otherwise
