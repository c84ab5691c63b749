# SPDX-License-Identifier: MIT
"""Probe *entries*: cost of re-protecting, unprotecting and discarding a range, by entry contents, excluding set-up.

Protecting an empty range allocates tables, reads entries and writes them, all at once. Here the same range is operated
on again: a second protect only reads markers (and rewrites present entries), unprotecting and protecting again finds
the tables in place, and a discard frees entries, pages and tables. Together they separate these costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from uffdlab.errors import UffdlabError
from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, COLD, SAMPLE, Field, boolean, integer, one_of
from uffdlab.probes.spec import Spec, check_size, repeated, word
from uffdlab.probes.userfault import READ, WRITE, Range, Userfault, counters, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, KIB, MIB

PAGE = 4 * KIB
MOST_BYTES = 1 << 46
BACKINGS_OPERATED = ("anon", "anon_thp", "hugetlb_2m_private", "hugetlb_1g_private")
CONTENTS = {"empty": None, "read": READ, "written": WRITE}
# In this order, on the same range.
OPERATIONS: dict[str, Callable[[Range, Userfault], int]] = {
    "protect": lambda memory, uffd: uffd.protect(memory),
    "protect again": lambda memory, uffd: uffd.protect(memory),
    "unprotect": lambda memory, uffd: uffd.protect(memory, on=False),
    "protect once more": lambda memory, uffd: uffd.protect(memory),
    "discard": lambda memory, uffd: memory.discard(),
}


@dataclass(frozen=True)
class EntriesSpec(Spec):
    """One configuration: ``content`` is how one page per ``stride_bytes`` is touched beforehand; with ``markers``
    empty entries get markers.
    """

    backing: str = word("anon", BACKINGS_OPERATED)
    content: str = word("empty", CONTENTS)
    markers: bool = True
    size_bytes: int = 64 * MIB
    stride_bytes: int = PAGE
    repeats: int = repeated()

    def check(self) -> None:
        """Refuse an invalid combination of fields."""
        backing = BACKINGS[self.backing]
        check_size(self.size_bytes, backing.alignment_bytes, MOST_BYTES, backing.name)
        if not backing.page_bytes <= self.stride_bytes <= MOST_BYTES or self.stride_bytes % backing.page_bytes:
            raise UffdlabError(
                f"stride {self.stride_bytes} B is not a whole number of {backing.name}'s {backing.page_kib} KiB pages"
            )
        if self.content == "read" and backing.pool_kib:
            raise UffdlabError("hugetlb has no zeropage, so reading populates it as writing does: choose written")

    def needs(self) -> Needs:
        """Return the memory and huge pages one sample holds at its peak."""
        backing = BACKINGS[self.backing]
        thp = self.backing == "anon_thp"
        pages = -(-self.size_bytes // self.stride_bytes) if self.content == "written" else 0
        tables = self.size_bytes // (512 * backing.page_bytes) * 4
        if backing.pool_kib:
            return Needs(tables, {backing.pool_kib: pages} if pages else {})
        held = self.size_bytes // KIB if thp and pages else pages * 4
        return Needs(held + tables, thp=thp, settings={"thp_use_zero_page": "1"} if thp else {})


FIELDS: list[Field] = [
    BLOCK,
    SAMPLE,
    COLD,
    one_of("backing", BACKINGS_OPERATED, "kind of memory"),
    one_of("content", CONTENTS, "what the touched pages held: nothing, what a read leaves, what a write leaves"),
    boolean("markers", "whether what is empty gets markers (WP_UNPOPULATED); hugetlb gives them always"),
    integer("size_kib", "KiB", "length of the range"),
    integer("stride_kib", "KiB", "from one touched page to the next"),
    one_of("operation", OPERATIONS, "what was done with the whole range, one call each, in this order"),
    integer("took_ns", "ns", "time of the call"),
    integer("table_growth_kib", "KiB", "growth of VmPTE meanwhile; negative where tables were freed"),
    integer("rss_growth_kib", "KiB", "growth of VmRSS meanwhile (hugetlb pages are not in it)"),
]


def run(spec: EntriesSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``("entries", row)`` for every operation of every sample."""
    key = {name: getattr(spec, name) for name in ("backing", "content", "markers")}
    sizes = {"size_kib": spec.size_bytes // KIB, "stride_kib": spec.stride_bytes // KIB}
    for index in range(spec.repeats):
        for row in _sample(spec):
            yield "entries", {"sample": index, "cold": index == 0} | key | sizes | row


def _sample(spec: EntriesSpec) -> Iterator[dict[str, Any]]:
    features = ("WP_UNPOPULATED",) if spec.markers and not BACKINGS[spec.backing].pool_kib else ()
    touch = CONTENTS[spec.content]
    with mapped(BACKINGS[spec.backing], spec.size_bytes) as memory, opened(features) as uffd:
        if touch is not None:
            memory.touch(touch, spec.stride_bytes)
        uffd.register(memory, missing=False)
        before = counters()
        for name, operate in OPERATIONS.items():
            ns = operate(memory, uffd)
            after = counters()
            grown = {
                "table_growth_kib": after.vm_pte_kib - before.vm_pte_kib,
                "rss_growth_kib": after.vm_rss_kib - before.vm_rss_kib,
            }
            yield {"operation": name, "took_ns": ns} | grown
            before = after
