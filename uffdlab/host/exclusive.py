# SPDX-License-Identifier: MIT
"""One run at a time may change this host, for as long as it runs: between two of its changes it is not to be disturbed.

The claim is a lock on ``run.lock`` in the state directory. The kernel lets go of it when the process ends, however
that happens, and passes it to no child (fcntl(2), record locks).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from uffdlab.errors import UffdlabError
from uffdlab.host import state

_LOCK = "run.lock"


@contextlib.contextmanager
def claimed() -> Iterator[None]:
    """Keep others from changing this host meanwhile. Raises UffdlabError, naming who it is, while another process does.

    Without a state directory nothing is claimed: nothing can be changed then, either, for the journal has no place.
    """
    claim = _claim()
    try:
        yield
    finally:
        if claim is not None:
            _let_go(claim)


def _claim() -> int | None:
    import fcntl  # only where there is something to lock: this module is imported on Windows too

    with contextlib.ExitStack() as stack:
        try:
            _, directory = stack.enter_context(state.locked())
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            file = os.open(_LOCK, flags, 0o600, dir_fd=directory)
        except (UffdlabError, OSError):
            return None
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(file, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise UffdlabError(
                f"process {owner} measures with --allow-host-changes here, and two would change the same settings: "
                "wait until it ends, then try again"
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode("ascii"), 0)
        return file


def _let_go(claim: int) -> None:
    """Remove the file, which nobody can open meanwhile, and with it the lock."""
    try:
        with contextlib.suppress(UffdlabError, OSError), state.locked() as (_, directory):
            os.unlink(_LOCK, dir_fd=directory)
    finally:
        os.close(claim)
