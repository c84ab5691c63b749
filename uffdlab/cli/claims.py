# SPDX-License-Identifier: MIT
"""``uffdlab claims``: what a dataset says of the claims."""

from __future__ import annotations

import argparse
import json
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
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for machines")
    form.add_argument("--markdown", action="store_true", help="as the table in README.md")


def _claims(asked: argparse.Namespace) -> int:
    from uffdlab import claims, datasets

    chosen = [claims.find(id_) for id_ in asked.ids] or list(claims.CLAIMS)
    # Whoever names a dataset is told what that one says, and no other.
    beside = [] if asked.data is not None else [datasets.load(path) for path in datasets.companions()]
    data = datasets.load(datasets.locate(asked.data))
    found = [claim.verdict(claims.deciding(claim, data, *beside)) for claim in chosen]
    if asked.json:
        print(json.dumps([one.as_dict() for one in found], indent=1))
        return 0
    if asked.markdown:
        print(claims.markdown_table(found))
        return 0
    print(claims.text_table(found))
    for one in (data, *(one for one in beside if one.id in {verdict.dataset for verdict in found})):
        print(one.origin())
    return 0


def say_what_is_decided(data: Dataset) -> None:
    """Say in one line what a new campaign decides, and whether as the committed datasets do."""
    from uffdlab import datasets
    from uffdlab.claims import standing

    try:
        references = [datasets.load(path) for path in (datasets.locate(None), *datasets.companions())]
    except UffdlabError:  # no checkout, or a damaged one: what is decided here can be said all the same
        references = []
    try:
        say(standing.sentence(data, *references))
    except UffdlabError as error:
        say(f"what this decides cannot be said: {error}")
