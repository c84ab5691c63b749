# SPDX-License-Identifier: MIT
"""Fit event costs to times and ledgers: non-negative least squares, relative to each time.

Costs are fitted on some configurations and validated on others. Events that are not identifiable are marked: one that
is always counted together with others has cost 0, and a status that names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr
from scipy.optimize import nnls

from uffdlab.sim.ledger import Ledger, events
from uffdlab.sim.measured import Phase

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Vector = np.ndarray[tuple[int], np.dtype[np.float64]]

DRAWS = 200
# Locks, lost writes and the like take no time of their own: what they stand for is counted elsewhere; freed pages with
# the entries that were zapped.
UNTIMED = frozenset(
    (
        *("lost_writes", "false_events", "pages_freed", "ipis"),
        *("lock_mmap", "lock_vma", "lock_page_table", "lock_pmd", "lock_pte"),
    )
)
# A fault and the zeropage it maps always come together with a fault and the page it maps, less the page: one of the
# four has to be the origin, and mapping what exists already is nearest to nothing.
ORIGIN = "zeropages"
# No data separates these. A touch that finds its page costs the same, read or write; and an entry is an entry, whether
# a marker is written into it or, as no kernel does, a zeropage.
AS = {"writes": "reads", "filled_zero": "markers_pte", "filled_huge_zero": "markers_pmd"}
_SMALL = 1e-9
_ROUNDS, _NEAR, _FAR = 20, 0.1, 50.0


@dataclass(frozen=True)
class Fit:
    """Costs in ns by event, their bootstrap draws, and how well the data separates events.

    ``status`` says of each event: fitted; origin; untimed; counted with others (named); or not in the data.
    ``condition`` is that of the fitted matrix, its columns scaled to length 1.
    """

    costs: dict[str, float]
    draws: tuple[dict[str, float], ...]
    status: dict[str, str]
    condition: float
    phases: int


def fit(phases: Sequence[Phase], *, cold: bool = False, draws: int = DRAWS, seed: int = 1) -> Fit:
    """Fit costs on the configurations that are not held out; warm samples, or cold ones."""
    seen = [phase for phase in phases if not phase.unseen and _times(phase, cold)]
    if not seen:
        raise ValueError("no phase to fit costs on")
    status = {name: "untimed" for name in events() if name in UNTIMED} | {ORIGIN: "origin"}
    status |= {name: f"as {other}" for name, other in AS.items()}
    counted = [name for name in events() if name not in status]
    counts = np.array([[_count(phase.ledger, name) for name in counted] for phase in seen], dtype=np.float64)
    times = np.array([float(np.median(_times(phase, cold))) for phase in seen])
    chosen, together = _separable(counts / times[:, None], counted)
    status |= together
    matrix = counts[:, [counted.index(name) for name in chosen]]
    rng = np.random.default_rng(seed)
    resampled = (_resampled(seen, cold, rng) for _ in range(draws))
    vectors = [_costs(matrix, chosen, times)] + [_costs(matrix, chosen, one) for one in resampled]
    scaled = matrix / times[:, None]
    scaled = scaled / np.linalg.norm(scaled, axis=0)
    status |= dict.fromkeys(chosen, "fitted")
    return Fit(vectors[0], tuple(vectors[1:]), status, float(np.linalg.cond(scaled)), len(seen))


def _count(ledger: Ledger, name: str) -> float:
    return ledger[name] + sum(ledger[like] for like, other in AS.items() if other == name)


def _times(phase: Phase, cold: bool) -> tuple[float, ...]:
    return phase.cold_ns if cold else phase.warm_ns


def _resampled(phases: Sequence[Phase], cold: bool, rng: np.random.Generator) -> Vector:
    """Return the median time of each phase over child processes drawn with replacement."""
    drawn = (rng.choice(_times(phase, cold), len(_times(phase, cold))) for phase in phases)
    return np.array([float(np.median(one)) for one in drawn])


def _costs(matrix: Matrix, names: Sequence[str], times: Vector) -> dict[str, float]:
    """Return the costs that make the ratios of predicted to measured times lie nearest to 1.

    Least squares relative to the measured time prefer a tenth of it to its double; so each round is relative to the
    geometric mean of the time and the previous prediction, and outliers have less weight.
    """
    weights = 1 / times
    found = np.zeros(len(names))
    for _ in range(_ROUNDS):
        scaled = matrix * weights[:, None]
        norms = np.linalg.norm(scaled, axis=0)
        norms[norms == 0] = 1
        found, _ = nnls(scaled / norms, times * weights, maxiter=50 * len(names))
        found = found / norms
        predicted = np.maximum(matrix @ found, times / _FAR)
        off = np.abs(np.log(predicted / times))
        weights = 1 / np.sqrt(predicted * times) / np.sqrt(_NEAR + off)
    costs = dict.fromkeys(events(), 0.0) | dict(zip(names, map(float, found), strict=True))
    return costs | {name: costs[other] for name, other in AS.items()}


def _separable(matrix: Matrix, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the events with an identifiable cost, and a status for each other one."""
    norms = np.linalg.norm(matrix, axis=0)
    status = {name: "not in the data" for name, norm in zip(names, norms, strict=True) if norm == 0}
    there = [name for name in names if name not in status]
    scaled = matrix[:, [names.index(name) for name in there]] / norms[norms > 0]
    _, r, order = qr(scaled, mode="economic", pivoting=True)
    size = np.abs(np.diag(r))
    rank = int((size > _SMALL * size[0]).sum())
    kept, left = list(order[:rank]), list(order[rank:])
    if left:
        combined = np.linalg.lstsq(scaled[:, kept], scaled[:, left], rcond=None)[0]
        for column, index in enumerate(left):
            mixed = [there[kept[row]] for row in range(rank) if abs(combined[row, column]) > 1e-6]
            status[there[index]] = f"counted together with {', '.join(sorted(mixed))}"
    return sorted((there[index] for index in kept), key=names.index), status
