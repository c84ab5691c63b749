# SPDX-License-Identifier: MIT
"""``uffdlab render``: notebooks into pages, with this machine measured first where that is wished."""

from __future__ import annotations

import argparse
import random
import shutil
from pathlib import Path
from typing import Any

from uffdlab.cli import measure
from uffdlab.cli.common import beside_package, command, path, say
from uffdlab.errors import UffdlabError

THIS_MACHINE = Path("build/this-machine")
REPORT = Path("build/report")


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(
        commands, "render", _render, "execute the notebooks and write one self-contained HTML page each, and an index"
    )
    parser.add_argument("--data", metavar="DATASET", help="what to draw (default: the committed reference)")
    parser.add_argument("--costs", metavar="DATASET", help="where costs per entry come from (default: as --data)")
    parser.add_argument("--this-machine", type=path, metavar="DIR", help="a dataset to draw over it, labelled")
    parser.add_argument("--measure", action="store_true", help="measure the quick suite here first and draw it over")
    parser.add_argument("--out", type=path, default=REPORT, metavar="DIR", help=f"where to (default: {REPORT})")
    parser.add_argument("--single", action="store_true", help="all notebooks in one file, for a mail")
    parser.add_argument("--notebooks", type=path, metavar="DIR", help="which notebooks (default: the checkout's)")


def _render(asked: argparse.Namespace) -> int:
    from uffdlab import datasets
    from uffdlab.report import render

    data = datasets.load(datasets.locate(asked.data))
    costs = datasets.load(datasets.locate(asked.costs)) if asked.costs is not None else data
    notebooks = beside_package("notebooks") if asked.notebooks is None else asked.notebooks
    render.notebooks_in(notebooks)  # both before anything is measured
    render.check_out(asked.out)
    notices: list[str] = []
    # Without any choice of data this is what 'make report' does: this machine beside the reference.
    alone = asked.data is None and asked.this_machine is None
    own = _measure_here(notices) if asked.measure or alone else asked.this_machine
    overlay = None if own is None else datasets.load(own)
    parameters = {
        "data": str(data.path.resolve()),
        "costs": str(costs.path.resolve()),
        "this_machine": str(overlay.path.resolve()) if overlay else None,
    }
    header = render.header(data, overlay, notices)
    # A page names datasets, not places on this machine.
    shown = {"data": data.id, "costs": costs.id, "this_machine": overlay.id if overlay else None}
    pages = render.render(notebooks, asked.out, parameters=parameters, header=header, shown=shown, single=asked.single)
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
        measured = measure.run(suites.plan("quick", list(PROBES), seed), "quick", seed, allow=False)
    except UffdlabError as error:
        notices.append(f"Nothing was measured on this machine: {error}")
        say(f"nothing was measured on this machine, the pages show recorded data only: {error}")
        return None
    if measured.rows.interrupted:
        raise KeyboardInterrupt
    if not measured.rows.tables.get("samples"):
        why = "; ".join(measured.reasons()[:1])
        notices.append(f"Nothing could be timed on this machine: {why}")
        say(f"nothing could be timed on this machine, the pages show recorded data only: {why}")
        return None
    if (THIS_MACHINE / "datapackage.json").exists():
        shutil.rmtree(THIS_MACHINE)
    measure.save(measured, THIS_MACHINE, "quick")
    return THIS_MACHINE
