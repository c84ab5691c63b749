# SPDX-License-Identifier: MIT
"""Keys of the Data Package standard are accepted if they change no cell, and refused otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from handmade import ROWS, edit, put, refused, rows_of
from making import ROOT

from uffdlab.datasets import FORMAT_VERSION, load, seal
from uffdlab.datasets.column_kinds import kind_of
from uffdlab.datasets.schema import problem

SCHEMA = ("resources", 0, "schema")
FIELD = (*SCHEMA, "fields", 1)
DATASETS = sorted(path.parent for path in (ROOT / "data").glob("*/datapackage.json"))


@pytest.mark.parametrize(
    "change",
    [
        put("table", "resources", 0, "type"),
        put("tabular-data-resource", "resources", 0, "profile"),
        put("https://datapackage.org/profiles/2.0/dataresource.json", "resources", 0, "$schema"),
        put("file", "resources", 0, "scheme"),
        put(6, "resources", 0, "fields"),
        put(3, "resources", 0, "rows"),
        put("UTF-8", "resources", 0, "encoding"),
        put("text/csv; charset=utf-8", "resources", 0, "mediatype"),
        put('Text/CSV;header=present;Charset="UTF-8"', "resources", 0, "mediatype"),
        put([{"name": "MIT"}], "resources", 0, "licenses"),
        put({}, "resources", 0, "dialect"),
        put({"delimiter": ",", "quoteChar": '"', "doubleQuote": True, "header": True, "lineTerminator": "\r\n",
             "skipInitialSpace": False, "caseSensitiveHeader": False}, "resources", 0, "dialect"),
        put({"csv": {"lineTerminator": "\n"}}, "resources", 0, "dialect"),
        put([""], *SCHEMA, "missingValues"),
        put([{"value": "", "label": "not measured"}], *SCHEMA, "missingValues"),
        put(["block", "design"], *SCHEMA, "primaryKey"),
        put("block", *SCHEMA, "primaryKey"),
        put("exact", *SCHEMA, "fieldsMatch"),
        put("https://datapackage.org/profiles/2.0/tableschema.json", *SCHEMA, "$schema"),
        put("default", *FIELD, "format"),
        put("preread", *FIELD, "example"),
        put([""], *FIELD, "missingValues"),
        put({"required": True, "unique": False}, *FIELD, "constraints"),
        put(["true", "TRUE", "1"], *SCHEMA, "fields", 4, "trueValues"),
        put(".", *SCHEMA, "fields", 3, "decimalChar"),
        put("data-package", "profile"),
        put("https://datapackage.org/profiles/2.0/datapackage.json", "$schema"),
        put([{"title": "somebody"}], "contributors"),
    ],
)  # fmt: skip
def test_standard_keys_that_change_nothing_are_accepted(lab: Path, change: Callable[[Any], Any]) -> None:
    edit(lab, change)
    assert rows_of(seal(lab)) == ROWS
    assert rows_of(load(lab)) == ROWS


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (put("json", "resources", 0, "type"), ["resources[0].type is 'json' and must be 'table'"]),
        (put("utf-8-sig", "resources", 0, "encoding"), ["resources[0].encoding", "must be 'utf-8'"]),
        (put("no such", "resources", 0, "encoding"), ["resources[0].encoding"]),
        (put("text/csv; charset=latin-1", "resources", 0, "mediatype"), ["mediatype is 'text/csv; charset=latin-1'"]),
        (put("text/csv; header=absent", "resources", 0, "mediatype"), ["resources[0].mediatype", "'text/csv'"]),
        (put("text/csv; charset", "resources", 0, "mediatype"), ["resources[0].mediatype", "'text/csv'"]),
        (put("text/csv;", "resources", 0, "mediatype"), ["resources[0].mediatype", "'text/csv'"]),
        (put("text/tab-separated-values", "resources", 0, "mediatype"), ["resources[0].mediatype", "'text/csv'"]),
        (put("gz", "resources", 0, "compression"), ["resources[0].compression is 'gz'", "not compressed"]),
        (put(["b.csv"], "resources", 0, "extrapaths"), ["resources[0].extrapaths", "a table is one file"]),
        (put(5, "resources", 0, "fields"), ["resources[0].fields is 5 and must be 6"]),
        (put({"delimiter": ";"}, "resources", 0, "dialect"), ["resources[0].dialect.delimiter is ';'", "','"]),
        (put({"csv": {"delimiter": "\t"}}, "resources", 0, "dialect"), ["resources[0].dialect.csv.delimiter"]),
        (put({"header": False}, "resources", 0, "dialect"), ["dialect.header is False", "names the fields"]),
        (put({"header": 1}, "resources", 0, "dialect"), ["dialect.header is 1"]),
        (put({"commentChar": "#"}, "resources", 0, "dialect"), ["dialect.commentChar is '#'", "no line is a comment"]),
        (put({"skipInitialSpace": True}, "resources", 0, "dialect"), ["dialect.skipInitialSpace is True"]),
        (put({"nullSequence": "NULL"}, "resources", 0, "dialect"), ["dialect.nullSequence", "empty cell"]),
        (put({"colour": 1}, "resources", 0, "dialect"), ["resources[0].dialect has a key 'colour'", "does not have"]),
        (put("excel", "resources", 0, "dialect"), ["resources[0].dialect is 'excel', not an object"]),
        (put(["-"], *SCHEMA, "missingValues"), ["schema.missingValues is ['-']", "an empty cell, and nothing else"]),
        (put(["", "NA"], *SCHEMA, "missingValues"), ["schema.missingValues"]),
        (put([], *SCHEMA, "missingValues"), ["schema.missingValues is []"]),
        (put("", *SCHEMA, "missingValues"), ["schema.missingValues is ''"]),
        (put(["NA"], *FIELD, "missingValues"), ["schema.fields[1].missingValues is ['NA']"]),
        (put("subset", *SCHEMA, "fieldsMatch"), ["schema.fieldsMatch is 'subset'", "in order"]),
        (put(["speed"], *SCHEMA, "primaryKey"), ["schema.primaryKey is ['speed']", "block"]),
        (put(7, *SCHEMA, "primaryKey"), ["schema.primaryKey is 7"]),
        (put("email", *FIELD, "format"), ["schema.fields[1].format is 'email'"]),
        (put(",", *SCHEMA, "fields", 3, "decimalChar"), ["schema.fields[3].decimalChar is ','"]),
        (put(" ", *SCHEMA, "fields", 2, "groupChar"), ["schema.fields[2].groupChar is ' '"]),
        (
            put(["yes"], *SCHEMA, "fields", 4, "trueValues"),
            ["schema.fields[4].trueValues is ['yes']", "with 'true' in it"],
        ),
        (put({"unique": True}, *FIELD, "constraints"), ["schema.fields[1].constraints.unique is True", "not checked"]),
    ],
)
def test_standard_keys_that_would_change_a_cell_are_refused(
    lab: Path, change: Callable[[Any], Any], parts: list[str]
) -> None:
    edit(lab, change)
    with refused("datapackage.json", *parts):
        seal(lab)


def test_omitted_keys_have_the_defaults_of_the_standard(lab: Path) -> None:
    def short(raw: Any) -> None:
        for key in ("format", "mediatype", "encoding"):
            del raw["resources"][0][key]

    edit(lab, short)
    assert rows_of(seal(lab)) == ROWS


def test_a_descriptor_written_by_frictionless_is_accepted(lab: Path) -> None:
    frictionless = pytest.importorskip("frictionless", reason="frictionless is not installed")
    package = frictionless.Package(str(lab / "datapackage.json"))
    package.infer(stats=True)
    (lab / "datapackage.json").write_text(package.to_json())
    assert rows_of(seal(lab)) == ROWS


@pytest.mark.parametrize("directory", DATASETS, ids=[path.name for path in DATASETS])
def test_frictionless_accepts_the_committed_datasets(directory: Path) -> None:
    frictionless = pytest.importorskip("frictionless", reason="frictionless is not installed")
    report = frictionless.validate(str(directory / "datapackage.json"))
    assert report.valid, report.flatten(["rowNumber", "fieldNumber", "type", "note"])[:5]


@pytest.mark.parametrize("directory", DATASETS, ids=[path.name for path in DATASETS])
def test_jsonschema_agrees_with_fastjsonschema_on_the_schema(directory: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = json.loads(files("uffdlab.datasets").joinpath("datapackage.schema.json").read_text("utf-8"))
    jsonschema.Draft7Validator.check_schema(schema)
    judge = jsonschema.Draft7Validator(schema)
    raw = json.loads((directory / "datapackage.json").read_text())
    assert list(judge.iter_errors(raw)) == []
    assert schema["properties"]["uffdlab"]["properties"]["format_version"]["const"] == FORMAT_VERSION
    for change in (put(["-"], *SCHEMA, "missingValues"), put(1, *FIELD, "bareNumber"), put({}, *SCHEMA, "colour")):
        changed = json.loads(json.dumps(raw))
        change(changed)
        assert len(list(judge.iter_errors(changed))) == 1
        assert problem(changed) is not None


def test_a_deeply_nested_dialect_is_refused_in_one_sentence() -> None:
    raw = json.loads((DATASETS[0] / "datapackage.json").read_text())
    dialect: dict[str, Any] = {}
    for _ in range(5000):
        dialect = {"csv": dialect}
    raw["resources"][0]["dialect"] = dialect
    assert problem(raw) == "is nested too deeply"


def test_there_are_twenty_five_committed_datasets() -> None:
    assert len(DATASETS) == 25


@pytest.mark.parametrize("directory", DATASETS, ids=[path.name for path in DATASETS])
def test_committed_columns_have_the_kind_of_their_names(directory: Path) -> None:
    kinds = {"integer": "number", "number": "number", "boolean": "boolean", "string": "text"}
    raw = json.loads((directory / "datapackage.json").read_text())
    for table in raw["resources"]:
        for field in table["schema"]["fields"]:
            assert kind_of(table["name"], field["name"]) == kinds[field["type"]], (table["name"], field["name"])


def test_a_column_of_another_kind_is_refused_on_reading(lab: Path) -> None:
    def renamed(raw: Any) -> None:
        raw["resources"][0]["schema"]["fields"][5]["name"] = "busy_ns"

    edit(lab, renamed)
    path = lab / "samples.csv"
    path.write_text(path.read_text().replace("cold,note", "cold,busy_ns"))
    with refused("`samples.busy_ns` of dataset 'lab' does not hold numbers"):
        seal(lab).rows("samples", ["busy_ns"])
