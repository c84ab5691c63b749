# SPDX-License-Identifier: MIT
"""Unwind a block on a signal, for a block that must restore something."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name)]


class OrderlyExit:
    """A context in which SIGTERM and SIGHUP raise SystemExit, so that every ``finally`` in it runs.

    ``held`` defers them, and SIGINT. Blocking signals in this thread would not do: another thread may take one,
    and Python then runs the handler in the main thread. Only the main thread may set handlers; in another
    one this context does nothing.
    """

    def __init__(self) -> None:
        """Prepare; the handlers are set on entry."""
        self._before: dict[int, Callable[[int, FrameType | None], Any] | int] = {}
        self._holding = False
        self._waiting: list[int] = []
        self._ended_by: int | None = None

    def __enter__(self) -> OrderlyExit:
        """Set the handlers."""
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in _ENDING:
            before = signal.getsignal(number)
            # SIG_IGN stays (nohup); None is a handler set outside Python, which could not be restored.
            if before is not signal.SIG_IGN and before is not None:
                self._before[number] = before
                signal.signal(number, self._arrived)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the handlers, and raise a signal that came again for the previous one."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        # The default handler would kill the process before the callers unwind.
        if self._ended_by is not None and callable(self._before[self._ended_by]):
            signal.raise_signal(self._ended_by)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Defer signals until the end of this block, which must be short."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            waiting, self._waiting = self._waiting, []
            for number in waiting:
                self._act(number)

    def _arrived(self, number: int, _: FrameType | None) -> None:
        if self._holding:
            self._waiting.append(number)
        else:
            self._act(number)

    def _act(self, number: int) -> None:
        if number == signal.SIGINT:
            before = self._before[number]
            if callable(before):
                before(number, None)
            else:
                raise KeyboardInterrupt
        elif self._ended_by is None:  # a second one would interrupt the unwinding
            self._ended_by = number
            raise SystemExit(128 + number)
