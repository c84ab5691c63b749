# SPDX-License-Identifier: MIT
"""Runs a notebook with other parameters: the cell tagged ``parameters`` is rewritten, the rest runs as it stands."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from uffdlab import starting
from uffdlab.errors import UffdlabError
from uffdlab.widgets.explore import BAKING

TIMEOUT_S = 300
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class _ThisInterpreter(AsyncKernelManager):
    """Starts the kernel with the interpreter that runs now, whatever kernels are registered on the machine."""

    @property
    def kernel_spec(self) -> KernelSpec:
        # IPython adds the notebook's directory behind the standard library: Jupyter's habit, and all there is of it.
        command = starting.python("ipykernel_launcher", "-f", "{connection_file}", "--log-level=40")
        return KernelSpec(argv=command, display_name="Python 3", language="python")


def read(path: Path) -> Any:
    """Return the notebook; UffdlabError when it is none."""
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, nbformat.ValidationError) as error:
        first = str(error).split("\n", 1)[0]
        raise UffdlabError(f"{path} is not a notebook that can be read: {first}") from error
    return notebook


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
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise UffdlabError(f"the cell of {path.name} tagged 'parameters' is not Python: {error}") from error
    assigned = {
        statement.targets[0].id: statement.value
        for statement in body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }
    for name in values:
        if name not in assigned:
            raise UffdlabError(f"{path.name} has no parameter {name!r}; it has {', '.join(assigned) or 'none'}")
    lines = source.encode().split(b"\n")  # ast counts bytes
    # From the last to the first: what is replaced moves what stands behind it.
    for name in sorted(values, key=lambda name: _start(assigned[name]), reverse=True):
        (first, begin), (last, end) = _start(assigned[name]), _end(assigned[name])
        lines[first : last + 1] = [lines[first][:begin] + repr(values[name]).encode() + lines[last][end:]]
    return b"\n".join(lines).decode()


def _start(value: ast.expr) -> tuple[int, int]:
    return value.lineno - 1, value.col_offset


def _end(value: ast.expr) -> tuple[int, int]:
    return (value.end_lineno or value.lineno) - 1, value.end_col_offset or 0


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
    environment = starting.environment(
        PLOTLY_RENDERER="plotly_mimetype", PYDEVD_DISABLE_FILE_VALIDATION="1", **{BAKING: "1"}
    )
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        number = next((i for i, cell in enumerate(notebook.cells) if _failed(cell)), None)
        last = _ANSI.sub("", str(error)).strip().rsplit("\n", 1)[-1]
        raise UffdlabError(f"{path.name}, cell {number}: {last}") from error
    except CellTimeoutError as error:
        raise UffdlabError(f"{path.name}: a cell took more than {TIMEOUT_S} s") from error
    except DeadKernelError as error:
        raise UffdlabError(f"{path.name}: the kernel died while the notebook ran") from error


def _failed(cell: Any) -> bool:
    return any(output.output_type == "error" for output in cell.get("outputs", []))
