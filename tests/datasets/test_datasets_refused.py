# SPDX-License-Identifier: MIT
"""An invalid dataset is refused with a sentence that names the place and the remedy."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handmade import drop, edit, put, refused

from uffdlab.datasets import load, seal

# Directories that are not datasets


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with refused(str(tmp_path / "nope"), "does not exist"):
        load(tmp_path / "nope")


def test_a_file_instead_of_a_directory_is_refused(lab: Path) -> None:
    with refused("samples.csv", "is a file", "name the directory"):
        load(lab / "samples.csv")


def test_a_path_through_a_file_is_refused(lab: Path) -> None:
    with refused("a component that is a file"):
        load(lab / "samples.csv" / "x")


def test_a_path_that_cannot_exist_is_refused() -> None:
    with refused("no file name can have"):
        load("nul\0byte")
    with refused("too long"):
        load("x" * 5000)


def test_a_directory_without_descriptor_is_refused(tmp_path: Path) -> None:
    with refused("datapackage.json", "does not exist", "not a dataset"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (b"{", ["not valid JSON"]),
        (b"", ["not valid JSON"]),
        (b"\xff\xfe{}", ["not valid JSON"]),
        (b"[1]", ["[1], not an object"]),
        (b'{"a": NaN}', ["not valid JSON", "NaN"]),
        (b'{"a": 1e999}', ["not valid JSON", "too large"]),
        (b'{"a": 1, "a": 2}', ["'a' occurs twice"]),
        (b'{"a": "\\ud800"}', ["not valid JSON"]),
        (b"[" * 200_000, ["nested too deeply"]),
        (b'{"a": ' + b"9" * 5000 + b"}", ["not valid JSON"]),
        (b" " * (5 << 20), ["larger than 4096 KiB"]),
    ],
)
def test_a_descriptor_that_is_not_a_json_object_is_refused(lab: Path, text: bytes, parts: list[str]) -> None:
    (lab / "datapackage.json").write_bytes(text)
    with refused("datapackage.json", *parts):
        load(lab)


FIELD = ("resources", 0, "schema", "fields", 0)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (drop("name"), ["name is missing"]),
        (drop("uffdlab"), ["uffdlab is missing"]),
        (drop("provenance"), ["provenance is missing"]),
        (drop("resources", 0, "hash"), ["resources[0].hash is missing"]),
        (put(5, "title"), ["title is 5, not a text"]),
        (put("two\nlines", "title"), ["title is 'two\\nlines' and must be one line"]),
        (put("../x", "name"), ["name is '../x'"]),
        (put("today", "created"), ["created is 'today'"]),
        (put(True, "uffdlab", "format_version"), ["format_version is True, not an integer"]),
        (put(2, "uffdlab", "format_version"), ["is 2, newer", "update uffdlab"]),
        (put(0, "uffdlab", "format_version"), ["is 0, older", "measure again"]),
        (put("guessed", "uffdlab", "kind"), ["uffdlab.kind is 'guessed'"]),
        (put([], "resources"), ["resources is [] and must be a list of at least one table"]),
        (put(["x"], "resources"), ["resources[0] is 'x', not an object"]),
        (put("/etc/passwd", "resources", 0, "path"), ["resources[0].path", "'/etc/passwd'", "lead out"]),
        (put("../samples.csv", "resources", 0, "path"), ["resources[0].path", "lead out"]),
        (put("../etc", "resources", 0, "name"), ["resources[0].name", "'../etc'"]),
        (put("latin-1", "resources", 0, "encoding"), ["resources[0].encoding"]),
        (put({}, "resources", 0, "colour"), ["resources[0] has a key 'colour'"]),
        (put("md5:1", "resources", 0, "hash"), ["resources[0].hash"]),
        (put([], *FIELD[:-1]), ["schema.fields is [] and must be a list of at least one column"]),
        (put("uuid", *FIELD, "type"), ["fields[0].type is 'uuid' and must be one of integer, number"]),
        (put("design", *FIELD, "name"), ["fields[1] declares the column 'design' a second time"]),
        (
            put({"pattern": "x"}, *FIELD, "constraints"),
            ["fields[0].constraints has a key 'pattern'", "it has required, enum"],
        ),
        (put({"minimum": "x"}, *FIELD, "constraints"), ["fields[0]", "wrong type", "'x'"]),
        (
            put("here", "provenance", "hostname"),
            ["'hostname' is not on the allow-list", "uffdlab data scrub"],
        ),
        (put({}, "merged_from"), ["merged_from is {}, not a list"]),
        (put([{}], "sources"), ["sources[0].title is missing"]),
        (
            put("6.18.6", "provenance", "kernel_release"),
            ["differs from what was sealed", "uffdlab data seal"],
        ),
        (drop("uffdlab", "seal"), ["differs from what was sealed"]),
    ],
)
def test_an_invalid_descriptor_is_refused(lab: Path, change: Callable[[Any], Any], parts: list[str]) -> None:
    edit(lab, change)
    with refused("datapackage.json", *parts):
        load(lab)


# Files that are not what they should be


def test_a_missing_table_is_refused(lab: Path) -> None:
    (lab / "samples.csv").unlink()
    with refused("samples.csv is missing", "restore it"):
        load(lab)


@pytest.mark.parametrize("name", ["samples.csv", "datapackage.json"])
@pytest.mark.parametrize(
    ("replace", "kind"),
    [
        (os.mkfifo, "a FIFO"),
        (os.mkdir, "a directory"),
        (lambda path: path.symlink_to("/dev/zero"), "a symbolic link"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "a socket"),
    ],
)
def test_a_special_file_is_refused_without_blocking(
    lab: Path, name: str, replace: Callable[[Path], Any], kind: str
) -> None:
    (lab / name).unlink()
    replace(lab / name)
    start = time.monotonic()
    with refused(name, f"is {kind}", "plain files"):
        load(lab)
    assert time.monotonic() - start < 1


def test_a_link_out_of_the_directory_is_refused(lab: Path, tmp_path: Path) -> None:
    (lab / "samples.csv").rename(tmp_path / "elsewhere.csv")
    (lab / "samples.csv").symlink_to(tmp_path / "elsewhere.csv")
    with refused("samples.csv is a symbolic link"):
        load(lab)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_dataset_without_read_permission_is_refused(lab: Path) -> None:
    (lab / "samples.csv").chmod(0)
    with refused("samples.csv", "permissions"):
        load(lab)


def test_a_failing_open_gives_one_sentence(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", deny)
    with refused("datapackage.json may not be accessed", "permissions"):
        load(lab)


def test_a_huge_file_is_refused_unread(lab: Path) -> None:
    with (lab / "samples.csv").open("r+b") as file:
        file.truncate(200 << 20)  # sparse
    start = time.monotonic()
    with refused("samples.csv", "200 MiB", "64 MiB"):
        load(lab)
    assert time.monotonic() - start < 1


def test_a_huge_line_is_refused_in_bounded_memory(lab: Path) -> None:
    with (lab / "samples.csv").open("ab") as file:
        file.truncate(60 << 20)
        file.seek(400)
    code = (
        "import resource, sys; from uffdlab.datasets.reading import read\n"
        "limit = 200 << 20; resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))\n"
        "try: read(sys.argv[1])\nexcept Exception as e: print(type(e).__name__, e)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(lab)], capture_output=True, text=True, timeout=20)
    assert done.stdout.startswith("UffdlabError"), done.stderr
    assert "line 5 is longer than 1 MiB" in done.stdout


def test_a_file_cut_off_between_rows_is_refused(lab: Path) -> None:
    lines = (lab / "samples.csv").read_bytes().splitlines(keepends=True)
    (lab / "samples.csv").write_bytes(b"".join(lines[:-1]))
    with refused("samples.csv has", "bytes of the", "cut off", "restore it"):
        load(lab)


def test_an_edited_value_of_the_same_length_is_refused(lab: Path) -> None:
    path = lab / "samples.csv"
    path.write_bytes(path.read_bytes().replace(b"1032", b"1031"))
    with refused("samples.csv differs from its recorded SHA-256", "uffdlab data seal"):
        load(lab)


# Rows that break the contract: the line is named, and that the file is not the recorded one

HEADER = "block,design,ns,ratio,cold,note"


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (f"{HEADER}\n1,preread,2,,,\n1,preread,x,,,\n", ["line 3, column 'ns'", "'x' is not an integer"]),
        (f"{HEADER}\n1,preread,2.0,,,\n", ["line 2, column 'ns'", "not an integer"]),
        (f"{HEADER}\n1,preread,007,,,\n", ["line 2, column 'ns'", "not an integer"]),
        (f"{HEADER}\n1,preread,٣,,,\n", ["line 2, column 'ns'", "not an integer"]),
        (f"{HEADER}\n9223372036854775808,preread,,,,\n", ["line 2, column 'block'", "64-bit"]),
        (f"{HEADER}\n{'9' * 5000},preread,,,,\n", ["line 2, column 'block'", "64-bit"]),
        (f"{HEADER}\n,preread,-1,,,\n", ["line 2, column 'ns'", "below the minimum 0"]),
        (f"{HEADER}\n,preread,,nan,,\n", ["line 2, column 'ratio'", "not a finite number", "empty"]),
        (f"{HEADER}\n,preread,,-Infinity,,\n", ["line 2, column 'ratio'", "not a finite number"]),
        (f"{HEADER}\n,preread,,1e999,,\n", ["line 2, column 'ratio'", "not a finite number"]),
        (f"{HEADER}\n,preread,,1_0,,\n", ["line 2, column 'ratio'", "not a number"]),
        (f"{HEADER}\n,preread,,,True,\n", ["line 2, column 'cold'", "neither true nor false"]),
        (f"{HEADER}\n,,,,,\n", ["line 2, column 'design'", "required"]),
        (f"{HEADER}\n,magic,,,,\n", ["line 2, column 'design'", "'magic' is not one of 'preread'"]),
        (f"{HEADER}\n,preread,,,\n", ["line 2 has 5 cells where the header has 6"]),
        (f"{HEADER}\n,preread,,,,,\n", ["line 2 has 7 cells"]),
        (f"{HEADER}\n\n", ["line 2 has 0 cells"]),
        (f"{HEADER}\n,preread,,,,cut o", ["line 2 does not end", "cut off"]),
        (f'{HEADER}\n,preread,,,,"two\nlines"\n', ["line 2 has a quote that is not closed"]),
        (f'{HEADER}\n,preread,,,,"a"b\n', ["line 2 is not CSV"]),
        (f"{HEADER}\r\n", ["line 1 ends in CR LF"]),
        (f"{HEADER}\n,preread,,,,a\0b\n", ["line 2 holds the control character U+0000"]),
        (f"{HEADER}\n,preread,,,,{'x' * 20_000}\n", ["line 2, column 'note'", "more than 10000"]),
        (f"{HEADER}\n,preread,,,,{'x' * 200_000}\n", ["line 2 is not CSV", "field limit"]),
        (f"{HEADER}\n,preread,,,,{'x' * 2_000_000}\n", ["line 2 is longer than 1 MiB"]),
        ("block,design,ns,ratio,cold\n", ["line 1 lacks the column 'note'"]),
        (f"{HEADER},x\n", ["line 1 has the column 'x'", "not declare"]),
        (f"{HEADER.replace('note', 'nope')}\n", ["line 1 lacks the column 'note' and has 'nope'"]),
        (
            "design,block,ns,ratio,cold,note\n",
            ["line 1 has column 'design' in the place of 'block'", "reordered"],
        ),
        (f"{HEADER},ns\n", ["line 1 has the column 'ns' twice"]),
        ("", ["line 1 is missing", "empty"]),
    ],
)
def test_an_invalid_row_is_refused_with_line_and_column(lab: Path, content: str, parts: list[str]) -> None:
    (lab / "samples.csv").write_bytes(content.encode())
    with refused("samples.csv", *parts, "also differs from its recorded SHA-256"):
        load(lab)
    with refused("samples.csv", *parts, "correct it"):
        seal(lab)


def test_a_row_that_is_not_utf_8_is_refused(lab: Path) -> None:
    (lab / "samples.csv").write_bytes(f"{HEADER}\n,preread,,,,caf".encode() + b"\xe9\n")
    with refused("samples.csv, line 2 is not UTF-8 (byte 0xe9 at 16)"):
        load(lab)
