# SPDX-License-Identifier: MIT
"""Which design is cheapest: a tie is nobody's, and the order in which designs are named changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uffdlab import sim
from uffdlab.sim.decision import OBJECTIVES

NAMES = [name for name, one in sim.DESIGNS.items() if one.leaf == "pte"]
PLANE: dict[str, Any] = {"x": ("populated", (0.0, 0.5, 1.0)), "y": ("writes", (0, 100, 100_000))}
EVERYTHING_IS_THERE = sim.Workload(1 << 30, populated=1.0)


def decided(designs: list[str], objective: str, **more: Any) -> pd.DataFrame:
    return sim.df_decision(sim.load_costs(), objective, designs, **(PLANE | more))


@settings(max_examples=15, deadline=None)
@given(st.permutations(NAMES), st.integers(2, 4), st.sampled_from(OBJECTIVES), st.randoms(use_true_random=False))
def test_decision_does_not_depend_on_the_order_of_designs(
    names: list[str], number: int, objective: str, random: Any
) -> None:
    one = names[:number]
    other = random.sample(one, number)
    pd.testing.assert_frame_equal(decided(one, objective), decided(other, objective))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_equal_designs_of_two_names_are_a_tie(objective: str) -> None:
    twins = [replace(sim.DESIGNS["pte_marker"], name=name) for name in ("zz", "aa")]
    frame = sim.df_decision(sim.load_costs(), objective, [*twins, "preread"], **PLANE)
    won = frame[frame.best.isin(["aa", "zz"])]
    assert len(won)
    assert won.tie.all()
    assert set(won.ties) <= {"aa, zz", "aa, preread, zz"}
    assert not frame[frame.best == "preread"].tie.any()


def test_tied_designs_are_not_a_single_best() -> None:
    # Where everything is there already, markers have nothing to stand in.
    frame = decided(["pmd_marker", "pte_marker", "preread"], "stop time", base=EVERYTHING_IS_THERE)
    full, empty = frame[frame.populated == 1], frame[frame.populated == 0]
    assert full.tie.all()
    assert set(full.ties) == {"pmd_marker, pte_marker"}
    assert not empty.tie.any()
    assert set(empty.best) == {"pmd_marker"}
    assert (frame.ratio > 1.001).all(), "the next is the cheapest of those that are no tie"


def test_best_priced_at_zero_has_no_ratio() -> None:
    priced = sim.load_costs()
    free = dict.fromkeys(priced.vector, 0.0)
    nothing = replace(priced, vector=free | {"populated": 5.0}, draws=())
    frame = sim.df_decision(nothing, "stop time", ["populate_read", "pte_marker"], **PLANE)
    empty = frame[frame.populated == 0]
    assert set(empty.best) == {"pte_marker"}
    assert empty.ratio.isna().all()
    assert not empty.clear.any()
    assert len(sim.df_decision(nothing, "mix", ["populate_read", "pte_marker"], **PLANE)) == 0
