# SPDX-License-Identifier: MIT
"""``uffdlab data``: list, check, merge, scrub and seal datasets."""

from __future__ import annotations

import argparse
import json
from typing import Any

from uffdlab.cli.arguments import path
from uffdlab.cli.common import beside_package, command, last_name


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "data", _data_list, "list, check, merge and scrub datasets")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listed = command(actions, "list", _data_list, "list the datasets below a directory (default: data/)")
    listed.add_argument("root", nargs="?", type=path, metavar="DIR")
    listed.add_argument("--json", action="store_true", help="for machines")
    check = command(actions, "check", _data_check, "validate datasets: schema, every row, hashes")
    check.add_argument("paths", nargs="+", metavar="DATASET")
    merge = command(actions, "merge", _data_merge, "join datasets of the same kernel, CPU and THP state")
    merge.add_argument("paths", nargs="+", metavar="DATASET")
    merge.add_argument("--out", type=path, required=True, metavar="DIR", help="new directory")
    merge.add_argument(
        "--allow-mixed", action="store_true", help="join what differs too; the origin of each row is kept"
    )
    scrub = command(actions, "scrub", _data_scrub, "drop whatever is not on the allow-list, and say what it was")
    scrub.add_argument("path", type=path, metavar="DATASET")
    seal = command(actions, "seal", _data_seal, "recompute sizes and hashes after an intended edit")
    seal.add_argument("path", type=path, metavar="DATASET")


def _data_list(asked: argparse.Namespace) -> int:
    from dataclasses import asdict

    from uffdlab import datasets

    found = datasets.listing(asked.root or beside_package("data"))
    if asked.json:
        print(json.dumps([asdict(one) | {"path": str(one.path)} for one in found], indent=1))
        return 0
    for one in found:
        rows = ", ".join(f"{count} {table}" for table, count in one.rows.items())
        print(f"{one.id}  ({one.kind or 'broken'}, {one.size_kib} KiB)\n    {one.problem or rows}")
        if one.kind == "measured" and not one.problem:
            print(f"    Linux {one.kernel}, {one.cpu}, THP {one.thp}")
    return 0


def _data_check(asked: argparse.Namespace) -> int:
    from uffdlab import datasets
    from uffdlab.measure import quality

    for one in asked.paths:
        found = datasets.load(datasets.locate(one))
        print(f"{found.id}: valid; {', '.join(f'{len(frame)} {name}' for name, frame in found.tables.items())}")
        for sentence in quality.sentences(found):
            print(f"    {sentence}")
    return 0


def _data_merge(asked: argparse.Namespace) -> int:
    from uffdlab import datasets

    parts = [datasets.locate(one) for one in asked.paths]
    merged = datasets.merge(parts, asked.out, id=last_name(asked.out), allow_mixed=asked.allow_mixed)
    print(f"{merged.id}: {', '.join(f'{len(frame)} {name}' for name, frame in merged.tables.items())}")
    return 0


def _data_scrub(asked: argparse.Namespace) -> int:
    from uffdlab import datasets

    for sentence in datasets.scrub(asked.path) or ["nothing to remove"]:
        print(sentence)
    return 0


def _data_seal(asked: argparse.Namespace) -> int:
    from uffdlab import datasets

    print(f"{datasets.seal(asked.path).id}: sealed")
    return 0
