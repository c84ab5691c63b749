# SPDX-License-Identifier: MIT
"""A campaign: report its needs, fill hugetlb pools if allowed, run its blocks, collect the results."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from uffdlab import datasets, native
from uffdlab.datasets import provenance
from uffdlab.errors import UffdlabError
from uffdlab.host import asking, exclusive, facts, features, memory, settings
from uffdlab.measure import runner
from uffdlab.measure.journal import Journal
from uffdlab.measure.runner import Block, Measurements
from uffdlab.measure.suites import SUITES
from uffdlab.probes.requirements import Needs, peak
from uffdlab.units import format_size

Say = Callable[[str], None]
BASE_PAGE_BYTES = 4096


@dataclass(frozen=True)
class Campaign:
    """Measurements by table, and facts about the host."""

    measurements: Measurements
    facts: dict[str, Any]
    probes: tuple[str, ...]

    def tables(self) -> list[datasets.Table]:
        """Return the tables as a dataset holds them."""
        fields = runner.table_fields(self.probes)
        rows = self.measurements.tables | {"outcomes": [_one_line(row) for row in self.measurements.tables["outcomes"]]}
        return [datasets.Table(name, fields[name], rows.get(name, [])) for name in fields]

    def summary(self) -> str:
        """Return one line: how many blocks ended how, and how many rows there are."""
        ended = Counter(row["outcome"] for row in self.measurements.tables["outcomes"])
        counted = ", ".join(f"{count} {outcome}" for outcome, count in ended.most_common())
        rows = sum(len(rows) for name, rows in self.measurements.tables.items() if name != "outcomes")
        return f"{rows} rows; blocks: {counted}"

    def reasons(self) -> list[str]:
        """Return why blocks did not end ok, each reason once, most frequent first."""
        bad = Counter(
            f"{row['probe']} {row['outcome']}: {row['reason']}"
            for row in self.measurements.tables["outcomes"]
            if row["outcome"] != "ok"
        )
        return [f"{count} x {reason}" for reason, count in bad.most_common()]


def _one_line(outcome: dict[str, Any]) -> dict[str, Any]:
    """Return the outcome with its reason as one line that fits a cell."""
    return outcome | {"reason": outcome["reason"] and datasets.one_line(outcome["reason"])}


def why_impossible() -> str | None:
    """Return why this host cannot measure, in one sentence; None if it can."""
    missing = native.why_missing()
    if missing:
        return missing
    page = os.sysconf("SC_PAGE_SIZE")
    if page != BASE_PAGE_BYTES:
        return f"the base page is {page} B and the probes support {BASE_PAGE_BYTES} B only: use another kernel"
    return features.query().why


def needs_text(blocks: Sequence[Block]) -> str:
    """Return what the blocks need at their peak, as a clause."""
    needs = peak(block.needs() for block in blocks)
    pools = [
        f"{count} huge page{'s' * (count > 1)} of {format_size(size * 1024)}"
        for size, count in sorted(needs.hugepages.items())
    ]
    changes = [f"{name} at {value}" for name, value in sorted(needs.settings.items())]
    return " and ".join([f"{format_size(needs.memory_kib * 1024)} of memory", *pools, *changes])


def measure(
    blocks: Sequence[Block],
    *,
    suite: str | None,
    seed: int,
    allow_host_changes: bool,
    say: Say,
    progress: Callable[[Block], None] = lambda block: None,
    journal: Journal | None = None,
) -> Campaign:
    """Run the blocks and return the results; ``say`` gets what the reader should know before it starts.

    With a ``journal``, blocks it has finished are not run again, and each result is appended to it at once; without
    one, results are in memory only.

    Raises UffdlabError if this host cannot measure, cannot run any of the blocks, is not the one the journal was begun
    on, or is being changed by another run.
    """
    impossible = why_impossible()
    if impossible:
        raise UffdlabError(impossible)
    remaining = list(blocks) if journal is None else journal.remaining()
    with ExitStack() as stack:
        if allow_host_changes:
            stack.enter_context(exclusive.claimed())
        stack.enter_context(_in_force(suite, allow_host_changes))
        known = facts.collect(seed=seed) | {"suite": suite, "started_utc": datetime.now(UTC).date().isoformat()}
        if journal is not None:
            journal.check_host(known)
        begun = journal is not None and bool(journal.results)
        needs = [block.needs() for block in remaining]
        if not begun:  # what is left of a campaign may be what could not be measured
            _refuse_if_hopeless([replace(need, hugepages={}) if allow_host_changes else need for need in needs])
        say(f"{len(remaining)} blocks; needs {needs_text(remaining)}")
        _report_omissions(remaining, say)
        started = time.monotonic()
        if allow_host_changes:
            _fill_pools(stack, peak(needs), say)
            if not begun:
                _refuse_if_hopeless(needs)
        known["hugetlb_pools"] = facts.collect()["hugetlb_pools"]  # as they were while measuring
        if journal is not None:
            journal.begin(provenance.allowed(known), started)
        measured = runner.run(
            blocks,
            progress,
            allow_host_changes=allow_host_changes,
            earlier=() if journal is None else journal.results.values(),
            on_result=(lambda result: None) if journal is None else journal.append,
        )
    if journal is not None:
        return Campaign(measured, _facts(journal), _probes(blocks))
    known |= {"duration_s": round(time.monotonic() - started, 1), "resumed": 0}
    return Campaign(measured, provenance.allowed(known), _probes(blocks))


def _in_force(suite: str | None, allow: bool) -> AbstractContextManager[object]:
    """Return a block in which the host settings of a suite are in force."""
    wanted = SUITES[suite].settings if suite in SUITES else {}
    return settings.changed(wanted, allow=allow) if wanted else nullcontext()


def finish(journal: Journal) -> Campaign:
    """Return the results of an interrupted campaign; unfinished blocks are marked interrupted."""
    why, interrupted = "the campaign ended before it", bool(journal.remaining())
    measured = runner.collect(journal.blocks, journal.results.values(), why, interrupted=interrupted)
    return Campaign(measured, _facts(journal), _probes(journal.blocks))


def _facts(journal: Journal) -> dict[str, Any]:
    """Return the facts of the first part, with the totals of all parts."""
    busiest = {"load_1min": max(journal.loads)} if journal.loads else {}
    times = {"duration_s": round(journal.seconds(), 1), "resumed": journal.continued}
    return provenance.allowed(journal.facts | busiest | times)


def _probes(blocks: Sequence[Block]) -> tuple[str, ...]:
    return tuple(sorted({block.probe for block in blocks}))


def save(campaign: Campaign, out: Path, *, id_: str, title: str) -> datasets.Dataset:
    """Write the campaign as a dataset."""
    return datasets.write(out, id=id_, title=title, tables=campaign.tables(), provenance=campaign.facts)


def _report_omissions(blocks: Sequence[Block], say: Say) -> None:
    """Report what no probe can record on this kernel, and what these leave out."""
    answer = asking.ask("PAGEMAP_SCAN")
    if answer.result is None:
        say(f"zeropages and huge pages are not counted, and the states of pages are not checked: {answer.why()}")
    if any(block.probe == "trackers" for block in blocks) and not asking.ask("SOFT_DIRTY").result:
        say(
            "soft-dirty bits are left out: this kernel was built without CONFIG_MEM_SOFT_DIRTY, or its architecture "
            "has no such bits"
        )


def _refuse_if_hopeless(needs: Sequence[Needs]) -> None:
    lacking = [need.missing() for need in needs]
    if lacking and all(lacking):
        raise UffdlabError(f"nothing can be measured: {lacking[0]}")


def _fill_pools(stack: ExitStack, needs: Needs, say: Say) -> None:
    """Fill the hugetlb pools to what is needed until the stack closes, as far as possible."""
    sizes = sorted(size for size in needs.hugepages if memory.hugepages(size))
    wanted = {size: _allowed(size, needs.hugepages[size], say) for size in sizes}
    while sizes:
        try:
            stack.enter_context(settings.changed({f"hugetlb_{size}": wanted[size] for size in sizes}, allow=True))
            return
        except UffdlabError as error:
            # Memory may be too fragmented for the largest pages: measure the rest.
            say(f"continuing without huge pages of {format_size(sizes.pop() * 1024)}: {error}")


def _allowed(size_kib: int, pages: int, say: Say) -> int:
    """Return how many of the huge pages needed the control group allows."""
    limit = memory.hugetlb_limit(size_kib)
    if limit is None or limit.room >= pages:
        return pages
    say(f"only {limit.room} of {pages} huge pages of {format_size(size_kib * 1024)} can be used: {limit.remedy}")
    return limit.room
