# SPDX-License-Identifier: MIT
"""What one campaign decides, in a sentence: how many claims, whether as the reference does, what the rest needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from synthetic import dataset
from synthetic_later import dataset as later
from test_claims_later import relatives

from uffdlab import claims, datasets
from uffdlab.claims import register, standing


@pytest.fixture(scope="module")
def reference() -> claims.Evidence:
    return claims.evidence_of(datasets.load(datasets.locate(None)))


def test_what_a_campaign_decides_is_one_sentence(reference: claims.Evidence, tmp_path: Path) -> None:
    said = standing.sentence(claims.evidence_of(dataset(tmp_path / "d")), reference)
    counted = [one.verdict for one in claims.verdicts(claims.evidence_of(datasets.load(tmp_path / "d")))]
    decided = sum(one != "not decided" for one in counted)
    assert said.startswith(f"{decided} of {len(counted)} claims is decided here, all as in the reference; ")
    assert f"; {len(counted) - decided} need: " in said
    assert "huge pages, " in said
    assert "two threads, " in said
    assert "(--suite full --allow-host-changes)" in said
    assert "(--suite channel --allow-host-changes)" in said
    assert said.endswith("(in no suite yet)")


def test_what_differs_from_the_reference_is_named(
    reference: claims.Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = later(tmp_path / "d", zeropages=relatives(0, 1))
    id_ = next(claim.id for claim in claims.CLAIMS if claims.verdict(claim.id, here).verdict == "holds if")
    of = type(claims.CLAIMS[0]).verdict

    def other(claim: Any, given: claims.Evidence) -> Any:
        found, data = of(claim, given), given.campaign
        return claim.ruled(data, "does not hold", "") if (claim.id, data.id) == (id_, here.id) else found

    monkeypatch.setattr(type(claims.CLAIMS[0]), "verdict", other)
    said = standing.sentence(claims.evidence_of(here), reference)
    assert f"all as in the reference but {id_} (does not hold here, holds if there); " in said


def test_without_a_reference_nothing_is_said_of_it(tmp_path: Path) -> None:
    said = standing.sentence(claims.evidence_of(dataset(tmp_path / "d")))
    assert "reference" not in said
    assert "huge pages" in said


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_what_a_claim_needs_has_a_short_name(claim: claims.Claim) -> None:
    assert len(standing.called(claim.needs)) <= 35
    assert standing.called(f"more rounds of {claim.needs}") == "more samples"


def test_one_claim_is_and_none_are(reference: claims.Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is decided, no agreement is said either."""
    data = later(tmp_path / "d", zeropages=relatives(0, 1))
    three = [one for one in claims.CLAIMS if one.id in ("pmd-marker-wins", "atomicity", "forbidden-zeropage")]
    monkeypatch.setattr(register, "CLAIMS", three)
    said = standing.sentence(claims.Evidence(data), reference)
    assert said.startswith("1 of 3 claims is decided here, all as in the reference; 2 need: ")
    monkeypatch.setattr(register, "CLAIMS", [one for one in three if one.id != "forbidden-zeropage"])
    assert standing.sentence(claims.Evidence(data), reference) == (
        "0 of 2 claims are decided here; 2 need: hugetlb as a proxy, racing discards "
        "(--suite full --allow-host-changes)"
    )
    alone = standing.sentence(claims.Evidence(data))
    assert alone == "0 of 2 claims are decided here; 2 need: hugetlb as a proxy, racing discards"


def test_each_need_is_said_once_behind_the_suite_that_meets_it(reference: claims.Evidence, tmp_path: Path) -> None:
    said = standing.sentence(claims.evidence_of(dataset(tmp_path / "d")), reference).partition(" need: ")[2]
    suites = "--suite full --allow-host-changes", "--suite channel --allow-host-changes", "in no suite yet"
    assert tuple(re.findall(r"\((.*?)\)", said)) == suites
    for one in said.split("; "):
        words = one.partition(" (")[0].split(", ")
        assert len(set(words)) == len(words)


def test_a_need_without_a_short_name_is_called_what_it_is() -> None:
    assert standing.called("the moon measured by hand") == "the moon measured by hand"
    assert standing.called("") == ""
