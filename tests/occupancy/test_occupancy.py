# SPDX-License-Identifier: MIT
"""Looking at processes of known content: every share exactly, by both methods, and nothing touched by the look."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import alive, wait_until

from uffdlab import native, occupancy
from uffdlab.errors import UffdlabError
from uffdlab.host import memory
from uffdlab.host import settings as host_settings
from uffdlab.occupancy import Granularity, Occupancy, process, reading
from uffdlab.probes.occupancy_target import Content, held
from uffdlab.probes.userfault import READ, WRITE, Range, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, GIB, KIB, MIB

PAGE = 4 * KIB
PER_UNIT = 2 * MIB // PAGE
SIZE = 64 * MIB
SANITIZED = "asan" in os.environ.get("LD_PRELOAD", "")

built = pytest.mark.skipif(native.why_missing() is not None, reason=str(native.why_missing()))
pytestmark = built


@pytest.fixture(params=occupancy.METHODS)
def method(request: pytest.FixtureRequest) -> str:
    with process.opened(os.getpid()) as pagemap:
        if request.param == "PAGEMAP_SCAN" and native.probe()[1].ul_occupancy_categories(pagemap) == -errno.ENOTTY:
            pytest.skip("this kernel has no PAGEMAP_SCAN")
    if request.param == "pagemap" and os.geteuid() != 0:
        pytest.skip("only root may see which page is the zeropage")
    if request.param == "pagemap" and SANITIZED:
        pytest.skip("the sanitizer maps 14 TiB: too many entries to read")
    name: str = request.param
    return name


def the_one(pid: int, size: int, method: str | None = None) -> Occupancy:
    """Return the process's only mapping of that size."""
    (one,) = [one for one in occupancy.scan(pid, size, method).mappings if one.mapping.length == size]
    return one


def shares(one: Granularity) -> dict[str, int]:
    """Return the counts that are not 0."""
    counts = one.whole | {"mixed": one.mixed}
    return {name: count for name, count in counts.items() if count}


def of_mapping(address: int, size: int, method: str | None = None) -> Occupancy:
    """Return what this process's own mapping at that address is made of."""
    found = [one for one in occupancy.scan(os.getpid(), size, method).mappings if one.mapping.start == address]
    assert len(found) == 1
    return found[0]


# --- known content ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backing", ["anon", "shmem"])
@pytest.mark.parametrize("pages", [0, 1, 1600, SIZE // PAGE])
def test_pages_written_anywhere_are_counted_one_by_one(backing: str, pages: int, method: str) -> None:
    with held(Content(backing, SIZE, pages, seed=5)) as pid:
        one = the_one(pid, SIZE, method)
    assert one.mapping.kind == backing
    small = one.granularities[0]
    empty = SIZE // PAGE - pages
    assert shares(small) == {name: n for name, n in {"untouched": empty, "present": pages}.items() if n}
    assert small.untouched_or_zeropage == empty
    assert (one.huge_bytes, one.huge_zeropage_bytes) == (0, 0)


def test_clusters_leave_whole_units_untouched(method: str) -> None:
    with held(Content("anon", SIZE, 3 * PER_UNIT, seed=5, clustered=True)) as pid:
        small, large, huge = the_one(pid, SIZE, method).granularities
    assert shares(small) == {"untouched": 29 * PER_UNIT, "present": 3 * PER_UNIT}
    assert shares(large) == {"untouched": 29, "present": 3}
    assert large.units == 32
    assert (huge.units, huge.share("untouched")) == (0, None), "64 MiB hold no unit of 1 GiB"


def test_scattered_pages_leave_no_unit_untouched(method: str) -> None:
    with held(Content("anon", SIZE, SIZE // PAGE // 2, seed=5)) as pid:
        large = the_one(pid, SIZE, method).granularities[1]
    assert shares(large) == {"mixed": 32}
    assert large.untouched_or_zeropage == 0


def test_a_gib_is_a_unit_too(method: str) -> None:
    with held(Content("anon", 4 * GIB, 1, seed=5)) as pid:
        huge = the_one(pid, 4 * GIB, method).granularities[2]
    assert huge.units in (3, 4), "aligned to 2 MiB, it holds three or four aligned GiB"
    counts = shares(huge)
    assert counts.get("mixed", 0) <= 1
    assert sum(counts.values()) == huge.units


def test_what_was_read_is_the_zeropage(method: str) -> None:
    with held(Content("anon", SIZE, 100, seed=5, read=True)) as pid:
        small, large, _ = the_one(pid, SIZE, method).granularities
    assert shares(small) == {"zeropage": SIZE // PAGE - 100, "present": 100}
    assert small.untouched_or_zeropage == SIZE // PAGE - 100
    assert large.whole["untouched"] == 0
    assert large.untouched_or_zeropage == large.whole["zeropage"]


@pytest.mark.uffd
def test_markers_are_marked_and_not_swapped(method: str) -> None:
    with held(Content("anon", SIZE, PER_UNIT, seed=5, clustered=True, marked=True)) as pid:
        small, large, _ = the_one(pid, SIZE, method).granularities
    assert shares(small) == {"marked": 31 * PER_UNIT, "present": PER_UNIT}
    assert shares(large) == {"marked": 31, "present": 1}
    assert large.untouched_or_zeropage == 0


@pytest.mark.uffd
@pytest.mark.parametrize("backing", ["shmem", "hugetlb_2m_private", "hugetlb_2m_shared"])
def test_markers_of_shared_and_huge_memory(backing: str, method: str) -> None:
    if BACKINGS[backing].pool_kib and memory.hugepages(2048) is None:
        pytest.skip("this kernel has no huge pages of 2 MiB")
    with mapped(BACKINGS[backing], SIZE) as range_, opened(()) as uffd:
        assert shares(of_mapping(range_.address, SIZE, method).granularities[1]) == {"untouched": 32}
        uffd.register(range_, missing=False)
        uffd.protect(range_)
        one = of_mapping(range_.address, SIZE, method)
    assert one.mapping.kind == backing.split("_")[0]
    assert one.mapping.page_bytes == BACKINGS[backing].page_bytes
    assert shares(one.granularities[0]) == {"marked": SIZE // PAGE}
    assert shares(one.granularities[1]) == {"marked": 32}
    assert one.huge_bytes == 0


def test_a_huge_page_of_hugetlb_is_present(huge_pages: None, method: str) -> None:
    with mapped(BACKINGS["hugetlb_2m_private"], 8 * MIB) as range_:
        range_.touch_at([4 * MIB], WRITE)
        one = of_mapping(range_.address, 8 * MIB, method)
    assert shares(one.granularities[1]) == {"untouched": 3, "present": 1}
    assert shares(one.granularities[0]) == {"untouched": 3 * PER_UNIT, "present": PER_UNIT}
    assert (one.huge_mappings, one.huge_bytes, one.huge_zeropage_bytes) == (1, 2 * MIB, 0)


def test_huge_mappings_and_the_huge_zeropage(method: str) -> None:
    if host_settings.current("thp_enabled") == "never" or host_settings.current("thp_use_zero_page") != "1":
        pytest.skip("there are no transparent huge pages here")
    with mapped(BACKINGS["anon_thp"], SIZE) as range_:
        range_.touch_at([0, 6 * MIB], WRITE)
        range_.touch_at([2 * MIB], READ)
        one = of_mapping(range_.address, SIZE, method)
    assert shares(one.granularities[1]) == {"untouched": 29, "zeropage": 1, "present": 2}
    assert one.granularities[1].untouched_or_zeropage == 30
    assert (one.huge_mappings, one.huge_bytes, one.huge_zeropage_bytes) == (2, 4 * MIB, 2 * MIB)


def test_guards_are_neither_untouched_nor_swapped(method: str) -> None:
    with mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory_:
        try:
            memory_.madvise(102, 8 * MIB, 2 * MIB)  # MADV_GUARD_INSTALL
        except OSError as error:
            pytest.skip(f"this kernel has no guard pages: {error}")
        found = occupancy.scan(os.getpid(), SIZE, method).mappings
    (one,) = [one for one in found if one.granularities[0].whole["guard"]]
    assert one.granularities[0].whole["guard"] == PER_UNIT
    assert one.granularities[0].whole["swapped"] == 0


def test_memory_by_the_name_of_a_file_is_known_by_its_device(method: str, tmp_path: Path) -> None:
    fd = os.memfd_create("a-name")
    os.ftruncate(fd, SIZE)
    on_disk = tmp_path / "file"
    on_disk.write_bytes(bytes(PAGE))
    os.truncate(on_disk, SIZE)
    with on_disk.open("r+b") as file, mmap.mmap(fd, SIZE) as shared, mmap.mmap(file.fileno(), SIZE) as other:
        shared[5 * PAGE] = other[0] + 1
        (one,) = [m for m in occupancy.scan(os.getpid(), SIZE, method).mappings if m.mapping.kind == "shmem"]
    os.close(fd)
    assert shares(one.granularities[0]) == {"untouched": SIZE // PAGE - 1, "present": 1}
    assert one.mapping.flags == "rw-s"


# --- units, against a model ------------------------------------------------------------------------------------------


def modelled(states: list[str], first: int, per_unit: int) -> tuple[dict[str, int], int, int, int]:
    """Return whole units by state, mixed ones, blank ones and all, of pages that begin ``first`` pages into a unit."""
    start = -first % per_unit
    units = [set(states[i : i + per_unit]) for i in range(start, len(states) - per_unit + 1, per_unit)]
    whole: dict[str, int] = {}
    for one in (next(iter(unit)) for unit in units if len(unit) == 1):
        whole[one] = whole.get(one, 0) + 1
    blank = sum(unit <= {"untouched", "zeropage"} for unit in units)
    return whole, sum(len(unit) > 1 for unit in units), blank, len(units)


@contextmanager
def clipped(first: int) -> Iterator[Range]:
    """Map 8 MiB of which the first pages are a mapping of their own: the other one begins within a unit."""
    with mapped(BACKINGS["anon"], 8 * MIB) as range_:
        if first:
            start, length = ctypes.c_void_p(range_.address), ctypes.c_size_t(first * PAGE)
            assert ctypes.CDLL(None).madvise(start, length, mmap.MADV_DONTFORK) == 0
        yield range_


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 700),
    st.lists(st.tuples(st.sampled_from([READ, WRITE]), st.integers(0, 2047), st.integers(1, 1100)), max_size=5),
)
def test_units_are_what_their_pages_are(first: int, touches: list[tuple[int, int, int]]) -> None:
    with clipped(first) as range_:
        states = ["untouched"] * (2048 - first)
        for how, start, count in touches:
            for page in range(max(start, first), min(start + count, 2048)):
                written = how == WRITE or states[page - first] == "present"
                states[page - first] = "present" if written else "zeropage"
                range_.touch_at([page * PAGE], how)
        found = {m: of_mapping(range_.address + first * PAGE, PAGE, m) for m in _methods()}
    for one in found.values():
        for granularity, per_unit in zip(one.granularities[:2], (1, PER_UNIT), strict=True):
            whole, mixed, blank, units = modelled(states, first % PER_UNIT, per_unit)
            assert shares(granularity) == whole | ({"mixed": mixed} if mixed else {})
            assert (granularity.units, granularity.untouched_or_zeropage) == (units, blank)


def _methods() -> list[str]:
    """Return the methods that tell everything here."""
    best = occupancy.scan(os.getpid(), 1 << 40).method
    return list(dict.fromkeys([best, *(["pagemap"] if os.geteuid() == 0 and not SANITIZED else [])]))


# --- looking touches nothing -----------------------------------------------------------------------------------------


def settled(pid: int) -> process.Counters:
    """Return the counters of a process once it waits for its input and no longer changes them."""
    seen = [process.counters(pid)]

    def unchanged() -> bool:
        time.sleep(0.05)
        seen.append(process.counters(pid))
        return seen[-1] == seen[-2]

    wait_until(unchanged, "the process waits")
    return seen[-1]


def test_a_look_faults_nothing_in(method: str) -> None:
    with held(Content("anon", 8 * GIB, 256 * MIB // PAGE, seed=5)) as pid:
        before = settled(pid)
        found = occupancy.scan(pid, method=method, keep_runs=True)
        after = process.counters(pid)
    (one,) = [one for one in found.mappings if one.mapping.length == 8 * GIB]
    assert one.granularities[0].whole["present"] == 256 * MIB // PAGE
    assert before == after, "VmPTE, RSS, minor faults"
    assert before.minor_faults is not None
    assert before.minor_faults > 65536


def test_holes_are_skipped_and_not_read() -> None:
    with held(Content("anon", 64 * GIB, 4, seed=5)) as pid:
        found = occupancy.scan(pid, GIB)
    if found.method != "PAGEMAP_SCAN":
        pytest.skip("this kernel has no PAGEMAP_SCAN")
    (one,) = [one for one in found.mappings if one.mapping.length == 64 * GIB]
    assert one.calls == 8, "per 16 GiB one scan, and one read to see that the process is still there"


def test_more_stretches_than_one_call_returns_are_counted_once(method: str) -> None:
    """Where a call ends with the mapping, the kernel says that it ended earlier, and would tell the rest again."""
    pages = list(range(0, 40_000, 2))
    with mapped(BACKINGS["anon"], 2 * GIB) as range_:
        range_.touch_at([page * PAGE for page in pages], WRITE)
        one = of_mapping(range_.address, 2 * GIB, method)
    assert shares(one.granularities[0]) == {"untouched": 2 * GIB // PAGE - len(pages), "present": len(pages)}
    assert one.granularities[1].units == 1024


# --- a process that changes meanwhile --------------------------------------------------------------------------------


@pytest.fixture
def after_first_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Let something happen when the first mapping that is told by itself has been read."""

    def install(happens: Callable[[], object], least: int = 64 * KIB) -> None:
        read, done = reading.Reader.read, []

        def read_and_let_happen(reader: reading.Reader, one: Any, **more: Any) -> None:
            read(reader, one, **more)
            if one.length >= least and one.writable and not done:
                done.append(True)
                happens()

        monkeypatch.setattr(reading.Reader, "read", read_and_let_happen)

    return install


def _ended(pid: int) -> Callable[[], None]:
    def end() -> None:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid), "the process has ended")

    return end


def test_a_process_that_ends_meanwhile_leaves_what_was_read(after_first_read: Any, method: str) -> None:
    with held(Content("anon", SIZE, 7, seed=5)) as pid:
        all_of_it = occupancy.scan(pid, 64 * KIB, method)
        after_first_read(_ended(pid))
        found = occupancy.scan(pid, 64 * KIB, method)
    assert len(all_of_it.mappings) > 1
    assert found.mappings == (found.mappings[0],)
    assert not found.complete
    assert found.notes[-1].startswith("the process ended or executed another program meanwhile: only what was read")
    assert "None" not in occupancy.text(found)


def test_a_process_that_ends_before_anything_was_read_is_refused(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read_maps = process.read_maps
    with held(Content("anon", SIZE, 7, seed=5)) as pid:

        def read_and_end(pid: int) -> bytes:
            text = read_maps(pid)
            _ended(pid)()
            return text

        monkeypatch.setattr(process, "read_maps", read_and_end)
        with pytest.raises(UffdlabError, match=rf"process {pid} (has ended|ended before anything was read)"):
            occupancy.scan(pid, SIZE, method)


@contextmanager
def executing() -> Iterator[tuple[int, Callable[[], None]]]:
    """Start a process that executes another program when told to; yield its ID, and how to tell it."""
    code = "import os; x = bytes(1 << 25); print(1, flush=True); input(); os.execvp('sleep', ['sleep', '60'])"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        told = child.stdin

        def execute() -> None:
            told.write(b"\n")
            told.flush()
            wait_until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n", "another program")

        try:
            child.stdout.readline()
            yield child.pid, execute
        finally:
            child.kill()


def test_a_process_that_executes_another_program_is_no_longer_the_one(after_first_read: Any, method: str) -> None:
    with executing() as (pid, execute):
        after_first_read(execute)
        found = occupancy.scan(pid, 64 * KIB, method)
    assert len(found.mappings) == 1
    assert not found.complete
    assert not found.mappings[0].changed


def test_a_process_that_executes_another_program_at_once_is_no_kernel_thread(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = process.counters
    with executing() as (pid, execute):

        def count_and_execute(pid: int) -> process.Counters:
            execute()
            return counters(pid)

        monkeypatch.setattr(process, "counters", count_and_execute)
        with pytest.raises(UffdlabError, match=f"process {pid} executed another program before anything was read"):
            occupancy.scan(pid, 64 * KIB, method)


def _map_over(address: int, length: int) -> None:
    """Map fresh private memory over a range: a hole there could be filled by any allocation meanwhile."""
    map_ = ctypes.CDLL(None).mmap
    map_.restype = ctypes.c_void_p
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10  # MAP_FIXED
    where = (ctypes.c_void_p(address), ctypes.c_size_t(length))
    assert map_(*where, mmap.PROT_READ, flags, -1, ctypes.c_long(0)) == address


def test_what_is_unmapped_and_mapped_meanwhile_is_said(after_first_read: Any) -> None:
    with mapped(BACKINGS["shmem"], SIZE) as range_:
        more: list[mmap.mmap] = []

        def change() -> None:
            _map_over(range_.address + MIB, MIB)
            more.append(mmap.mmap(-1, SIZE + MIB))

        after_first_read(change)
        found = occupancy.scan(os.getpid(), SIZE)
        more.pop().close()
    (one,) = [one for one in found.mappings if one.mapping.start == range_.address]
    assert one.changed
    assert re.search(r"\b[1-9]\d* mapping\(s\) were unmapped or mapped anew meanwhile", " ".join(found.notes))
    assert re.search(r"\b[1-9]\d* large mapping\(s\) came meanwhile and are not in this", " ".join(found.notes))
    assert "changed meanwhile" in occupancy.text(replace(found, mappings=(one,)))


def test_a_mapping_that_is_split_is_still_the_same(after_first_read: Any) -> None:
    with mapped(BACKINGS["shmem"], SIZE) as range_:
        where = (ctypes.c_void_p(range_.address + MIB), ctypes.c_size_t(MIB))
        after_first_read(lambda: ctypes.CDLL(None).madvise(*where, mmap.MADV_DONTFORK))
        one = of_mapping(range_.address, SIZE)
        after = [m.mapping for m in occupancy.scan(os.getpid(), MIB).mappings]
    assert not one.changed
    assert [m.length for m in after if range_.address <= m.start < range_.address + SIZE] == [MIB, MIB, SIZE - 2 * MIB]


def test_a_process_that_forks_meanwhile_is_said(after_first_read: Any) -> None:
    born: list[subprocess.Popen[bytes]] = []
    after_first_read(lambda: born.append(subprocess.Popen(["sleep", "60"])))
    with mapped(BACKINGS["anon"], SIZE):
        found = occupancy.scan(os.getpid(), SIZE)
    with born[0] as child:
        child.kill()
    if found.before.children is None:
        pytest.skip("this kernel does not tell the children of a process")
    assert "the process started 1 other process(es) meanwhile: they are not in this" in found.notes
