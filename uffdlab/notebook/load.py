# SPDX-License-Identifier: MIT
"""Load the datasets that a notebook's parameters name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from uffdlab import claims, datasets
from uffdlab.claims.evidence import CHANNEL, TRACKERS
from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError
from uffdlab.vocabulary.origins import HERE

SEQUENCES, SCALE = "sequences", "scale"  # tables of suites of their own
REFERENCE = "reference"  # the newest of the committed ones


def load(
    data: str = REFERENCE, costs: str = REFERENCE, this_machine: str | None = None, beside: str | None = None
) -> tuple[Dataset, Dataset, Dataset | None]:
    """Return the datasets a notebook's parameters name; ``reference`` is the committed one.

    The third is what figures draw beside the first: ``this_machine``, which they call so, or ``beside``, by its id.
    Raises UffdlabError where both are named, or ``beside`` is not another measured dataset.
    """
    if this_machine and beside is not None:
        raise UffdlabError("this_machine and beside exclude each other, since figures draw two datasets: omit one")
    chosen = [datasets.load(_locate(name)) for name in (data, costs)]
    if beside is not None:
        return chosen[0], chosen[1], datasets.load_beside(_named(beside), chosen[0])
    return chosen[0], chosen[1], replace(datasets.load(_locate(this_machine)), called=HERE) if this_machine else None


def _locate(name: str) -> Path:
    return datasets.locate(_named(name))


def _named(name: str) -> str | None:
    return None if name == REFERENCE else name


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
        held = claims.evidence_of(campaign).holding(CHANNEL)
        if CHANNEL in held.tables:
            return held
    raise UffdlabError(f"{data.id!r} has no covert channel, and {reference.id!r} has none beside it: measure one")


def load_channel_beside(beside: Dataset | None) -> Dataset | None:
    """Return the dataset with the covert channel of the machine of ``beside``; ``beside`` where it has none.

    A channel that belongs to no campaign can be named as ``beside`` itself.
    """
    return claims.evidence_of(beside).holding(CHANNEL) if beside is not None else None


def load_trackers(data: Dataset) -> Dataset:
    """Return the dataset with trackers side by side: ``data`` where they were measured there, or else the committed one
    that belongs to it; ``data`` where there is none, of which tables and figures say so.
    """
    return data if TRACKERS in data.tables else claims.evidence_of(data).holding(TRACKERS)


def load_sequences(data: Dataset) -> Dataset:
    """Return the dataset with recorded sequences: ``data`` where it has them, or else the newest committed one;
    ``data`` where there is none, of which tables and figures say so.
    """
    found = [] if SEQUENCES in data.tables else datasets.with_table(SEQUENCES)
    return datasets.load(found[0]) if found else data


def load_scale(data: Dataset) -> Dataset:
    """Return the dataset with operations of several threads: ``data`` where it has them, or else the newest committed
    one, of whatever machine; ``data`` where there is none, of which tables and figures say so.
    """
    found = [] if SCALE in data.tables else datasets.with_table(SCALE)
    return datasets.load(found[0]) if found else data


def load_evidence(data: Dataset) -> claims.Evidence:
    """Return the evidence that the claims of a campaign are decided from."""
    return claims.evidence_of(data)
