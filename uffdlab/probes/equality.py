# SPDX-License-Identifier: MIT
"""Probe *equality*: do a read loop, MADV_POPULATE_READ and markers that were read leave every page in the same state?

The patch under review would have left a protected zeropage in every PTE. Markers that were read are that state on any
kernel since 6.4; what user space reaches by populating first is compared with it, page by page, in one process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from uffdlab.host import uapi
from uffdlab.probes.protect import prepare
from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, Field, count, integer, one_of, text
from uffdlab.probes.spec import Spec, check_size, word
from uffdlab.probes.userfault import READ, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, KIB, MIB
from uffdlab.vocabulary.designs import STOCK

# The first is what the others are compared with.
WAYS = {"markers, read": "pte_marker", "read loop": "preread", "MADV_POPULATE_READ": "populate_read"}
BACKINGS_COMPARED = ("anon", "anon_thp", "shmem")
States = list[tuple[int, int]]


@dataclass(frozen=True)
class EqualitySpec(Spec):
    """One configuration: a backing and a length in bytes."""

    backing: str = word("anon", BACKINGS_COMPARED)
    size_bytes: int = 16 * MIB

    def check(self) -> None:
        """Refuse what the fields cannot be together."""
        check_size(self.size_bytes, 2 * MIB, 4096 * MIB)

    def needs(self) -> Needs:
        """Return the memory it holds at its peak, with the lists of states."""
        return Needs(self.size_bytes // KIB + self.size_bytes // 16 // KIB + 64, thp=self.backing == "anon_thp")


FIELDS: list[Field] = [
    BLOCK,
    one_of("backing", BACKINGS_COMPARED, "kind of memory"),
    one_of("way", WAYS, "how the range was brought into its state"),
    integer("size_kib", "KiB", "length of the range"),
    text("state", "pagemap flags and PAGEMAP_SCAN categories"),
    count("pages", "base pages in that state"),
    count("equal_pages", "of them, pages whose state is the same after markers that were read"),
]


def run(spec: EqualitySpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``("equality", row)`` for every way and every state found after it."""
    found = {way: _states(spec, design) for way, design in WAYS.items()}
    reference = next(iter(found.values()))
    for way, states in found.items():
        pages = Counter(states)
        equal = Counter(one for one, other in zip(states, reference, strict=True) if one == other)
        for state in sorted(pages):
            key = {"backing": spec.backing, "way": way, "size_kib": spec.size_bytes // KIB}
            yield "equality", key | {"state": _said(state), "pages": pages[state], "equal_pages": equal[state]}


def _states(spec: EqualitySpec, design: str) -> States:
    one = STOCK[design]
    with mapped(BACKINGS[spec.backing], spec.size_bytes) as memory, opened(one.features) as uffd:
        prepare(one, memory)
        uffd.register(memory, missing=False)
        uffd.protect(memory)
        if design == "pte_marker":
            memory.touch(READ)
        return memory.states()


def _said(state: tuple[int, int]) -> str:
    bits, categories = state
    flags = {"present": uapi.PAGEMAP_PRESENT_BIT, "swap": uapi.PAGEMAP_SWAP_BIT, "uffd_wp": uapi.PAGEMAP_UFFD_WP_BIT}
    named = "+".join(name for name, bit in flags.items() if bits >> bit & 1) or "0"
    return f"{named} / {'+'.join(uapi.category_names(categories)) or '-'}"
