# SPDX-License-Identifier: MIT
"""Read the page states of mappings from an open pagemap, by PAGEMAP_SCAN or entry by entry."""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from uffdlab import native
from uffdlab.errors import UffdlabError, check_word
from uffdlab.host import errnos
from uffdlab.occupancy import notes, process
from uffdlab.occupancy.mappings import Mapping

METHODS = ("PAGEMAP_SCAN", "pagemap")
LARGE_BYTES, HUGE_BYTES = 2 << 20, 1 << 30
# Ctrl-C and progress are handled between chunks; reading entry by entry is far slower.
_CHUNK_BYTES = {"PAGEMAP_SCAN": 16 << 30, "pagemap": 1 << 30}
Advance = Callable[[int], None]  # called with the bytes of address space just read


class Reader:
    """The open pagemap, the method of reading it, and the counts of the mapping read last (``raw``)."""

    def __init__(self, pid: int, pagemap: int, kpageflags: int, method: str | None, *, keep_runs: bool) -> None:
        """Choose the method: the given one, or PAGEMAP_SCAN where the kernel has it.

        Raises UffdlabError where the process has ended, or the kernel refuses the given method.
        """
        if method is not None:
            check_word("method", method, METHODS)
        self._ffi, self._lib = native.probe()
        self._pagemap, self._forced = pagemap, method is not None
        self.refused = 0  # the errno for which PAGEMAP_SCAN was given up
        self.frames_hidden = self.types_hidden = False  # of any mapping
        self._categories = 0 if method == METHODS[1] else self._probe_categories(pid)
        raw = self._lib.ul_occupancy_new(LARGE_BYTES, HUGE_BYTES)
        if raw == self._ffi.NULL:
            raise MemoryError
        self.raw = self._ffi.gc(raw, self._lib.ul_occupancy_free)
        self.raw.kpageflags, self.raw.want_runs = kpageflags, int(keep_runs)

    @property
    def method(self) -> str:
        """Return the current method."""
        return METHODS[0] if self._categories else METHODS[1]

    def _probe_categories(self, pid: int) -> int:
        """Return the categories that PAGEMAP_SCAN reports here, 0 where it fails."""
        result = int(self._lib.ul_occupancy_categories(self._pagemap))
        if result >= 0:
            return result
        if result == -errno.ESRCH and self._gone(0):
            raise UffdlabError(process.without_memory(pid))
        self._fall_back(-result)
        return 0

    def _fall_back(self, number: int) -> None:
        """Read pagemap from now on; raise UffdlabError where PAGEMAP_SCAN was requested."""
        if self._forced:
            raise UffdlabError(f"{notes.refusal(number)}: leave --method out, and pagemap is read")
        self._categories, self.refused = 0, number

    def read(self, mapping: Mapping, *, may_swap: bool, advance: Advance) -> None:
        """Read a mapping. Raises ProcessLookupError when the process is gone."""
        raw = self.raw
        raw.cow, raw.of_file = int(not mapping.shared), int(mapping.kind == "private file")
        raw.hugetlb = mapping.page_bytes if mapping.kind == "hugetlb" else 0
        raw.may_swap = int(may_swap and not raw.hugetlb and not mapping.shared)  # a shared page in swap has no entry
        while not self._read_whole(mapping, advance):
            pass
        self.frames_hidden |= bool(raw.frames_hidden)
        self.types_hidden |= bool(raw.types_hidden)

    def _read_whole(self, mapping: Mapping, advance: Advance) -> bool:
        """Read a mapping; return False where PAGEMAP_SCAN failed and it must be read again from pagemap."""
        self._lib.ul_occupancy_empty(self.raw)
        chunk = _CHUNK_BYTES[self.method]
        for start in range(mapping.start, mapping.end, chunk):
            end = min(start + chunk, mapping.end)
            if not self.feed(start, end):
                advance(mapping.start - start)
                return False
            advance(end - start)
        return True

    def feed(self, start: int, end: int) -> bool:
        """Read one chunk; return False where PAGEMAP_SCAN failed."""
        if self._categories:
            result = self._lib.ul_occupancy_scan(self.raw, self._pagemap, self._categories, start, end)
        else:
            result = self._lib.ul_occupancy_read(self.raw, self._pagemap, start, end)
        if result >= 0:
            return True
        if result == -errno.ESRCH and self._gone(start):
            raise ProcessLookupError
        if self._categories:
            self._fall_back(-result)
            return False
        if result == -errno.ENOMEM:
            raise MemoryError
        raise UffdlabError(errnos.explain("pagemap", -result))

    def _gone(self, address: int) -> bool:
        try:
            return not os.pread(self._pagemap, 8, address // os.sysconf("SC_PAGE_SIZE") * 8)
        except OSError:
            return True

    def runs(self) -> array[int]:
        """Return the runs of the mapping read last."""
        runs = array("Q")
        if self.raw.run_count:
            runs.frombytes(self._ffi.buffer(self.raw.runs, self.raw.run_count * 8))
        return runs


@contextmanager
def kpageflags() -> Iterator[int]:
    """Yield a descriptor of /proc/kpageflags, or -1 where this user may not read it."""
    try:
        fd = os.open("/proc/kpageflags", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield -1
        return
    try:
        yield fd
    finally:
        os.close(fd)
