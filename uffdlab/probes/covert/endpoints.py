# SPDX-License-Identifier: MIT
"""The two ends of a channel: a sender forked for one message, and its parent, which receives.

No other process is involved: each end holds its own memory, and they agree on the start over a pair of pipes.
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

READY_S = 10.0  # for either end to send what the other waits for
_Result = TypeVar("_Result")


class SenderLostError(UffdlabError):
    """The sender ended before its message was through."""


@dataclass(frozen=True)
class Ends:
    """One end of both pipes: file descriptors to read from and to write to."""

    reading: int
    writing: int

    def send(self, message: bytes) -> bool:
        """Send a message; return False if the other end is closed."""
        try:
            os.write(self.writing, message)
        except BrokenPipeError:
            return False
        return True

    def receive(self, length: int, timeout_s: float | None = READY_S) -> bytes:
        """Return the other end's message; empty on a timeout or if that end is closed."""
        ready, _, _ = select.select([self.reading], [], [], timeout_s)
        return os.read(self.reading, length) if ready else b""

    def close(self) -> None:
        """Close both."""
        os.close(self.reading)
        os.close(self.writing)


def converse(send: Callable[[Ends], bool], receive: Callable[[Ends], _Result | None]) -> _Result:
    """Fork a sender, receive from it, wait for its end, and return the result.

    ``send`` returns whether all was sent, ``receive`` returns None if not. Raises SenderLostError in either case and
    if the sender ends otherwise.
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
        result = receive(ours)
    finally:
        ours.close()
        status = _reap(sender)
    if status or result is None:
        code = os.waitstatus_to_exitcode(status)
        how = f"was killed by signal {-code}{deaths.clause(-code)}" if code < 0 else f"ended with status {code}"
        raise SenderLostError(f"the sender {how} before its message was through: nothing of it is kept")
    return result


def _send_and_exit(send: Callable[[Ends], bool], ends: Ends, parent: int) -> None:
    """Run the sender and exit; it does not outlive its parent."""
    status = 1
    try:
        if die_with(parent) and send(ends):
            status = 0
    finally:
        os._exit(status)


def _reap(pid: int) -> int:
    """Wait for the sender, and kill it if it does not end."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.001)
    os.kill(pid, 9)
    return os.waitpid(pid, 0)[1]
