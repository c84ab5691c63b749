# SPDX-License-Identifier: MIT
"""Steps of a sequence: what may happen to a page between protecting it and writing to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from uffdlab.vocabulary.backings import Backing

_POOL = "huge pages of a pool are never reclaimed"
# Found by running it: SIGKILL alone ends the call, and whatever reads the memory map waits meanwhile, ps as well.
_ENDLESS = "where it is protected and nothing was read yet, Linux 6.18 fills it without end"
_ANONYMOUS = "only private anonymous memory"


@dataclass(frozen=True)
class Step:
    """One step: what it does, by which call, and the kinds of memory it cannot be taken on, each with its reason.

    Kinds are ``anon`` (THP off), ``anon_thp``, ``shmem``, ``file`` (a regular one, mapped privately) and ``hugetlb``.
    ``page``: it acts on the watched page; the others act on the whole range. ``feature`` is what userfaultfd has to
    grant besides.
    """

    name: str
    does: str
    call: str
    page: bool = False
    feature: str | None = None
    impossible: dict[str, str] = field(default_factory=dict)

    def why_not(self, backing: Backing) -> str | None:
        """Return why the step cannot be taken on memory of that backing, or None."""
        reason = self.impossible.get(backing.name) or self.impossible.get(kind_of(backing))
        return f"{self.name} ({self.call}) is not possible on {backing.title}: {reason}" if reason else None


_KINDS = {"anon_mthp": "anon_thp", "memfd": "shmem", "file_private": "file"}


def kind_of(backing: Backing) -> str:
    """Return the kind of memory: ``hugetlb`` for memory of a pool, else that which the backing is a case of."""
    return "hugetlb" if backing.pool_kib else _KINDS.get(backing.name, backing.name)


def _anonymous(what: str) -> dict[str, str]:
    return dict.fromkeys(("shmem", "file", "hugetlb"), f"{what} {_ANONYMOUS}")


_COLLAPSED = {
    "anon": "it is mapped with MADV_NOHUGEPAGE: choose anon_thp",
    "file": "it is mapped with MADV_NOHUGEPAGE",
    "hugetlb": "its pages are huge",
}
_SHARED = {"shmem": "KSM merges private memory only", "hugetlb": "KSM merges no huge pages of a pool"}
STEPS = {
    step.name: step
    for step in (
        Step("write", "write one byte of the page", "a store", page=True),
        Step("read", "read one byte of the page", "a load", page=True),
        Step("protect", "write-protect the range", "UFFDIO_WRITEPROTECT with MODE_WP"),
        Step("unprotect", "un-protect the range", "UFFDIO_WRITEPROTECT without MODE_WP"),
        Step("discard", "discard the range", "MADV_DONTNEED"),
        Step("free", "give the range up lazily", "MADV_FREE", impossible=_anonymous("it takes")),
        Step("cold", "make the range the first to be reclaimed", "MADV_COLD", impossible={"hugetlb": _POOL}),
        Step("reclaim", "reclaim what can be, without swap", "MADV_PAGEOUT", impossible={"hugetlb": _POOL}),
        Step("swapout", "write the range to swap", "MADV_PAGEOUT with swap", impossible={"hugetlb": _POOL}),
        Step("swapin", "bring the page back from swap", "MADV_POPULATE_READ", page=True, impossible={"hugetlb": _POOL}),
        Step("lock", "keep the range in memory", "mlock", impossible={"file": _ENDLESS}),
        Step("fork", "fork a process that stays", "fork"),
        Step("remap", "move the range to another address", "mremap"),
        Step("collapse", "make small pages a huge one", "MADV_COLLAPSE", impossible=_COLLAPSED),
        Step(
            "khugepaged",
            "let khugepaged come by, which makes small pages a huge one",
            "scans of khugepaged",
            impossible=_COLLAPSED
            | {
                "shmem": "what it takes for huge pages of shmem is not set up here: use collapse",
                "anon_mthp": "it makes huge pages of 2 MiB only, which are off there",
            },
        ),
        Step(
            "ksm_merge",
            "merge the page with another one of the same contents",
            "MADV_MERGEABLE and ksmd",
            impossible=_SHARED,
        ),
        Step("ksm_unmerge", "take merged pages apart", "MADV_UNMERGEABLE", impossible=_SHARED),
        Step("pin", "pin the page for a device that writes to it", "io_uring buffers", page=True),
        Step(
            "zeropage",
            "fill the page with the zeropage",
            "UFFDIO_ZEROPAGE",
            page=True,
            impossible={"hugetlb": "it has no zeropage"},
        ),
        Step("copy", "fill the page by a copy", "UFFDIO_COPY", page=True),
        Step("copy_wp", "fill the page by a copy that is protected", "UFFDIO_COPY with MODE_WP", page=True),
        Step(
            "move",
            "move another page here",
            "UFFDIO_MOVE",
            page=True,
            feature="MOVE",
            impossible=_anonymous("it moves pages of"),
        ),
        Step("poison", "make the page raise SIGBUS", "UFFDIO_POISON", page=True, feature="POISON"),
        Step("guard", "put a guard there", "MADV_GUARD_INSTALL", page=True, impossible={"hugetlb": "it takes none"}),
        Step("unguard", "remove the guard", "MADV_GUARD_REMOVE", page=True, impossible={"hugetlb": "it takes none"}),
    )
}
MOST_STEPS = 6
ENDING = ("refused", "hung", "unregistered")  # results after which no step follows

# What an entry of a page table may hold, as pagemap and PAGEMAP_SCAN show it.
ENTRY_WORDS = {
    "empty": "empty",
    "marker": "a marker",
    "zeropage": "the zeropage",
    "huge zeropage": "the huge zeropage",
    "page": "a page",
    "huge page": "a huge page",
    "swapped": "swapped out",
    "guard": "a guard",
    "poison": "a poison marker",
    "swapped or marker": "swapped out, or a marker (swap types are hidden without privileges)",
}
