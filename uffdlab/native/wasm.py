# SPDX-License-Identifier: MIT
"""Start the simulator's WebAssembly, after a trial in a child process.

Where memory or system calls are restricted (``ulimit -v``, a seccomp profile, no executable memory), wasmtime may raise
any exception, or end the process that loads it.
"""

from __future__ import annotations

import subprocess
from importlib import import_module
from typing import Any

from uffdlab import native, starting

_MOST_SECONDS = 60  # a slow machine takes one


def started() -> tuple[Any, Any]:
    """Return wasmtime's store and the exports of the module, or raise whatever wasmtime raises."""
    wasmtime = import_module("wasmtime")
    store = wasmtime.Store()
    module = wasmtime.Module(store.engine, native.simulator_wasm())
    return store, wasmtime.Instance(store, module, []).exports(store)


def why_not() -> str | None:
    """Return why it cannot be started in a child process; None when it can."""
    try:
        command = starting.python(__name__)
        child = subprocess.run(
            command,
            env=starting.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_MOST_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if not child.returncode:
        return None
    last = child.stderr.decode(errors="replace").strip().rsplit("\n", 1)[-1] or "nothing on standard error"
    ended = f"signal {-child.returncode}" if child.returncode < 0 else f"status {child.returncode}"
    return f"{last[:200]} ({ended})"


if __name__ == "__main__":
    started()
