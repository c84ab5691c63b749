# SPDX-License-Identifier: MIT
"""The verdict on a claim, as JSON, as one line and as an HTML card."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from typing import Any, Literal

from uffdlab import units
from uffdlab.rules import FIXED_BEFORE
from uffdlab.stats import CONFIDENCE, Estimate, decided_at, deciding_values, proportion_interval
from uffdlab.units import format_ratio, format_share

# "depends": measured on both sides of a condition, which decides. "predicted": from a proxy or the simulator, since no
# kernel has it. "answer": a list of facts, which no measurement decides.
Ruling = Literal[
    "holds", "does not hold", "depends", "predicted to hold", "predicted not to hold", "not decided", "answer"
]


AUTHORS = {"DH": "David Hildenbrand", "PX": "Peter Xu"}
# What "not decided" is short of: the measurement itself, or certainty about what was measured.
Short = Literal["measurement", "certainty"]


def with_interval(estimate: Estimate, without: str = " (too few processes for an interval)") -> str:
    """Return an estimate and its interval as text; ``without`` follows where it has none."""
    return units.with_interval(
        estimate.value, estimate.low, estimate.high, without=without, alike=seen_in(estimate) or units.NO_SPREAD
    )


def seen_in(estimate: Estimate) -> str | None:
    """Return in how many processes or trials a value was seen whose interval has no width, as it is printed.

    None where the interval has a width, and of a prediction, which no process gave.
    """
    printed = {format_ratio(end) for end in estimate.interval or ()}
    if estimate.again is None or printed != {format_ratio(estimate.value)}:
        return None
    if getattr(estimate.again, "func", None) is proportion_interval:
        share_otherwise = 1 - (estimate.low or 0)
        more = f", at most {format_ratio(share_otherwise * 100)}% otherwise" if estimate.value == 1 else ""
        return f"in {round(estimate.value * estimate.n):,} of {estimate.n:,} trials{more}"
    widest = estimate.again(1 - 2.0 ** (2 - estimate.n))  # from the least of them to the greatest
    ends = {format_ratio(end) for end in widest.interval or ()}
    return f"in {'each' if ends == {format_ratio(estimate.value)} else 'most'} of {estimate.n} processes"


def author(who: str | None) -> str:
    """Return who made a claim, by name: ``David Hildenbrand (DH, point 1)``; a claim of nobody's is asked here.

    >>> author("DH 1")
    'David Hildenbrand (DH, point 1)'
    """
    key, _, point = (who or "").partition(" ")
    return f"{AUTHORS[key]} ({key}{f', point {point}' if point else ''})" if key in AUTHORS else "Asked here"


def in_children(rows: Any) -> str:
    """Return in how many child processes rows were seen, as the end of a sentence; nothing without rows."""
    number = 0 if rows is None else rows.block.nunique()
    return f" in {number} child process{'es' if number != 1 else ''}" if number else ""


@dataclass(frozen=True)
class Tested:
    """A quantity that a rule compares with a threshold."""

    name: str
    estimate: Estimate
    threshold: float

    @property
    def open(self) -> bool:
        """Whether the interval lies on neither side of the threshold."""
        return not (self.estimate.above(self.threshold) or self.estimate.below(self.threshold))

    def __str__(self) -> str:
        """Return at which confidence it would be decided, and beyond which values at the rule's confidence."""
        estimate, threshold = self.estimate, format_ratio(self.threshold)
        start = f"{self.name} against {threshold}"
        ends = deciding_values(estimate, self.threshold)
        if ends is None:
            return f"{start}: {estimate.n} processes give no interval at {format_share(estimate.confidence, 1)}"
        below, above = (format_ratio(end) for end in ends)
        level = format_share(estimate.confidence, 1)
        would = f"at {level} a value below {below} or above {above} would decide"
        if ends[0] <= 0:
            would = f"at {level} not even 0 would be below it with so wide an interval"
        if estimate.again is None:
            return f"{start}: {would}"
        at = decided_at(estimate, self.threshold)
        side = "above" if estimate.value > self.threshold else "below"
        reached = f"{side} it at {format_share(at, 1)} confidence" if at else "on neither side of it at 50% or more"
        return f"{start}: {reached}; {would}"


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim from one dataset.

    ``effect`` is the deciding quantity (``quantity`` names it and its unit) with its ``interval`` at ``confidence``,
    which is above 95 % where several cases decide together (Bonferroni); all are None for a rule about states, and
    where nothing was measured; ``seen_in`` says in how many processes or trials it was seen where the interval has no
    width. ``depends_on`` names what "depends" depends on, and ``condition`` says on which side the
    claim holds. ``missing`` (the measurement that would decide) belongs to "not decided" and "predicted". ``short_of``
    says what "not decided" lacks, and ``tested`` how far each quantity that was measured is from its threshold: the
    confidence that was reached, and the least effect that would have been decided. ``rule_fixed`` says whether the rule
    preceded the dataset, and if not, what the former rule says; None where that is not known. ``who`` made the
    claim (as ``Claim.who``), and ``says`` is the claim in English.
    """

    id: str
    verdict: Ruling
    rule: str
    because: str
    evidence: tuple[str, ...] = ()
    quantity: str | None = None
    effect: float | None = None
    interval: tuple[float, float] | None = None
    confidence: float | None = None
    depends_on: str | None = None
    condition: str | None = None
    missing: str | None = None
    dataset: str | None = None
    limits: str | None = None
    rule_fixed: str | None = None
    short_of: Short | None = None
    tested: tuple[str, ...] = ()
    who: str | None = None
    says: str | None = None
    seen_in: str | None = None

    @property
    def words(self) -> str:
        """The verdict in words: ``depends on THP``."""
        return f"depends on {self.depends_on}" if self.depends_on else self.verdict

    @property
    def preceded(self) -> bool | None:
        """Whether the rule was fixed before the data; None where that is not known."""
        return self.rule_fixed.startswith(FIXED_BEFORE) if self.rule_fixed else None

    @property
    def kind(self) -> str:
        """The kind of verdict, as a name for styles: ``does-not-hold``, ``predicted``."""
        return self.verdict.split(" ")[0] if self.verdict.startswith("predicted") else self.verdict.replace(" ", "-")

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        lists = {"evidence": list(self.evidence), "tested": list(self.tested)}
        return asdict(self) | lists | {"interval": self.interval and list(self.interval)}

    def _repr_html_(self) -> str:
        """Return the HTML card that a notebook shows and a rendered page styles."""
        return f'<div class="verdict {self.kind}">{self._claim()}{self._answer()}{self._number()}{self._folded()}</div>'

    def _claim(self) -> str:
        """Return who claims what, in English."""
        says = f"<span><b>{html.escape(author(self.who))}</b>: {html.escape(self.says)}</span>" if self.says else None
        return _line("claim", says, f"<code>{html.escape(self.id)}</code>")

    def _answer(self) -> str:
        """Return the verdict in words, with its condition, or what would decide it."""
        more = f"where {self.condition}" if self.condition else ""
        if self.verdict == "not decided" and self.missing:
            more = f"wanted: {self.missing}"
        words = f"<strong>{html.escape(self.words)}</strong>"
        return _line("answer", words, more and f"<span>{html.escape(more)}</span>")

    def _number(self) -> str:
        """Return the number that decides, or what was seen, and what kind of evidence that is."""
        number = self._effect() or html.escape(self.because)
        kind = self.evidence_kind + (
            "" if self.preceded is None or self.kind == "not-decided"
            else "; rule fixed before the data" if self.preceded else "; the rule is younger than the data"
        )  # fmt: skip
        return _line("key", f"<span>{number}</span>", f"<small>{html.escape(kind)}</small>")

    @property
    def evidence_kind(self) -> str:
        """What kind of evidence the verdict rests on, in a few words."""
        if self.verdict == "answer":
            return "a list of facts, published; nothing is measured"
        tables = {line.partition(":")[0] for line in self.evidence}
        if tables == {"costs"}:
            return "predicted by the simulator"
        if self.verdict.startswith("predicted"):
            return "measured on a proxy, and predicted by the simulator" if "costs" in tables else "measured on a proxy"
        unmeasured = self.verdict == "not decided" and not tables and not self.tested
        return "not measured" if unmeasured else "measured"

    def _folded(self) -> str:
        """Return the rule, what the verdict rests on, and its limits, folded away."""
        shown = None if self.effect is not None else self.because
        rows = [("Rule", self.rule), ("Rule fixed", self.rule_fixed)]
        rows += [("Because", None if self.because == shown else self.because), ("Short by", "; ".join(self.tested))]
        rows += [("Would decide it", None if self.verdict == "not decided" else self.missing)]
        rows += [("Limits", self.limits), ("Computed from", self.dataset)]
        listed = "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in rows if text)
        # A line that the card has as a whole says nothing more.
        lines = [line for line in self.evidence if line.partition(": ")[2] != self.because]
        items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
        if items:
            listed += f"<dt>Measured, by table</dt><dd><ul>{items}</ul></dd>"
        return f"<details><summary>Rule, evidence and limits</summary><dl>{listed}</dl></details>"

    def __str__(self) -> str:
        """Return the verdict in one line."""
        return f"{self.id}: {self.words}. {self.because}"

    @property
    def number(self) -> str | None:
        """The deciding quantity with its interval; None for a rule about states."""
        if self.effect is None:
            return None
        low, high = self.interval or (None, None)
        return units.with_interval(self.effect, low, high, alike=self.seen_in or units.NO_SPREAD)

    def key_number(self) -> str | None:
        """Return the deciding quantity with its interval in words; None for a rule about states."""
        if self.number is None:
            return None
        level = f", at {self.level}" if self.unusual else ""
        return f"{self.number}: {self.quantity}{level}"

    @property
    def unusual(self) -> bool:
        """Whether the interval is at another confidence than 95 %."""
        return self.interval is not None and self.confidence not in (None, CONFIDENCE)

    @property
    def level(self) -> str:
        """The confidence of the interval in words."""
        return f"{(self.confidence or CONFIDENCE) * 100:.3g} %"

    def _effect(self) -> str | None:
        """Return the deciding quantity as HTML; None without one."""
        if self.number is None:
            return None
        level = f"; interval at {self.level}" if self.unusual else ""
        return f"<b>{html.escape(self.number)}</b> {html.escape((self.quantity or '') + level)}"


def _line(name: str, *parts: str | None) -> str:
    """Return a paragraph of the card."""
    return f'<p class="{name}">{" ".join(filter(None, parts))}</p>'
