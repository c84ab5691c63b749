# SPDX-License-Identifier: MIT
"""Arguments, paths, exceptions and standard streams of any kind give one sentence or a result."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from running import UFFDLAB, environment, sentence, uffdlab_run

from uffdlab import cli, datasets
from uffdlab.cli import common
from uffdlab.errors import UffdlabError

FULL = os.makedev(1, 7)
QUICK = (("--version",), ("data", "list", "--json"), ("sim", "--list"))


class Run:
    """The output and exit status of a command run in this process."""

    def __init__(self, *arguments: str, out: Any = None) -> None:
        self.out, self.err = out or io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys, "stdout", self.out)
            patched.setattr(sys, "stderr", self.err)
            try:
                self.status: Any = cli.main(arguments)
            except SystemExit as end:  # --help
                self.status = end.code
            assert (sys.stdout, sys.stderr) == (self.out, self.err), "they are put back"

    @property
    def stderr(self) -> str:
        return str(self.err.buffer.getvalue().decode())  # type: ignore[attr-defined]

    @property
    def printed(self) -> bytes:
        return bytes(self.out.buffer.getvalue())

    def sentence(self) -> str:
        assert self.status == 2, self.stderr
        assert "Traceback" not in self.stderr
        lines = self.stderr.splitlines()
        assert lines, "nothing was run"
        assert lines[-1].startswith("uffdlab: error: "), lines
        assert all(line.startswith("uffdlab: ") for line in lines)
        return lines[-1].removeprefix("uffdlab: error: ")


# --- paths -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return paths that cannot be read, most of which cannot be written."""
    top = tmp_path_factory.mktemp("places")
    (top / "loop").symlink_to("pool")
    (top / "pool").symlink_to("loop")
    (top / "file").write_text("x")
    os.mkfifo(top / "fifo")
    return {
        "a long name": str(top / ("x" * 300)),
        "a long path": str(top) + "/y" * 2500,
        "a loop": str(top / "loop"),
        "below a loop": str(top / "loop" / "x"),
        "a null byte": str(top / "nul\0byte"),
        "not UTF-8": os.fsdecode(os.fsencode(top) + b"/\xff\xfe/\xff"),
        "half a pair": str(top / "\ud800" / "x"),
        "nothing": "",
        "a file": str(top / "file"),
        "below a file": str(top / "file" / "x"),
        "a FIFO": str(top / "fifo"),
        "a control": str(top / "a\n\x1b[31mb" / "x"),
        "nowhere": "/proc/self/nowhere/x",
    }


READING = (
    ("data", "list", "{}"),
    ("data", "check", "{}"),
    ("data", "scrub", "{}"),
    ("data", "seal", "{}"),
    ("data", "merge", "{}", "--out", "fresh"),
    ("claims", "--data", "{}"),
    ("sim", "--design", "pte_marker", "--costs", "{}"),
    ("sim", "--calibrate", "{}", "--out", "fresh"),
    ("render", "--data", "{}", "--out", "fresh"),
    ("render", "--data", "reference", "--costs", "{}", "--out", "fresh"),
    ("render", "--data", "reference", "--this-machine", "{}", "--out", "fresh"),
    ("render", "--data", "reference", "--beside", "{}", "--out", "fresh"),
    ("render", "--data", "reference", "--notebooks", "{}", "--out", "fresh"),
    ("lab", "--notebooks", "{}"),
    ("measure", "--resume", "--out", "{}"),
    ("measure", "--finish", "--out", "{}"),
)
WRITING = (
    ("scan", "--self", "--bitmap", "{}"),
    ("measure", "protect", "--size", "4MiB", "--repeats", "2", "--out", "{}"),
    ("measure", "--suite", "quick", "--out", "{}"),
    ("data", "merge", "published", "published", "--out", "{}"),
    ("sim", "--calibrate", "published", "--out", "{}"),
    ("render", "--data", "reference", "--notebooks", "nowhere", "--out", "{}"),
)
WRITABLE = ("not UTF-8", "a control", "a FIFO", "half a pair")  # odd names, but names


@pytest.mark.parametrize("command", READING, ids=lambda command: " ".join(command))
def test_a_path_that_cannot_be_read_gives_one_sentence(
    command: Sequence[str], places: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("JupyterLab would have been started"))
    for what, path in places.items():
        run = Run(*(argument.format(path) if argument == "{}" else argument for argument in command))
        refusal = run.sentence()
        assert len(refusal) < 700, (what, refusal)
        assert refusal.isprintable(), what
        assert os.listdir(tmp_path) == [], what


@pytest.mark.parametrize("command", WRITING, ids=lambda command: " ".join(command))
def test_a_path_that_cannot_be_written_gives_one_sentence(
    command: Sequence[str], places: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for what, path in places.items():
        if what in WRITABLE or (what == "a file" and command[0] == "scan"):
            continue
        run = Run(*(argument.format(path) if argument == "{}" else argument for argument in command))
        refusal = run.sentence()
        assert len(refusal) < 700, (what, refusal)
        assert refusal.isprintable(), what
        assert os.listdir(tmp_path) == [], what


def test_an_empty_dataset_name_is_refused() -> None:
    for command in (("claims", "--data", ""), ("sim", "--design", "preread", "--costs", ""), ("data", "check", "")):
        assert "empty" in Run(*command).sentence()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_inaccessible_directory_gives_one_sentence(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    tmp_path.chmod(0o755)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            sentences = [
                Run(*command).sentence()
                for command in (("data", "check", f"{closed}/x"), ("data", "list", str(closed / "x")))
            ]
            os.write(write, json.dumps(sentences).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as answers:
        sentences = json.loads(answers.read() or "[]")
    os.waitpid(child, 0)
    assert [text.partition(" may not be accessed: ")[0] for text in sentences] == [f"{closed}/x"] * 2


# --- errors and bugs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENAMETOOLONG, "", "x" * 5000), "is too long for a path"),
        (OSError(errno.ELOOP, "", "a"), "a goes through a symbolic link"),
        (OSError(errno.ENOSPC, "", b"\xff"), "has no space left on its device"),
        (OSError(errno.EACCES, "", 7), "7 may not be accessed"),
        (OSError(errno.EMFILE, ""), "too many files are open"),
        (OSError(errno.EAGAIN, ""), "no process or thread can be started"),
        (OSError(errno.ENOMEM, ""), "there is not enough memory"),
        (OSError(errno.ENOTTY, "Not a typewriter"), "the system refused: Not a typewriter"),
        (OSError("of no number"), "the system refused: of no number"),
        (UnicodeEncodeError("ascii", "\u2013", 0, 1, "no"), "a text cannot be read or written in its encoding"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), "a text cannot be read or written in its encoding"),
        (MemoryError(), "there is not enough memory"),
        (RecursionError(), "nested too deeply"),
        (ModuleNotFoundError("No module named 'rich'", name="rich"), "a package that uffdlab needs cannot be imported"),
        (ImportError("libz.so:\n cannot map"), "(libz.so: cannot map)"),
        (UffdlabError("a name with \x1b[31m and \n in it"), r"a name with \x1b[31m and \n in it"),
    ],
)
def test_an_error_of_the_system_gives_one_sentence(
    error: Exception, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> None:
        raise error

    monkeypatch.setattr(datasets, "listing", fails)
    assert expected in Run("data", "list").sentence()


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError(), TypeError(), AssertionError(), ModuleNotFoundError("no", name="uffdlab.claims.missing")],
)
def test_a_bug_keeps_its_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise error

    monkeypatch.setattr(datasets, "listing", fails)
    with pytest.raises(type(error)):
        Run("data", "list")


@pytest.mark.parametrize("where", ["import", "arguments", "command"])
def test_ctrl_c_gives_one_line_at_any_time(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if where == "arguments":
        monkeypatch.setattr(cli, "_parser", interrupt)
    elif where == "command":
        monkeypatch.setattr(datasets, "listing", interrupt)
    if where != "import":
        run = Run("data", "list")
        assert (run.status, run.stderr) == (130, "uffdlab: interrupted\n")
        return
    code = f"""
import builtins, sys
real = builtins.__import__
def imported(name, *rest):
    if name == "argparse":
        raise KeyboardInterrupt
    return real(name, *rest)
builtins.__import__ = imported
sys.path.insert(0, {str(Path(cli.__file__).parents[2])!r})
from uffdlab.__main__ import main
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code, "data", "list"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "uffdlab: interrupted\n")


# --- standard streams ------------------------------------------------------------------------------------------------


def shell(redirection: str, *arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell that redirects its streams."""
    script = f'"$@" {redirection}'
    return subprocess.run(
        ["sh", "-c", script, "-", *UFFDLAB, *arguments],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """Make a device that is always full."""
    path = tmp_path / "full"
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, FULL)
        os.close(os.open(path, os.O_WRONLY))
    except OSError as error:
        pytest.skip(f"no device can be made and opened here: {error.strerror}")
    yield path
    status = os.lstat(path)
    assert stat.S_ISCHR(status.st_mode)
    assert status.st_rdev == FULL


@pytest.mark.parametrize("arguments", QUICK, ids=" ".join)
def test_a_closed_standard_output_gives_one_sentence(arguments: Sequence[str], tmp_path: Path) -> None:
    assert sentence(shell(">&-", *arguments, cwd=tmp_path)) == "standard output cannot be written: it is closed"


def test_a_full_standard_output_gives_one_sentence(full: Path, tmp_path: Path) -> None:
    for arguments, unbuffered in zip((*QUICK, QUICK[0]), ("", "1", "", "1"), strict=True):
        done = shell(f"> {full}", *arguments, cwd=tmp_path, PYTHONUNBUFFERED=unbuffered)
        assert sentence(done) == "standard output cannot be written: No space left on device"


def test_a_closed_or_full_standard_error_changes_nothing_else(full: Path, tmp_path: Path) -> None:
    for redirection in ("2>&-", f"2> {full}", "<&- 2>&-"):
        fine = shell(redirection, "data", "list", "--json", cwd=tmp_path)
        assert (fine.returncode, bool(json.loads(fine.stdout)), fine.stderr) == (0, True, "")
        wrong = shell(redirection, "data", "check", "./nowhere", cwd=tmp_path)
        assert (wrong.returncode, wrong.stdout) == (2, ""), "messages are not written to standard output"
    assert shell("<&- >&- 2>&-", "data", "list", cwd=tmp_path).returncode == 2


@pytest.mark.uffd
def test_a_dataset_is_written_with_all_standard_streams_closed(tmp_path: Path) -> None:
    point = ("measure", "semantics", "--out", "d", "--features=none")
    done = shell("<&- >&- 2>&-", *point, cwd=tmp_path)
    assert done.returncode == 2, "its table could not be printed"
    assert len(datasets.load(tmp_path / "d").table("states")) > 0


@pytest.fixture(scope="module")
def plain() -> dict[tuple[str, ...], Run]:
    """Keep the output of commands whose streams can encode everything."""
    return {}


@pytest.mark.parametrize("codec", ["ascii", "latin-1", "cp1252"])
def test_tables_and_json_are_printed_in_any_encoding(codec: str, lab: Path, plain: dict[tuple[str, ...], Run]) -> None:
    claims = ("claims", "zeropage-other-contexts", "pmd-marker-wins", "--data", "reference")
    for arguments in (claims, (*claims, "--markdown"), (*claims, "--json"), ("data", "list", str(lab))):
        plain.setdefault(arguments, Run(*arguments))
        out = io.TextIOWrapper(io.BytesIO(), codec, errors="strict")
        run = Run(*arguments, out=out)
        assert (run.status, run.stderr) == (0, "")
        text = run.printed.decode(codec)
        if "--json" in arguments:
            assert json.loads(text) == json.loads(plain[arguments].printed)
        else:
            widths = [len(line) for line in plain[arguments].printed.decode().splitlines()]
            assert [len(line) for line in text.splitlines()] == widths, "the width does not depend on the encoding"
        assert out.errors == "strict", "the stream is restored"


@pytest.mark.parametrize(
    "more", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_output_and_errors_are_ascii_on_an_ascii_terminal(more: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "gr\u00fc\u00dfe").mkdir()
    done = shell("", "claims", "zeropage-other-contexts", cwd=tmp_path, **more)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    refusal = shell("", "data", "check", "./gr\u00fc\u00dfe", cwd=tmp_path, **more)
    assert "does not exist: the directory is not a dataset" in sentence(refusal)
    assert refusal.stderr.isascii()


def test_a_name_that_is_not_utf_8_is_listed(tmp_path: Path) -> None:
    broken = tmp_path / os.fsdecode(b"\xff")
    broken.mkdir()
    (broken / "datapackage.json").touch()
    (listed,) = json.loads(Run("data", "list", str(tmp_path), "--json").printed)
    assert os.fsencode(listed["path"]) == os.fsencode(broken)
    assert b"\\xff" in Run("data", "list", str(tmp_path)).printed


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("data", "list"), ("claims", "--help")])
def test_a_pipe_closed_before_the_first_line_is_not_an_error(arguments: Sequence[str], tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*UFFDLAB, *arguments], cwd=tmp_path, env=environment(), stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_is_reported_with_a_closed_pipe_as_output(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [*UFFDLAB, "data", "check", "published", "./nowhere"]
    env = environment(PYTHONUNBUFFERED="")  # so that what is printed waits until the refusal
    done = subprocess.run(command, cwd=tmp_path, env=env, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.returncode == 2
    assert "nowhere does not exist" in done.stderr


def test_a_non_blocking_pipe_gets_all_output(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with subprocess.Popen(
        [*UFFDLAB, "data", "list", "--json"], cwd=tmp_path, env=environment(), stdout=write, stderr=subprocess.PIPE
    ) as running:
        os.close(write)
        with os.fdopen(read, "rb") as answers:
            printed = answers.read()
        assert running.wait(60) == 0
    assert json.loads(printed)


def test_systemexit_from_a_signal_sets_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def terminate(_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    monkeypatch.setattr(datasets, "listing", terminate)
    assert Run("data", "list").status == 143


# --- engines ---------------------------------------------------------------------------------------------------------

BROKEN = """
import sys

class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "uffdlab.native._sim":
            {extension}
        if name == "wasmtime":
            {wasmtime}

sys.meta_path.insert(0, Broken())
"""
NO_LIBRARY = "raise OSError('libsim.so: invalid ELF header')"
DIES = "import os, signal; os.kill(os.getpid(), signal.SIGABRT)"
IN_A_CHILD = "if 'uffdlab.native.wasm' in sys.orig_argv: "


@pytest.mark.parametrize(
    ("extension", "wasmtime", "why"),
    [
        (NO_LIBRARY, NO_LIBRARY, "wasmtime does not load (libsim.so: invalid ELF header)"),
        ("raise ImportError('no')", "raise RuntimeError('no pages')", "wasmtime does not load (no pages)"),
        ("raise SystemError('of another Python')", f"{IN_A_CHILD}{DIES}", "(signal 6)"),
        ("raise ImportError('no')", "raise ImportError('none')", "has nothing to run it (none)"),
    ],
)
def test_an_engine_that_cannot_start_is_reported_as_missing(
    extension: str, wasmtime: str, why: str, child_code: Callable[[str], None], tmp_path: Path
) -> None:
    child_code(BROKEN.format(extension=extension, wasmtime=wasmtime))
    refusal = sentence(uffdlab_run("sim", "--design", "pte_marker", cwd=tmp_path))
    assert why in refusal
    assert "install gcc (or clang)" in refusal
    predicted = ["pmd-marker-wins", "pud-marker-wins", "spread-cost-later"]
    done = uffdlab_run("claims", "markers-cost-later-thp", *predicted, "--data=reference", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    decided, *without = json.loads(done.stdout)
    assert (decided["id"], decided["verdict"]) == ("markers-cost-later-thp", "holds")
    assert [claim["id"] for claim in without if why in claim["because"]] == predicted
    assert {claim["verdict"] for claim in without} == {"not decided"}
    for arguments in (("data", "list"), ("sim", "--list"), ("scan", "--self")):
        assert uffdlab_run(*arguments, cwd=tmp_path).returncode == 0


def test_too_little_address_space_gives_one_sentence(child_code: Callable[[str], None], tmp_path: Path) -> None:
    child_code(BROKEN.format(extension="raise ImportError('no')", wasmtime="pass"))
    pytest.importorskip("wasmtime")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

    done = uffdlab_run("sim", "--design", "pte_marker", "--writes", "10", cwd=tmp_path, preexec_fn=limited)
    assert done.returncode == 0 or "cannot be" in sentence(done)


def test_say_ignores_a_full_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    common.say("anything")
