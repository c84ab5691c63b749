# SPDX-License-Identifier: MIT
"""Probe *equality*: compare page states after a read loop, MADV_POPULATE_READ, and reads of markers.

The patch under review would have left a protected zeropage in every PTE. Reading markers gives that state on any kernel
since 6.4; the states after populating first are compared with it, page by page, in one process.
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
from uffdlab.vocabulary.designs import STOCK, WAYS

# By way, the design; the first is the reference of the comparison.
COMPARED = {"markers, read": "pte_marker", **{name: way.design for name, way in WAYS.items()}}
BACKINGS_COMPARED = ("anon", "anon_thp", "shmem")
States = list[tuple[int, int]]


@dataclass(frozen=True)
class EqualitySpec(Spec):
    """One configuration: a backing and a length in bytes."""

    backing: str = word("anon", BACKINGS_COMPARED)
    size_bytes: int = 16 * MIB

    def check(self) -> None:
        """Refuse an invalid combination of fields."""
        check_size(self.size_bytes, 2 * MIB, 4096 * MIB)

    def needs(self) -> Needs:
        """Return the memory it holds at its peak, with the lists of states."""
        return Needs(self.size_bytes // KIB + self.size_bytes // 16 // KIB + 64, thp=self.backing == "anon_thp")


FIELDS: list[Field] = [
    BLOCK,
    one_of("backing", BACKINGS_COMPARED, "kind of memory"),
    one_of("way", COMPARED, "how the range was brought into its state"),
    integer("size_kib", "KiB", "length of the range"),
    text("state", "pagemap flags and PAGEMAP_SCAN categories"),
    count("pages", "base pages in that state"),
    count("equal_pages", "of them, pages whose state is the same after markers that were read"),
]


def run(spec: EqualitySpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``("equality", row)`` for every way and every state after it."""
    states_by_way = {way: _states(spec, design) for way, design in COMPARED.items()}
    reference = next(iter(states_by_way.values()))
    for way, states in states_by_way.items():
        pages = Counter(states)
        equal = Counter(state for state, other in zip(states, reference, strict=True) if state == other)
        for state in sorted(pages):
            key = {"backing": spec.backing, "way": way, "size_kib": spec.size_bytes // KIB}
            yield "equality", key | {"state": _format_state(state), "pages": pages[state], "equal_pages": equal[state]}


def _states(spec: EqualitySpec, design: str) -> States:
    stock = STOCK[design]
    with mapped(BACKINGS[spec.backing], spec.size_bytes) as memory, opened(stock.features) as uffd:
        prepare(stock, memory)
        uffd.register(memory, missing=False)
        uffd.protect(memory)
        if design == "pte_marker":
            memory.touch(READ)
        return memory.states()


def _format_state(state: tuple[int, int]) -> str:
    bits, categories = state
    flags = {"present": uapi.PAGEMAP_PRESENT_BIT, "swap": uapi.PAGEMAP_SWAP_BIT, "uffd_wp": uapi.PAGEMAP_UFFD_WP_BIT}
    named = "+".join(name for name, bit in flags.items() if bits >> bit & 1) or "0"
    return f"{named} / {'+'.join(uapi.category_names(categories)) or '-'}"
