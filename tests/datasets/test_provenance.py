# SPDX-License-Identifier: MIT
"""Nothing that could identify a person or a machine gets into a dataset's provenance."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uffdlab.datasets.provenance import KEYS, allowed, problems

SAMPLES: dict[str, Any] = {
    "text": "AMD EPYC 9B14 96-Core Processor",
    "integer": 4096,
    "number": 0.25,
    "boolean": False,
    "names": ["WP_UNPOPULATED", "WP_ASYNC"],
    "mapping": {"64": "never", "2048": {"total": 4, "free": None}},
}


@pytest.mark.parametrize("name", KEYS)
def test_every_key_accepts_its_kind_and_null(name: str) -> None:
    kind = KEYS[name].kind
    assert problems({name: SAMPLES[kind]}) == []
    assert problems({name: None}) == []
    for other, value in SAMPLES.items():
        fits = other == kind or (other, kind) == ("integer", "number")
        assert bool(problems({name: value})) != fits


@pytest.mark.parametrize("name", ["hostname", "user", "cwd", "ip", "uname_nodename", "cmdline"])
def test_no_key_identifies_a_person_or_machine(name: str) -> None:
    (problem,) = problems({name: "x"})
    assert repr(name) in problem
    assert "allow-list" in problem


@pytest.mark.parametrize(
    "text",
    ["/home/carol", "carol@example.org", "10.1.2.3", "two\nlines", "nul\0", "x" * 201, "naïve", "\\\\server"],
)
def test_identifying_text_is_refused_in_any_value(text: str) -> None:
    assert problems({"cpu_model": text})
    assert problems({"uffd_features": [text]})
    assert problems({"mitigations": {text: "x"}})
    assert problems({"mitigations": {"x": {"y": text}}})


@pytest.mark.parametrize("text", ["6.1.0.13-amd64", "6.18.5", "Intel(R) Core(TM) i7-1185G7", "clang 19.1.7 (+libc++)"])
def test_kernel_and_cpu_names_are_accepted_unless_they_resemble_an_address(text: str) -> None:
    assert bool(problems({"kernel_release": text})) == text.startswith("6.1.0.13")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*KEYS, "hostname", ""]) | st.text(max_size=9), VALUES, max_size=6))
def test_allowed_drops_exactly_the_facts_with_problems(facts: dict[str, Any]) -> None:
    kept = allowed(facts)
    assert problems(kept) == []
    assert len(problems(facts)) == len(facts) - len(kept)
