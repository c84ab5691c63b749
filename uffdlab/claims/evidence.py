# SPDX-License-Identifier: MIT
"""What claims are decided from: datasets that are loaded once, at the edge, and handed in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from uffdlab import datasets, sim
from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError

CHANNEL = "channels"  # the table of the channel suite
COSTS_ARE_MISSING = (
    "no costs were calibrated on this campaign",
    "a calibrated prediction: 'uffdlab sim --calibrate' on a campaign of the full suite, then 'uffdlab claims --costs'",
)


@dataclass(frozen=True)
class Evidence:
    """A campaign, and what stands beside it; what is None was not measured.

    ``channel`` holds the covert channel where the campaign does not. ``costs`` are what events cost, calibrated on this
    campaign or borrowed (see :attr:`costs_are_borrowed`). ``published`` holds the figures and attempts of the thread.
    """

    campaign: Dataset
    channel: Dataset | None = None
    costs: Dataset | None = None
    published: Dataset | None = None

    def holding(self, table: str | None) -> Dataset:
        """Return the dataset that has a table: the campaign, else the channel's; the campaign where none has it."""
        beside = [one for one in (self.campaign, self.channel) if one is not None and table in one.tables]
        return beside[0] if beside else self.campaign

    @property
    def costs_are_borrowed(self) -> bool:
        """Whether the costs were calibrated on another campaign than the one that is decided from."""
        return self.costs is not None and not _of_one_campaign(self.costs, self.campaign)


def evidence_of(campaign: Dataset, costs: Dataset | None = None) -> Evidence:
    """Return a campaign with what the checkout has beside it.

    The thread's figures belong to every campaign. The committed channel belongs to the committed reference alone, and
    the committed costs to the campaign that they were calibrated on; other ``costs`` have to be handed in.
    """
    reference = _committed(None)
    beside = [_committed(path) for path in datasets.companions()] if _is(campaign, reference) else []
    calibrated = costs or _committed(sim.COSTS_PREFIX)
    if costs is None and calibrated is not None and not _of_one_campaign(calibrated, campaign):
        calibrated = None
    channel = next((one for one in beside if one is not None and CHANNEL in one.tables), None)
    return Evidence(campaign, channel, calibrated, _committed("published"))


def borrowed(evidence: Evidence) -> str:
    """Return what the verdict line says first of costs that another campaign gave; nothing of one's own."""
    named = evidence.costs.id if evidence.costs is not None and evidence.costs_are_borrowed else ""
    return f"with costs borrowed from {named}: " if named else ""


def _is(campaign: Dataset, other: Dataset | None) -> bool:
    return other is not None and campaign.id == other.id


def _of_one_campaign(calibrated: Dataset, campaign: Dataset) -> bool:
    """Whether costs were calibrated on a campaign: they name it, and carry its provenance."""
    named = {"title": f"dataset {campaign.id}"} in calibrated.sources
    return named and calibrated.provenance == campaign.provenance


def _committed(wanted: Path | str | None) -> Dataset | None:
    """Return a committed dataset; None where it is not at hand, or damaged."""
    try:
        return datasets.load(datasets.locate(wanted))
    except UffdlabError:
        return None
