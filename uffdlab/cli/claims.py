# SPDX-License-Identifier: MIT
"""``uffdlab claims``: what a dataset says of the claims."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from uffdlab.cli.common import command, say
from uffdlab.errors import UffdlabError

if TYPE_CHECKING:
    from uffdlab.datasets import Dataset


def add(commands: Any) -> None:
    """Add the command."""
    help_ = "compute what a dataset says of the thread's claims"
    parser = command(commands, "claims", _claims, help_, calculates=True)
    parser.add_argument("ids", nargs="*", metavar="CLAIM", help="which (default: all)")
    parser.add_argument("--data", metavar="DATASET", help="directory or id (default: the committed reference)")
    parser.add_argument("--costs", metavar="DATASET", help="calibrated costs (default: those of the campaign, if any)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for machines")
    form.add_argument("--markdown", action="store_true", help="as the table in README.md")


def _claims(asked: argparse.Namespace) -> int:
    from uffdlab import claims, datasets, sim

    chosen = [claims.find(id_) for id_ in asked.ids] or list(claims.CLAIMS)
    costs = datasets.load(datasets.locate(asked.costs)) if asked.costs is not None else None
    if costs is not None:
        sim.costs_of(costs)  # refused here where it holds none
    evidence = claims.evidence_of(datasets.load(datasets.locate(asked.data)), costs)
    if asked.data is not None:  # whoever names a campaign wants what that one measured
        evidence = replace(evidence, channel=None)
    found = [claim.verdict(evidence) for claim in chosen]
    if asked.json:
        print(json.dumps([one.as_dict() for one in found], indent=1))
        return 0
    if asked.markdown:
        print(claims.markdown_table(found))
        return 0
    print(claims.text_table(found))
    print(evidence.campaign.origin())
    if evidence.channel is not None and evidence.channel.id in {verdict.dataset for verdict in found}:
        print(evidence.channel.origin())
    return 0


def say_what_is_decided(data: Dataset) -> None:
    """Say in one line what a new campaign decides, and whether as the committed datasets do."""
    from uffdlab import datasets
    from uffdlab.claims import evidence_of, standing

    try:
        reference = evidence_of(datasets.load(datasets.locate(None)))
    except UffdlabError:  # no checkout, or a damaged one: what is decided here can be said all the same
        reference = None
    try:
        say(standing.sentence(evidence_of(data), reference))
    except UffdlabError as error:
        say(f"what this decides cannot be said: {error}")
