# SPDX-License-Identifier: MIT
"""Blocks of a campaign that tests run, children of them that misbehave, and what came of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from uffdlab.measure.runner import Block, Measurements
from uffdlab.probes.protect import ProtectSpec
from uffdlab.vocabulary.backings import MIB

Misbehave = Callable[[str], None]

# Comes before the child's own code: the probe yields two samples, then does what the test wants.
AFTER_TWO_SAMPLES = """
import dataclasses, os, signal, sys, time
from itertools import islice
from uffdlab.errors import UffdlabError
from uffdlab.probes import protect
from uffdlab.vocabulary import designs

def run(spec, real=protect.run):
    yield from islice(real(spec), 2)
    {misbehaviour}

protect.run = run
"""


def block(number: int = 0, **more: Any) -> Block:
    spec = asdict(ProtectSpec("anon", "pte_marker", 2 * MIB, repeats=5))
    return Block(number, "protect", spec, **more)


def outcomes(rows: Measurements) -> list[str]:
    return [row["outcome"] for row in rows.tables["outcomes"]]


def reason(rows: Measurements) -> str:
    (row,) = rows.tables["outcomes"]
    return str(row["reason"])


def samples(rows: Measurements) -> int:
    return len(rows.tables.get("samples", []))
