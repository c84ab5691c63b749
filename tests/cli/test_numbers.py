# SPDX-License-Identifier: MIT
"""Numbers in any notation are parsed, or refused with the valid range."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from running import sentence, uffdlab_run

from uffdlab.cli.arguments import process_id
from uffdlab.errors import UffdlabError
from uffdlab.measure.options import spec_of
from uffdlab.measure.registry import PROBES
from uffdlab.measure.runner import Block
from uffdlab.units import parse_number, parse_size, parse_whole

ABSURD = [
    "9" * 400, "-" + "9" * 400, "9" * 5000, "1e400", "-1e400", "1e999999999", "nan",
    "inf", "-inf", "infinity", "٣", "１", "1_000", "0x10", "1e", ".", "-", "+", "", " ", "1 2", "1,5", "\0", "\udcff",
    "9" * 29 + "TiB", "8EiB", "one",
]  # fmt: skip
UNUSUAL = ["0", "-1", "+5", " 5 ", "5.0", "5e0", "1.5", "1e18", str(1 << 31), str(1 << 32), str(1 << 63), str(1 << 64)]
UNUSUAL += ["0." + "0" * 400 + "1", "1e-400"]
FIELDS = [(probe, field) for probe in PROBES for field in fields(PROBES[probe].spec) if field.type in ("int", "float")]  # type: ignore[arg-type]
NUMBERS = [(probe, field) for probe, field in FIELDS if not field.name.endswith("_bytes")]


def refused(probe: str, field: Any, text: str) -> str | None:
    """Return why a text is refused as a field of a probe; None if it is accepted."""
    try:
        block = Block(0, probe, spec_of(probe, {field.name.removesuffix("_bytes"): text}, 1))
        block.needs(), block.title()
    except UffdlabError as error:
        return str(error)
    return None


@pytest.mark.parametrize("text", ["1e-320", "1e-9", "." + "0" * 400 + "1", "5e-999"])
def test_a_very_small_number_is_accepted(text: str) -> None:
    assert parse_number(text, "--populated", 0, 1) == float(text)


@pytest.mark.parametrize("text", ["1e-320", "1e400", "1" + "0" * 400])
def test_a_number_out_of_bounds_is_refused_with_the_bounds(text: str) -> None:
    with pytest.raises(UffdlabError, match=r"is not a number of seconds from 0\.5 to 86400"):
        parse_number(text, "--after", 0.5, 86400, "seconds")


@pytest.mark.parametrize("text", [*ABSURD, *UNUSUAL], ids=ascii)
def test_every_number_of_every_probe_is_parsed_or_refused_in_one_sentence(text: str) -> None:
    for probe, field in FIELDS:
        if field.name != "seed":
            why = refused(probe, field, text)
            assert why is not None or text in UNUSUAL, (probe, field.name)
            assert why is None or (why.isprintable() and len(why) < 300 and field.name.split("_")[0] in why), why


@pytest.mark.parametrize(("probe", "field"), NUMBERS, ids=lambda one: getattr(one, "name", one))
def test_every_number_of_a_probe_has_limits_that_contain_its_default(probe: str, field: Any) -> None:
    assert field.metadata["least"] <= field.default <= field.metadata["most"]


@pytest.mark.parametrize(("probe", "field"), NUMBERS, ids=lambda one: getattr(one, "name", one))
@pytest.mark.parametrize("beyond", [1, 10**20, 10**400, math.inf])
def test_a_spec_made_in_python_is_checked_against_the_same_limits(probe: str, field: Any, beyond: float) -> None:
    with pytest.raises(UffdlabError, match=f"{field.name} is .*: choose"):
        PROBES[probe].spec(**{field.name: field.metadata["most"] + beyond})


@given(st.integers(-(10**29), 10**29), st.sampled_from(["{}", "+{}", " {} ", "{}.0", "{}e0"]))
def test_a_whole_number_is_parsed_exactly(value: int, form: str) -> None:
    text = form.format(value) if value >= 0 else str(value)
    assert parse_whole(text, "--n", -(10**29), 10**29) == value


@given(st.floats(-1e9, 1e9).map(lambda value: round(value, 6)))
def test_a_number_is_parsed_as_by_python(value: float) -> None:
    assert parse_number(f"{value:f}", "--n", -1e9, 1e9) == value


def _read(parse: Any, *arguments: Any) -> int | str:
    try:
        value: int = parse(*arguments)
    except UffdlabError as error:
        return str(error)
    return value


@given(st.text(max_size=8))
@example("0\x85")  # white space, and no ASCII
def test_a_parsed_number_equals_its_ascii_digits(text: str) -> None:
    value = _read(parse_whole, text, "--n", 0, 100)
    if isinstance(value, int):
        assert text.isascii()
        assert float(text) == value
    else:
        assert value.endswith("is not a whole number from 0 to 100")


@given(st.text(max_size=8))
def test_a_size_is_parsed_or_refused(text: str) -> None:
    value = _read(parse_size, text, "--size")
    assert isinstance(value, int) or value.startswith("--size ")


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "1.5", "1_0", "٣", " 1"])
def test_an_invalid_process_id_is_refused(text: str) -> None:
    with pytest.raises(UffdlabError, match=r"is not a process ID: write a whole number above 0") as caught:
        process_id(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("measure", "channel", "--set=slots={}"), "--set slots {} is not a whole number from 1 to 30000000"),
        (("measure", "protect", "--repeats={}"), "--repeats {} is not a whole number from 1 to 1000000"),
        (("measure", "protect", "--seed={}"), "--seed {} is not a whole number from 0 to 9223372036854775807"),
        (("measure", "--suite=quick", "--out=d", "--seed={}"), "--seed {} is not a whole number from 0 to"),
        (("measure", "protect", "--populated={}"), "--populated {} is not a number from 0 to 1"),
        (("measure", "protect", "--size={}"), "--size {} is not a size of any memory"),
        (("measure", "faults", "--set=stride={}"), "--set stride {} is not a size of any memory"),
        (("scan", "--self", "--min-size={}"), "--min-size {} is not a size of any memory"),
        (("scan", "--cmd=sleep 9", "--after={}"), "--after {} is not a number of seconds from 0 to 86400"),
        (("scan", "{}"), "process ID {} is too large: Linux has up to 4194304"),
        (("sim", "--design=pte_marker", "--span={}"), "--span {} is not a size of any memory"),
        (("sim", "--design=pte_marker", "--cluster={}"), "--cluster {} is not a whole number from 1 to 4294967296"),
        (("sim", "--design=pte_marker", "--walk-cluster={}"), "--walk-cluster {} is not a whole number from 1 to"),
        (("sim", "--design=pte_marker", "--reads={}"), "--reads {} is not a whole number from 0 to"),
        (("sim", "--design=pte_marker", "--writes={}"), "--writes {} is not a whole number from 0 to"),
        (("sim", "--design=pte_marker", "--other-cpus={}"), "--other-cpus {} is not a whole number from 0 to 65536"),
        (("sim", "--design=pte_marker", "--seed={}"), "--seed {} is not a whole number from 0 to"),
        (("sim", "--design=pte_marker", "--populated={}"), "--populated {} is not a number from 0 to 1"),
        (("sim", "--design=pte_marker", "--set={}"), "--set {} is not FIELD=VALUE"),
    ],
)
def test_four_hundred_digits_are_refused_with_the_valid_range(
    arguments: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    digits = "9" * 400
    refusal = sentence(uffdlab_run(*(argument.format(digits) for argument in arguments), cwd=tmp_path))
    assert expected.format(f"{digits[:40]!r}… (400 characters)") in refusal
    assert list(tmp_path.iterdir()) == []
