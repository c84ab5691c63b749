# SPDX-License-Identifier: MIT
"""One sentence on a campaign: how many claims it decides, whether as the reference does, and what the others need."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from synthetic import dataset
from synthetic_faults import dataset as later
from test_claims_zeropages import relatives

from uffdlab import claims, datasets
from uffdlab.claims import register, standing


@pytest.fixture(scope="module")
def reference() -> claims.Evidence:
    return claims.evidence_of(datasets.load(datasets.locate(None)))


def test_sentence_counts_decided_claims_and_names_what_others_need(reference: claims.Evidence, tmp_path: Path) -> None:
    sentence = standing.sentence(claims.evidence_of(dataset(tmp_path / "d")), reference)
    asked = len(claims.CLAIMS) - 1
    assert sentence.startswith(f"0 of {asked} claims are decided here; {asked} need: ")
    assert "huge pages of 2 MiB and 1 GiB, " in sentence
    assert "two threads, " in sentence
    assert "(--suite full --allow-host-changes)" in sentence
    assert "(--suite channel --allow-host-changes)" in sentence
    assert sentence.endswith("(in no suite yet)")


def test_sentence_names_claims_that_differ_from_the_reference(
    reference: claims.Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = later(tmp_path / "d", zeropages=relatives(0, 1))
    id_ = next(claim.id for claim in claims.CLAIMS if claims.verdict(claim.id, here).verdict == "predicted to hold")
    of = type(claims.CLAIMS[0]).verdict

    def other(claim: Any, evidence: claims.Evidence) -> Any:
        found, data = of(claim, evidence), evidence.campaign
        return claim.ruled(data, "does not hold", "") if (claim.id, data.id) == (id_, here.id) else found

    monkeypatch.setattr(type(claims.CLAIMS[0]), "verdict", other)
    sentence = standing.sentence(claims.evidence_of(here), reference)
    assert f"all as in the reference but {id_} (does not hold here, predicted to hold there); " in sentence


def test_sentence_without_a_reference_does_not_mention_it(tmp_path: Path) -> None:
    sentence = standing.sentence(claims.evidence_of(dataset(tmp_path / "d")))
    assert "reference" not in sentence
    assert "huge pages" in sentence


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_what_a_claim_lacks_is_named_in_few_words(claim: claims.Claim) -> None:
    assert 0 < len(claim.lacks) <= 35
    assert "," not in claim.lacks, "it stands in a list"


def test_an_answer_is_neither_decided_nor_open(reference: claims.Evidence, tmp_path: Path) -> None:
    here = claims.evidence_of(dataset(tmp_path / "d"))
    assert claims.verdict("zeropage-other-contexts", here).verdict == "answer"
    assert standing.sentence(here, reference).startswith(f"0 of {len(claims.CLAIMS) - 1} claims are decided here; ")
    assert "attempts" not in standing.sentence(here)


def test_a_claim_whose_measurement_is_there_needs_more_samples(tmp_path: Path) -> None:
    few = claims.Evidence(later(tmp_path / "d", zeropages=relatives(0, 1, children=5)))
    assert claims.verdict("forbidden-zeropage", few).verdict == "not decided"
    assert "more samples" in standing.sentence(few)


def test_sentence_uses_singular_and_plural(
    reference: claims.Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is decided, no agreement is mentioned either."""
    data = later(tmp_path / "d", zeropages=relatives(0, 1))
    three = [
        claim
        for claim in claims.CLAIMS
        if claim.id in ("pmd-marker-wins", "markers-cost-later-thp", "forbidden-zeropage")
    ]
    monkeypatch.setattr(register, "CLAIMS", three)
    sentence = standing.sentence(claims.Evidence(data), reference)
    assert sentence.startswith("1 of 3 claims is decided here, all as in the reference; 2 need: ")
    monkeypatch.setattr(register, "CLAIMS", [claim for claim in three if claim.id != "forbidden-zeropage"])
    assert standing.sentence(claims.Evidence(data), reference) == (
        "0 of 2 claims are decided here; 2 need: proxies and costs of high markers, huge pages under markers "
        "(--suite full --allow-host-changes)"
    )
    alone = standing.sentence(claims.Evidence(data))
    assert (
        alone == "0 of 2 claims are decided here; 2 need: proxies and costs of high markers, huge pages under markers"
    )


def test_sentence_names_each_need_once_with_its_suite(reference: claims.Evidence, tmp_path: Path) -> None:
    sentence = standing.sentence(claims.evidence_of(dataset(tmp_path / "d")), reference).partition(" need: ")[2]
    named = [f"--suite {name} --allow-host-changes" for name in ("full", "channel", "trackers")]
    suites = *named, "in no suite yet"
    assert tuple(re.findall(r"\((.*?)\)", sentence)) == suites
    for need in sentence.split("; "):
        words = need.partition(" (")[0].split(", ")
        assert len(set(words)) == len(words)
