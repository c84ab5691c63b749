# SPDX-License-Identifier: MIT
"""Ask a kernel: the one that runs here, in a child process; or another, from a dataset that recorded its answers."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from uffdlab import datasets
from uffdlab.datasets import Value
from uffdlab.datasets.descriptor import Descriptor
from uffdlab.errors import UffdlabError
from uffdlab.host import settings
from uffdlab.measure import runner
from uffdlab.measure.runner import Block
from uffdlab.probes.sequence import SEPARATOR, SequenceSpec
from uffdlab.sequences.answer import Answer, answer

_DEADLINE_S = 30.0
_TABLE = "sequences"


def here(spec: SequenceSpec, *, allow_host_changes: bool = False) -> Answer:
    """Run a sequence on this kernel and return its answer.

    Raises UffdlabError if the host lacks what it needs, or the kernel refuses userfaultfd.
    """
    fields = {"backing": spec.backing, "features": spec.features, "steps": spec.steps}
    pools = {f"hugetlb_{size_kib}": pages for size_kib, pages in spec.needs().hugepages.items()}
    with settings.changed(pools, allow=True) if pools and allow_host_changes else nullcontext():
        measured = runner.run([Block(0, "sequence", fields, _DEADLINE_S)], allow_host_changes=allow_host_changes)
    (outcome,) = measured.tables["outcomes"]
    rows = measured.tables.get(_TABLE, [])
    if outcome["outcome"] == "interrupted":
        raise KeyboardInterrupt
    if outcome["outcome"] != "ok" or not rows:
        raise UffdlabError(f"the sequence could not be run ({outcome['outcome']}): {outcome['reason']}")
    return answer(spec.backing, spec.features, rows, f"Linux {platform.release()}, this machine")


def recorded(spec: SequenceSpec, wanted: Path | str | None = None) -> Answer:
    """Return the answer that a dataset recorded: the one named, or the first committed one that has the sequence.

    Raises UffdlabError if none has it.
    """
    found = [datasets.locate(wanted)] if wanted is not None else datasets.with_table(_TABLE)
    if not found:
        raise UffdlabError("no dataset with sequences is installed with the package: pass --data DIRECTORY of one")
    for path in found:
        contents = datasets.read(path, only=[_TABLE])
        rows = _found(contents.tables.get(_TABLE, {}), spec)
        if rows:
            return _answer(contents.descriptor, rows)
    names = " or ".join(path.name for path in found)
    raise UffdlabError(
        f"{SEPARATOR.join(spec.names)!r} on {spec.backing} with features {spec.features} is not recorded in {names}: "
        "ask this kernel, without --recorded, or record it with 'uffdlab measure sequence'"
    )


def answers(data: datasets.Dataset) -> Iterator[Answer]:
    """Yield the answers that a dataset recorded, one per block."""
    for _, rows in data.table(_TABLE).groupby("block"):
        yield _answer(data, rows.to_dict("records"))


def _answer(data: datasets.Dataset | Descriptor, rows: Iterable[Mapping[Any, Any]]) -> Answer:
    plain: list[dict[str, Any]] = [
        {str(name): None if value is None or value != value else value for name, value in row.items()}
        for row in sorted(rows, key=lambda row: row["number"])
    ]
    where = f"Linux {datasets.kernel(data.provenance)}, recorded in {data.id}"
    return answer(plain[0]["backing"], plain[0]["features"], plain, where)


def _found(columns: Mapping[str, list[Value]], spec: SequenceSpec) -> list[dict[str, Any]]:
    """Return the rows of the sequence, or of a longer one that begins with it; none where it was not recorded.

    Plain columns, since importing pandas takes longer than everything else.
    """
    wanted = SEPARATOR.join(spec.names) + SEPARATOR
    rows: list[dict[str, Any]] = [
        row
        for values in zip(*columns.values(), strict=True)
        if (row := dict(zip(columns, values, strict=True)))["backing"] == spec.backing
        and row["features"] == spec.features
        and f"{row['sequence']}{SEPARATOR}".startswith(wanted)
        and row["number"] <= len(spec.names)
    ]
    return [row for row in rows if row["block"] == rows[0]["block"]]
