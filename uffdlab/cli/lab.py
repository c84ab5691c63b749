# SPDX-License-Identifier: MIT
"""``uffdlab lab``: JupyterLab on the notebooks."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from uffdlab import starting
from uffdlab.cli.arguments import path
from uffdlab.cli.common import beside_package, command
from uffdlab.errors import UffdlabError, printable


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "lab", _lab, "open JupyterLab on the notebooks")
    parser.add_argument("--notebooks", type=path, metavar="DIR", help="notebooks (default: the checkout's)")
    parser.add_argument(
        "jupyter", nargs="*", metavar="-- OPTION", help="options for JupyterLab, such as -- --no-browser"
    )


def _lab(args: argparse.Namespace) -> int:
    notebooks = beside_package("notebooks") if args.notebooks is None else args.notebooks
    if not os.path.isdir(notebooks):  # noqa: PTH112 - is_dir() raises without permission
        raise UffdlabError(
            f"--notebooks {printable(notebooks)} is not a directory: name the one that holds the notebooks"
        )
    options = [f"--notebook-dir={notebooks.resolve()}", *args.jupyter]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")  # probes gain from root; JupyterLab needs this option for it
    command = starting.python("jupyterlab", *options)
    sys.stdout.flush()
    os.execve(command[0], command, starting.environment())
