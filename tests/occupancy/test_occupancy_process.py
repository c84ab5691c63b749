# SPDX-License-Identifier: MIT
"""/proc files of a process: names it chose are not parsed as structure, and any living thread can be read."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from running import environment, uffdlab_run
from targets import CannotError, scanned, target

from uffdlab import native, occupancy
from uffdlab.host import ksm, memory, pseudofiles, threads
from uffdlab.occupancy import mappings, process, reading
from uffdlab.vocabulary.backings import GIB, KIB, MIB

PAGE = 4 * KIB
pytestmark = pytest.mark.skipif(native.why_missing() is not None, reason=str(native.why_missing()))

# --- lines of /proc/PID/maps -----------------------------------------------------------------------------------------

KNOWN: mappings.Devices = {"0:1": ("shmem", PAGE), "0:15": ("hugetlb", 2 * MIB), "0:25": ("shmem", PAGE), "254:0": None}


def parsed(maps: bytes) -> list[mappings.Mapping]:
    nowhere = Path("/nonexistent")
    return mappings.parse(maps, mappings.Kinds(KNOWN, nowhere, nowhere))


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("7f00-8000 rw-p 00000000 00:00 0 ", "anon"),
        ("7f00-8000 rw-p 00000000 00:00 0                          [heap]", "anon"),
        ("7f00-8000 rw-p 00000000 00:00 0                          [anon:a name]", "anon"),
        ("7f00-8000 ---p 00000000 00:00 0 ", "anon"),
        ("7f00-8000 r--p 00000000 00:00 0                          [vvar]", "kernel"),
        ("7f00-8000 r-xp 00000000 00:00 0                          [vdso]", "kernel"),
        ("7f00-8000 rw-s 00000000 00:01 1042                       /memfd:x y (deleted)", "shmem"),
        ("7f00-8000 rw-s 00000000 00:01 7                          /dev/zero (deleted)", "shmem"),
        ("7f00-8000 rw-s 00000000 00:01 7                          [anon_shmem:[heap]]", "shmem"),
        ("7f00-8000 rw-s 00000000 00:01 0                          /SYSV00000000 (deleted)", "shmem"),
        ("7f00-8000 rw-p 00000000 00:0f 7                          /anon_hugepage (deleted)", "hugetlb"),
        ("7f00-8000 rw-s 00000000 00:19 7                          /dev/shm/anything", "shmem"),
        ("7f00-8000 rw-p 00000000 fe:00 7                          /usr/lib/[heap]", "private file"),
        ("7f00-8000 rw-s 00000000 fe:00 7                          /usr/lib/[heap]", "shared file"),
        ("7f00-8000 rw-s 00000000 00:20 7                          anon_inode:[perf_event]", "shared file"),
        ("no line at all", None),
    ],
)
def test_maps_line_gives_kind_and_range(line: str, kind: str | None) -> None:
    result = parsed(f"{line}\n".encode())
    assert [mapping.kind for mapping in result] == ([kind] if kind else [])
    assert all((mapping.start, mapping.end) == (0x7F00, 0x8000) for mapping in result)


LIKE_A_LINE = b"10000000-50000000 rw-p 00000000 00:00 0 "
ENDINGS = [b"\r", b"\r\n", b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e", b"\x85", b"\xc2\x85", b"\xe2\x80\xa8", b"\xff"]
names = st.lists(
    st.sampled_from([*ENDINGS, LIKE_A_LINE, b"[heap]", b" (deleted)", b" - tmpfs "]) | st.binary(max_size=9)
)


@given(st.lists(st.tuples(names, st.sampled_from([b"fe:00 7", b"00:01 7", b"00:19 8"])), max_size=8))
@example([([ending, LIKE_A_LINE, ending], b"fe:00 7") for ending in ENDINGS])
def test_file_names_add_no_mapping(files: list[tuple[list[bytes], bytes]]) -> None:
    lines = []
    for number, (parts, file) in enumerate(files, 1):
        name = b"/" + b"".join(parts).replace(b"\0", b"").replace(b"\n", b"\\012")  # as seq_path() writes it
        lines.append(b"%x-%x rw-p 00000000 %b    %b\n" % (number << 20, (number << 20) + 4096, file, name))
    result = parsed(b"".join(lines))
    assert [mapping.start for mapping in result] == [number << 20 for number in range(1, len(files) + 1)]
    assert {mapping.length for mapping in result} <= {4096}


@pytest.mark.parametrize("ending", ENDINGS)
def test_file_names_add_no_mapping_to_a_scan(ending: bytes, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/x" + ending.replace(b"\n", b"") + LIKE_A_LINE
    code = """
fd = os.open(bytes.fromhex(sys.argv[1]), os.O_RDWR | os.O_CREAT)
os.truncate(fd, 4 * MIB)
write(map_(4 * MIB, PRIVATE, fd), MIB)
ready()
"""
    with target(code, [path.hex()]) as pid:
        result = occupancy.scan(pid, 64 * KIB)
    assert not [mapping for mapping in result.mappings if mapping.mapping.length == GIB]
    assert [mapping.mapping.kind for mapping in result.mappings if mapping.mapping.length == 4 * MIB] == [
        "private file"
    ]
    assert result.account.differences(result.before, result.after)["anon"] == 0


def test_mountinfo_gives_tmpfs_and_hugetlbfs_devices() -> None:
    mountinfo = (
        b"25 24 0:919 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=24684092k\n"
        b"26 24 0:920 / /dev/huge rw shared:3 - hugetlbfs hugetlbfs rw,pagesize=1024M\n"
        b"28 24 0:921 / /dev rw - devtmpfs devtmpfs rw\n"
        b"29 24 0:922 / /a\x85b\xe2\x80\xa8\rc rw - tmpfs n\x0be rw\n"
        b"27 24 8:1 / / rw - ext4 /dev/sda rw\nnonsense\n"
        b"30 24 8:2 / /x\\04030\\0400:1\\040-\\040tmpfs rw - ext4 /dev/sda rw\n"
    )
    result = mappings.devices(mountinfo)
    base = os.sysconf("SC_PAGE_SIZE")
    tmpfs = dict.fromkeys(("0:919", "0:921", "0:922"), ("shmem", base))
    assert result == tmpfs | {"0:920": ("hugetlb", GIB), "8:1": None, "8:2": None}


# --- names of processes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [b"\rVmRSS: 7 kB", b"x\x85VmPTE:\t9 kB", b"\xe2\x80\xa8VmSwap: 8", b") R 1 2 3 4", b"a\nVmRSS: 7"]
)
def test_process_name_changes_no_counter(name: bytes) -> None:
    code = "libc.prctl(15, bytes.fromhex(sys.argv[1]), 0, 0, 0)\nready()"
    with target(code, [name.hex()]) as pid:
        result = process.counters(pid)
        lines = Path(f"/proc/{pid}/status").read_bytes().split(b"\n")
    by_name = {line.split(b":")[0]: line.split()[1] for line in lines[1:] if line.endswith(b" kB")}
    assert (result.vm_rss_kib, result.vm_pte_kib) == (int(by_name[b"VmRSS"]), int(by_name[b"VmPTE"]))
    assert result.vm_swap_kib == int(by_name[b"VmSwap"])
    assert result.minor_faults is not None
    assert result.minor_faults > 100


def test_process_name_changes_no_native_counter() -> None:
    code = """
import ctypes
from uffdlab import native
from uffdlab.host import pseudofiles
from pathlib import Path
ffi, lib = native.probe()
ctypes.CDLL(None).prctl(15, b"VmPTE: 987654", 0, 0, 0)
now = ffi.new("struct ul_counters *")
assert lib.ul_counters(now) == 0
assert b"987654" in Path("/proc/self/status").read_bytes()
assert 0 < now.vm_pte_kib < 900000, now.vm_pte_kib
assert 0 < now.vm_rss_kib
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@given(st.lists(st.sampled_from([*ENDINGS, b"VmRSS:", b"\t5 kB", b": "]) | st.binary(max_size=6), max_size=6))
def test_fields_split_at_newlines_only(parts: list[bytes]) -> None:
    name = b"".join(parts).replace(b"\\", b"\\\\").replace(b"\n", b"\\n")  # as proc_task_name() writes it
    with _proc({"status": b"Name:\t" + name + b"\nUmask:\t0022\nVmRSS:\t 12 kB\n"}) as root:
        result = pseudofiles.fields(root, "status")
    assert list(result) == ["Name", "Umask", "VmRSS"]
    assert result["VmRSS"] == "12 kB"


@contextlib.contextmanager
def _proc(files: dict[str, bytes]) -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory() as root:
        for name, content in files.items():
            path = Path(root) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield Path(root)


def test_control_group_of_any_name_is_found() -> None:
    name = b"a b\xc2\x85c\rd\xe2\x80\xa8e\xff"
    mountinfo = b"30 24 0:26 / /sys/fs/c\\040g rw - cgroup2 cgroup2 rw\n"
    group = "sys/fs/c g/" + os.fsdecode(name)
    files = {
        "proc/self/cgroup": b"0::/" + name + b"\n",
        "proc/self/mountinfo": mountinfo,
        f"{group}/memory.max": b"4194304\n",
        f"{group}/memory.current": b"1048576\n",
        f"{group}/memory.stat": b"anon 5\ninactive_file 524288\n",
        f"{group}/memory.events": b"low 0\noom_kill 3\n",
    }
    with _proc(files) as root:
        assert memory.cgroup_limit_kib(root) == 4096
        assert memory.memory_available_kib(root) == 3072 + 512
        assert memory.oom_kills(root) == {"memory.events": 3}


def test_mountinfo_escapes_are_decoded() -> None:
    assert pseudofiles.unescaped(r"/a\040b\011c\012d\134e\043f\303\244") == "/a b\tc\nd\\e#fä"


# --- a process whose main thread has ended ---------------------------------------------------------------------------

LEADERLESS = """
where = map_(64 * MIB)
write(where, 8 * MIB)
shared = map_(32 * MIB, SHARED | ANONYMOUS)
write(shared, MIB)
libc.madvise(map_(MIB), MIB, 12)  # MADV_MERGEABLE

def live():
    while open(f"/proc/{os.getpid()}/stat").read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    ready()

threading.Thread(target=live).start()
libc.syscall({"x86_64": 60}.get(os.uname().machine, 93), 0)  # exit(2) ends one thread
"""


@pytest.fixture
def leaderless() -> Iterator[int]:
    try:
        with target(LEADERLESS) as pid:
            yield pid
    except CannotError as error:
        pytest.skip(str(error))


def test_process_without_its_main_thread_is_scanned(leaderless: int, tmp_path: Path) -> None:
    assert Path(f"/proc/{leaderless}/maps").read_bytes() == b""
    result = scanned(str(leaderless), "--bitmap=b", cwd=tmp_path)
    sizes = {mapping["size_kib"]: mapping["granularities"][0]["counts"]["present"] for mapping in result["mappings"]}
    assert sizes[64 << 10] == 2048
    assert sizes[32 << 10] == 256
    assert result["process"]["vm_rss_kib"] > 8 << 10
    assert set(result["account"]["difference_kib"].values()) == {0}
    assert result["complete"] is True
    assert not [note for note in result["notes"] if "meanwhile" in note]


def test_living_thread_is_read_for_the_process(leaderless: int) -> None:
    assert re.fullmatch(rf"proc/{leaderless}/task/\d+", threads.living(leaderless))
    assert threads.living(os.getpid()) == f"proc/{os.getpid()}"
    assert threads.ended(f"proc/{leaderless}")
    assert process.counters(leaderless).vm_pte_kib


def test_ksm_user_without_its_main_thread_is_found(leaderless: int) -> None:
    if not Path("/sys/kernel/mm/ksm").exists():
        pytest.skip("this kernel has no KSM")
    assert leaderless in {ksm._mergeable_process(Path("/"))}


# --- PAGEMAP_SCAN is optional ----------------------------------------------------------------------------------------

# Refuse PAGEMAP_SCAN with an errno, by seccomp on the request of the ioctl; then become the command named.
REFUSING = """
import ctypes, os, platform, struct, sys

number = {"x86_64": 16}.get(platform.machine(), 29)
LOAD, EQUAL, RETURN, ALLOW, REFUSE = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050000 | int(sys.argv[1])
steps = [(LOAD, 0, 0, 0), (EQUAL, 0, 3, number), (LOAD, 0, 0, 24), (EQUAL, 0, 1, 0xC0606610)]
steps += [(RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
filter_ = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program)))
libc = ctypes.CDLL(None, use_errno=True)
for request in ((38, 1, 0, 0, 0), (22, 2, ctypes.addressof(filter_), 0, 0)):
    if libc.prctl(*map(ctypes.c_ulong, request)):
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL, errno.ESRCH, errno.ENOMEM, 133])
def test_pagemap_is_read_and_noted_when_pagemap_scan_fails(number: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", REFUSING, str(number), "-m", "uffdlab"]
    done = uffdlab_run("scan", "--self", "--json", cwd=tmp_path, command=command)
    assert done.returncode == 0, done.stderr
    assert '"method": "pagemap"' in done.stdout
    (note,) = [note for note in json.loads(done.stdout)["notes"] if "pagemap" in note]
    assert note.startswith(
        "read from pagemap, entry by entry, which is slower and gives the same result: PAGEMAP_SCAN is refused"
    )


def test_requested_pagemap_scan_fails_when_it_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-c", REFUSING, str(errno.EPERM), "-m", "uffdlab"]
    done = uffdlab_run("scan", "--self", "--method=PAGEMAP_SCAN", cwd=tmp_path, command=command)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("uffdlab: error: PAGEMAP_SCAN is refused here (")


class _Refusing:
    """The native library, whose PAGEMAP_SCAN fails after some calls."""

    def __init__(self, lib: Any, times: int) -> None:
        self._lib, self._times = lib, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lib, name)

    def ul_occupancy_scan(self, *arguments: Any) -> int:
        self._times -= 1
        return int(self._lib.ul_occupancy_scan(*arguments)) if self._times >= 0 else -errno.EPERM


def test_pagemap_is_read_when_pagemap_scan_fails_midway(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may see which page is the zeropage")
    with target("where = map_(64 * MIB)\nread(where, MIB)\nwrite(where + MIB, MIB)\nready()") as pid:
        whole = occupancy.scan(pid, 64 * KIB)
        if whole.method != "PAGEMAP_SCAN":
            pytest.skip("this kernel has no PAGEMAP_SCAN")
        ffi, lib = native.probe()
        monkeypatch.setattr(reading.native, "probe", lambda: (ffi, _Refusing(lib, 5)))
        calls: list[int] = []
        result = occupancy.scan(pid, 64 * KIB, progress=lambda done, _: calls.append(done))
    assert result.method == "pagemap"
    assert [mapping.granularities for mapping in result.mappings] == [
        mapping.granularities for mapping in whole.mappings
    ]
    assert result.notes[0].endswith("PAGEMAP_SCAN is refused here (EPERM, Operation not permitted)")
    assert result.account == whole.account
    assert calls[-1] == max(calls)
