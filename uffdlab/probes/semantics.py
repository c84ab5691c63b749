# SPDX-License-Identifier: MIT
"""Probe *semantics*: page state by pagemap and PAGEMAP_SCAN, and whether a write is reported, at each moment.

For every moment a fresh mapping is prepared (registered only; protected; then read, written, discarded with
MADV_DONTNEED or un-protected), its state is read, one byte is written while a handler counts events, and the state
is read again. A *moment* is one row: nothing is inferred from another row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from uffdlab.errors import UffdlabError
from uffdlab.probes.requirements import Needs
from uffdlab.probes.schema import BLOCK, boolean, count, one_of, text
from uffdlab.probes.spec import Spec, word
from uffdlab.probes.userfault import READ, WRITE, Events, PageState, Range, Userfault, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, KIB, MIB, Backing
from uffdlab.vocabulary.feature_sets import FEATURE_SETS

HANDLER_TIMEOUT_S = 10.0
MOMENTS = ("before", "protected", "read", "written", "discarded", "unprotected")
CONTENTS = ("empty", "read", "written")


@dataclass(frozen=True)
class SemanticsSpec(Spec):
    """One backing, one feature set, one kind of content before protecting."""

    backing: str = word("anon", BACKINGS)
    features: str = word("none", FEATURE_SETS)
    content: str = word("empty", CONTENTS)

    def needs(self) -> Needs:
        """Return the memory and huge pages it holds at its peak."""
        backing = BACKINGS[self.backing]
        if backing.pool_kib is not None:
            return Needs(hugepages={backing.pool_kib: 1})
        return Needs(memory_kib=4 * KIB)


FIELDS: list[dict[str, Any]] = [
    BLOCK,
    one_of("backing", tuple(BACKINGS), "kind of memory"),
    one_of("features", tuple(FEATURE_SETS), "features asked for (missing_wp: none, registered MISSING|WP)"),
    one_of("content", CONTENTS, "page before protecting: empty, read once, or written once"),
    one_of("moment", MOMENTS, "what had happened when the state was read"),
    boolean("present", "pagemap bit 63"),
    boolean("swap", "pagemap bit 62"),
    boolean("uffd_wp", "pagemap bit 57"),
    text("categories", "PAGEMAP_SCAN categories joined by +; - for none; missing without PAGEMAP_SCAN"),
    count("moment_wp_events", "write-protect events while the moment was brought about"),
    count("moment_missing_events", "missing events while the moment was brought about"),
    boolean("write_reported", "whether the write that follows raised a write-protect event"),
    boolean("write_missing_event", "whether the write that follows raised a missing event"),
    boolean("write_seen_by_scan", "whether WRITTEN was clear before that write and set after it", required=False),
    boolean("after_present", "pagemap bit 63 after that write"),
    boolean("after_uffd_wp", "pagemap bit 57 after that write"),
]


def run(spec: SemanticsSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``("states", row)`` for every moment."""
    for moment in MOMENTS:
        key = {"backing": spec.backing, "features": spec.features, "content": spec.content, "moment": moment}
        yield "states", key | _observe(spec, moment)


def _observe(spec: SemanticsSpec, moment: str) -> dict[str, Any]:
    backing, wanted = BACKINGS[spec.backing], FEATURE_SETS[spec.features]
    length = max(2 * MIB, backing.page_bytes)
    page = _watched_page(backing)
    with mapped(backing, length) as memory, opened(wanted.features) as uffd:
        if spec.content != "empty":
            memory.touch_at([page], READ if spec.content == "read" else WRITE)
        uffd.register(memory, missing=wanted.missing)
        reached = _reach(moment, memory, uffd, page)
        if reached.deadline_hit:
            raise UffdlabError(reached.why(memory, HANDLER_TIMEOUT_S))
        state = memory.state(page)
        with uffd.handled(backing.page_bytes, HANDLER_TIMEOUT_S) as events:
            memory.touch_at([page], WRITE)
        after = memory.state(page)
    if events.deadline_hit:
        raise UffdlabError(events.why(memory, HANDLER_TIMEOUT_S))
    return _row(state, reached, events, after)


def _watched_page(backing: Backing) -> int:
    """Return an offset away from the edges, so that neither fault-around nor a neighbour affects the state."""
    return 77 * backing.page_bytes if backing.page_bytes < MIB else 0


def _reach(moment: str, memory: Range, uffd: Userfault, page: int) -> Events:
    nothing = Events()
    if moment == "before":
        return nothing
    uffd.protect(memory)
    if moment == "unprotected":
        uffd.protect(memory, on=False)
    elif moment == "discarded":
        memory.discard()
    elif moment in ("read", "written"):
        with uffd.handled(memory.backing.page_bytes, HANDLER_TIMEOUT_S) as events:
            memory.touch_at([page], READ if moment == "read" else WRITE)
        return events
    return nothing


def _row(state: PageState, reached: Events, events: Events, after: PageState) -> dict[str, Any]:
    return {
        "present": state.present,
        "swap": state.swap,
        "uffd_wp": state.uffd_wp,
        "categories": None if state.categories is None else "+".join(state.categories) or "-",
        "moment_wp_events": reached.wp,
        "moment_missing_events": reached.missing,
        "write_reported": events.wp > 0,
        "write_missing_event": events.missing > 0,
        "write_seen_by_scan": _newly_written(state, after),
        "after_present": after.present,
        "after_uffd_wp": after.uffd_wp,
    }


def _newly_written(before: PageState, after: PageState) -> bool | None:
    if before.categories is None or after.categories is None:
        return None
    return "WRITTEN" not in before.categories and "WRITTEN" in after.categories
