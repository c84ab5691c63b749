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
    listed.add_argument("--json", action="store_true", help="print JSON")
    check = command(actions, "check", _data_check, "validate datasets: schema, every row, hashes")
    check.add_argument("paths", nargs="+", metavar="DATASET")
    merge = command(actions, "merge", _data_merge, "join datasets of the same kernel, CPU and THP state")
    merge.add_argument("paths", nargs="+", metavar="DATASET")
    merge.add_argument("--out", type=path, required=True, metavar="DIR", help="new directory")
    merge.add_argument(
        "--allow-mixed", action="store_true", help="join datasets that differ too; the origin of each row is kept"
    )
    scrub = command(actions, "scrub", _data_scrub, "drop what is not on the allow-list, and list what was dropped")
    scrub.add_argument("path", type=path, metavar="DATASET")
    seal = command(actions, "seal", _data_seal, "recompute sizes and hashes after an intended edit")
    seal.add_argument("path", type=path, metavar="DATASET")


def _data_list(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from uffdlab import datasets

    summaries = datasets.listing(args.root or beside_package("data"))
    if args.json:
        print(json.dumps([asdict(summary) | {"path": str(summary.path)} for summary in summaries], indent=1))
        return 0
    for summary in summaries:
        rows = ", ".join(f"{count} {table}" for table, count in summary.rows.items())
        print(f"{summary.id}  ({summary.kind or 'broken'}, {summary.size_kib} KiB)\n    {summary.problem or rows}")
        if summary.kind == "measured" and not summary.problem:
            print(f"    Linux {summary.kernel}, {summary.cpu}, THP {summary.thp}")
    return 0


def _data_check(args: argparse.Namespace) -> int:
    from uffdlab import datasets
    from uffdlab.measure import quality

    for path_ in args.paths:
        data = datasets.load(datasets.locate(path_))
        print(f"{data.id}: valid; {', '.join(f'{len(frame)} {name}' for name, frame in data.tables.items())}")
        for sentence in quality.sentences(data):
            print(f"    {sentence}")
    return 0


def _data_merge(args: argparse.Namespace) -> int:
    from uffdlab import datasets

    parts = [datasets.locate(path_) for path_ in args.paths]
    merged = datasets.merge(parts, args.out, id=last_name(args.out), allow_mixed=args.allow_mixed)
    print(f"{merged.id}: {', '.join(f'{len(frame)} {name}' for name, frame in merged.tables.items())}")
    return 0


def _data_scrub(args: argparse.Namespace) -> int:
    from uffdlab import datasets

    for sentence in datasets.scrub(args.path) or ["nothing to remove"]:
        print(sentence)
    return 0


def _data_seal(args: argparse.Namespace) -> int:
    from uffdlab import datasets

    print(f"{datasets.seal(args.path).id}: sealed")
    return 0
