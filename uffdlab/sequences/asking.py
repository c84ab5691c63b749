# SPDX-License-Identifier: MIT
"""Ask a kernel: the one that runs here, in a child process; or another, from a dataset that recorded its answers."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from uffdlab import datasets
from uffdlab.errors import UffdlabError
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
        rows = _rows(data, spec)
        if rows:
            return answer(
                spec.backing, spec.features, rows, f"{datasets.kernel(data.provenance)}, recorded in {data.id}"
            )
    names = " or ".join(path.name for path in found)
    raise UffdlabError(
        f"{SEPARATOR.join(spec.names)!r} on {spec.backing} with features {spec.features} is not recorded in {names}: "
        "ask this kernel, without --recorded, or record it with 'uffdlab measure sequence'"
    )


def _rows(data: datasets.Dataset, spec: SequenceSpec) -> list[dict[str, Any]]:
    """Return the rows of the sequence, or of a longer one that begins with it."""
    if _TABLE not in data.tables:
        return []
    table = data.tables[_TABLE]
    wanted = SEPARATOR.join(spec.names)
    here = (table.backing == spec.backing) & (table.features == spec.features)
    whole = (table.sequence + SEPARATOR).str.startswith(wanted + SEPARATOR)
    rows = table[(here & whole & (table.number <= len(spec.names))).fillna(False)]
    if not len(rows):
        return []
    first = rows[rows.block == rows.block.iloc[0]].sort_values("number")
    return [{str(k): None if v is None or v != v else v for k, v in row.items()} for row in first.to_dict("records")]
