# SPDX-License-Identifier: MIT
"""The command line: thin, and quick to answer ``--help`` — what is heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from uffdlab import __version__
from uffdlab.errors import UffdlabError

INTERRUPTED = 130  # what a shell reports for a command ended by Ctrl-C
THIS_MACHINE = Path("build/this-machine")
REPORT = Path("build/report")
_MANY_BLOCKS = 50


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0, 2 for what the caller can mend, 130 after Ctrl-C."""
    try:
        try:
            asked = _parser().parse_args(argv)
            _restore_what_a_killed_run_left()
            status: int = asked.run(asked)
            return status
        finally:
            sys.stdout.flush()  # here, where a closed pipe is caught, and not when Python ends
    except UffdlabError as error:
        print(f"uffdlab: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("uffdlab: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if "expected one argument" in message and "--size" in message:
            message += " (a negative size is no size: write a positive one, such as 1GiB)"
        raise UffdlabError(f"{message}; see '{self.prog} --help'")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="uffdlab", description="The UFFD_FEATURE_WP_ZEROPAGE thread, measured.")
    parser.add_argument("--version", action="version", version=f"uffdlab {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_doctor, _add_measure, _add_data, _add_render, _add_claims, _add_lab):
        add(commands)
    return parser


def _command(commands: Any, name: str, run: Any, help_: str, **more: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help_, description=help_, **more)
    parser.set_defaults(run=run)
    return parser


def _say(text: str) -> None:
    print(f"uffdlab: {text}", file=sys.stderr)


def _restore_what_a_killed_run_left() -> None:
    if sys.platform != "linux":
        return
    from uffdlab.host import settings

    for sentence in settings.restore_leftovers():
        _say(sentence)


# --- doctor ----------------------------------------------------------------------------------------------------------


def _add_doctor(commands: Any) -> None:
    parser = _command(commands, "doctor", _doctor, "say what this host can measure, and what would mend the rest")
    parser.add_argument("--json", action="store_true", help="for machines")


def _doctor(asked: argparse.Namespace) -> int:
    from uffdlab.host import doctor

    report = doctor.examine()
    print(json.dumps(report.as_dict(), indent=1) if asked.json else doctor.text(report))
    return 0


# --- measure ---------------------------------------------------------------------------------------------------------

_MEASURE_EXAMPLES = """examples:
  uffdlab measure --suite quick --out build/mine
  uffdlab measure --suite quick --only semantics --out build/states
  uffdlab measure protect --design preread --size 4GiB --repeats 9 --json
  uffdlab measure semantics --backing shmem --features none"""


def _add_measure(commands: Any) -> None:
    parser = _command(
        commands,
        "measure",
        _measure,
        "measure a suite into a dataset, or one point",
        epilog=_MEASURE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("probe", nargs="?", metavar="PROBE", help="one point of: protect, semantics")
    parser.add_argument("--suite", metavar="NAME", help="quick (under a minute) or full")
    parser.add_argument("--only", metavar="PROBES", help="probes of the suite, comma-separated")
    parser.add_argument("--out", type=Path, metavar="DIR", help="new directory for the dataset")
    parser.add_argument("--backing", default="anon", metavar="NAME", help="kind of memory (default: anon)")
    parser.add_argument("--design", default="pte_marker", metavar="NAME", help="protect: how (default: pte_marker)")
    parser.add_argument("--size", default="1GiB", metavar="SIZE", help="protect: length (default: 1GiB)")
    parser.add_argument("--populated", default="0", metavar="F", help="protect: fraction written before (0..1)")
    parser.add_argument("--repeats", default="9", metavar="N", help="protect: samples, the first one cold (default: 9)")
    parser.add_argument("--features", default="none", metavar="SET", help="semantics: feature set (default: none)")
    parser.add_argument("--content", default="empty", metavar="C", help="semantics: empty, read or written")
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
    measured = _run(blocks, suite, seed, asked.allow_host_changes)
    if suite is None:
        _refuse_if_nothing_came(measured)
    if asked.out:
        _save(measured, asked.out, suite)
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
    from uffdlab.probes import suites
    from uffdlab.probes.registry import PROBES
    from uffdlab.probes.runner import Block

    seed = _integer("--seed", asked.seed) if asked.seed is not None else random.SystemRandom().randrange(1 << 31)
    if asked.only is not None and not asked.suite:
        raise UffdlabError("--only narrows a suite: pass --suite too, or name the one probe without --only")
    if asked.suite and asked.probe:
        raise UffdlabError(f"--suite and the single probe {asked.probe!r} exclude each other: --only narrows a suite")
    if asked.suite:
        only = asked.only.split(",") if asked.only is not None else list(PROBES)
        return suites.plan(asked.suite, only, seed), asked.suite, seed
    if asked.probe not in PROBES:
        wrong = f"unknown probe {asked.probe!r}" if asked.probe else "nothing to measure"
        raise UffdlabError(f"{wrong}: pass --suite quick, or one of {', '.join(PROBES)}")
    return [Block(0, asked.probe, _point(asked, seed))], None, seed


def _point(asked: argparse.Namespace, seed: int) -> dict[str, Any]:
    from dataclasses import asdict

    from uffdlab.probes.protect import ProtectSpec
    from uffdlab.probes.semantics import SemanticsSpec
    from uffdlab.units import parse_size

    if asked.probe == "semantics":
        return asdict(SemanticsSpec(asked.backing, asked.features, asked.content))
    repeats = _integer("--repeats", asked.repeats)
    populated = _number("--populated", asked.populated)
    return asdict(ProtectSpec(asked.backing, asked.design, parse_size(asked.size), populated, repeats, seed))


def _integer(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UffdlabError(f"{option} {text!r} is not a whole number") from None


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UffdlabError(f"{option} {text!r} is not a number") from None


def _run(blocks: list[Any], suite: str | None, seed: int, allow: bool) -> Any:
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
                _say(f"{block.number} of {len(blocks)} blocks done")

        return campaign.measure(blocks, suite=suite, seed=seed, allow_host_changes=allow, say=_say, progress=advance)


def _refuse_if_nothing_came(measured: Any) -> None:
    outcome = measured.rows.tables["outcomes"][0]
    came = any(rows for table, rows in measured.rows.tables.items() if table != "outcomes")
    if outcome["outcome"] not in ("ok", "interrupted") and not came:
        raise UffdlabError(f"{outcome['probe']} {outcome['outcome']}: {outcome['reason']}")


def _save(measured: Any, out: Path, suite: str | None) -> None:
    from uffdlab import campaign

    id_ = re.sub(r"[^a-z0-9.-]+", "-", out.resolve().name.lower()).strip("-.")[:100] or "campaign"
    campaign.save(measured, out, id_=id_, title=f"uffdlab {suite or 'single'} measurement")
    _say(f"{measured.summary()}; written to {out}")
    _say_reasons(measured)


def _say_reasons(measured: Any) -> None:
    for reason in measured.reasons():
        _say(reason)


def _print_point(measured: Any) -> None:
    for name in ("samples", "states"):
        rows = measured.rows.tables.get(name, [])
        if rows:
            import pandas as pd

            print(pd.DataFrame(rows).drop(columns="block").T.to_string(header=False))


# --- data ------------------------------------------------------------------------------------------------------------


def _add_data(commands: Any) -> None:
    parser = _command(commands, "data", _data_list, "list, check, merge and scrub datasets")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listed = _command(actions, "list", _data_list, "list the datasets below a directory (default: data/)")
    listed.add_argument("root", nargs="?", type=Path, metavar="DIR")
    listed.add_argument("--json", action="store_true", help="for machines")
    check = _command(actions, "check", _data_check, "validate datasets: schema, every row, hashes")
    check.add_argument("paths", nargs="+", metavar="DATASET")
    merge = _command(actions, "merge", _data_merge, "join datasets of the same kernel, CPU and THP state")
    merge.add_argument("paths", nargs="+", metavar="DATASET")
    merge.add_argument("--out", type=Path, required=True, metavar="DIR", help="new directory")
    merge.add_argument(
        "--allow-mixed", action="store_true", help="join what differs too; the origin of each row is kept"
    )
    scrub = _command(actions, "scrub", _data_scrub, "drop whatever is not on the allow-list, and say what it was")
    scrub.add_argument("path", type=Path, metavar="DATASET")
    seal = _command(actions, "seal", _data_seal, "recompute sizes and hashes after an intended edit")
    seal.add_argument("path", type=Path, metavar="DATASET")


def _data_list(asked: argparse.Namespace) -> int:
    from dataclasses import asdict

    from uffdlab import datasets

    found = datasets.listing(asked.root or _beside_package("data"))
    if asked.json:
        print(json.dumps([asdict(one) | {"path": str(one.path)} for one in found], indent=1))
        return 0
    for one in found:
        rows = ", ".join(f"{count} {table}" for table, count in one.rows.items())
        print(f"{one.id}  ({one.kind}, {one.size_kib} KiB)\n    {one.problem or rows}")
        if one.kind == "measured" and not one.problem:
            print(f"    Linux {one.kernel}, {one.cpu}, THP {one.thp}")
    return 0


def _data_check(asked: argparse.Namespace) -> int:
    from uffdlab import datasets

    for path in asked.paths:
        found = datasets.load(datasets.locate(path))
        print(f"{found.id}: valid; {', '.join(f'{len(frame)} {name}' for name, frame in found.tables.items())}")
    return 0


def _data_merge(asked: argparse.Namespace) -> int:
    from uffdlab import datasets

    parts = [datasets.locate(path) for path in asked.paths]
    merged = datasets.merge(parts, asked.out, id=asked.out.resolve().name, allow_mixed=asked.allow_mixed)
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


def _beside_package(name: str) -> Path:
    """Return a directory of the checkout this package runs from."""
    found = Path(__file__).resolve().parent.parent / name
    if not found.is_dir():
        raise UffdlabError(f"{name}/ is not installed with the package: run from a checkout, or name a directory")
    return found


# --- render ----------------------------------------------------------------------------------------------------------


def _add_render(commands: Any) -> None:
    parser = _command(
        commands, "render", _render, "execute the notebooks and write one self-contained HTML page each, and an index"
    )
    parser.add_argument("--data", metavar="DATASET", help="what to draw (default: the committed reference)")
    parser.add_argument("--costs", metavar="DATASET", help="where costs per entry come from (default: as --data)")
    parser.add_argument("--this-machine", type=Path, metavar="DIR", help="a dataset to draw over it, labelled")
    parser.add_argument("--measure", action="store_true", help="measure the quick suite here first and draw it over")
    parser.add_argument("--out", type=Path, default=REPORT, metavar="DIR", help=f"where to (default: {REPORT})")
    parser.add_argument("--notebooks", type=Path, metavar="DIR", help="which notebooks (default: the checkout's)")


def _render(asked: argparse.Namespace) -> int:
    from uffdlab import datasets
    from uffdlab.report import render

    data = datasets.load(datasets.locate(asked.data))
    costs = datasets.load(datasets.locate(asked.costs)) if asked.costs else data
    notices: list[str] = []
    # Without any choice of data this is what 'make report' does: this machine beside the reference.
    alone = asked.data is None and asked.this_machine is None
    own = _measure_here(notices) if asked.measure or alone else asked.this_machine
    overlay = datasets.load(own) if own else None
    parameters = {
        "data": str(data.path.resolve()),
        "costs": str(costs.path.resolve()),
        "this_machine": str(overlay.path.resolve()) if overlay else None,
    }
    notebooks = asked.notebooks or _beside_package("notebooks")
    header = render.header(data, overlay, notices)
    # A page names datasets, not places on this machine.
    shown = {"data": data.id, "costs": costs.id, "this_machine": overlay.id if overlay else None}
    pages = render.render(notebooks, asked.out, parameters=parameters, header=header, shown=shown)
    for page in pages.pages:
        print(page)
    print(f"open {pages.index}")
    return 0


def _measure_here(notices: list[str]) -> Path | None:
    """Measure the quick suite into build/this-machine; None, with one line saying why, where that cannot be done."""
    from uffdlab.probes import suites
    from uffdlab.probes.registry import PROBES

    seed = random.SystemRandom().randrange(1 << 31)
    try:
        measured = _run(suites.plan("quick", list(PROBES), seed), "quick", seed, allow=False)
    except UffdlabError as error:
        notices.append(f"Nothing was measured on this machine: {error}")
        _say(f"nothing was measured on this machine, the pages show recorded data only: {error}")
        return None
    if measured.rows.interrupted:
        raise KeyboardInterrupt
    if not measured.rows.tables.get("samples"):
        why = "; ".join(measured.reasons()[:1])
        notices.append(f"Nothing could be timed on this machine: {why}")
        _say(f"nothing could be timed on this machine, the pages show recorded data only: {why}")
        return None
    if (THIS_MACHINE / "datapackage.json").exists():
        shutil.rmtree(THIS_MACHINE)
    _save(measured, THIS_MACHINE, "quick")
    return THIS_MACHINE


# --- claims ----------------------------------------------------------------------------------------------------------


def _add_claims(commands: Any) -> None:
    parser = _command(commands, "claims", _claims, "compute what a dataset says of the thread's claims")
    parser.add_argument("ids", nargs="*", metavar="CLAIM", help="which (default: all)")
    parser.add_argument("--data", metavar="DATASET", help="directory or id (default: the committed reference)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for machines")
    form.add_argument("--markdown", action="store_true", help="as the table in README.md")


def _claims(asked: argparse.Namespace) -> int:
    from uffdlab import claims, datasets

    chosen = [claims.find(id_) for id_ in asked.ids] or list(claims.CLAIMS)
    data = datasets.load(datasets.locate(asked.data))
    found = [claim.verdict(data) for claim in chosen]
    if asked.json:
        print(json.dumps([one.as_dict() for one in found], indent=1, ensure_ascii=False))
        return 0
    if asked.markdown:
        print(claims.markdown_table(found))
        return 0
    print(claims.text_table(found))
    print(data.origin())
    return 0


# --- lab -------------------------------------------------------------------------------------------------------------


def _add_lab(commands: Any) -> None:
    parser = _command(commands, "lab", _lab, "open JupyterLab on the notebooks")
    parser.add_argument("--notebooks", type=Path, metavar="DIR", help="which notebooks (default: the checkout's)")
    parser.add_argument(
        "jupyter", nargs="*", metavar="-- OPTION", help="options for JupyterLab, such as -- --no-browser"
    )


def _lab(asked: argparse.Namespace) -> int:
    notebooks = asked.notebooks or _beside_package("notebooks")
    if not notebooks.is_dir():
        raise UffdlabError(f"--notebooks {notebooks} is not a directory: name the one that holds the notebooks")
    options = [f"--notebook-dir={notebooks.resolve()}", *asked.jupyter]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")  # probes gain from root; JupyterLab refuses it unless told
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *options])


if __name__ == "__main__":
    sys.exit(main())
