# SPDX-License-Identifier: MIT
"""What uffdlab can do on this host; for what it cannot: cause and remedy."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from uffdlab import native, starting
from uffdlab.errors import UffdlabError
from uffdlab.host import asking, facts, features, memory, settings, uapi
from uffdlab.host.asking import Answer
from uffdlab.host.conditions import Situation

_COLUMNS = 80

# The features in the order of what depends on them; those after WP_ASYNC are only reported.
_FEATURES = ("PAGEFAULT_FLAG_WP", "WP_HUGETLBFS_SHMEM", "WP_UNPOPULATED", "WP_ASYNC", "MOVE", "POISON")
# Reported only where they are offered.
_RECENT_FEATURES = ("RWP", "RWP_ASYNC")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_HUGE = ((2048, "hugetlb 2 MiB"), (1048576, "hugetlb 1 GiB"))


@dataclass(frozen=True)
class Capability:
    """One thing uffdlab uses. ``ok`` is None when that is unknown; ``since`` is a kernel version."""

    name: str
    ok: bool | None
    detail: str
    since: str | None = None
    cause: str | None = None
    remedy: str | None = None

    def lacking(self, cause: str, remedy: str, ok: bool | None = False) -> Capability:
        """Return it as not there, with cause and remedy; ``ok`` is None where that is unknown."""
        return replace(self, ok=ok, cause=cause, remedy=remedy)


@dataclass(frozen=True)
class Report:
    """The facts of the host (keys of ``uffdlab.datasets.provenance``) and its capabilities."""

    host: Mapping[str, Any]
    capabilities: tuple[Capability, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the report in types that JSON knows."""
        return {"host": dict(self.host), "capabilities": [asdict(c) for c in self.capabilities]}


def examine() -> Report:
    """Examine the running host; works without root, without the extension and off Linux, and changes nothing."""
    host = facts.collect()
    if sys.platform == "linux":
        return Report(host, (_extension(host), *_kernel(host), *_pools(), _changes(), _browser()))
    return Report(host, (_extension(host), _browser()))


# --- one function per group of capabilities ---------------------------------------------------------------


def _extension(host: Mapping[str, Any]) -> Capability:
    missing = native.why_missing()
    found = Capability("native extension", True, f"built by {host['compiler'] or 'an unknown compiler'}")
    if missing is None:
        return found
    if sys.platform != "linux":
        remedy = "measure on a Linux machine; notebooks and recorded data work here"
        return replace(found, detail="measures; needs Linux").lacking(missing, remedy)
    return replace(found, detail="not there").lacking(missing, "build it; until then, read data")


def _kernel(host: Mapping[str, Any]) -> list[Capability]:
    answer = features.query_or_none()
    return [
        _userfaultfd(answer),
        *(_feature(name, answer) for name in _FEATURES),
        *(_feature(name, answer) for name in _RECENT_FEATURES if answer is not None and answer.has(name)),
        _markers(host["pte_markers_uffd_wp"]),
        _tried("PAGEMAP_SCAN", "PAGEMAP_SCAN", "finds written pages and holes", uapi.PAGEMAP_SCAN_SINCE),
        _tried(
            "MADV_POPULATE_READ",
            "POPULATE_READ",
            "populates a range without a read loop",
            uapi.MADV_POPULATE_READ_SINCE,
        ),
        _tried("PT_RECLAIM", "PT_RECLAIM", "a discard of a whole 2 MiB frees its page table", "6.14", _NOT_RECLAIMED),
        _tried("child processes", "DIE_WITH_PARENT", "a measurement is one, and ends with uffdlab"),
        _tried("pinned threads", "PINNED_THREAD", "handlers of events, and threads that race"),
        _tried("soft-dirty bits", "SOFT_DIRTY", "a tracker of writes, by clear_refs and pagemap", "3.11", _NOT_DIRTY),
        _thp(host["thp_enabled"]),
    ]


def _userfaultfd(answer: features.Userfaultfd | None) -> Capability:
    name, since = "userfaultfd", "4.3"
    if answer is None:
        return _not_asked(name, since)
    if answer.available:
        where = "faults from user mode only" if answer.user_mode_only else "faults from user and kernel mode"
        return Capability(name, True, f"opened by {answer.via}; {where}", since)
    assert answer.refused is not None
    return _refused(Capability(name, False, _how_refused(answer.refused), since), answer.refused)


def _how_refused(answer: Answer) -> str:
    if answer.errno is not None:
        return f"{answer.operation}: {os.strerror(answer.errno)}"
    return f"{answer.operation}: {'no answer' if answer.silent else 'kills the process'}"


def _refused(wanted: Capability, answer: Answer) -> Capability:
    """Return a capability that a question did not find; unknown where no child process could be started."""
    likely = answer.likely()
    return wanted.lacking(
        "; or ".join(cause.why for cause in likely) or answer.why(),
        "; or ".join(dict.fromkeys(cause.remedy for cause in likely)) or "see the kernel log",
        ok=None if answer.operation == asking.START_PROCESS and wanted.name != "child processes" else False,
    )


def _tried(
    name: str, question: str, detail: str, since: str | None = None, if_zero: tuple[str, str] | None = None
) -> Capability:
    """Return a capability that a child process tries, with cause and remedy where it fails.

    ``if_zero`` has both for the answer 0, if that means no.
    """
    found = Capability(name, True, detail, since)
    try:
        answer = asking.ask(question)
    except UffdlabError:
        return _not_tried(found)
    if answer.result is None:
        return _refused(found, answer)
    return found if answer.result or if_zero is None else found.lacking(*if_zero)


_NOT_DIRTY = (
    "this kernel was built without CONFIG_MEM_SOFT_DIRTY, or its architecture has no such bits",
    "none is needed: trackers are measured without them",
)
_NOT_RECLAIMED = ("the page table stayed after the discard", "none is needed: it is recorded with each dataset")


def _feature(name: str, answer: features.Userfaultfd | None) -> Capability:
    feature = uapi.feature(name)
    if answer is None:
        return _not_asked(name, feature.since)
    found = Capability(name, True, feature.what, feature.since)
    if not answer.available:
        return found.lacking("userfaultfd cannot be opened, so its features are unknown", "see userfaultfd", ok=None)
    if not answer.has(name):
        return found.lacking(
            "this kernel does not offer it: too old, or its architecture or configuration lacks it",
            f"use Linux {feature.since} or later on x86_64; data of other kernels can be read here",
        )
    if name == "PAGEFAULT_FLAG_WP":  # the base of all probes is tried, not only looked up
        return _tried(name, "PROTECT", feature.what, feature.since)
    return found


def _markers(has: bool | None) -> Capability:
    found = Capability("PTE markers", True, "an empty entry can remember that it is protected", "5.19")
    if has is None:
        return _not_tried(found)
    remedy = f"use Linux {found.since} or later on x86_64"
    return found if has else found.lacking("no feature that needs them is offered", remedy)


def _thp(enabled: str | None) -> Capability:
    found = Capability("transparent huge pages", True, f"enabled: {enabled}", "2.6.38")
    if enabled in ("always", "madvise"):
        return found
    if enabled is None:
        return replace(found, detail="not in this kernel").lacking(
            "the kernel was built without CONFIG_TRANSPARENT_HUGEPAGE, or /sys is not mounted",
            "use a kernel that has them; probes with 4 KiB pages run all the same",
        )
    return found.lacking(
        "they are switched off",
        f"give --allow-host-changes{_as_root()}, or write madvise to /{settings.SETTINGS['thp_enabled'].path}",
    )


def _pools() -> list[Capability]:
    return [
        _pool(name, memory.hugepages(size_kib), f"hugetlb_{size_kib}", memory.hugetlb_limit(size_kib))
        for size_kib, name in _HUGE
    ]


def _pool(name: str, pool: memory.HugePool | None, setting: str, limit: memory.HugeLimit | None = None) -> Capability:
    if pool is None:
        return Capability(name, False, "no such page size").lacking(
            "CPU, architecture or kernel configuration (CONFIG_HUGETLBFS) lacks it",
            "use an x86_64 kernel with CONFIG_HUGETLBFS; 1 GiB pages need the CPU flag pdpe1gb",
        )
    if limit is not None and limit.room == 0:
        detail = f"supported; the control group allows {limit.pages} pages, all in use" if limit.pages else "supported"
        return Capability(name, False, detail).lacking(str(limit), limit.remedy)
    if pool.available is None:
        return Capability(name, None, "supported").lacking(
            "free_hugepages of the pool cannot be read", "mount /sys", ok=None
        )
    allowed = f"; the control group allows {limit.room} more" if limit is not None else ""
    if pool.available > 0:
        return Capability(name, True, f"supported; {pool.available} of {pool.total} pages free{allowed}")
    if settings.why_unchangeable(setting) is None:
        return Capability(name, True, f"supported; no page free, but --allow-host-changes can reserve some{allowed}")
    return Capability(name, False, f"supported; 0 of {pool.total} pages free").lacking(
        "the pool has no free page",
        f"on the host{_as_root()}, write a number of pages to /{settings.SETTINGS[setting].path}",
    )


def _as_root() -> str:
    """Return " as root" for remedies, empty for user 0."""
    return "" if Situation().superuser() else " as root"


def _changes() -> Capability:
    refused = {name: why for name in settings.SETTINGS if (why := settings.why_unchangeable(name)) is not None}
    name = "change host settings"
    possible = [setting for setting in settings.SETTINGS if setting not in refused]
    if possible:
        return Capability(name, True, f"with --allow-host-changes: {', '.join(possible)}")
    return Capability(name, False, "only what is set up already can be measured").lacking(
        "; ".join(dict.fromkeys(refused.values())), f"run{_as_root()} on the host itself, outside of containers"
    )


def _browser() -> Capability:
    found = next((name for name in _BROWSERS if starting.program(name)), None)
    if found:
        return Capability("Chromium", True, f"{found}; only tests and screenshots need it")
    return Capability("Chromium", False, "only tests and screenshots need it").lacking(
        f"none of {', '.join(_BROWSERS)} is on the PATH", "install your distribution's chromium"
    )


def _not_asked(name: str, since: str) -> Capability:
    return Capability(name, None, "not asked", since, "the native extension is missing", "see native extension")


def _not_tried(wanted: Capability) -> Capability:
    return wanted.lacking("it could not be tried", "see native extension and userfaultfd", ok=None)


# --- as text ----------------------------------------------------------------------------------------------

_WORDS = {True: "yes", False: "no", None: "?"}


def text(report: Report) -> str:
    """Return the report in 80 columns: a table, then a paragraph for each missing capability."""
    width = max(len(c.name) for c in report.capabilities)
    rows = [_row(c, width) for c in report.capabilities]
    missing = [_paragraph(c) for c in report.capabilities if c.ok is not True]
    parts = [_headline(report.host), "\n".join(rows)]
    if missing:
        parts.append("\n".join(["What is missing, and what would help", "", *missing]))
    parts.append(_wrapped(_verdict(report)))
    return "\n\n".join(parts) + "\n"


def _headline(host: Mapping[str, Any]) -> str:
    memory_kib = host.get("memory_total_kib")
    known = [
        f"{'Linux' if sys.platform == 'linux' else sys.platform} {host.get('kernel_release') or ''}".strip(),
        host.get("architecture"),
        host.get("cpu_model"),
        f"{host['cores_online']} CPUs" if host.get("cores_online") else None,
        f"{memory_kib / (1 << 20):.1f} GiB" if memory_kib else None,
        "under a hypervisor" if host.get("hypervisor") else None,
    ]
    return _wrapped("uffdlab on " + ", ".join(str(item) for item in known if item))


def _row(capability: Capability, width: int) -> str:
    head = f"  {_WORDS[capability.ok]:<3}  {capability.name:<{width}}  "
    return _wrapped(capability.detail, head, " " * len(head))


def _paragraph(capability: Capability) -> str:
    since = f" (since Linux {capability.since})" if capability.since else ""
    sentence = f"{capability.name}{since}: {capability.cause or 'cause unknown'}."
    if capability.remedy:
        sentence += f" Remedy: {capability.remedy}."
    return _wrapped(sentence.replace("..", "."), "  ", "      ")


def _verdict(report: Report) -> str:
    total, here = len(report.capabilities), sum(c.ok is True for c in report.capabilities)
    if here == total:
        return "Everything uffdlab uses is here."
    if native.why_missing() is not None:
        return "Nothing can be measured here; recorded data and notebooks work all the same."
    return f"{here} of {total} are here; a probe that needs one of the others is skipped and says so."


def _wrapped(sentence: str, first: str = "", others: str = "  ") -> str:
    """Return a sentence in lines, each with its indent."""
    return textwrap.fill(sentence, _COLUMNS, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
