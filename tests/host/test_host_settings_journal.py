# SPDX-License-Identifier: MIT
"""The journal's format: boot ID and process as the kernel names them, and only a regular file is read."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from made_up_sys import kernel
from test_host_settings import THP, THP_LEFT, _get, _journal, _put, root, state  # noqa: F401  (fixtures)

from uffdlab.errors import UffdlabError
from uffdlab.host import settings


def test_journal_names_boot_id_and_start_time_of_the_kernel(root: Path, state: Path) -> None:  # noqa: F811
    with settings.changed({"thp_enabled": "never"}, allow=True, root=root):
        found = json.loads((state / "journal.json").read_text(encoding="utf-8"))
    assert found["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    name_and_after = Path("/proc/self/stat").read_text()
    started = name_and_after[name_and_after.rindex(")") + 2 :].split()[22 - 3]  # field 22 of proc_pid_stat(5)
    assert (found["pid"], found["start_time"]) == (os.getpid(), int(started))


def test_journal_written_by_another_program_is_restored(root: Path, state: Path) -> None:  # noqa: F811
    _put(root, f"{THP}/enabled", "always madvise [never]")
    _journal(state, [THP_LEFT], boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    assert len(settings.restore_leftovers(root)) == 1
    assert _get(root, f"{THP}/enabled") == "madvise"


def test_binary_journal_is_damaged(root: Path, state: Path) -> None:  # noqa: F811
    state.mkdir(mode=0o700)
    (state / "journal.json").write_bytes(b'{"format": "\xff\xfe"}')
    with pytest.raises(UffdlabError, match="cannot be used: it is damaged"):
        settings.restore_leftovers(root)


def test_fifo_as_journal_is_refused_without_waiting(root: Path, state: Path) -> None:  # noqa: F811
    state.mkdir(mode=0o700)
    os.mkfifo(state / "journal.json")
    with pytest.raises(UffdlabError, match="cannot be used: it is not a regular file of this user"):
        settings.restore_leftovers(root)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_user_restores_their_own_journal(
    root: Path,  # noqa: F811
    state: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _put(root, f"{THP}/enabled", "always madvise [never]")
    _journal(state, [THP_LEFT])
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert settings.restore_leftovers(root) == [], "root's, which no other user can read"
    for path in (state, state / "journal.json"):
        os.chown(path, 65534, -1)
    assert len(settings.restore_leftovers(root)) == 1
    assert _get(root, f"{THP}/enabled") == "madvise"


@pytest.mark.parametrize("odd", ["as before", "changed since"])
def test_unchanged_setting_does_not_stop_the_restore(root: Path, state: Path, odd: str) -> None:  # noqa: F811
    """The last change is restored first."""
    _put(root, f"{THP}/enabled", "always madvise [never]")
    _put(root, f"{THP}/use_zero_page", {"as before": "1", "changed since": "7"}[odd])
    _journal(state, [THP_LEFT, {"setting": "thp_use_zero_page", "old": "1", "wanted": "0", "set": "0"}])
    message = settings.restore_leftovers(root)
    assert "was put back to madvise." in " ".join(message)
    assert len(message) == {"as before": 1, "changed since": 2}[odd]
    assert _get(root, f"{THP}/enabled") == "madvise"
    assert os.listdir(state) == []


def test_failed_restore_does_not_stop_the_others(root: Path, state: Path) -> None:  # noqa: F811
    _put(root, f"{THP}/enabled", "never")
    _put(root, f"{THP}/use_zero_page", "0")
    last: dict[str, object] = {"setting": "thp_use_zero_page", "old": "1", "wanted": "0", "set": "0"}
    _journal(state, [THP_LEFT, last])
    with kernel(root, lambda path, value: errno.EPERM if path.endswith("use_zero_page") else None):
        message = settings.restore_leftovers(root)
    assert len(message) == 2
    assert _get(root, f"{THP}/enabled") == "madvise"
    assert [one["setting"] for one in json.loads((state / "journal.json").read_text())["entries"]] == [last["setting"]]
