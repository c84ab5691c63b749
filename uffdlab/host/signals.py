# SPDX-License-Identifier: MIT
"""Leaving in good order when a signal comes: for a block that must put something back."""

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

    ``held`` makes them, and SIGINT, wait meanwhile. Blocking signals in this thread would not do: another
    thread may take one, and Python then runs the handler in the main thread all the same. Only the main
    thread may set handlers; in another one this context does nothing.
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
            # nohup stays nohup; None is a handler set outside Python, which could not be put back.
            if before is not signal.SIG_IGN and before is not None:
                self._before[number] = before
                signal.signal(number, self._arrived)
        return self

    def __exit__(self, *_: object) -> None:
        """Put the handlers back, and pass a signal that came to the one it would have reached."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        # A handler somebody else installed wants to hear of it; the default one would cut short
        # whoever is above us.
        if self._ended_by is not None and callable(self._before[self._ended_by]):
            signal.raise_signal(self._ended_by)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let signals wait until the end of this block, which must be short."""
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
        elif self._ended_by is None:  # a second one would interrupt the way out
            self._ended_by = number
            raise SystemExit(128 + number)
