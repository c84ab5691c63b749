# SPDX-License-Identifier: MIT
"""The messages about settings that cannot be changed or restored, word for word."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up_sys import kernel
from running import environment
from test_host_settings import KSM, POOL, THP, THP_LEFT, _get, _journal, _put, root, state  # noqa: F401  (fixtures)

from uffdlab.errors import UffdlabError
from uffdlab.host import settings

POOL_NAMED = f"hugetlb_2048 (hugetlb pages of 2 MiB, /{POOL}/nr_hugepages)"
THP_NAMED = f"thp_enabled (transparent huge pages, /{THP}/enabled)"
ZERO_NAMED = f"thp_use_zero_page (the huge zeropage, /{THP}/use_zero_page)"
SCAN_NAMED = f"ksm_pages_to_scan (pages KSM scans before it sleeps, /{KSM}/pages_to_scan)"


def refused(root: Path, wanted: dict[str, Any], *, allow: bool = True) -> str:  # noqa: F811
    with pytest.raises(UffdlabError) as caught, settings.changed(wanted, allow=allow, root=root):
        pytest.fail("the block ran")
    return str(caught.value)


def answering(answers: dict[tuple[str, str], str | int]) -> Callable[[str, str], str | int | None]:
    """Return the values that the kernel stores for values written to paths."""
    return lambda path, value: answers.get((path, value))


# --- requests ---------------------------------------------------------------------------------------------------------


def test_every_needed_change_is_named(root: Path) -> None:  # noqa: F811
    wanted = {"hugetlb_2048": 64, "thp_enabled": "never"}
    assert refused(root, wanted, allow=False) == (
        f"a host setting would have to change: {POOL_NAMED} from 3 to 67; {THP_NAMED} from madvise to never; "
        "give --allow-host-changes to let uffdlab do it and put it back, or change it yourself"
    )


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"hugetlb_2048": "1.5"}, f"{POOL_NAMED} takes a number of pages; '1.5' is none"),
        ({"hugetlb_2048": "٣"}, f"{POOL_NAMED} takes a number of pages; '٣' is none"),
        ({"hugetlb_2048": ""}, f"{POOL_NAMED} takes a number of pages; '' is none"),
        ({"ksm_pages_to_scan": "x"}, f"{SCAN_NAMED} takes a number from 0; 'x' is none"),
        ({"thp_enabled": True}, f"{THP_NAMED} takes always, madvise, never; '1' is none of them"),
        ({"thp_use_zero_page": 7}, f"{ZERO_NAMED} takes 0, 1; '7' is none of them"),
        (
            {"hugetlb_1048576": 1},
            "hugetlb_1048576 (hugetlb pages of 1 GiB, /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages) "
            "cannot be set: this kernel has no such setting",
        ),
    ],
)
def test_invalid_value_names_the_valid_ones(root: Path, wanted: dict[str, Any], sentence: str) -> None:  # noqa: F811
    assert refused(root, wanted) == sentence


@pytest.mark.parametrize("value", [True, 1, "1"])
def test_choice_takes_bool_or_int(root: Path, value: Any) -> None:  # noqa: F811
    _put(root, f"{THP}/use_zero_page", "0")
    with settings.changed({"thp_use_zero_page": value}, allow=True, root=root) as now:
        assert now == {"thp_use_zero_page": "1"}


def test_pool_grows_by_the_missing_pages(root: Path) -> None:  # noqa: F811
    _put(root, f"{POOL}/free_hugepages", "2")
    with settings.changed({"hugetlb_2048": 3}, allow=True, root=root) as now:
        assert now == {"hugetlb_2048": "4"}, "three are there and two of them free: one is missing"
    _put(root, f"{POOL}/resv_hugepages", "5")
    with settings.changed({"hugetlb_2048": 3}, allow=True, root=root) as now:
        assert now == {"hugetlb_2048": "6"}, "more are reserved than free: none is available"


# --- what the kernel took --------------------------------------------------------------------------------------------


def test_pool_that_falls_short_names_the_remedy(root: Path, state: Path) -> None:  # noqa: F811
    with kernel(root, answering({(f"{POOL}/nr_hugepages", "67"): "40"})):
        assert refused(root, {"hugetlb_2048": 64}) == (
            f"{POOL_NAMED}: asked for 67, got 40: too little memory is free in one piece. The pool is as it was; free "
            "memory, ask for fewer pages, or reserve them at boot (hugepagesz= and hugepages= on the kernel's command "
            "line)."
        )
    assert _get(root, f"{POOL}/nr_hugepages") == "3"
    assert os.listdir(state) == []


def test_value_the_kernel_ignores_is_reported_and_undone(root: Path) -> None:  # noqa: F811
    with kernel(root, answering({(f"{KSM}/pages_to_scan", "7"): "8"})):
        assert refused(root, {"thp_enabled": "never", "ksm_pages_to_scan": 7}) == (
            f"{SCAN_NAMED}: asked for 7, got 8; the kernel did not take the value, and the old one is back."
        )
    assert (_get(root, f"{KSM}/pages_to_scan"), _get(root, f"{THP}/enabled")) == ("100", "madvise")


def test_failed_undo_is_reported_and_kept_in_the_journal(root: Path, state: Path) -> None:  # noqa: F811
    answers: dict[tuple[str, str], str | int] = {
        (f"{POOL}/nr_hugepages", "67"): "40",
        (f"{THP}/enabled", "madvise"): errno.EROFS,
    }
    with kernel(root, answering(answers)):
        sentence = refused(root, {"thp_enabled": "never", "hugetlb_2048": 64})
    assert sentence.startswith(f"{POOL_NAMED}: asked for 67, got 40: too little")
    assert "command line). write setting (setting thp_enabled" in sentence
    assert "value madvise) failed with EROFS (Read-only file system)" in sentence
    assert sentence.endswith(" It is still never and was madvise before.")
    entries = json.loads((state / "journal.json").read_text())["entries"]
    assert entries == [{"setting": "thp_enabled", "old": "madvise", "wanted": "never", "set": "never"}]


def test_all_failed_restores_are_reported_in_one_error(root: Path, state: Path) -> None:  # noqa: F811
    wanted = {"thp_enabled": "never", "thp_use_zero_page": 0, "hugetlb_2048": 64, "ksm_pages_to_scan": 7}
    answers: dict[tuple[str, str], str | int] = {
        (f"{KSM}/pages_to_scan", "100"): "99",
        (f"{THP}/enabled", "madvise"): errno.EPERM,
    }
    with (
        kernel(root, answering(answers)),
        pytest.raises(UffdlabError) as caught,
        settings.changed(wanted, allow=True, root=root),
    ):
        _put(root, f"{POOL}/nr_hugepages", "50")
    message = str(caught.value)
    assert message.startswith(
        f"{SCAN_NAMED} is 99 after it was put back to 100. {POOL_NAMED} is 50 and not 67 as uffdlab set it: another "
        "process changed it since, so it was left alone (it was 3 before). write setting (setting thp_enabled"
    ), message
    assert "failed with EPERM" in message
    assert message.endswith("It is still never and was madvise before.")
    assert _get(root, f"{THP}/use_zero_page") == "1", "what comes after what would not go is put back all the same"
    assert [one["setting"] for one in json.loads((state / "journal.json").read_text())["entries"]] == ["thp_enabled"]


def test_failed_restore_of_an_inner_block_follows_the_outer_changes(root: Path, state: Path) -> None:  # noqa: F811
    answers: dict[tuple[str, str], str | int] = {(f"{THP}/enabled", "madvise"): errno.EPERM}
    with settings.changed({"hugetlb_2048": 4}, allow=True, root=root):
        with (
            kernel(root, answering(answers)),
            pytest.raises(UffdlabError),
            settings.changed({"thp_enabled": "never"}, allow=True, root=root),
        ):
            pass
        names = [one["setting"] for one in json.loads((state / "journal.json").read_text())["entries"]]
        assert names == ["hugetlb_2048", "thp_enabled"]
    assert (_get(root, f"{POOL}/nr_hugepages"), _get(root, f"{THP}/enabled")) == ("3", "madvise")
    assert not (state / "journal.json").exists()


def test_failed_inner_change_keeps_the_outer_block_s_journal(root: Path, state: Path) -> None:  # noqa: F811
    with settings.changed({"hugetlb_2048": 4}, allow=True, root=root):
        with kernel(root, answering({(f"{KSM}/pages_to_scan", "7"): errno.EINVAL})):
            assert "EINVAL" in refused(root, {"thp_enabled": "never", "ksm_pages_to_scan": 7})
        entries = json.loads((state / "journal.json").read_text())["entries"]
        assert [(one["setting"], one["old"], one["set"]) for one in entries] == [("hugetlb_2048", "3", "7")]
    assert _get(root, f"{POOL}/nr_hugepages") == "3"


def test_vanished_journal_restores_nothing(root: Path, state: Path) -> None:  # noqa: F811
    """Another command restored it as a leftover."""
    with settings.changed({"thp_enabled": "never"}, allow=True, root=root):
        (state / "journal.json").unlink()
    assert _get(root, f"{THP}/enabled") == "never"


def test_another_run_s_journal_is_left_alone(root: Path, state: Path) -> None:  # noqa: F811
    with settings.changed({"thp_enabled": "never"}, allow=True, root=root):
        _journal(state, [{"setting": "thp_use_zero_page", "old": "1", "wanted": "0", "set": "0"}])
        _put(root, f"{THP}/use_zero_page", "0")
    assert _get(root, f"{THP}/use_zero_page") == "0"
    assert (state / "journal.json").exists()


# --- leftovers -------------------------------------------------------------------------------------------------------


def test_leftovers_are_reported_one_by_one(root: Path, state: Path) -> None:  # noqa: F811
    _put(root, f"{POOL}/nr_hugepages", "67")
    _put(root, f"{THP}/enabled", "never")
    _put(root, f"{THP}/use_zero_page", "1")
    _put(root, f"{KSM}/pages_to_scan", "55")
    _journal(
        state,
        [
            {"setting": "hugetlb_2048", "old": "3", "wanted": "67", "set": "67"},
            {"setting": "ksm_pages_to_scan", "old": "100", "wanted": "7", "set": None},
            {"setting": "thp_use_zero_page", "old": "1", "wanted": "0", "set": "0"},
            THP_LEFT,
        ],
    )
    assert settings.restore_leftovers(root) == [
        f"{THP_NAMED} was put back to madvise.",
        f"{POOL_NAMED} was put back to 3.",
        f"{SCAN_NAMED} is 55 and not 7 as uffdlab set it: another process changed it since, so it was left alone "
        "(it was 100 before).",
    ]
    assert not (state / "journal.json").exists()


def test_change_is_refused_until_leftovers_are_restored(root: Path, state: Path) -> None:  # noqa: F811
    _put(root, f"{THP}/enabled", "never")
    _journal(state, [THP_LEFT])
    message = "an earlier run left host settings changed; 'uffdlab doctor' puts them back: run it, then try again"
    assert refused(root, {"thp_use_zero_page": 0}) == message
    assert refused(root, {"thp_enabled": "never"}) == message, "as wanted, but not for long"
    _journal(state, [THP_LEFT], boot_id="another")
    with settings.changed({"thp_use_zero_page": 0}, allow=True, root=root):
        pass


def test_process_with_parentheses_in_its_name_is_alive(root: Path, state: Path) -> None:  # noqa: F811
    code = (
        "import ctypes, sys; from pathlib import Path; from uffdlab.host import settings\n"
        "ctypes.CDLL(None).prctl(15, b') Z 1 (x) ', 0, 0, 0)\n"
        f"with settings.changed({{'thp_enabled': 'never'}}, allow=True, root=Path({str(root)!r})):\n"
        "    print('changed', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "changed\n"
        assert settings.restore_leftovers(root) == []
        assert _get(root, f"{THP}/enabled") == "never"
        message = refused(root, {"thp_use_zero_page": 0})
        assert f"process {other.pid} has host settings changed" in message
        other.communicate("")
    assert _get(root, f"{THP}/enabled") == "madvise"


def test_zombie_is_not_alive(root: Path, state: Path) -> None:  # noqa: F811
    child = os.fork()
    if child == 0:
        block = settings.changed({"thp_enabled": "never"}, allow=True, root=root)
        block.__enter__()
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        assert settings.restore_leftovers(root) == [f"{THP_NAMED} was put back to madvise."]
    finally:
        os.waitpid(child, 0)


# --- the journal's own troubles --------------------------------------------------------------------------------------


def test_journal_of_another_format_names_every_setting_and_value(root: Path, state: Path) -> None:  # noqa: F811
    state.mkdir(mode=0o700)
    (state / "journal.json").write_text('{"format": 2}')
    with pytest.raises(UffdlabError) as caught:
        settings.restore_leftovers(root)
    message = str(caught.value)
    assert message.startswith(
        f"the journal {state}/journal.json cannot be used: it is damaged (format 2 instead of 1). An earlier run may "
        f"have left host settings changed: check /{POOL}/nr_hugepages (now 3), "
    )
    assert f"/{THP}/enabled (now madvise), " in message
    assert "hugepages-1048576kB/nr_hugepages (now absent), " in message
    assert message.endswith("set what is not as you want it, then delete the journal.")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"boot_id": 1}, "1 is not of type str"),
        ({"pid": True}, "True is not of type int"),
        ({"start_time": "1"}, "'1' is not of type int"),
        ({"entries": {}}, "{} is not of type list"),
        ({"entries": [THP_LEFT | {"old": "nonsense"}]}, "'nonsense' is not a value of thp_enabled"),
        ({"entries": [THP_LEFT | {"set": "sometimes"}]}, "'sometimes' is not a value of thp_enabled"),
        (
            {"entries": [{"setting": "hugetlb_2048", "old": "-3", "wanted": "4", "set": None}]},
            "'-3' is not a value of hugetlb_2048",
        ),
        ({"entries": [{"setting": "hugetlb_2048", "old": 3, "wanted": "4", "set": None}]}, "3 is not of type str"),
    ],
)
def test_invalid_journal_names_the_reason(root: Path, state: Path, content: dict[str, Any], why: str) -> None:  # noqa: F811
    _journal(state, content.get("entries", []), **{k: v for k, v in content.items() if k != "entries"})
    with pytest.raises(UffdlabError, match=re.escape(f"it is damaged ({why})")):
        settings.restore_leftovers(root)


def test_journal_that_cannot_be_opened_names_the_errno(root: Path, state: Path) -> None:  # noqa: F811
    state.mkdir(mode=0o700)
    (state / "journal.json").symlink_to(state / "nowhere")
    with pytest.raises(UffdlabError, match=r"cannot be used: Too many levels of symbolic links\. An earlier") as caught:
        settings.restore_leftovers(root)
    assert f"/{POOL}/nr_hugepages (now 3)" in str(caught.value), "of the root that was given"


def test_state_directory_that_cannot_be_made_names_the_remedy(
    root: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(settings.STATE_DIR_VARIABLE, str(tmp_path / "no" / "such"))
    assert refused(root, {"thp_enabled": "never"}) == (
        f"{tmp_path}/no/such cannot be used for the journal of host settings (No such file or directory): it must be a "
        f"directory of your own, not a symbolic link; {'' if os.geteuid() == 0 else 'run as root, or '}name another "
        "directory in UFFDLAB_STATE_DIR"
    )


def test_state_directory_open_to_others_is_closed(root: Path, state: Path) -> None:  # noqa: F811
    state.mkdir()
    state.chmod(0o777)
    with settings.changed({"thp_enabled": "never"}, allow=True, root=root):
        assert state.stat().st_mode & 0o777 == 0o700
        assert (state / "journal.json").stat().st_mode & 0o777 == 0o600


def test_link_at_the_journal_s_temporary_name_is_not_followed(root: Path, state: Path, tmp_path: Path) -> None:  # noqa: F811
    state.mkdir(mode=0o700)
    (tmp_path / "mine").write_text("kept")
    (state / "journal.json.new").symlink_to(tmp_path / "mine")
    with settings.changed({"thp_enabled": "never"}, allow=True, root=root):
        assert not (state / "journal.json").is_symlink()
    assert (tmp_path / "mine").read_text() == "kept"
    assert settings.current("thp_enabled", root) == "madvise"


def test_state_directory_is_run_uffdlab_or_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.STATE_DIR_VARIABLE, "")
    assert settings._state_dir() == Path("/run/uffdlab")
    monkeypatch.delenv(settings.STATE_DIR_VARIABLE)
    assert settings._state_dir() == Path("/run/uffdlab")


def test_settings_are_restored_after_an_error_outside_the_main_thread(root: Path) -> None:  # noqa: F811
    with pytest.raises(RuntimeError), settings.changed({"ksm_pages_to_scan": 9}, allow=True, root=root):
        raise RuntimeError
    assert _get(root, f"{KSM}/pages_to_scan") == "100"
