# SPDX-License-Identifier: MIT
"""Facts of made-up machines, of an empty root and of this machine; none identifies its owner."""

from __future__ import annotations

import errno
import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import uffdlab
from uffdlab import native
from uffdlab.datasets import provenance
from uffdlab.errors import UffdlabError
from uffdlab.host import asking, cpus, facts, features, memory
from uffdlab.host.asking import Answer

THP = "sys/kernel/mm/transparent_hugepage"


def _tree(root: Path, files: dict[str, str]) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content + "\n")
    return root


INTEL = {
    "proc/cpuinfo": (
        "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz\nmicrocode\t: 0xb000040\n"
        "flags\t\t: fpu vme hypervisor\n\nprocessor\t: 1\nmodel name\t: another\nmicrocode\t: 0x1"
    ),
    "proc/meminfo": "MemTotal:       16384000 kB\nMemAvailable:    8192000 kB",
    "proc/loadavg": "0.52 0.58 0.59 1/467 12345",
    "proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2",
    "proc/sys/vm/overcommit_memory": "1",
    "proc/sys/vm/unprivileged_userfaultfd": "0",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
    "sys/devices/system/cpu/vulnerabilities/spectre_v1": "Mitigation: usercopy/swapgs barriers, 10.0.0.1",
    "sys/devices/system/cpu/vulnerabilities/l1tf": "Not affected",
    f"{THP}/enabled": "always [madvise] never",
    f"{THP}/defrag": "always defer defer+madvise [madvise] never",
    f"{THP}/use_zero_page": "1",
    f"{THP}/shmem_enabled": "always within_size advise [never] deny force",
    f"{THP}/khugepaged/max_ptes_none": "511",
    f"{THP}/khugepaged/pages_collapsed": "17",
    f"{THP}/hugepages-64kB/enabled": "always [inherit] madvise never",
    f"{THP}/hugepages-8kB/shmem_enabled": "always inherit within_size advise [never]",
    "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "16",
    "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages": "9",
    "sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages": "2",
    "sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages": "1",
    "sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages": "4",
    "sys/kernel/mm/ksm/run": "0",
    "sys/kernel/mm/ksm/use_zero_pages": "0",
}


def test_facts_of_an_intel_machine(tmp_path):
    collected = facts.collect(seed=3, root=_tree(tmp_path, INTEL))
    assert provenance.problems(collected) == []
    assert collected["seed"] == 3
    assert collected["cpu_model"] == "Intel(R) Xeon(R) CPU E5-2680 v4 at 2.40GHz"
    assert collected["cpu_microcode"] == "0xb000040"
    assert collected["hypervisor"] is True
    assert collected["kernel_release"] == "5.15.153-1-microsoft-standard-WSL2"
    assert collected["memory_total_kib"] == 16384000
    assert collected["load_1min"] == 0.52
    assert collected["mitigations"]["spectre_v1"] == "Mitigation: usercopy or swapgs barriers, 10.0.0-1"
    assert (collected["thp_enabled"], collected["thp_defrag"], collected["thp_shmem_enabled"]) == (
        "madvise",
        "madvise",
        "never",
    )
    assert (collected["thp_use_zero_page"], collected["thp_shrink_underused"]) == (True, None)
    assert collected["mthp_enabled"] == {"64": "inherit"}, "8 KiB exists for shmem only"
    assert collected["khugepaged"] == {"max_ptes_none": 511}, "a counter is not a setting"
    assert collected["hugetlb_pools"] == {
        "2048": {"total": 16, "free": 9, "reserved": 2, "surplus": 1, "overcommit": 4}
    }
    assert (collected["ksm_run"], collected["ksm_use_zero_pages"], collected["overcommit_memory"]) == (0, False, 1)
    assert collected["unprivileged_userfaultfd"] is False
    assert collected["cgroup_memory_limit_kib"] is None
    assert collected["uffd_features"] is None, "only the running kernel knows them"


def test_facts_of_an_arm_machine_omit_its_serial_number(tmp_path):
    cpuinfo = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\nFeatures\t: fp\n\nSerial\t\t: 10000000abcd"
    collected = facts.collect(root=_tree(tmp_path, {"proc/cpuinfo": cpuinfo}))
    assert collected["cpu_model"] == "implementer 0x41 part 0xd0c"
    assert collected["hypervisor"] is None, "only x86 says so in its flags"
    assert "abcd" not in json.dumps(collected)


def test_facts_of_an_s390_machine_omit_its_identification(tmp_path):
    cpuinfo = "vendor_id : IBM/S390\nprocessor 0: version = FF,  identification = 0133E8,  machine = 3931"
    collected = facts.collect(root=_tree(tmp_path, {"proc/cpuinfo": cpuinfo}))
    assert collected["cpu_model"] == "IBM or S390 machine 3931"
    assert provenance.problems(collected) == []


def test_facts_are_unknown_without_proc_and_sys(tmp_path):
    collected = facts.collect(root=tmp_path)
    assert provenance.problems(collected) == []
    of_this_process = {"uffdlab_version", "uffdlab_commit", "uffdlab_dirty", "python_version", "compiler"}
    of_this_process |= {"rules_registered", "cores_online", "page_size_bytes"}
    assert {key for key, value in collected.items() if value is not None} <= of_this_process


def test_keys_are_those_of_provenance_without_the_campaign(tmp_path):
    campaign = {"suite", "started_utc", "duration_s", "resumed"}
    assert list(facts.collect(root=tmp_path)) == [key for key in provenance.KEYS if key not in campaign]


def test_facts_of_this_machine_are_harmless():
    collected = facts.collect(seed=1)
    assert provenance.problems(collected) == []
    assert collected["cores_online"] >= 1
    recorded = json.dumps(collected)
    for secret in (socket.gethostname(), str(Path.home()), str(Path.cwd()), getpass.getuser()):
        if len(secret) > 3:  # "vm", "root" and the like stand in honest words too
            assert secret not in recorded
    assert "/" not in recorded.replace("\\/", "")
    assert "@" not in recorded


def test_harmless_text_is_valid_for_provenance():
    long = facts.harmless("x" * 500)
    assert provenance.problems({"cpu_model": long}) == []
    assert facts.harmless("user@10.1.2.3:/home/user") == "user at 10.1.2-3: home or user"
    assert facts.harmless("Größe ®\n") == "Gr e (R)"
    assert facts.harmless(None) is None


# --- the checkout --------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    package = tmp_path / "project" / "uffdlab"
    _tree(package, {"__init__.py": ""})
    _run_git(package.parent, "init", "-q")
    _run_git(package.parent, "add", ".")
    _run_git(package.parent, "-c", "user.name=t", "-c", "user.email=t", "commit", "-q", "-m", "t")
    return package


def _run_git(directory: Path, *arguments: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    subprocess.run(["git", "-C", str(directory), *arguments], check=True, env=environment)


def test_commit_and_dirtiness_of_a_checkout(checkout, monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    commit, dirty = facts._checkout(checkout)
    assert commit is not None
    assert len(commit) == 40
    assert dirty is False
    (checkout.parent / "notes.txt").write_text("outside the package")
    assert facts._checkout(checkout)[1] is False
    (checkout / "new.py").write_text("")
    assert facts._checkout(checkout)[1] is True


def test_commit_of_another_user_s_checkout(checkout):
    if os.geteuid() != 0:
        pytest.skip("needs root to give files away")
    for path in (checkout.parent, checkout.parent / ".git"):
        os.chown(path, 65534, 65534)
    assert facts._checkout(checkout)[0] is not None


def test_no_commit_when_installed_below_another_project(checkout):
    installed = checkout.parent / "venv" / "site-packages" / "uffdlab"
    installed.mkdir(parents=True)
    assert facts._checkout(installed) == (None, None)


def test_no_commit_without_git(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert facts._checkout(checkout) == (None, None)


# --- memory ---------------------------------------------------------------------------------------------------

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNT = "33 23 0:29 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory"
MEMINFO = {"proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 4000000 kB"}


def test_cgroup_v2_takes_the_tightest_of_the_ancestors(tmp_path):
    root = _tree(
        tmp_path,
        {
            **MEMINFO,
            "proc/self/cgroup": "0::/slice/job",
            "proc/self/mountinfo": V2_MOUNT,
            "sys/fs/cgroup/slice/memory.max": str(1 << 30),
            "sys/fs/cgroup/slice/memory.current": str(900 << 20),
            "sys/fs/cgroup/slice/memory.stat": f"anon 1\ninactive_file {100 << 20}",
            "sys/fs/cgroup/slice/job/memory.max": "max",
            "sys/fs/cgroup/slice/job/memory.current": str(10 << 20),
        },
    )
    assert memory.cgroup_limit_kib(root) == 1 << 20
    assert memory.memory_available_kib(root) == (1024 - 900 + 100) << 10


def test_cgroup_v2_throttling_counts_for_headroom_but_is_no_limit(tmp_path):
    root = _tree(
        tmp_path,
        {
            **MEMINFO,
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/memory.max": "max",
            "sys/fs/cgroup/memory.high": str(512 << 20),
            "sys/fs/cgroup/memory.current": str(500 << 20),
        },
    )
    assert memory.cgroup_limit_kib(root) is None
    assert memory.memory_available_kib(root) == 12 << 10


def test_cgroup_v1_in_a_container_with_its_host_s_path(tmp_path):
    root = _tree(
        tmp_path,
        {
            **MEMINFO,
            "proc/self/cgroup": "5:cpu:/docker/abc\n4:memory:/docker/abc",
            "proc/self/mountinfo": V1_MOUNT.replace(" / /sys", " /docker/abc /sys"),
            "sys/fs/cgroup/memory/memory.limit_in_bytes": str(2 << 30),
            "sys/fs/cgroup/memory/memory.usage_in_bytes": str(1 << 30),
        },
    )
    assert memory.cgroup_limit_kib(root) == 2 << 20
    assert memory.memory_available_kib(root) == 1 << 20


def test_cgroup_v1_without_a_limit(tmp_path):
    root = _tree(
        tmp_path,
        {
            **MEMINFO,
            "proc/self/cgroup": "4:memory:/",
            "proc/self/mountinfo": V1_MOUNT,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        },
    )
    assert memory.cgroup_limit_kib(root) is None
    assert memory.memory_available_kib(root) == 4000000


def test_available_memory_is_unknown_without_proc(tmp_path):
    assert memory.memory_available_kib(tmp_path) is None
    assert memory.hugepages(2048, tmp_path) is None


def test_available_huge_pages_exclude_reserved_ones(tmp_path):
    pool = memory.hugepages(2048, _tree(tmp_path, INTEL))
    assert pool is not None
    assert pool.available == 7
    assert memory.hugepage_sizes_kib(tmp_path) == [2048]


# --- userfaultfd ----------------------------------------------------------------------------------------------


def _pretend(monkeypatch, answer: Answer) -> None:
    monkeypatch.setattr(asking, "ask", lambda _: answer)


def test_facts_list_the_features_of_an_old_kernel(monkeypatch):
    _pretend(monkeypatch, Answer("UFFDIO_API", result=0, via=2, features=0x1FF))
    answer = features.query()
    assert answer.available
    assert (answer.via, answer.user_mode_only) == ("syscall", False)
    assert answer.has("PAGEFAULT_FLAG_WP")
    assert not answer.has("WP_UNPOPULATED")


def test_features_are_unknown_when_the_open_is_refused(monkeypatch):
    _pretend(monkeypatch, Answer("open userfaultfd", errno=1))
    answer = features.query()
    assert (answer.available, answer.via, answer.features) == (False, None, 0)
    assert "open userfaultfd failed with EPERM" in (answer.why or "")


@pytest.mark.parametrize(("number", "has"), [(errno.ENOTTY, False), (errno.EPERM, None)])
def test_pagemap_scan_is_absent_on_enotty_and_unknown_when_refused(monkeypatch, number, has):
    _pretend(monkeypatch, Answer("PAGEMAP_SCAN", errno=number))
    assert facts.collect()["pagemap_scan"] is has


def test_without_the_extension(monkeypatch):
    def missing():
        raise UffdlabError("the extension was not built")

    monkeypatch.setattr(native, "probe", missing)
    with pytest.raises(UffdlabError, match="not built"):
        features.query()
    collected = facts.collect()
    assert [collected[key] for key in ("uffd_features", "pt_reclaim", "pagemap_scan", "compiler")] == [None] * 4


@pytest.mark.uffd
def test_facts_match_this_kernel_s_userfaultfd():
    if native.why_missing() is not None:
        pytest.skip("the native extension is not built")
    before = len(os.listdir("/proc/self/fd"))
    answer = features.query()
    if not answer.available:
        pytest.skip(f"userfaultfd cannot be opened here: {answer.why}")
    assert answer.has("PAGEFAULT_FLAG_WP")
    assert answer.ioctls >> 0x3F & 1, "UFFDIO_API itself"
    assert len(os.listdir("/proc/self/fd")) == before


def test_importing_host_loads_no_submodule():
    heavy = ["pandas", "plotly", "cffi", "uffdlab.native"]
    code = f"import sys, uffdlab.host; print([name for name in {heavy} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(Path(uffdlab.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("listed", "numbers"), [("0-3", [0, 1, 2, 3]), ("1,3-4,64", [1, 3, 4, 64]), ("7", [7]), ("", []), ("x-y", [])]
)
def test_allowed_cpus_are_parsed_from_ranges(tmp_path, listed, numbers):
    assert cpus.allowed(_tree(tmp_path, {"proc/self/status": f"Cpus_allowed_list:\t{listed}"})) == numbers


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux tells")
def test_allowed_cpus_match_sched_getaffinity():
    assert cpus.allowed() == sorted(os.sched_getaffinity(0))
