# SPDX-License-Identifier: MIT
"""Make standard input, output and error usable, whatever their state.

Closed: the next file opened would get their descriptor, and ``print`` would be silent or write to the wrong file. Each
is reopened: writing output fails, messages are dropped. Full or broken: reported in one sentence, once. Not UTF-8:
characters the encoding lacks are written in ASCII, in a table with the same width.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from typing import Any

from uffdlab.errors import UffdlabError

ERRORS = "uffdlab"  # name of the handler for characters that an encoding lacks
_PLAIN = str.maketrans("–—−‐‑×·…µμ≥≤→←“”‘’±≈", "-----x..uu><><\"\"''~~")
_OUT, _ERR = 1, 2


class OutputLost(UffdlabError):  # noqa: N818  (as users see it)
    """A command's result could not be written to standard output."""


class ReaderGone(Exception):  # noqa: N818
    """The reader of standard output closed it."""


class _Descriptor(io.RawIOBase):
    """Descriptor 1 or 2. A failing write to output raises once, to error never; later writes are dropped."""

    def __init__(self, number: int) -> None:
        self._number, self._lost = number, False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, data: Any) -> int:
        content = memoryview(data).cast("B")
        while not self._lost:
            try:
                return os.write(self._number, content)
            except BlockingIOError:  # another process made the pipe non-blocking
                select.select([], [self._number], [])
            except OSError as error:
                self._lost = True
                if self._number == _OUT and isinstance(error, BrokenPipeError):
                    raise ReaderGone from None
                if self._number == _OUT:
                    why = "it is closed" if error.errno == errno.EBADF else error.strerror or error
                    raise OutputLost(f"standard output cannot be written: {why}") from error
        return content.nbytes


@contextlib.contextmanager
def repaired() -> Iterator[None]:
    """Replace the standard streams in the block. A failing write or flush of output raises OutputLost or ReaderGone."""
    codecs.register_error(ERRORS, _in_ascii)
    before = sys.stdout, sys.stderr
    _reopen_closed_descriptors()
    with contextlib.ExitStack() as stack:
        sys.stdout = _repaired(sys.stdout, _OUT, stack)
        sys.stderr = _repaired(sys.stderr, _ERR, stack)
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError, OutputLost, ReaderGone):
                    stream.flush()
            sys.stdout, sys.stderr = before


def _repaired(stream: Any, number: int, stack: contextlib.ExitStack) -> Any:
    """Return a usable stream on the descriptor, or the stream itself if it is captured."""
    if stream is None or _is_descriptor(stream, number):
        encoding = "utf-8" if stream is None else stream.encoding
        at_once = number == _ERR or (stream is not None and (stream.line_buffering or stream.write_through))
        return io.TextIOWrapper(io.BufferedWriter(_Descriptor(number)), encoding, ERRORS, line_buffering=at_once)
    if isinstance(stream, io.TextIOWrapper):
        stack.callback(stream.reconfigure, errors=stream.errors)
        stream.reconfigure(errors=ERRORS)
    return stream


def _is_descriptor(stream: Any, number: int) -> bool:
    try:
        return isinstance(stream, io.TextIOWrapper) and stream.fileno() == number
    except (OSError, ValueError):
        return False


def _reopen_closed_descriptors() -> None:
    """Open /dev/null at each closed descriptor of the first three; writes to 1 fail there."""
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # gets the lowest number that is free


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Replace characters an encoding lacks: by a similar one of the same width, or by an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(_PLAIN)
    return "".join(_escaped(character) for character in lacking), error.end


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character if code < 0x80 else character.encode("ascii", "backslashreplace").decode()
