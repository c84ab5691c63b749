# SPDX-License-Identifier: MIT
"""Operations tried on the running kernel, each in a child process of its own.

A seccomp filter may kill the caller instead of returning an errno; the child's signal is then the answer. It is forked
in C and runs no Python, so that the parent may have threads (Jupyter).
"""

from __future__ import annotations

from dataclasses import dataclass

from uffdlab import native
from uffdlab.host import deaths, errnos
from uffdlab.host.causes import Likely

DEADLINE_S = 5
START_PROCESS = "start a process"

# The operations of each question, by their names in ``errnos``.
_OPERATIONS: dict[str, tuple[str, ...]] = {
    "USERFAULTFD": ("open userfaultfd", "UFFDIO_API"),
    "PROTECT": (
        "open userfaultfd",
        "UFFDIO_API",
        "mmap",
        "UFFDIO_REGISTER",
        "UFFDIO_WRITEPROTECT",
        "MADV_DONTNEED",
        "UFFDIO_COPY",
    ),
    "PAGEMAP_SCAN": ("PAGEMAP_SCAN",),
    "POPULATE_READ": ("mmap", "MADV_POPULATE_READ"),
    "PT_RECLAIM": ("PT_RECLAIM",),
    "DIE_WITH_PARENT": ("PR_SET_PDEATHSIG",),
    "PINNED_THREAD": ("sched_setaffinity", "start a thread"),
    "SOFT_DIRTY": ("mmap", "clear soft-dirty bits", "read soft-dirty bits"),
}


@dataclass(frozen=True)
class Answer:
    """The result of one question, or why there is none.

    ``operation`` is the last one that was tried. Exactly one of these is set: ``result`` (not negative), ``errno``,
    ``signal`` (the child was killed), ``silent`` (the child did not end in time).
    """

    operation: str
    result: int | None = None
    errno: int | None = None
    signal: int | None = None
    silent: bool = False
    system_call: int | None = None
    via: int = 0
    features: int = 0
    ioctls: int = 0

    def likely(self) -> list[Likely]:
        """Return the likely causes of there being no result, each with a remedy."""
        if self.errno is not None:
            return errnos.causes(self.operation, self.errno)
        if self.signal is not None:
            return [deaths.likely(self.operation, self.signal, self.system_call)]
        if self.silent:
            return [
                Likely(
                    f"{self.operation} did not return within {DEADLINE_S} s",
                    "look at the kernel log, and try again on an idle machine",
                )
            ]
        return []

    def why(self) -> str:
        """Return one sentence on why there is no result."""
        if self.errno is not None:
            return errnos.explain(self.operation, self.errno)
        return "; or ".join(f"{cause.why} (remedy: {cause.remedy})" for cause in self.likely()) + "."


def fatal_operations() -> list[str]:
    """Return the operations whose caller a seccomp filter kills; none without the native extension."""
    if native.why_missing() is not None:
        return []
    answers = [ask(question) for question in _OPERATIONS]
    return list(dict.fromkeys(answer.operation for answer in answers if answer.signal is not None))


def ask(question: str) -> Answer:
    """Ask one of the questions of ``native/probe/ask.c``, by its name without UL_ASK_.

    Raises UffdlabError if the native extension was not built.
    """
    ffi, lib = native.probe()
    raw = ffi.new("struct ul_answer *")
    started = int(lib.ul_ask(getattr(lib, f"UL_ASK_{question}"), DEADLINE_S, raw))
    if started < 0:
        return Answer(START_PROCESS, errno=-started)
    operation = _OPERATIONS[question][int(raw.step)]
    if not raw.answered:
        if raw.hung or not raw.signal:
            return Answer(operation, silent=True)
        trapped = int(raw.system_call)
        return Answer(operation, signal=int(raw.signal), system_call=trapped if trapped >= 0 else None)
    if raw.result < 0:
        return Answer(operation, errno=-int(raw.result), via=int(raw.via))
    return Answer(
        operation, result=int(raw.result), via=int(raw.via), features=int(raw.features), ioctls=int(raw.ioctls)
    )
