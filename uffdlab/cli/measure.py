# SPDX-License-Identifier: MIT
"""``uffdlab measure``: a suite into a dataset, or one point."""

from __future__ import annotations

import argparse
import random
import re
from functools import partial
from pathlib import Path
from typing import Any

from uffdlab.cli import point
from uffdlab.cli.arguments import add_whole, assignment, path
from uffdlab.cli.claims import say_what_is_decided
from uffdlab.cli.common import INTERRUPTED, command, last_name, say
from uffdlab.errors import UffdlabError
from uffdlab.units import LARGEST_SEED, shown

_MANY_BLOCKS = 50
_MEASURE_EXAMPLES = """examples:
  uffdlab measure --suite quick --out build/mine
  uffdlab measure --suite quick --only semantics --out build/states
  uffdlab measure --out build/mine --resume     (after Ctrl-C, or worse)
  uffdlab measure protect --design preread --size 4GiB --repeats 9 --json
  uffdlab measure semantics --backing shmem --features none"""

_POINT_OPTIONS = {
    "backing": "kind of memory (default: anon)",
    "design": "protect, zeropages: how it is prepared",
    "size": "length of the range, such as 1GiB",
    "populated": "protect: fraction written before, 0..1 (default: 0)",
    "repeats": "samples, the first one cold (default: 9)",
    "features": "semantics: feature set (default: none)",
    "content": "semantics: empty, read or written (default: empty)",
    "text": "message: what is sent",
}


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        "measure",
        _measure,
        "measure a suite into a dataset, or one point",
        calculates=True,
        epilog=_MEASURE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("probe", nargs="?", metavar="PROBE", help="one point of a probe, such as protect or semantics")
    parser.add_argument("--suite", metavar="NAME", help="quick (under a minute), full, mthp or channel")
    parser.add_argument("--only", metavar="PROBES", help="probes of the suite, comma-separated")
    parser.add_argument("--out", type=path, metavar="DIR", help="new directory for the dataset")
    parser.add_argument("--resume", action="store_true", help="go on with the interrupted suite in DIR.partial")
    parser.add_argument("--finish", action="store_true", help="make a dataset of what DIR.partial holds")
    for name, help_ in _POINT_OPTIONS.items():
        parser.add_argument(f"--{name}", metavar=name.upper(), help=help_)
    values = partial(assignment, form="NAME=VALUE")
    help_ = "any other value of the probe"
    parser.add_argument("--set", action="append", type=values, default=[], metavar="NAME=VALUE", help=help_)
    add_whole(parser, "--seed", 0, LARGEST_SEED, "order of a suite's blocks (default: drawn, recorded)")
    parser.add_argument("--allow-host-changes", action="store_true", help="may fill hugetlb pools, switch THP and KSM")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")


def _measure(asked: argparse.Namespace) -> int:
    from uffdlab import datasets
    from uffdlab.measure import campaign, journal

    if asked.resume or asked.finish:
        return _go_on(asked)
    blocks, suite, seed = _blocks(asked)
    if asked.out:
        datasets.check_out(asked.out)
        journal.check_absent(asked.out)
    elif suite:
        raise UffdlabError("a suite goes into a dataset: pass --out with a new directory")
    if suite:
        plan = journal.Request(suite, _only(asked, suite), seed, asked.allow_host_changes)
        return _measure_suite(journal.new(asked.out, plan), asked.json)
    measured = run(blocks, None, seed, asked.allow_host_changes)
    _refuse_if_nothing_came(measured)
    if asked.out:
        save(measured, asked.out, None)
    else:
        _say_reasons(measured)
    point.show_json(measured) if asked.json else point.show(measured)
    assert isinstance(measured, campaign.Campaign)
    return INTERRUPTED if measured.measurements.interrupted else 0


def _go_on(asked: argparse.Namespace) -> int:
    """Continue an interrupted suite, or make a dataset of what it has."""
    from uffdlab import datasets
    from uffdlab.measure import campaign, journal

    way = "--finish" if asked.finish else "--resume"
    if not asked.out:
        raise UffdlabError(f"{way} needs --out with the directory the suite was to be written to")
    if asked.resume and asked.finish:
        raise UffdlabError("--resume and --finish exclude each other")
    if asked.probe:
        raise UffdlabError(f"{way} goes on with a suite, and {asked.probe!r} is a single point: leave one out")
    _refuse_point_options(asked)
    datasets.check_out(asked.out)
    kept = journal.reopen(asked.out)
    _refuse_another(asked, kept.request)
    if kept.notice:
        say(kept.notice)
    if asked.finish and not kept.results:
        raise UffdlabError(f"nothing is finished yet: go on with --resume, or delete {kept.partial}")
    if asked.finish or not kept.remaining():
        return _write_dataset(campaign.finish(kept), kept, asked.json)
    if kept.request.allow_host_changes != asked.allow_host_changes:
        way = "with" if kept.request.allow_host_changes else "without"
        raise UffdlabError(f"the campaign was begun {way} --allow-host-changes: continue it {way} that option")
    say(f"{len(kept.blocks) - len(kept.remaining())} of {len(kept.blocks)} blocks are done: going on with the rest")
    return _measure_suite(kept, asked.json)


def _refuse_another(asked: argparse.Namespace, began: Any) -> None:
    """Refuse options that ask for another plan than the one that was begun."""
    only = None if asked.only is None else _only(asked, began.suite)
    for option, value, was in (
        ("--suite", asked.suite, began.suite),
        ("--only", only, began.only),
        ("--seed", asked.seed, began.seed),
    ):
        if value is not None and value != was:
            words = ",".join(was) if isinstance(was, tuple) else was
            raise UffdlabError(f"the campaign was begun with {option} {words}: leave {option} out to go on with it")


def _measure_suite(kept: Any, json_wanted: bool) -> int:
    """Measure what is left of a suite, and write the dataset; Ctrl-C leaves it to be continued."""
    plan = kept.request
    try:
        measured = run(kept.blocks, plan.suite, plan.seed, plan.allow_host_changes, kept)
    except SystemExit:  # SIGTERM, SIGHUP
        _leave(kept)
        raise
    if not measured.measurements.interrupted:
        return _write_dataset(measured, kept, json_wanted)
    _leave(kept)
    return INTERRUPTED


def _leave(kept: Any) -> None:
    """Say how to go on with what was interrupted, if there is anything to go on with."""
    if kept.results:
        say(f"interrupted: {kept.advice()}")
    else:
        _discard(kept)
        say("interrupted before anything was measured: nothing is kept")


def _discard(kept: Any) -> None:
    left = kept.discard()
    if left:
        say(left)


def _write_dataset(measured: Any, kept: Any, json_wanted: bool) -> int:
    """Make the dataset of a suite; until it stands there whole, the journal stays."""
    from uffdlab.measure import quality

    try:
        written = save(measured, kept.out, kept.request.suite)
    except UffdlabError as error:
        raise UffdlabError(f"{error}; {kept.advice()}") from None
    except KeyboardInterrupt:
        if (kept.out / "datapackage.json").exists():  # it appears whole: nothing else was left to do
            _discard(kept)
        else:
            say(f"interrupted while writing: {kept.advice()}")
        raise
    _discard(kept)
    for sentence in quality.sentences(written):
        say(sentence)
    say_what_is_decided(written)
    if json_wanted:
        point.show_json(measured)
    return 0


def _blocks(asked: argparse.Namespace) -> tuple[list[Any], str | None, int]:
    """Return the blocks asked for, the suite's name (None for a point), and the seed."""
    from uffdlab.measure import options, suites
    from uffdlab.measure.registry import PROBES
    from uffdlab.measure.runner import Block

    drawn = random.SystemRandom().randrange(1 << 31)
    seed = drawn if asked.seed is None else asked.seed
    if asked.only is not None and not asked.suite:
        raise UffdlabError("--only narrows a suite: pass --suite too, or name the one probe without --only")
    if asked.suite and asked.probe:
        raise UffdlabError(f"--suite and the single probe {asked.probe!r} exclude each other: --only narrows a suite")
    if asked.suite:
        _refuse_point_options(asked)
        return suites.plan(asked.suite, _only(asked, asked.suite), seed), asked.suite, seed
    if not asked.probe:
        raise UffdlabError(f"nothing to measure: pass --suite quick, or one of {', '.join(PROBES)}")
    called = {name: f"--set {name}" for name, _ in asked.set}
    return [Block(0, asked.probe, options.spec_of(asked.probe, _given(asked), seed, called))], None, seed


def _refuse_point_options(asked: argparse.Namespace) -> None:
    """Refuse what would be left out silently: a suite has its own sizes, designs and repeats."""
    for name in _given(asked):
        raise UffdlabError(f"{name} is for a single point, and a suite has its own: leave it out, or name a probe")


def _only(asked: argparse.Namespace, suite: str) -> tuple[str, ...]:
    """Return the probes of a suite that are wanted: all of them unless ``--only`` names some."""
    from uffdlab.measure import suites

    if asked.only is None:
        return suites.probes_of(suite)
    names = tuple(name.strip() for name in asked.only.split(","))
    if "" in names:
        raise UffdlabError(f"--only {shown(asked.only)} has a place without a name: write probes with commas between")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UffdlabError(f"--only {shown(asked.only)} names {shown(twice[0])} twice: name each probe once")
    return names


def _given(asked: argparse.Namespace) -> dict[str, str]:
    """Return what was said of a single point, by the name of the spec's field."""
    given = {name: getattr(asked, name) for name in _POINT_OPTIONS if getattr(asked, name) is not None}
    return given | dict(asked.set)


def run(blocks: list[Any], suite: str | None, seed: int, allow: bool, kept: Any = None) -> Any:
    """Measure with a progress line on standard error; ``kept`` is the journal of a campaign that can be continued."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from uffdlab.measure import campaign

    console = Console(stderr=True)
    milestones = {len(blocks) * tenth // 10 for tenth in range(1, 10)} if len(blocks) >= _MANY_BLOCKS else set()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=len(blocks))

        def advance(block: Any) -> None:
            bar.update(task, completed=block.number, description=block.title())
            if bar.disable and block.number in milestones:  # a log gets a line now and then instead of a bar
                say(f"{block.number} of {len(blocks)} blocks done")

        return campaign.measure(
            blocks, suite=suite, seed=seed, allow_host_changes=allow, say=say, progress=advance, journal=kept
        )


def _refuse_if_nothing_came(measured: Any) -> None:
    outcome = measured.measurements.tables["outcomes"][0]
    came = any(rows for table, rows in measured.measurements.tables.items() if table != "outcomes")
    if outcome["outcome"] not in ("ok", "interrupted") and not came:
        raise UffdlabError(f"{outcome['probe']} {outcome['outcome']}: {outcome['reason']}")


def save(measured: Any, out: Path, suite: str | None) -> Any:
    """Write what was measured, say so, and return the dataset."""
    from uffdlab.measure import campaign

    id_ = re.sub(r"[^a-z0-9.-]+", "-", last_name(out).lower()).strip("-.")[:100] or "campaign"
    written = campaign.save(measured, out, id_=id_, title=f"uffdlab {suite or 'single'} measurement")
    say_what_came(measured, out)
    return written


def say_what_came(measured: Any, out: Path) -> None:
    """Say how much was written where, and why some of it could not be measured."""
    say(f"{measured.summary()}; written to {out}")
    _say_reasons(measured)


def _say_reasons(measured: Any) -> None:
    for reason in measured.reasons():
        say(reason)
