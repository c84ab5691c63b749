# SPDX-License-Identifier: MIT
"""Runs a notebook with other parameters: the cell tagged ``parameters`` is rewritten, the rest runs as it stands."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from uffdlab.errors import UffdlabError

TIMEOUT_S = 300
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class _ThisInterpreter(AsyncKernelManager):
    """Starts the kernel with the interpreter that runs now, whatever kernels are registered on the machine."""

    @property
    def kernel_spec(self) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=40"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")


def read(path: Path) -> Any:
    """Return the notebook; UffdlabError when it is none."""
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, AttributeError, nbformat.ValidationError) as error:
        raise UffdlabError(f"{path} is not a notebook that can be read: {error}") from error


def execute(path: Path, parameters: Mapping[str, Any], shown: Mapping[str, Any] | None = None) -> Any:
    """Run the notebook in its own directory with ``parameters`` and return it with outputs, without timings.

    ``shown`` are the values to leave standing in the parameter cell afterwards (an id instead of a path of this
    machine). Raises UffdlabError naming the cell that failed, or a parameter that the notebook does not have.
    """
    notebook = read(path)
    cell = _parameter_cell(notebook, path)
    original = cell.source
    cell.source = with_parameters(original, parameters, path)
    _run(notebook, path)
    cell.source = with_parameters(original, parameters if shown is None else shown, path)
    for one in notebook.cells:
        one.metadata.pop("execution", None)
    return notebook


def with_parameters(source: str, values: Mapping[str, Any], path: Path) -> str:
    """Return the source of a parameter cell with the values assigned, its comments and order kept."""
    lines = source.split("\n")
    places = {
        target.id: (statement.lineno - 1, statement.end_col_offset or 0)
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    for name, value in values.items():
        if name not in places:
            raise UffdlabError(f"{path.name} has no parameter {name!r}; it has {', '.join(places) or 'none'}")
        line, end = places[name]
        rest = lines[line].encode()[end:].decode()
        lines[line] = f"{name} = {value!r}{rest}"
    return "\n".join(lines)


def _parameter_cell(notebook: Any, path: Path) -> Any:
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise UffdlabError(f"{path.name} has {len(tagged)} cells tagged 'parameters': it needs exactly one")
    return tagged[0]


def _run(notebook: Any, path: Path) -> None:
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        kernel_manager_class=_ThisInterpreter,
        resources={"metadata": {"path": str(path.resolve().parent)}},
    )
    # Only the figure itself, not a copy of plotly.js beside each.
    environment = os.environ | {"PLOTLY_RENDERER": "plotly_mimetype", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        number = next((i for i, cell in enumerate(notebook.cells) if _failed(cell)), None)
        last = _ANSI.sub("", str(error)).strip().rsplit("\n", 1)[-1]
        raise UffdlabError(f"{path.name}, cell {number}: {last}") from error


def _failed(cell: Any) -> bool:
    return any(output.output_type == "error" for output in cell.get("outputs", []))
