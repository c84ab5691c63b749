# SPDX-License-Identifier: MIT
"""Where threads run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def on_one_cpu() -> Iterator[None]:
    """Keep the calling thread, and threads it starts meanwhile, on one CPU of those it may use.

    Two threads that wait for each other in turn are cheapest there: no CPU goes idle and must be woken, which costs a
    virtual machine up to twenty times the switch itself.
    """
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
