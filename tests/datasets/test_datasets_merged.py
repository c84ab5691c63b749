# SPDX-License-Identifier: MIT
"""Merging keeps origins; scrubbing drops facts not on the allow-list; sealing accepts an intended edit."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from handmade import FIELDS, MACHINE, ROWS, drop, edit, files_in, make, put, refused, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import dataset as synthetic
from synthetic import sample

from uffdlab import claims, datasets
from uffdlab.datasets import load, merge, scrub, seal

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
def test_different_machines_are_merged_only_with_allow_mixed(tmp_path: Path, facts: dict[str, Any]) -> None:
    a = make(tmp_path / "a", id="a")
    b = make(tmp_path / "b", id="b", facts=facts)
    (key,) = facts
    with refused("differ in", key):
        merge([a, b], tmp_path / "m", id="m")
    assert not (tmp_path / "m").exists()
    merged = merge([a, b], tmp_path / "m", id="m", allow_mixed=True)
    assert merged.provenance[key] is None
    assert [origin["provenance"].get(key) for origin in merged.merged_from] == [MACHINE.get(key), facts[key]]


def test_a_child_process_cannot_be_merged_twice(tmp_path: Path) -> None:
    rows = [sample("anon", "preread", 1000 + i, 200 + i, block=0, sample=i) for i in range(3)]
    a, b = (synthetic(tmp_path / id_, rows, id_=id_) for id_ in "ab")
    with refused("block 0 of 'b' holds the same times as block 0 of 'a'", "leave out the dataset that is a copy"):
        merge([a, b], tmp_path / "m", id="m")
    other = synthetic(tmp_path / "c", [row | {"prepare_ns": 1} for row in rows], id_="c")
    assert merge([a, other], tmp_path / "n", id="n").id == "n"


def test_no_claim_pools_campaigns_of_different_kernels(tmp_path: Path) -> None:
    parts = [make(tmp_path / k, id=k, facts={"kernel_release": r}) for k, r in (("a", "6.1.9"), ("b", "6.18.5"))]
    merged = merge(parts, tmp_path / "m", id="m", allow_mixed=True)
    assert datasets.differing(merged) == ["kernel_release"]
    found = claims.verdict("table-fill-slower", merged)
    assert (found.verdict, found.missing) == ("not decided", "a verdict on each campaign by itself")
    assert "differ in kernel_release" in found.because


def test_the_origin_line_of_a_mixed_merge_names_every_machine(tmp_path: Path) -> None:
    parts = [make(tmp_path / k, id=k, facts={"kernel_release": r}) for k, r in (("a", "6.1.9"), ("b", "6.18.5"))]
    merged = merge(parts, tmp_path / "m", id="m", allow_mixed=True)
    assert merged.origin() == "m · Linux 6.1.9 / 6.18.5 · AMD EPYC 9B14 · THP madvise · mTHP off"


def test_an_invalid_merge_is_refused(tmp_path: Path) -> None:
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
def test_blocks_of_different_datasets_are_distinct_after_a_merge(blocks: list[list[int | None]]) -> None:
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
        merged = [row["block"] for row in rows if row["dataset"] == f"p{i}"]
        assert [b is None for b in merged] == [b is None for b in held]
        assert len(set(merged)) == len(set(held))


# Scrubbing and sealing


def unsealed(directory: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the descriptor and seal it, as another program that writes this format could."""
    edit(directory, change)
    raw = json.loads((directory / "datapackage.json").read_text())
    raw["uffdlab"]["seal"] = datasets.descriptor.seal_of(raw)
    (directory / "datapackage.json").write_text(json.dumps(raw))


def test_scrub_drops_only_facts_outside_the_allow_list(lab: Path) -> None:
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
def test_scrub_reports_suspicious_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: str, why: str | None
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "test-box-7.lan")
    monkeypatch.setattr("getpass.getuser", lambda: "carol")
    datasets.scrubbing._own_names.cache_clear()
    lab = make(tmp_path / "lab", rows=[ROWS[0], {"design": "preread", "note": note}]).path
    before = files_in(lab)
    sentences = scrub(lab)
    datasets.scrubbing._own_names.cache_clear()
    if why is None:
        assert sentences == []
    else:
        assert len(sentences) == 1
        assert "samples.csv, line 3, column 'note'" in sentences[0]
        assert why in sentences[0]
    assert files_in(lab) == before


def test_scrub_refuses_an_edited_dataset(lab: Path) -> None:
    edit(lab, put("6.0.0", "provenance", "kernel_release"))
    with refused("differs from what was sealed"):
        scrub(lab)


def test_seal_accepts_a_valid_edit(lab: Path) -> None:
    path = lab / "samples.csv"
    path.write_bytes(path.read_bytes().replace(b"1032", b"7"))
    edit(lab, drop("resources", 0, "bytes"))
    assert seal(lab).table("samples")["ns"][0] == 7
    assert load(lab).id == "lab"
