# SPDX-License-Identifier: MIT
"""The doctor works as root, as nobody, without the extension and off Linux, and explains what is missing."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from uffdlab import native
from uffdlab.datasets import provenance
from uffdlab.errors import UffdlabError
from uffdlab.host import asking, doctor, features, memory, settings, uapi
from uffdlab.host.asking import Answer

NAMES = [
    "native extension",
    "userfaultfd",
    "PAGEFAULT_FLAG_WP",
    "WP_HUGETLBFS_SHMEM",
    "WP_UNPOPULATED",
    "WP_ASYNC",
    "MOVE",
    "POISON",
    "PTE markers",
    "PAGEMAP_SCAN",
    "MADV_POPULATE_READ",
    "PT_RECLAIM",
    "child processes",
    "pinned threads",
    "soft-dirty bits",
    "transparent huge pages",
    "hugetlb 2 MiB",
    "hugetlb 1 GiB",
    "change host settings",
    "Chromium",
]


def _by_name(report: doctor.Report) -> dict[str, doctor.Capability]:
    return {capability.name: capability for capability in report.capabilities}


def _check_text(report: doctor.Report) -> str:
    text = doctor.text(report)
    assert all(len(line) <= 80 for line in text.splitlines()), text
    assert ".." not in text
    for capability in report.capabilities:
        assert capability.name in text
    return text


def _pretend(monkeypatch, answer: features.Userfaultfd) -> None:
    monkeypatch.setattr(features, "query", lambda: answer)
    monkeypatch.setattr(native, "why_missing", lambda: None)


def test_doctor_examines_this_host():
    report = doctor.examine()
    capabilities = json.loads(json.dumps(report.as_dict()))
    if sys.platform == "linux":
        assert [c["name"] for c in capabilities["capabilities"]] == NAMES
    assert set(capabilities["capabilities"][0]) == {"name", "ok", "detail", "since", "cause", "remedy"}
    assert provenance.problems(capabilities["host"]) == []
    for capability in report.capabilities:
        assert (capability.ok is True) == (capability.cause is None)
        assert (capability.ok is True) == (capability.remedy is None)
    _check_text(report)


def test_missing_features_of_an_old_kernel_name_their_version(monkeypatch):
    _pretend(monkeypatch, features.Userfaultfd("syscall", False, 0x1FF, 1))
    report = doctor.examine()
    capabilities = _by_name(report)
    assert capabilities["userfaultfd"].detail == "opened by syscall; faults from user and kernel mode"
    assert capabilities["PAGEFAULT_FLAG_WP"].ok is True
    for name in ("WP_HUGETLBFS_SHMEM", "WP_UNPOPULATED", "WP_ASYNC", "PTE markers"):
        assert capabilities[name].ok is False
        assert capabilities[name].since
    text = " ".join(_check_text(report).split())
    assert "WP_UNPOPULATED (since Linux 6.4): this kernel does not offer it" in text
    assert "Remedy: use Linux 6.4 or later" in text


def test_features_are_unknown_when_userfaultfd_is_refused(monkeypatch):
    _pretend(monkeypatch, features.Userfaultfd(refused=Answer("open userfaultfd", errno=38)))
    report = doctor.examine()
    capabilities = _by_name(report)
    assert capabilities["userfaultfd"].ok is False
    assert capabilities["userfaultfd"].detail == "open userfaultfd: Function not implemented"
    assert capabilities["WP_UNPOPULATED"].ok is None
    assert capabilities["PTE markers"].ok is None
    assert "  ?    WP_UNPOPULATED" in _check_text(report)


def test_without_the_extension(monkeypatch):
    def missing():
        raise UffdlabError("the extension was not built: install gcc")

    monkeypatch.setattr(native, "probe", missing)
    report = doctor.examine()
    capabilities = _by_name(report)
    assert capabilities["native extension"].ok is False
    assert "install gcc" in (capabilities["native extension"].cause or "")
    assert {capabilities[name].ok for name in ("userfaultfd", "WP_ASYNC", "PAGEMAP_SCAN", "PT_RECLAIM")} == {None}
    assert _check_text(report).endswith("recorded data and notebooks work all the same.\n")


def test_doctor_works_off_linux(monkeypatch):
    def missing():
        raise UffdlabError("nothing can be measured on darwin: the probes need Linux")

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(native, "probe", missing)
    report = doctor.examine()
    assert [c.name for c in report.capabilities] == ["native extension", "Chromium"]
    text = _check_text(report)
    assert text.startswith("uffdlab on darwin")
    assert "measure on a Linux machine" in " ".join(text.split())


@pytest.mark.parametrize(
    ("pool", "why", "ok", "word"),
    [
        (None, None, False, "no such page size"),
        (memory.HugePool(2048, 8, 8, 0, 0, 0), "only root may change it", True, "8 of 8 pages free"),
        (memory.HugePool(2048, 8, 3, 3, 0, 0), "only root may change it", False, "0 of 8 pages free"),
        (memory.HugePool(2048, 0, 0, 0, 0, 0), None, True, "--allow-host-changes can reserve some"),
        (memory.HugePool(2048, 0, None, None, None, None), None, None, "supported"),
    ],
)
def test_doctor_reports_hugetlb_pools(monkeypatch, pool, why, ok, word):
    monkeypatch.setattr(settings, "why_unchangeable", lambda name, root=None: why)
    capability = doctor._pool("hugetlb 2 MiB", pool, "hugetlb_2048")
    assert capability.ok is ok
    assert word in capability.detail


@pytest.mark.parametrize(("enabled", "ok"), [("always", True), ("madvise", True), ("never", False), (None, False)])
def test_doctor_reports_transparent_huge_pages(enabled, ok):
    assert doctor._thp(enabled).ok is ok


def test_features_of_linux_7_3_are_reported_by_name(monkeypatch):
    _pretend(monkeypatch, features.Userfaultfd("device", True, 0x7FFFF, 1))
    report = doctor.examine()
    assert _by_name(report)["RWP"].ok is True
    assert report.host["uffd_features"][-2:] == ["RWP", "RWP_ASYNC"]
    assert "bit1" not in _check_text(report)


ANSWERS = {
    "refused": (Answer("MADV_POPULATE_READ", errno=22), False, f"use Linux {uapi.MADV_POPULATE_READ_SINCE} or later"),
    "killed": (Answer("MADV_POPULATE_READ", signal=31, system_call=28), False, "a seccomp profile that allows madvise"),
    "killed by another process": (Answer("MADV_POPULATE_READ", signal=9), False, "kernel log"),
    "silent": (Answer("MADV_POPULATE_READ", silent=True), False, "kernel log"),
    "not asked": (Answer(asking.START_PROCESS, errno=11), None, "ulimit -u"),
}


@pytest.mark.parametrize(("answer", "ok", "remedy"), ANSWERS.values(), ids=ANSWERS)
def test_doctor_explains_every_outcome_of_a_tried_operation(monkeypatch, answer, ok, remedy):
    if native.why_missing() is not None:
        pytest.skip("the native extension is not built")
    monkeypatch.setattr(asking, "ask", lambda _: answer)
    report = doctor.examine()
    capabilities = _by_name(report)["MADV_POPULATE_READ"]
    assert capabilities.ok is ok
    assert remedy in (capabilities.remedy or "")
    assert _by_name(report)["child processes"].ok is False
    _check_text(report)


def test_doctor_explains_missing_privileges(tmp_path):
    """As nobody, capabilities without privilege are found and the others are explained."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs root to become nobody")
    capabilities = {c["name"]: c for c in _examined_by_nobody(tmp_path)["capabilities"]}
    assert list(capabilities) == NAMES
    assert capabilities["change host settings"]["ok"] is False
    assert capabilities["change host settings"]["cause"] in ("only root may change it", "/sys is mounted read-only")
    if native.why_missing() is None and capabilities["userfaultfd"]["ok"]:
        assert capabilities["userfaultfd"]["detail"].startswith("opened by syscall")
    else:
        assert capabilities["userfaultfd"]["cause"]


def _examined_by_nobody(directory: Path) -> dict[str, Any]:
    """Return the report of a forked child that gave up root: nobody could perhaps not start this Python."""
    answer = directory / "report.json"
    with answer.open("w") as stream:
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                # Changing the user made /proc/self root's; starting a program would have undone that.
                ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE
                settings.restore_leftovers()
                report = doctor.examine()
                doctor.text(report)
                json.dump(report.as_dict(), stream)
                stream.flush()
                code = 0
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return json.loads(answer.read_text())
