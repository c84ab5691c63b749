# SPDX-License-Identifier: MIT
"""The scripts of widgets and pages: what is committed is what their sources bundle to, and they keep to the linter."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import ROOT

from uffdlab import units
from uffdlab.widgets.base import asset

pytestmark = pytest.mark.scripts

BUNDLES = ("csv.js", "design_explorer.js", "explore.js", "page_table_view.js")


def test_committed_bundles_equal_the_sources(tmp_path: Path) -> None:
    subprocess.run(["node", "uffdlab/widgets/js/bundle.mjs", tmp_path], cwd=ROOT, check=True)
    made = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert made.keys() == set(BUNDLES)
    different = [name for name in BUNDLES if made[name] != asset(name)]
    assert different == [], "to accept the change: make widgets"


def test_scripts_pass_the_linter() -> None:
    check = ["node_modules/.bin/biome", "check", "--error-on-warnings"]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


FORMAT = """import { formatNs, formatRatio, formatSize } from "./uffdlab/widgets/js/base.js";
const numbers = JSON.parse(process.argv[1]);
console.log(JSON.stringify(numbers.map((one) => [formatNs(one), formatSize(one), formatRatio(one)])));"""
EDGES = [
    0,
    0.5,
    1,
    9.995,
    99.95,
    100.5,
    101.5,
    999.4,
    999.5,
    999.7,
    1005,
    1023.5,
    1125,
    1234.5,
    1048063,
    1048524,
    999.5e9,
]


eighths = st.builds(lambda n, power: n / 8 * 10.0**power, st.integers(-80_000, 80_000), st.integers(-6, 11))


@settings(max_examples=6)
@given(st.lists(eighths, min_size=300))
def test_units_are_written_as_in_python(numbers: list[float]) -> None:
    numbers = [*EDGES, *numbers]
    done = subprocess.run(
        ["node", "--input-type=module", "-e", FORMAT, json.dumps(numbers)], cwd=ROOT, capture_output=True, check=True
    )
    forms = (units.format_ns, units.format_size, units.format_ratio)
    assert json.loads(done.stdout) == [[form(one) for form in forms] for one in numbers]


@pytest.mark.parametrize(
    ("form", "number", "text"),
    [
        (units.format_ns, 999.7, "1 µs"),
        (units.format_ns, 1125, "1.13 µs"),
        (units.format_ns, 1e13, "10000 s"),
        (units.format_size, (1 << 20) - 1, "1 MiB"),
        (units.format_ratio, 1234.5, "1,235"),
        (units.format_ratio, -100.5, "-101"),
        (units.format_ratio, 1e-6, "0.000001"),
        (units.format_ratio, float("nan"), "not known"),
    ],
)
def test_halves_are_rounded_away_from_zero_without_an_exponent(form: Any, number: float, text: str) -> None:
    assert form(number) == text
