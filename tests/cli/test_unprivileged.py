# SPDX-License-Identifier: MIT
"""The command line as an unprivileged user: what works, what is refused, and for which cause."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filters
import pytest
from running import PACKAGE_ROOT, sentence, uffdlab_run
from targets import PRELUDE

from uffdlab import datasets, native
from uffdlab.host import ksm

NOBODY = 65534
SYSCTL = Path("/proc/sys/vm/unprivileged_userfaultfd")
POINT = ("measure", "protect", "--size=4MiB", "--repeats=2")

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else"),
    pytest.mark.skipif(native.why_missing() is not None, reason=str(native.why_missing())),
]


@dataclass(frozen=True)
class Nobody:
    """An unprivileged user with a Python it may run and its own directory."""

    python: str
    home: Path
    path: str

    def filtered(self, answer: str, call: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run uffdlab as this user, under a seccomp filter on one system call."""
        become = Path(filters.__file__).read_text(encoding="utf-8")  # the file itself may be closed to this user
        return self.run(*arguments, before=["-c", become, answer, call, self.python])

    def run(
        self, *arguments: str | Path, before: Sequence[str] = (), starter: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run uffdlab as this user; ``before`` comes between Python and ``-m uffdlab``, ``starter`` before both."""
        options: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        environment = {"PATH": os.defpath, "PYTHONPATH": self.path, "HOME": str(self.home), "COLUMNS": "80"}
        command = [*starter, self.python, *before, "-m", "uffdlab"]
        return uffdlab_run(*arguments, cwd=self.home, command=command, env=environment, **options)


# What the commands tested here import, for where the environment itself is closed to other users.
NEEDED = ("cffi", "pycparser", "pandas", "numpy", "numpy.libs", "dateutil", "rich", "markdown_it", "mdurl", "pygments")
SINGLE_FILES = ("_cffi_backend*.so", "six.py", "reedsolo.py")


@pytest.fixture(scope="module")
def nobody() -> Iterator[Nobody]:
    """Python, packages or checkout may be closed to other users: then another Python, and copies of the rest."""
    home = Path(tempfile.mkdtemp(prefix="uffdlab-nobody-"))
    try:
        os.chown(home, NOBODY, NOBODY)
        installed = [path for path in sys.path if path.endswith("-packages")]
        in_place = os.pathsep.join([str(PACKAGE_ROOT), *installed])
        pythons = [sys.executable, *(p for p in [shutil.which("python3", path=os.defpath)] if p)]
        for user in (Nobody(python, home, path) for path in (in_place, str(home / "copies")) for python in pythons):
            if user.path != in_place and not Path(user.path).exists():
                _copy_packages([Path(path) for path in installed], Path(user.path))
            if _can_run(user):
                yield user
                return
        pytest.skip(f"no other user may run Python with the packages here: tried {', '.join(pythons)}")
    finally:
        shutil.rmtree(home)


def _can_run(user: Nobody) -> bool:
    try:
        return user.run(before=["-c", "import uffdlab.native._probe, pandas, rich"]).returncode == 0
    except PermissionError:
        return False


def _copy_packages(installed: Sequence[Path], to: Path) -> None:
    shutil.copytree(PACKAGE_ROOT / "uffdlab", to / "uffdlab")
    for directory in installed:
        for part in (directory / name for name in NEEDED if (directory / name).is_dir()):
            shutil.copytree(part, to / part.name, dirs_exist_ok=True)
        for file in (file for pattern in SINGLE_FILES for file in directory.glob(pattern)):
            shutil.copy(file, to)


@pytest.fixture(params=["0", "1"])
def sysctl(request: pytest.FixtureRequest) -> Iterator[str]:
    """vm.unprivileged_userfaultfd at 0, then at 1, restored afterwards."""
    try:
        before = SYSCTL.read_text()
        SYSCTL.write_text(request.param)
    except OSError as error:
        pytest.skip(f"vm.unprivileged_userfaultfd cannot be changed here: {error.strerror}")
    yield request.param
    SYSCTL.write_text(before)


@pytest.mark.uffd
def test_user_mode_faults_need_no_privilege(nobody: Nobody, sysctl: str) -> None:
    done = nobody.run(*POINT, f"--out=as-{sysctl}")
    assert done.returncode == 0, done.stderr
    kept = datasets.load(nobody.home / f"as-{sysctl}")
    assert list(kept.table("outcomes").outcome) == ["ok"]
    assert kept.provenance["unprivileged_userfaultfd"] is (sysctl == "1")
    assert kept.provenance["uffd_opened_by"] == "syscall user mode only"


@pytest.mark.uffd
def test_page_states_can_be_read_without_privilege(nobody: Nobody) -> None:
    done = nobody.run("measure", "semantics", "--features=wp_unpopulated")
    assert done.returncode == 0, done.stderr
    assert "SWAPPED" in done.stdout


# As a container's default profile does, and as one does that kills.
@pytest.mark.uffd
def test_a_seccomp_filter_is_named_as_the_cause(nobody: Nobody) -> None:
    refusal = sentence(nobody.filtered("EPERM", "userfaultfd", *POINT))
    assert refusal.startswith("open userfaultfd failed with EPERM (Operation not permitted): a seccomp filter denies")
    assert "start the container with a seccomp profile that allows userfaultfd" in refusal
    refusal = sentence(nobody.filtered("KILL_PROCESS", "userfaultfd", *POINT))
    assert refusal.startswith("open userfaultfd killed the process that asked for it (SIGSYS): a seccomp filter")


@pytest.mark.uffd
@pytest.mark.parametrize("answer", ["EPERM", "KILL_PROCESS"])
def test_doctor_works_behind_a_seccomp_filter(nobody: Nobody, answer: str) -> None:
    done = nobody.filtered(answer, "userfaultfd", "doctor")
    assert done.returncode == 0, done.stderr
    assert "no   userfaultfd" in done.stdout
    assert "seccomp" in done.stdout


@pytest.mark.uffd
@pytest.mark.parametrize("arguments", [("doctor",), ("measure", "merging", "--allow-host-changes")])
def test_root_of_a_user_namespace_is_not_advised_to_be_root(nobody: Nobody, arguments: tuple[str, ...]) -> None:
    own = ("unshare", "--user", "--map-root-user")
    done = nobody.run(*arguments, starter=own)
    if "unshare:" in done.stderr:
        pytest.skip(f"no user namespace can be made here: {done.stderr.strip()}")
    assert done.returncode in (0, 2), done.stderr
    text = " ".join((done.stdout + done.stderr).split())
    assert "user namespace" in text or "cannot be used for the journal" in text
    for wrong in ("as root", "only root", "Traceback"):
        assert wrong not in text


def test_another_users_directory_is_refused_as_out(nobody: Nobody) -> None:
    with tempfile.TemporaryDirectory() as roots:
        Path(roots).chmod(0o755)
        refusal = sentence(nobody.run(*POINT, "--out", f"{roots}/d"))
        assert f"{roots}/d cannot be created: {roots} is not writable" in refusal
        assert os.listdir(roots) == []


def test_an_unreadable_dataset_is_refused_by_name(nobody: Nobody) -> None:
    with tempfile.TemporaryDirectory() as roots:
        (Path(roots) / "d").mkdir()
        refusal = sentence(nobody.run("data", "check", f"{roots}/d"))
        assert "may not be accessed: check its permissions" in refusal


@pytest.mark.uffd
def test_host_settings_need_root(nobody: Nobody, changeable_pool: None) -> None:
    point = ("measure", "protect", "--backing=hugetlb_2m_private", "--design=preread", "--size=1GiB")
    done = nobody.run(*point, "--allow-host-changes")
    refusal = sentence(done)
    assert "continuing without huge pages of 2 MiB" in done.stderr
    assert "nothing can be measured: needs 512 free huge pages" in refusal


@pytest.mark.uffd
@pytest.mark.parametrize("memory", ["zeropage", "markers_read"])
def test_the_covert_channel_needs_no_privilege(nobody: Nobody, memory: str) -> None:
    done = nobody.run("measure", "channel", f"--set=memory={memory}", "--set=slots=50", "--repeats=2", "--json")
    if done.returncode and "flush+reload" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert [row["outcome"] for row in json.loads(done.stdout)["outcomes"]] == ["ok"]


@pytest.mark.uffd
def test_merging_needs_root_and_reports_it(nobody: Nobody) -> None:
    run = Path("/sys/kernel/mm/ksm/run")
    if ksm.busy() or not run.exists():
        pytest.skip(ksm.busy() or "this kernel has no KSM")
    before = run.read_text()
    refusal = sentence(nobody.run("measure", "merging", "--allow-host-changes"))
    assert "run as root" in refusal
    assert run.read_text() == before


def test_another_users_process_is_not_scanned(nobody: Nobody) -> None:
    refusal = sentence(nobody.run("scan", str(os.getpid())))
    assert refusal.startswith(f"process {os.getpid()} may not be read by this user, because it belongs to another user")


def test_a_users_own_process_can_be_scanned_without_privilege(nobody: Nobody) -> None:
    done = nobody.run("scan", "--self", "--min-size=64KiB", "--bitmap=mine")
    assert done.returncode == 0, done.stderr
    assert "?" not in done.stdout.split("\n\n")[0]
    assert (nobody.home / "mine").exists()


def test_counts_that_need_root_are_unknown_and_not_zero(nobody: Nobody) -> None:
    done = nobody.run("scan", "--self", "--min-size=64KiB", "--method=pagemap", "--json")
    assert done.returncode == 0, done.stderr
    scan = json.loads(done.stdout)
    assert {mapping["granularities"][0]["counts"]["zeropage"] for mapping in scan["mappings"]} == {None}
    assert scan["totals"]["granularities"][0]["shares"]["untouched_or_zeropage"] is None
    assert scan["totals"]["huge_kib"] is None
    assert any("zeropages are not distinguished" in note for note in scan["notes"])


POISONED = """
from uffdlab import occupancy
fd = userfaultfd(1 << 14)
where = map_(16 * MIB)
register(fd, where, 16 * MIB, 1)
poison(fd, where, MIB)
for method in occupancy.METHODS:
    found = occupancy.scan(os.getpid(), 16 * MIB, method)
    (one,) = [one for one in found.mappings if one.mapping.start <= where < one.mapping.end]
    (note,) = [note for note in found.notes if "special" in note]
    print(one.pages("special"), one.pages("swapped"), found.account.total()["swap"], note)
"""


def test_a_poisoned_page_is_not_counted_as_swapped(nobody: Nobody) -> None:
    done = nobody.run(before=("-c", PRELUDE + POISONED))
    if done.stderr.startswith("userfaultfd: "):
        pytest.skip(done.stderr)
    note = (
        "256 special page(s) are neither a page, nor in swap, nor a uffd-wp marker: poisoned, or of a device; which of"
    )
    assert done.stdout == f"256 0 0 {note} these shows only to CAP_SYS_ADMIN\n" * 2, done.stderr


def test_the_account_of_a_users_own_process_needs_no_privilege(nobody: Nobody) -> None:
    done = nobody.run("scan", "--self", "--json")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["account"]["difference_kib"].values()) == {0}
