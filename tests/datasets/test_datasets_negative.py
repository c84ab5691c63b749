# SPDX-License-Identifier: MIT
"""Negative times, sizes and counts are refused in one sentence, whatever the schema allows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from handmade import make, refused
from running import environment

from uffdlab.datasets import load, seal
from uffdlab.datasets.column_kinds import NEVER_NEGATIVE, kind_of
from uffdlab.measure.registry import PROBES

TIMES_AND_SIZES = {"ns", "µs", "us", "ms", "s", "B", "KiB", "MiB"}
# Counts that are what they are named after: which child, which sample, with which seed.
NAMES = {"block", "mapping", "order", "round", "sample", "seed", "slot", "trial"}


def field(name: str, kind: str = "integer", **constraints: Any) -> dict[str, Any]:
    return {"name": name, "type": kind} | ({"constraints": constraints} if constraints else {})


@pytest.mark.parametrize(
    ("described", "value"),
    [
        (field("protect_ns"), "-1"),
        (field("touches"), "-7"),
        (field("measured_ns", "number"), "-0.5"),
        (field("size_kib", minimum=-10), "-9"),  # no schema may allow it
    ],
)
def test_negative_times_sizes_and_counts_are_refused(tmp_path: Path, described: dict[str, Any], value: str) -> None:
    name = described["name"]
    path = make(tmp_path / "d", rows=[{name: 3}, {name: 4}], fields=[described]).path
    (path / "samples.csv").write_text(f"{name}\n3\n{value}\n")
    with refused("samples.csv, line 3", f"column '{name}'", f"{value} is below the minimum 0", "correct it"):
        seal(path)
    with refused("samples.csv, line 3", f"column '{name}'", f"{value} is below the minimum 0"):
        load(path)
    with refused("table 'samples', row 1", f"column '{name}'", "is below the minimum 0"):
        make(tmp_path / "made", rows=[{name: float(value) if "." in value else int(value)}], fields=[described])
    assert not (tmp_path / "made").exists()


def test_data_check_refuses_a_negative_time_in_one_sentence(tmp_path: Path) -> None:
    path = make(tmp_path / "d", rows=[{"wall_ns": 3}], fields=[field("wall_ns")]).path
    (path / "samples.csv").write_text("wall_ns\n-3\n")
    command = [sys.executable, "-m", "uffdlab", "data", "check", str(path)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (2, "")
    assert "samples.csv, line 2, column 'wall_ns': -3 is below the minimum 0" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_differences_may_be_negative_and_a_larger_minimum_holds(tmp_path: Path) -> None:
    fields = [field("rss_growth_kib"), field("tlb_ipis"), field("slower_by_ns")]
    rows = [{field_["name"]: -5 for field_ in fields}]
    assert make(tmp_path / "d", rows=rows, fields=fields).tables["samples"].rss_growth_kib[0] == -5
    with refused("'size_kib'", "0 is below the minimum 1"):
        make(tmp_path / "e", rows=[{"size_kib": 0}], fields=[field("size_kib", minimum=1)])


@pytest.mark.parametrize("probe", PROBES)
def test_every_integer_column_of_a_probe_is_never_negative_or_a_difference(probe: str) -> None:
    for table, fields in PROBES[probe].tables.items():
        for field_ in fields:
            name, constraints = field_["name"], field_.get("constraints", {})
            if field_["type"] == "integer" and name not in NAMES:
                difference = "growth" in name or name == "tlb_ipis"
                assert (name in NEVER_NEGATIVE) != difference, (table, name)
            if name in NEVER_NEGATIVE:
                assert kind_of(table, name) == "number", (table, name)
            elif constraints.get("minimum") != 0:
                assert field_.get("unit") not in TIMES_AND_SIZES or "growth" in name, (table, name)
