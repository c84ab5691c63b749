# SPDX-License-Identifier: MIT
"""A dataset survives the disk unchanged, or is refused with a sentence that says where and what to do."""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uffdlab import datasets
from uffdlab.datasets import Table, load, locate, merge, one_line, scrub, seal, write
from uffdlab.errors import UffdlabError

FIELDS: list[dict[str, Any]] = [
    {"name": "block", "type": "integer", "description": "block of samples taken together"},
    {
        "name": "design",
        "type": "string",
        "constraints": {"required": True, "enum": ["preread", "pte_marker"]},
    },
    {"name": "ns", "type": "integer", "unit": "ns", "constraints": {"minimum": 0}},
    {"name": "ratio", "type": "number", "unit": "1"},
    {"name": "cold", "type": "boolean"},
    {"name": "note", "type": "string"},
]
ROWS: list[dict[str, Any]] = [
    {"block": 0, "design": "preread", "ns": 1032, "ratio": 0.1, "cold": True, "note": 'says "hello", twice'},
    {"block": 1, "design": "pte_marker", "ns": 27, "ratio": 1e-300, "cold": False, "note": None},
    {"block": 2, "design": "preread", "ns": None, "ratio": None, "cold": None, "note": "µs – 馬"},
]
MACHINE: dict[str, Any] = {
    "kernel_release": "6.18.5",
    "cpu_model": "AMD EPYC 9B14",
    "thp_enabled": "madvise",
    "mthp_enabled": {"64": "never", "2048": "inherit"},
    "page_size_bytes": 4096,
    "seed": 1,
}


def make(out: Path, id: str = "lab", rows: Any = ROWS, fields: Any = FIELDS, **more: Any) -> datasets.Dataset:
    facts = {**MACHINE, **more.pop("facts", {})}
    tables = [Table("samples", fields, rows)]
    return write(out, id=id, title="A test", tables=tables, provenance=facts, created=date(2026, 1, 2), **more)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    return make(tmp_path / "lab").path


@contextmanager
def refused(*parts: str) -> Iterator[None]:
    """Expect one sentence containing every part."""
    with pytest.raises(UffdlabError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def rows_of(dataset: datasets.Dataset, table: str = "samples") -> list[dict[str, Any]]:
    frame = dataset.table(table)
    names = [str(name) for name in frame.columns]
    columns = [[None if value is pd.NA else value for value in frame[name]] for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def edit(directory: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the descriptor the way somebody with a text editor would."""
    path = directory / "datapackage.json"
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


def files_in(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# What is written is what is loaded


def test_a_dataset_is_loaded_as_it_was_written(lab: Path) -> None:
    dataset = load(lab)
    assert rows_of(dataset) == ROWS
    assert (dataset.id, dataset.title, dataset.kind, dataset.path) == ("lab", "A test", "measured", lab)
    assert dataset.provenance == MACHINE
    assert dataset.fields["samples"] == FIELDS
    dtypes = {name: str(dtype) for name, dtype in dataset.table("samples").dtypes.items()}
    assert dtypes == {
        "block": "Int64",
        "design": "string",
        "ns": "Int64",
        "ratio": "Float64",
        "cold": "boolean",
        "note": "string",
    }


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    make(tmp_path / "a")
    make(tmp_path / "b", facts=dict(reversed(MACHINE.items())))
    assert files_in(tmp_path / "a") == files_in(tmp_path / "b")
    csv = (tmp_path / "a" / "samples.csv").read_text()
    assert csv.splitlines()[1] == '0,preread,1032,0.1,true,"says ""hello"", twice"'


def test_the_descriptor_is_a_data_package(lab: Path) -> None:
    raw = json.loads((lab / "datapackage.json").read_text())
    resource = raw["resources"][0]
    assert raw["created"] == "2026-01-02T00:00:00Z"
    assert resource["bytes"] == (lab / "samples.csv").stat().st_size
    assert resource["hash"].startswith("sha256:")
    assert (resource["path"], resource["format"], resource["mediatype"]) == ("samples.csv", "csv", "text/csv")
    assert resource["schema"]["fields"] == FIELDS


def test_an_empty_text_and_an_absent_column_are_missing_values(tmp_path: Path) -> None:
    dataset = make(tmp_path / "x", rows=[{"design": "preread", "note": ""}])
    assert rows_of(dataset)[0]["note"] is None
    assert rows_of(dataset)[0]["ns"] is None


def test_a_table_may_have_no_rows(tmp_path: Path) -> None:
    frame = make(tmp_path / "x", rows=[]).table("samples")
    assert len(frame) == 0
    assert str(frame["ns"].dtype) == "Int64"


def test_numpy_scalars_are_taken(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    row = {"design": "preread", "ns": np.int64(5), "ratio": np.float64(0.5), "cold": np.bool_(True)}
    found = rows_of(make(tmp_path / "x", rows=[row]))[0]
    assert (found["ns"], found["ratio"], found["cold"]) == (5, 0.5, True)


TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\u2028\u2029"), max_size=30)
ROW = st.fixed_dictionaries(
    {
        "block": st.none() | st.integers(-(2**63), 2**63 - 1),
        "design": st.sampled_from(["preread", "pte_marker"]),
        "ns": st.none() | st.integers(0, 2**63 - 1),
        "ratio": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "cold": st.none() | st.booleans(),
        "note": st.none() | TEXT,
    }
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ROW, max_size=8))
def test_any_rows_survive_the_disk(rows: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as parent:
        found = rows_of(make(Path(parent) / "x", rows=rows))
    expected = [{**row, "note": row["note"] or None} for row in rows]
    assert found == expected
    signs = [math.copysign(1, row["ratio"]) for row in rows if row["ratio"] is not None]
    assert signs == [math.copysign(1, row["ratio"]) for row in found if row["ratio"] is not None]


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT | st.none(), min_size=1, max_size=5))
def test_a_single_column_of_text_survives(texts: list[str | None]) -> None:
    fields = [{"name": "note", "type": "string"}]
    with TemporaryDirectory() as parent:
        found = rows_of(make(Path(parent) / "x", fields=fields, rows=[{"note": t} for t in texts]))
    assert [row["note"] for row in found] == [text or None for text in texts]


@given(st.text())
def test_one_line_makes_any_text_fit_a_cell(text: str) -> None:
    line = one_line(text)
    assert line.isprintable() or not any(ord(c) < 32 for c in line)
    datasets.cells.column({"name": "note", "type": "string"}).format(line)


# Nothing corrupt is ever taken for data


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("pristine") / "lab", rows=ROWS).path


def same_or_refused(directory: Path, original: datasets.Dataset) -> bool:
    """Load; return whether it succeeded, in which case everything must be as in the original."""
    try:
        found = load(directory)
    except UffdlabError:
        return False
    assert rows_of(found) == rows_of(original)
    assert (found.id, found.title, found.provenance) == (original.id, original.title, original.provenance)
    assert found.fields == original.fields
    return True


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_random_corruption_is_noticed(pristine: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["samples.csv", "datapackage.json"]))
    content = bytearray((pristine / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with TemporaryDirectory() as parent:
        copy = Path(parent) / "lab"
        shutil.copytree(pristine, copy)
        (copy / name).write_bytes(content)
        same_or_refused(copy, load(pristine))


@pytest.mark.parametrize("name", ["samples.csv", "datapackage.json"])
def test_truncation_anywhere_is_noticed(pristine: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "lab"
    shutil.copytree(pristine, copy)
    content = (pristine / name).read_bytes()
    original = load(pristine)
    for length in range(len(content)):
        (copy / name).write_bytes(content[:length])
        whole = same_or_refused(copy, original)
        assert not whole or content[length:] == b"\n"  # the last line end of JSON means nothing


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_value_anywhere_in_the_descriptor_is_refused_or_harmless(pristine: Path, data: st.DataObject) -> None:
    raw = json.loads((pristine / "datapackage.json").read_text())
    holder: Any = raw
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(holder[key], (dict, list)) or not holder[key] or data.draw(st.booleans()):
            break
        holder = holder[key]
    if data.draw(st.booleans()):
        holder[key] = data.draw(JSON)
    else:
        del holder[key]
    with TemporaryDirectory() as parent:
        copy = Path(parent) / "lab"
        shutil.copytree(pristine, copy)
        (copy / "datapackage.json").write_text(json.dumps(raw))
        same_or_refused(copy, load(pristine))
        for tolerant in (seal, scrub):  # they accept deliberate edits, but never fall over
            try:
                tolerant(copy)
            except UffdlabError:
                continue
            assert rows_of(load(copy))


# Directories that are not datasets


def test_a_missing_directory(tmp_path: Path) -> None:
    with refused(str(tmp_path / "nope"), "does not exist"):
        load(tmp_path / "nope")


def test_a_file_instead_of_a_directory(lab: Path) -> None:
    with refused("samples.csv", "is a file", "name the directory"):
        load(lab / "samples.csv")


def test_a_path_through_a_file(lab: Path) -> None:
    with refused("a component that is a file"):
        load(lab / "samples.csv" / "x")


def test_a_path_that_cannot_exist() -> None:
    with refused("no file name can have"):
        load("nul\0byte")
    with refused("too long"):
        load("x" * 5000)


def test_a_directory_without_descriptor(tmp_path: Path) -> None:
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
def test_a_descriptor_that_is_no_json_object(lab: Path, text: bytes, parts: list[str]) -> None:
    (lab / "datapackage.json").write_bytes(text)
    with refused("datapackage.json", *parts):
        load(lab)


def drop(*keys: str | int) -> Callable[[Any], Any]:
    def change(raw: Any) -> None:
        for key in keys[:-1]:
            raw = raw[key]
        del raw[keys[-1]]

    return change


def put(value: Any, *keys: str | int) -> Callable[[Any], Any]:
    def change(raw: Any) -> None:
        for key in keys[:-1]:
            raw = raw[key]
        raw[keys[-1]] = value

    return change


FIELD = ("resources", 0, "schema", "fields", 0)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (drop("name"), ["name is missing"]),
        (drop("uffdlab"), ["uffdlab is missing"]),
        (drop("provenance"), ["provenance is missing"]),
        (drop("resources", 0, "hash"), ["resources[0].hash is missing"]),
        (put(5, "title"), ["title is 5, not a text"]),
        (put("two\nlines", "title"), ["title holds a line break"]),
        (put("../x", "name"), ["name is '../x'"]),
        (put("today", "created"), ["created is 'today'"]),
        (put(True, "uffdlab", "format_version"), ["format_version is True, not an integer"]),
        (put(2, "uffdlab", "format_version"), ["is 2, newer", "update uffdlab"]),
        (put(0, "uffdlab", "format_version"), ["is 0, older", "measure again"]),
        (put("guessed", "uffdlab", "kind"), ["uffdlab.kind is 'guessed'"]),
        (put([], "resources"), ["resources is empty"]),
        (put(["x"], "resources"), ["resources[0] is 'x', not an object"]),
        (put("/etc/passwd", "resources", 0, "path"), ["resources[0].path", "'/etc/passwd'", "lead out"]),
        (put("../samples.csv", "resources", 0, "path"), ["resources[0].path", "lead out"]),
        (put("../etc", "resources", 0, "name"), ["resources[0].name", "'../etc'"]),
        (put("latin-1", "resources", 0, "encoding"), ["resources[0].encoding"]),
        (put({}, "resources", 0, "dialect"), ["resources[0] has a key 'dialect'"]),
        (put("md5:1", "resources", 0, "hash"), ["resources[0].hash"]),
        (put([], *FIELD[:-1]), ["schema.fields is empty"]),
        (put("uuid", *FIELD, "type"), ["fields[0]", "'block' has the type 'uuid'"]),
        (put("design", *FIELD, "name"), ["fields[1] declares the column 'design' a second time"]),
        (put({"pattern": "x"}, *FIELD, "constraints"), ["fields[0]", "constraint 'pattern'"]),
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
def test_a_descriptor_that_breaks_the_contract(lab: Path, change: Callable[[Any], Any], parts: list[str]) -> None:
    edit(lab, change)
    with refused("datapackage.json", *parts):
        load(lab)


# Files that are not what they should be


def test_a_missing_table(lab: Path) -> None:
    (lab / "samples.csv").unlink()
    with refused("samples.csv is missing", "restore it"):
        load(lab)


@pytest.mark.parametrize("name", ["samples.csv", "datapackage.json"])
@pytest.mark.parametrize(
    ("replace", "kind"),
    [
        (os.mkfifo, "a FIFO"),
        (os.mkdir, "a directory"),
        (lambda path: os.symlink("/dev/zero", path), "a symbolic link"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "a socket"),
    ],
)
def test_what_is_no_file_is_refused_without_waiting(
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
def test_no_permission(lab: Path) -> None:
    (lab / "samples.csv").chmod(0)
    with refused("samples.csv", "permissions"):
        load(lab)


def test_a_failing_open_is_a_sentence(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_file_cut_off_between_rows(lab: Path) -> None:
    lines = (lab / "samples.csv").read_bytes().splitlines(keepends=True)
    (lab / "samples.csv").write_bytes(b"".join(lines[:-1]))
    with refused("samples.csv has", "bytes of the", "cut off", "restore it"):
        load(lab)


def test_an_edited_value_of_the_same_length(lab: Path) -> None:
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
def test_a_row_that_breaks_the_contract(lab: Path, content: str, parts: list[str]) -> None:
    (lab / "samples.csv").write_bytes(content.encode())
    with refused("samples.csv", *parts, "also differs from its recorded SHA-256"):
        load(lab)
    with refused("samples.csv", *parts, "correct it"):
        seal(lab)


def test_a_row_that_is_no_utf8(lab: Path) -> None:
    (lab / "samples.csv").write_bytes(f"{HEADER}\n,preread,,,,caf".encode() + b"\xe9\n")
    with refused("samples.csv, line 2 is not UTF-8 (byte 0xe9 at 16)"):
        load(lab)


# Writing: whole or not at all


def test_a_directory_that_holds_something_is_left_alone(lab: Path) -> None:
    before = files_in(lab)
    with refused("exists and is not empty"):
        make(lab)
    assert files_in(lab) == before


def test_an_empty_directory_is_filled_and_parents_are_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert make(tmp_path / "empty").id == "lab"
    assert make(tmp_path / "a" / "b" / "c").id == "lab"


def test_places_where_nothing_can_be_written(lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with refused("is not a directory"):
        datasets.check_out(lab / "samples.csv" / "out")
    with refused("exists and is not a directory"):
        datasets.check_out(lab / "samples.csv")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with refused("symbolic link"):
        datasets.check_out(tmp_path / "link")
    with refused("no file name can have"):
        datasets.check_out(tmp_path / "a\0b")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with refused("is not writable"):
        datasets.check_out(tmp_path / "out")


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with refused(str(tmp_path / "deep" / "out"), "no space left"):
        make(tmp_path / "deep" / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"design": "preread", "ns": 1.5}, ["column 'ns'", "1.5 is not an integer"]),
        ({"design": "preread", "ns": True}, ["column 'ns'", "True is not an integer"]),
        ({"design": "preread", "block": 2**63}, ["column 'block'", "64-bit"]),
        ({"design": "preread", "block": 10**5000}, ["column 'block'", "very large"]),
        ({"design": "preread", "ratio": float("nan")}, ["column 'ratio'", "not a finite number"]),
        ({"design": "preread", "ratio": 10**400}, ["column 'ratio'", "too large"]),
        ({"design": "preread", "ratio": 2**53 + 1}, ["column 'ratio'", "cannot be held exactly"]),
        ({"design": "preread", "cold": 1}, ["column 'cold'", "neither true nor false"]),
        ({"design": "preread", "note": "two\nlines"}, ["column 'note'", "U+000A"]),
        ({"design": "preread", "note": "\ud800"}, ["column 'note'", "UTF-8"]),
        ({"design": "preread", "note": 5}, ["column 'note'", "not a text"]),
        ({"design": None}, ["column 'design'", "required"]),
        ({"design": "preread", "nss": 5}, ["'nss' is not among the declared fields"]),
    ],
)
def test_a_value_that_breaks_the_contract_is_not_written(tmp_path: Path, row: dict[str, Any], parts: list[str]) -> None:
    with refused("table 'samples', row 2", *parts):
        make(tmp_path / "out", rows=[ROWS[0], row])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"facts": {"hostname": "here"}}, "'hostname' is not on the allow-list"),
        ({"facts": {"load_1min": float("nan")}}, "cannot be written"),
        ({"id": "Not An Id"}, "cannot be the id"),
        ({"kind": "guessed"}, "not 'guessed'"),
        ({"fields": [{"name": "x", "type": "date"}], "rows": []}, "fields[0] 'x' has the type 'date'"),
        ({"sources": [{"url": "x"}]}, "sources[0] has a key 'url'"),
    ],
)
def test_a_description_that_breaks_the_contract_is_not_written(tmp_path: Path, more: dict[str, Any], part: str) -> None:
    with refused(part):
        make(tmp_path / "out", **more)
    assert list(tmp_path.iterdir()) == []


# What a reader asks a dataset


def test_a_missing_table_or_column_is_named(lab: Path) -> None:
    dataset = load(lab)
    with refused("'lab' has no table 'states'", "samples"):
        dataset.table("states")
    with refused("lacks speed", "design"):
        dataset.require("samples", ["ns", "speed"])
    assert list(dataset.require("samples", ["ns"])["block"]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "lab · Linux 6.18.5 · AMD EPYC 9B14 · THP madvise · mTHP off"),
        ({"thp_enabled": "always [madvise] never"}, "THP madvise"),
        ({"mthp_enabled": {"64": "always"}}, "mTHP on"),
        ({"mthp_enabled": {"64": "inherit"}}, "mTHP on"),
        ({"mthp_enabled": {"64": "inherit"}, "thp_enabled": "never"}, "mTHP off"),
        ({"mthp_enabled": None, "kernel_release": None}, "Linux unknown"),
        ({"mthp_enabled": None}, "mTHP unknown"),
    ],
)
def test_the_origin_names_machine_and_settings(tmp_path: Path, facts: dict[str, Any], expected: str) -> None:
    assert expected in make(tmp_path / "lab", facts=facts).origin()


# Lists and names


def test_a_list_shows_broken_datasets_with_their_problem(tmp_path: Path) -> None:
    make(tmp_path / "good")
    make(tmp_path / "deeper" / "bad", id="bad")
    (tmp_path / "deeper" / "bad" / "samples.csv").write_text("nonsense\n")
    (tmp_path / "no-descriptor").mkdir()
    (tmp_path / "no-descriptor" / "samples.csv").touch()
    (tmp_path / ".hidden").mkdir()
    make(tmp_path / ".hidden" / "x")
    bad, good, bare = datasets.listing(tmp_path)
    assert (good.id, good.kernel, good.thp, good.mthp, good.rows) == (
        "lab",
        "6.18.5",
        "madvise",
        "off",
        {"samples": 3},
    )
    assert good.problem is None
    assert good.size_kib == -(-sum(map(len, files_in(good.path).values())) // 1024)
    assert bad.problem is not None
    assert "line 1" in bad.problem
    assert "datapackage.json does not exist" in str(bare.problem)
    with refused("does not exist", "directory of datasets"):
        datasets.find(tmp_path / "nope")


def test_a_dataset_is_found_by_path_id_and_beginning(tmp_path: Path) -> None:
    for name in ("reference-9", "reference-10", "other"):
        make(tmp_path / name, id=name)
    assert locate(None, tmp_path) == tmp_path / "reference-10"
    assert locate("oth", tmp_path) == tmp_path / "other"
    assert locate("reference-9", tmp_path) == tmp_path / "reference-9"
    assert locate(str(tmp_path / "other"), tmp_path) == tmp_path / "other"
    with refused("'ref' could be reference-10 in", "or reference-9 in"):
        locate("ref", tmp_path)
    with refused("'zzz' is neither", "other, reference-10"):
        locate("zzz", tmp_path)
    with refused("does not exist"):
        locate(tmp_path / "zzz", tmp_path)
    with refused("is empty"):
        locate("", tmp_path)


def test_two_datasets_with_one_id_are_not_confused(tmp_path: Path) -> None:
    make(tmp_path / "a")
    make(tmp_path / "b")
    with refused("'lab' could be", "pass the directory"):
        locate("lab", tmp_path)


def test_without_a_checkout_the_option_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uffdlab.datasets.catalogue._checkout_data", lambda: None)
    with refused("not installed with the package", "--data"):
        locate(None)


def test_importing_the_room_does_not_import_pandas() -> None:
    code = "import sys, uffdlab.datasets; sys.exit('pandas' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# Merging


def test_a_merge_keeps_rows_origins_and_distinct_blocks(tmp_path: Path) -> None:
    a = make(tmp_path / "a", id="a")
    b = make(tmp_path / "b", id="b", facts={"seed": 2})
    merged = merge([a, b.path], tmp_path / "m", id="m")
    rows = rows_of(merged)
    assert [row["dataset"] for row in rows] == ["a"] * 3 + ["b"] * 3
    assert [row["block"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row["note"] for row in rows] == [row["note"] for row in ROWS] * 2
    assert merged.provenance["seed"] is None
    assert merged.provenance["kernel_release"] == "6.18.5"
    assert [origin["id"] for origin in merged.merged_from] == ["a", "b"]
    c = make(tmp_path / "c", id="c")
    again = rows_of(merge([merged, c], tmp_path / "mm", id="mm"))
    assert [(row["dataset"], row["block"]) for row in again] == list(zip("aaabbbccc", range(9), strict=True))


@pytest.mark.parametrize(
    "facts",
    [
        {"kernel_release": "6.12.1"},
        {"cpu_model": "another"},
        {"thp_enabled": "always"},
        {"thp_use_zero_page": False},
        {"mthp_enabled": {"64": "always"}},
        {"thp_enabled": None},
    ],
)
def test_different_machines_are_not_merged_silently(tmp_path: Path, facts: dict[str, Any]) -> None:
    a = make(tmp_path / "a", id="a")
    b = make(tmp_path / "b", id="b", facts=facts)
    (key,) = facts
    with refused("differ in", key):
        merge([a, b], tmp_path / "m", id="m")
    assert not (tmp_path / "m").exists()
    merged = merge([a, b], tmp_path / "m", id="m", allow_mixed=True)
    assert merged.provenance[key] is None
    assert [origin["provenance"].get(key) for origin in merged.merged_from] == [MACHINE.get(key), facts[key]]


def test_the_origin_of_a_mixed_merge_names_every_machine(tmp_path: Path) -> None:
    parts = [make(tmp_path / k, id=k, facts={"kernel_release": r}) for k, r in (("a", "6.1.9"), ("b", "6.18.5"))]
    merged = merge(parts, tmp_path / "m", id="m", allow_mixed=True)
    assert merged.origin() == "m · Linux 6.1.9 / 6.18.5 · AMD EPYC 9B14 · THP madvise · mTHP off"


def test_merges_that_make_no_sense(tmp_path: Path) -> None:
    a = make(tmp_path / "a", id="a")
    published = make(tmp_path / "p", id="p", kind="published")
    fewer = make(tmp_path / "f", id="f", fields=FIELDS[:2], rows=[{"design": "preread"}])
    for allow_mixed in (False, True):
        with refused("'a' would go into the merge twice"):
            merge([a, a], tmp_path / "m", id="m", allow_mixed=allow_mixed)
        with refused("measured and published"):
            merge([a, published], tmp_path / "m", id="m", allow_mixed=allow_mixed)
        with refused("table 'samples' has different fields in 'a' and 'f'", "ns"):
            merge([a, fewer], tmp_path / "m", id="m", allow_mixed=allow_mixed)
    with refused("at least two"):
        merge([a], tmp_path / "m", id="m")
    assert not (tmp_path / "m").exists()


BLOCKS = st.lists(st.none() | st.integers(-50, 50), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None)
@given(st.lists(BLOCKS, min_size=2, max_size=3))
def test_blocks_of_different_datasets_never_meet(blocks: list[list[int | None]]) -> None:
    with TemporaryDirectory() as parent:
        top = Path(parent)
        parts = [
            make(top / f"p{i}", id=f"p{i}", rows=[{"design": "preread", "block": block} for block in held])
            for i, held in enumerate(blocks)
        ]
        rows = rows_of(merge(parts, top / "m", id="m"))
    owners: dict[int, set[str]] = {}
    for row in rows:
        if row["block"] is not None:
            owners.setdefault(row["block"], set()).add(row["dataset"])
    assert all(len(names) == 1 for names in owners.values())
    for i, held in enumerate(blocks):
        found = [row["block"] for row in rows if row["dataset"] == f"p{i}"]
        assert [b is None for b in found] == [b is None for b in held]
        assert len(set(found)) == len(set(held))


# Scrubbing and sealing


def unsealed(directory: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the descriptor and seal it, as another program that writes this format could."""
    edit(directory, change)
    raw = json.loads((directory / "datapackage.json").read_text())
    raw["uffdlab"]["seal"] = datasets.descriptor.seal_of(raw)
    (directory / "datapackage.json").write_text(json.dumps(raw))


def test_scrub_drops_what_is_not_allowed_and_keeps_the_rest(lab: Path) -> None:
    def leak(raw: dict[str, Any]) -> None:
        raw["provenance"]["hostname"] = "here"
        raw["contributors"] = [{"title": "me"}]

    unsealed(lab, leak)
    with refused("allow-list"):
        load(lab)
    assert scrub(lab) == ["dropped the key 'contributors'", "dropped provenance: 'hostname'"]
    assert "here" not in (lab / "datapackage.json").read_text()
    assert load(lab).provenance == MACHINE
    assert scrub(lab) == []


@pytest.mark.parametrize(
    ("note", "why"),
    [
        ("failed on test-box-7 again", "host name"),
        ("owner is carol", "user name"),
        ("see /srv/results/x", "path"),
        (r"see C:\Users", "path"),
        ("see ~/results", "path"),
        ("from 192.168.7.1:80", "network address"),
        ("from fe80::1", "network address"),
        (":" * 9000, None),
        ("/" * 9000, None),
        ("opened /dev/userfaultfd and /proc/self/pagemap", None),
        ("10 MiB/s at 12:30:01, either/or, https://lore.kernel.org/all/x@y", None),
        ("listening on 127.0.0.1", None),
        ("carolina", None),
    ],
)
def test_scrub_points_at_suspicious_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: str, why: str | None
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "test-box-7.lan")
    monkeypatch.setattr("getpass.getuser", lambda: "carol")
    datasets.scrubbing._own_names.cache_clear()
    lab = make(tmp_path / "lab", rows=[ROWS[0], {"design": "preread", "note": note}]).path
    before = files_in(lab)
    found = scrub(lab)
    datasets.scrubbing._own_names.cache_clear()
    if why is None:
        assert found == []
    else:
        assert len(found) == 1
        assert "samples.csv, line 3, column 'note'" in found[0]
        assert why in found[0]
    assert files_in(lab) == before


def test_scrub_does_not_launder_an_edit(lab: Path) -> None:
    edit(lab, put("6.0.0", "provenance", "kernel_release"))
    with refused("differs from what was sealed"):
        scrub(lab)


def test_seal_accepts_an_edit_that_keeps_the_contract(lab: Path) -> None:
    path = lab / "samples.csv"
    path.write_bytes(path.read_bytes().replace(b"1032", b"7"))
    edit(lab, drop("resources", 0, "bytes"))
    assert seal(lab).table("samples")["ns"][0] == 7
    assert load(lab).id == "lab"


# The figures published in the thread


def test_the_published_figures_are_a_valid_dataset() -> None:
    published = load(Path(__file__).parent.parent / "data" / "published")
    assert published.kind == "published"
    assert published.origin() == "published · published figures, machines not named"
    times = published.require("protect_times", ["source", "design", "thp", "protect_us"])
    assert times.groupby("source").size().to_dict() == dict.fromkeys(
        ["anjum-always", "anjum-first", "anjum-madvise", "xu-vm"], 4
    )
    by = times.pivot_table(index="source", columns="design", values="protect_us")
    assert by["preread"]["anjum-madvise"] / by["pte_marker"]["anjum-madvise"] == pytest.approx(94.9, abs=0.05)
    assert by["populate_read"]["anjum-madvise"] / by["pte_marker"]["anjum-madvise"] == pytest.approx(23.8, abs=0.05)
    assert by["pte_marker"]["anjum-always"] / by["populate_read"]["anjum-always"] == pytest.approx(2.94, abs=0.005)
    assert list(published.table("versions")["version"]) == ["v1", "v2", "v3", "v4", "merged"]
    assert scrub(published.path) == []


def test_sealing_the_published_figures_changes_nothing(tmp_path: Path) -> None:
    committed = Path(__file__).parent.parent / "data" / "published"
    shutil.copytree(committed, tmp_path / "copy")
    seal(tmp_path / "copy")
    assert files_in(tmp_path / "copy") == files_in(committed)
