# SPDX-License-Identifier: MIT
"""The mutants made by hand can still be made: what each replaces stands exactly once in its file."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests" / "mutants"))  # where `make mutants` starts it

import listed  # noqa: E402


def test_the_lists_follow_the_code() -> None:
    out_of_date = [why for one in listed.read() if (why := listed.why_not(one, ROOT))]
    assert out_of_date == [], (
        "change the entry in tests/mutants/listed/ as the code was, or drop it with what it changed"
    )


def test_every_test_that_has_to_notice_is_there() -> None:
    for one in listed.read():
        assert one.tests
        for name in one.tests:
            file, _, test = name.partition("::")
            assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8") if test else (ROOT / file).is_file(), (
                name
            )


def test_no_mutant_is_listed_twice() -> None:
    keys = [(one.file, one.before, one.after) for one in listed.read()]
    assert len(set(keys)) == len(keys)
