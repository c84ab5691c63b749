# SPDX-License-Identifier: MIT
"""``uffdlab claims``: the verdict of a dataset on each claim."""

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
    help_ = "compute the verdicts of a dataset on the thread's claims"
    parser = command(commands, "claims", _claims, help_, calculates=True)
    parser.add_argument("ids", nargs="*", metavar="CLAIM", help="ids of claims (default: all)")
    parser.add_argument("--data", metavar="DATASET", help="directory or id (default: the committed reference)")
    parser.add_argument("--costs", metavar="DATASET", help="calibrated costs (default: those of the campaign, if any)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print a table as in README.md")


def _claims(args: argparse.Namespace) -> int:
    from uffdlab import claims, datasets, sim

    chosen = [claims.find(id_) for id_ in args.ids] or list(claims.CLAIMS)
    costs = datasets.load(datasets.locate(args.costs)) if args.costs is not None else None
    if costs is not None:
        sim.costs_of(costs)  # raises if it has none
    evidence = claims.evidence_of(datasets.load(datasets.locate(args.data)), costs)
    if args.data is not None:  # judge the named campaign alone
        evidence = replace(evidence, channel=None)
    verdicts = [claim.verdict(evidence) for claim in chosen]
    if args.json:
        print(json.dumps([verdict.as_dict() for verdict in verdicts], indent=1))
        return 0
    if args.markdown:
        print(claims.markdown_table(verdicts))
        return 0
    print(claims.text_table(verdicts))
    print(evidence.campaign.origin())
    for beside in (evidence.channel, evidence.costs):
        if beside is not None and beside.id in {verdict.dataset for verdict in verdicts}:
            print(beside.origin())
    return 0


def report_decisions(data: Dataset) -> None:
    """Print one line: which claims a new campaign decides, and where it differs from the committed datasets."""
    from uffdlab import datasets
    from uffdlab.claims import evidence_of, standing

    try:
        reference = evidence_of(datasets.load(datasets.locate(None)))
    except UffdlabError:  # no checkout, or a damaged one: report without a comparison
        reference = None
    try:
        say(standing.sentence(evidence_of(data), reference))
    except UffdlabError as error:
        say(f"the claims cannot be decided: {error}")
