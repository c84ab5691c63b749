# SPDX-License-Identifier: MIT
"""What README shows is what is computed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from uffdlab.errors import UffdlabError
from uffdlab.report import readme
from uffdlab.report.committed import picture

ROOT = Path(__file__).resolve().parent.parent


def test_the_answer_so_far_is_computed_from_the_reference_dataset() -> None:
    shown = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "<!-- computed: uffdlab claims --markdown -->" in shown
    assert shown == readme.renewed(shown), f"README.md is out of date: run '{readme.ACCEPT}'"


def test_a_computed_part_whose_command_fails_is_named() -> None:
    with pytest.raises(UffdlabError, match="'uffdlab claims no-such' failed: uffdlab: error:"):
        readme.renewed("<!-- computed: uffdlab claims no-such -->\n\nas it was\n\n<!-- end -->")


def test_the_picture_is_the_figure_of_the_notebook() -> None:
    shown = (ROOT / "docs" / "guest.png").read_bytes()
    drawn = picture(ROOT / "notebooks" / "01_anon_hugetlb.ipynb", "guest-figure")
    assert shown == drawn, "docs/guest.png is out of date: run 'make notebooks'"


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S))
def test_python_blocks_run(block: str) -> None:
    exec(compile(block, "README.md", "exec"), {})  # what a reader would paste
