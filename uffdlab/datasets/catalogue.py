# SPDX-License-Identifier: MIT
"""List datasets, and find the one that a name or path refers to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from uffdlab.errors import UffdlabError

from .cells import show
from .dataset import Dataset, alike, cpu, kernel, mthp, thp
from .descriptor import FILE_NAME, Descriptor, parse, read_raw
from .files import check_directory, printable, refusal
from .reading import count, load

REFERENCE = "reference-"
COMPANIONS = ("channel", "trackers")  # suites that measure what a campaign does not
CAMPAIGN = "full"  # the suite that measures what a reference does
CALIBRATED = "calibrated"  # the kind of a dataset that is computed from a campaign
_DEPTH = 3  # levels of directories below the root that are searched


@dataclass(frozen=True)
class Summary:
    """One dataset in a list. Unknown fields are empty; ``problem`` is why the dataset cannot be used."""

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
        descriptor, rows = count(path)
    except UffdlabError as error:
        return Summary(path, path.name, size_kib=_size_kib(path), problem=str(error))
    return Summary(
        path=path,
        id=descriptor.id,
        title=descriptor.title,
        kind=descriptor.kind,
        **_machine(descriptor),
        rows=rows,
        size_kib=_size_kib(path),
    )


def locate(wanted: Path | str | None, data: Path | None = None) -> Path:
    """Return the directory of a dataset given by path, id or unique prefix of an id; None is the reference.

    The reference is the newest by name. A path is relative to the working directory, which in a notebook is the
    notebook's, or else to the checkout this package runs from. Ids are searched in ``data``, by default the ``data``
    directory of that checkout. Raises UffdlabError, naming the places searched, if no or several datasets match.
    """
    path = None if wanted is None else _as_path(wanted)
    if path:
        return path
    data = data or _checkout_data()
    if data is None:
        what = "the reference dataset" if wanted is None else f"dataset {show(str(wanted))}"
        raise UffdlabError(
            f"{what} is not installed with the package: pass --data DIRECTORY, such as data/{REFERENCE}… of a checkout"
        )
    named = [(_name(path), path) for path in find(data)]
    if wanted is None:
        return _newest_reference(named, data)
    return _by_name(str(wanted), named, data)


def load_beside(wanted: Path | str | None, data: Dataset) -> Dataset:
    """Return the dataset that is drawn beside ``data``, named as for :func:`locate`.

    Raises UffdlabError unless it was measured and is another one.
    """
    beside = load(locate(wanted))
    if beside.kind != "measured":
        raise UffdlabError(
            f"dataset {beside.id!r} is {beside.kind}, not measured, and cannot be drawn beside another: "
            "name a measured one"
        )
    if beside.id == data.id:
        raise UffdlabError(f"{data.id!r} cannot be drawn beside a dataset of the same name: name two different ones")
    return beside


def campaigns(data: Path | None = None) -> list[Path]:
    """Return the committed campaigns of the full suite: the reference, then those of its processor, then the others.

    ``data`` is by default the ``data`` directory of the checkout; empty where there is none.
    """
    found = {path: known for path, known in _described(data) if _is_campaign(known)}
    references = [(known.id, path) for path, known in found.items() if known.id.startswith(REFERENCE)]
    first = max(references, key=lambda pair: _natural(pair[0]))[1] if references else None
    there = found[first].provenance if first else {}

    def place(path: Path) -> tuple[bool, bool, list[tuple[int, str]]]:
        here = found[path]
        return path != first, here.provenance.get("cpu_model") != there.get("cpu_model"), _natural(here.id)

    return sorted(found, key=place)


def _tables(known: Descriptor) -> set[str]:
    return {resource.name for resource in known.resources}


def with_table(table: str, data: Path | None = None) -> list[Path]:
    """Return the committed measured datasets that hold a table, by id, the newest first."""
    found = {path: known.id for path, known in _described(data) if known.kind == "measured" and table in _tables(known)}
    return sorted(found, key=lambda path: _natural(found[path]), reverse=True)


def calibrations(data: Path | None = None) -> list[Path]:
    """Return the committed datasets that were calibrated on campaigns, by id, the newest first."""
    found = {path: known.id for path, known in _described(data) if known.kind == CALIBRATED}
    return sorted(found, key=lambda path: _natural(found[path]), reverse=True)


def companions(campaign: Dataset, data: Path | None = None) -> dict[str, Path]:
    """Return, by suite that measures what a campaign does not, the newest committed dataset of its machine.

    They belong to committed datasets alone: there are none for a dataset elsewhere, whatever its id.
    """
    described = _described(data)
    if not any(path.resolve() == campaign.path.resolve() and known.id == campaign.id for path, known in described):
        return {}
    named = sorted(
        ((known.id, path) for path, known in described if alike(known.provenance, campaign.provenance)),
        key=lambda pair: _natural(pair[0]),
    )
    newest = {suite: path for suite in COMPANIONS for name, path in named if name.startswith(f"{suite}-")}
    return {suite: path for suite, path in newest.items() if path.resolve() != campaign.path.resolve()}


def _described(data: Path | None) -> list[tuple[Path, Descriptor]]:
    """Return the datasets of a directory, by default the checkout's, with their descriptors; leave out broken ones."""
    data = data or _checkout_data()
    described = []
    for path in find(data) if data else []:
        with suppress(UffdlabError):
            described.append((path, parse(read_raw(path), path)))
    return described


def _is_campaign(known: Descriptor) -> bool:
    return known.kind == "measured" and known.provenance.get("suite") == CAMPAIGN


def _as_path(wanted: Path | str) -> Path | None:
    """Return the directory at a path; None if the text may be an id instead."""
    text = os.fspath(wanted)
    if not text:
        raise UffdlabError("the name of the dataset is empty: pass a directory or the id of a dataset")
    places = _places(text)
    looks_like_path = isinstance(wanted, Path) or any(s in text for s in (os.sep, os.altsep or os.sep))
    if not looks_like_path:
        return next((place for place in places if os.path.lexists(place / FILE_NAME)), None)
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
        f"{printable(Path(text))} does not exist (looked for {_format_places(places)}): name the directory of a dataset"
    )


def _places(text: str) -> list[Path]:
    """Return the candidates for a path: relative to the working directory, and to the checkout."""
    top = checkout()
    return [Path(text)] if Path(text).is_absolute() or top is None else [Path(text), top / text]


def _format_places(places: list[Path]) -> str:
    """Return places as text, absolute if the working directory exists."""
    with suppress(OSError):
        places = [Path(os.path.abspath(place)) for place in places]
    return " and ".join(map(printable, places))


def _newest_reference(named: list[tuple[str, Path]], data: Path) -> Path:
    references = [(name, path) for name, path in named if name.startswith(REFERENCE)]
    if not references:
        raise UffdlabError(f"{printable(data)} holds no dataset {REFERENCE}…: pass --data DIRECTORY")
    return max(references, key=lambda pair: _natural(pair[0]))[1]


def _by_name(wanted: str, named: list[tuple[str, Path]], data: Path) -> Path:
    matches = [pair for pair in named if pair[0] == wanted]
    matches = matches or [pair for pair in named if pair[0].startswith(wanted)]
    if len(matches) > 1:
        candidates = " or ".join(f"{name} in {printable(path)}" for name, path in matches)
        raise UffdlabError(f"{show(wanted)} could be {candidates}: pass the directory")
    if not matches:
        ids = ", ".join(name for name, _ in named) or "none"
        raise UffdlabError(
            f"{show(wanted)} is neither a dataset directory (looked for {_format_places(_places(wanted))}) nor the id "
            f"of one in {printable(data)} ({ids})"
        )
    return matches[0][1]


def _name(path: Path) -> str:
    """Return the id of a dataset, or the name of its directory if the descriptor is broken."""
    try:
        return parse(read_raw(path), path).id
    except UffdlabError:
        return path.name


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key that orders 10 after 9."""
    return [(int(digits or -1), text) for digits, text in re.findall(r"([0-9]{1,18})|([^0-9]+)", name)]


def checkout() -> Path | None:
    """Return the top of the checkout this package runs from; None if it is installed."""
    top = Path(__file__).resolve().parents[2]
    return top if (top / "pyproject.toml").is_file() and (top / "data").is_dir() else None


def _checkout_data() -> Path | None:
    top = checkout()
    return top / "data" if top else None


def _walk(directory: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:  # unreadable: it may be a dataset, so list it as broken
        yield directory
        return
    if any(e.name == FILE_NAME or e.name.endswith(".csv") for e in entries):
        yield directory
    elif depth:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _walk(directory / entry.name, depth - 1)


def _machine(descriptor: Descriptor) -> dict[str, str]:
    if descriptor.kind == "published":
        return {}
    machines = [origin["provenance"] for origin in descriptor.merged_from] or [descriptor.provenance]
    facts = {"kernel": kernel, "cpu": cpu, "thp": thp, "mthp": mthp}
    return {name: " / ".join(dict.fromkeys(map(fact, machines))) for name, fact in facts.items()}


def _size_kib(path: Path) -> int:
    """Return the size of the files in the directory, rounded up."""
    try:
        sizes = [entry.stat(follow_symlinks=False).st_size for entry in os.scandir(path)]
    except OSError:
        return 0
    return -(-sum(sizes) // 1024)
