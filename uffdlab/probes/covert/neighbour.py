# SPDX-License-Identifier: MIT
"""A noisy neighbour of a channel: a third process that works in a loop and knows nothing of slots.

It either stores to memory of its own, more of it than the caches hold, or reads the page that both ends share. It ends
with the sample.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from uffdlab import native
from uffdlab.errors import UffdlabError
from uffdlab.probes.affinity import pin
from uffdlab.probes.covert.endpoints import READY_S
from uffdlab.probes.covert.memory import SETUPS, prepared
from uffdlab.probes.userfault import WRITE, KernelRefused, check, die_with, mapped
from uffdlab.vocabulary.backings import BACKINGS, KIB, MIB
from uffdlab.vocabulary.channel import NEIGHBOURS

_TRAFFIC_BYTES = 64 * MIB  # twice the last level of the cache where the points were chosen
_LINE_BYTES = 64
_LONGEST_NS = 60 * 10**9  # longer than any sample: it is ended before


def elsewhere(neighbour: str) -> bool:
    """Return whether a neighbour runs on another CPU than the receiver."""
    return neighbour.endswith("_other")


def holds_kib(neighbour: str) -> int:
    """Return the memory that a neighbour holds."""
    return _TRAFFIC_BYTES // KIB if neighbour.startswith("traffic") else 0


@contextmanager
def beside(neighbour: str, memory: str, lines: int, receiving: int, others: Sequence[int]) -> Iterator[None]:
    """Run a neighbour meanwhile, on the receiver's CPU or on the first of ``others``.

    Raises UffdlabError if it could not start or ended early: then nothing was measured beside it.
    """
    if neighbour == "none":
        yield
        return
    cpu = others[0] if elsewhere(neighbour) else receiving
    reading, writing = os.pipe()
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError as error:
        os.close(reading)
        os.close(writing)
        raise KernelRefused("start a process", error.errno or 0) from error
    if child == 0:
        os.close(reading)
        _work_and_exit(neighbour, memory, lines, cpu, writing, parent)
    os.close(writing)
    try:
        started = bool(select.select([reading], [], [], READY_S)[0]) and os.read(reading, 1) == b"r"
        if started:
            yield
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if not started or os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        raise UffdlabError(f"the neighbour ({NEIGHBOURS[neighbour]}) ended before the sample: nothing of it is kept")


def _work_and_exit(neighbour: str, memory: str, lines: int, cpu: int, writing: int, parent: int) -> NoReturn:
    try:
        if die_with(parent):
            pin([cpu])
            if neighbour.startswith("traffic"):
                _store(writing)
            else:
                _read(memory, lines, writing)
    finally:
        os._exit(1)


def _store(writing: int) -> None:
    """Report ready, and store to each line of more memory than the caches hold."""
    _, lib = native.probe()
    with mapped(BACKINGS["anon"], _TRAFFIC_BYTES) as own:
        own.touch(WRITE)
        os.write(writing, b"r")
        check("traffic", lib.ul_channel_disturb(own.address, own.length, _LINE_BYTES, 1, _LONGEST_NS))


def _read(memory: str, lines: int, writing: int) -> None:
    """Report ready, and load the lines that the ends use of the page that they share."""
    _, lib = native.probe()
    step = SETUPS[memory].step_bytes
    with prepared(memory, 1) as shared:
        os.write(writing, b"r")
        check("reading", lib.ul_channel_disturb(shared.address, lines * step, step, 0, _LONGEST_NS))
