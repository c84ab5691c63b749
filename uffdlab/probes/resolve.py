# SPDX-License-Identifier: MIT
"""Probe *resolve*: cost of un-protecting, one page at a time or in batches, and of splitting a huge page.

No events are involved: the range is brought into a state, protected, and un-protected by one ioctl per ``piece`` at
every ``stride``. Where pieces leave gaps, a second pass un-protects the piece after each: on a huge page the
first pass splits and the second does not, so their difference is the cost of the split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from uffdlab.errors import UffdlabError
from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, COLD, SAMPLE, Field, integer, one_of
from uffdlab.probes.spec import Spec, check_size, repeated, word
from uffdlab.probes.userfault import READ, WRITE, Range, counters, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, KIB, MIB

PAGE, PMD = 4 * KIB, 2 * MIB
STATES = {
    "marker": "anon",
    "zeropage": "anon",
    "page": "anon",
    "huge_zeropage": "anon_thp",
    "huge_page": "anon_thp",
}


@dataclass(frozen=True)
class ResolveSpec(Spec):
    """One configuration: the state to un-protect, in pieces of ``piece_bytes``, one every ``stride_bytes``."""

    state: str = word("zeropage", STATES)
    size_bytes: int = 64 * MIB
    piece_bytes: int = PAGE
    stride_bytes: int = PAGE
    repeats: int = repeated()

    def check(self) -> None:
        """Refuse an invalid combination of fields."""
        check_size(self.size_bytes, PMD, 1 << 40)
        if self.piece_bytes < PAGE or self.piece_bytes % PAGE or self.stride_bytes % PAGE:
            raise UffdlabError("piece and stride must be positive multiples of 4 KiB")
        if not self.piece_bytes <= self.stride_bytes <= self.size_bytes:
            raise UffdlabError("piece must not exceed stride, nor stride the size")

    def needs(self) -> Needs:
        """Return the memory one sample holds at its peak."""
        settings = {"thp_use_zero_page": "1"} if self.state == "huge_zeropage" else {}
        filled = self.size_bytes // KIB if self.state in ("page", "huge_page") else 0
        return Needs(filled + self.size_bytes // PMD * 4, thp=STATES[self.state] == "anon_thp", settings=settings)


FIELDS: list[Field] = [
    BLOCK,
    SAMPLE,
    COLD,
    one_of("state", STATES, "what each entry held, protected"),
    integer("size_kib", "KiB", "length of the range"),
    integer("piece_kib", "KiB", "un-protected by one ioctl"),
    integer("stride_kib", "KiB", "from one piece to the next"),
    one_of("pass", ("first", "second"), "first: the first piece of each stride; second: the piece after it"),
    integer("calls", None, "ioctls"),
    integer("resolve_ns", "ns", "time of all of them"),
    integer("huge_before_pages", None, "base pages that a huge entry maps before", required=False),
    integer("huge_after_pages", None, "base pages that a huge entry maps after", required=False),
    integer("table_growth_kib", "KiB", "growth of VmPTE meanwhile"),
]


def run(spec: ResolveSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``("resolves", row)`` for every pass of every sample."""
    sizes = {"size_kib": spec.size_bytes, "piece_kib": spec.piece_bytes, "stride_kib": spec.stride_bytes}
    key = {"state": spec.state} | {name: value // KIB for name, value in sizes.items()}
    for index in range(spec.repeats):
        for row in _sample(spec):
            yield "resolves", {"sample": index, "cold": index == 0} | key | row


def _check_state(spec: ResolveSpec, memory: Range) -> None:
    """Raise UffdlabError unless the range is in the requested state."""
    pages = spec.size_bytes // PAGE
    counted = {"zeropages": memory.zeropages(), "huge pages": memory.huge_pages()}
    wanted = {"zeropages": pages * ("zeropage" in spec.state), "huge pages": pages * spec.state.startswith("huge")}
    if None not in counted.values() and counted != wanted:
        raise UffdlabError(f"{spec.state}: found {counted} instead of {wanted} (base pages): free some memory")


def _sample(spec: ResolveSpec) -> Iterator[dict[str, Any]]:
    features = ("WP_UNPOPULATED",) if spec.state == "marker" else ()
    with mapped(BACKINGS[STATES[spec.state]], spec.size_bytes) as memory, opened(features) as uffd:
        if spec.state != "marker":
            memory.touch(WRITE if spec.state in ("page", "huge_page") else READ)
        _check_state(spec, memory)
        uffd.register(memory, missing=False)
        uffd.protect(memory)
        for name, offset in (("first", 0), ("second", spec.piece_bytes)):
            if offset + spec.piece_bytes > spec.stride_bytes:
                return
            before, tables = memory.huge_pages(), counters().vm_pte_kib
            part = Range(memory.backing, memory.address + offset, memory.length - offset)
            ns, calls = uffd.unprotect_pieces(part, spec.stride_bytes, spec.piece_bytes)
            growth = counters().vm_pte_kib - tables
            huge = {"huge_before_pages": before, "huge_after_pages": memory.huge_pages()}
            yield {"pass": name, "calls": calls, "resolve_ns": ns} | huge | {"table_growth_kib": growth}
