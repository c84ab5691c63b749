# SPDX-License-Identifier: MIT
"""``uffdlab render``: render notebooks as pages, of one dataset or of two; measure this machine first if requested."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uffdlab.cli import this_machine
from uffdlab.cli.arguments import path
from uffdlab.cli.common import INTERRUPTED, beside_package, command, say
from uffdlab.errors import UffdlabError

if TYPE_CHECKING:
    from uffdlab.datasets import Dataset
    from uffdlab.report.render import At

REPORT = Path("build/report")
_MINUTE = 60.0
_EPILOG = f"""\
With --beside figures draw two datasets, the second as grey stars, and name
both; tables and verdicts are of the first:
  uffdlab render --beside intel-2026-11-27

Without --data, --beside and --this-machine it draws this machine over the
reference, as 'make report' does: the dataset in {this_machine.PLACE} if it
was measured within {this_machine.FRESH_H} hours on this kernel, with this version and these
settings, or else the quick suite, measured now. There, and in --out, it
replaces only its own files: if you keep data in {this_machine.PLACE}, it
measures into {this_machine.PLACE}-2."""


def add(commands: Any) -> None:
    """Add the command."""
    help_ = "execute the notebooks and write one self-contained HTML page each, and an index"
    parser = command(commands, "render", _render, help_, calculates=True, epilog=_EPILOG)
    parser.add_argument("--data", metavar="DATASET", help="dataset to draw (default: the committed reference)")
    parser.add_argument("--costs", metavar="DATASET", help="dataset of costs per entry (default: as --data)")
    parser.add_argument("--this-machine", type=path, metavar="DIR", help="dataset to draw over it, called so")
    parser.add_argument("--beside", metavar="DATASET", help="dataset to draw over it, called by its id")
    parser.add_argument("--measure", action="store_true", help="measure the quick suite again and draw it over")
    parser.add_argument("--out", type=path, default=REPORT, metavar="DIR", help=f"output directory (default: {REPORT})")
    parser.add_argument("--single", action="store_true", help="write all notebooks into one file")
    parser.add_argument("--notebooks", type=path, metavar="DIR", help="notebooks (default: the checkout's)")


def _render(args: argparse.Namespace) -> int:
    from uffdlab.host.signals import OrderlyExit

    written: list[Path] = []
    try:
        with OrderlyExit():
            _write_pages(args, written)
            return 0
    except (KeyboardInterrupt, SystemExit) as end:  # Ctrl-C; SIGTERM and SIGHUP
        left = f"after the pages were written to {args.out}" if written else f"and {args.out} is as it was before"
        with contextlib.suppress(OSError):  # the terminal may be gone
            say(f"interrupted, {left}")
        return int(end.code or 0) if isinstance(end, SystemExit) else INTERRUPTED


def _write_pages(args: argparse.Namespace, written: list[Path]) -> None:
    """Write the pages, add them to ``written``, and print their paths."""
    from uffdlab import datasets
    from uffdlab.report import render

    second = {"--measure": args.measure, "--this-machine": args.this_machine, "--beside": args.beside}
    given = [option for option, value in second.items() if value not in (False, None)]
    if len(given) > 1:
        raise UffdlabError(f"{' and '.join(given)} exclude each other, since pages draw two datasets: keep one of them")
    data = datasets.load(datasets.locate(args.data))
    costs = datasets.load(datasets.locate(args.costs)) if args.costs is not None else data
    overlay = _second(args, data)
    notebooks = beside_package("notebooks") if args.notebooks is None else args.notebooks
    render.notebooks_in(notebooks)  # both before anything is measured
    render.check_out(args.out)
    notices: list[str] = []
    # Without a choice of data, as 'make report': this machine over the reference.
    if args.measure or (args.data is None and overlay is None):
        overlay = this_machine.measured(notices, anew=args.measure)
    named: dict[str, Dataset | None] = {"data": data, "costs": costs}
    # Notebooks from before there was --beside have no such parameter.
    named |= {"this_machine": None, "beside": overlay} if args.beside is not None else {"this_machine": overlay}
    if args.beside is not None and overlay:
        notices.append(
            f"{overlay.id} is drawn beside {data.id} in the figures that name it. "
            f"What names no other dataset is of {data.id}."
        )
    header = render.header(data, overlay, notices)
    with _progress() as report:
        pages = render.render(
            notebooks,
            args.out,
            parameters={name: str(one.path.resolve()) if one else None for name, one in named.items()},
            header=header,
            shown={name: one.id if one else None for name, one in named.items()},  # no path of this machine
            single=args.single,
            progress=report,
        )
    written += pages.pages
    for page in pages.pages:
        print(page)
    print(f"open {pages.index}")


def _second(args: argparse.Namespace, data: Dataset) -> Dataset | None:
    """Return the dataset that is named to be drawn over ``data``, if one is."""
    from uffdlab import datasets

    if args.beside is not None:
        return datasets.load_beside(args.beside, data)
    return datasets.load(args.this_machine) if args.this_machine is not None else None


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[At], None]]:
    """Yield a progress callback: a line when a page is done, and a bar, or in a log a line a minute."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    minutes = 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None)

        def report(at: At) -> None:
            nonlocal minutes
            cell = f"{at.name}, cell {at.cell} of {at.cells}"
            bar.update(task, description=cell, completed=at.number - 1 + at.done, total=at.of)
            if at.done:
                minutes = 0
                say(f"{at.name}: {at.seconds:.0f} s ({at.number} of {at.of} notebooks)")
            elif bar.disable and at.seconds >= (minutes + 1) * _MINUTE:
                minutes += 1
                say(f"{cell}: running for {minutes} min")

        yield report
