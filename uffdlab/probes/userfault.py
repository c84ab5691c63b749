# SPDX-License-Identifier: MIT
"""Python objects for the native layer, with clean-up.

Nothing here reads or writes a mapped page: touching is a C call, so that a fault never waits while this process
holds the interpreter lock (cffi releases it around every call).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from uffdlab import native
from uffdlab.host import errnos, uapi
from uffdlab.probes.files import nameless
from uffdlab.vocabulary.backings import FILE_KINDS, MIB, Backing

READ, WRITE = 0, 1


class KernelRefused(Exception):  # noqa: N818  (an outcome of a probe, not an error of ours)
    """The kernel refused an operation with an errno; the message has both and the likely causes."""

    def __init__(self, operation: str, errno_: int, request: errnos.Request | None = None) -> None:
        """Explain ``errno_`` (positive) as returned by ``operation``."""
        super().__init__(errnos.explain(operation, errno_, request=request))
        self.operation = operation
        self.errno = errno_


class FeatureMissingError(KernelRefused):
    """Raised where UFFDIO_API succeeds without granting a requested feature."""

    def __init__(self, names: Sequence[str]) -> None:
        """Name the missing features."""
        Exception.__init__(
            self, f"this kernel does not grant {', '.join(names)}: 'uffdlab doctor' says which one has it"
        )
        self.operation, self.errno = "UFFDIO_API", 0


def check(operation: str, result: int, request: errnos.Request | None = None) -> int:
    """Return a native result that is not negative; raise KernelRefused for -errno."""
    if result < 0:
        raise KernelRefused(operation, -result, request)
    return result


def _timed(operation: str, request: errnos.Request, function: str, *arguments: Any) -> int:
    """Call a native function that takes, last, where to put the ns it took; check its result, and return those ns."""
    ffi, lib = native.probe()
    ns = ffi.new("uint64_t *")
    check(operation, getattr(lib, function)(*arguments, ns), request)
    return int(ns[0])


_KINDS: dict[str, Literal["shmem", "file"]] = {"UL_MAP_SHMEM": "shmem", "memfd": "shmem", "file": "file"}


def request_of(backing: Backing, length: int, features: Sequence[str] | None = None) -> errnos.Request:
    """Return the request to the kernel for a range of that backing, which explains its refusals."""
    pool = backing.pool_kib
    return errnos.Request(
        memory=backing.title,
        kind="hugetlb" if pool else _KINDS.get(backing.map_kind, "anon"),
        pool_kib=pool,
        length_bytes=length,
        aligned=length > 0 and length % backing.page_bytes == 0,
        placed=False,
        file=backing.map_kind in FILE_KINDS,
        features=features,
    )


def die_with(parent: int) -> bool:
    """Make this process end when its parent does; return False if the parent has ended already."""
    _, lib = native.probe()
    result = int(lib.ul_die_with_parent(parent))
    if result == -errno.ESRCH:
        return False
    check("PR_SET_PDEATHSIG", result)
    return True


@dataclass(frozen=True)
class Counters:
    """The kernel's counters of this process (KiB) and of the machine (TLB shootdown interrupts, all CPUs).

    Sources: VmPTE, VmRSS, RssAnon, RssShmem, HugetlbPages of /proc/self/status; getrusage; the TLB line of
    /proc/interrupts. -1 means the kernel does not report it.
    """

    vm_pte_kib: int
    vm_rss_kib: int
    rss_anon_kib: int
    rss_shmem_kib: int
    hugetlb_kib: int
    minor_faults: int
    major_faults: int
    tlb_ipis: int

    def growth(self, before: Counters) -> dict[str, Any]:
        """Return by how much each counter has grown since; None for what the kernel does not report."""
        then, now = asdict(before), asdict(self)
        return {name: None if then[name] < 0 else now[name] - then[name] for name in now}


def counters() -> Counters:
    """Read the counters now."""
    ffi, lib = native.probe()
    now = ffi.new("struct ul_counters *")
    check("counters", lib.ul_counters(now))
    return Counters(**{name: int(getattr(now, name)) for name in Counters.__dataclass_fields__})


@dataclass(frozen=True)
class PageState:
    """The state of one page by pagemap and PAGEMAP_SCAN.

    ``categories`` is None without PAGEMAP_SCAN, ``swap_entry`` (type and offset of what is swapped out or marked) where
    the kernel hides it, or the page is present.
    """

    present: bool
    swap: bool
    uffd_wp: bool
    categories: tuple[str, ...] | None
    swap_entry: tuple[int, int] | None = None
    pool: bool = False  # whether its memory is hugetlb, whose entries are all huge

    @property
    def entry(self) -> str:
        """Return what the page's entry holds: a word of ``uffdlab.vocabulary.steps.ENTRY_WORDS``."""
        known = self.categories or ()
        if self.present:
            huge = "huge " if "HUGE" in known and not self.pool else ""
            return f"{huge}{'zeropage' if 'PFNZERO' in known else 'page'}"
        if "GUARD" in known:
            return "guard"
        if not self.swap:
            return "marker" if self.uffd_wp else "empty"
        if self.swap_entry is None:
            return "swapped or marker"
        type_, what = self.swap_entry
        if type_ != uapi.SWAP_TYPE_MARKER:
            return "swapped"
        return "poison" if what & uapi.MARKER_POISONED else "guard" if what & uapi.MARKER_GUARD else "marker"


def _page_state(raw: Any, backing: Backing) -> PageState:
    bits = int(raw.pagemap)
    frame, swapped = bits & uapi.PAGEMAP_FRAME, bool(bits >> uapi.PAGEMAP_SWAP_BIT & 1)
    return PageState(
        swap_entry=(frame & 31, frame >> 5) if swapped and frame else None,
        pool=backing.pool_kib is not None,
        present=bool(bits >> uapi.PAGEMAP_PRESENT_BIT & 1),
        swap=swapped,
        uffd_wp=bool(bits >> uapi.PAGEMAP_UFFD_WP_BIT & 1),
        categories=None if raw.scan_errno else tuple(uapi.category_names(int(raw.categories))),
    )


@dataclass(frozen=True)
class Touched:
    """The touches of several threads: wall time and time summed over threads (ns), and latencies by bin."""

    touches: int
    wall_ns: int
    busy_ns: int
    bins: dict[int, int]


@dataclass(frozen=True)
class Range:
    """A mapping of one backing: start address and length in bytes."""

    backing: Backing
    address: int
    length: int

    @property
    def request(self) -> errnos.Request:
        """Return the request to the kernel for this range."""
        return request_of(self.backing, self.length, ())

    def _check(self, operation: str, result: int) -> None:
        check(operation, result, self.request)

    def touch(self, how: int, stride: int | None = None) -> int:
        """Read or write one byte every ``stride`` bytes (default: the backing's page). Returns ns."""
        ffi, lib = native.probe()
        ns = ffi.new("uint64_t *")
        step = stride or self.backing.page_bytes
        self._check("touch", lib.ul_touch_every(self.address, self.length, step, how, ns, 0, ffi.NULL))
        return int(ns[0])

    def touch_sampled(self, how: int, sample_every: int) -> tuple[int, dict[int, int]]:
        """Touch every page, timing each ``sample_every``-th on its own. Returns total ns and counts by bin."""
        ffi, lib = native.probe()
        ns, bins = ffi.new("uint64_t *"), ffi.new("uint64_t[]", lib.UL_BINS)
        step = self.backing.page_bytes
        self._check("touch", lib.ul_touch_every(self.address, self.length, step, how, ns, sample_every, bins))
        return int(ns[0]), {b: int(bins[b]) for b in range(lib.UL_BINS) if bins[b]}

    def touch_threads(
        self, how: int, stride: int, cpus: Sequence[int], *, together: bool, sample_every: int, wait_ns: int = 0
    ) -> Touched:
        """Touch once per ``stride`` bytes with a thread pinned to each CPU, in a share each or taking turns.

        With ``wait_ns`` nothing is touched: each thread spins for so long, and the touches that would have been made
        are returned.
        """
        ffi, lib = native.probe()
        job, sum_ = ffi.new("struct ul_touching *"), ffi.new("struct ul_touched *")
        job.addr, job.len, job.stride, job.sample_every = self.address, self.length, stride, sample_every
        job.write, job.threads, job.together, job.pinned = how, len(cpus), int(together), 1
        job.wait_ns = wait_ns
        for index, cpu in enumerate(cpus):
            job.cpus[index] = cpu
        result = lib.ul_touch_threads(job, sum_)
        self._check("sched_setaffinity" if sum_.pinned else "start a thread", result)
        bins = {b: int(sum_.bins[b]) for b in range(lib.UL_BINS) if sum_.bins[b]}
        return Touched(int(sum_.touches), int(sum_.wall_ns), int(sum_.busy_ns), bins)

    def touch_at(self, offsets: Sequence[int], how: int) -> int:
        """Read or write one byte at each offset (a list, or an array in C). Returns ns."""
        return _timed("touch", self.request, "ul_touch_list", self.address, offsets, len(offsets), how)

    def touch_counted(self, offset: int, how: int) -> int:
        """Read or write one byte. Returns how many faults that took."""
        ffi, lib = native.probe()
        faults = ffi.new("uint64_t *")
        self._check("touch", lib.ul_touch_counted(self.address + offset, how, faults))
        return int(faults[0])

    def write_timed(self, offsets: Sequence[int]) -> list[int]:
        """Write one byte at each offset in turn, each timed on its own. Returns ns by offset, the clock's included."""
        ffi, lib = native.probe()
        ns = ffi.new("uint32_t[]", len(offsets))
        self._check("touch", lib.ul_write_list_timed(self.address, list(offsets), len(offsets), ns))
        return [int(value) for value in ns]

    def fill_as(self, page: Range) -> None:
        """Fill every page as that one, which is present."""
        _, lib = native.probe()
        count = self.length // page.length
        self._check("touch", lib.ul_copy_page(page.address, self.address, page.length, count))

    def write_some(self, pages: int, seed: int, run_pages: int = 1) -> None:
        """Write to exactly ``pages`` pages, in runs of ``run_pages`` chosen uniformly by seed (any integer)."""
        _, lib = native.probe()
        stride, runs = self.backing.page_bytes, pages // run_pages
        self._check("touch", lib.ul_touch_some(self.address, self.length, stride, run_pages, runs, seed % 2**64))

    def advise(self, advice: str) -> int:
        """Call madvise(2) on the range, with an advice that uapi.h knows, such as ``MADV_FREE``. Returns ns."""
        _, lib = native.probe()
        how = getattr(lib, f"UL_{advice}")
        return _timed(advice, self.request, "ul_advise", self.address, self.length, how)

    def populate_read(self) -> int:
        """Populate the range by MADV_POPULATE_READ. Returns ns."""
        return self.advise("MADV_POPULATE_READ")

    def discard(self, piece_bytes: int | None = None) -> int:
        """Discard the range by MADV_DONTNEED, in one call or in calls of ``piece_bytes``. Returns ns."""
        piece = piece_bytes or self.length
        return _timed("MADV_DONTNEED", self.request, "ul_discard", self.address, self.length, piece)

    def lock(self) -> None:
        """Keep the pages in memory by mlock(2), which fills the range."""
        _, lib = native.probe()
        self._check("mlock", lib.ul_lock(self.address, self.length))

    def remapped(self) -> Range:
        """Return the range at another place, where mremap(2) has moved it; its old place stays reserved.

        The caller unmaps the new one.
        """
        ffi, lib = native.probe()
        address = ffi.new("uint64_t *", self.address)
        self._check("mremap", lib.ul_remap(address, self.length, max(self.backing.page_bytes, 2 * MIB)))
        return Range(self.backing, int(address[0]), self.length)

    def unmap(self) -> None:
        """Unmap the range."""
        _, lib = native.probe()
        self._check("munmap", lib.ul_unmap(self.address, self.length))

    def pin(self) -> int:
        """Pin the pages for writing, as a driver does; return the descriptor that holds them until it is closed."""
        _, lib = native.probe()
        return check("pin (io_uring buffers)", lib.ul_pin(self.address, self.length), self.request)

    def forked(self, offset: int, timeout_s: float) -> tuple[int, PageState]:
        """Fork a process that stays until it is killed; return its ID, and the page's state in it."""
        ffi, lib = native.probe()
        raw, page = ffi.new("struct ul_page_state *"), self.backing.page_bytes
        where = self.address + offset // page * page
        pid = check("fork", lib.ul_fork(where, page, int(timeout_s * 1e9), raw), self.request)
        return pid, _page_state(raw, self.backing)

    def part(self, offset: int, length: int) -> Range:
        """Return a part of the range."""
        return Range(self.backing, self.address + offset, length)

    def state(self, offset: int) -> PageState:
        """Return the state of the page at ``offset`` without touching it."""
        ffi, lib = native.probe()
        raw = ffi.new("struct ul_page_state *")
        page = self.backing.page_bytes
        self._check("pagemap", lib.ul_page_state(self.address + offset // page * page, page, raw))
        return _page_state(raw, self.backing)

    def states(self) -> list[tuple[int, int]]:
        """Return ``(pagemap flags, PAGEMAP_SCAN categories)`` of every base page, without touching any."""
        ffi, lib = native.probe()
        pages = self.length // 4096
        pagemap, categories = ffi.new("uint64_t[]", pages), ffi.new("uint64_t[]", pages)
        scan_errno = ffi.new("int *")
        self._check("pagemap", lib.ul_page_states(self.address, self.length, pagemap, categories, scan_errno))
        self._check("PAGEMAP_SCAN", -scan_errno[0])
        return list(zip(ffi.unpack(pagemap, pages), ffi.unpack(categories, pages), strict=True))

    def zeropages(self) -> int | None:
        """Count base pages that map the zeropage or the huge zeropage; None where PAGEMAP_SCAN is missing."""
        return self._count("UL_PAGE_IS_PFNZERO")

    def huge_pages(self) -> int | None:
        """Count base pages that a huge entry maps, the huge zeropage included; None where PAGEMAP_SCAN is missing."""
        return self._count("UL_PAGE_IS_HUGE", "UL_PAGE_IS_PRESENT")  # hugetlb is HUGE where nothing is mapped, too

    def present_pages(self) -> int | None:
        """Count base pages that are present, zeropages included; None where PAGEMAP_SCAN is missing."""
        return self._count("UL_PAGE_IS_PRESENT")

    def _count(self, *categories: str) -> int | None:
        ffi, lib = native.probe()
        pages = ffi.new("uint64_t *")
        mask = sum(getattr(lib, category) for category in categories)
        result = lib.ul_count_pages(self.address, self.length, mask, pages)
        return None if result < 0 else int(pages[0])


class PageNotes:
    """A byte per page of a range, outside of it: 0 until C code sets it."""

    def __init__(self, memory: Range) -> None:
        """Allocate the notes, all 0."""
        ffi, _ = native.probe()
        self.address = memory.address
        self.raw = ffi.new("uint8_t[]", memory.length // memory.backing.page_bytes)

    def values(self) -> bytes:
        """Return the notes by page."""
        ffi, _ = native.probe()
        return bytes(ffi.buffer(self.raw))


@contextmanager
def mapped(backing: Backing, length: int) -> Iterator[Range]:
    """Map ``length`` bytes of the backing, aligned, empty; unmap at the end."""
    ffi, lib = native.probe()
    address, advised = ffi.new("uint64_t *"), ffi.new("int *")
    if backing.map_kind in FILE_KINDS:
        with nameless(backing.map_kind, length) as fd:
            result = lib.ul_map_file(fd, backing.map_kind == "memfd", length, address, advised)
    else:
        result = lib.ul_map(getattr(lib, backing.map_kind), length, backing.page_bytes, address, advised)
    advice = "MADV_HUGEPAGE" if backing.map_kind == "UL_MAP_ANON_THP" else "MADV_NOHUGEPAGE"
    mapping = "mmap hugetlb" if backing.pool_kib else "mmap"
    check(advice if advised[0] else mapping, result, request_of(backing, length))
    try:
        yield Range(backing, int(address[0]), length)
    finally:
        lib.ul_unmap(address[0], length)


@dataclass
class Events:
    """The events of a handler by kind, its CPU time, those it could not resolve, and whether its deadline came."""

    wp: int = 0
    missing: int = 0
    minor: int = 0
    other: int = 0
    cpu_ns: int = 0
    failed: int = 0
    last_errno: int = 0
    last_missing: bool = False
    deadline_hit: bool = False

    def why(self, memory: Range, timeout_s: float) -> str:
        """Return one sentence on events of that range that the handler could not resolve."""
        gave_up = f" and gave up after {timeout_s:g} s" if self.deadline_hit else ""
        problem = f"the event handler could not resolve every event{gave_up}"
        if not self.last_errno:
            return problem
        operation = "UFFDIO_COPY" if self.last_missing else "UFFDIO_WRITEPROTECT"
        return f"{problem}: {errnos.explain(operation, self.last_errno, request=memory.request)}"


@dataclass
class Userfault:
    """An open userfaultfd with its requested and granted features."""

    fd: int
    requested: int
    features: int
    closed: bool = field(default=False, repr=False)

    def register(self, memory: Range, *, missing: bool) -> int:
        """Register the range for write-protect events (and missing events). Returns ns."""
        ffi, lib = native.probe()
        mode = lib.UL_REGISTER_MODE_WP | (lib.UL_REGISTER_MODE_MISSING if missing else 0)
        how = (self.fd, memory.address, memory.length, mode, ffi.new("uint64_t *"))
        return _timed("UFFDIO_REGISTER", self._request(memory), "ul_register", *how)

    def _request(self, memory: Range) -> errnos.Request:
        return request_of(memory.backing, memory.length, uapi.feature_names(self.requested))

    def protect(self, memory: Range, *, on: bool = True) -> int:
        """Protect or un-protect the range by one UFFDIO_WRITEPROTECT. Returns ns."""
        where = (self.fd, memory.address, memory.length)
        return _timed("UFFDIO_WRITEPROTECT", self._request(memory), "ul_write_protect", *where, int(on))

    def protect_each(self, memory: Range, offsets: Sequence[int]) -> int:
        """Protect the page at each offset (a list, or an array in C) by a UFFDIO_WRITEPROTECT each. Returns ns."""
        which = (self.fd, memory.address, offsets, len(offsets), memory.backing.page_bytes)
        return _timed("UFFDIO_WRITEPROTECT", self._request(memory), "ul_protect_list", *which)

    def unprotect_pieces(self, memory: Range, stride: int, piece: int) -> tuple[int, int]:
        """Un-protect ``piece`` bytes at every ``stride``, one ioctl each. Returns total ns and how many ioctls."""
        ffi, lib = native.probe()
        ns, calls = ffi.new("uint64_t *"), ffi.new("uint64_t *")
        result = lib.ul_unprotect_pieces(self.fd, memory.address, memory.length, stride, piece, ns, calls)
        check("UFFDIO_WRITEPROTECT", result, self._request(memory))
        return int(ns[0]), int(calls[0])

    def fill(self, memory: Range, how: str) -> None:
        """Fill the range by UFFDIO_ZEROPAGE, COPY, COPY_WP (a copy that is protected), MOVE or POISON."""
        _, lib = native.probe()
        result = lib.ul_fill(self.fd, getattr(lib, f"UL_FILL_{how}"), memory.address, memory.length)
        check(f"UFFDIO_{how.removesuffix('_WP')}", result, self._request(memory))

    @contextmanager
    def handled(self, page_bytes: int, timeout_s: float, noted: PageNotes | None = None) -> Iterator[Events]:
        """Resolve events in a C thread meanwhile; the yielded Events are filled in at the end.

        ``noted`` gets a 1 for every page that raised one; its range must contain all registered ranges.
        """
        ffi, lib = native.probe()
        seen = Events()
        where = (noted.address, noted.raw) if noted else (0, ffi.NULL)
        handler = lib.ul_handler_start(self.fd, page_bytes, int(timeout_s * 1e9), *where)
        if handler == ffi.NULL:
            raise KernelRefused("handler thread", ffi.errno)
        try:
            yield seen
        finally:
            stats = ffi.new("struct ul_handler_stats *")
            check("handler thread", lib.ul_handler_stop(handler, stats))
            _copy(stats, seen)
            self.closed |= seen.deadline_hit


def _copy(stats: Any, seen: Events) -> None:
    for name in Events.__dataclass_fields__:
        setattr(seen, name, type(getattr(seen, name))(getattr(stats, name)))


@contextmanager
def opened(features: Sequence[str], *, kernel: bool = False) -> Iterator[Userfault]:
    """Open a userfaultfd with the features named; closing it at the end unregisters everything.

    With ``kernel``, the kernel's own faults raise events as well: those of privileged users.

    Raises KernelRefused when it cannot be opened or the kernel does not grant a feature.
    """
    ffi, lib = native.probe()
    via, granted, ioctls = ffi.new("int *"), ffi.new("uint64_t *"), ffi.new("uint64_t *")
    fd = check("open userfaultfd", lib.ul_uffd_open(kernel, via))
    uffd = Userfault(fd, uapi.feature_mask(features), 0)
    try:
        request = errnos.Request(features=features)
        check("UFFDIO_API", lib.ul_uffd_api(fd, uffd.requested, granted, ioctls), request)
        uffd.features = int(granted[0])
        absent = uffd.requested & ~uffd.features
        if absent:  # a kernel may accept a request without granting all of it
            raise FeatureMissingError(uapi.feature_names(absent))
        yield uffd
    finally:
        if not uffd.closed:
            lib.ul_close(fd)
