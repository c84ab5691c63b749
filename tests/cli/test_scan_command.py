# SPDX-License-Identifier: MIT
"""``uffdlab scan`` as users run it, and the probe, frame and figure that use the same scan."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from running import UFFDLAB, alive, environment, sentence, uffdlab_run, wait_until
from synthetic_bitmap import runs_of
from synthetic_occupancy import look, looked
from targets import scanned

from uffdlab import figures, native, occupancy, summaries
from uffdlab.datasets import bitmap
from uffdlab.errors import UffdlabError
from uffdlab.probes import occupancy as probe
from uffdlab.probes.occupancy import OccupancySpec
from uffdlab.probes.occupancy_target import Content, held
from uffdlab.probes.requirements import Needs
from uffdlab.vocabulary.backings import KIB, MIB
from uffdlab.vocabulary.states import INTERPRETER, WORKLOADS

built = pytest.mark.skipif(native.why_missing() is not None, reason=str(native.why_missing()))

# A process with one mapping of each kind that needs no privilege, under a name that must not be printed.
SECRETIVE = """
import mmap, os, time
fd = os.memfd_create("very-secret")
os.ftruncate(fd, 32 << 20)
shared = mmap.mmap(fd, 32 << 20)
shared[0] = 1
private = mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
private.madvise(mmap.MADV_NOHUGEPAGE)
private[3 << 20] = 1
reserved = mmap.mmap(-1, 48 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0)
print("printed by the command", flush=True)
time.sleep(60)
"""


def secretive() -> str:
    return shlex.join([sys.executable, "-c", SECRETIVE])


# --- what it prints --------------------------------------------------------------------------------------------------


@built
def test_scan_of_a_command_prints_json(tmp_path: Path) -> None:
    scan = scanned("--cmd", secretive(), "--min-size=32MiB", cwd=tmp_path)
    by_size = {mapping["size_kib"]: mapping for mapping in scan["mappings"]}
    shared, private, reserved = (by_size[kib << 10] for kib in (32, 64, 48))
    assert (shared["kind"], shared["flags"], private["kind"], reserved["flags"]) == ("shmem", "rw-s", "anon", "---p")
    small, large, huge = private["granularities"]
    assert (small["granularity_kib"], large["granularity_kib"], huge["granularity_kib"]) == (4, 2048, 1 << 20)
    assert small["counts"]["present"] == 1
    assert small["shares"]["untouched"] == 1 - 1 / small["units"]
    assert huge["shares"]["untouched"] is None
    assert scan["totals"]["mappings"] == len(scan["mappings"]) == 3
    assert scan["totals"]["size_kib"] == (32 + 64 + 48) << 10
    assert scan["totals"]["granularities"][0]["counts"]["present"] == 2
    assert scan["method"] in occupancy.METHODS
    assert scan["complete"] is True
    assert scan["process"]["vm_pte_kib"] > 0
    assert scan["process"]["vm_rss_kib"] > 1000
    assert any("1 mapping(s) have no access (---)" in note for note in scan["notes"])


@built
def test_the_table_fits_80_columns(tmp_path: Path) -> None:
    done = uffdlab_run("scan", "--cmd", secretive(), "--min-size=64KiB", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "anon rw-p, 64 MiB" in lines
    assert "shmem rw-s, 32 MiB" in lines
    assert "printed by the command" not in done.stdout, "a command's own output goes to standard error"
    assert "printed by the command" in done.stderr


@built
def test_no_name_path_or_address_is_printed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SECRETIVE], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            maps = Path(f"/proc/{child.pid}/maps").read_text()
            texts = [uffdlab_run("scan", str(child.pid), *form, cwd=tmp_path).stdout for form in ((), ("--json",))]
            scanned(str(child.pid), "--bitmap=b", "--min-size=64KiB", cwd=tmp_path)
        finally:
            child.kill()
    assert "very-secret" in maps
    addresses = {address for line in maps.splitlines() for address in line.split()[0].split("-")}
    content = (tmp_path / "b").read_bytes()
    for text in texts:
        assert "anon" in text
        assert not re.search(r"very-secret|/|\bpython", text)
        assert not [address for address in addresses if address in text or str(int(address, 16)) in text]
    assert b"very-secret" not in content
    assert not [address for address in addresses if int(address, 16).to_bytes(8, "little") in content]


@built
def test_a_bitmap_has_the_states_of_the_pages(tmp_path: Path) -> None:
    size, pages = 64 * MIB, 1000
    with held(Content("anon", size, pages, seed=9, read=True)) as pid:
        scan = scanned(str(pid), "--bitmap=b", "--min-size=64MiB", cwd=tmp_path)
        again = occupancy.bitmap_of(occupancy.scan(pid, size, keep_runs=True))
    (mapping,) = bitmap.load(tmp_path / "b").mappings
    assert mapping.counts() == {"untouched": 0, "zeropage": size // 4096 - pages, "present": pages, "marked": 0}
    assert scan["mappings"][0]["granularities"][0]["counts"]["present"] == pages
    assert again.mappings == (mapping,)
    assert (mapping.kind, mapping.shared, mapping.accessible) == ("anon", False, True)
    assert (mapping.offset_bytes, mapping.length_bytes) == (0, size)


def test_offsets_keep_the_place_within_2_mib_and_adjacency() -> None:
    def seen(start: int, pages: int) -> occupancy.Occupancy:
        mapping = occupancy.mappings.Mapping(start, start + pages * 4096, "anon", "rw-p", 4096, ("0:0", 0))
        small = occupancy.Granularity(4096, pages, (0,) * len(occupancy.STATES), 0, 0)
        return occupancy.Occupancy(mapping, (small,), 0, 0, 0, 0, runs=runs_of(bytes(pages)))

    first = 0x7F12_3456_7000
    mappings = (seen(first, 8), seen(first + 8 * 4096, 4), seen(first + (5 << 30), 2))
    nothing = occupancy.process.Counters(None, None, None, None, None, None)
    account = occupancy.account.Account(occupancy.account.Held(), {})
    whole = occupancy.Scan(mappings, "pagemap", nothing, nothing, 0, 4096, True, (), account)
    placed = occupancy.bitmap_of(whole).mappings
    within = first % (2 * MIB)
    assert [mapping.offset_bytes for mapping in placed] == [within, within + 8 * 4096, (1 << 30) + within]


# --- the command it starts -------------------------------------------------------------------------------------------

STUBBORN = """
import signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"],
    stdout=subprocess.PIPE)
child.stdout.readline()
open("pids", "w").write(f"{child.pid} {__import__('os').getpid()}")
x = bytes(4 << 20)
time.sleep(60)
"""


@built
def test_a_command_and_its_children_are_killed(tmp_path: Path) -> None:
    for after_s in (1, 10, 40):  # until it has got far enough, which takes its time on a busy machine
        scanned("--cmd", shlex.join([sys.executable, "-c", STUBBORN]), f"--after={after_s}", cwd=tmp_path)
        if (tmp_path / "pids").exists() and (tmp_path / "pids").read_text():
            break
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert pids
    wait_until(lambda: not any(alive(pid) for pid in pids), "the group has ended", 30)  # 60 s they would live


@built
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_is_killed_when_the_scan_is_interrupted(number: signal.Signals, tmp_path: Path) -> None:
    command = [*UFFDLAB, "scan", "--cmd", shlex.join([sys.executable, "-c", STUBBORN]), "--after=50"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE) as running:
        wait_until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text(), "the command runs")
        running.send_signal(number)
        assert running.wait(60) == 128 + number
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert pids
    wait_until(lambda: not any(alive(pid) for pid in pids), "the group has ended", 30)  # 60 s they would live


@built
@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ((), "name one process to scan: a process ID, --self, or --cmd COMMAND"),
        (("1", "--self"), "name one process to scan"),
        (("abc",), "'abc' is not a process ID: write a whole number above 0"),
        (("0",), "'0' is not a process ID"),
        (("9999999",), "there is no process 9999999: it has ended"),
        (("--self", "--min-size=0"), "--min-size 0 B: write a size above 0"),
        (("--self", "--min-size=big"), "'big' is not a size"),
        (("--self", "--method=smaps"), "unknown method 'smaps': choose one of PAGEMAP_SCAN, pagemap"),
        (("--self", "--after=1"), "--after is how long a command runs first: use it with --cmd"),
        (("--self", "--bitmap=."), "--bitmap . is a directory: name a file"),
        (("--self", "--bitmap=none/b"), "--bitmap none/b cannot be written: none is not a directory"),
        (("--self", "--min-size=64TiB", "--bitmap=b"), "there is nothing to write into a bitmap"),
        (("--cmd", ""), "--cmd is empty: write a command"),
        (("--cmd", "'"), "cannot be split into words: No closing quotation"),
        (("--cmd", "no-such-command --at all"), "--cmd: there is no command 'no-such-command' in the absolute"),
        (("--cmd", "/etc/passwd"), "--cmd: '/etc/passwd' cannot be started: Permission denied"),
        (("--cmd", "false"), "the command ended with status 1 within 1 s, before it was scanned"),
        (("--cmd", "sh -c 'kill -9 $$'"), "the command ended by signal 9 within 1 s, before it was scanned"),
        (("--cmd", "sleep 9", "--after=soon"), "--after 'soon' is not a number of seconds"),
        (("--cmd", "sleep 9", "--after=-1"), "--after '-1' is not a number of seconds from 0 to 86400"),
        (("--cmd", "sleep 9", "--after=nan"), "--after 'nan' is not a number of seconds from 0 to 86400"),
    ],
)
def test_an_invalid_request_gives_one_sentence(arguments: tuple[str, ...], refusal: str, tmp_path: Path) -> None:
    assert refusal in sentence(uffdlab_run("scan", *arguments, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


# --- the probe -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"workload": "idle"}, "unknown workload 'idle': choose one of anon_uniform, anon_clustered, "),
        ({"size_bytes": 4096}, "size 4096 B is not a positive multiple of 2 MiB up to 1 TiB"),
        ({"size_bytes": 0}, "size 0 B is not a positive multiple of 2 MiB up to 1 TiB"),
        ({"populated": 1.5}, "populated is 1.5: choose 0 to 1"),
        ({"populated": float("nan")}, "populated is nan: choose 0 to 1"),
        ({"repeats": 0}, "repeats is 0: choose 1 to 1000000"),
    ],
)
def test_an_invalid_spec_is_refused_with_the_reason(wrong: dict[str, Any], refusal: str) -> None:
    with pytest.raises(UffdlabError) as caught:
        OccupancySpec(**wrong)
    assert refusal in str(caught.value)


def test_a_spec_needs_its_written_pages_and_page_tables() -> None:
    assert OccupancySpec("anon_uniform", 64 * MIB, 0.5).needs() == Needs(32 * KIB + 32 * 4)
    assert OccupancySpec("anon_thp", 64 * MIB, 0.1).needs() == Needs(3 * 2 * KIB + 32 * 4)
    assert OccupancySpec(INTERPRETER).needs() == Needs()


@built
@pytest.mark.uffd
@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_probe_finds_the_content_it_created(workload: str) -> None:
    size, pages = 64 * MIB, 64 * MIB // 4096
    spec = OccupancySpec(workload, size, 0.25, repeats=2, seed=3)
    rows = [row for table, row in probe.run(spec) if table == "occupancy"]
    assert all({"block", *row} == {field["name"] for field in probe.FIELDS} for row in rows)
    assert {row["sample"] for row in rows} == {0, 1}
    if workload == INTERPRETER:
        assert all(row["kind"] == "anon" for row in rows if row["size_kib"] < 2048)
        return
    small = [row for row in rows if row["granularity_kib"] == 4]
    assert {row["units"] for row in small} == {pages}
    assert {row["present"] for row in small} == {0.25}
    rest = {"anon_preread": "zeropage", "anon_marked": "marked"}.get(workload, "untouched")
    if rest == "zeropage" and os.geteuid() != 0:
        small = [row for row in small if row["method"] == "PAGEMAP_SCAN"]
    assert {row[rest] for row in small} == {0.75}
    large = [row for row in rows if row["granularity_kib"] == 2048]
    clustered = workload in ("anon_clustered", "anon_thp")
    assert {row["mixed"] for row in large} == {0.0 if clustered else 1.0}


@built
@pytest.mark.uffd
def test_a_refused_holder_reports_the_cause() -> None:
    with (
        pytest.raises(UffdlabError, match=r"the process holding the memory ended with status 1"),
        held(Content("no such backing", 2 * MIB, 1)),
    ):
        pytest.fail("it holds nothing")


# --- frame and figure ------------------------------------------------------------------------------------------------


def test_mappings_of_a_process_are_weighted_by_their_units(tmp_path: Path) -> None:
    data = looked(
        tmp_path / "d",
        look(INTERPRETER, 4, 300, untouched=1.0),
        look(INTERPRETER, 4, 100, mapping=1, present=1.0),
        look(INTERPRETER, 2048, 0),
        look("anon_uniform", 4, 100, zeropage=None, present=0.5, method="pagemap"),
    )
    frame = summaries.df_occupancy(data).set_index(["workload", "granularity_kib"])
    assert frame.loc[(INTERPRETER, 4), ["untouched", "present", "units", "n"]].to_list() == [0.75, 0.25, 400, 1]
    assert frame.loc[(INTERPRETER, 2048), ["untouched", "present"]].isna().all()
    assert frame.zeropage.isna().to_list() == [True, False, True], "unknown is not zero"
    assert frame.loc[("anon_uniform", 4), "present"] == 0.5


def test_the_figure_draws_every_share_once_and_legibly_in_grey(tmp_path: Path) -> None:
    data = looked(
        tmp_path / "d",
        look("anon_uniform", 4, 100, untouched=0.9, present=0.1),
        look("anon_uniform", 4, 100, untouched=0.8, present=0.2, method="pagemap"),
        look("anon_uniform", 2048, 100, mixed=0.7, untouched=0.3),
    )
    figure = figures.plot_occupancy(data)
    drawn = {(bar.name, bar.xaxis): list(bar.x) for bar in figure.data}
    assert drawn[("untouched", "x")] == [0.9]
    assert drawn[("untouched", "x2")] == [0.3]
    assert drawn[("mixed", "x2")] == [0.7]
    assert not [bar for bar in figure.data if bar.name in ("zeropage", "marked", "swapped")]
    assert "made-up" in figure.layout.meta["origin"]
    assert figure.layout.barmode == "stack"
    looks = {bar.name: bar.marker.pattern.shape or bar.marker.color for bar in figure.data}
    assert len(set(looks.values())) == len(looks)
    assert sum(bool(bar.showlegend) for bar in figure.data) == len(looks), "each state once in the legend"


def test_the_figure_without_scans_has_a_note(tmp_path: Path) -> None:
    (annotation,) = figures.plot_occupancy(looked(tmp_path / "d")).layout.annotations
    assert annotation.text == "made-up holds no occupancy scans"
