# SPDX-License-Identifier: MIT
"""``uffdlab claims``: the verdict of a dataset on each claim."""

from __future__ import annotations

import argparse
import json
import os
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uffdlab.cli.common import command, say
from uffdlab.errors import UffdlabError

if TYPE_CHECKING:
    from uffdlab.claims import Claim, Evidence
    from uffdlab.datasets import Dataset


ALL = "all"  # as a name of datasets
_EPILOG = f"""\
With more than one --data it prints a matrix, claim by dataset: the verdict and
its key number with an interval (95 % unless said), and a line on each claim on
which the datasets differ. '--data {ALL}' stands for every committed campaign of
the full suite, the reference first; './{ALL}' is a directory of that name."""


def add(commands: Any) -> None:
    """Add the command."""
    help_ = "compute the verdicts of one or several datasets on the thread's claims"
    parser = command(commands, "claims", _claims, help_, calculates=True, epilog=_EPILOG)
    parser.add_argument("ids", nargs="*", metavar="CLAIM", help="ids of claims (default: all)")
    parser.add_argument(
        "--data",
        action="append",
        metavar="DATASET",
        help=f"directory, id or {ALL!r} (default: the committed reference); again for a matrix",
    )
    parser.add_argument("--costs", metavar="DATASET", help="calibrated costs (default: those of the campaign, if any)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON; of several datasets, a list for each")
    form.add_argument("--markdown", action="store_true", help="print a table as in README.md")
    form.add_argument("--text", action="store_true", help="print plain text of 72 columns (default for one dataset)")


def _claims(args: argparse.Namespace) -> int:
    from uffdlab import claims

    chosen = [claims.find(id_) for id_ in args.ids] or list(claims.CLAIMS)
    paths = _paths(args.data)
    if len(paths) == 1:
        return _of_one(args, paths[0], chosen)
    if args.costs is not None:
        raise UffdlabError("--costs is calibrated on one campaign: pass it with one --data")
    matrix = claims.matrix([claims.evidence_of(data) for data in _load_each(paths)], chosen)
    if args.json:
        columns = zip(matrix.ids, zip(*(row.of_campaigns for row in matrix.rows), strict=True), strict=True)
        print(json.dumps({id_: [verdict.as_dict() for verdict in column] for id_, column in columns}, indent=1))
        return 0
    print(
        (claims.markdown_matrix if args.markdown else claims.text_matrix if args.text else claims.wide_matrix)(matrix)
    )
    return 0


def _paths(wanted: Sequence[str] | None) -> list[Path]:
    """Return the directories of the datasets that are named, each once. Raises UffdlabError."""
    from uffdlab import datasets

    paths: list[Path] = []
    names: Sequence[str | None] = wanted or [None]
    for name in names:
        committed = datasets.campaigns() if name == ALL else []
        if name == ALL and not committed:
            raise UffdlabError(f"--data {ALL}: no campaigns are installed with the package: name directories")
        paths += committed or [datasets.locate(name)]
    places = [os.path.realpath(path) for path in paths]
    twice = next((path for n, path in enumerate(paths) if places[n] in places[:n]), None)
    if twice is not None:
        raise UffdlabError(f"dataset {twice.name!r} is named twice: leave one out")
    return paths


def _of_one(args: argparse.Namespace, path: Path, chosen: Sequence[Claim]) -> int:
    """Print the verdicts of one dataset."""
    from uffdlab import claims, datasets, sim

    costs = datasets.load(datasets.locate(args.costs)) if args.costs is not None else None
    if costs is not None:
        sim.costs_of(costs)  # raises if it has none
    (campaign,) = _load_each([path])
    evidence = claims.evidence_of(campaign, costs)
    if args.markdown:
        print(_markdown(evidence, chosen))
        return 0
    verdicts = [claim.verdict(evidence) for claim in chosen]
    if args.json:
        print(json.dumps([verdict.as_dict() for verdict in verdicts], indent=1))
        return 0
    print(claims.text_table(verdicts))
    print(textwrap.fill(evidence.campaign.origin(), 72))
    for beside in (*evidence.companions.values(), evidence.costs):
        if beside is not None and beside.id in {verdict.dataset for verdict in verdicts}:
            print(textwrap.fill(beside.origin(), 72))
    return 0


def _load_each(paths: Iterable[Path]) -> list[Dataset]:
    """Return datasets; of the committed campaigns only those tables are decoded that claims use."""
    from uffdlab import datasets

    committed = {os.path.realpath(path) for path in datasets.campaigns()}  # of a loop of links, too
    return [datasets.load(path, on_use=os.path.realpath(path) in committed) for path in paths]


def _markdown(evidence: Evidence, chosen: Sequence[Claim]) -> str:
    """Return the verdicts of a campaign as in README, beside the committed campaigns of its processor."""
    from uffdlab import claims, datasets

    here = evidence.campaign
    cpu = here.provenance.get("cpu_model")
    committed = _load_each(datasets.campaigns())
    others = [data for data in committed if data.id != here.id and data.provenance.get("cpu_model") == cpu]
    matrix = claims.matrix([evidence, *map(claims.evidence_of, others)], chosen)
    return claims.markdown_table([row.verdicts[0] for row in matrix.rows], matrix if others else None)


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
