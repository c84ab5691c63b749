# SPDX-License-Identifier: MIT
"""Load the datasets that a notebook's parameters name."""

from __future__ import annotations

from pathlib import Path

from uffdlab import claims, datasets
from uffdlab.claims.evidence import CHANNEL
from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError


def load(data: str, costs: str, this_machine: str | None) -> tuple[Dataset, Dataset, Dataset | None]:
    """Return the datasets a notebook's parameters name; ``reference`` is the committed one."""
    chosen = [datasets.load(_locate(name)) for name in (data, costs)]
    return chosen[0], chosen[1], datasets.load(_locate(this_machine)) if this_machine else None


def _locate(name: str) -> Path:
    return datasets.locate(None if name == "reference" else name)


def load_published() -> Dataset:
    """Return the thread's own figures."""
    return datasets.load(datasets.locate("published"))


def load_calibrated() -> Dataset:
    """Return the committed calibrated costs as a dataset, with their validation."""
    return datasets.load(datasets.locate("costs-"))


def load_mthp() -> Dataset | None:
    """Return the dataset measured with huge pages of 64 KiB (mTHP); None where it is missing."""
    try:
        return datasets.load(datasets.locate("mthp"))
    except UffdlabError:
        return None


def load_channel(data: Dataset) -> Dataset:
    """Return the dataset with the covert channel: ``data`` where it was measured there, or else a committed one, of
    the machine of ``data`` if there is one, or of the reference's.

    Raises UffdlabError when there is none.
    """
    if CHANNEL in data.tables:
        return data
    reference = datasets.load(datasets.locate(None))
    for campaign in (data, reference):
        channel = claims.evidence_of(campaign).channel
        if channel is not None:
            return channel
    raise UffdlabError(f"{data.id!r} has no covert channel, and {reference.id!r} has none beside it: measure one")


def load_evidence(data: Dataset) -> claims.Evidence:
    """Return the evidence that the claims of a campaign are decided from."""
    return claims.evidence_of(data)
