# SPDX-License-Identifier: MIT
"""Standard input, output and error, in whatever state the caller left them.

Closed: what is opened next would get their number, and ``print`` would be silent, or speak on the wrong one. Each gets
a place of its own instead: output there is refused, complaints are dropped. Full, or broken: said in one sentence,
once. Not UTF-8: what its encoding lacks is written in ASCII, a table with the same width.
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

ERRORS = "uffdlab"  # the name of our handler of characters that an encoding lacks
_PLAIN = str.maketrans("–—−‐‑×·…µμ≥≤→←“”‘’±≈", "-----x..uu><><\"\"''~~")
_OUT, _ERR = 1, 2


class OutputLost(UffdlabError):  # noqa: N818  (as the reader sees it)
    """What a command found could not be written to standard output."""


class ReaderGone(Exception):  # noqa: N818
    """Whoever read standard output has seen enough."""


class _Descriptor(io.RawIOBase):
    """Descriptor 1 or 2. Output that is refused is said once, complaints never; what follows is swallowed."""

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
            except BlockingIOError:  # a pipe that another process made so
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
def sound() -> Iterator[None]:
    """Give the block streams that can be spoken to. A write or flush of output raises OutputLost or ReaderGone."""
    codecs.register_error(ERRORS, _in_ascii)
    before = sys.stdout, sys.stderr
    _take_the_places_of_closed_ones()
    with contextlib.ExitStack() as stack:
        sys.stdout = _spoken_to(sys.stdout, _OUT, stack)
        sys.stderr = _spoken_to(sys.stderr, _ERR, stack)
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError, OutputLost, ReaderGone):
                    stream.flush()
            sys.stdout, sys.stderr = before


def _spoken_to(stream: Any, number: int, stack: contextlib.ExitStack) -> Any:
    """Return what stands for a stream: a sound one on its descriptor, or itself where it is captured."""
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


def _take_the_places_of_closed_ones() -> None:
    """Open something at each of the first three descriptors that is closed; what is written to 1 is refused there."""
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # gets the lowest number that is free


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks: by a look-alike of the same width, or by its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(_PLAIN)
    return "".join(_escaped(character) for character in lacking), error.end


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character if code < 0x80 else character.encode("ascii", "backslashreplace").decode()
