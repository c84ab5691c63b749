# SPDX-License-Identifier: MIT
"""Pin threads to CPUs."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from uffdlab.host import cpus
from uffdlab.probes.userfault import KernelRefused


def pin(where: Collection[int]) -> None:
    """Pin the calling thread, and threads it starts, to these CPUs. Raises KernelRefused."""
    try:
        os.sched_setaffinity(0, where)
    except OSError as error:
        raise KernelRefused("sched_setaffinity", error.errno or 0) from error


@contextmanager
def on_one_cpu() -> Iterator[None]:
    """Pin the calling thread, and threads it starts meanwhile, to one of its CPUs.

    Two threads that alternate are fastest on one CPU: waking an idle CPU costs a virtual machine up to twenty times
    the context switch.
    """
    allowed = cpus.allowed()
    pin(allowed[-1:])
    try:
        yield
    finally:
        pin(allowed)
