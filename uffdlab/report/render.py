# SPDX-License-Identifier: MIT
"""Render a directory of notebooks to a directory of pages: one file each, and an index."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uffdlab import ownership
from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError, printable, refusal
from uffdlab.report.execute import execute
from uffdlab.report.page import Header, Link, abstract, index_html, title, to_html, to_single_html

SINGLE = "uffdlab.html"
MARKER = ".uffdlab-report"  # lists the files that render wrote into a directory, and may replace


@dataclass(frozen=True)
class Rendered:
    """The written pages."""

    pages: tuple[Path, ...]
    index: Path


@dataclass(frozen=True)
class At:
    """Progress of a render: notebook and cell, each of how many, seconds so far, and whether the notebook has ended."""

    name: str
    number: int
    of: int
    cell: int
    cells: int
    seconds: float
    done: bool


def header(data: Dataset, overlay: Dataset | None = None, notices: Sequence[str] = ()) -> Header:
    """Return the header of each page drawn from the dataset."""
    facts = data.provenance
    commit = facts.get("uffdlab_commit") or "unknown"
    return Header(
        dataset_id=data.id,
        kernel=f"Linux {facts['kernel_release']}" if facts.get("kernel_release") else "unknown",
        cpu=facts.get("cpu_model") or "unknown",
        thp=facts.get("thp_enabled") or "unknown",
        commit=commit[:12] + (" (with uncommitted changes)" if facts.get("uffdlab_dirty") else ""),
        overlay=overlay.origin() if overlay else None,
        notices=tuple(notices),
    )


def notebooks_in(directory: Path) -> list[Path]:
    """Return the numbered notebooks of a directory, in order; UffdlabError when there are none."""
    if not directory.is_dir():
        raise UffdlabError(f"{printable(directory)} is not a directory: name the one that holds the notebooks")
    notebooks = sorted(directory.glob("[0-9][0-9]_*.ipynb"))
    if not notebooks:
        raise UffdlabError(f"{directory} holds no notebook named like 01_title.ipynb: name the notebooks' directory")
    return notebooks


def render(
    notebooks: Path,
    out: Path,
    *,
    parameters: Mapping[str, Any],
    header: Header,
    shown: Mapping[str, Any] | None = None,
    single: bool = False,
    progress: Callable[[At], None] = lambda at: None,
) -> Rendered:
    """Execute every notebook with the parameters and write its page, and an index, into ``out``.

    With ``single`` all notebooks become one page, without an index. ``out`` appears whole or not at all; one that an
    earlier render made is replaced. ``progress`` is called when a notebook begins and ends, and every second in
    between. Raises UffdlabError when ``out`` holds anything else, cannot be written, or a notebook fails.
    """
    paths = notebooks_in(notebooks)
    check_out(out)
    executed = []
    for number, path in enumerate(paths, 1):
        report = _reporter(progress, path.stem, number, len(paths))
        executed.append(execute(path, parameters, shown, report))
        report(0, 0, done=True)
    if single:
        whole = to_single_html(dict(zip((path.stem for path in paths), executed, strict=True)), header)
        _write(out, {SINGLE: whole})
        return Rendered((out / SINGLE,), out / SINGLE)
    links = [Link(f"{path.stem}.html", title(notebook)) for path, notebook in zip(paths, executed, strict=True)]
    pages = {}
    for place, (link, notebook) in enumerate(zip(links, executed, strict=True)):
        before = links[place - 1] if place else None
        after = links[place + 1] if place + 1 < len(links) else None
        pages[link.href] = to_html(notebook, header, previous=before, following=after)
    entries = [(link, abstract(notebook)) for link, notebook in zip(links, executed, strict=True)]
    _write(out, pages | {"index.html": index_html(entries, header)})
    return Rendered(tuple(out / link.href for link in links), out / "index.html")


def _reporter(progress: Callable[[At], None], name: str, number: int, of: int) -> Callable[..., None]:
    began = time.monotonic()

    def report(cell: int, cells: int, *, done: bool = False) -> None:
        progress(At(name, number, of, cell, cells, time.monotonic() - began, done))

    return report


def check_out(out: Path) -> None:
    """Raise UffdlabError where a report cannot be written, before any notebook runs."""
    where = f"--out {printable(out)}"
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            if not stat.S_ISDIR(os.lstat(out).st_mode):
                raise UffdlabError(f"{where} is not a directory: choose a new one")
        why = ownership.why_kept(out, _names)
        parent = next(place for place in out.resolve().parents if place.exists())
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.filename is None:  # the working directory is gone
            raise
        raise UffdlabError(f"--out {refusal(out, error)}") from error
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UffdlabError(f"{where} cannot be written: {printable(parent)} is not a directory you may write to")
    if why:
        raise UffdlabError(f"{where} is kept as it is, since {why}: choose a new directory, or move that away")


def _write(out: Path, files: Mapping[str, str]) -> None:
    """Write all files into a directory beside ``out``, then replace ``out`` with it."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with ownership.replaced(out, _names) as staging:
            staging.mkdir(mode=0o755)
            for name, text in files.items():
                (staging / name).write_text(text, encoding="utf-8")
            listed = "".join(f"{_digest(staging / name)}  {name}\n" for name in files)
            (staging / MARKER).write_text(listed, encoding="utf-8")
    except OSError as error:
        raise UffdlabError(f"{out} cannot be written: {error.strerror or error}") from error


def _names(out: Path) -> set[str]:
    """Return the files that render wrote into a directory; UffdlabError where it wrote none, or one has changed.

    The marker lists them in sha256sum's format: ``sha256sum --check .uffdlab-report``.
    """
    if not (out / MARKER).is_file():
        raise UffdlabError("it holds files that render did not write")
    names = {MARKER}
    for line in (out / MARKER).read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        plain = (out / name).is_file() and not (out / name).is_symlink()
        if plain and _digest(out / name) != digest:
            raise UffdlabError(f"{name} in it was changed after render wrote it")
        names.add(name)
    return names


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
