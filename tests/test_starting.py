# SPDX-License-Identifier: MIT
"""Nothing comes from where one stands: every command in a directory full of traps, which none may run or notice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from making import code, notebook, parameters
from running import PACKAGE_ROOT, UFFDLAB

import uffdlab
from uffdlab import native, starting
from uffdlab.errors import UffdlabError
from uffdlab.host import facts, settings

SCRIPT = Path(sys.executable).with_name("uffdlab")
PROGRAMS = ("git", "chromium", "gcc", "cc", "python", "python3", "node", "sh", "sleep", "jupyter")
needs_probes = pytest.mark.skipif(native.why_missing() is not None, reason=str(native.why_missing()))


def modules() -> set[str]:
    """Return every name that could be imported here, of the standard library and of what is installed."""
    found = {*sys.stdlib_module_names, *packages_distributions(), "sitecustomize", "usercustomize"}
    return {name for name in found if name.isidentifier()} - {"uffdlab", *sys.builtin_module_names}


def taken_by_python_itself() -> set[str]:
    """Return what Python imports before any code of ours: with -m, from the working directory."""
    code = "import runpy, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


class Traps:
    """A working directory whose modules and programs leave their names when run or imported."""

    def __init__(self, directory: Path) -> None:
        self.here, self.ran = directory / "traps", directory / "ran"
        self.here.mkdir()
        self.spring = f"open({str(self.ran)!r}, 'a').write(__name__ + ' ')\n"

    def set(self, *names: str) -> None:
        for name in names:
            (self.here / f"{name}.py").write_text(self.spring)

    def set_all(self) -> None:
        self.set(*modules())
        for name in PROGRAMS:
            (self.here / name).write_text(f"#!/bin/sh\necho {name} >> {self.ran}\nexit 0\n")
            (self.here / name).chmod(0o755)
        (self.here / "startup").write_text(self.spring)

    def set_the_package(self) -> None:
        """Make another checkout."""
        (self.here / "uffdlab" / "measure").mkdir(parents=True)
        for name in ("__init__.py", "starting.py", "measure/__init__.py", "measure/child.py"):
            (self.here / "uffdlab" / name).write_text(self.spring)

    def sprung(self) -> list[str]:
        return sorted(set(self.ran.read_text().split())) if self.ran.exists() else []

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        lists = {"PATH": f".:{os.environ.get('PATH', os.defpath)}:", "PYTHONPATH": ""}
        return kept | lists | {"PYTHONSTARTUP": str(self.here / "startup"), "COLUMNS": "80"} | more


@pytest.fixture
def traps(tmp_path: Path) -> Traps:
    return Traps(tmp_path)


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    import nbformat

    made = notebook("# A", parameters(), code("import rich, json, uffdlab.claims, numpy; print(rich.__file__)"))
    (tmp_path / "notebooks").mkdir()
    nbformat.write(made, tmp_path / "notebooks" / "00_a.ipynb")
    return tmp_path / "notebooks"


COMMANDS = (
    ("--version",),
    ("doctor",),
    ("data", "list"),
    ("data", "check", "published"),
    ("claims", "atomicity", "spread-cost-later"),
    ("sim", "--design", "pmd_marker", "--span", "1GiB"),
    ("scan", "--self"),
    ("scan", "--cmd", "sleep 60", "--after", "0.3"),
    ("measure", "protect", "--size", "4MiB", "--repeats", "2", "--json"),
    ("measure", "occupancy", "--size", "8MiB"),
    ("measure", "--suite", "quick", "--only", "semantics", "--out", "../suite"),
    ("lab", "--help"),
    ("lab", "--", "--version"),
)


@pytest.mark.slow
@needs_probes
@pytest.mark.uffd
@pytest.mark.parametrize("way", ["script", "module"])
def test_every_command_ignores_the_working_directory(traps: Traps, notebooks: Path, tmp_path: Path, way: str) -> None:
    if way == "script" and not SCRIPT.exists():
        pytest.skip("the command is not installed")
    traps.set_all()
    if way == "script":
        traps.set_the_package()  # with -m, a package of that name where one stands is the one that is named
    else:
        for name in taken_by_python_itself():
            (traps.here / f"{name}.py").unlink(missing_ok=True)
    render = ("render", "--data", "reference", "--notebooks", str(notebooks), "--out", "../report")
    for arguments in (*COMMANDS, render):
        command = [str(SCRIPT)] if way == "script" else UFFDLAB
        done = subprocess.run(
            [*command, *arguments],
            cwd=traps.here,
            env=traps.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode, traps.sprung()) == (0, []), (arguments, done.stdout[-500:], done.stderr[-2000:])
        assert "Traceback" not in done.stderr, arguments
    assert not list(traps.here.rglob("__pycache__"))
    page = (tmp_path / "report" / "00_a.html").read_text()
    assert "site-packages" in re.sub(r"<[^>]*>", "", page), "the notebook's kernel imported the real one"


@needs_probes
@pytest.mark.uffd
@pytest.mark.parametrize("path", [".", ":", "..:.", "traps:"])
def test_relative_pythonpath_is_ignored(traps: Traps, path: str) -> None:
    """Only what Python itself imports before any code of ours may come from there."""
    if not SCRIPT.exists():
        pytest.skip("the command is not installed")
    traps.set(*(modules() - set(sys.stdlib_module_names) - {"sitecustomize", "usercustomize", "_distutils_hack"}))
    (traps.here / "traps").symlink_to(".")
    environment = traps.environment(PYTHONPATH=path)
    for arguments in (("claims", "atomicity"), ("measure", "protect", "--size", "4MiB", "--repeats", "2")):
        done = subprocess.run(
            [SCRIPT, *arguments], cwd=traps.here, env=environment, capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, traps.sprung()) == (0, []), done.stderr


@needs_probes
@pytest.mark.uffd
def test_checkout_that_is_not_installed_starts_its_children(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.c")
    shutil.copytree(PACKAGE_ROOT / "uffdlab", tmp_path / "checkout" / "uffdlab", ignore=ignored)
    child = tmp_path / "checkout" / "uffdlab" / "measure" / "child.py"
    child.write_text(child.read_text() + f"\nopen({str(tmp_path / 'ran')!r}, 'a').write(uffdlab.__file__)\n")
    child.write_text(child.read_text().replace("import json\n", "import json\nimport uffdlab\n", 1))
    (tmp_path / "checkout" / "rich.py").write_text("raise SystemExit('a trap')")
    done = subprocess.run(
        [*UFFDLAB, "measure", "protect", "--size=4MiB", "--repeats=2"],
        cwd=tmp_path / "checkout",
        env=os.environ | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ran").read_text() == str(tmp_path / "checkout" / "uffdlab" / "__init__.py")


def test_started_python_has_the_same_sys_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meant").mkdir()
    (tmp_path / "meant" / "asked.py").write_text(
        "import sys, uffdlab; print(sys.argv[1:], uffdlab.__file__, *sys.path, sep=chr(10))"
    )
    monkeypatch.syspath_prepend(tmp_path / "meant")
    monkeypatch.setattr(sys, "path", ["", ".", *sys.path])
    monkeypatch.chdir(tmp_path)
    command = starting.python("asked", "-v", "two words")
    output = subprocess.run(command, env=starting.environment(), capture_output=True, text=True, check=True).stdout
    places = [place for place in sys.path[2:] if Path(place).is_absolute()]
    assert output.splitlines() == [str(["-v", "two words"]), str(uffdlab.__file__), *places]


def test_environment_has_no_relative_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", ":/usr/bin:.:bin:/bin:")
    monkeypatch.setenv("PYTHONPATH", "x::/meant")
    monkeypatch.setenv("PYTHONSTARTUP", "x.py")
    found = starting.environment(MORE="1")
    assert (found["PATH"], found["PYTHONPATH"], found["MORE"]) == ("/usr/bin:/bin", "/meant", "1")
    assert "PYTHONSTARTUP" not in found
    for nothing in ("", ".", "a:"):
        monkeypatch.setenv("PATH", nothing)
        assert "PATH" not in starting.environment()
        assert starting.program("sh") is None


def test_program_is_found_in_absolute_directories_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "tool").write_text("#!/bin/sh\n")
        (tmp_path / place / "tool").chmod(0o755)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PATH", f".::{tmp_path}/there")
    assert starting.program("tool") == f"{tmp_path}/there/tool"
    assert starting.program("./tool") == "./tool"


# --- git, in a repository that another user has configured -----------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make a package in a repository of its own."""
    if starting.program("git") is None:
        pytest.skip("git is not installed")
    package = tmp_path / "project" / "uffdlab"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("x = 1\n")
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "-c", "user.name=t", "-c", "user.email=t", "commit", "-q", "-m", "t")
    return package


def git(directory: Path, *arguments: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", "-C", str(directory), *arguments], check=True, env=environment, capture_output=True)


def test_git_runs_nothing_that_a_repository_names(checkout: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f'#!/bin/sh\necho "$0 $@" >> {tmp_path}/ran\ncat\n')
    trap.chmod(0o755)
    hooks = checkout.parent / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
        shutil.copy(trap, hooks / hook)
    (checkout.parent / ".git" / "info").mkdir(exist_ok=True)
    (checkout.parent / ".git" / "info" / "attributes").write_text("* filter=evil diff=evil\n")
    for name in (
        "core.fsmonitor", "core.pager", "pager.ls-tree", "pager.ls-files", "filter.evil.clean", "filter.evil.process",
        "filter.evil.smudge", "diff.evil.textconv", "diff.external", "core.sshCommand", "core.editor",
        "credential.helper", "remote.origin.uploadpack",
    ):  # fmt: skip
        git(checkout.parent, "config", name, str(trap))
    os.utime(checkout / "__init__.py", (1, 1))  # so that git would look at the content again
    (tmp_path / "ran").unlink(missing_ok=True)
    commit, dirty = facts._checkout(checkout)
    assert (len(commit or ""), dirty) == (40, False)
    assert not (tmp_path / "ran").exists()


def test_repository_in_a_parent_directory_is_ignored(checkout: Path, tmp_path: Path) -> None:
    shutil.move(checkout.parent / ".git", tmp_path / ".git")
    git(tmp_path, "config", "core.worktree", str(checkout.parent))
    assert facts._checkout(checkout) == (None, None)


@pytest.mark.parametrize("change", ["content", "mode", "gone", "kind", "new"])
def test_any_change_of_the_package_makes_it_dirty(checkout: Path, change: str) -> None:
    assert facts._checkout(checkout)[1] is False
    file = checkout / "__init__.py"
    if change == "content":
        file.write_text("x = 2\n")
    elif change == "mode":
        file.chmod(0o755)
    elif change == "gone":
        file.unlink()
    elif change == "kind":
        file.rename(checkout.parent / "elsewhere")
        file.symlink_to("../elsewhere")
    else:
        (checkout / "gr\u00fc\u00dfe.py").touch()
    assert facts._checkout(checkout)[1] is True


def test_changed_file_with_a_quoted_name_is_found(checkout: Path) -> None:
    (checkout / "gr\u00fc\u00dfe \t.txt").write_text("x")
    git(checkout.parent, "add", ".")
    git(checkout.parent, "-c", "user.name=t", "-c", "user.email=t", "commit", "-q", "-m", "t")
    assert facts._checkout(checkout)[1] is False


# --- a directory that was open to others -----------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.parametrize("planted", ["file", "fifo"])
def test_journal_planted_by_another_user_is_not_used(
    planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o777)
    monkeypatch.setenv(settings.STATE_DIR_VARIABLE, str(state))
    if planted == "fifo":
        os.mkfifo(state / "journal.json")
    else:
        (state / "journal.json").write_text("{}")
        os.chown(state / "journal.json", 65534, 65534)
    with pytest.raises(UffdlabError, match="it is not a regular file of this user"):
        settings.restore_leftovers(tmp_path)
