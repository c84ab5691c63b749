# SPDX-License-Identifier: MIT
"""An errno is explained by the request and its situation: kind of memory, control group, privilege."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import environment, uffdlab_run

from uffdlab import native
from uffdlab.host import deaths, doctor, errnos, memory, refusals, settings
from uffdlab.host.errnos import Request
from uffdlab.probes.requirements import Needs
from uffdlab.probes.userfault import Range, request_of
from uffdlab.vocabulary.backings import BACKINGS, MIB

EVERYTHING = "000001ffffffffff"
REQUESTS = {name: request_of(backing, 4 * backing.page_bytes) for name, backing in BACKINGS.items()}


def machine(
    root: Path, *, uid: int = 0, effective: str = EVERYTHING, seccomp: str = "0", uid_map: str = "0 0 4294967295"
) -> Path:
    """Make up a process and its system."""
    for path, content in {
        "proc/self/status": f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t{effective}\nSeccomp:\t{seccomp}\n",
        "proc/self/uid_map": uid_map,
        "proc/sys/vm/unprivileged_userfaultfd": "0",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content + "\n")
    return root


def rows() -> Iterator[tuple[str, int]]:
    """Yield every operation and errno of the table, with every advice that is a case of madvise."""
    for operation, number in refusals.TABLE:
        if operation == "*":
            continue
        yield operation, number
        if operation == "madvise":
            yield from ((advice, number) for advice in ("MADV_POPULATE_READ", "MADV_DONTNEED", "MADV_NOHUGEPAGE"))


# --- the request ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKINGS)
def test_no_cause_contradicts_the_kind_of_memory(name: str, tmp_path: Path) -> None:
    root, request = machine(tmp_path), REQUESTS[name]
    for operation, number in rows():
        if operation in ("write setting", "mmap hugetlb"):
            continue  # of no memory that is mapped already, or of hugetlb by name
        for cause in errnos.causes(operation, number, root, request):
            message = f"{operation} {number}: {cause.why} / {cause.remedy}"
            if not request.pool_kib:
                assert "huge page" not in cause.why.replace("transparent huge pages", ""), message
                assert "pool" not in cause.why, message
                assert not cause.why.startswith("on hugetlb"), message
                assert "hugetlb" not in cause.why or name == "shmem", message
            if request.kind == "anon":
                assert "shmem" not in cause.why, message
                assert "behind the mapping" not in cause.why, message
                assert "5.19" not in cause.remedy, message
            assert "not aligned" not in cause.why, message  # it is
            assert "file is sealed" not in cause.why, message
            assert "mmap_min_addr" not in cause.why, message


def test_unaligned_range_is_explained_by_its_page_size(tmp_path: Path) -> None:
    for name, what in (("anon", "not aligned to pages"), ("hugetlb_2m_private", "not aligned to the huge page size")):
        request = request_of(BACKINGS[name], 4096 + 1)
        causes = errnos.causes("UFFDIO_REGISTER", errno.EINVAL, tmp_path, request)
        assert what in causes[0].why
        assert sum("aligned" in cause.why for cause in causes) == 1


def test_explanation_repeats_memory_length_and_features() -> None:
    assert Range(BACKINGS["shmem"], 0, 8192).request.words() == [BACKINGS["shmem"].title, "8192 B"]
    assert REQUESTS["hugetlb_1g_shared"].pages == 4
    assert REQUESTS["anon"].pages is None
    sentence = errnos.explain("UFFDIO_REGISTER", errno.EBUSY, request=Request(memory="shmem", features=("MOVE",)))
    assert sentence.startswith("UFFDIO_REGISTER (shmem, features MOVE) failed with EBUSY (")


def test_sigbus_feature_is_a_cause_only_where_it_was_requested(tmp_path: Path) -> None:
    for features, named in (((), False), (("SIGBUS",), True), (None, True)):
        causes = errnos.causes("touch", errno.EFAULT, tmp_path, Request(kind="anon", features=features))
        assert any("as signals" in cause.why for cause in causes) is named


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EINVAL])
@pytest.mark.parametrize("operation", ["mmap", "MADV_DONTNEED", "PR_SET_PDEATHSIG", "UFFDIO_COPY", "sched_setaffinity"])
def test_seccomp_is_a_cause_only_under_a_filter(operation: str, number: int, tmp_path: Path) -> None:
    under = errnos.causes(operation, number, machine(tmp_path / "under", seccomp="2"), REQUESTS["anon"])
    without = errnos.causes(operation, number, machine(tmp_path / "without"), REQUESTS["anon"])
    assert [cause for cause in under if "seccomp" not in cause.why] == without
    assert "seccomp" in (under[0] if number != errno.EINVAL else under[-1]).why


def test_errno_the_kernel_never_returns_is_explained_by_seccomp(tmp_path: Path) -> None:
    (cause,) = errnos.causes("MADV_POPULATE_READ", errno.ENOTDIR, machine(tmp_path, seccomp="2"))
    assert "seccomp" in cause.why
    assert "madvise" in cause.remedy


def test_seccomp_is_no_cause_for_touching_memory_or_writing_settings(tmp_path: Path) -> None:
    root = machine(tmp_path, seccomp="2")
    for operation, number in (("touch", errno.EFAULT), ("write setting", errno.EPERM), ("pagemap", errno.EACCES)):
        assert not any("seccomp" in cause.why for cause in errnos.causes(operation, number, root))


# --- control groups --------------------------------------------------------------------------------------------------

V2 = {"proc/self/cgroup": "0::/pod/job", "dir": "sys/fs/cgroup", "names": ("max", "current")}
V1 = {
    "proc/self/cgroup": "7:cpu:/\n6:hugetlb:/pod/job",
    "dir": "sys/fs/cgroup/hugetlb",
    "names": ("limit_in_bytes", "usage_in_bytes"),
}
NO_LIMIT = {"max": "max", "limit_in_bytes": "9223372036854771712"}


def grouped(root: Path, version: dict[str, object], limits: dict[str, tuple[int | None, int]], free: int = 9) -> Path:
    """Make up a pool of 9 pages of 2 MiB and groups whose limits and usage are given in MiB."""
    machine(root)
    (root / "proc/self/cgroup").write_text(f"{version['proc/self/cgroup']}\n")
    pool = root / "sys/kernel/mm/hugepages/hugepages-2048kB"
    pool.mkdir(parents=True)
    for name, value in {"nr_hugepages": 9, "free_hugepages": free, "resv_hugepages": 0, "surplus_hugepages": 0}.items():
        (pool / name).write_text(f"{value}\n")
    assert isinstance(version["names"], tuple)
    limit, usage = version["names"]
    for where, (allowed, used) in limits.items():
        group, _, prefix = where.partition(":")
        directory = root / str(version["dir"]) / group
        directory.mkdir(parents=True, exist_ok=True)
        value = NO_LIMIT[limit] if allowed is None else str(allowed * MIB)
        (directory / f"hugetlb.2MB.{prefix}{limit}").write_text(value + "\n")
        (directory / f"hugetlb.2MB.{prefix}{usage}").write_text(f"{used * MIB}\n")
    return root


@pytest.mark.parametrize("version", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize(
    ("limits", "pages", "room", "name"),
    [
        ({"pod/job": (8, 2)}, 4, 3, "hugetlb.2MB."),
        ({"pod/job": (None, 2), "pod": (6, 6)}, 3, 0, "hugetlb.2MB."),
        ({"pod/job": (64, 2), "pod/job:rsvd.": (4, 0)}, 2, 2, "hugetlb.2MB.rsvd."),
        ({"pod/job": (3, 0)}, 1, 1, "hugetlb.2MB."),
        ({"pod/job": (2, 6)}, 1, 0, "hugetlb.2MB."),
    ],
)
def test_hugetlb_limit_is_the_tightest_of_the_ancestors(version, limits, pages, room, name, tmp_path: Path) -> None:
    limit = memory.hugetlb_limit(2048, grouped(tmp_path, version, limits))
    assert limit is not None
    assert (limit.pages, limit.room, limit.name) == (pages, room, name + version["names"][0])
    assert "pod" not in f"{limit} {limit.remedy}", "a group may bear a user's name"
    assert memory.hugetlb_limit(1 << 20, tmp_path) is None


@pytest.mark.parametrize("version", [V1, V2], ids=["v1", "v2"])
def test_unlimited_control_group_has_no_hugetlb_limit(version, tmp_path: Path) -> None:
    root = grouped(tmp_path, version, {"pod/job": (None, 2), "pod": (None, 4), "pod/job:rsvd.": (None, 0)})
    assert memory.hugetlb_limit(2048, root) is None
    causes = errnos.causes("touch", errno.EFAULT, root, REQUESTS["hugetlb_2m_private"])
    assert not any("control group" in cause.why or "pool" in cause.why for cause in causes)


@pytest.mark.parametrize(
    ("operation", "number"),
    [("touch", "EFAULT"), ("MADV_POPULATE_READ", "EFAULT"), ("UFFDIO_COPY", "ENOMEM"), ("mmap hugetlb", "ENOMEM")],
)
def test_full_control_group_is_the_cause_and_not_the_pool(operation: str, number: str, tmp_path: Path) -> None:
    root = grouped(tmp_path, V2, {"pod/job": (6, 6)})
    causes = errnos.causes(operation, getattr(errno, number), root, REQUESTS["hugetlb_2m_private"])
    assert causes[0].why == "the control group allows 0 more huge pages of 2048 KiB (limit: 3)"
    assert "hugetlb.2MB.max" in causes[0].remedy
    assert not any("pool" in cause.why for cause in causes)
    assert not any(
        "huge pages" in cause.why for cause in errnos.causes(operation, errno.EFAULT, root, REQUESTS["anon"])
    )


def test_empty_pool_is_the_cause_and_not_the_control_group(tmp_path: Path) -> None:
    root = grouped(tmp_path, V2, {"pod/job": (64, 6)}, free=0)
    causes = errnos.causes("touch", errno.EFAULT, root, REQUESTS["hugetlb_2m_private"])
    assert causes[0].why.startswith("the hugetlb pool holds too few")
    assert not any("control group" in cause.why for cause in causes)


def test_sigbus_is_explained_by_the_request_of_the_process(tmp_path: Path) -> None:
    root = grouped(tmp_path, V2, {"pod/job": (6, 0)})
    huge = Request(kind="hugetlb", pool_kib=2048, length_bytes=16 * MIB, gone=True)
    assert deaths.clause(7, huge, root=root).startswith(": the control group allows 3 more huge pages of 2048 KiB")
    assert "huge" not in deaths.clause(7, Request(kind="anon", gone=True), root=root)


def test_needs_respect_the_hugetlb_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = memory.HugeLimit(2048, 4, 3, "hugetlb.2MB.max")
    monkeypatch.setattr(memory, "hugetlb_limit", lambda size_kib: limit if size_kib == 2048 else None)
    monkeypatch.setattr(memory, "hugepages", lambda size_kib: memory.HugePool(size_kib, 99, 99, 0, 0, 0))
    assert Needs(hugepages={2048: 3}).missing() is None
    assert Needs(hugepages={1 << 20: 4}).missing() is None
    message = str(Needs(hugepages={2048: 4}).missing())
    assert message.startswith("needs 4 huge pages of 2048 KiB, and the control group allows 3 more")
    assert "hugetlb.2MB.max" in message


@pytest.mark.parametrize(
    ("limit", "ok", "message"),
    [((0, 0), False, "supported"), ((4, 0), False, "allows 4 pages, all in use"), ((4, 2), True, "allows 2 more")],
)
def test_doctor_reports_the_hugetlb_limit(limit: tuple[int, int], ok: bool, message: str) -> None:
    pool = memory.HugePool(2048, 8, 8, 0, 0, 0)
    found = doctor._pool("hugetlb 2 MiB", pool, "hugetlb_2048", memory.HugeLimit(2048, *limit, "hugetlb.2MB.max"))
    assert (found.ok, message in found.detail) == (ok, True)
    assert ok or "hugetlb.2MB.max" in str(found.remedy)


UNIFIED = next(
    (Path(p) for p in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup") if Path(p, "cgroup.procs").exists()), None
)


@contextlib.contextmanager
def group(pages: int) -> Iterator[Path]:
    """Make a control group that allows so many huge pages of 2 MiB, and remove it."""
    try:
        assert UNIFIED is not None
        held = (UNIFIED / "cgroup.subtree_control").read_text().split()
        (UNIFIED / "cgroup.subtree_control").write_text("+hugetlb")
        made = UNIFIED / f"uffdlab-test-{os.getpid()}"
        made.mkdir()
        (made / "hugetlb.2MB.max").write_text(str(pages * 2 * MIB))
    except (OSError, AssertionError) as error:
        pytest.skip(f"no control group of version 2 with a limit on huge pages can be made here ({error})")
    try:
        yield made
    finally:
        made.rmdir()
        if "hugetlb" not in held:
            (UNIFIED / "cgroup.subtree_control").write_text("-hugetlb")


@pytest.mark.uffd
@pytest.mark.skipif(native.why_missing() is not None, reason=str(native.why_missing()))
def test_hugetlb_limit_of_a_real_control_group_is_reported(changeable_pool: None, tmp_path: Path) -> None:
    with group(2) as made, settings.changed({"hugetlb_2048": 8}, allow=True):

        def inside() -> None:
            (made / "cgroup.procs").write_text(str(os.getpid()))

        done = uffdlab_run("doctor", cwd=tmp_path, preexec_fn=inside)
        assert "the control group allows 2" in " ".join(done.stdout.split())
        point = ("measure", "protect", "--backing=hugetlb_2m_private", "--design=preread", "--size=16MiB")
        done = uffdlab_run(*point, cwd=tmp_path, preexec_fn=inside)
        assert "needs 8 huge pages of 2048 KiB, and the control group allows 2 more" in done.stderr
        code = """
from uffdlab.vocabulary.backings import BACKINGS, MIB
from uffdlab.probes.userfault import KernelRefused, mapped
for step in (lambda m: m.touch(1), lambda m: m.populate_read()):
    with mapped(BACKINGS["hugetlb_2m_private"], 16 * MIB) as memory:
        try:
            step(memory)
        except KernelRefused as refusal:
            print(refusal)
"""
        refused = subprocess.run(
            [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, preexec_fn=inside
        )
        message = refused.stdout.splitlines()
        assert len(message) == 2, refused.stderr
        assert all(": the control group allows 0 more huge pages of 2048 KiB (limit: 2)" in line for line in message)


# --- privilege -------------------------------------------------------------------------------------------------------

IN_A_NAMESPACE = "0 1000 1"


def _messages(root: Path) -> str:
    sentences = [errnos.explain(operation, number, root=root) for operation, number in rows()]
    sentences += [why for name in settings.SETTINGS if (why := settings.why_unchangeable(name, root))]
    return "\n".join(sentences)


@pytest.mark.parametrize("uid_map", ["0 0 4294967295", IN_A_NAMESPACE])
@pytest.mark.parametrize("effective", [EVERYTHING, "0" * 16])
def test_remedies_for_root_never_name_root(uid_map: str, effective: str, tmp_path: Path) -> None:
    message = _messages(machine(tmp_path, effective=effective, uid_map=uid_map))
    for wrong in ("as root", "only root", "be root"):
        assert wrong not in message


def test_remedies_for_a_plain_user_name_root_and_capability(tmp_path: Path) -> None:
    message = _messages(machine(tmp_path, uid=1000, effective="0" * 16))
    assert "run as root or with CAP_SYS_PTRACE" in message
    assert "only root may write it" in message


def test_capabilities_of_a_user_namespace_do_not_count(tmp_path: Path) -> None:
    causes = errnos.causes("open userfaultfd", errno.EPERM, machine(tmp_path, uid_map=IN_A_NAMESPACE))
    (cause,) = [cause for cause in causes if "CAP_SYS_PTRACE" in cause.why]
    assert "run outside this user namespace, with CAP_SYS_PTRACE" in cause.remedy
    assert not errnos.causes("UFFDIO_API", errno.EPERM, machine(tmp_path))


def test_remedy_for_root_without_capabilities_names_the_capability(tmp_path: Path) -> None:
    message = errnos.explain("open userfaultfd", errno.EPERM, root=machine(tmp_path, effective="0" * 16))
    assert "give this process CAP_SYS_PTRACE (a container: --cap-add=SYS_PTRACE)" in message


DROPPED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]


@pytest.mark.uffd
@pytest.mark.parametrize(
    "arguments", [("doctor",), ("measure", "protect", "--size=4MiB", "--repeats=2"), ("measure", "merging")]
)
def test_commands_never_advise_root_to_root_without_capabilities(arguments: tuple[str, ...], tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv to give its capabilities away")
    done = uffdlab_run(*arguments, cwd=tmp_path, command=[*DROPPED, sys.executable, "-m", "uffdlab"])
    assert done.returncode in (0, 2), done.stderr
    for wrong in ("as root", "only root", "Traceback"):
        assert wrong not in " ".join((done.stdout + done.stderr).split())
