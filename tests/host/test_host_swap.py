# SPDX-License-Identifier: MIT
"""A swap file of uffdlab's own: on and off, put back after SIGKILL, and never in place of somebody's file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import environment

from uffdlab.errors import UffdlabError
from uffdlab.host import settings, swap

SIZE_KIB = 8 << 10
FILE = Path("/") / swap.FILE


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "state"
    monkeypatch.setenv(settings.STATE_DIR_VARIABLE, str(directory))
    return directory


@pytest.fixture
def swappable() -> Iterator[None]:
    """Skip unless this process may add swap, and its file system can hold it."""
    reason = settings.why_unchangeable("swap_file_kib")
    if reason or FILE.exists():
        pytest.skip(f"no swap file can be added: {reason or f'{FILE} is there'}")
    try:
        swap.switch(SIZE_KIB)
    except UffdlabError as error:
        pytest.skip(str(error))
    swap.switch(0)
    yield
    swap.switch(0)


def test_the_size_of_the_file_is_read_from_proc_swaps(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    head = "Filename\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    (tmp_path / "proc/swaps").write_text(head)
    assert swap.own_kib(tmp_path) == 0
    (tmp_path / "proc/swaps").write_text(f"{head}/dev/vdb partition 999 0 -2\n/{swap.FILE} file 65532 128 -3\n")
    assert swap.areas(tmp_path) == {"/dev/vdb": 999, f"/{swap.FILE}": 65532}
    assert swap.own_kib(tmp_path) == 65536


def test_what_somebody_else_put_there_is_not_opened_and_not_ours(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")  # to open it would wait for a writer
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    assert [swap._is_ours(tmp_path / name) for name in ("fifo", "link", "empty")] == [False, False, True]


def test_a_kernel_without_swap_has_no_such_setting(tmp_path: Path) -> None:
    assert settings.current("swap_file_kib", tmp_path) is None
    with (
        pytest.raises(UffdlabError, match="this kernel has no such setting"),
        settings.changed({"swap_file_kib": SIZE_KIB}, allow=True, root=tmp_path),
    ):
        pass


def test_without_permission_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/swaps").write_text("Filename Type Size Used Priority\n")
    with (
        pytest.raises(UffdlabError, match="--allow-host-changes"),
        settings.changed({"swap_file_kib": SIZE_KIB}, allow=False, root=tmp_path),
    ):
        pass
    assert not (tmp_path / swap.FILE).exists()


def test_the_file_is_there_meanwhile_and_readable_by_root_alone(swappable: None) -> None:
    with settings.changed({"swap_file_kib": SIZE_KIB}, allow=True):
        assert swap.own_kib() == SIZE_KIB
        assert FILE.stat().st_mode & 0o777 == 0o600
    assert (swap.own_kib(), FILE.exists()) == (0, False)


def test_a_file_of_that_name_is_kept_and_named(swappable: None) -> None:
    FILE.write_text("mine")
    try:
        with (
            pytest.raises(UffdlabError, match="is there, and not a swap file that uffdlab made"),
            settings.changed({"swap_file_kib": SIZE_KIB}, allow=True),
        ):
            pass
        assert FILE.read_text() == "mine"
    finally:
        FILE.unlink()


def test_a_file_that_was_made_and_never_used_is_removed(swappable: None) -> None:
    swap._make(FILE, SIZE_KIB * 1024)
    with settings.changed({"swap_file_kib": SIZE_KIB}, allow=True):
        assert swap.own_kib() == SIZE_KIB
    swap._make(FILE, SIZE_KIB * 1024)
    swap.switch(0)
    assert not FILE.exists()


def test_after_a_sigkill_the_next_command_removes_it(swappable: None) -> None:
    code = (
        "import os, signal\nfrom uffdlab.host import settings\n"
        f"with settings.changed({{'swap_file_kib': {SIZE_KIB}}}, allow=True): os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], env=environment(**dict(os.environ)), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert swap.own_kib() == SIZE_KIB
    (said,) = settings.restore_leftovers()
    assert "a swap file of uffdlab's own" in said
    assert "was put back to 0" in said
    assert (swap.own_kib(), FILE.exists()) == (0, False)
