# SPDX-License-Identifier: MIT
"""``uffdlab measure``: a suite into a dataset, or one point."""

from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path
from typing import Any

from uffdlab.cli.common import INTERRUPTED, command, say
from uffdlab.errors import UffdlabError

_MANY_BLOCKS = 50
_MANY_COLUMNS = 30  # beyond, a row a line is easier to read than a column each
_MEASURE_EXAMPLES = """examples:
  uffdlab measure --suite quick --out build/mine
  uffdlab measure --suite quick --only semantics --out build/states
  uffdlab measure protect --design preread --size 4GiB --repeats 9 --json
  uffdlab measure semantics --backing shmem --features none"""

_POINT_OPTIONS = {
    "backing": "kind of memory (default: anon)",
    "design": "protect: how (default: pte_marker)",
    "size": "length of the range (default: 1GiB)",
    "populated": "protect: fraction written before, 0..1 (default: 0)",
    "repeats": "samples, the first one cold (default: 9)",
    "features": "semantics: feature set (default: none)",
    "content": "semantics: empty, read or written (default: empty)",
}


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        "measure",
        _measure,
        "measure a suite into a dataset, or one point",
        epilog=_MEASURE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("probe", nargs="?", metavar="PROBE", help="one point of a probe, such as protect or semantics")
    parser.add_argument("--suite", metavar="NAME", help="quick (under a minute) or full")
    parser.add_argument("--only", metavar="PROBES", help="probes of the suite, comma-separated")
    parser.add_argument("--out", type=Path, metavar="DIR", help="new directory for the dataset")
    for name, help_ in _POINT_OPTIONS.items():
        parser.add_argument(f"--{name}", metavar=name.upper(), help=help_)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any other value of the probe")
    parser.add_argument("--seed", metavar="N", help="order of a suite's blocks (default: drawn, recorded)")
    parser.add_argument("--allow-host-changes", action="store_true", help="may fill hugetlb pools meanwhile")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")


def _measure(asked: argparse.Namespace) -> int:
    from uffdlab import campaign, datasets

    blocks, suite, seed = _blocks(asked)
    if asked.out:
        datasets.check_out(asked.out)
    elif suite:
        raise UffdlabError("a suite is measured into a dataset: pass --out with a new directory")
    measured = run(blocks, suite, seed, asked.allow_host_changes)
    if suite is None:
        _refuse_if_nothing_came(measured)
    if asked.out:
        save(measured, asked.out, suite)
    else:
        _say_reasons(measured)
    if asked.json:
        print(json.dumps(measured.rows.tables | {"provenance": measured.facts}, indent=1))
    elif suite is None:
        _print_point(measured)
    assert isinstance(measured, campaign.Campaign)
    return INTERRUPTED if measured.rows.interrupted else 0


def _blocks(asked: argparse.Namespace) -> tuple[list[Any], str | None, int]:
    """Return the blocks asked for, the suite's name (None for a point), and the seed."""
    from uffdlab.probes import options, suites
    from uffdlab.probes.registry import PROBES
    from uffdlab.probes.runner import Block

    drawn = random.SystemRandom().randrange(1 << 31)
    seed = drawn if asked.seed is None else options.whole_number("--seed", asked.seed)
    if asked.only is not None and not asked.suite:
        raise UffdlabError("--only narrows a suite: pass --suite too, or name the one probe without --only")
    if asked.suite and asked.probe:
        raise UffdlabError(f"--suite and the single probe {asked.probe!r} exclude each other: --only narrows a suite")
    if asked.suite:
        only = asked.only.split(",") if asked.only is not None else list(PROBES)
        return suites.plan(asked.suite, only, seed), asked.suite, seed
    if not asked.probe:
        raise UffdlabError(f"nothing to measure: pass --suite quick, or one of {', '.join(PROBES)}")
    return [Block(0, asked.probe, options.spec_of(asked.probe, _given(asked), seed))], None, seed


def _given(asked: argparse.Namespace) -> dict[str, str]:
    """Return what was said of a single point, by the name of the spec's field."""
    given = {name: getattr(asked, name) for name in _POINT_OPTIONS if getattr(asked, name) is not None}
    for pair in asked.set:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UffdlabError(f"--set {pair!r} is not NAME=VALUE")
        given[name] = value
    return given


def run(blocks: list[Any], suite: str | None, seed: int, allow: bool) -> Any:
    """Measure with a progress line on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from uffdlab import campaign

    console = Console(stderr=True)
    milestones = {len(blocks) * tenth // 10 for tenth in range(1, 10)} if len(blocks) >= _MANY_BLOCKS else set()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=len(blocks))

        def advance(block: Any) -> None:
            bar.update(task, completed=block.number, description=block.title())
            if bar.disable and block.number in milestones:  # a log gets a line now and then instead of a bar
                say(f"{block.number} of {len(blocks)} blocks done")

        return campaign.measure(blocks, suite=suite, seed=seed, allow_host_changes=allow, say=say, progress=advance)


def _refuse_if_nothing_came(measured: Any) -> None:
    outcome = measured.rows.tables["outcomes"][0]
    came = any(rows for table, rows in measured.rows.tables.items() if table != "outcomes")
    if outcome["outcome"] not in ("ok", "interrupted") and not came:
        raise UffdlabError(f"{outcome['probe']} {outcome['outcome']}: {outcome['reason']}")


def save(measured: Any, out: Path, suite: str | None) -> None:
    """Write what was measured, and say so."""
    from uffdlab import campaign

    id_ = re.sub(r"[^a-z0-9.-]+", "-", out.resolve().name.lower()).strip("-.")[:100] or "campaign"
    campaign.save(measured, out, id_=id_, title=f"uffdlab {suite or 'single'} measurement")
    say(f"{measured.summary()}; written to {out}")
    _say_reasons(measured)


def _say_reasons(measured: Any) -> None:
    for reason in measured.reasons():
        say(reason)


def _print_point(measured: Any) -> None:
    for name in ("samples", "states", "occupancy"):
        rows = measured.rows.tables.get(name, [])
        if rows:
            import pandas as pd

            frame = pd.DataFrame(rows).drop(columns="block")
            wide = len(rows) > _MANY_COLUMNS
            print(frame.to_string(index=False) if wide else frame.T.to_string(header=False))
