# SPDX-License-Identifier: MIT
"""The memory that both ends of a channel hold: how each design prepares it, and what it has to look like then.

Each end maps and prepares memory of its own. Whether both then read the same physical page is the kernel's doing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from uffdlab.errors import UffdlabError
from uffdlab.probes.requirements import Needs
from uffdlab.probes.userfault import READ, WRITE, Range, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, KIB, MIB

PAGE = 4 * KIB


@dataclass(frozen=True)
class Conduit:
    """One preparation: what is mapped, what is done to it first, and which of its pages then map a zeropage.

    ``step_bytes`` lies between lines: so far apart that the processor, which fetches nearer ones along with a line that
    is loaded, does not fetch them (the written pages of a campaign show it, where zeros would arrive as ones). With
    ``unread`` every load goes to a page that nothing touched before, one line of it.
    """

    title: str
    backing: str = "anon"
    touch: int = READ
    protect: str = ""  # "first": markers, before anything is touched; "last": what was touched
    unread: bool = False
    zeropage: bool = True
    step_bytes: int = 512

    @property
    def most_lines(self) -> int:
        """Return how many lines it has at that distance."""
        return min(128, (PAGE if self.within_a_page else 2 * MIB) // self.step_bytes)

    @property
    def within_a_page(self) -> bool:
        """Return whether all lines lie in one small page."""
        return self.step_bytes < PAGE

    @property
    def advance_bytes(self) -> int:
        """Return what lies between a load and the next besides their lines."""
        return PAGE if self.unread else 0

    def needs(self, loads: int) -> Needs:
        """Return what both ends hold when each loads so often."""
        huge = not self.within_a_page
        pages = {2 * KIB: 2} if self.backing.startswith("hugetlb") else {}
        tables_kib = 2 * loads * PAGE // (2 * MIB) * 4 if self.unread else 0
        return Needs(
            memory_kib=8 * KIB + tables_kib,
            hugepages=pages,
            thp=huge,
            settings={"thp_use_zero_page": "1"} if huge else {},
        )


_HUGE = 251 * 64  # an odd number of lines: others would fall into a part of the cache's sets
CONDUITS: dict[str, Conduit] = {
    "zeropage": Conduit("fresh memory, read"),
    "huge_zeropage": Conduit("fresh memory with THP, read", "anon_thp", step_bytes=_HUGE),
    "private": Conduit("written pages", touch=WRITE, zeropage=False),
    "populated": Conduit("populated zeropages, protected", protect="last"),
    "huge_populated": Conduit("populated huge zeropage, protected", "anon_thp", protect="last", step_bytes=_HUGE),
    "markers_read": Conduit("markers after their first read", protect="first"),
    "markers_unread": Conduit("markers, each load the first of its page", protect="first", unread=True),
    "empty_unread": Conduit("fresh memory, each load the first of its page", unread=True),
    "shmem": Conduit("shmem, read", "shmem", zeropage=False),
    "hugetlb": Conduit("hugetlb 2 MiB, read", "hugetlb_2m_private", zeropage=False),
}


@contextmanager
def prepared(name: str, loads: int) -> Iterator[Range]:
    """Map the memory of one end for so many loads, prepare it, and check that it is what it should be.

    Raises UffdlabError where the kernel made something else of it, KernelRefused where it refused.
    """
    conduit = CONDUITS[name]
    length = -(-(PAGE * (1 + loads) if conduit.unread else 1) // (2 * MIB)) * 2 * MIB
    with mapped(BACKINGS[conduit.backing], length) as memory:
        if not conduit.protect:
            _touched(conduit, memory)
            yield memory
            return
        with opened(("WP_UNPOPULATED",) if conduit.protect == "first" else ()) as uffd:
            uffd.register(memory, missing=False)
            if conduit.protect == "first":
                uffd.protect(memory)
            _touched(conduit, memory)
            if conduit.protect == "last":
                uffd.protect(memory)
            _check_protected(conduit, memory)
            yield memory


def _check_protected(conduit: Conduit, memory: Range) -> None:
    """Refuse pages, the first, the second and the last, that are not protected, or were read where none should be."""
    for number, offset in enumerate((0, PAGE, memory.length - PAGE)):
        state = memory.state(offset)
        if not state.uffd_wp or (conduit.unread and number and state.present):
            raise UffdlabError(f"{conduit.title}: the page at {offset} B is not protected as it should be")


def _touched(conduit: Conduit, memory: Range) -> None:
    """Read or write what is touched beforehand, and refuse what then is no zeropage, or is one and should not be."""
    if conduit.unread:
        memory.touch_at([0], conduit.touch)
    else:
        memory.touch(conduit.touch)
    pages = 1 if conduit.unread else memory.length // PAGE
    zero, wanted = memory.zeropages(), pages if conduit.zeropage else 0
    if zero not in (wanted, None):
        raise UffdlabError(
            f"{conduit.title}: {zero} of {pages} pages map a zeropage, and {wanted} should: see 'uffdlab doctor'"
        )
