# SPDX-License-Identifier: MIT
"""Where threads run."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from uffdlab.host import cpus
from uffdlab.probes.userfault import KernelRefused


def pin(where: Collection[int]) -> None:
    """Keep the calling thread, and threads it starts, on these CPUs. Raises KernelRefused."""
    try:
        os.sched_setaffinity(0, where)
    except OSError as error:
        raise KernelRefused("sched_setaffinity", error.errno or 0) from error


@contextmanager
def on_one_cpu() -> Iterator[None]:
    """Keep the calling thread, and threads it starts meanwhile, on one CPU of those it may use.

    Two threads that wait for each other in turn are cheapest there: no CPU goes idle and must be woken, which costs a
    virtual machine up to twenty times the switch itself.
    """
    allowed = cpus.allowed()
    pin(allowed[-1:])
    try:
        yield
    finally:
        pin(allowed)
