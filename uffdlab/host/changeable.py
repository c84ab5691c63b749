# SPDX-License-Identifier: MIT
"""The host settings that uffdlab may change: file, valid values and current value of each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from uffdlab.errors import UffdlabError
from uffdlab.host import pseudofiles, swap
from uffdlab.host.conditions import Situation


@dataclass(frozen=True)
class Setting:
    """One host setting: its name here, its file under the root, and its valid values.

    A ``choice`` takes one of *values*, a ``number`` any that is not negative. A ``pool`` takes a number of
    hugetlb pages that must be available: free and not reserved. The pool grows by what is missing and never
    shrinks below its old size.

    ``undoing`` is written before the old value when the setting is restored, where the old value (the first of
    *values*) would only stop what the setting does: ksm/run 2 unmerges, 0 only stops. ``swap`` is a file of
    uffdlab's own: its size in KiB, and 0 where there is none (``uffdlab.host.swap``).
    """

    name: str
    path: str
    title: str
    kind: Literal["choice", "pool", "number", "swap"]
    values: tuple[str, ...] = ()
    undoing: str = ""

    def __str__(self) -> str:
        """Return name, title and file, for error messages."""
        return f"{self.name} ({self.title}, /{self.path})"

    def on_the_way_to(self, old: str) -> str | None:
        """Return the value to write before *old* when the setting is restored, or None."""
        return self.undoing if self.undoing and old == self.values[0] else None


def _pool(size_kib: int, title: str) -> Setting:
    path = f"sys/kernel/mm/hugepages/hugepages-{size_kib}kB/nr_hugepages"
    return Setting(f"hugetlb_{size_kib}", path, title, "pool")


_THP = "sys/kernel/mm/transparent_hugepage"
_KHUGEPAGED = f"{_THP}/khugepaged"
_KSM = "sys/kernel/mm/ksm"


def _by_size(size_kib: int, title: str) -> Setting:
    path = f"{_THP}/hugepages-{size_kib}kB/enabled"
    return Setting(f"mthp_{size_kib}", path, title, "choice", ("always", "inherit", "madvise", "never"))


SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        _pool(2048, "hugetlb pages of 2 MiB"),
        _pool(1048576, "hugetlb pages of 1 GiB"),
        Setting(
            "thp_enabled",
            f"{_THP}/enabled",
            "transparent huge pages",
            "choice",
            ("always", "madvise", "never"),
        ),
        _by_size(64, "huge pages of 64 KiB (mTHP)"),
        _by_size(2048, "huge pages of 2 MiB"),
        Setting("thp_use_zero_page", f"{_THP}/use_zero_page", "the huge zeropage", "choice", ("0", "1")),
        Setting(
            "khugepaged_pages_to_scan",
            f"{_KHUGEPAGED}/pages_to_scan",
            "pages khugepaged scans before it sleeps",
            "number",
        ),
        Setting(
            "khugepaged_sleep_millisecs",
            f"{_KHUGEPAGED}/scan_sleep_millisecs",
            "how long khugepaged sleeps, in ms",
            "number",
        ),
        # 0 stops KSM but keeps merged pages, and the mm_slots of exited processes; 2 unmerges all.
        Setting("ksm_run", f"{_KSM}/run", "whether KSM merges pages", "choice", ("0", "1", "2"), undoing="2"),
        Setting(
            "ksm_use_zero_pages",
            f"{_KSM}/use_zero_pages",
            "whether KSM merges zeros with the zeropage",
            "choice",
            ("0", "1"),
        ),
        Setting("swap_file_kib", "proc/swaps", "a swap file of uffdlab's own, in KiB", "swap"),
        Setting("ksm_pages_to_scan", f"{_KSM}/pages_to_scan", "pages KSM scans before it sleeps", "number"),
        Setting("ksm_sleep_millisecs", f"{_KSM}/sleep_millisecs", "how long KSM sleeps, in ms", "number"),
    )
}


def why_unchangeable(name: str, root: Path = Path("/")) -> str | None:
    """Return why the setting *name* cannot be changed by this process, or None if it can."""
    file = root / named(name).path
    if not file.exists():
        return "this kernel has no such setting"
    if named(name).kind == "swap":
        return None if Situation(root).superuser() else "only root may change it"
    if os.access(file, os.W_OK):
        return None
    now = Situation(root)
    if now.writable_sysfs() is False:
        return "/sys is mounted read-only"
    if not now.superuser():
        return "only root may change it"
    if now.user_namespace():
        return "it belongs to the user 0 of the host, and this process is user 0 of a user namespace only"
    return "a container or a security module keeps this process from setting it"


def current(name: str, root: Path = Path("/")) -> str | None:
    """Return the value of the setting *name* as it would be written, or None if this kernel has no such
    setting.

    For a pool: the number of persistent pages, without surplus pages.
    """
    setting = named(name)
    if setting.kind == "choice":
        return pseudofiles.choice(root, setting.path)
    if setting.kind == "swap":
        return str(swap.own_kib(root)) if (root / setting.path).exists() else None
    total = pseudofiles.integer(root, setting.path)
    if setting.kind == "number":
        return None if total is None else str(total)
    surplus = pseudofiles.integer(root, beside(setting, "surplus_hugepages")) or 0
    return None if total is None else str(total - surplus)


def named(name: str) -> Setting:
    """Return the setting of that name; UffdlabError when there is none."""
    if name not in SETTINGS:
        raise UffdlabError(f"no host setting is called {name!r}; known are {', '.join(SETTINGS)}")
    return SETTINGS[name]


def beside(setting: Setting, name: str) -> str:
    """Return the path of another file in the setting's directory."""
    return str(Path(setting.path).with_name(name))
