# SPDX-License-Identifier: MIT
"""Which datasets there are, and which one a name means."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from uffdlab.errors import UffdlabError

from .cells import show
from .dataset import cpu, kernel, mthp, thp
from .descriptor import FILE_NAME, Descriptor, parse, read_raw
from .files import check_directory, printable, refusal
from .reading import read

REFERENCE = "reference-"
COMPANIONS = ("channel-",)  # measured by suites of their own
_DEPTH = 3  # directories below the root that are looked into


@dataclass(frozen=True)
class Summary:
    """One dataset in a list. What is not known is empty; ``problem`` says why the dataset cannot be used."""

    path: Path
    id: str
    title: str = ""
    kind: str = ""
    kernel: str = ""
    cpu: str = ""
    thp: str = ""
    mthp: str = ""
    rows: dict[str, int] = field(default_factory=dict)
    size_kib: int = 0
    problem: str | None = None


def find(root: Path | str) -> list[Path]:
    """Return the datasets at and up to three directories below ``root``, by path; hidden directories are left
    out.

    A directory of CSV files without a descriptor counts: it is a broken dataset. Raises UffdlabError if
    ``root`` is not a directory.
    """
    root = Path(root)
    check_directory(root, "a directory of datasets")
    return list(_walk(root, _DEPTH))


def listing(root: Path | str) -> list[Summary]:
    """Return a summary of every dataset find() returns; a broken one is listed with its problem."""
    return [summary(path) for path in find(root)]


def summary(path: Path) -> Summary:
    """Return the summary of one dataset, broken or not."""
    try:
        contents = read(path)
    except UffdlabError as error:
        return Summary(path, path.name, size_kib=_size_kib(path), problem=str(error))
    found = contents.descriptor
    machine = _machine(found)
    return Summary(
        path=path,
        id=found.id,
        title=found.title,
        kind=found.kind,
        kernel=machine[0],
        cpu=machine[1],
        thp=machine[2],
        mthp=machine[3],
        rows={name: contents.rows(name) for name in contents.tables},
        size_kib=_size_kib(path),
    )


def locate(wanted: Path | str | None, data: Path | None = None) -> Path:
    """Return the directory of the dataset meant by ``wanted``: a path, an id, the beginning of one id, or
    None.

    None means the committed reference, the newest by name. A path is looked for from the working directory, which
    in a notebook is the notebook's, and then from the checkout this package runs from; ids in ``data``, by default
    the ``data`` directory of that checkout. Raises UffdlabError if nothing, or more than one, is meant, saying where
    it was looked for.
    """
    found = None if wanted is None else _as_path(wanted)
    if found:
        return found
    data = data or _checkout_data()
    if data is None:
        asked = "the reference dataset" if wanted is None else f"dataset {show(str(wanted))}"
        raise UffdlabError(
            f"{asked} is not installed with the package: pass --data DIRECTORY, such as data/{REFERENCE}… of a checkout"
        )
    named = [(_name(path), path) for path in find(data)]
    if wanted is None:
        return _newest_reference(named, data)
    return _by_name(str(wanted), named, data)


def companions(data: Path | None = None) -> list[Path]:
    """Return the committed datasets that decide what the reference did not measure: the newest of each suite."""
    data = data or _checkout_data()
    if data is None:
        return []
    named = sorted(((_name(path), path) for path in find(data)), key=lambda one: _natural(one[0]))
    newest = {suite: path for suite in COMPANIONS for name, path in named if name.startswith(suite)}
    return list(newest.values())


def _as_path(wanted: Path | str) -> Path | None:
    """Return the directory that a path means; None where it is no path, but perhaps an id."""
    text = os.fspath(wanted)
    if not text:
        raise UffdlabError("the name of the dataset is empty: pass a directory or the id of a dataset")
    places = _places(text)
    looks_like_one = isinstance(wanted, Path) or any(s in text for s in (os.sep, os.altsep or os.sep))
    if not looks_like_one:
        return next((one for one in places if os.path.lexists(one / FILE_NAME)), None)
    for place in places:
        try:
            os.lstat(place)
        except FileNotFoundError:
            continue
        except NotADirectoryError as error:
            if place == places[-1]:
                raise refusal(Path(text), error) from None
        except (OSError, ValueError) as error:
            raise refusal(Path(text), error) from None
        else:
            return place
    raise UffdlabError(
        f"{printable(Path(text))} does not exist (looked for {_said(places)}): name the directory of a dataset"
    )


def _places(text: str) -> list[Path]:
    """Return where a path may lead to: as it stands, and from the top of the checkout."""
    top = checkout()
    return [Path(text)] if Path(text).is_absolute() or top is None else [Path(text), top / text]


def _said(places: list[Path]) -> str:
    """Return places in words, in full where the working directory is still there."""
    with suppress(OSError):
        places = [Path(os.path.abspath(place)) for place in places]
    return " and ".join(map(printable, places))


def _newest_reference(named: list[tuple[str, Path]], data: Path) -> Path:
    references = [(name, path) for name, path in named if name.startswith(REFERENCE)]
    if not references:
        raise UffdlabError(f"{printable(data)} holds no dataset {REFERENCE}…: pass --data DIRECTORY")
    return max(references, key=lambda found: _natural(found[0]))[1]


def _by_name(wanted: str, named: list[tuple[str, Path]], data: Path) -> Path:
    meant = [found for found in named if found[0] == wanted]
    meant = meant or [found for found in named if found[0].startswith(wanted)]
    if len(meant) > 1:
        could = " or ".join(f"{name} in {printable(path)}" for name, path in meant)
        raise UffdlabError(f"{show(wanted)} could be {could}: pass the directory")
    if not meant:
        there = ", ".join(name for name, _ in named) or "none"
        raise UffdlabError(
            f"{show(wanted)} is neither a dataset directory (looked for {_said(_places(wanted))}) nor the id of one in "
            f"{printable(data)} ({there})"
        )
    return meant[0][1]


def _name(path: Path) -> str:
    """Return the id of a dataset, or the name of its directory if the descriptor is broken."""
    try:
        return parse(read_raw(path), path).id
    except UffdlabError:
        return path.name


def _natural(name: str) -> list[tuple[int, str]]:
    """Order 10 after 9."""
    return [(int(digits or -1), text) for digits, text in re.findall(r"([0-9]{1,18})|([^0-9]+)", name)]


def checkout() -> Path | None:
    """Return the top of the checkout this package runs from; None if it is installed and has unrelated neighbours."""
    top = Path(__file__).resolve().parents[2]
    return top if (top / "pyproject.toml").is_file() and (top / "data").is_dir() else None


def _checkout_data() -> Path | None:
    top = checkout()
    return top / "data" if top else None


def _walk(directory: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:  # unreadable: named as a broken dataset, since nobody can tell whether it is one
        yield directory
        return
    if any(e.name == FILE_NAME or e.name.endswith(".csv") for e in entries):
        yield directory
    elif depth:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _walk(directory / entry.name, depth - 1)


def _machine(found: Descriptor) -> list[str]:
    if found.kind == "published":
        return [""] * 4
    machines = [origin["provenance"] for origin in found.merged_from] or [found.provenance]
    return [" / ".join(dict.fromkeys(fact(m) for m in machines)) for fact in (kernel, cpu, thp, mthp)]


def _size_kib(path: Path) -> int:
    """Return the size of the files in the directory, rounded up."""
    try:
        sizes = [entry.stat(follow_symlinks=False).st_size for entry in os.scandir(path)]
    except OSError:
        return 0
    return -(-sum(sizes) // 1024)
