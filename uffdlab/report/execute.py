# SPDX-License-Identifier: MIT
"""Run a notebook with other parameters: only the cell tagged ``parameters`` is rewritten."""

from __future__ import annotations

import ast
import asyncio
import atexit
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
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
TICK_S = 1.0
GRACE_S = 20.0  # for a notebook to end after its kernel was killed
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class _ThisInterpreter(AsyncKernelManager):
    """Start the kernel with the running interpreter, whatever kernels are registered on the machine."""

    @property
    def kernel_spec(self) -> KernelSpec:
        # As in Jupyter, IPython still appends the notebook's directory to sys.path.
        command = starting.python("ipykernel_launcher", "-f", "{connection_file}", "--log-level=40")
        return KernelSpec(argv=command, display_name="Python 3", language="python")


def read(path: Path) -> Any:
    """Return the notebook; UffdlabError when it cannot be read or is invalid."""
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, nbformat.ValidationError) as error:
        first = str(error).split("\n", 1)[0]
        raise UffdlabError(f"{path} is not a notebook that can be read: {first}") from error
    return notebook


def execute(
    path: Path,
    parameters: Mapping[str, Any],
    shown: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] = lambda cell, cells: None,
) -> Any:
    """Run the notebook in its own directory with ``parameters`` and return it with outputs, without timings.

    ``shown`` are the values left in the parameter cell afterwards (an id instead of a path of this machine).
    ``progress`` is called at once and then every second with the number of the running cell, from 1, and of all cells.
    Raises UffdlabError naming the failed cell, or a parameter that the notebook does not have.
    """
    notebook = read(path)
    cell = _parameter_cell(notebook, path)
    original = cell.source
    cell.source = with_parameters(original, parameters, path)
    _run(notebook, path, progress)
    cell.source = with_parameters(original, parameters if shown is None else shown, path)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
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
    # From the last to the first: a replacement moves what follows.
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


def _run(notebook: Any, path: Path, progress: Callable[[int, int], None]) -> None:
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        kernel_manager_class=_ThisInterpreter,
        resources={"metadata": {"path": str(path.resolve().parent)}},
    )
    # The figure alone, without a copy of plotly.js.
    environment = starting.environment(
        PLOTLY_RENDERER="plotly_mimetype", PYDEVD_DISABLE_FILE_VALIDATION="1", **{BAKING: "1"}
    )
    try:
        _execute(client, environment, progress)
    except CellExecutionError as error:
        number = next((i for i, cell in enumerate(notebook.cells) if _failed(cell)), None)
        last = _ANSI.sub("", str(error)).strip().rsplit("\n", 1)[-1]
        raise UffdlabError(f"{path.name}, cell {number}: {last}") from error
    except CellTimeoutError as error:
        raise UffdlabError(f"{path.name}: a cell took more than {TIMEOUT_S} s") from error
    except DeadKernelError as error:
        raise UffdlabError(f"{path.name}: the kernel died while the notebook ran") from error


def _execute(client: NotebookClient, environment: Mapping[str, str], progress: Callable[[int, int], None]) -> None:
    at = [0]
    client.on_cell_start = lambda cell, cell_index: at.__setitem__(0, cell_index + 1)
    with _Running(client, environment) as running:
        running.start()
        progress(0, len(client.nb.cells))
        while not running.ended(TICK_S):
            progress(at[0], len(client.nb.cells))
    running.raise_error()


class _Running:
    """A notebook that executes in its own thread, while the main thread waits and can take signals.

    Leaving the block early kills the kernel; nbclient then cleans up, which it would not do when cancelled.
    """

    def __init__(self, client: NotebookClient, environment: Mapping[str, str]) -> None:
        self._client, self._environment = client, environment
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[Any] | None = None
        self._killing: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> _Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.ident is None:
            self._loop.close()
            return
        with suppress(RuntimeError):  # the loop is closed: it has ended
            self._loop.call_soon_threadsafe(self._kill)
        self._thread.join(GRACE_S)
        atexit.unregister(self._client._cleanup_kernel)  # done already, or impossible from this thread

    def start(self) -> None:
        self._thread.start()

    def ended(self, within_s: float) -> bool:
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            self._task = self._loop.create_task(self._client.async_execute(env=self._environment))
            self._loop.run_until_complete(self._task)
        except BaseException as error:  # for raise_error()
            self._error = error
        finally:
            if self._killing is not None:
                self._loop.run_until_complete(self._killing)
            self._loop.close()

    def _kill(self) -> None:
        self._loop.set_exception_handler(lambda loop, context: None)  # silences complaints about the killed kernel
        self._killing = self._loop.create_task(self._kill_until_it_ends())

    async def _kill_until_it_ends(self) -> None:
        while self._task is None or not self._task.done():
            kernel = self._client.km
            if kernel is not None and kernel.provisioner is not None:
                await kernel.provisioner.kill()
            await asyncio.sleep(TICK_S / 20)


def _failed(cell: Any) -> bool:
    return any(output.output_type == "error" for output in cell.get("outputs", []))
