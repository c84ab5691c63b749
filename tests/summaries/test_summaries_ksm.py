# SPDX-License-Identifier: MIT
"""Covert channel by KSM merging: capacity by the time of rounds, and none without a channel."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from synthetic import FACTS

from uffdlab import datasets, notebook, summaries
from uffdlab.datasets import Dataset
from uffdlab.probes.covert import ksm

PAGES, ROUNDS = 16, 40
_ROW = {
    "sample": 0, "contents": "agreed", "use_zero_pages": False, "pages": PAGES, "threshold_ns": 1000,
    "merged_ns": 3900, "private_ns": 100, "scans": 3, "pages_to_scan": 4000, "sleep_ms": 2, "pages_shared": 9,
    "pages_sharing": 9, "ksm_zero_pages": 0, "wall_ns": 20_000_000, "cold": True,
}  # fmt: skip


def _rounds(block: int, *, passes: bool, **more: Any) -> list[dict[str, Any]]:
    rng, rows = random.Random(block), []
    for number in range(ROUNDS):
        sent = rng.getrandbits(PAGES)
        received = sent if passes else 0
        rows.append(
            _ROW | {"block": block, "round": number, "sent": f"{sent:x}", "received": f"{received:x}", "bits": PAGES}
            | {"missed": (sent & ~received).bit_count(), "invented": 0, "ones": sent.bit_count(), "silent": not passes}
            | more
        )  # fmt: skip
    return rows


def _dataset(out: Path, rows: list[dict[str, Any]]) -> Dataset:
    made = [datasets.Table("merges", ksm.FIELDS, rows), datasets.Table("merge_writes", ksm.WRITE_FIELDS, [])]
    return datasets.write(out, id="made-up", title="made up for a test", tables=made, provenance=FACTS)


def test_df_merges_has_capacity_by_the_time_of_rounds(tmp_path: Path) -> None:
    rows = [row for block in range(7) for row in _rounds(block, passes=True)]
    rows += [row for block in range(7, 14) for row in _rounds(block, passes=False)]
    data = _dataset(tmp_path / "d", rows)
    sending, silent = summaries.df_merges(data).to_dict("records")
    assert sending["bit_s"] == pytest.approx(16 / 0.02, rel=0.01), "16 bits in 20 ms"
    assert sending["p"] < 0.01
    assert (sending["error"], sending["children"], sending["rounds"]) == (0, 7, 7 * ROUNDS)
    assert silent["bit_s"] == 0
    assert silent["p"] == 1
    shown = notebook.channel_merges(data).frame
    assert list(shown["sender"]) == ["sends", "silent"]
    assert shown["what passes"].iloc[0].endswith(" to 799)")
    assert shown["what passes"].iloc[1] == "none, below 0.536 bit/s (p = 1)"


def test_df_merges_without_rounds_is_empty(tmp_path: Path) -> None:
    assert summaries.df_merges(_dataset(tmp_path / "d", [])).empty
