# SPDX-License-Identifier: MIT
"""A dataset is loaded as it was written, or refused with a sentence that names the place and the remedy."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from handmade import FIELDS, MACHINE, ROWS, files_in, make, refused, rows_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uffdlab import datasets
from uffdlab.datasets import load, locate, one_line, read, scrub, seal
from uffdlab.errors import UffdlabError

# What is written is what is loaded


def test_a_dataset_is_loaded_as_written(lab: Path) -> None:
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


def test_one_table_is_read_and_checked_whatever_became_of_the_others(tmp_path: Path) -> None:
    tables = [datasets.Table(name, FIELDS, ROWS) for name in ("samples", "others")]
    datasets.write(tmp_path / "d", id="d", title="A test", tables=tables, provenance=MACHINE)
    (tmp_path / "d" / "others.csv").unlink()
    contents = read(tmp_path / "d", only=["samples", "absent"])
    assert (contents.descriptor.id, *contents.tables) == ("d", "samples")
    assert contents.tables["samples"]["ns"] == [row.get("ns") for row in ROWS]
    with (tmp_path / "d" / "samples.csv").open("ab") as file:
        file.write(b"0,preread,1032,0.1,true,\n")
    with refused("samples.csv has", "recorded: it was edited"):
        read(tmp_path / "d", only=["samples"])


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


def test_numpy_scalars_are_accepted(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    row = {"design": "preread", "ns": np.int64(5), "ratio": np.float64(0.5), "cold": np.bool_(True)}
    loaded = rows_of(make(tmp_path / "x", rows=[row]))[0]
    assert (loaded["ns"], loaded["ratio"], loaded["cold"]) == (5, 0.5, True)


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
def test_any_rows_are_loaded_as_written(rows: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as parent:
        loaded = rows_of(make(Path(parent) / "x", rows=rows))
    expected = [{**row, "note": row["note"] or None} for row in rows]
    assert loaded == expected
    signs = [math.copysign(1, row["ratio"]) for row in rows if row["ratio"] is not None]
    assert signs == [math.copysign(1, row["ratio"]) for row in loaded if row["ratio"] is not None]


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT | st.none(), min_size=1, max_size=5))
def test_a_single_text_column_is_loaded_as_written(texts: list[str | None]) -> None:
    fields = [{"name": "note", "type": "string"}]
    with TemporaryDirectory() as parent:
        loaded = rows_of(make(Path(parent) / "x", fields=fields, rows=[{"note": t} for t in texts]))
    assert [row["note"] for row in loaded] == [text or None for text in texts]


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
    """Return whether the dataset loads; if so, check that it equals the original."""
    try:
        loaded = load(directory)
    except UffdlabError:
        return False
    assert rows_of(loaded) == rows_of(original)
    assert (loaded.id, loaded.title, loaded.provenance) == (original.id, original.title, original.provenance)
    assert loaded.fields == original.fields
    return True


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_random_corruption_is_detected(pristine: Path, data: st.DataObject) -> None:
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
def test_truncation_anywhere_is_detected(pristine: Path, tmp_path: Path, name: str) -> None:
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


# Writing: whole or not at all


def test_a_directory_with_files_is_refused_and_unchanged(lab: Path) -> None:
    before = files_in(lab)
    with refused("exists and is not empty"):
        make(lab)
    assert files_in(lab) == before


def test_an_empty_directory_is_filled_and_parents_are_created(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert make(tmp_path / "empty").id == "lab"
    assert make(tmp_path / "a" / "b" / "c").id == "lab"


def test_an_unwritable_place_is_refused(lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_full_disk_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with refused(str(tmp_path / "deep" / "out"), "no space left"):
        make(tmp_path / "deep" / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_an_invalid_value_is_not_written(tmp_path: Path, row: dict[str, Any], parts: list[str]) -> None:
    with refused("table 'samples', row 2", *parts):
        make(tmp_path / "out", rows=[ROWS[0], row])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"facts": {"hostname": "here"}}, "'hostname' is not on the allow-list"),
        ({"facts": {"load_1min": float("nan")}}, "cannot be written"),
        ({"id": "Not An Id"}, "name is 'Not An Id' and must be of lower-case letters"),
        ({"kind": "guessed"}, "uffdlab.kind is 'guessed' and must be one of measured, published"),
        (
            {"fields": [{"name": "x", "type": "date"}], "rows": []},
            "fields[0].type is 'date' and must be one of integer",
        ),
        ({"sources": [{"title": "x", "url": "x"}]}, "sources[0] has a key 'url'"),
    ],
)
def test_an_invalid_description_is_not_written(tmp_path: Path, more: dict[str, Any], part: str) -> None:
    with refused(part):
        make(tmp_path / "out", **more)
    assert list(tmp_path.iterdir()) == []


# What a reader asks a dataset


def test_a_missing_table_or_column_is_refused_by_name(lab: Path) -> None:
    dataset = load(lab)
    with refused("'lab' has no table 'states'", "samples"):
        dataset.table("states")
    with refused("`samples.speed` was not measured (dataset 'lab')"):
        dataset.require("samples", ["ns", "speed"])
    with refused("`samples.cold_ns` and `samples.speed` were not measured"):
        dataset.rows("samples", ["cold_ns", "ns", "speed"])
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
def test_the_origin_line_names_machine_and_settings(tmp_path: Path, facts: dict[str, Any], expected: str) -> None:
    assert expected in make(tmp_path / "lab", facts=facts).origin()


# Lists and names


def test_broken_datasets_are_listed_with_their_problem(tmp_path: Path) -> None:
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


def test_a_dataset_is_found_by_path_id_and_prefix(tmp_path: Path) -> None:
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


def test_an_id_of_two_datasets_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "a")
    make(tmp_path / "b")
    with refused("'lab' could be", "pass the directory"):
        locate("lab", tmp_path)


def test_without_a_checkout_the_error_names_the_data_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uffdlab.datasets.catalogue._checkout_data", lambda: None)
    with refused("not installed with the package", "--data"):
        locate(None)


def test_importing_datasets_does_not_import_pandas() -> None:
    code = "import sys, uffdlab.datasets; sys.exit('pandas' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# The figures published in the thread


def test_the_published_figures_are_a_valid_dataset() -> None:
    published = load(Path(__file__).parents[2] / "data" / "published")
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
    committed = Path(__file__).parents[2] / "data" / "published"
    shutil.copytree(committed, tmp_path / "copy")
    seal(tmp_path / "copy")
    assert files_in(tmp_path / "copy") == files_in(committed)
