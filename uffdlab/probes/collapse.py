# SPDX-License-Identifier: MIT
"""Probe *collapse*: how long memory that was written under PTE markers stays in small pages.

A range with THP on is protected by markers and written once per 2 MiB. Then the kernel is asked for huge pages
(MADV_COLLAPSE) while the other markers stand. In the end the userfaultfd is closed, which removes them, and the time
is taken until huge pages map the whole range: until khugepaged has come by, or until MADV_COLLAPSE returns.

The kernel adds a process to khugepaged's list at a fault that could map a huge page (``khugepaged_enter_vma`` in
``do_huge_pmd_anonymous_page``), and MADV_HUGEPAGE does so only for memory that has been written. A write to a range
whose page tables exist, for its markers, is no such fault: *khugepaged_unaware* is a process that has had no other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, COLD, SAMPLE, Field, integer, one_of
from uffdlab.probes.spec import Spec, check_size, repeated, within, word
from uffdlab.probes.userfault import WRITE, KernelRefused, Range, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, KIB, MIB
from uffdlab.vocabulary.repairs import REPAIRS

PMD = 2 * MIB
_POLL_S = 0.02


@dataclass(frozen=True)
class CollapseSpec(Spec):
    """Who makes huge pages again, and for how long khugepaged is waited for."""

    repair: str = word("khugepaged", REPAIRS)
    size_bytes: int = 16 * MIB  # what khugepaged scans before it sleeps, by default
    patience_s: float = within(60, 0.01, 100)
    repeats: int = repeated()

    def check(self) -> None:
        """Refuse an invalid combination of fields."""
        check_size(self.size_bytes, PMD, 1 << 40)

    def needs(self) -> Needs:
        """Return the memory one sample holds at its peak: all of it in the end."""
        other_kib = PMD // KIB if self.repair == "khugepaged" else 0
        return Needs(self.size_bytes // KIB + other_kib + self.size_bytes // PMD * 4, thp=True)


FIELDS: list[Field] = [
    BLOCK,
    SAMPLE,
    COLD,
    one_of(
        "repair",
        REPAIRS,
        "who makes huge pages in the end: khugepaged, which knows the process or not, or MADV_COLLAPSE",
    ),
    integer("size_kib", "KiB", "length of the range"),
    integer(
        "huge_before_pages", None, "base pages in huge pages after a write per 2 MiB under markers", required=False
    ),
    integer("collapse_errno", None, "of MADV_COLLAPSE while markers stand; 0: none"),
    integer("huge_asked_pages", None, "base pages in huge pages after that", required=False),
    integer("repair_ns", "ns", "from closing the userfaultfd until all are, or until given up", required=False),
    integer("huge_after_pages", None, "base pages in huge pages then", required=False),
]


def run(spec: CollapseSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``("collapses", row)`` for every sample."""
    for index in range(spec.repeats):
        key = {"sample": index, "cold": index == 0, "repair": spec.repair, "size_kib": spec.size_bytes // KIB}
        yield "collapses", key | _sample(spec)


def _sample(spec: CollapseSpec) -> dict[str, Any]:
    with _known(spec), mapped(BACKINGS["anon_thp"], spec.size_bytes) as memory:
        with opened(("WP_UNPOPULATED", "WP_ASYNC")) as uffd:
            uffd.register(memory, missing=False)
            uffd.protect(memory)
            memory.touch(WRITE, PMD)
            before = memory.huge_pages()
            row = {"huge_before_pages": before, "collapse_errno": _refusal(memory)}
            row["huge_asked_pages"] = memory.huge_pages()
            began = time.monotonic_ns()
        if spec.repair == "madv_collapse":
            memory.advise("MADV_COLLAPSE")
        elif before is not None:  # else huge pages cannot be counted
            _wait(memory, began + int(spec.patience_s * 1e9))
        took = time.monotonic_ns() - began if before is not None or spec.repair == "madv_collapse" else None
        return row | {"repair_ns": took, "huge_after_pages": memory.huge_pages()}


@contextmanager
def _known(spec: CollapseSpec) -> Iterator[None]:
    """Have a huge page mapped elsewhere, so that khugepaged knows this process, unless it is to be unaware of it."""
    if spec.repair == "khugepaged":
        with mapped(BACKINGS["anon_thp"], PMD) as other:
            other.touch(WRITE)
            yield
    else:
        yield


def _refusal(memory: Range) -> int:
    """Ask for huge pages and return the errno of the refusal, or 0."""
    try:
        memory.advise("MADV_COLLAPSE")
    except KernelRefused as refused:
        return refused.errno
    return 0


def _wait(memory: Range, until_ns: int) -> None:
    while (memory.huge_pages() or 0) * 4 * KIB < memory.length and time.monotonic_ns() < until_ns:
        time.sleep(_POLL_S)
