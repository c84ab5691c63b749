# SPDX-License-Identifier: MIT
"""From a directory of notebooks to a directory of pages: one file each, and an index."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uffdlab.datasets import Dataset
from uffdlab.errors import UffdlabError, printable, refusal
from uffdlab.report.execute import execute
from uffdlab.report.page import Header, Link, abstract, index_html, title, to_html, to_single_html

SINGLE = "uffdlab.html"
MARKER = ".uffdlab-report"  # in a directory that render made, and so may replace


@dataclass(frozen=True)
class Rendered:
    """What was written."""

    pages: tuple[Path, ...]
    index: Path


def header(data: Dataset, overlay: Dataset | None = None, notices: Sequence[str] = ()) -> Header:
    """Return what stands at the top of each page drawn from the dataset."""
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
    found = sorted(directory.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise UffdlabError(f"{directory} holds no notebook named like 01_title.ipynb: name the notebooks' directory")
    return found


def render(
    notebooks: Path,
    out: Path,
    *,
    parameters: Mapping[str, Any],
    header: Header,
    shown: Mapping[str, Any] | None = None,
    single: bool = False,
) -> Rendered:
    """Execute every notebook with the parameters and write its page, and an index, into ``out``.

    With ``single`` all notebooks are one page, which is all there is. ``out`` appears whole or not at all; one that an
    earlier render made is replaced. Raises UffdlabError when ``out`` holds anything else, cannot be written, or a
    notebook fails.
    """
    paths = notebooks_in(notebooks)
    check_out(out)
    executed = [execute(path, parameters, shown) for path in paths]
    if single:
        whole = to_single_html(dict(zip((path.stem for path in paths), executed, strict=True)), header)
        _write(out, {SINGLE: whole, MARKER: ""})
        return Rendered((out / SINGLE,), out / SINGLE)
    links = [Link(f"{path.stem}.html", title(one)) for path, one in zip(paths, executed, strict=True)]
    pages = {}
    for place, (link, one) in enumerate(zip(links, executed, strict=True)):
        before = links[place - 1] if place else None
        after = links[place + 1] if place + 1 < len(links) else None
        pages[link.href] = to_html(one, header, previous=before, following=after)
    entries = [(link, abstract(one)) for link, one in zip(links, executed, strict=True)]
    _write(out, pages | {"index.html": index_html(entries, header), MARKER: ""})
    return Rendered(tuple(out / link.href for link in links), out / "index.html")


def check_out(out: Path) -> None:
    """Refuse a place that a report cannot be written to, before any notebook runs."""
    where = f"--out {printable(out)}"
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            if not stat.S_ISDIR(os.lstat(out).st_mode):
                raise UffdlabError(f"{where} is not a directory: choose a new one")
            held = list(os.scandir(out))
            if held and not (out / MARKER).exists():
                raise UffdlabError(f"{where} holds files that render did not write: choose a new or empty directory")
            for one in held:
                if not one.is_file(follow_symlinks=False) or not (one.name == MARKER or one.name.endswith(".html")):
                    raise UffdlabError(
                        f"{where} holds {printable(one.name)}, which render did not write: move it away, or choose "
                        "another directory"
                    )
    except (OSError, ValueError) as error:
        raise UffdlabError(f"--out {refusal(out, error)}") from error
    parent = next(place for place in out.resolve().parents if place.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UffdlabError(f"{where} cannot be written: {printable(parent)} is not a directory you may write to")


def _write(out: Path, files: Mapping[str, str]) -> None:
    """Write all files into a directory beside ``out``, then let it take the place of ``out``."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        try:
            for name, text in files.items():
                (staging / name).write_text(text, encoding="utf-8")
            staging.chmod(0o755)
            old = Path(f"{staging}.old")
            if out.exists():
                out.rename(old)  # out of the way at once; deleted when the new one is in its place
            staging.rename(out)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise UffdlabError(f"{out} cannot be written: {error.strerror or error}") from error
