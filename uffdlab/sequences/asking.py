# SPDX-License-Identifier: MIT
"""Ask a kernel: the one that runs here, in a child process; or another, from a dataset that recorded its answers."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uffdlab import datasets
from uffdlab.errors import UffdlabError
from uffdlab.host import settings
from uffdlab.measure import runner
from uffdlab.measure.runner import Block
from uffdlab.probes.sequence import SEPARATOR, SequenceSpec
from uffdlab.sequences.answer import Answer, answer

if TYPE_CHECKING:
    import pandas as pd

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
        data = datasets.load(path)
        rows = _found(data, spec)
        if rows is not None:
            return _answer(data, rows)
    names = " or ".join(path.name for path in found)
    raise UffdlabError(
        f"{SEPARATOR.join(spec.names)!r} on {spec.backing} with features {spec.features} is not recorded in {names}: "
        "ask this kernel, without --recorded, or record it with 'uffdlab measure sequence'"
    )


def answers(data: datasets.Dataset) -> Iterator[Answer]:
    """Yield the answers that a dataset recorded, one per block."""
    for _, rows in data.table(_TABLE).groupby("block"):
        yield _answer(data, rows)


def _answer(data: datasets.Dataset, rows: pd.DataFrame) -> Answer:
    plain: list[dict[str, Any]] = [
        {str(name): None if value is None or value != value else value for name, value in row.items()}
        for row in rows.sort_values("number").to_dict("records")
    ]
    where = f"Linux {datasets.kernel(data.provenance)}, recorded in {data.id}"
    return answer(plain[0]["backing"], plain[0]["features"], plain, where)


def _found(data: datasets.Dataset, spec: SequenceSpec) -> pd.DataFrame | None:
    """Return the rows of the sequence, or of a longer one that begins with it."""
    if _TABLE not in data.tables:
        return None
    table = data.tables[_TABLE]
    wanted = SEPARATOR.join(spec.names)
    here = (table.backing == spec.backing) & (table.features == spec.features)
    whole = (table.sequence + SEPARATOR).str.startswith(wanted + SEPARATOR)
    rows = table[(here & whole & (table.number <= len(spec.names))).fillna(False)]
    return rows[rows.block == rows.block.iloc[0]] if len(rows) else None
