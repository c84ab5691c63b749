# SPDX-License-Identifier: MIT
"""A file is written at whatever stands at its name: a device stays a device, a link a link, an old file whole."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from running import UFFDLAB, environment, sentence, uffdlab_run
from synthetic_bitmap import example

from uffdlab import datasets, outfile
from uffdlab.datasets import bitmap
from uffdlab.datasets.descriptor import read_raw, rewrite
from uffdlab.errors import UffdlabError
from uffdlab.report import committed

NULL, FULL = os.makedev(1, 3), os.makedev(1, 7)
SCAN = ("scan", "--self", "--bitmap")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a device, or act as another user")


def device(path: Path, number: int, kind: int = stat.S_IFCHR) -> Path:
    try:
        os.mknod(path, kind | 0o666, number)
        os.close(os.open(path, os.O_WRONLY))
    except OSError as error:
        pytest.skip(f"no device can be made and opened here: {error.strerror}")
    return path


def is_device(path: Path, number: int) -> bool:
    status = os.lstat(path)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == number


def refused(path: Path, content: bytes = b"new") -> str:
    """Return the sentence of a refusal, after checking that no temporary file is left."""
    with pytest.raises(UffdlabError) as refusal:
        outfile.write(path, content)
    assert not list(path.parent.glob(".uffdlab-*"))
    return str(refusal.value)


@pytest.fixture
def mask() -> object:
    before = os.umask(0o027)
    yield
    os.umask(before)


# --- plain files -----------------------------------------------------------------------------------------------------


def test_new_file_honours_the_umask(tmp_path: Path, mask: None) -> None:
    outfile.write(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["f"]


def test_replaced_file_keeps_mode_and_owner(tmp_path: Path, mask: None) -> None:
    (tmp_path / "f").write_bytes(b"old")
    (tmp_path / "f").chmod(0o604)
    if os.geteuid() == 0:
        os.chown(tmp_path / "f", 65534, 65534)
    outfile.write(tmp_path / "f", b"new")
    status = (tmp_path / "f").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o604, 65534 if os.geteuid() == 0 else os.geteuid())
    assert (tmp_path / "f").read_bytes() == b"new"


def test_open_reader_keeps_the_whole_old_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    with (tmp_path / "f").open("rb") as reader:
        outfile.write(tmp_path / "f", b"new and longer")
        assert reader.read() == b"old"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    (tmp_path / "f").write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    assert refused(tmp_path / "f") == f"{tmp_path}/f cannot be written: No space left on device"
    assert (tmp_path / "f").read_bytes() == b"old"


def test_existing_temporary_name_is_not_followed(tmp_path: Path, monkeypatch: object) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    assert isinstance(monkeypatch, pytest.MonkeyPatch)
    monkeypatch.setattr(outfile.secrets, "token_hex", lambda _: "guessed")
    (tmp_path / ".uffdlab-guessed.tmp").symlink_to(victim)
    with pytest.raises(UffdlabError, match="cannot be written: File exists"):
        outfile.write(tmp_path / "f", b"new")
    assert victim.read_bytes() == b"precious"


# --- devices and FIFOs -----------------------------------------------------------------------------------------------


@as_root
def test_device_is_written_through_and_kept(tmp_path: Path) -> None:
    null = device(tmp_path / "null", NULL)
    outfile.write(null, b"x" * 100_000)
    outfile.check(null)
    assert is_device(null, NULL)
    assert os.listdir(tmp_path) == ["null"]


@as_root
def test_full_device_is_an_error(tmp_path: Path) -> None:
    full = device(tmp_path / "full", FULL)
    assert refused(full) == f"{full} cannot be written: No space left on device"
    assert is_device(full, FULL)


@as_root
def test_device_without_driver_is_an_error(tmp_path: Path) -> None:
    os.mknod(tmp_path / "none", stat.S_IFBLK | 0o600, os.makedev(259, 1_000_000))
    assert refused(tmp_path / "none").startswith(f"{tmp_path}/none cannot be written: No such device")
    assert stat.S_ISBLK(os.lstat(tmp_path / "none").st_mode)


def test_terminal_is_written_through(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    try:
        outfile.write(Path(os.ttyname(theirs)), b"seen")
        assert os.read(ours, 100) == b"seen"
    finally:
        os.close(ours)
        os.close(theirs)


def test_fifo_waits_for_its_reader_and_is_kept(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[bytes] = []
    reader = threading.Timer(0.3, lambda: read.append(fifo.read_bytes()))
    reader.start()
    content = os.urandom(1 << 20)  # more than a pipe holds
    outfile.write(fifo, content)
    reader.join()
    assert read == [content]
    assert stat.S_ISFIFO(os.lstat(fifo).st_mode)


def test_fifo_without_a_reader_fails_after_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outfile, "READER_S", 0.1)
    os.mkfifo(tmp_path / "fifo")
    assert "is a FIFO that no process has opened for reading within 0.1 s" in refused(tmp_path / "fifo")
    outfile.check(tmp_path / "fifo")
    assert stat.S_ISFIFO(os.lstat(tmp_path / "fifo").st_mode)


def test_fifo_whose_reader_leaves_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = threading.Thread(target=lambda: os.close(os.open(tmp_path / "fifo", os.O_RDONLY)))
    reader.start()
    assert refused(tmp_path / "fifo", os.urandom(1 << 20)).endswith("lost its reader before all was written")
    reader.join()


# --- links -----------------------------------------------------------------------------------------------------------


def test_symbolic_link_is_followed_and_kept(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file").write_bytes(b"old")
    (tmp_path / "far" / "second").symlink_to("file")
    (tmp_path / "first").symlink_to("far/second")
    outfile.write(tmp_path / "first", b"new")
    assert (tmp_path / "far" / "file").read_bytes() == b"new"
    assert [str((tmp_path / name).readlink()) for name in ("first", "far/second")] == ["far/second", "file"]
    assert sorted(os.listdir(tmp_path / "far")) == ["file", "second"]


def test_dangling_link_creates_its_target(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "file")
    outfile.check(tmp_path / "link")
    outfile.write(tmp_path / "link", b"new")
    assert (tmp_path / "far" / "file").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()


@as_root
def test_link_to_a_device_writes_to_the_device(tmp_path: Path) -> None:
    null = device(tmp_path / "null", NULL)
    (tmp_path / "link").symlink_to("null")
    outfile.write(tmp_path / "link", b"gone")
    assert is_device(null, NULL)
    assert (tmp_path / "link").is_symlink()


def test_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert refused(tmp_path / "a") == f"{tmp_path}/a cannot be written: Too many levels of symbolic links"
    with pytest.raises(UffdlabError, match="Too many levels"):
        outfile.check(tmp_path / "a")


@as_root
def test_another_user_s_link_in_a_sticky_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"old")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "out").symlink_to(tmp_path / "precious")
    outfile.write(shared / "out", b"mine")  # root's own link
    os.lchown(shared / "out", 65534, 65534)
    assert "a symbolic link that another user put into a directory open to all" in refused(shared / "out")
    assert (tmp_path / "precious").read_bytes() == b"mine"


# --- this process's own descriptors ----------------------------------------------------------------------------------

TO_STDOUT = """
import sys
from pathlib import Path
from uffdlab import outfile
print("before", end=" ")
outfile.check(Path(sys.argv[1]))
outfile.write(Path(sys.argv[1]), b"content ")
print("after")
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/proc/thread-self/fd/1", "link"])
@pytest.mark.parametrize("to", ["pipe", "file"])
def test_standard_output_keeps_the_order_of_writes(tmp_path: Path, name: str, to: str) -> None:
    if not Path("/dev/stdout").is_symlink():
        pytest.skip("this system has no /dev/stdout")
    (tmp_path / "link").symlink_to("/dev/stdout")
    path = str(tmp_path / "link") if name == "link" else name
    with (tmp_path / "out").open("w") as out:
        done = subprocess.run(
            [sys.executable, "-c", TO_STDOUT, path],
            env=environment(),
            stdout=subprocess.PIPE if to == "pipe" else out,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    printed = done.stdout if to == "pipe" else (tmp_path / "out").read_text()
    assert printed == "before content after\n"
    assert Path("/dev/stdout").is_symlink()


def test_read_only_descriptor_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    with (tmp_path / "f").open("rb") as reader:
        place = Path(f"/dev/fd/{reader.fileno()}")
        if not place.exists():
            pytest.skip("this system has no /dev/fd")
        assert "Bad file descriptor" in refused(place)
        with pytest.raises(UffdlabError, match="it is not open for writing"):
            outfile.check(place)
    assert (tmp_path / "f").read_bytes() == b"old"


# --- everything else -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [lambda path: outfile.write(path, b"new"), outfile.check], ids=["write", "check"])
def test_directories_and_sockets_are_refused(tmp_path: Path, ask: Callable[[Path], None]) -> None:
    (tmp_path / "d").mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        directory = os.open(tmp_path, os.O_RDONLY)
        bound.bind(f"/proc/self/fd/{directory}/s")  # the path of a socket is short
        os.close(directory)
        for name, what in {
            "d": "is a directory: name a file",
            "s": "is a socket: name a file",
            "none/f": "cannot be written: ",
            "x" * 300: "cannot be written: File name too long",
            "y/" * 3000: "cannot be written: File name too long",
            "nul\0": "holds a character that no file name can have",
        }.items():
            with pytest.raises(UffdlabError) as refusal:
                ask(tmp_path / name)
            assert what in str(refusal.value), name
            assert len(str(refusal.value)) < 400
    assert sorted(os.listdir(tmp_path)) == ["d", "s"]


# --- whoever writes a file writes it so ------------------------------------------------------------------------------


def bitmaps(path: Path, _: Path) -> None:
    bitmap.save(example(), path)


def notebooks(path: Path, directory: Path) -> None:
    made = directory / "made.ipynb"
    made.write_text((Path(committed.__file__).parents[2] / "notebooks" / "00_the_thread.ipynb").read_text())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(committed, "execute", lambda path, _: committed.read(made))
        committed.rewrite(path)


def pictures(path: Path, _: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(committed, "picture", lambda notebook, cell: b"a picture")
        committed.main(["--picture", "any.ipynb", "cell", str(path)])


@as_root
@pytest.mark.parametrize("writer", [bitmaps, notebooks, pictures])
def test_every_command_keeps_devices_and_links(tmp_path: Path, writer: Callable[[Path, Path], None]) -> None:
    if writer is notebooks and not (Path(committed.__file__).parents[2] / "notebooks").is_dir():
        pytest.skip("this is no checkout")
    null = device(tmp_path / "null", NULL)
    (tmp_path / "link").symlink_to("file")
    writer(null, tmp_path)
    writer(tmp_path / "link", tmp_path)
    assert is_device(null, NULL)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").stat().st_size > 0


def test_descriptor_file_is_replaced_behind_its_link(lab: Path) -> None:
    (lab / "datapackage.json").chmod(0o640)
    rewrite(lab, read_raw(lab))
    assert stat.S_IMODE((lab / "datapackage.json").stat().st_mode) == 0o640
    assert datasets.load(lab).tables


@as_root
def test_scan_writes_to_a_device_and_to_standard_output(tmp_path: Path) -> None:
    null, full = device(tmp_path / "null", NULL), device(tmp_path / "full", FULL)
    done = uffdlab_run(*SCAN, null, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    message = sentence(uffdlab_run(*SCAN, full, cwd=tmp_path))
    assert message == f"bitmap {full} cannot be written: No space left on device"
    assert is_device(null, NULL)
    assert is_device(full, FULL)
    piped = subprocess.run([*UFFDLAB, *SCAN, "/dev/stdout"], env=environment(), cwd=tmp_path, capture_output=True)
    assert piped.returncode == 0, piped.stderr
    assert piped.stdout.startswith(bitmap.MAGIC)


def test_scan_refuses_a_bad_output_before_it_scans(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    message = sentence(uffdlab_run(*SCAN, "d", cwd=tmp_path))
    assert message == "--bitmap d is a directory: name a file"
