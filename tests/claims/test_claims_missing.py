# SPDX-License-Identifier: MIT
"""Missing cells are ignored, and a time of 0 ns is named by its table and column."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic import dataset as early
from synthetic import state
from synthetic_atomicity import dataset as raced
from synthetic_faults import POPULATED, dataset, filled, first_touches, populated, speeds
from test_claims_atomicity import LOSING, NONE, ONE, POPULATE, READ
from test_claims_atomicity import raced as anon
from test_claims_zeropages import relatives

from uffdlab import claims
from uffdlab.datasets import Dataset

Rows = list[dict[str, Any]]


def unknown(data: Dataset, table: str, column: str, last: int) -> Dataset:
    """Return the dataset with a column of its last rows missing: what another campaign's schema may allow."""
    frame = data.tables[table].copy()
    frame.loc[frame.index[-last:], column] = pd.NA
    return replace(data, tables={**data.tables, table: frame})


# --- not known whether it belongs -------------------------------------------------------------------------------------


def test_race_of_unknown_interleaving_is_ignored(tmp_path: Path) -> None:
    rows, lost = [*anon(READ, LOSING), *anon(POPULATE, LOSING), *anon(ONE, NONE)], anon(ONE, LOSING)
    whole = claims.verdict("atomicity", raced(tmp_path / "a", rows))
    found = claims.verdict("atomicity", unknown(raced(tmp_path / "b", rows + lost), "races", "interleaving", len(lost)))
    assert (found.verdict, found.because, found.evidence) == ("holds", whole.because, whole.evidence)


def test_state_of_unknown_content_is_not_counted_as_empty(tmp_path: Path) -> None:
    rows = [state(backing, "none", True) for backing in ("hugetlb_2m_private", "hugetlb_1g_private")]
    data = early(tmp_path / "d", states=rows + [row | {"write_reported": False} for row in rows])
    assert claims.verdict("hugetlb-already-works", data).verdict == "not decided"
    assert claims.verdict("hugetlb-already-works", unknown(data, "states", "content", 2)).verdict == "holds"


def test_unknown_hugetlb_growth_counts_as_none(tmp_path: Path) -> None:
    data = dataset(tmp_path / "d", zeropages=relatives(0, 1))
    whole = claims.verdict("forbidden-zeropage", data)
    found = claims.verdict("forbidden-zeropage", unknown(data, "zeropages", "hugetlb_growth_kib", len(relatives(0, 1))))
    assert whole.verdict == "predicted to hold"
    assert (found.verdict, found.because, found.evidence) == (whole.verdict, whole.because, whole.evidence)


def test_unknown_write_report_is_named_as_the_reason(tmp_path: Path) -> None:
    rows = filled("anon_thp", "pte_marker", 0, "on") + filled("anon_thp", "pte_marker", 0, "off")
    data = unknown(dataset(tmp_path / "d", zeropages=rows), "zeropages", "reported", 1)
    found = claims.verdict("no-huge-zeropage-needed", data)
    assert (found.verdict, found.because) == (
        "not decided",
        "`zeropages.reported` does not say of every sample whether a write was reported",
    )


@pytest.mark.parametrize("column", ["protect_ns", "block"])
def test_sample_without_its_time_or_child_is_left_out(tmp_path: Path, column: str) -> None:
    samples = populated("pte_marker", 0, 5000, "anon_thp") + populated("populate_read", 900, 100, "anon_thp")
    odd = [row | {"block": 9000 + n, "protect_ns": 10**9} for n, row in enumerate(samples[:9])]
    whole, more = (dataset(tmp_path / name, samples=rows) for name, rows in (("a", samples), ("b", samples + odd)))
    found = claims.verdict("table-fill-slower", unknown(more, "samples", column, len(odd)))
    assert found.effect is not None
    assert found.effect == claims.verdict("table-fill-slower", whole).effect
    assert found.effect != claims.verdict("table-fill-slower", more).effect


# --- a time of nothing ------------------------------------------------------------------------------------------------


def _samples() -> dict[str, Rows]:
    rows = speeds({}, 2.0)
    first = [row["backing"] == POPULATED[0][0] and row["design"] == "populate_read" for row in rows]
    return {"samples": [row | ({"prepare_ns": 0} if zero else {}) for row, zero in zip(rows, first, strict=True)]}


def _zeropages() -> dict[str, Rows]:
    rows = filled("anon_thp", "pte_marker", 0, "on", protect_ns=0) + filled("anon_thp", "pte_marker", 0, "off")
    return {"zeropages": rows}


def _faults() -> dict[str, Rows]:
    rows = first_touches({"tables": 0.5, "tables_cold": 0.6})
    return {"faults": [row | {"busy_ns": 0} for row in rows]}


@pytest.mark.parametrize(
    ("claim", "tables", "named"),
    [
        ("populate-read-faster", _samples(), "`samples.prepare_ns`"),
        ("no-huge-zeropage-needed", _zeropages(), "`zeropages.protect_ns`"),
        ("prealloc-speeds-faults", _faults(), "`faults.busy_ns`"),
    ],
)
def test_time_of_0_ns_is_named_by_table_and_column(
    tmp_path: Path, claim: str, tables: dict[str, Rows], named: str
) -> None:
    found = claims.verdict(claim, dataset(tmp_path / "d", **tables))
    assert found.verdict == "not decided"
    assert f"{named} holds a time of 0 ns" in f"{found.because} {found.missing}"
