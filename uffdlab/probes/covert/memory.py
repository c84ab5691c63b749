# SPDX-License-Identifier: MIT
"""The memory of both ends of a channel: its preparation by each design, and checks of the result.

Each end maps and prepares its own memory. Whether both then read the same physical page is up to the kernel.
"""

from __future__ import annotations

import errno
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.host import pseudofiles
from uffdlab.probes.requirements import Needs
from uffdlab.probes.userfault import READ, WRITE, KernelRefused, Range, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, KIB, MIB
from uffdlab.vocabulary.channel import MEMORIES

PAGE = 4 * KIB


@dataclass(frozen=True)
class Setup:
    """One setup: backing, preparation, and which pages then map a zeropage.

    ``step_bytes`` lies between lines: so far apart that the processor, which fetches nearer ones along with a line that
    is loaded, does not fetch them (the written pages of a campaign show it, where zeros would arrive as ones). With
    ``unread`` every load goes to a page that nothing touched before, one line of it. With ``library`` it is the first
    page of the C library's file instead of the backing: every process that maps the file has it, and none writes to it.
    It holds the file's header, which is read when a program starts and tells nothing else of what others do.
    """

    backing: str = "anon"
    touch: int = READ
    protect: str = ""  # "first": markers, before anything is touched; "last": what was touched
    unread: bool = False
    zeropage: bool = True
    step_bytes: int = 512
    library: bool = False

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
        """Return the extra distance between one load and the next."""
        return PAGE if self.unread else 0

    def needs(self, loads: int) -> Needs:
        """Return the needs of both ends for ``loads`` loads each."""
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
SETUPS: dict[str, Setup] = {
    "zeropage": Setup(),
    "huge_zeropage": Setup("anon_thp", step_bytes=_HUGE),
    "private": Setup(touch=WRITE, zeropage=False),
    "populated": Setup(protect="last"),
    "huge_populated": Setup("anon_thp", protect="last", step_bytes=_HUGE),
    "markers_read": Setup(protect="first"),
    "markers_unread": Setup(protect="first", unread=True),
    "empty_unread": Setup(unread=True),
    "libc": Setup(zeropage=False, library=True),
    "shmem": Setup("shmem", zeropage=False),
    "hugetlb": Setup("hugetlb_2m_private", zeropage=False),
}


@contextmanager
def prepared(name: str, loads: int) -> Iterator[Range]:
    """Map the memory of one end for ``loads`` loads, prepare it, and check its state.

    Raises UffdlabError if its state is another one, KernelRefused if the kernel refused an operation.
    """
    setup = SETUPS[name]
    if setup.library:
        with _first_page(_library()) as memory:
            _touch(name, memory)
            yield memory
        return
    length = -(-(PAGE * (1 + loads) if setup.unread else 1) // (2 * MIB)) * 2 * MIB
    with mapped(BACKINGS[setup.backing], length) as memory:
        if not setup.protect:
            _touch(name, memory)
            yield memory
            return
        with opened(("WP_UNPOPULATED",) if setup.protect == "first" else ()) as uffd:
            uffd.register(memory, missing=False)
            if setup.protect == "first":
                uffd.protect(memory)
            _touch(name, memory)
            if setup.protect == "last":
                uffd.protect(memory)
            _check_protected(name, memory)
            yield memory


def _library(root: Path = Path("/")) -> Path:
    """Return the file of the C library that this process maps (glibc or musl). Raises UffdlabError without one."""
    mappings = [line.split(maxsplit=5) for line in pseudofiles.lines(root, "proc/self/maps")]
    files = [Path(fields[5]) for fields in mappings if len(fields) == 6 and fields[5].startswith("/")]
    for file in files:
        if file.name.startswith(("libc.so", "libc-", "libc.musl-", "ld-musl-")):
            return file
    raise UffdlabError(f"{MEMORIES['libc'].title}: /proc/self/maps names no file of a C library")


@contextmanager
def _first_page(file: Path) -> Iterator[Range]:
    """Map the first page of a file, privately and for reading: that of the page cache, until somebody writes to it."""
    ffi, _ = native.probe()
    try:
        with file.open("rb") as opened_file:
            mapping = mmap.mmap(opened_file.fileno(), PAGE, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    except OSError as error:
        raise KernelRefused(f"mmap {file}", error.errno or errno.EIO) from error
    with mapping, ffi.from_buffer(mapping) as held:
        yield Range(BACKINGS["anon"], int(ffi.cast("uintptr_t", held)), PAGE)


def _check_protected(name: str, memory: Range) -> None:
    """Check that the first, second and last page are protected, and not present if unread."""
    setup = SETUPS[name]
    for number, offset in enumerate((0, PAGE, memory.length - PAGE)):
        state = memory.state(offset)
        if not state.uffd_wp or (setup.unread and number and state.present):
            raise UffdlabError(f"{MEMORIES[name].title}: the page at {offset} B is not protected as expected")


def _touch(name: str, memory: Range) -> None:
    """Touch the memory beforehand, and check which of its pages map a zeropage."""
    setup = SETUPS[name]
    if setup.unread:
        memory.touch_at([0], setup.touch)
    else:
        memory.touch(setup.touch)
    pages = 1 if setup.unread else memory.length // PAGE
    zero, wanted = memory.zeropages(), pages if setup.zeropage else 0
    if zero not in (wanted, None):
        raise UffdlabError(
            f"{MEMORIES[name].title}: {zero} of {pages} pages map a zeropage, and {wanted} should: see 'uffdlab doctor'"
        )
