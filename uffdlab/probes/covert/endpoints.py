# SPDX-License-Identifier: MIT
"""The two ends of a channel: a sender that is forked for one message and gone after it, and its parent, who receives.

Nobody else is involved: each end holds memory of its own, and they agree on when to begin over a pair of pipes.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from uffdlab.errors import UffdlabError
from uffdlab.host import deaths
from uffdlab.probes.userfault import KernelRefused, die_with

READY_S = 10.0  # for either end to say what the other one waits for
_Found = TypeVar("_Found")


class SenderLostError(UffdlabError):
    """The sender ended before its message was through."""


@dataclass(frozen=True)
class Ends:
    """One end of both pipes: file descriptors to read from and to write to."""

    reading: int
    writing: int

    def tell(self, said: bytes) -> bool:
        """Say something; False where the other end is gone."""
        try:
            os.write(self.writing, said)
        except BrokenPipeError:
            return False
        return True

    def told(self, length: int, timeout_s: float | None = READY_S) -> bytes:
        """Return what the other end says; nothing where it says nothing in time, or is gone."""
        ready, _, _ = select.select([self.reading], [], [], timeout_s)
        return os.read(self.reading, length) if ready else b""

    def close(self) -> None:
        """Close both."""
        os.close(self.reading)
        os.close(self.writing)


def converse(send: Callable[[Ends], bool], receive: Callable[[Ends], _Found | None]) -> _Found:
    """Fork a sender, receive from it, see it end, and return what was received.

    ``send`` returns whether all was sent, ``receive`` None where it was not. Raises SenderLostError when either says so
    or the sender ends in another way.
    """
    to_sender, from_sender = os.pipe(), os.pipe()
    ours, theirs = Ends(from_sender[0], to_sender[1]), Ends(to_sender[0], from_sender[1])
    parent = os.getpid()
    try:
        sender = os.fork()
    except OSError as error:
        ours.close()
        theirs.close()
        raise KernelRefused("start a process", error.errno or 0) from error
    if sender == 0:
        ours.close()
        _send_and_exit(send, theirs, parent)
    theirs.close()
    try:
        found = receive(ours)
    finally:
        ours.close()
        status = _reap(sender)
    if status or found is None:
        code = os.waitstatus_to_exitcode(status)
        how = f"was killed by signal {-code}{deaths.clause(-code)}" if code < 0 else f"ended with status {code}"
        raise SenderLostError(f"the sender {how} before its message was through: nothing of it is kept")
    return found


def _send_and_exit(send: Callable[[Ends], bool], ends: Ends, parent: int) -> None:
    """Be the sender, in a process that never returns and does not outlive its parent."""
    status = 1
    try:
        if die_with(parent) and send(ends):
            status = 0
    finally:
        os._exit(status)


def _reap(pid: int) -> int:
    """Wait for a sender that has nothing left to do, and kill it where it does not end."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.001)
    os.kill(pid, 9)
    return os.waitpid(pid, 0)[1]
