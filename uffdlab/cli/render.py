# SPDX-License-Identifier: MIT
"""``uffdlab render``: notebooks into pages, with this machine measured first where that is wished."""

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
    from uffdlab.report.render import At

REPORT = Path("build/report")
_MINUTE = 60.0
_EPILOG = f"""\
Without --data and --this-machine it draws this machine over the reference, as
'make report' does: what stands in {this_machine.PLACE}, while it was measured
within {this_machine.FRESH_H} hours on this kernel, with this version and these settings, or
else the quick suite, measured now. There, and in --out, it replaces only what
it made itself: what you keep in {this_machine.PLACE} stays, and it measures
into {this_machine.PLACE}-2."""


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands,
        "render",
        _render,
        "execute the notebooks and write one self-contained HTML page each, and an index",
        calculates=True,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", metavar="DATASET", help="what to draw (default: the committed reference)")
    parser.add_argument("--costs", metavar="DATASET", help="where costs per entry come from (default: as --data)")
    parser.add_argument("--this-machine", type=path, metavar="DIR", help="a dataset to draw over it, labelled")
    parser.add_argument("--measure", action="store_true", help="measure the quick suite anew and draw it over")
    parser.add_argument("--out", type=path, default=REPORT, metavar="DIR", help=f"where to (default: {REPORT})")
    parser.add_argument("--single", action="store_true", help="all notebooks in one file, for a mail")
    parser.add_argument("--notebooks", type=path, metavar="DIR", help="which notebooks (default: the checkout's)")


def _render(asked: argparse.Namespace) -> int:
    from uffdlab.host.signals import OrderlyExit

    written: list[Path] = []
    try:
        with OrderlyExit():
            _rendered(asked, written)
            return 0
    except (KeyboardInterrupt, SystemExit) as end:  # Ctrl-C; SIGTERM and SIGHUP
        left = f"after the pages were written to {asked.out}" if written else f"and {asked.out} is as it was before"
        with contextlib.suppress(OSError):  # the terminal may be gone
            say(f"interrupted, {left}")
        return int(end.code or 0) if isinstance(end, SystemExit) else INTERRUPTED


def _rendered(asked: argparse.Namespace, written: list[Path]) -> None:
    """Write the pages, note that in ``written``, and print where they are."""
    from uffdlab import datasets
    from uffdlab.report import render

    if asked.measure and asked.this_machine:
        raise UffdlabError("--measure measures what --this-machine names: leave one of them out")
    data = datasets.load(datasets.locate(asked.data))
    costs = datasets.load(datasets.locate(asked.costs)) if asked.costs is not None else data
    overlay = datasets.load(asked.this_machine) if asked.this_machine is not None else None
    notebooks = beside_package("notebooks") if asked.notebooks is None else asked.notebooks
    render.notebooks_in(notebooks)  # both before anything is measured
    render.check_out(asked.out)
    notices: list[str] = []
    # Without any choice of data this is what 'make report' does: this machine beside the reference.
    if asked.measure or (asked.data is None and asked.this_machine is None):
        overlay = this_machine.measured(notices, anew=asked.measure)
    parameters = {
        "data": str(data.path.resolve()),
        "costs": str(costs.path.resolve()),
        "this_machine": str(overlay.path.resolve()) if overlay else None,
    }
    header = render.header(data, overlay, notices)
    # A page names datasets, not places on this machine.
    shown = {"data": data.id, "costs": costs.id, "this_machine": overlay.id if overlay else None}
    with _progress() as tell:
        pages = render.render(
            notebooks,
            asked.out,
            parameters=parameters,
            header=header,
            shown=shown,
            single=asked.single,
            progress=tell,
        )
    written += pages.pages
    for page in pages.pages:
        print(page)
    print(f"open {pages.index}")


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[At], None]]:
    """Yield what tells where a render is: a line when a page is done, and a bar, or in a log a line a minute."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    minutes = 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None)

        def tell(at: At) -> None:
            nonlocal minutes
            cell = f"{at.name}, cell {at.cell} of {at.cells}"
            bar.update(task, description=cell, completed=at.number - 1 + at.done, total=at.of)
            if at.done:
                minutes = 0
                say(f"{at.name}: {at.seconds:.0f} s ({at.number} of {at.of} notebooks)")
            elif bar.disable and at.seconds >= (minutes + 1) * _MINUTE:
                minutes += 1
                say(f"{cell}: running for {minutes} min")

        yield tell
