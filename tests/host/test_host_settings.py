# SPDX-License-Identifier: MIT
"""Settings are changed only when allowed and come back: at the end, on signals, after a SIGKILL.

Most tests work on a made-up /sys, so they run without root; the last ones change this machine's 2 MiB pool.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from running import environment

import uffdlab
from uffdlab.errors import UffdlabError
from uffdlab.host import memory, settings

POOL = "sys/kernel/mm/hugepages/hugepages-2048kB"
THP = "sys/kernel/mm/transparent_hugepage"
KSM = "sys/kernel/mm/ksm"


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch) -> Path:
    directory = tmp_path / "state"
    monkeypatch.setenv(settings.STATE_DIR_VARIABLE, str(directory))
    return directory


@pytest.fixture
def root(tmp_path) -> Path:
    made_up = tmp_path / "root"
    _put(made_up, f"{POOL}/nr_hugepages", "3")
    _put(made_up, f"{POOL}/free_hugepages", "0")
    _put(made_up, f"{POOL}/resv_hugepages", "0")
    _put(made_up, f"{POOL}/surplus_hugepages", "0")
    _put(made_up, f"{THP}/enabled", "always [madvise] never")
    _put(made_up, f"{THP}/use_zero_page", "1")
    _put(made_up, f"{KSM}/run", "0")
    _put(made_up, f"{KSM}/pages_to_scan", "100")
    return made_up


def _put(root: Path, path: str, content: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(content + "\n")


def _get(root: Path, path: str) -> str:
    return (root / path).read_text().strip()


# --- changing and putting back --------------------------------------------------------------------------------


def test_settings_are_changed_and_restored(root, state):
    with settings.changed({"hugetlb_2048": 5, "thp_use_zero_page": False}, allow=True, root=root) as now:
        assert now == {"hugetlb_2048": "8", "thp_use_zero_page": "0"}
        assert _get(root, f"{POOL}/nr_hugepages") == "8", "three pages are somebody's; five more are needed"
        journal = json.loads((state / "journal.json").read_text())
        assert journal["pid"] == os.getpid()
        assert journal["entries"][0] == {"setting": "hugetlb_2048", "old": "3", "wanted": "8", "set": "8"}
        assert (state / "journal.json").stat().st_mode & 0o777 == 0o600
    assert state.stat().st_mode & 0o777 == 0o700
    assert _get(root, f"{POOL}/nr_hugepages") == "3"
    assert _get(root, f"{THP}/use_zero_page") == "1"
    assert os.listdir(state) == []


def test_exception_in_the_block_restores_everything(root):
    with pytest.raises(ZeroDivisionError), settings.changed({"thp_enabled": "never"}, allow=True, root=root):
        _ = int(_get(root, f"{POOL}/free_hugepages")) / 0
    assert _get(root, f"{THP}/enabled") == "madvise"


def test_no_permission_or_journal_needed_when_nothing_changes(root, state):
    _put(root, f"{POOL}/free_hugepages", "3")
    with settings.changed({"hugetlb_2048": 2, "thp_enabled": "madvise"}, allow=False, root=root) as now:
        assert now == {"hugetlb_2048": "3", "thp_enabled": "madvise"}
    assert not state.exists()


def test_pool_never_shrinks_and_ignores_reserved_and_surplus_pages(root):
    _put(root, f"{POOL}/nr_hugepages", "12")
    _put(root, f"{POOL}/surplus_hugepages", "2")
    _put(root, f"{POOL}/free_hugepages", "6")
    _put(root, f"{POOL}/resv_hugepages", "5")
    assert settings.current("hugetlb_2048", root) == "10"
    plan = settings._plan({"hugetlb_2048": 4}, root)
    assert [(change.old, change.wanted) for change in plan] == [("10", "13")]
    assert settings._plan({"hugetlb_2048": 0}, root) == []


def test_refusal_without_permission_names_the_changes(root, state):
    wanted = {"hugetlb_2048": 64, "thp_enabled": "never"}
    with pytest.raises(UffdlabError) as refused, settings.changed(wanted, allow=False, root=root):
        pytest.fail("the block ran")
    sentence = str(refused.value)
    assert "--allow-host-changes" in sentence
    assert f"/{POOL}/nr_hugepages) from 3 to 67" in sentence
    assert "from madvise to never" in sentence
    assert not state.exists()


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"swappiness": 1}, "no host setting is called 'swappiness'; known are hugetlb_2048"),
        ({"thp_enabled": "sometimes"}, "takes always, madvise, never"),
        ({"hugetlb_2048": "-1"}, "takes a number of pages"),
        ({"hugetlb_2048": "²"}, "takes a number of pages"),
        ({"ksm_run": 3}, "takes 0, 1, 2"),
        ({"ksm_pages_to_scan": "-1"}, "takes a number from 0"),
        ({"ksm_pages_to_scan": "many"}, "takes a number from 0"),
        ({"hugetlb_1048576": 1}, "this kernel has no such setting"),
    ],
)
def test_invalid_values_are_refused_before_any_write(root, state, wanted, sentence):
    with pytest.raises(UffdlabError, match=sentence), settings.changed(wanted, allow=True, root=root):
        pytest.fail("the block ran")
    assert not state.exists()


def test_pool_that_falls_short_is_restored(root, state, monkeypatch):
    real = settings._write

    def stingy(setting, value, root):
        real(setting, "6" if value == "67" else value, root)

    monkeypatch.setattr(settings, "_write", stingy)
    wanted = {"thp_enabled": "never", "hugetlb_2048": 64}
    with (
        pytest.raises(UffdlabError, match=r"hugetlb_2048.*asked for 67, got 6"),
        settings.changed(wanted, allow=True, root=root),
    ):
        pytest.fail("the block ran")
    assert _get(root, f"{POOL}/nr_hugepages") == "3"
    assert _get(root, f"{THP}/enabled") == "madvise"
    assert os.listdir(state) == []


def test_refused_write_is_explained_and_undone(root, state, monkeypatch):
    real = os.open

    def guarded(path, flags, *args, **kwargs):
        if str(path).endswith("use_zero_page") and flags & os.O_WRONLY:
            raise OSError(30, "Read-only file system")
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(settings.os, "open", guarded)
    wanted = {"thp_enabled": "never", "thp_use_zero_page": 0}
    with (
        pytest.raises(UffdlabError, match=r"write setting \(setting thp_use_zero_page.*EROFS"),
        settings.changed(wanted, allow=True, root=root),
    ):
        pytest.fail("the block ran")
    assert _get(root, f"{THP}/enabled") == "madvise"
    assert os.listdir(state) == []


def test_setting_changed_by_another_process_is_left_alone(root, state):
    with (
        pytest.raises(UffdlabError, match=r"is 100 and not 67 as uffdlab set it.*was 3 before"),
        settings.changed({"hugetlb_2048": 64, "thp_enabled": "never"}, allow=True, root=root),
    ):
        _put(root, f"{POOL}/nr_hugepages", "100")
    assert _get(root, f"{POOL}/nr_hugepages") == "100"
    assert _get(root, f"{THP}/enabled") == "madvise"
    assert os.listdir(state) == []


def test_forked_child_does_not_restore_its_parent_s_settings(root):
    block = settings.changed({"thp_enabled": "never"}, allow=True, root=root)
    block.__enter__()
    child = os.fork()
    if child == 0:
        block.__exit__(None, None, None)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert _get(root, f"{THP}/enabled") == "never"
    block.__exit__(None, None, None)
    assert _get(root, f"{THP}/enabled") == "madvise"


def test_settings_can_change_outside_the_main_thread(root):
    seen = []

    def change():
        with settings.changed({"thp_enabled": "never"}, allow=True, root=root):
            seen.append(_get(root, f"{THP}/enabled"))

    thread = threading.Thread(target=change)
    thread.start()
    thread.join()
    assert seen == ["never"]
    assert _get(root, f"{THP}/enabled") == "madvise"


# --- two at a time --------------------------------------------------------------------------------------------


def test_second_process_is_refused_while_settings_are_changed(root):
    with settings.changed({"thp_enabled": "never"}, allow=True, root=root):
        code = (
            f"from pathlib import Path; from uffdlab.host import settings; root = Path({str(root)!r})\n"
            "with settings.changed({'thp_use_zero_page': 0}, allow=True, root=root): print('the block ran')"
        )
        other = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
        assert f"process {os.getpid()} has host settings changed" in other.stderr
        assert other.stdout == ""
        assert settings.restore_leftovers(root) == []
        assert _get(root, f"{THP}/enabled") == "never", "neither undid the first"
        with settings.changed({"thp_enabled": "never"}, allow=False, root=root):
            pass
    assert _get(root, f"{THP}/enabled") == "madvise"


def test_changes_are_not_planned_from_another_run_s_values(root):
    with (
        _child(root, {"thp_enabled": "never"}),
        pytest.raises(UffdlabError, match="has host settings changed right now"),
        settings.changed({"thp_enabled": "never"}, allow=True, root=root),
    ):
        pytest.fail("the block ran")


# --- signals and SIGKILL --------------------------------------------------------------------------------------

HOLD = """
import sys, json, time
from pathlib import Path
from uffdlab.host import settings
with settings.changed(json.loads(sys.argv[1]), allow=True, root=Path(sys.argv[2])):
    print("changed", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def _child(root, wanted):
    """Start a process that has settings changed; kill it at the end if it is still there."""
    environment = {**os.environ, "PYTHONPATH": str(Path(uffdlab.__file__).parents[1])}
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, json.dumps(wanted), str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert child.stdout is not None
    try:
        if child.stdout.readline() != "changed\n":
            pytest.fail(child.communicate()[1])
        yield child
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signal_restores_everything(root, state, number):
    with _child(root, {"hugetlb_2048": 64}) as child:
        assert _get(root, f"{POOL}/nr_hugepages") == "67"
        child.send_signal(number)
        child.wait(10)
    assert child.returncode in (128 + number, -number)
    assert _get(root, f"{POOL}/nr_hugepages") == "3"
    assert os.listdir(state) == []


def test_next_command_restores_after_sigkill(root, state):
    with _child(root, {"hugetlb_2048": 64, "thp_enabled": "never"}) as child:
        assert settings.restore_leftovers(root) == [], "it is alive"
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        assert _get(root, f"{POOL}/nr_hugepages") == "67"
        with (
            pytest.raises(UffdlabError, match="an earlier run left host settings changed"),
            settings.changed({"thp_use_zero_page": 0}, allow=True, root=root),
        ):
            pytest.fail("the block ran")
        sentences = settings.restore_leftovers(root)
    assert len(sentences) == 2
    assert "thp_enabled" in sentences[0], "last change first"
    assert sentences[1].endswith("was put back to 3.")
    assert _get(root, f"{POOL}/nr_hugepages") == "3"
    assert _get(root, f"{THP}/enabled") == "madvise"
    assert os.listdir(state) == []
    assert settings.restore_leftovers(root) == []


def test_pool_is_restored_when_killed_while_growing(root, state):
    _journal(state, [{"setting": "hugetlb_2048", "old": "3", "wanted": "67", "set": None}])
    _put(root, f"{POOL}/nr_hugepages", "40")
    assert settings.restore_leftovers(root) == [
        f"hugetlb_2048 (hugetlb pages of 2 MiB, /{POOL}/nr_hugepages) was put back to 3."
    ]


def test_nothing_to_restore_when_killed_before_the_first_write(root, state):
    _journal(state, [{"setting": "hugetlb_2048", "old": "3", "wanted": "67", "set": None}])
    assert settings.restore_leftovers(root) == []
    assert os.listdir(state) == []


def test_signal_is_held_until_settings_agree_with_the_journal(root, monkeypatch):
    real = settings._write

    def interrupted(setting, value, root):
        real(setting, value, root)
        if value == "never":
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(settings, "_write", interrupted)
    with pytest.raises(SystemExit) as left, settings.changed({"thp_enabled": "never"}, allow=True, root=root):
        pytest.fail("the block ran")
    assert left.value.code == 128 + signal.SIGTERM
    assert _get(root, f"{THP}/enabled") == "madvise"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_previous_handler_gets_the_signal_after_restoring(root):
    received = []
    before = signal.signal(signal.SIGTERM, lambda *_: received.append(_get(root, f"{THP}/enabled")))
    try:
        with pytest.raises(SystemExit), settings.changed({"thp_enabled": "never"}, allow=True, root=root):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == ["madvise"]


# --- the journal ----------------------------------------------------------------------------------------------


def _journal(state: Path, entries: list[dict[str, object]], **changes: object) -> None:
    content = {
        "format": 1,
        "boot_id": settings._boot_id(),
        "pid": 2**22 + 1,  # above the largest pid there can be
        "start_time": 1,
        "entries": entries,
    }
    state.mkdir(mode=0o700, exist_ok=True)
    (state / "journal.json").write_text(json.dumps(content | changes))


THP_LEFT: dict[str, object] = {"setting": "thp_enabled", "old": "madvise", "wanted": "never", "set": "never"}


def test_reused_pid_is_not_the_owner(root, state):
    _put(root, f"{THP}/enabled", "always madvise [never]")
    _journal(state, [THP_LEFT], pid=os.getpid())
    assert len(settings.restore_leftovers(root)) == 1
    assert _get(root, f"{THP}/enabled") == "madvise"


def test_journal_is_void_after_a_reboot(root, state):
    _put(root, f"{THP}/enabled", "always madvise [never]")
    _journal(state, [THP_LEFT], boot_id="another")
    assert settings.restore_leftovers(root) == []
    assert _get(root, f"{THP}/enabled") == "always madvise [never]"
    assert os.listdir(state) == []


def test_leftover_changed_since_is_reported_and_left_alone(root, state):
    _put(root, f"{THP}/enabled", "[always] madvise never")
    _journal(state, [THP_LEFT])
    (sentence,) = settings.restore_leftovers(root)
    assert "is always and not never as uffdlab set it" in sentence
    assert os.listdir(state) == []


def test_failed_restore_stays_in_the_journal(root, state, monkeypatch):
    def refused(*_):
        raise UffdlabError("only root may write it.")

    _put(root, f"{THP}/enabled", "always madvise [never]")
    _journal(state, [THP_LEFT])
    with monkeypatch.context() as patched:
        patched.setattr(settings, "_write", refused)
        assert settings.restore_leftovers(root) == ["only root may write it. It is still never and was madvise before."]
    _journal(state, json.loads((state / "journal.json").read_text())["entries"])
    assert len(settings.restore_leftovers(root)) == 1
    assert _get(root, f"{THP}/enabled") == "madvise"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": 2}',
        '{"format": 1, "boot_id": "x", "pid": "1", "start_time": 1, "entries": []}',
        '{"format": 1, "boot_id": "x", "pid": 1, "start_time": 1, "entries": [{}]}',
        '{"format": 1, "boot_id": "x", "pid": 1, "start_time": 1, "entries": '
        '[{"setting": "../etc/passwd", "old": "0", "wanted": "1", "set": null}]}',
        '{"format": 1, "boot_id": "x", "pid": 1, "start_time": 1, "entries": '
        '[{"setting": "thp_enabled", "old": "rm -rf", "wanted": "never", "set": null}]}',
        "\x00\x01",
        "[" * 100000,
    ],
)
def test_damaged_journal_names_the_settings_to_check(root, state, content):
    state.mkdir(mode=0o700)
    (state / "journal.json").write_text(content)
    for use in (
        lambda: settings.restore_leftovers(root),
        lambda: settings.changed({"thp_enabled": "never"}, allow=True, root=root).__enter__(),
    ):
        with pytest.raises(UffdlabError, match=r"journal\.json cannot be used: .*enabled \(now .*delete the journal"):
            use()
    assert _get(root, f"{THP}/enabled") == "always [madvise] never"


def test_symbolic_link_as_state_directory_is_refused(root, state, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    state.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UffdlabError, match="not a symbolic link"):
        settings.restore_leftovers(root)
    with (
        pytest.raises(UffdlabError, match="not a symbolic link"),
        settings.changed({"thp_enabled": "never"}, allow=True, root=root),
    ):
        pytest.fail("the block ran")


def test_symbolic_link_as_journal_is_refused(root, state, tmp_path):
    state.mkdir(mode=0o700)
    (state / "journal.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UffdlabError, match=r"journal\.json cannot be used"):
        settings.restore_leftovers(root)


def test_state_directory_of_another_user_is_refused(root, state):
    if os.geteuid() != 0:
        pytest.skip("needs root to give a directory away")
    state.mkdir(mode=0o700)
    os.chown(state, 65534, 65534)
    with pytest.raises(UffdlabError, match="belongs to another user"):
        settings.restore_leftovers(root)


def test_another_user_s_leftovers_are_ignored(state):
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    _journal(state, [THP_LEFT])
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            os.setuid(65534)
            code = 0 if settings.restore_leftovers() == [] else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_unchangeable_settings_name_the_reason(root):
    assert settings.why_unchangeable("thp_enabled", root) is None
    assert settings.why_unchangeable("hugetlb_1048576", root) == "this kernel has no such setting"


# --- this machine's pool --------------------------------------------------------------------------------------


@pytest.fixture
def real_pool(monkeypatch, state) -> str:
    if os.geteuid() != 0 or settings.why_unchangeable("hugetlb_2048") is not None:
        pytest.skip("needs root and a writable /sys")
    with monkeypatch.context() as patched:
        patched.delenv(settings.STATE_DIR_VARIABLE)
        if (settings._state_dir() / "journal.json").exists():
            pytest.skip("another run has this machine's settings changed")
    before = settings.current("hugetlb_2048")
    assert before is not None
    return before


def test_the_real_pool_is_restored_after_sigkill(real_pool):
    pool = memory.hugepages(2048)
    assert pool is not None
    assert pool.available is not None
    with _child(Path("/"), {"hugetlb_2048": pool.available + 4}) as child:
        assert settings.current("hugetlb_2048") == str(int(real_pool) + 4)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        (sentence,) = settings.restore_leftovers()
    assert sentence.endswith(f"was put back to {real_pool}.")
    assert settings.current("hugetlb_2048") == real_pool
