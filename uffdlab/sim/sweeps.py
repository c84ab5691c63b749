# SPDX-License-Identifier: MIT
"""Frames of expected values over many workloads, priced with intervals.

Every ``df_*`` takes a vector of costs and designs (records, or names of them); times are in its unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from uffdlab.sim.costs import Costs
from uffdlab.sim.designs import SimDesign, record_of
from uffdlab.sim.engine import PAGE_BYTES, Range
from uffdlab.sim.workloads import Workload, expect
from uffdlab.summaries.medians import columns

Designs = Sequence[SimDesign | str]
ANONYMOUS = ("preread", "populate_read", "wp_zeropage", "pte_marker", "pmd_marker", "pud_marker")
GIB = 1 << 30


def df_stop_time(
    costs: Costs, designs: Designs = ANONYMOUS, gib: Iterable[int] = (1, 4, 16, 64, 256, 1024), populated: float = 0.0
) -> pd.DataFrame:
    """Return the expected time to pre-fault and protect, by design and size: ``cost`` with ``_low`` and ``_high``."""
    rows = []
    for design in map(record_of, designs):
        for size in gib:
            result = expect(design, Workload(size * GIB, populated))
            tables = result.tables_kib[1] - result.tables_kib[0]
            row = {"design": design.name, "gib": size, "tables_kib": tables}
            rows.append(row | columns("cost", costs.price(result.protect)))
    return pd.DataFrame(rows)


def df_touched(costs: Costs, designs: Designs = ANONYMOUS, blocks: int = 512, steps: int = 16) -> pd.DataFrame:
    """Return the cost of protecting an empty range and writing one page in a share of its 2 MiB.

    Columns: ``design``, ``touched`` (share), ``cost``, ``tables_kib``.
    """
    rows = []
    for design in map(record_of, designs):
        memory = Range(design, blocks * 512 * PAGE_BYTES, touches=blocks)
        memory.prefault()
        memory.protect()
        written = 0
        for step in range(steps + 1):
            while written < step * blocks // steps:
                memory.touch(written * 512, write=True)
                written += 1
            row = {"design": design.name, "touched": written / blocks, "tables_kib": memory.memory().tables_kib}
            rows.append(row | columns("cost", costs.price(memory.ledger())))
    return pd.DataFrame(rows)
