# SPDX-License-Identifier: MIT
"""The scripts of widgets and pages: what is committed is what their sources bundle to, and they keep to the linter."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from making import ROOT

from uffdlab.widgets.base import asset

pytestmark = pytest.mark.scripts

BUNDLES = ("csv.js", "design_explorer.js", "explore.js", "page_table_view.js")


def test_what_is_committed_is_what_the_sources_bundle_to(tmp_path: Path) -> None:
    subprocess.run(["node", "uffdlab/widgets/js/bundle.mjs", tmp_path], cwd=ROOT, check=True)
    made = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert made.keys() == set(BUNDLES)
    different = [name for name in BUNDLES if made[name] != asset(name)]
    assert different == [], "to accept the change: make widgets"


def test_the_scripts_keep_to_their_format_and_to_the_linter() -> None:
    check = ["node_modules/.bin/biome", "check", "--error-on-warnings"]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
