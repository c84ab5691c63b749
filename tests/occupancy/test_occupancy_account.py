# SPDX-License-Identifier: MIT
"""All memory that the kernel counts for a process is scanned, or listed as left out."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import UFFDLAB, environment, uffdlab_run
from synthetic_bitmap import runs_of
from targets import CannotError, scanned, target

from uffdlab import native, occupancy, sim
from uffdlab.datasets import bitmap
from uffdlab.errors import UffdlabError
from uffdlab.occupancy import Occupancy, Scan, account
from uffdlab.vocabulary.backings import KIB, MIB

PAGE = 4 * KIB
pytestmark = pytest.mark.skipif(native.why_missing() is not None, reason=str(native.why_missing()))


def scan_of(code: str, *arguments: object, method: str | None = None, min_bytes: int = 2 * MIB) -> Scan:
    """Return the scan of a process that runs the code."""
    try:
        with target(code, arguments) as pid:
            return occupancy.scan(pid, min_bytes, method, keep_runs=True)
    except CannotError as error:
        pytest.skip(str(error))


def differences(result: Scan) -> dict[str, int | None]:
    return result.account.differences(result.before, result.after)


NOTHING = dict.fromkeys(account.NAMES, 0)


def of_size(result: Scan, size: int) -> Occupancy:
    (mapping,) = [m for m in result.mappings if m.mapping.length == size]
    return mapping


@pytest.fixture(params=occupancy.METHODS)
def method(request: pytest.FixtureRequest) -> str:
    if request.param == "pagemap" and os.geteuid() != 0:
        pytest.skip("only root may see which page is the zeropage")
    name: str = request.param
    return name


# --- private mappings of files ---------------------------------------------------------------------------------------

RESTORED = """
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
os.truncate(fd, 64 * MIB)
guest = map_(64 * MIB, PRIVATE, fd)
read(guest, 8 * MIB)
write(guest + 16 * MIB, 4 * MIB)
ready()
"""


def test_private_file_pages_of_a_restored_guest_are_counted(tmp_path: Path, method: str) -> None:
    result = scan_of(RESTORED, tmp_path / "snapshot", method=method)
    assert differences(result) == NOTHING
    mapping = of_size(result, 64 * MIB)
    assert mapping.mapping.kind == "private file"
    assert mapping.pages("present") == 4 * MIB // PAGE
    assert mapping.pages("file") >= 8 * MIB // PAGE, "the kernel maps some around each fault, too"
    assert mapping.pages("untouched") + mapping.pages("file") + mapping.pages("present") == 64 * MIB // PAGE
    assert any(note.startswith("file: maps a page of the file (page cache)") for note in result.notes)


def test_page_cache_is_not_memory_of_the_process(tmp_path: Path) -> None:
    read_only = """
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
os.write(fd, b"x" * (32 * MIB))
read(map_(32 * MIB, PRIVATE, fd, prot=1), 32 * MIB)
read(map_(16 * MIB, SHARED, fd, prot=1), 16 * MIB)
ready()
"""
    result = scan_of(read_only, tmp_path / "library")
    assert differences(result) == NOTHING
    assert not [mapping for mapping in result.mappings if mapping.mapping.length in (16 * MIB, 32 * MIB)]
    assert result.account.left_out[account.NO_OWN_PAGE].size_bytes >= 32 * MIB
    assert result.account.left_out[account.NO_OWN_PAGE].anon == 0
    assert result.account.left_out[account.OF_FILES].size_bytes >= 16 * MIB
    assert result.account.left_out[account.OF_FILES].anon is None, "unknown is not zero"


def test_pages_written_before_mprotect_read_only_are_counted(tmp_path: Path) -> None:
    closed = """
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
os.truncate(fd, 8 * MIB)
data = map_(8 * MIB, PRIVATE, fd)
write(data + MIB, MIB)
libc.mprotect(data, 8 * MIB, 1)
ready()
"""
    result = scan_of(closed, tmp_path / "relro")
    mapping = of_size(result, 8 * MIB)
    assert (mapping.mapping.flags, mapping.pages("present")) == ("r--p", MIB // PAGE)
    assert differences(result) == NOTHING


def test_scan_command_on_a_restored_guest(tmp_path: Path) -> None:
    with target(RESTORED, [tmp_path / "snapshot"]) as pid:
        result = scanned(str(pid), "--bitmap=b", cwd=tmp_path)
        text = uffdlab_run("scan", str(pid), cwd=tmp_path).stdout
    kept = bitmap.load(tmp_path / "b")
    (mapping,) = [m for m in kept.mappings if m.kind == "private file"]
    counts = mapping.counts()
    assert counts["present"] == 4 * MIB // PAGE
    assert counts["zeropage"] >= 8 * MIB // PAGE, "a page of the file, which the first write replaces"
    assert result["account"]["difference_kib"] == NOTHING
    assert result["account"]["counted_kib"]["anon"] == result["process"]["rss_anon_kib"]
    assert any("private mapping(s) of files" in notes for notes in result["advice_leaves_out"])
    assert "private file rw-p, 64 MiB" in text
    assert "no userfaultfd can be registered on them" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert "file" in text.splitlines()[0].split()


def test_no_advice_without_memory_that_can_be_protected(tmp_path: Path) -> None:
    mapping = bitmap.Mapping("private file", 0, 4 * PAGE, PAGE, False, True, runs_of(b"\0\1\2\0"))
    made = bitmap.Bitmap(PAGE, PAGE, True, (mapping,))
    rest, left_out = sim.replayable(made)
    assert rest.mappings == ()
    assert left_out == [
        "1 private mapping(s) of files, 16 KiB, are not in this: no userfaultfd can be registered on them"
    ]
    assert sim.replay(made, sim.DESIGNS["pte_marker"]).protect["markers_pte"] == 0


# --- every other kind ------------------------------------------------------------------------------------------------

KINDS = {
    "anonymous": ("write(map_(16 * MIB), 5 * MIB)", "anon"),
    "read only": ("read(map_(16 * MIB), 5 * MIB)", "anon"),
    "shared": ("write(map_(16 * MIB, SHARED | ANONYMOUS), 5 * MIB)", "shmem"),
    "private of /dev/zero": ("write(map_(16 * MIB, PRIVATE, os.open('/dev/zero', os.O_RDWR)), 5 * MIB)", "anon"),
    "shared of /dev/zero": ("write(map_(16 * MIB, SHARED, os.open('/dev/zero', os.O_RDWR)), 5 * MIB)", "shmem"),
    "memfd": (
        "fd = os.memfd_create('x')\nos.truncate(fd, 16 * MIB)\nwrite(map_(16 * MIB, SHARED, fd), 5 * MIB)",
        "shmem",
    ),
    "memfd, private": (
        "fd = os.memfd_create('x')\nos.truncate(fd, 16 * MIB)\nwrite(map_(16 * MIB, SHARED, fd), 5 * MIB)\n"
        "copy = map_(16 * MIB, PRIVATE, fd)\nread(copy, 3 * MIB)\nwrite(copy + 2 * MIB, MIB)",
        "shmem",
    ),
    "tmpfs": (
        "fd = os.open('/dev/shm/uffdlab-test', os.O_RDWR | os.O_CREAT, 0o600)\nos.truncate(fd, 16 * MIB)\n"
        "where = map_(16 * MIB, SHARED, fd)\nwrite(where, 5 * MIB)\nos.unlink('/dev/shm/uffdlab-test')",
        "shmem",
    ),
    "SysV": (
        "libc.shmat.restype = ctypes.c_void_p\nid_ = libc.shmget(0, 16 * MIB, 0o600 | 0o1000)\n"
        "where = libc.shmat(id_, None, 0)\nlibc.shmctl(id_, 0, None)\nwrite(where, 5 * MIB)",
        "shmem",
    ),
    "no access": ("where = map_(16 * MIB)\nwrite(where, 5 * MIB)\nlibc.mprotect(where, 16 * MIB, 0)", "anon"),
    "heap": ("libc.sbrk.restype = ctypes.c_void_p\nlibc.sbrk(16 * MIB)\nwrite(libc.sbrk(0) - 8 * MIB, 5 * MIB)", None),
    "huge": ("where = map_(16 * MIB)\nlibc.madvise(where, 16 * MIB, 14)\nwrite(where, 5 * MIB)", "anon"),
    "named": (
        "where = map_(16 * MIB)\nwrite(where, 5 * MIB)\nname = b'7f00-8000 rw-p'\n"
        "libc.prctl(0x53564D41, ctypes.c_ulong(0), ctypes.c_ulong(where), ctypes.c_ulong(16 * MIB), name)",
        "anon",
    ),
    "secret": (
        "fd = libc.syscall(447, 0)\nfd >= 0 or sys.exit('no secret memory')\nos.truncate(fd, MIB)\n"
        "write(map_(MIB, SHARED, fd), MIB)",
        None,
    ),
    "many small": ("where = map_(16 * MIB)\nfor at in range(0, 16 * MIB, 8 * PAGE):\n"
    "    libc.mprotect(where + at, PAGE, 1 + at // PAGE % 16 // 8)\n    write(where + at + PAGE, PAGE)", None),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_memory_is_accounted_for(name: str, method: str) -> None:
    code, kind = KINDS[name]
    result = scan_of(f"{code}\nready()\n", method=method)
    assert differences(result) == NOTHING, (result.account, result.before)
    if kind:
        assert kind in {mapping.mapping.kind for mapping in result.mappings if mapping.mapping.length == 16 * MIB}


def test_hugetlb_is_accounted_for(huge_pages: None) -> None:
    result = scan_of("write(map_(4 * MIB, PRIVATE | ANONYMOUS | 0x40000 | 21 << 26), MIB)\nready()\n")
    assert differences(result) == NOTHING
    assert result.account.scanned.hugetlb == 2 * MIB


def test_populated_prot_none_memory_is_not_reserved_address_space() -> None:
    code = (
        "where = map_(16 * MIB)\nwrite(where, MIB)\nlibc.mprotect(where, 16 * MIB, 0)\nmap_(32 * MIB, prot=0)\nready()"
    )
    notes = scan_of(code).notes
    assert "1 mapping(s) have no access (---) and hold pages all the same" in notes
    assert "1 mapping(s) have no access (---): address space that is reserved, in the totals too" in notes


def test_tmpfs_missing_from_mountinfo_is_shmem(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount, and read map_files")
    code = """
libc.unshare(0x20000) and sys.exit("unshare: refused")
libc.mount(b"none", b"/", None, 0x44000, None)  # private, all of it
os.mkdir(sys.argv[1])
libc.mount(b"none", sys.argv[1].encode(), b"tmpfs", 0, None) and sys.exit("mount: refused")
fd = os.open(sys.argv[1] + "/file", os.O_RDWR | os.O_CREAT)
os.truncate(fd, 16 * MIB)
write(map_(16 * MIB, SHARED, fd), 5 * MIB)
libc.umount2(sys.argv[1].encode(), 2)  # lazily: no mountinfo shows it any more
ready()
"""
    result = scan_of(code, tmp_path / "hidden")
    assert differences(result) == NOTHING
    assert of_size(result, 16 * MIB).mapping.kind == "shmem"


def test_dev_zero_node_on_tmpfs_is_anonymous_memory(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may make nodes of devices")
    node = Path(f"/dev/shm/uffdlab-test-{os.getpid()}")
    os.mknod(node, 0o20600, os.makedev(1, 5))
    try:
        result = scan_of("write(map_(16 * MIB, PRIVATE, os.open(sys.argv[1], os.O_RDWR)), 5 * MIB)\nready()\n", node)
    finally:
        node.unlink()
    assert of_size(result, 16 * MIB).mapping.kind == "anon", "zero.c makes it anonymous memory"
    assert differences(result) == NOTHING


def test_differences_from_the_kernel_s_counters_are_reported() -> None:
    held = account.Account(account.Held(1, 4096, anon=4096), {})
    counted = occupancy.process.Counters(0, 0, 0, 0, 0, None, 12, 0)
    later = occupancy.process.Counters(0, 0, 0, 0, 0, None, 8, 0)
    assert held.differences(counted, counted) == NOTHING | {"anon": -8192}
    assert held.differences(counted, later) == NOTHING | {"anon": -4096}, "it may have been in between"
    nothing = occupancy.process.Counters(None, None, None, None, None, None)
    assert held.differences(nothing, nothing) == dict.fromkeys(account.NAMES)
    whole = Scan((), "pagemap", counted, counted, 0, 4096, True, (), held)
    assert "8 KiB of RssAnon not found" in " ".join(occupancy.text(whole).split())
    too_much = Scan(
        (), "pagemap", counted, counted, 0, 4096, True, (), account.Account(account.Held(1, 0, 1 << 20), {})
    )
    assert "1012 KiB of RssAnon more than counted" in " ".join(occupancy.text(too_much).split())
    cut = Scan((), "pagemap", counted, counted, 0, 4096, False, (), held)
    assert set(occupancy.as_dict(cut)["account"]["difference_kib"].values()) == {None}


# --- many mappings ---------------------------------------------------------------------------------------------------

MANY = """
for number in range(int(sys.argv[1])):
    where = map_(64 * KIB, prot=3 if number % 2 else 1)
    if number % 2:
        write(where, number % 16 * PAGE)
ready()
"""


def test_small_mappings_are_summed_in_text_and_listed_in_json(tmp_path: Path) -> None:
    with target(MANY, [1000]) as pid:
        result = scanned(str(pid), "--min-size=64KiB", cwd=tmp_path)
        done = uffdlab_run("scan", str(pid), "--min-size=64KiB", cwd=tmp_path)
    assert len(result["mappings"]) >= 1000
    assert result["account"]["difference_kib"] == NOTHING
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    titles = [line for line in lines if line.startswith(("anon ", "shmem ", "private file "))]
    assert len(titles) == occupancy.report.MOST_SHOWN
    (summed,) = [line for line in lines if "smaller mappings, " in line]
    assert summed.startswith(f"{len(result['mappings']) - 40:,} smaller mappings, ")
    assert f"all {len(result['mappings']):,} mappings" in done.stdout
    largest = sorted((mapping["size_kib"] for mapping in result["mappings"]), reverse=True)
    assert sum(largest[40:]) < result["totals"]["size_kib"]


def test_comparing_mappings_takes_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the elements read when the lists before and after are compared: time depends on the machine's load."""
    many = 3000
    before = [_made(number) for number in range(many)]
    after = _Counted([mapping for mapping in before if mapping.start % (7 * 8 * PAGE)])
    differ = occupancy.mappings.changed(before, after)
    assert sum(differ) == many - len(after)
    assert after.reads < 10 * many


class _Counted(list[Any]):
    """A list that counts reads of its elements."""

    reads = 0

    def __getitem__(self, place: Any) -> Any:
        self.reads += 1
        return super().__getitem__(place)


def _made(number: int) -> occupancy.mappings.Mapping:
    start = (number + 1) * 8 * PAGE
    return occupancy.mappings.Mapping(start, start + 4 * PAGE, "anon", "rw-p", PAGE, ("0:0", 0))


def test_progress_ends_at_the_total() -> None:
    calls: list[tuple[int, int]] = []
    with target("map_(3 << 30)\nready()\n") as pid:
        occupancy.scan(pid, method="pagemap", progress=lambda done, total: calls.append((done, total)))
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1] >= 3 << 30
    assert len([done for done, _ in calls if done > 1 << 20]) >= 3, "also between two GiB"


@pytest.mark.parametrize("method", occupancy.METHODS)
def test_progress_is_shown_on_a_terminal_only(method: str, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    with target("map_(3 << 30)\nready()\n") as pid:
        command = [*UFFDLAB, "scan", str(pid), f"--method={method}"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=theirs, env=environment(), cwd=tmp_path
        ) as running:
            os.close(theirs)
            assert running.stdout is not None
            output = running.stdout.read()
        terminal = b""
        with contextlib.suppress(OSError):  # the terminal is gone with its last user
            while more := os.read(ours, 65536):
                terminal += more
        os.close(ours)
        plain = uffdlab_run("scan", str(pid), f"--method={method}", cwd=tmp_path)
    assert running.returncode == 0, terminal
    assert b"scanning memory" in terminal
    assert b"scanning memory" not in output
    assert plain.stderr == ""


def test_equal_mappings_replay_as_the_sum_of_each() -> None:
    runs = runs_of(bytes([0, 2, 2, 1] * 300))
    size = 1200 * PAGE
    places = [5 * PAGE, (1 << 30) + 5 * PAGE, (3 << 30) - 2 * MIB + 5 * PAGE, (5 << 30) + 9 * PAGE]
    apart = [
        bitmap.Bitmap(PAGE, PAGE, True, (bitmap.Mapping("anon", at, size, PAGE, False, True, runs),)) for at in places
    ]
    together = bitmap.Bitmap(PAGE, PAGE, True, tuple(mapping.mappings[0] for mapping in apart))
    for name in ("pte_marker", "pmd_marker", "pud_marker", "populate_read"):
        whole, parts = (
            sim.replay(together, sim.DESIGNS[name]),
            [sim.replay(mapping, sim.DESIGNS[name]) for mapping in apart],
        )
        assert whole.added_tables_kib == sum(mapping.added_tables_kib for mapping in parts)
        assert whole.added_pages_kib == sum(mapping.added_pages_kib for mapping in parts)
        assert whole.protect == {event: sum(mapping.protect[event] for mapping in parts) for event in whole.protect}
        assert whole.save == {event: sum(mapping.save[event] for mapping in parts) for event in whole.save}


SHORT = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 3]), st.sampled_from([1, 2, 60, 511, 513])), min_size=1, max_size=30
)


@given(SHORT, st.integers(0, 600), st.sampled_from(["anon", "shmem"]), st.sampled_from([PAGE, 4 * PAGE]))
@settings(max_examples=30, deadline=None)
def test_many_short_runs_replay_as_the_sum_of_each(
    stretches: list[tuple[int, int]], first: int, kind: str, unit: int
) -> None:
    runs = runs_of(bytes(state for state, count in stretches for _ in range(count)))
    size = sum(run >> 2 for run in runs) * unit
    mapping = bitmap.Mapping(kind, first * PAGE, size, PAGE, kind == "shmem", True, runs)
    made = bitmap.Bitmap(PAGE, unit, True, (mapping,))
    for name in ("pte_marker", "pmd_marker", "missing_wp", "populate_read", "wp_zeropage"):
        with pytest.MonkeyPatch.context() as patched:
            by_bits = sim.replay(made, sim.DESIGNS[name])
            patched.setattr(sys.modules["uffdlab.sim.replay"], "_MOST_BITS", 0)
            assert sim.replay(made, sim.DESIGNS[name]) == by_bits


def test_advice_uses_the_largest_mappings_and_notes_it() -> None:
    many = [
        bitmap.Mapping("anon", number << 30, (number + 1) * PAGE, PAGE, False, True, runs_of(bytes(number + 1)))
        for number in range(400)
    ]
    rest, left_out = sim.replayable(bitmap.Bitmap(PAGE, PAGE, True, tuple(many)))
    assert rest.mappings == tuple(many[-256:])
    assert left_out == ["the largest 256 of 400 mappings are in this, 87.0% of the memory"]
    alike = tuple(bitmap.Mapping("anon", n << 30, PAGE, PAGE, False, True, runs_of(b"\2")) for n in range(2000))
    assert sim.replayable(bitmap.Bitmap(PAGE, PAGE, True, alike)) == (bitmap.Bitmap(PAGE, PAGE, True, alike), [])


def test_invalid_size_is_refused() -> None:
    with pytest.raises(UffdlabError, match="--min-size 0 B: write a size above 0"):
        occupancy.scan(os.getpid(), 0)
