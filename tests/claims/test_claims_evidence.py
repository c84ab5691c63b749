# SPDX-License-Identifier: MIT
"""The companion datasets of a campaign: its own, borrowed and named in the verdict, or missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from running import sentence, uffdlab_run
from synthetic import dataset

from uffdlab import claims, datasets

PRICED = ("pmd-marker-wins", "pud-marker-wins", "spread-cost-later")


@pytest.fixture(scope="module")
def reference() -> datasets.Dataset:
    return datasets.load(datasets.locate(None))


def test_evidence_of_the_reference_has_channel_costs_and_published(reference: datasets.Dataset) -> None:
    evidence = claims.evidence_of(reference)
    assert evidence.costs is not None
    assert [*evidence.companions] == ["channel", "trackers"]
    assert evidence.published is not None
    assert not evidence.costs_are_borrowed
    assert not any("borrowed" in claims.verdict(id_, evidence).because for id_ in PRICED)


def test_evidence_of_another_campaign_has_no_channel_or_costs(tmp_path: Path) -> None:
    evidence = claims.evidence_of(dataset(tmp_path / "mine"))
    assert (evidence.costs, evidence.companions) == (None, {})
    assert evidence.published is not None, "the thread's own figures belong to everybody"


@pytest.mark.parametrize("id_", PRICED)
def test_prediction_undecided_without_calibrated_costs(reference: datasets.Dataset, id_: str) -> None:
    found = claims.verdict(id_, claims.Evidence(reference))
    assert (found.verdict, found.effect) == ("not decided", None)
    assert found.because == "no costs were calibrated on this campaign"
    assert "sim --calibrate" in (found.missing or "")


@pytest.mark.parametrize("id_", PRICED)
def test_borrowed_costs_are_named_in_the_verdict_line(reference: datasets.Dataset, id_: str) -> None:
    costs = datasets.load(datasets.locate("costs-"))
    evidence = claims.Evidence(replace(reference, id="mine"), costs=costs)
    assert evidence.costs_are_borrowed
    verdict = claims.verdict(id_, evidence)
    assert str(verdict).startswith(f"{id_}: {verdict.words}. with costs borrowed from {costs.id}: ")
    if verdict.verdict == "not decided":
        assert f"with costs borrowed from {costs.id}" in verdict._repr_html_()
        return
    assert verdict.verdict.startswith("predicted")
    for text in (verdict.key_number(), verdict._repr_html_(), claims.markdown_table([verdict])):
        assert f"with costs of {costs.id}" in (text or "")


def test_a_campaign_that_shares_the_reference_id_has_no_companions(reference: datasets.Dataset, tmp_path: Path) -> None:
    evidence = claims.evidence_of(replace(reference, path=tmp_path / reference.id))
    assert evidence.companions == {}


def test_companions_of_another_machine_are_no_evidence(reference: datasets.Dataset) -> None:
    elsewhere = replace(reference, provenance=reference.provenance | {"cpu_model": "another"})
    assert claims.evidence_of(elsewhere).companions == {}


@pytest.mark.parametrize(
    ("campaign", "channel"),
    [
        ("reference-2026-11-28-1932", "channel-2026-11-28"),
        ("replication-2026-11-25-amd", "channel-2026-11-26"),
        ("intel-2026-11-27", "channel-2026-11-27-intel"),
        ("mthp-2026-11-25", None),
    ],
)
def test_a_committed_campaign_has_the_channel_of_its_machine(campaign: str, channel: str | None) -> None:
    found = claims.evidence_of(datasets.load(datasets.locate(campaign))).companions.get("channel")
    assert (found and found.id) == channel


def test_claims_command_borrows_costs_only_with_the_costs_option(tmp_path: Path) -> None:
    arguments = ("claims", "spread-cost-later", "--data", "mthp-2026-11-25")
    assert "not decided" in uffdlab_run(*arguments, cwd=tmp_path).stdout
    with_ = uffdlab_run(
        "claims", "spread-cost-later", "--data", "mthp-2026-11-25", "--costs", "costs-", cwd=tmp_path
    ).stdout
    assert "because: with costs borrowed from costs-2026-11-28-1932: " in with_


def test_dataset_without_costs_is_refused_in_one_sentence(tmp_path: Path) -> None:
    refused = sentence(uffdlab_run("claims", "spread-cost-later", "--costs", "published", cwd=tmp_path))
    assert refused.startswith("dataset 'published' has no table 'costs'; it has ")
