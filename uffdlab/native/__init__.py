# SPDX-License-Identifier: MIT
"""All the C: code that touches registered pages, handles events or reads clocks; and the simulator's core.

The extension ``_probe`` is optional: without a compiler, or without Linux, notebooks and data can still be read.
:func:`why_missing` returns the sentence that :func:`probe` raises. So is ``_sim``, whose code is shipped compiled to
WebAssembly as well.
"""

from __future__ import annotations

import importlib
import importlib.resources
import sys
from typing import Any

from uffdlab.errors import UffdlabError


def probe() -> tuple[Any, Any]:
    """Return ``(ffi, lib)`` of the Linux probes.

    Raises UffdlabError when the extension is missing, with the reason and what to install.
    """
    try:
        module = importlib.import_module("uffdlab.native._probe")
    except Exception as error:  # a damaged library, or one of another Python, may raise anything
        raise UffdlabError(_explain(error)) from error
    return module.ffi, module.lib


def simulator() -> tuple[Any, Any]:
    """Return ``(ffi, lib)`` of the simulator's core. Raises UffdlabError when the extension does not load."""
    try:
        module = importlib.import_module("uffdlab.native._sim")
    except Exception as error:
        raise UffdlabError(f"the extension uffdlab.native._sim does not load: {error}") from error
    return module.ffi, module.lib


def simulator_wasm() -> bytes:
    """Return the same core compiled to WebAssembly, as a page carries it."""
    return (importlib.resources.files(__name__) / "sim.wasm").read_bytes()


def why_missing() -> str | None:
    """Return one sentence on why nothing can be measured here, or None when the extension loads."""
    try:
        probe()
    except UffdlabError as error:
        return str(error)
    return None


def _explain(error: Exception) -> str:
    if sys.platform != "linux":
        return f"nothing can be measured on {sys.platform}: the probes need Linux; recorded data can still be read"
    if isinstance(error, ModuleNotFoundError):
        return (
            "the extension uffdlab.native._probe was not built, most likely because there was no C compiler at "
            "install: install gcc (or clang) and the Python headers, then repeat 'pip install -e .'"
        )
    return f"the extension uffdlab.native._probe does not load ({error}): repeat 'pip install -e .'"
