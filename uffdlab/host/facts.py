# SPDX-License-Identifier: MIT
"""Everything a dataset records about the machine it was measured on.

An unknown fact is None, never zero. Only keys of ``uffdlab.datasets.provenance.KEYS`` are filled, and text is reduced
to that module's alphabet, so that it holds no host name, user, path or address.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uffdlab
from uffdlab import native, rules, starting
from uffdlab.errors import UffdlabError
from uffdlab.host import asking, cpus, features, memory, pseudofiles, uapi

_THP = "sys/kernel/mm/transparent_hugepage"
_KHUGEPAGED_COUNTERS = ("pages_collapsed", "full_scans")  # results, not settings
_GIT_SECONDS = 10


def collect(seed: int | None = None, root: Path = Path("/")) -> dict[str, Any]:
    """Return the facts about package, machine, settings and userfaultfd; the campaign adds its own (suite,
    times).

    With another *root*, ``proc`` and ``sys`` are read there, and facts that only the running kernel has are None.
    The order is that of ``provenance.KEYS``; ``provenance.problems`` of the result is empty.
    """
    live = root == Path("/")
    return {
        **_package(seed),
        **_machine(root, live),
        **_settings(root),
        **_userfaultfd(root, live),
    }


# --- text -------------------------------------------------------------------------------------------------

_FORBIDDEN = re.compile(r"[^A-Za-z0-9 ()\[\]_.,:;+*%=<>#~-]+")
_LIKE_IPV4 = re.compile(r"(?<![\d.])(\d{1,3}\.\d{1,3}\.\d{1,3})\.(\d{1,3})(?![\d.])")
_MOST_CHARACTERS = 200


def harmless(text: str | None) -> str | None:
    """Return *text* in the alphabet of provenance: "/" becomes " or ", "@" " at ", other characters a space."""
    if text is None:
        return None
    spoken = re.sub(r"(?<=\w)/(?=\w)", " or ", text).replace("@", " at ").replace("®", "(R)")
    # A kernel release such as 5.15.153.1 reads like an address; a dash keeps all its numbers.
    spoken = _LIKE_IPV4.sub(r"\1-\2", spoken)
    return " ".join(_FORBIDDEN.sub(" ", spoken).split())[:_MOST_CHARACTERS].rstrip()


# --- the package ------------------------------------------------------------------------------------------


def _package(seed: int | None) -> dict[str, Any]:
    package = Path(uffdlab.__file__).resolve().parent
    commit, dirty = _checkout(package)
    if commit is None:
        commit, dirty = built_from(package)
    return {
        "uffdlab_version": harmless(uffdlab.__version__),
        "uffdlab_commit": commit,
        "uffdlab_dirty": dirty,
        "rules_registered": rules.count(),
        "python_version": harmless(platform.python_version()),
        "compiler": _compiler(),
        "seed": seed,
    }


def _checkout(package: Path) -> tuple[str | None, bool | None]:
    """Return commit and dirtiness of the package's own checkout; None and None where it has none.

    The checkout of another project, above an installed package, does not count.
    """
    commit = _git(package.parent, "rev-parse", "HEAD")
    if commit is None:
        return None, None
    committed = _git(package.parent, "ls-tree", "-r", "-z", "HEAD", "--", package.name)
    added = _git(package.parent, "ls-files", "--others", "--exclude-standard", "-z", "--", package.name)
    if committed is None or added is None:
        return commit.strip(), None
    return commit.strip(), bool(added) or any(_changed(package.parent, line) for line in committed.split("\0") if line)


def built_from(package: Path) -> tuple[str | None, bool | None]:
    """Return commit and dirtiness of the checkout that a wheel was built from; None and None where it does not say.

    The file is setup.py's. What does not read as a commit says nothing.
    """
    try:
        told = json.loads((package / "built_from.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None, None
    if not isinstance(told, dict) or not re.fullmatch(r"[0-9a-f]{40,64}", str(told.get("commit"))):
        return None, None
    dirty = told.get("dirty")
    return told["commit"], dirty if isinstance(dirty, bool) else None


def _changed(top: Path, entry: str) -> bool:
    """Return whether a file differs from its line of ``git ls-tree`` in mode, kind or content.

    ``git status`` would run the filters that the repository's configuration names.
    """
    about, _, name = entry.partition("\t")
    mode, _, expected = about.split(" ")
    try:
        status = os.lstat(top / name)
        content = (top / name).read_bytes() if stat.S_ISREG(status.st_mode) else b""
    except OSError:
        return True
    kind = hashlib.sha256 if len(expected) == 64 else hashlib.sha1
    return (
        not stat.S_ISREG(status.st_mode)
        or (mode == "100755") != bool(status.st_mode & stat.S_IXUSR)
        or kind(b"blob %d\0" % len(content) + content).hexdigest() != expected
    )


def _git(directory: Path, *arguments: str) -> str | None:
    """Return the output of git for the repository in the directory itself; None where git fails.

    Run nothing that the repository names: no monitor, hook, pager, filter or fetching helper; and use no repository in
    a parent directory, which another user may have put there. The repository itself may belong to another user.
    """
    program = starting.program("git")
    if program is None:
        return None
    options = ["-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}"]
    options += ["--no-optional-locks", "--no-pager"]
    environment = {name: value for name, value in starting.environment().items() if not name.startswith("GIT_")}
    environment |= {"GIT_CEILING_DIRECTORIES": str(directory.parent), "GIT_TERMINAL_PROMPT": "0"}
    environment |= {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": ""}
    try:
        done = subprocess.run(
            [program, *options, "-C", str(directory), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _compiler() -> str | None:
    try:
        ffi, lib = native.probe()
    except UffdlabError:
        return None
    return harmless(ffi.string(lib.ul_compiler()).decode("ascii", "replace"))


# --- the machine ------------------------------------------------------------------------------------------


def _machine(root: Path, live: bool) -> dict[str, Any]:
    cpu = pseudofiles.fields(root, "proc/cpuinfo")
    load = (pseudofiles.text(root, "proc/loadavg") or "").split()
    release = pseudofiles.text(root, "proc/sys/kernel/osrelease")
    return {
        "kernel_release": harmless(release or (platform.release() if live else None)),
        "architecture": harmless(platform.machine()) if live else None,
        "cpu_model": harmless(_cpu_model(cpu) or (platform.processor() if live else None)) or None,
        "cpu_microcode": harmless(
            cpu.get("microcode") or pseudofiles.text(root, "sys/devices/system/cpu/cpu0/microcode/version")
        ),
        "hypervisor": _hypervisor(cpu),
        "cores_online": len(cpus.allowed()) or os.cpu_count(),
        "memory_total_kib": memory.meminfo_kib("MemTotal", root),
        "cgroup_memory_limit_kib": memory.cgroup_limit_kib(root),
        "load_1min": _number(load[0]) if load else None,
        "clock_source": harmless(
            pseudofiles.text(root, "sys/devices/system/clocksource/clocksource0/current_clocksource")
        ),
        "mitigations": _mitigations(root),
    }


def _cpu_model(cpu: Mapping[str, str]) -> str | None:
    """Return the CPU's name, never from a field with a serial number (arm Serial, s390 identification)."""
    for name in ("model name", "cpu", "uarch", "cpu model"):
        if cpu.get(name):
            return cpu[name]
    if "CPU implementer" in cpu:  # arm64 gives numbers
        return f"implementer {cpu['CPU implementer']} part {cpu.get('CPU part', 'unknown')}"
    machine = re.search(r"machine = (\w+)", cpu.get("processor 0", ""))  # s390
    return f"{cpu.get('vendor_id', 's390')} machine {machine.group(1)}" if machine else None


def _hypervisor(cpu: Mapping[str, str]) -> bool | None:
    # Only x86 has this flag.
    return "hypervisor" in cpu["flags"].split() if cpu.get("flags") else None


def _mitigations(root: Path) -> dict[str, str | None] | None:
    directory = "sys/devices/system/cpu/vulnerabilities"
    names = pseudofiles.entries(root, directory)
    return {name: harmless(pseudofiles.text(root, f"{directory}/{name}")) for name in names} if names else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


# --- memory management settings ---------------------------------------------------------------------------


def _settings(root: Path) -> dict[str, Any]:
    return {
        "page_size_bytes": os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None,
        "thp_enabled": harmless(pseudofiles.choice(root, f"{_THP}/enabled")),
        "thp_defrag": harmless(pseudofiles.choice(root, f"{_THP}/defrag")),
        "thp_use_zero_page": pseudofiles.boolean(root, f"{_THP}/use_zero_page"),
        "thp_shrink_underused": pseudofiles.boolean(root, f"{_THP}/shrink_underused"),
        "thp_shmem_enabled": harmless(pseudofiles.choice(root, f"{_THP}/shmem_enabled")),
        "mthp_enabled": _mthp(root),
        "khugepaged": _khugepaged(root),
        "hugetlb_pools": _hugetlb(root),
        "ksm_run": pseudofiles.integer(root, "sys/kernel/mm/ksm/run"),
        "ksm_use_zero_pages": pseudofiles.boolean(root, "sys/kernel/mm/ksm/use_zero_pages"),
        "overcommit_memory": pseudofiles.integer(root, "proc/sys/vm/overcommit_memory"),
    }


def _mthp(root: Path) -> dict[str, str | None] | None:
    # Only sizes for anonymous memory: the smallest is for shmem alone and has no "enabled".
    sizes = sorted(
        int(match.group(1))
        for match in (re.fullmatch(r"hugepages-([0-9]+)kB", name) for name in pseudofiles.entries(root, _THP))
        if match and (root / _THP / match.group() / "enabled").exists()
    )
    return {
        str(size): harmless(pseudofiles.choice(root, f"{_THP}/hugepages-{size}kB/enabled")) for size in sizes
    } or None


def _khugepaged(root: Path) -> dict[str, int | None] | None:
    names = pseudofiles.entries(root, f"{_THP}/khugepaged")
    return {
        name: pseudofiles.integer(root, f"{_THP}/khugepaged/{name}")
        for name in names
        if name not in _KHUGEPAGED_COUNTERS
    } or None


def _hugetlb(root: Path) -> dict[str, dict[str, int | None]] | None:
    pools = [memory.hugepages(size, root) for size in memory.hugepage_sizes_kib(root)]
    return {
        str(pool.size_kib): {name: count for name, count in asdict(pool).items() if name != "size_kib"}
        for pool in pools
        if pool is not None
    } or None


# --- userfaultfd ------------------------------------------------------------------------------------------


def _userfaultfd(root: Path, live: bool) -> dict[str, Any]:
    answer = features.query_or_none() if live and sys.platform == "linux" else None
    offered = uapi.feature_names(answer.features) if answer is not None and answer.available else None
    return {
        "unprivileged_userfaultfd": pseudofiles.boolean(root, "proc/sys/vm/unprivileged_userfaultfd"),
        "uffd_opened_by": answer.via if answer is not None else None,
        "uffd_features": offered,
        # CONFIG_PTE_MARKER_UFFD_WP cannot be read; without it the kernel offers neither feature
        # (b1f9e876862d "mm/uffd: enable write protection for shmem & hugetlbfs", in v5.19).
        "pte_markers_uffd_wp": (
            None if offered is None else bool({"WP_UNPOPULATED", "WP_HUGETLBFS_SHMEM"} & set(offered))
        ),
        "pt_reclaim": _yes_or_no("PT_RECLAIM") if live else None,
        "pagemap_scan": _yes_or_no("PAGEMAP_SCAN") if live else None,
    }


def _yes_or_no(question: str) -> bool | None:
    """Return the answer to a yes-or-no question; None where it has none."""
    try:
        answer = asking.ask(question)
    except UffdlabError:
        return None
    if answer.errno == errno.ENOTTY:  # the kernel has no such ioctl
        return False
    return None if answer.result is None else bool(answer.result)
