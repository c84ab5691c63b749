# SPDX-License-Identifier: MIT
"""The allow-list of facts that a dataset may record about its machine.

Every key of a dataset's provenance is registered here with its meaning and unit. There is no key for a host name, user,
path or network address, and free text is limited to a harmless alphabet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "integer", "number", "boolean", "names", "mapping"]


@dataclass(frozen=True)
class Key:
    """One fact that may be recorded: what it is, its type and, for a quantity, its unit."""

    title: str
    kind: Kind
    unit: str | None = None


KEYS: dict[str, Key] = {
    # the package that measured
    "uffdlab_version": Key("version of uffdlab that measured", "text"),
    "uffdlab_commit": Key("commit of uffdlab that measured", "text"),
    "uffdlab_dirty": Key("whether the package in that checkout had uncommitted changes", "boolean"),
    "rules_registered": Key("how many entries the register of rules had", "integer"),
    "python_version": Key("Python version", "text"),
    "compiler": Key("compiler that built the probes", "text"),
    "seed": Key("seed of the order of blocks", "integer"),
    "suite": Key("suite that was measured", "text"),
    "started_utc": Key("day the campaign started (UTC)", "text"),
    "duration_s": Key("how long the campaign took, the sum of its parts", "number", "s"),
    "resumed": Key("how often the campaign was interrupted and continued", "integer"),
    # the machine
    "kernel_release": Key("kernel release", "text"),
    "architecture": Key("architecture", "text"),
    "cpu_model": Key("CPU model", "text"),
    "cpu_microcode": Key("microcode revision", "text"),
    "hypervisor": Key("whether the CPU says it runs under a hypervisor", "boolean"),
    "cores_online": Key("CPUs this process may run on", "integer"),
    "memory_total_kib": Key("memory", "integer", "KiB"),
    "cgroup_memory_limit_kib": Key("memory limit of this control group", "integer", "KiB"),
    "load_1min": Key("load average over one minute, at start (of the busiest part)", "number"),
    "clock_source": Key("kernel clock source", "text"),
    "mitigations": Key("CPU vulnerabilities and what the kernel does about each", "mapping"),
    # memory management settings
    "page_size_bytes": Key("base page size", "integer", "B"),
    "thp_enabled": Key("transparent huge pages: enabled", "text"),
    "thp_defrag": Key("transparent huge pages: defrag", "text"),
    "thp_use_zero_page": Key("whether reads may map the huge zeropage", "boolean"),
    "thp_shrink_underused": Key("whether underused huge pages are split", "boolean"),
    "thp_shmem_enabled": Key("transparent huge pages for shmem", "text"),
    "mthp_enabled": Key("smaller huge pages (mTHP): enabled, by size in KiB", "mapping"),
    "khugepaged": Key("khugepaged settings", "mapping"),
    "hugetlb_pools": Key(
        "hugetlb pools while measuring: total / free / reserved / surplus / overcommit, by size in KiB", "mapping"
    ),
    "ksm_run": Key("KSM: run", "integer"),
    "ksm_use_zero_pages": Key("KSM: use_zero_pages", "boolean"),
    "overcommit_memory": Key("vm.overcommit_memory", "integer"),
    # userfaultfd
    "unprivileged_userfaultfd": Key("vm.unprivileged_userfaultfd", "boolean"),
    "uffd_opened_by": Key("how userfaultfd was opened", "text"),
    "uffd_features": Key("userfaultfd features the kernel offers", "names"),
    "pte_markers_uffd_wp": Key("whether the kernel has uffd-wp PTE markers", "boolean"),
    "pt_reclaim": Key("whether a discard of a whole 2 MiB frees its PTE table", "boolean"),
    "pagemap_scan": Key("whether PAGEMAP_SCAN exists", "boolean"),
}

# Letters, digits and the punctuation that kernel and CPU names use; no slash, so no path; no @, so no mail address.
_TEXT = re.compile(r"[A-Za-z0-9 ()\[\]_.,:;+*%=<>#~-]{0,200}\Z")
_IPV4 = re.compile(r"(?<![\d.])\d{1,3}(\.\d{1,3}){3}(?![\d.])")


def problems(facts: Mapping[str, Any]) -> list[str]:
    """Return one sentence per fact that may not be recorded: unknown key, wrong type, or text that could identify."""
    problems = []
    for name, value in facts.items():
        key = KEYS.get(name)
        if key is None:
            problems.append(f"{name!r} is not on the allow-list of provenance keys")
        elif value is not None and not _fits(key.kind, value):
            problems.append(f"{name!r} holds something other than harmless {key.kind}")
    return problems


def allowed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that may be recorded, dropping the rest."""
    return {name: value for name, value in facts.items() if not problems({name: value})}


def _fits(kind: Kind, value: Any) -> bool:
    if kind == "text":
        return isinstance(value, str) and _harmless(value)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "names":
        return isinstance(value, list) and all(isinstance(v, str) and _harmless(v) for v in value)
    return isinstance(value, dict) and all(isinstance(k, str) and _harmless(k) and _leaf(v) for k, v in value.items())


def _leaf(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _harmless(k) and _leaf(v) for k, v in value.items())
    return value is None or isinstance(value, (bool, int, float)) or (isinstance(value, str) and _harmless(value))


def _harmless(text: str) -> bool:
    return bool(_TEXT.match(text)) and not _IPV4.search(text)
