# SPDX-License-Identifier: MIT
"""Write the rows of a CSV file deterministically; read them line by line within bounds."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from uffdlab.datasets.cells import CellError, Column, FieldDescriptor, Value, column, control_character, show
from uffdlab.datasets.files import MAX_FILE, open_plain, printable
from uffdlab.errors import UffdlabError

MAX_LINE = 1 << 20  # bytes
_MISSING = "is missing, although datapackage.json lists it: restore it"


@dataclass(frozen=True)
class Fingerprint:
    """The length in bytes and the SHA-256 of a file."""

    size: int
    hash: str


class _BrokenError(Exception):
    """A file whose rows break the contract; the text begins with ``line n`` and names the column if any."""


def encode(fields: Sequence[FieldDescriptor], rows: Iterable[Mapping[str, Any]], where: str) -> bytes:
    """Return the CSV file of ``rows``; the same rows always give the same bytes.

    ``where`` names the table in messages. Raises UffdlabError naming row (from 1) and column.
    """
    columns = [column(field) for field in fields]
    names = {c.name for c in columns}
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([c.name for c in columns])
    start = 0
    for number, row in enumerate(rows, 1):
        if not row.keys() <= names:
            stray = ", ".join(sorted(show(key) for key in row.keys() - names))
            raise UffdlabError(f"{where}, row {number}: {stray} is not among the declared fields; declare it")
        writer.writerow([_format(c, row, where, number) for c in columns])
        if 4 * (buffer.tell() - start) > MAX_LINE:  # four bytes per character at most
            raise UffdlabError(f"{where}, row {number} is longer than a line may be; shorten its texts")
        start = buffer.tell()
    content = buffer.getvalue().encode("utf-8")
    if len(content) > MAX_FILE:
        raise UffdlabError(f"{where} needs {len(content) >> 20} MiB, more than {MAX_FILE >> 20}; split the campaign")
    return content


def _format(cell: Column, row: Mapping[str, Any], where: str, number: int) -> str:
    try:
        return cell.format(row.get(cell.name))
    except CellError as error:
        raise UffdlabError(f"{where}, row {number}, column {cell.name!r}: {error}") from None


def fingerprint(content: bytes) -> Fingerprint:
    """Return the fingerprint of a file with this content."""
    return Fingerprint(len(content), "sha256:" + hashlib.sha256(content).hexdigest())


def decode(
    path: Path, fields: Sequence[FieldDescriptor], recorded: Fingerprint | None
) -> tuple[dict[str, list[Value]], Fingerprint]:
    """Return the columns of a CSV file and its fingerprint.

    Raises UffdlabError naming line and column if a row breaks the contract, or if the fingerprint is not the
    ``recorded`` one (None: not checked).
    """
    columns = [column(field) for field in fields]
    with open_plain(path, _MISSING) as file:
        reader = _BoundedReader(file)
        try:
            values = _columns(reader.lines(), columns)
        except _BrokenError as broken:
            differs = recorded is not None and reader.finish() != recorded
            raise UffdlabError(f"{printable(path)}, {broken}; {_remedy(path, differs)}") from None
        actual = reader.finish()
    if recorded is not None and actual != recorded:
        raise UffdlabError(_difference(path, actual, recorded))
    return values, actual


def check(path: Path, fields: Sequence[FieldDescriptor], recorded: Fingerprint | None) -> None:
    """Raise UffdlabError like decode() unless a file has the recorded fingerprint; its rows are left to decode()."""
    with open_plain(path, _MISSING) as file:
        actual = _BoundedReader(file).finish()
    if actual != recorded:
        decode(path, fields, recorded)


class _BoundedReader:
    """The lines of a file, none longer than MAX_LINE, and the fingerprint of all that was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._size = 0

    def lines(self) -> Iterator[str]:
        number = 0
        while line := self._read(self._file.readline(MAX_LINE + 1)):
            number += 1
            yield _text(line, number)
        if number == 0:
            raise _BrokenError("line 1 is missing: the file is empty")

    def finish(self) -> Fingerprint:
        """Read the rest and return the fingerprint of the whole file."""
        while self._size <= MAX_FILE and self._read(self._file.read(MAX_LINE)):
            pass
        return Fingerprint(self._size, "sha256:" + self._digest.hexdigest())

    def _read(self, chunk: bytes) -> bytes:
        self._size += len(chunk)
        self._digest.update(chunk)
        if self._size > MAX_FILE:
            raise UffdlabError(f"{self._file.name} grew beyond {MAX_FILE >> 20} MiB while it was read: stop its writer")
        return chunk


def _text(line: bytes, number: int) -> str:
    if len(line) > MAX_LINE:
        raise _BrokenError(f"line {number} is longer than 1 MiB")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _BrokenError(
            f"line {number} is not UTF-8 (byte 0x{line[error.start]:02x} at {error.start + 1})"
        ) from None
    if not text.endswith("\n"):
        raise _BrokenError(f"line {number} does not end: the file was cut off")
    control = control_character(text[:-1])
    if control == "U+000D" and text.endswith("\r\n"):
        raise _BrokenError(f"line {number} ends in CR LF: something converted line ends, perhaps git's autocrlf")
    if control:
        raise _BrokenError(f"line {number} holds the control character {control}")
    return text[:-1]


def _columns(lines: Iterator[str], columns: Sequence[Column]) -> dict[str, list[Value]]:
    _check_header(_cells(next(lines), 1), [c.name for c in columns])
    values: list[list[Value]] = [[] for _ in columns]
    parsers = [lru_cache(4096)(c.parse) for c in columns]  # most columns repeat a few values
    for number, line in enumerate(lines, 2):
        cells = _cells(line, number)
        if len(cells) != len(columns):
            raise _BrokenError(f"line {number} has {len(cells)} cells where the header has {len(columns)}")
        for cell, parse, text, column_values in zip(columns, parsers, cells, values, strict=True):
            try:
                column_values.append(parse(text))
            except CellError as error:
                raise _BrokenError(f"line {number}, column {cell.name!r}: {error}") from None
    return {c.name: column_values for c, column_values in zip(columns, values, strict=True)}


def _cells(line: str, number: int) -> list[str]:
    # Line by line, so that a quote left open cannot swallow the lines after it and line numbers stay true.
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise _BrokenError(f"line {number} has a quote that is not closed on the same line") from None
        raise _BrokenError(f"line {number} is not CSV ({error})") from None


def _check_header(found: list[str], expected: list[str]) -> None:
    if found == expected:
        return
    twice = sorted({name for name in found if found.count(name) > 1})
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    if twice:
        raise _BrokenError(f"line 1 has the column {show(twice[0])} twice")
    if missing and extra:
        raise _BrokenError(
            f"line 1 lacks the column {show(missing[0])} and has {show(extra[0])}, which is not declared"
        )
    if missing:
        raise _BrokenError(f"line 1 lacks the column {show(missing[0])}")
    if extra:
        raise _BrokenError(f"line 1 has the column {show(extra[0])}, which datapackage.json does not declare")
    place = next(i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
    raise _BrokenError(
        f"line 1 has column {show(found[place])} in the place of {show(expected[place])}: they are reordered"
    )


def _remedy(path: Path, differs: bool) -> str:
    seal = f"run `uffdlab data seal {printable(path.parent)}`"
    if differs:
        return f"the file also differs from its recorded SHA-256: restore it, or correct it and {seal}"
    return f"correct it and {seal}"


def _difference(path: Path, actual: Fingerprint, recorded: Fingerprint) -> str:
    seal = f"restore it, or if the edit was meant run `uffdlab data seal {printable(path.parent)}`"
    if actual.size < recorded.size:
        what = f"has {actual.size} bytes of the {recorded.size} recorded: it was cut off or edited"
    elif actual.size > recorded.size:
        what = f"has {actual.size} bytes where {recorded.size} are recorded: it was edited"
    else:
        what = "differs from its recorded SHA-256"
    return f"{printable(path)} {what}; {seal}"
