# SPDX-License-Identifier: MIT
"""The answer to "what happens to this page": each step as the kernel took it, beside what is documented, in words."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from uffdlab.sequences.documented import Entry, Expected, expected
from uffdlab.vocabulary.backings import SEQUENCE_BACKINGS
from uffdlab.vocabulary.feature_sets import SEQUENCE_SETS
from uffdlab.vocabulary.steps import ENDING, ENTRY_WORDS, STEPS

_WIDTH = 78
_INDENT = " " * 14


@dataclass(frozen=True)
class Taken:
    """One step as a kernel took it: columns of the table ``sequences``, and what is documented."""

    number: int
    step: str
    result: str
    errno: str | None
    wp_events: int
    missing_events: int
    other_events: int
    entry: str
    uffd_wp: bool | None
    written: bool | None
    child_entry: str | None
    child_uffd_wp: bool | None
    documented: Expected
    categories: str | None = None
    faults: int | None = None

    @property
    def agrees(self) -> bool:
        """Whether the kernel did what is documented. What a kernel does not tell is no disagreement."""
        said = self.documented
        if said.result is None:
            return True
        if self.result != said.result or (said.errno and self.errno != said.errno):
            return False
        if self.result in ENDING:
            return True
        events = all(
            known in (None, seen)
            for seen, known in (
                (self.wp_events, said.wp_events),
                (self.missing_events, said.missing_events),
                (self.other_events, said.other_events),
            )
        )
        return (
            events
            and self._holds(self.entry, self.uffd_wp, said.entry)
            and (
                said.child is None
                or self.child_entry is None
                or self._holds(self.child_entry, self.child_uffd_wp, said.child)
            )
        )

    def _holds(self, seen: str, protected: bool | None, said: Entry) -> bool:
        """Whether an entry holds what is documented, as far as the kernel shows it."""
        hidden = seen == "swapped or marker" and said.holds in ("swapped", "marker", "poison", "guard")
        hidden |= self.documented.hidden and seen == "empty"
        return (hidden or seen.removeprefix("huge ") == said.holds) and protected in (None, said.wp)

    def words(self) -> str:
        """Return what happened, in words."""
        if self.result == "refused":
            return f"refused with {self.errno}"
        if self.result == "unregistered":
            return f"not taken: the range cannot be registered ({self.errno})"
        if self.result == "hung":
            return "did not return in time, until the descriptor was closed"
        events = _events(self.wp_events, self.missing_events, self.other_events)
        result = self.result if self.result != "done" else ""
        parts = [result, *(events or self._faulted()), self.held(), self._scanned()]
        if self.child_entry is not None:
            parts.append(f"in the child: {_held(self.child_entry, self.child_uffd_wp)}")
        return " · ".join(part for part in parts if part)

    def _faulted(self) -> list[str]:
        """Return whether a read or a write without an event took a fault; nothing of other steps."""
        if self.faults is None:
            return []
        return ["a fault without an event" if self.faults else "no fault"]

    def _scanned(self) -> str:
        """Return the categories of PAGEMAP_SCAN, or nothing where they were not asked."""
        if self.categories is None:
            return ""
        return f"scan: {self.categories.replace('+', ' ') if self.categories != '-' else 'no category'}"

    def held(self) -> str:
        """Return what the entry holds afterwards, in words."""
        return _held(self.entry, self.uffd_wp)


def _events(wp: int | None, missing: int | None, other: int) -> list[str]:
    kinds = ((wp, "a", "write-protect event"), (missing, "a", "missing event"), (other, "an", "event of the call"))
    return [f"{article} {name}" if count == 1 else f"{count} {_many(name)}" for count, article, name in kinds if count]


def _many(name: str) -> str:
    return name.replace("event", "events", 1)


def _held(entry: str, protected: bool | None) -> str:
    known = {None: "", True: ", protected", False: ", not protected"}[protected]
    return ENTRY_WORDS.get(entry, entry) + known


@dataclass(frozen=True)
class Answer:
    """The steps of one sequence as a kernel took them, and where that was."""

    backing: str
    features: str
    steps: tuple[Taken, ...]
    where: str

    @property
    def sentence(self) -> str:
        """Return what becomes of the last step, in a sentence."""
        last = self.steps[-1]
        if last.result == "refused":
            return f"{last.step} is refused with {last.errno}: {last.documented.why if last.agrees else 'see above'}."
        if last.result == "unregistered":
            return f"this memory cannot be registered so ({last.errno}), and nothing was protected."
        if last.result == "hung":
            return f"{last.step} does not return while the range is registered."
        gone = last.agrees and not last.documented.entry.registered
        if last.step != "write":
            place = ", and its new place is not registered any more" if gone else ""
            return f"after {last.step} the entry holds {last.held()}{place}."
        if last.result != "done":
            return f"the write raises {last.result}, and no event."
        if last.wp_events:
            return "the write is reported."
        if last.missing_events:
            return "the write raises a missing event, and no write-protect event."
        before = self.steps[-2].written if len(self.steps) > 1 else None
        if "WP_ASYNC" in SEQUENCE_SETS[self.features].features:
            if not gone and last.written and before is False:
                return "the write raises no event, as asked for; PAGEMAP_SCAN shows the page as written."
            if gone:
                return (
                    "the write raises no event, and a scan that protects again skips the page: its new place is not "
                    "registered any more."
                )
            return "the write raises no event, and PAGEMAP_SCAN had shown the page as written before."
        return f"the write is not reported{': the new place is not registered any more' if gone else ''}."

    def text(self) -> str:
        """Return the answer as lines of at most 78 columns."""
        title = f"{SEQUENCE_BACKINGS[self.backing].title} · {SEQUENCE_SETS[self.features].reads_as} · {self.where}"
        lines = [*textwrap.wrap(title, _WIDTH), ""]
        for step in self.steps:
            lines += _wrapped(f"{step.number} {step.step:<11} ", step.words())
            lines += _wrapped(_INDENT, step.documented.why if step.agrees else _differs(step))
        return "\n".join([*lines, "", *textwrap.wrap(f"Answer: {self.sentence}", _WIDTH)])

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        steps = []
        for step in self.steps:
            documented = asdict(step.documented)
            row = asdict(step) | {"does": STEPS[step.step].does, "agrees": step.agrees, "documented": documented}
            steps.append(row)
        whole = {"backing": self.backing, "features": self.features, "where": self.where, "steps": steps}
        return whole | {"answer": self.sentence}


def _wrapped(first: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=_INDENT)


def _differs(step: Taken) -> str:
    said = step.documented
    if said.result == "refused":
        outcome = f"refused with {said.errno or 'an error'}"
    elif said.result == "unregistered":
        outcome = "the range cannot be registered"
    elif said.result == "hung":
        outcome = "it does not return"
    else:
        events = _events(said.wp_events, said.missing_events, said.other_events)
        outcome = ", ".join([said.result or "", *events, _held(said.entry.holds, said.entry.wp)])
        outcome += f", in the child: {_held(said.child.holds, said.child.wp)}" if said.child else ""
    return f"documented is another outcome: {outcome} ({said.why})"


def answer(backing: str, features: str, rows: Sequence[Mapping[str, Any]], where: str) -> Answer:
    """Return the answer from the rows of the table ``sequences``, in order."""
    said = expected(backing, features, [row["step"] for row in rows])
    said += [said[-1]] * (len(rows) - len(said))  # the kernel went on where a refusal is documented
    return Answer(backing, features, tuple(_as_taken(row, of) for row, of in zip(rows, said, strict=True)), where)


def _as_taken(row: Mapping[str, Any], documented: Expected) -> Taken:
    """Return a row as a step; the oldest datasets have no categories of PAGEMAP_SCAN."""
    columns = {name: row[name] for name in Taken.__dataclass_fields__ if name in row}
    return Taken(**columns, documented=documented)
