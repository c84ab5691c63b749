# SPDX-License-Identifier: MIT
"""Tests that need a CPU to themselves, on a machine that others use as well.

Two ends of a channel that share their CPU with strangers come too late for their slots, and nothing passes. That says
nothing of the channel. So such a test runs ahead of others where it may, tries again where nothing came of it, and says
so. When no try succeeds it has failed if the CPU was ours in one of them; if others had it in all, it is skipped, with
how much of it they had.
"""

from __future__ import annotations

import os
import resource
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

TRIES = 5
MOST_OF_OTHERS = 0.3  # of the time of the CPUs a try runs on: with more, it says nothing when it fails
_Found = TypeVar("_Found")


def tried(
    attempt: Callable[[], _Found], holds: Callable[[_Found], bool], cpus: Collection[int], what: str, tries: int = TRIES
) -> _Found:
    """Return what the first attempt that holds has found; fail where none does, skip where it could not be known."""
    shares = []
    for _ in range(tries):
        with ahead_of_others():
            before = _busy_s(cpus), _own_s(), time.monotonic()
            found = attempt()
            after = _busy_s(cpus), _own_s(), time.monotonic()
        if holds(found):
            return found
        busy, own, wall = (then - now for then, now in zip(after, before, strict=True))
        shares.append(max(0.0, busy - own) / (wall * len(cpus)))
        warnings.warn(f"not yet: {what}; others had {shares[-1]:.0%} of CPU {_names(cpus)} meanwhile", stacklevel=2)
    others = f"{what}: not in {tries} tries; others had {min(shares):.0%} to {max(shares):.0%} of CPU {_names(cpus)}"
    if min(shares) > MOST_OF_OTHERS:
        pytest.skip(f"{others}: run it on a machine with less to do, or as root, who comes before others")
    pytest.fail(others)


@contextmanager
def ahead_of_others() -> Iterator[None]:
    """Run this thread, and what it starts, before everybody who is not real-time; as ever where that is not allowed."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def _own_s() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def _busy_s(cpus: Collection[int]) -> float:
    """Return for how long the CPUs were not idle since boot, added up; of the host, where it took them away."""
    lines = [line.split() for line in Path("/proc/stat").read_text(encoding="ascii").splitlines()]
    times = [[int(value) for value in line[1:9]] for line in lines if line[0] in {f"cpu{one}" for one in cpus}]
    return sum(sum(one) - one[3] - one[4] for one in times) / os.sysconf("SC_CLK_TCK")  # but idle and iowait


def _names(cpus: Collection[int]) -> str:
    return " and ".join(map(str, sorted(cpus)))
