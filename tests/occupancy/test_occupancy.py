# SPDX-License-Identifier: MIT
"""Scans of processes of known content: every count exactly, by both methods, without touching a page."""

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


def only_mapping(pid: int, size: int, method: str | None = None) -> Occupancy:
    """Return the process's only mapping of that size."""
    (mapping,) = [m for m in occupancy.scan(pid, size, method).mappings if m.mapping.length == size]
    return mapping


def shares(granularity: Granularity) -> dict[str, int]:
    """Return the counts that are not 0."""
    counts = granularity.whole | {"mixed": granularity.mixed}
    return {name: count for name, count in counts.items() if count}


def of_mapping(address: int, size: int, method: str | None = None) -> Occupancy:
    """Return the scan of this process's mapping at that address."""
    result = [
        mapping for mapping in occupancy.scan(os.getpid(), size, method).mappings if mapping.mapping.start == address
    ]
    assert len(result) == 1
    return result[0]


# --- known content ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backing", ["anon", "shmem"])
@pytest.mark.parametrize("pages", [0, 1, 1600, SIZE // PAGE])
def test_written_pages_are_counted_exactly(backing: str, pages: int, method: str) -> None:
    with held(Content(backing, SIZE, pages, seed=5)) as pid:
        mapping = only_mapping(pid, SIZE, method)
    assert mapping.mapping.kind == backing
    small = mapping.granularities[0]
    empty = SIZE // PAGE - pages
    assert shares(small) == {name: n for name, n in {"untouched": empty, "present": pages}.items() if n}
    assert small.untouched_or_zeropage == empty
    assert (mapping.huge_bytes, mapping.huge_zeropage_bytes) == (0, 0)


def test_clustered_writes_leave_whole_units_untouched(method: str) -> None:
    with held(Content("anon", SIZE, 3 * PER_UNIT, seed=5, clustered=True)) as pid:
        small, large, huge = only_mapping(pid, SIZE, method).granularities
    assert shares(small) == {"untouched": 29 * PER_UNIT, "present": 3 * PER_UNIT}
    assert shares(large) == {"untouched": 29, "present": 3}
    assert large.units == 32
    assert (huge.units, huge.share("untouched")) == (0, None), "64 MiB hold no unit of 1 GiB"


def test_scattered_writes_leave_no_unit_untouched(method: str) -> None:
    with held(Content("anon", SIZE, SIZE // PAGE // 2, seed=5)) as pid:
        large = only_mapping(pid, SIZE, method).granularities[1]
    assert shares(large) == {"mixed": 32}
    assert large.untouched_or_zeropage == 0


def test_units_of_1_gib_are_counted(method: str) -> None:
    with held(Content("anon", 4 * GIB, 1, seed=5)) as pid:
        huge = only_mapping(pid, 4 * GIB, method).granularities[2]
    assert huge.units in (3, 4), "aligned to 2 MiB, it holds three or four aligned GiB"
    counts = shares(huge)
    assert counts.get("mixed", 0) <= 1
    assert sum(counts.values()) == huge.units


def test_read_pages_are_zeropages(method: str) -> None:
    with held(Content("anon", SIZE, 100, seed=5, read=True)) as pid:
        small, large, _ = only_mapping(pid, SIZE, method).granularities
    assert shares(small) == {"zeropage": SIZE // PAGE - 100, "present": 100}
    assert small.untouched_or_zeropage == SIZE // PAGE - 100
    assert large.whole["untouched"] == 0
    assert large.untouched_or_zeropage == large.whole["zeropage"]


@pytest.mark.uffd
def test_markers_are_marked_and_not_swapped(method: str) -> None:
    with held(Content("anon", SIZE, PER_UNIT, seed=5, clustered=True, marked=True)) as pid:
        small, large, _ = only_mapping(pid, SIZE, method).granularities
    assert shares(small) == {"marked": 31 * PER_UNIT, "present": PER_UNIT}
    assert shares(large) == {"marked": 31, "present": 1}
    assert large.untouched_or_zeropage == 0


@pytest.mark.uffd
@pytest.mark.parametrize("backing", ["shmem", "hugetlb_2m_private", "hugetlb_2m_shared"])
def test_markers_of_shmem_and_hugetlb_are_marked(backing: str, method: str) -> None:
    if BACKINGS[backing].pool_kib and memory.hugepages(2048) is None:
        pytest.skip("this kernel has no huge pages of 2 MiB")
    with mapped(BACKINGS[backing], SIZE) as range_, opened(()) as uffd:
        assert shares(of_mapping(range_.address, SIZE, method).granularities[1]) == {"untouched": 32}
        uffd.register(range_, missing=False)
        uffd.protect(range_)
        mapping = of_mapping(range_.address, SIZE, method)
    assert mapping.mapping.kind == backing.split("_")[0]
    assert mapping.mapping.page_bytes == BACKINGS[backing].page_bytes
    assert shares(mapping.granularities[0]) == {"marked": SIZE // PAGE}
    assert shares(mapping.granularities[1]) == {"marked": 32}
    assert mapping.huge_bytes == 0


def test_hugetlb_page_is_present(huge_pages: None, method: str) -> None:
    with mapped(BACKINGS["hugetlb_2m_private"], 8 * MIB) as range_:
        range_.touch_at([4 * MIB], WRITE)
        mapping = of_mapping(range_.address, 8 * MIB, method)
    assert shares(mapping.granularities[1]) == {"untouched": 3, "present": 1}
    assert shares(mapping.granularities[0]) == {"untouched": 3 * PER_UNIT, "present": PER_UNIT}
    assert (mapping.huge_mappings, mapping.huge_bytes, mapping.huge_zeropage_bytes) == (1, 2 * MIB, 0)


def test_huge_mappings_and_huge_zeropage_are_counted(method: str) -> None:
    if host_settings.current("thp_enabled") == "never" or host_settings.current("thp_use_zero_page") != "1":
        pytest.skip("there are no transparent huge pages here")
    with mapped(BACKINGS["anon_thp"], SIZE) as range_:
        range_.touch_at([0, 6 * MIB], WRITE)
        range_.touch_at([2 * MIB], READ)
        mapping = of_mapping(range_.address, SIZE, method)
    assert shares(mapping.granularities[1]) == {"untouched": 29, "zeropage": 1, "present": 2}
    assert mapping.granularities[1].untouched_or_zeropage == 30
    assert (mapping.huge_mappings, mapping.huge_bytes, mapping.huge_zeropage_bytes) == (2, 4 * MIB, 2 * MIB)


def test_guards_are_neither_untouched_nor_swapped(method: str) -> None:
    with mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory_:
        try:
            memory_.madvise(102, 8 * MIB, 2 * MIB)  # MADV_GUARD_INSTALL
        except OSError as error:
            pytest.skip(f"this kernel has no guard pages: {error}")
        result = occupancy.scan(os.getpid(), SIZE, method).mappings
    (mapping,) = [m for m in result if m.granularities[0].whole["guard"]]
    assert mapping.granularities[0].whole["guard"] == PER_UNIT
    assert mapping.granularities[0].whole["swapped"] == 0


def test_memfd_is_shmem_by_its_device_under_any_name(method: str, tmp_path: Path) -> None:
    fd = os.memfd_create("a-name")
    os.ftruncate(fd, SIZE)
    on_disk = tmp_path / "file"
    on_disk.write_bytes(bytes(PAGE))
    os.truncate(on_disk, SIZE)
    with on_disk.open("r+b") as file, mmap.mmap(fd, SIZE) as shared, mmap.mmap(file.fileno(), SIZE) as other:
        shared[5 * PAGE] = other[0] + 1
        (mapping,) = [m for m in occupancy.scan(os.getpid(), SIZE, method).mappings if m.mapping.kind == "shmem"]
    os.close(fd)
    assert shares(mapping.granularities[0]) == {"untouched": SIZE // PAGE - 1, "present": 1}
    assert mapping.mapping.flags == "rw-s"


# --- units, against a model ------------------------------------------------------------------------------------------


def modelled(states: list[str], first: int, per_unit: int) -> tuple[dict[str, int], int, int, int]:
    """Return whole units by state, mixed ones, blank ones and all, of pages that begin ``first`` pages into a unit."""
    start = -first % per_unit
    units = [set(states[i : i + per_unit]) for i in range(start, len(states) - per_unit + 1, per_unit)]
    whole: dict[str, int] = {}
    for state in (next(iter(unit)) for unit in units if len(unit) == 1):
        whole[state] = whole.get(state, 0) + 1
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
def test_units_summarise_their_pages(first: int, touches: list[tuple[int, int, int]]) -> None:
    with clipped(first) as range_:
        states = ["untouched"] * (2048 - first)
        for how, start, count in touches:
            for page in range(max(start, first), min(start + count, 2048)):
                written = how == WRITE or states[page - first] == "present"
                states[page - first] = "present" if written else "zeropage"
                range_.touch_at([page * PAGE], how)
        result = {m: of_mapping(range_.address + first * PAGE, PAGE, m) for m in _methods()}
    for mapping in result.values():
        for granularity, per_unit in zip(mapping.granularities[:2], (1, PER_UNIT), strict=True):
            whole, mixed, blank, units = modelled(states, first % PER_UNIT, per_unit)
            assert shares(granularity) == whole | ({"mixed": mixed} if mixed else {})
            assert (granularity.units, granularity.untouched_or_zeropage) == (units, blank)


def _methods() -> list[str]:
    """Return the methods that see every state here."""
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


def test_scan_faults_nothing_in(method: str) -> None:
    with held(Content("anon", 8 * GIB, 256 * MIB // PAGE, seed=5)) as pid:
        before = settled(pid)
        result = occupancy.scan(pid, method=method, keep_runs=True)
        after = process.counters(pid)
    (mapping,) = [m for m in result.mappings if m.mapping.length == 8 * GIB]
    assert mapping.granularities[0].whole["present"] == 256 * MIB // PAGE
    assert before == after, "VmPTE, RSS, minor faults"
    assert before.minor_faults is not None
    assert before.minor_faults > 65536


def test_pagemap_scan_skips_holes() -> None:
    with held(Content("anon", 64 * GIB, 4, seed=5)) as pid:
        result = occupancy.scan(pid, GIB)
    if result.method != "PAGEMAP_SCAN":
        pytest.skip("this kernel has no PAGEMAP_SCAN")
    (mapping,) = [m for m in result.mappings if m.mapping.length == 64 * GIB]
    assert mapping.calls == 8, "per 16 GiB one scan, and one read to see that the process is still there"


def test_more_regions_than_one_call_returns_are_counted_once(method: str) -> None:
    """Where a call ends with the mapping, walk_end is too low: a scan from there would return regions twice."""
    pages = list(range(0, 40_000, 2))
    with mapped(BACKINGS["anon"], 2 * GIB) as range_:
        range_.touch_at([page * PAGE for page in pages], WRITE)
        mapping = of_mapping(range_.address, 2 * GIB, method)
    assert shares(mapping.granularities[0]) == {"untouched": 2 * GIB // PAGE - len(pages), "present": len(pages)}
    assert mapping.granularities[1].units == 1024


# --- a process that changes meanwhile --------------------------------------------------------------------------------


@pytest.fixture
def after_first_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Call a function after the first listed mapping has been read."""

    def install(happens: Callable[[], object], least: int = 64 * KIB) -> None:
        read, done = reading.Reader.read, []

        def read_and_let_happen(reader: reading.Reader, mapping: Any, **more: Any) -> None:
            read(reader, mapping, **more)
            if mapping.length >= least and mapping.writable and not done:
                done.append(True)
                happens()

        monkeypatch.setattr(reading.Reader, "read", read_and_let_happen)

    return install


def _ended(pid: int) -> Callable[[], None]:
    def end() -> None:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid), "the process has ended")

    return end


def test_scan_is_incomplete_when_the_process_ends_meanwhile(after_first_read: Any, method: str) -> None:
    with held(Content("anon", SIZE, 7, seed=5)) as pid:
        all_of_it = occupancy.scan(pid, 64 * KIB, method)
        after_first_read(_ended(pid))
        result = occupancy.scan(pid, 64 * KIB, method)
    assert len(all_of_it.mappings) > 1
    assert result.mappings == (result.mappings[0],)
    assert not result.complete
    assert result.notes[-1].startswith("the process ended or executed another program meanwhile: only what was read")
    assert "None" not in occupancy.text(result)


def test_scan_fails_when_the_process_ends_before_any_read(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
    """Start a process that execs on request; yield its ID and the function that requests it."""
    code = "import os; x = bytes(1 << 25); print(1, flush=True); input(); os.execvp('sleep', ['sleep', '60'])"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        stdin = child.stdin

        def execute() -> None:
            stdin.write(b"\n")
            stdin.flush()
            wait_until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n", "another program")

        try:
            child.stdout.readline()
            yield child.pid, execute
        finally:
            child.kill()


def test_scan_is_incomplete_when_the_process_execs_meanwhile(after_first_read: Any, method: str) -> None:
    with executing() as (pid, execute):
        after_first_read(execute)
        result = occupancy.scan(pid, 64 * KIB, method)
    assert len(result.mappings) == 1
    assert not result.complete
    assert not result.mappings[0].changed


def test_scan_fails_with_a_reason_when_the_process_execs_before_any_read(
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


def test_mappings_changed_or_made_meanwhile_are_noted(after_first_read: Any) -> None:
    with mapped(BACKINGS["shmem"], SIZE) as range_:
        more: list[mmap.mmap] = []

        def change() -> None:
            _map_over(range_.address + MIB, MIB)
            more.append(mmap.mmap(-1, SIZE + MIB))

        after_first_read(change)
        result = occupancy.scan(os.getpid(), SIZE)
        more.pop().close()
    (mapping,) = [m for m in result.mappings if m.mapping.start == range_.address]
    assert mapping.changed
    assert re.search(r"\b[1-9]\d* mapping\(s\) were unmapped or mapped anew meanwhile", " ".join(result.notes))
    assert re.search(r"\b[1-9]\d* large mapping\(s\) came meanwhile and are not in this", " ".join(result.notes))
    assert "changed meanwhile" in occupancy.text(replace(result, mappings=(mapping,)))


def test_split_mapping_is_not_changed(after_first_read: Any) -> None:
    with mapped(BACKINGS["shmem"], SIZE) as range_:
        where = (ctypes.c_void_p(range_.address + MIB), ctypes.c_size_t(MIB))
        after_first_read(lambda: ctypes.CDLL(None).madvise(*where, mmap.MADV_DONTFORK))
        mapping = of_mapping(range_.address, SIZE)
        after = [m.mapping for m in occupancy.scan(os.getpid(), MIB).mappings]
    assert not mapping.changed
    assert [m.length for m in after if range_.address <= m.start < range_.address + SIZE] == [MIB, MIB, SIZE - 2 * MIB]


def test_fork_meanwhile_is_noted(after_first_read: Any) -> None:
    born: list[subprocess.Popen[bytes]] = []
    after_first_read(lambda: born.append(subprocess.Popen(["sleep", "60"])))
    with mapped(BACKINGS["anon"], SIZE):
        result = occupancy.scan(os.getpid(), SIZE)
    with born[0] as child:
        child.kill()
    if result.before.children is None:
        pytest.skip("this kernel does not tell the children of a process")
    assert "the process started 1 other process(es) meanwhile: they are not in this" in result.notes
