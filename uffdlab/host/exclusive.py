# SPDX-License-Identifier: MIT
"""Lock this host for one run that may change settings, from its start to its end.

The claim is a record lock (fcntl(2)) on ``run.lock`` in the state directory: the kernel releases it when the process
ends, and children do not inherit it.
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
    """Hold the claim for the block. Raises UffdlabError naming the process that has it.

    Without a state directory nothing is claimed: without a journal no setting can be changed either.
    """
    claim = _claim()
    try:
        yield
    finally:
        if claim is not None:
            _release(claim)


def _claim() -> int | None:
    import fcntl  # not at the top: this module is imported on Windows too

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


def _release(claim: int) -> None:
    """Remove the file under the state directory's lock, and release the claim."""
    try:
        with contextlib.suppress(UffdlabError, OSError), state.locked() as (_, directory):
            os.unlink(_LOCK, dir_fd=directory)
    finally:
        os.close(claim)
