# SPDX-License-Identifier: MIT
"""The datasets that claims are decided from: loaded once, and passed to every claim."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from uffdlab import datasets
from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError

CHANNEL, TRACKERS = "channels", "trackers"  # the tables of the suites of these names
COSTS_ARE_MISSING = (
    "no costs were calibrated on this campaign",
    "a calibrated prediction: 'uffdlab sim --calibrate' on a campaign of the full suite, then 'uffdlab claims --costs'",
)


@dataclass(frozen=True)
class Evidence:
    """A campaign and the datasets that belong to it; None where one is missing.

    ``companions`` are those of suites that measure what a campaign does not, by suite (``channel``, ``trackers``);
    several campaigns share them. ``costs`` are event costs, calibrated on this campaign or borrowed (see
    :attr:`costs_are_borrowed`). ``published`` holds the figures and attempts of the thread.
    """

    campaign: Dataset
    companions: Mapping[str, Dataset] = field(default_factory=dict)
    costs: Dataset | None = None
    published: Dataset | None = None

    def holding(self, table: str | None) -> Dataset:
        """Return the dataset with a table: the campaign, or else a companion; the campaign where none has it."""
        if table in self.campaign.tables:
            return self.campaign
        return next((data for data in self.companions.values() if table in data.tables), self.campaign)

    @property
    def costs_are_borrowed(self) -> bool:
        """Whether the costs were calibrated on a campaign other than ``campaign``."""
        return self.costs is not None and not _of_one_campaign(self.costs, self.campaign)


def evidence_of(campaign: Dataset, costs: Dataset | None = None) -> Evidence:
    """Return a campaign with the committed datasets that belong to it.

    The thread's figures belong to every campaign, a committed channel to the committed campaigns of its machine, and
    committed costs to the campaign that they were calibrated on; other ``costs`` have to be passed in.
    """
    return _evidence_of(campaign, costs, _committed)


def evidence_of_each(campaigns: Iterable[Dataset]) -> list[Evidence]:
    """Return several campaigns, each with the committed datasets that belong to it, which are loaded once."""
    load = cache(_committed)
    return [_evidence_of(campaign, None, load) for campaign in campaigns]


def _evidence_of(campaign: Dataset, costs: Dataset | None, load: Callable[[Path | str], Dataset | None]) -> Evidence:
    companions = {suite: data for suite, path in datasets.companions(campaign).items() if (data := load(path))}
    committed = filter(None, map(load, datasets.calibrations()))
    calibrated = costs or next((one for one in committed if _of_one_campaign(one, campaign)), None)
    return Evidence(campaign, companions, calibrated, load("published"))


def repeats_beside(campaigns: Sequence[Evidence], table: str) -> list[Dataset]:
    """Return the committed datasets with a table of a suite that belong to none of the campaigns, of their processors.

    None where no campaign has a companion with the table.
    """
    theirs = [data for evidence in campaigns for data in evidence.companions.values() if table in data.tables]
    known = {data.path.resolve() for data in (*theirs, *(evidence.campaign for evidence in campaigns))}
    processors = {data.provenance.get("cpu_model") for data in theirs}
    paths = [path for path in datasets.with_table(table) if path.resolve() not in known] if theirs else []
    found = filter(None, map(_committed, paths))
    return [data for data in found if data.provenance.get("cpu_model") in processors]


def borrowed(evidence: Evidence, form: str = "with costs borrowed from {}: ") -> str:
    """Return words that name borrowed costs, by default those a verdict begins with; empty for the campaign's own."""
    return form.format(evidence.costs.id) if evidence.costs is not None and evidence.costs_are_borrowed else ""


def _of_one_campaign(calibrated: Dataset, campaign: Dataset) -> bool:
    """Whether costs were calibrated on a campaign: they name it and have its provenance."""
    named = {"title": f"dataset {campaign.id}"} in calibrated.sources
    return named and calibrated.provenance == campaign.provenance


def _committed(wanted: Path | str) -> Dataset | None:
    """Return a committed dataset; None where it is missing or damaged."""
    try:
        return datasets.load(datasets.locate(wanted))
    except UffdlabError:
        return None
