# SPDX-License-Identifier: MIT
"""``uffdlab measure``: measure a suite into a dataset, or one point."""

from __future__ import annotations

import argparse
import random
import re
from functools import partial
from pathlib import Path
from typing import Any

from uffdlab.cli import point
from uffdlab.cli.arguments import add_whole, assignment, path
from uffdlab.cli.claims import report_decisions
from uffdlab.cli.common import INTERRUPTED, command, last_name, say
from uffdlab.errors import UffdlabError
from uffdlab.units import LARGEST_SEED, shown

_MANY_BLOCKS = 50
_MEASURE_EXAMPLES = """examples:
  uffdlab measure --suite quick --out build/mine
  uffdlab measure --suite quick --only semantics --out build/states
  uffdlab measure --out build/mine --resume     (after Ctrl-C or a crash)
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
    "text": "message: text to send",
}


def add(commands: Any) -> None:
    """Add the command."""
    help_ = "measure a suite into a dataset, or one point"
    parser = command(commands, "measure", _measure, help_, calculates=True, epilog=_MEASURE_EXAMPLES)
    parser.add_argument("probe", nargs="?", metavar="PROBE", help="one point of a probe, such as protect or semantics")
    parser.add_argument("--suite", metavar="NAME", help="quick, full, mthp, channel, sequences or scale")
    parser.add_argument("--only", metavar="PROBES", help="probes of the suite, comma-separated")
    parser.add_argument("--out", type=path, metavar="DIR", help="new directory for the dataset")
    parser.add_argument("--resume", action="store_true", help="continue the interrupted suite in DIR.partial")
    parser.add_argument("--finish", action="store_true", help="make a dataset of the blocks in DIR.partial")
    for name, help_ in _POINT_OPTIONS.items():
        parser.add_argument(f"--{name}", metavar=name.upper(), help=help_)
    values = partial(assignment, form="NAME=VALUE")
    help_ = "any other field of the probe"
    parser.add_argument("--set", action="append", type=values, default=[], metavar="NAME=VALUE", help=help_)
    add_whole(parser, "--seed", 0, LARGEST_SEED, "order of a suite's blocks (default: random, recorded)")
    parser.add_argument("--allow-host-changes", action="store_true", help="may fill hugetlb pools, switch THP and KSM")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")


def _measure(args: argparse.Namespace) -> int:
    from uffdlab import datasets
    from uffdlab.measure import campaign, journal

    if args.resume or args.finish:
        return _continue(args)
    blocks, suite, seed = _blocks(args)
    if args.out:
        datasets.check_out(args.out)
        journal.check_absent(args.out)
    elif suite:
        raise UffdlabError("a suite goes into a dataset: pass --out with a new directory")
    if suite:
        plan = journal.Request(suite, _only(args, suite), seed, args.allow_host_changes)
        return _measure_suite(journal.new(args.out, plan), args.json)
    measured = run(blocks, None, seed, args.allow_host_changes)
    _refuse_without_rows(measured)
    if args.out:
        save(measured, args.out, None)
    else:
        _report_reasons(measured)
    point.show_json(measured) if args.json else point.show(measured)
    assert isinstance(measured, campaign.Campaign)
    return INTERRUPTED if measured.measurements.interrupted else 0


def _continue(args: argparse.Namespace) -> int:
    """Continue an interrupted suite, or make a dataset of its finished blocks."""
    from uffdlab import datasets
    from uffdlab.measure import campaign, journal

    way = "--finish" if args.finish else "--resume"
    if not args.out:
        raise UffdlabError(f"{way} needs --out with the directory the suite was to be written to")
    if args.resume and args.finish:
        raise UffdlabError("--resume and --finish exclude each other")
    if args.probe:
        raise UffdlabError(f"{way} continues a suite, and {args.probe!r} is a single point: omit one of them")
    _refuse_point_options(args)
    datasets.check_out(args.out)
    begun = journal.reopen(args.out)
    _refuse_another(args, begun.request)
    if begun.notice:
        say(begun.notice)
    if args.finish and not begun.results:
        raise UffdlabError(f"no block is finished yet: continue with --resume, or delete {begun.partial}")
    if args.finish or not begun.remaining():
        return _write_dataset(campaign.finish(begun), begun, args.json)
    if begun.request.allow_host_changes != args.allow_host_changes:
        way = "with" if begun.request.allow_host_changes else "without"
        raise UffdlabError(f"the campaign was begun {way} --allow-host-changes: continue it {way} that option")
    say(f"{len(begun.blocks) - len(begun.remaining())} of {len(begun.blocks)} blocks are done: continuing")
    return _measure_suite(begun, args.json)


def _refuse_another(args: argparse.Namespace, request: Any) -> None:
    """Refuse options that differ from the plan that was begun."""
    only = None if args.only is None else _only(args, request.suite)
    for option, value, was in (
        ("--suite", args.suite, request.suite),
        ("--only", only, request.only),
        ("--seed", args.seed, request.seed),
    ):
        if value is not None and value != was:
            words = ",".join(was) if isinstance(was, tuple) else was
            raise UffdlabError(f"the campaign was begun with {option} {words}: omit {option} to continue it")


def _measure_suite(journal: Any, json_wanted: bool) -> int:
    """Measure the remaining blocks of a suite and write the dataset; after Ctrl-C it can be continued."""
    plan = journal.request
    try:
        measured = run(journal.blocks, plan.suite, plan.seed, plan.allow_host_changes, journal)
    except SystemExit:  # SIGTERM, SIGHUP
        _report_interrupted(journal)
        raise
    if not measured.measurements.interrupted:
        return _write_dataset(measured, journal, json_wanted)
    _report_interrupted(journal)
    return INTERRUPTED


def _report_interrupted(journal: Any) -> None:
    """Print how to continue an interrupted suite, or that nothing was kept of it."""
    if journal.results:
        say(f"interrupted: {journal.advice()}")
    else:
        _discard(journal)
        say("interrupted before anything was measured: nothing is kept")


def _discard(journal: Any) -> None:
    notice = journal.discard()
    if notice:
        say(notice)


def _write_dataset(measured: Any, journal: Any, json_wanted: bool) -> int:
    """Write the dataset of a suite; keep the journal until it is complete."""
    from uffdlab.measure import quality

    try:
        written = save(measured, journal.out, journal.request.suite)
    except UffdlabError as error:
        raise UffdlabError(f"{error}; {journal.advice()}") from None
    except KeyboardInterrupt:
        if (journal.out / "datapackage.json").exists():  # the dataset appears whole
            _discard(journal)
        else:
            say(f"interrupted while writing: {journal.advice()}")
        raise
    _discard(journal)
    for sentence in quality.sentences(written):
        say(sentence)
    report_decisions(written)
    if json_wanted:
        point.show_json(measured)
    return 0


def _blocks(args: argparse.Namespace) -> tuple[list[Any], str | None, int]:
    """Return the requested blocks, the suite's name (None for a point), and the seed."""
    from uffdlab.measure import options, suites
    from uffdlab.measure.registry import PROBES
    from uffdlab.measure.runner import Block

    drawn = random.SystemRandom().randrange(1 << 31)
    seed = drawn if args.seed is None else args.seed
    if args.only is not None and not args.suite:
        raise UffdlabError("--only narrows a suite: pass --suite too, or name the one probe without --only")
    if args.suite and args.probe:
        raise UffdlabError(f"--suite and the single probe {args.probe!r} exclude each other: --only narrows a suite")
    if args.suite:
        _refuse_point_options(args)
        return suites.plan(args.suite, _only(args, args.suite), seed), args.suite, seed
    if not args.probe:
        raise UffdlabError(f"nothing to measure: pass --suite quick, or one of {', '.join(PROBES)}")
    options_ = {name: f"--set {name}" for name, _ in args.set}
    return [Block(0, args.probe, options.spec_of(args.probe, _given(args), seed, options_))], None, seed


def _refuse_point_options(args: argparse.Namespace) -> None:
    """Refuse options of a single point: a suite has its own sizes, designs and repeats."""
    for name in _given(args):
        raise UffdlabError(f"{name} is for a single point, and a suite has its own: omit it, or name a probe")


def _only(args: argparse.Namespace, suite: str) -> tuple[str, ...]:
    """Return the probes of a suite that are wanted: all of them unless ``--only`` names some."""
    from uffdlab.measure import suites

    if args.only is None:
        return suites.probes_of(suite)
    names = tuple(name.strip() for name in args.only.split(","))
    if "" in names:
        raise UffdlabError(f"--only {shown(args.only)} has an empty name: separate probes by single commas")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UffdlabError(f"--only {shown(args.only)} names {shown(twice[0])} twice: name each probe once")
    return names


def _given(args: argparse.Namespace) -> dict[str, str]:
    """Return the given options of a single point by field name."""
    given = {name: getattr(args, name) for name in _POINT_OPTIONS if getattr(args, name) is not None}
    return given | dict(args.set)


def run(blocks: list[Any], suite: str | None, seed: int, allow: bool, journal: Any = None) -> Any:
    """Measure with a progress line on standard error; ``journal`` is that of a suite."""
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
            if bar.disable and block.number in milestones:  # a log gets some lines instead of a bar
                say(f"{block.number} of {len(blocks)} blocks done")

        return campaign.measure(
            blocks, suite=suite, seed=seed, allow_host_changes=allow, say=say, progress=advance, journal=journal
        )


def _refuse_without_rows(measured: Any) -> None:
    outcome = measured.measurements.tables["outcomes"][0]
    has_rows = any(rows for table, rows in measured.measurements.tables.items() if table != "outcomes")
    if outcome["outcome"] not in ("ok", "interrupted") and not has_rows:
        raise UffdlabError(f"{outcome['probe']} {outcome['outcome']}: {outcome['reason']}")


def save(measured: Any, out: Path, suite: str | None) -> Any:
    """Write the dataset, report it, and return it."""
    from uffdlab.measure import campaign

    id_ = re.sub(r"[^a-z0-9.-]+", "-", last_name(out).lower()).strip("-.")[:100] or "campaign"
    written = campaign.save(measured, out, id_=id_, title=f"uffdlab {suite or 'single'} measurement")
    report_saved(measured, out)
    return written


def report_saved(measured: Any, out: Path) -> None:
    """Print how much was written where, and why blocks did not end ok."""
    say(f"{measured.summary()}; written to {out}")
    _report_reasons(measured)


def _report_reasons(measured: Any) -> None:
    for reason in measured.reasons():
        say(reason)
